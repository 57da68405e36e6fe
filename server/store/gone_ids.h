/* Ids that stood for objects which were removed not long ago: who made one of them in a session that was
 * lost, and does not know, is not to make it once more. Not thread-safe; libc and GLib's tables only. */
#ifndef PH_SERVER_STORE_GONE_IDS_H
#define PH_SERVER_STORE_GONE_IDS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* So many are remembered, the last ones, until the server ends. */
enum { PH_GONE_IDS_MAX = 65536 };

struct ph_gone_ids {
    GHashTable *ids; /* uint64_t, owned by the table */
    GQueue order;    /* the same, oldest first */
    bool paused;     /* what is removed now may be undone, and made again under its id */
};

/* None are. To be cleared in the end. */
void ph_gone_ids_init(struct ph_gone_ids *gone);
void ph_gone_ids_clear(struct ph_gone_ids *gone);

/* The object ID was removed. */
void ph_gone_ids_add(struct ph_gone_ids *gone, uint64_t id);

/* Whether that is remembered. */
bool ph_gone_ids_has(const struct ph_gone_ids *gone, uint64_t id);

#endif
