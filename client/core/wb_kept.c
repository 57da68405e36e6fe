/* What small files hold that were written back: it was here anyway, and who wrote a file often reads it soon.
 * As long as the file is held exclusively and nothing changed it, it need not be opened at the server for
 * that. */
#include <sys/stat.h>

#include "client/core/wb_private.h"
#include "runtime/base/limits.h"

#define KEPT_MAX_BYTES (UINT64_C(32) << 20) /* of all files together */

void wb_drop_kept(struct ph_wb *wb, struct wb_object *o)
{
    if (o->kept == NULL)
        return;
    wb->kept_bytes -= o->kept->len;
    ph_lru_remove(&wb->kept, &o->kept_lru);
    ph_blob_unref(o->kept);
    o->kept = NULL;
}

void wb_keep(struct ph_wb *wb, struct wb_object *o, const struct ph_blob *payload)
{
    wb_drop_kept(wb, o);
    /* What is under way would have to be put over it. */
    if (payload == NULL || payload->len == 0 || payload->len > PH_SMALL_FILE_MAX_BYTES || !o->known ||
        !S_ISREG(o->attr.mode) || payload->len != o->attr.size || !o->exclusive || o->recalled ||
        o->op_count > 0 || o->busy > 0)
        return;
    o->kept = ph_blob_copy(payload->data, payload->len);
    if (o->kept == NULL)
        return;
    o->kept_for = o->attr.version;
    wb->kept_bytes += o->kept->len;
    ph_lru_add(&wb->kept, &o->kept_lru, o->lru.key);
    while (wb->kept_bytes > KEPT_MAX_BYTES)
        wb_drop_kept(wb, WB_OF(wb->kept.oldest, struct wb_object, kept_lru));
}

struct ph_blob *wb_kept(struct ph_wb *wb, struct wb_object *o, const struct ph_wb_now *now)
{
    if (o == NULL || o->kept == NULL)
        return NULL;
    if (o->kept_for != o->attr.version || o->kept->len != o->attr.size || o->op_count > 0) {
        wb_drop_kept(wb, o);
        return NULL;
    }
    if (!wb_writable(wb, o, now))
        return NULL;
    ph_lru_touch(&wb->kept, &o->kept_lru);
    return ph_blob_ref(o->kept);
}

struct ph_blob *ph_wb_kept(struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now)
{
    struct ph_blob *kept = wb_kept(wb, wb_find(wb, object), now);
    if (kept != NULL)
        wb->counters.local++;
    return kept;
}
