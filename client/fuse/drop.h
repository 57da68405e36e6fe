/* Has the kernel give back what it keeps of an object whose lease was recalled, without
 * waiting for anything that may wait for the recall.
 *
 * The kernel holds pages for reads and for writes that fill them in part, until
 * these are answered. Reads are answered whatever is recalled, so waiting for them is
 * safe. A write may wait for other clients; the page that it holds is not up to date then
 * (the kernel lets go of one that is), so there is nothing in it to give back, and it is left out. But from
 * here it cannot be seen whether a page that a write fills in part is held: such pages are dropped by threads
 * of their own, which are not waited for longer than a page that is not held would take. docs/decisions/0006.
 */
#ifndef PH_CLIENT_FUSE_DROP_H
#define PH_CLIENT_FUSE_DROP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/fuse/busy.h"
#include "client/fuse/notify.h"

struct ph_drop_context {
    pthread_mutex_t *mutex; /* guards BUSY; the functions here are called with it held */
    struct ph_busy *busy;
    struct ph_notifier *notifier;
    struct ph_workers *workers, *attempts; /* those wait for these */
    bool ending; /* the mount is gone, and nothing that is kept matters; guarded by MUTEX */
    void *data;
    /* Whether the kernel was told of OBJECT and has not forgotten it. */
    bool (*kernel_has)(void *data, uint64_t object);
    /* Nothing is left of it, and no read of it is under way: to be made so that none
     * can bring anything back. What is then to be done is done by DONE, without the mutex. */
    void (*dropped)(void *data, uint64_t object, uint64_t lease);
    void (*done)(void *data);
};

/* Waits for the reads of OBJECT that are under way, then drops the pages of LEN bytes at OFFSET, but those
 * that writes under way hold. Without the mutex. */
void ph_drop_range(const struct ph_drop_context *context, uint64_t object, uint64_t offset, uint64_t len);

/* Starts it for OBJECT and its LEASE, without the mutex; CONTEXT must outlive the workers' work. PAGES: of a
 * file that may have some. */
void ph_drop_start(const struct ph_drop_context *context, uint64_t object, uint64_t lease, bool pages);

#endif
