/* Write-back at work: carries out what it decides. */
#include "client/fuse/writeback.h"

#include <limits.h>
#include <pthread.h>
#include <syslog.h>
#include <time.h>

#include "client/core/reclaim.h"
#include "client/core/wb.h"
#include "client/fuse/coherence.h"
#include "client/fuse/conflicts.h"
#include "client/fuse/log.h"
#include "client/fuse/writeback_private.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/io/thread.h"
#include "runtime/wire/command.h"

enum { LOOK_EVERY_MS = 100, IN_FLIGHT_MAX = 64, SAY_AFTER_S = 2 };

struct ph_wb_now ph_writeback_now(struct ph_writeback *writeback)
{
    struct timespec real;
    clock_gettime(CLOCK_REALTIME_COARSE, &real);
    return (struct ph_wb_now){
        .ms = ph_link_now_ms(),
        .leases_until_ms = ph_coherence_leases_until_ms(writeback->coherence),
        .real = {.seconds = real.tv_sec, .nanoseconds = (uint32_t) real.tv_nsec},
    };
}

static void answered(void *data, const struct ph_reply *reply);

/* What an answered callback gets: the call may be gone when the link returns its ticket. */
struct sent {
    struct ph_writeback *writeback;
    struct ph_wb_call *call;
};

static void send(struct ph_writeback *writeback, const struct ph_wb_action *action)
{
    uint64_t ticket = ph_wb_call_ticket(action->call);
    struct sent *sent = g_new(struct sent, 1);
    *sent = (struct sent){writeback, action->call};
    const struct ph_stub *stub = ph_link_stub(writeback->link);
    uint64_t link_ticket =
        action->own
            ? ph_link_send_flush(writeback->link, action->generation, action->command, action->message,
                                 action->payload, answered, sent)
            : stub->send(stub->self, action->command, action->message, action->payload, answered, sent);
    if (link_ticket == 0)
        return;
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_sent(writeback->wb, ticket, link_ticket);
    pthread_mutex_unlock(&writeback->mutex);
}

/* Where OBJECT is in the mount; "" where that is not known. To be freed. */
static char *path_of(struct ph_writeback *writeback, uint64_t object)
{
    bool below;
    char *path = g_malloc0(PATH_MAX);
    ph_link_path(writeback->link, object, 0, path, PATH_MAX, &below);
    return path;
}

static void keep_lost(struct ph_writeback *writeback, const struct ph_wb_action *action)
{
    g_autofree char *path = path_of(writeback, action->object);
    ph_conflicts_data(writeback->conflicts, action->object, path, action->offset, action->payload);
}

static void say_failed(struct ph_writeback *writeback, const struct ph_wb_action *action)
{
    if (action->text[0] != '\0') {
        const char *why = action->status == PH_ST_STALE ? "somebody else changed or removed it meanwhile"
                                                        : ph_status_text(action->status);
        g_autofree char *path = path_of(writeback, action->object);
        g_autofree char *kept =
            ph_conflicts_enter(writeback->conflicts, action->object, path, action->text, why);
        ph_log(LOG_ERR, "a change that was not written back yet is lost: %s %s: %s%s%s", path, action->text,
               why, kept != NULL ? "; its data is kept as " : "", kept != NULL ? kept : "");
    }
    ph_coherence_give_up(writeback->coherence, action->object);
}

static void carry_out(struct ph_writeback *writeback, const struct ph_wb_action *action)
{
    switch (action->kind) {
    case PH_WB_SEND:
        send(writeback, action);
        break;
    case PH_WB_COMPLETE:
        if (action->fn != NULL)
            action->fn(action->data, &action->reply);
        break;
    case PH_WB_EXCLUSIVE:
        ph_writeback_acquire(writeback, action->object);
        break;
    case PH_WB_LIST:
        ph_writeback_list(writeback, action->object);
        break;
    case PH_WB_RANGE:
        ph_writeback_acquire_range(writeback, action->object, action->offset, action->len);
        break;
    case PH_WB_RETURN:
    case PH_WB_KEEP:
        ph_writeback_release_range(writeback, action->lease, action->offset,
                                   action->kind == PH_WB_KEEP ? action->len : 0);
        break;
    case PH_WB_BORN:
        ph_coherence_born(writeback->coherence, action->object, action->old_lease, action->lease,
                          action->mode);
        break;
    case PH_WB_WHOLE:
        ph_coherence_whole(writeback->coherence, action->object);
        break;
    case PH_WB_SPACE:
        ph_writeback_ask_space(writeback, action->needed, action->more);
        break;
    case PH_WB_FORGET:
        ph_coherence_ask_attr_again(writeback->coherence, action->object);
        break;
    case PH_WB_RESTORED:
        ph_link_restored(writeback->link);
        break;
    case PH_WB_LOST:
        keep_lost(writeback, action);
        break;
    case PH_WB_FAILED:
        say_failed(writeback, action);
        break;
    }
}

/* Lets go of the mutex, and does what is to be done. */
static void finish(struct ph_writeback *writeback, struct ph_wb_actions *actions)
{
    if (!writeback->looking && !ph_wb_is_idle(writeback->wb))
        pthread_cond_signal(&writeback->wake);
    bool alone = ph_wb_actions_part(actions);
    pthread_mutex_unlock(&writeback->mutex);
    for (size_t i = 0; i < actions->count; i++)
        carry_out(writeback, actions->items[i]);
    /* Calls that are over share operations and callers with those that go on. */
    if (!alone)
        pthread_mutex_lock(&writeback->mutex);
    ph_wb_actions_clear(actions);
    if (!alone)
        pthread_mutex_unlock(&writeback->mutex);
}

static void answered(void *data, const struct ph_reply *reply)
{
    struct sent *sent = data;
    struct ph_writeback *writeback = sent->writeback;
    struct ph_wb_actions actions;
    struct ph_wb_now at = ph_writeback_now(writeback);
    ph_wb_actions_init(&actions);
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_answered(writeback->wb, sent->call, reply, &at, &actions);
    g_free(sent);
    finish(writeback, &actions);
}

static uint64_t stub_send(void *self, uint16_t command, const ProtobufCMessage *message,
                          struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    struct ph_writeback *writeback = self;
    struct ph_wb_actions actions;
    struct ph_wb_now at = ph_writeback_now(writeback);
    ph_wb_actions_init(&actions);
    pthread_mutex_lock(&writeback->mutex);
    uint64_t ticket = ph_wb_submit(writeback->wb, command, message, payload, fn, data, &at, &actions);
    finish(writeback, &actions);
    return ticket;
}

/* --- Tickets --- */

void ph_writeback_cancel(struct ph_writeback *writeback, uint64_t ticket)
{
    struct ph_wb_actions actions;
    ph_wb_actions_init(&actions);
    pthread_mutex_lock(&writeback->mutex);
    uint64_t link_ticket = ph_wb_cancel(writeback->wb, ticket, &actions);
    finish(writeback, &actions);
    if (link_ticket != 0)
        ph_link_cancel(writeback->link, link_ticket);
}

/* A request of which nobody waits for the answer, until that has come or never will. */
struct abandoned {
    struct ph_writeback *writeback;
    struct ph_wb_orphan *orphan;
    void (*late)(void *data);
    void *data;
};

static void abandoned_is_over(void *data)
{
    g_autofree struct abandoned *abandoned = data;
    struct ph_writeback *writeback = abandoned->writeback;
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_orphan_over(writeback->wb, abandoned->orphan);
    pthread_mutex_unlock(&writeback->mutex);
    if (abandoned->late != NULL)
        abandoned->late(abandoned->data);
}

void ph_writeback_abandon(struct ph_writeback *writeback, uint64_t ticket)
{
    struct ph_wb_actions actions;
    struct abandoned *abandoned = NULL;
    ph_wb_actions_init(&actions);
    pthread_mutex_lock(&writeback->mutex);
    uint64_t link_ticket = ph_wb_cancel(writeback->wb, ticket, &actions);
    if (link_ticket != 0) {
        abandoned = g_new0(struct abandoned, 1);
        abandoned->writeback = writeback;
        abandoned->orphan = ph_wb_orphan(writeback->wb, ticket);
        g_hash_table_insert(writeback->abandoned, g_memdup2(&ticket, sizeof ticket), abandoned);
    }
    finish(writeback, &actions);
    if (abandoned == NULL)
        return;
    ph_link_abandon(writeback->link, link_ticket);
    pthread_mutex_lock(&writeback->mutex);
    g_hash_table_remove(writeback->abandoned, &ticket);
    pthread_mutex_unlock(&writeback->mutex);
    ph_link_when_late(writeback->link, link_ticket, abandoned_is_over, abandoned);
}

void ph_writeback_when_late(struct ph_writeback *writeback, uint64_t ticket, void (*late)(void *data),
                            void *data)
{
    pthread_mutex_lock(&writeback->mutex);
    struct abandoned *abandoned = g_hash_table_lookup(writeback->abandoned, &ticket);
    if (abandoned != NULL) {
        abandoned->late = late;
        abandoned->data = data;
    }
    pthread_mutex_unlock(&writeback->mutex);
    if (abandoned == NULL)
        late(data);
}

/* --- The session --- */

void ph_writeback_opened(struct ph_writeback *writeback, const struct ph_link_leases *leases, bool write_back)
{
    struct ph_wb_actions actions;
    struct ph_wb_now at = ph_writeback_now(writeback);
    ph_wb_actions_init(&actions);
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_server(writeback->wb, leases->epoch, leases->unbroken);
    ph_wb_opened(writeback->wb, leases->generation, write_back, &at, &actions);
    ph_wb_ranges(writeback->wb, leases->ranges);
    finish(writeback, &actions);
}

void ph_writeback_lost(struct ph_writeback *writeback)
{
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_lost(writeback->wb);
    pthread_mutex_unlock(&writeback->mutex);
}

void ph_writeback_claims(struct ph_writeback *writeback, struct ph_reclaim *reclaim)
{
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_claims(writeback->wb, ph_reclaim_add, reclaim);
    pthread_mutex_unlock(&writeback->mutex);
}

void ph_writeback_claimed(struct ph_writeback *writeback, const struct ph_reclaim *reclaim)
{
    pthread_mutex_lock(&writeback->mutex);
    for (const struct ph_reclaimed *at = ph_reclaim_first(reclaim); at != NULL; at = ph_reclaim_next(at))
        ph_wb_reclaimed(writeback->wb, &at->claim, at->lease, at->mode);
    pthread_mutex_unlock(&writeback->mutex);
}

void ph_writeback_recalled(struct ph_writeback *writeback, uint64_t object, uint64_t lease)
{
    struct ph_wb_actions actions;
    struct ph_wb_now at = ph_writeback_now(writeback);
    ph_wb_actions_init(&actions);
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_recalled(writeback->wb, object, lease, &at, &actions);
    finish(writeback, &actions);
}

bool ph_writeback_recalled_part(struct ph_writeback *writeback, uint64_t object, uint64_t lease,
                                uint64_t start, uint64_t end)
{
    struct ph_wb_actions actions;
    struct ph_wb_now at = ph_writeback_now(writeback);
    ph_wb_actions_init(&actions);
    pthread_mutex_lock(&writeback->mutex);
    bool kept = ph_wb_recalled_part(writeback->wb, object, lease, start, end, &at, &actions);
    finish(writeback, &actions);
    return kept;
}

void ph_writeback_range_later(struct ph_writeback *writeback, uint64_t object)
{
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_range_later(writeback->wb, object);
    pthread_mutex_unlock(&writeback->mutex);
}

enum ph_wb_glimpse ph_writeback_glimpse(struct ph_writeback *writeback, uint64_t object, uint64_t lease,
                                        struct ph_cached_attr *attr, bool *unsent)
{
    struct ph_wb_now at = ph_writeback_now(writeback);
    pthread_mutex_lock(&writeback->mutex);
    enum ph_wb_glimpse verdict = ph_wb_glimpse(writeback->wb, object, lease, &at, attr, unsent);
    pthread_mutex_unlock(&writeback->mutex);
    return verdict;
}

/* --- Flushing --- */

struct flush {
    void (*done)(void *data, uint32_t status);
    void *data;
};

static void flushed(void *data, const struct ph_reply *reply)
{
    g_autofree struct flush *flush = data;
    flush->done(flush->data, reply->status);
}

void ph_writeback_flush(struct ph_writeback *writeback, uint64_t object,
                        void (*done)(void *data, uint32_t status), void *data)
{
    struct flush *flush = g_new(struct flush, 1);
    struct ph_wb_actions actions;
    struct ph_wb_now at = ph_writeback_now(writeback);
    *flush = (struct flush){done, data};
    ph_wb_actions_init(&actions);
    pthread_mutex_lock(&writeback->mutex);
    ph_wb_flush(writeback->wb, object, flushed, flush, &at, &actions);
    finish(writeback, &actions);
}

static void drained(void *data, uint32_t status)
{
    struct ph_writeback *writeback = data;
    pthread_mutex_lock(&writeback->mutex);
    writeback->drained = true;
    writeback->drain_status = status;
    pthread_cond_broadcast(&writeback->wake);
    pthread_mutex_unlock(&writeback->mutex);
}

static void say_what_is_left(struct ph_writeback *writeback)
{
    struct ph_wb_counters counters;
    ph_wb_count(writeback->wb, ph_link_now_ms(), &counters);
    ph_log(LOG_NOTICE,
           "waiting for %s: %" G_GUINT64_FORMAT " changes and %" G_GUINT64_FORMAT
           " bytes are still to be written back",
           ph_link_info(writeback->link)->server_name, counters.dirty_operations, counters.dirty_bytes);
}

static void wait_ms(struct ph_writeback *writeback, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t) until.tv_nsec + (uint64_t) ms * 1000000;
    until.tv_sec += (time_t) (ns / 1000000000);
    until.tv_nsec = (long) (ns % 1000000000);
    pthread_cond_timedwait(&writeback->wake, &writeback->mutex, &until);
}

/* Flushes anew where the flush failed because there was no server: the mount ends, and has more patience. */
static bool has_drained(struct ph_writeback *writeback)
{
    struct ph_wb_counters counters;
    ph_wb_count(writeback->wb, 0, &counters);
    if (!writeback->drained || writeback->drain_status == PH_ST_OK || counters.dirty_operations == 0)
        return writeback->drained;
    writeback->drained = false;
    pthread_mutex_unlock(&writeback->mutex);
    ph_writeback_flush(writeback, 0, drained, writeback);
    pthread_mutex_lock(&writeback->mutex);
    return false;
}

bool ph_writeback_drain(struct ph_writeback *writeback, guint patience_s)
{
    uint64_t unreachable_ms = 0, said_ms = ph_link_now_ms();
    ph_writeback_flush(writeback, 0, drained, writeback);
    pthread_mutex_lock(&writeback->mutex);
    while (!has_drained(writeback) && unreachable_ms <= (uint64_t) patience_s * 1000) {
        uint64_t before = ph_link_now_ms();
        wait_ms(writeback, 1000);
        if (ph_link_connected(writeback->link))
            unreachable_ms = 0;
        else
            unreachable_ms += ph_link_now_ms() - before;
        if (ph_link_now_ms() - said_ms >= SAY_AFTER_S * 1000) {
            said_ms = ph_link_now_ms();
            say_what_is_left(writeback);
        }
    }
    bool clean = writeback->drained && writeback->drain_status == PH_ST_OK;
    if (!writeback->drained) {
        say_what_is_left(writeback);
        ph_log(LOG_ERR, "they are lost: the server cannot be reached; see pohmelctl conflicts");
        struct ph_wb_actions actions;
        ph_wb_actions_init(&actions);
        struct ph_wb_now at = {.ms = ph_link_now_ms()};
        ph_wb_give_up(writeback->wb, &at, &actions);
        finish(writeback, &actions);
        return false;
    }
    pthread_mutex_unlock(&writeback->mutex);
    return clean;
}

/* Whether nobody is to wait for the server any more: it is another one, or away for as long as there is
 * patience. A session that is kept does not end by it, so write-back itself does not know. */
static bool is_given_up(struct ph_writeback *writeback, uint64_t now_ms)
{
    if (ph_link_connected(writeback->link)) {
        writeback->away_ms = 0;
        return false;
    }
    if (writeback->away_ms == 0)
        writeback->away_ms = now_ms;
    return ph_link_hopeless(writeback->link) ||
           (writeback->patience_ms > 0 && now_ms - writeback->away_ms >= writeback->patience_ms);
}

static void *look(void *data)
{
    struct ph_writeback *writeback = data;
    pthread_mutex_lock(&writeback->mutex);
    while (!writeback->stop) {
        writeback->looking = !ph_wb_is_idle(writeback->wb);
        if (!writeback->looking) {
            pthread_cond_wait(&writeback->wake, &writeback->mutex);
            continue;
        }
        wait_ms(writeback, LOOK_EVERY_MS);
        pthread_mutex_unlock(&writeback->mutex);
        struct ph_wb_now at = ph_writeback_now(writeback);
        struct ph_wb_actions actions;
        ph_wb_actions_init(&actions);
        pthread_mutex_lock(&writeback->mutex);
        ph_wb_tick(writeback->wb, &at, &actions);
        if (is_given_up(writeback, at.ms))
            ph_wb_fail_waiting(writeback->wb, &actions);
        finish(writeback, &actions);
        pthread_mutex_lock(&writeback->mutex);
    }
    pthread_mutex_unlock(&writeback->mutex);
    return NULL;
}

/* --- Life --- */

struct ph_writeback *ph_writeback_new(const struct ph_writeback_options *options,
                                      struct ph_coherence *coherence)
{
    struct ph_writeback *writeback = g_new0(struct ph_writeback, 1);
    struct ph_wb_config config = {
        .flush_age_ms = options->flush_age_ms,
        .patience_ms = options->patience_ms,
        .dirty_limit_bytes = options->dirty_limit_bytes,
        .owned_limit_bytes = options->keep ? options->dirty_limit_bytes / PH_OWNED_SHARE : 0,
        .payload_max_bytes = PH_PAYLOAD_MAX_BYTES,
        .in_flight_max = IN_FLIGHT_MAX,
    };
    writeback->conflicts = ph_conflicts_new(options->conflicts, options->mount_point);
    writeback->wb = ph_wb_new(&config);
    writeback->coherence = coherence;
    writeback->patience_ms = options->patience_ms;
    writeback->stub = (struct ph_stub){.send = stub_send, .self = writeback};
    writeback->abandoned = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    pthread_mutex_init(&writeback->mutex, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&writeback->wake, &clock);
    pthread_condattr_destroy(&clock);
    int error = ph_thread_start(&writeback->thread, NULL, look, writeback);
    if (error != 0)
        g_error("cannot start a thread: %s", g_strerror(error));
    return writeback;
}

void ph_writeback_free(struct ph_writeback *writeback)
{
    if (writeback == NULL)
        return;
    ph_writeback_stop(writeback);
    ph_wb_free(writeback->wb);
    ph_conflicts_free(writeback->conflicts);
    g_hash_table_unref(writeback->abandoned);
    pthread_cond_destroy(&writeback->wake);
    pthread_mutex_destroy(&writeback->mutex);
    g_free(writeback);
}

void ph_writeback_use_link(struct ph_writeback *writeback, struct ph_link *link)
{
    pthread_mutex_lock(&writeback->mutex);
    writeback->link = link;
    pthread_mutex_unlock(&writeback->mutex);
}

const struct ph_stub *ph_writeback_stub(const struct ph_writeback *writeback)
{
    return &writeback->stub;
}
