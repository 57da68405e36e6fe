/* The watch over the exported directories: notices what other programs of this
 * machine change in them - data, attributes, names - and tells which of the
 * objects that clients know are concerned.
 *
 * A thread of its own reads what fanotify tells of the filesystems on which the
 * exports lie; no request ever waits for it. What this process itself does is passed
 * over, and so is what the store does not know. Changes are told some milliseconds after they were
 * made. What the kernel does not tell is not noticed: writing to a file that is mapped into
 * memory shows when its writer closes it.
 *
 * A file whose lookup is under way while it is changed may enter the store only after the event
 * came. The watch therefore looks a second time, a moment later, for what the store did not know. */
#ifndef PH_SERVER_WATCH_H
#define PH_SERVER_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ph_watch;
struct ph_store;

struct ph_watch_export {
    const char *name, *directory;
    struct ph_store *store; /* of ph_posix_store_open; NULL: not to be watched */
};

/* OBJECT of an export was changed by others; 0: any of them may have been. Called
 * from the thread of the watch. */
typedef void (*ph_watch_changed)(void *data, size_t export_index, uint64_t object);

/* Has the kernel collect changes in COUNT exports, which are copied; stores and directories stay there as
 * long as the watch. What cannot be watched (this user is not root, the kernel is too old, the
 * filesystem is of another kind) is said in one line of the log for each export. */
struct ph_watch *ph_watch_new(const struct ph_watch_export *exports, size_t count, ph_watch_changed changed,
                              void *data);

/* Starts to tell them. Once; nothing happens where nothing is watched. */
void ph_watch_start(struct ph_watch *watch);

/* Whether changes in that export are noticed. It can cease to be so, and be so again: when
 * a filesystem is mounted below it that cannot be watched. CHANGED is called with object 0 then. False for a
 * watch that is NULL. Any thread. */
bool ph_watch_active(const struct ph_watch *watch, size_t export_index);

/* Ends the thread and frees the watch; CHANGED is not called any more. NULL is fine. */
void ph_watch_free(struct ph_watch *watch);

#endif
