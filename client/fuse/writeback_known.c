/* What write-back knows, for those who ask: of objects and handles, and in numbers. */
#include <pthread.h>

#include "client/fuse/conflicts.h"
#include "client/fuse/writeback_private.h"
#include "client/link.h"

bool ph_writeback_getattr(struct ph_writeback *writeback, uint64_t object, struct ph_cached_attr_wire *wire)
{
    struct ph_wb_now at = ph_writeback_now(writeback);
    pthread_mutex_lock(&writeback->mutex);
    bool known = ph_wb_getattr(writeback->wb, object, &at, wire);
    pthread_mutex_unlock(&writeback->mutex);
    return known;
}

size_t ph_writeback_knows(struct ph_writeback *writeback, const uint64_t *objects, size_t count)
{
    struct ph_wb_now at = ph_writeback_now(writeback);
    size_t known = 0;
    pthread_mutex_lock(&writeback->mutex);
    for (size_t i = 0; i < count; i++)
        known += ph_wb_knows(writeback->wb, objects[i], &at);
    pthread_mutex_unlock(&writeback->mutex);
    return known;
}

struct ph_blob *ph_writeback_kept(struct ph_writeback *writeback, uint64_t object)
{
    struct ph_wb_now at = ph_writeback_now(writeback);
    pthread_mutex_lock(&writeback->mutex);
    struct ph_blob *kept = ph_wb_kept(writeback->wb, object, &at);
    pthread_mutex_unlock(&writeback->mutex);
    return kept;
}

bool ph_writeback_is_dirty(struct ph_writeback *writeback, uint64_t object)
{
    pthread_mutex_lock(&writeback->mutex);
    bool dirty = ph_wb_is_dirty(writeback->wb, object);
    pthread_mutex_unlock(&writeback->mutex);
    return dirty;
}

bool ph_writeback_has_handle(struct ph_writeback *writeback, uint64_t handle)
{
    pthread_mutex_lock(&writeback->mutex);
    bool found = ph_wb_has_handle(writeback->wb, handle);
    pthread_mutex_unlock(&writeback->mutex);
    return found;
}

uint32_t ph_writeback_take_error(struct ph_writeback *writeback, uint64_t object)
{
    pthread_mutex_lock(&writeback->mutex);
    uint32_t error = ph_wb_take_error(writeback->wb, object);
    pthread_mutex_unlock(&writeback->mutex);
    return error;
}

static void add(GString *out, const char *key, uint64_t value)
{
    g_string_append_printf(out, "%s: %" G_GUINT64_FORMAT "\n", key, value);
}

void ph_writeback_status(struct ph_writeback *writeback, GString *out)
{
    struct ph_wb_counters counters;
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_count(writeback->wb, ph_link_now_ms(), &counters);
    pthread_mutex_unlock(&writeback->mutex);
    add(out, "leases-ranges", counters.ranges);
    add(out, "dirty-bytes", counters.dirty_bytes);
    add(out, "dirty-operations", counters.dirty_operations);
    add(out, "oldest-dirty-ms", counters.oldest_dirty_ms);
    add(out, "kept-bytes", counters.kept_bytes);
    add(out, "write-back-in-flight", counters.in_flight);
    add(out, "answered-here", counters.local);
    add(out, "sent-on", counters.forwarded);
    add(out, "written-back", counters.sent);
    add(out, "write-back-merged", counters.merged);
    add(out, "write-back-cancelled", counters.cancelled);
    add(out, "write-back-failures", counters.failures);
    add(out, "unstable-bytes", counters.unstable_bytes);
    add(out, "made-again", counters.made_again);
    add(out, "not-made-again", counters.not_made_again);
    ph_conflicts_status(writeback->conflicts, out);
}
