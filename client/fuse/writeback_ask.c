/* What write-back asks the server for, ahead of need. It goes the way of all commands, so that the cache and
 * write-back learn from the answers. */
#include <pthread.h>

#include "client/fuse/coherence.h"
#include "client/fuse/writeback_private.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum {
    PARTS_MAX = 8, /* of a listing: larger directories are asked name by name */
    PART_NAMES = 1024,
    PART_BYTES = 64 * 1024,
};

struct asking {
    struct ph_writeback *writeback;
    struct ph_cache_ask ask;
    uint64_t object, cookie;
    unsigned parts;
    struct ph_cache_listing listing;
};

static struct asking *begin(struct ph_writeback *writeback, uint64_t object)
{
    struct asking *asking = g_new0(struct asking, 1);
    asking->writeback = writeback;
    asking->object = object;
    asking->ask = ph_coherence_ask(writeback->coherence);
    return asking;
}

static void acquired(void *data, const struct ph_reply *reply)
{
    g_autofree struct asking *asking = data;
    const Pohmel__LeaseAcquireReply *acquired = ph_reply_lease_acquire(reply);
    /* Ranges are known to write-back alone. */
    if (acquired == NULL || acquired->grant->range != NULL)
        return;
    struct ph_told told;
    Pohmel__Attr *attr = acquired->grant->attr;
    attr->lease = acquired->grant->lease;
    attr->lease_mode = acquired->grant->mode;
    ph_coherence_learn(asking->writeback->coherence, &asking->ask, attr, &told);
    ph_coherence_told(asking->writeback->coherence, &told, false);
}

void ph_writeback_acquire(struct ph_writeback *writeback, uint64_t object)
{
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    message.object = object;
    message.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    ph_send_lease_acquire(ph_writeback_stub(writeback), &message, NULL, acquired, begin(writeback, object));
}

void ph_writeback_acquire_range(struct ph_writeback *writeback, uint64_t object, uint64_t offset,
                                uint64_t len)
{
    /* What the kernel keeps of the file goes first: it would not be told when others write. */
    if (ph_coherence_holds(writeback->coherence, object)) {
        ph_coherence_give_up(writeback->coherence, object);
        ph_writeback_range_later(writeback, object);
        return;
    }
    Pohmel__Range range = POHMEL__RANGE__INIT;
    range.offset = offset;
    range.length = len;
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    message.object = object;
    message.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    message.range = &range;
    ph_send_lease_acquire(ph_writeback_stub(writeback), &message, NULL, acquired, begin(writeback, object));
}

static void released(void *data, const struct ph_reply *reply)
{
    /* Nothing hangs on it: what was not heard is recalled again, or went with the session. */
}

void ph_writeback_release_range(struct ph_writeback *writeback, uint64_t lease, uint64_t offset, uint64_t len)
{
    Pohmel__LeaseReleaseRequest message = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__LeaseKept kept = POHMEL__LEASE_KEPT__INIT, *parts[] = {&kept};
    kept.lease = lease;
    kept.range = &range;
    range.offset = offset;
    range.length = len;
    message.n_leases = len == 0;
    message.leases = &lease;
    message.n_parts = len > 0;
    message.parts = parts;
    ph_send_lease_release(ph_writeback_stub(writeback), &message, NULL, released, NULL);
}

bool ph_writeback_next_range(struct ph_writeback *writeback, uint64_t after, struct ph_wb_range_held *out)
{
    pthread_mutex_lock(&writeback->mutex);
    bool any = ph_wb_next_range(writeback->wb, after, out);
    pthread_mutex_unlock(&writeback->mutex);
    return any;
}

static void send_part(struct asking *asking);

static void listed(void *data, const struct ph_reply *reply)
{
    struct asking *asking = data;
    const Pohmel__ReaddirReply *part = ph_reply_readdir(reply);
    if (part == NULL || part->n_entries == 0) {
        g_free(asking);
        return;
    }
    ph_coherence_learn_listing(asking->writeback->coherence, &asking->ask, asking->object, asking->cookie,
                               part, &asking->listing);
    asking->cookie = part->entries[part->n_entries - 1]->cookie;
    if (part->end || ++asking->parts == PARTS_MAX)
        g_free(asking);
    else
        send_part(asking);
}

static void send_part(struct asking *asking)
{
    Pohmel__Caller caller =
        POHMEL__CALLER__INIT; /* of the superuser: what others may see is decided when they ask */
    Pohmel__ReaddirRequest message = POHMEL__READDIR_REQUEST__INIT;
    message.caller = &caller;
    message.object = asking->object;
    message.cookie = asking->cookie;
    message.count = PART_NAMES;
    message.bytes_max = PART_BYTES;
    message.attributes = true;
    asking->ask = ph_coherence_ask(asking->writeback->coherence);
    ph_send_readdir(ph_writeback_stub(asking->writeback), &message, NULL, listed, asking);
}

void ph_writeback_list(struct ph_writeback *writeback, uint64_t object)
{
    send_part(begin(writeback, object));
}

static void told_space(void *data, const struct ph_reply *reply)
{
    /* Learned on the way. */
}

void ph_writeback_ask_space(struct ph_writeback *writeback, uint64_t needed, uint64_t more)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__StatfsRequest message = POHMEL__STATFS_REQUEST__INIT;
    message.caller = &caller;
    message.object = PH_OBJECT_ROOT;
    message.reserve = true;
    message.needed = needed;
    message.more = more;
    ph_send_statfs(ph_writeback_stub(writeback), &message, NULL, told_space, NULL);
}

void ph_writeback_stop(struct ph_writeback *writeback)
{
    if (writeback == NULL)
        return;
    pthread_mutex_lock(&writeback->mutex);
    bool running = !writeback->stop;
    writeback->stop = true;
    pthread_cond_broadcast(&writeback->wake);
    pthread_mutex_unlock(&writeback->mutex);
    if (running)
        pthread_join(writeback->thread, NULL);
}
