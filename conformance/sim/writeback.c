#include "conformance/sim/writeback.h"

#include "client/core/wb.h"
#include "conformance/sim/writeback_ask.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"

enum { NOTE_OBJECTS = 4, LIST_NAMES = 100, MS_PER_S = 1000, NS_PER_MS = 1000000 };

/* Something of the history that may be lost. */
struct note {
    guint index;
    uint64_t objects[NOTE_OBJECTS];
};

/* An object of which the server refused a change: what is known of it here never was, until it is given back.
 */
struct refused {
    uint64_t object, until_us; /* when it was given back; SIM_HISTORY_END_US: not yet */
};

struct sim_writeback {
    struct sim_client *client;
    struct ph_wb *wb;
    struct ph_stub stub, link; /* of programs; of the link */
    GArray *notes;             /* struct note */
    gboolean draining, drained;
    uint64_t losses;    /* of sessions */
    gboolean lost_some; /* a session was lost with changes that were not written back */
    GArray *refused;    /* struct refused */
};

static struct ph_wb_now now(struct sim_writeback *writeback)
{
    struct sim_caching *caching = writeback->client->caching;
    uint64_t now_ms = sim_caching_now(caching);
    return (struct ph_wb_now){
        .ms = now_ms,
        .leases_until_ms = ph_cache_leases_until_ms(caching->cache),
        /* No two of them show the same time. */
        .real = {.seconds = MODEL_BORN_S + (int64_t) now_ms / MS_PER_S,
                 .nanoseconds =
                     (uint32_t) (now_ms % MS_PER_S * NS_PER_MS) + (uint32_t) writeback->client->index + 1},
    };
}

static void finish(struct sim_writeback *writeback, struct ph_wb_actions *actions);

/* A command that was sent on. */
struct sent {
    struct sim_writeback *writeback;
    struct ph_wb_call *call;
    struct sim_power_deed deed;
};

static void let_go(struct sim_writeback *writeback, void *owned)
{
    sim_client_disown(writeback->client, owned);
    g_free(owned);
}

static void answered(void *data, const struct ph_reply *reply)
{
    struct sent *sent = data;
    struct ph_wb_actions actions;
    struct ph_wb_now at = now(sent->writeback);
    sim_power_told(sent->writeback->client->world, &sent->deed, reply->status);
    ph_wb_actions_init(&actions);
    ph_wb_answered(sent->writeback->wb, sent->call, reply, &at, &actions);
    finish(sent->writeback, &actions);
    let_go(sent->writeback, sent);
}

static void send(struct sim_writeback *writeback, const struct ph_wb_action *action)
{
    uint64_t ticket = ph_wb_call_ticket(action->call);
    struct sent *sent = g_new0(struct sent, 1);
    *sent = (struct sent){.writeback = writeback, .call = action->call};
    sim_client_own(writeback->client, sent, g_free);
    if (action->command == PH_CMD_TRANSACT)
        sent->deed =
            sim_power_asked(writeback->client->world, (const Pohmel__TransactRequest *) action->message);
    uint64_t link_ticket = sim_client_send(writeback->client, action->own ? action->generation : 0,
                                           action->command, action->message, action->payload, answered, sent);
    if (link_ticket != 0)
        ph_wb_sent(writeback->wb, ticket, link_ticket);
}

/* --- What write-back asks for itself --- */

struct asking {
    struct sim_writeback *writeback;
    struct ph_cache_ask ask;
    struct ph_cache_listing listing;
    uint64_t object, cookie;
};

static struct asking *begin_asking(struct sim_writeback *writeback, uint64_t object)
{
    struct asking *asking = g_new0(struct asking, 1);
    asking->writeback = writeback;
    sim_client_own(writeback->client, asking, g_free);
    asking->object = object;
    asking->ask =
        ph_cache_ask(writeback->client->caching->cache, sim_caching_now(writeback->client->caching));
    return asking;
}

static struct sim_result *writeback_result(const struct asking *asking)
{
    return asking->writeback->client->world->result;
}

static void acquired(void *data, const struct ph_reply *reply)
{
    struct asking *asking = data;
    struct sim_caching *caching = asking->writeback->client->caching;
    const Pohmel__LeaseAcquireReply *got = ph_reply_lease_acquire(reply);
    struct ph_cached_attr ignored;
    if (!got || got->grant->range) { /* ranges are known to write-back alone */
        writeback_result(asking)->ranges += got != NULL;
        let_go(asking->writeback, asking);
        return;
    }
    got->grant->attr->lease = got->grant->lease;
    got->grant->attr->lease_mode = got->grant->mode;
    ph_cache_learn(caching->cache, &asking->ask, got->grant->attr, sim_caching_now(caching), &ignored);
    sim_caching_work(caching);
    let_go(asking->writeback, asking);
}

static void acquire(struct sim_writeback *writeback, uint64_t object)
{
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    message.object = object;
    message.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    ph_send_lease_acquire(&writeback->stub, &message, NULL, acquired, begin_asking(writeback, object));
}

/* --- Ranges of files that others write as well --- */

static void acquire_range(struct sim_writeback *writeback, const struct ph_wb_action *action)
{
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    struct sim_caching *caching = writeback->client->caching;
    if (ph_cache_is_held(caching->cache, action->object)) {
        ph_cache_give_up(caching->cache, action->object);
        ph_wb_range_later(writeback->wb, action->object);
        sim_caching_work(caching);
        return;
    }
    range.offset = action->offset;
    range.length = action->len;
    message.object = action->object;
    message.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    message.range = &range;
    ph_send_lease_acquire(&writeback->stub, &message, NULL, acquired,
                          begin_asking(writeback, action->object));
}

static void send_part(struct asking *asking);

static void listed(void *data, const struct ph_reply *reply)
{
    struct asking *asking = data;
    struct sim_caching *caching = asking->writeback->client->caching;
    const Pohmel__ReaddirReply *part = ph_reply_readdir(reply);
    uint64_t now_ms = sim_caching_now(caching);
    struct ph_cached_attr ignored;
    if (!part || part->n_entries == 0) {
        let_go(asking->writeback, asking);
        return;
    }
    if (asking->cookie == 0)
        ph_cache_listing_begin(caching->cache, &asking->listing, &asking->ask, asking->object, 0);
    for (size_t i = 0; i < part->n_entries; i++) {
        const Pohmel__DirEntry *entry = part->entries[i];
        if (entry->attr)
            ph_cache_learn(caching->cache, &asking->ask, entry->attr, now_ms, &ignored);
        ph_cache_listing_add(caching->cache, &asking->listing, &asking->ask, entry->name.data,
                             entry->name.len, entry->object, FALSE, now_ms);
    }
    if (part->end)
        ph_cache_listing_end(caching->cache, &asking->listing);
    sim_caching_work(caching);
    asking->cookie = part->entries[part->n_entries - 1]->cookie;
    if (part->end)
        let_go(asking->writeback, asking);
    else
        send_part(asking);
}

static void send_part(struct asking *asking)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__ReaddirRequest message = POHMEL__READDIR_REQUEST__INIT;
    struct sim_caching *caching = asking->writeback->client->caching;
    message.caller = &caller;
    message.object = asking->object;
    message.cookie = asking->cookie;
    message.count = LIST_NAMES;
    message.bytes_max = PH_MESSAGE_MAX_BYTES;
    message.attributes = true;
    asking->ask = ph_cache_ask(caching->cache, sim_caching_now(caching));
    ph_send_readdir(&asking->writeback->stub, &message, NULL, listed, asking);
}

/* --- What it decides --- */

static gboolean is_about(const struct note *note, uint64_t object)
{
    gboolean found = FALSE;
    for (int i = 0; i < NOTE_OBJECTS; i++)
        found |= note->objects[i] == object;
    return found;
}

/* A change of OBJECT was refused: what was done and seen of it here, and told to others, is doubtful. */
static void refuse(struct sim_writeback *writeback, uint64_t object)
{
    struct world *world = writeback->client->world;
    struct refused refused = {object, SIM_HISTORY_END_US};
    for (guint i = 0; i < writeback->notes->len; i++) {
        const struct note *note = &g_array_index(writeback->notes, struct note, i);
        if (is_about(note, object))
            sim_history_doubt(&world->history, note->index, SIM_HISTORY_END_US);
        world->result->doubted += is_about(note, object);
    }
    for (guint i = 0; i < world->glimpsed->len; i++) {
        const struct sim_glimpsed *seen = &g_array_index(world->glimpsed, struct sim_glimpsed, i);
        if (seen->object == object)
            sim_history_doubt(&world->history, seen->index, SIM_HISTORY_END_US);
    }
    world->glimpses_lost_us = world->now_us;
    g_array_append_val(writeback->refused, refused);
}

/* What is given back by now is known as it is from now on. */
static void refused_ended(struct sim_writeback *writeback)
{
    for (guint i = 0; i < writeback->refused->len; i++) {
        struct refused *refused = &g_array_index(writeback->refused, struct refused, i);
        if (refused->until_us == SIM_HISTORY_END_US &&
            !ph_cache_is_held(writeback->client->caching->cache, refused->object))
            refused->until_us = writeback->client->world->now_us;
    }
}

/* Whether what began at BEGIN_US may show what was refused. */
static gboolean shows_refused(struct sim_writeback *writeback, const struct note *note, uint64_t begin_us)
{
    refused_ended(writeback);
    for (guint i = 0; i < writeback->refused->len; i++) {
        const struct refused *refused = &g_array_index(writeback->refused, struct refused, i);
        if (begin_us <= refused->until_us && is_about(note, refused->object))
            return TRUE;
    }
    return FALSE;
}

static void failed(struct sim_writeback *writeback, const struct ph_wb_action *action)
{
    struct sim_client *client = writeback->client;
    sim_trace_line(&client->world->result->trace, client->world->now_us, client->name,
                   "lost a change of %" G_GUINT64_FORMAT ": %s: %s", action->object, action->text,
                   ph_status_name(action->status));
    client->world->result->failures++;
    if (sim_fault_refuses(client->world->fault))
        refuse(writeback, action->object);
    else if (!writeback->lost_some && !sim_power_excuses(client->world, action->object))
        sim_violate(client->world, "%s could not write back though nothing had been lost: %s: %s",
                    client->name, action->text, ph_status_name(action->status));
    ph_cache_give_up(client->caching->cache, action->object);
    sim_caching_work(client->caching);
}

static void restored(struct sim_client *client)
{
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    ph_client_restored(client->core, sim_client_ms(client), &actions);
    sim_client_act(client, &actions);
}

static void carry_out(struct sim_writeback *writeback, const struct ph_wb_action *action)
{
    struct sim_caching *caching = writeback->client->caching;
    switch (action->kind) {
    case PH_WB_SEND:
        send(writeback, action);
        break;
    case PH_WB_COMPLETE:
        if (action->fn)
            action->fn(action->data, &action->reply);
        break;
    case PH_WB_EXCLUSIVE:
        acquire(writeback, action->object);
        break;
    case PH_WB_LIST:
        send_part(begin_asking(writeback, action->object));
        break;
    case PH_WB_BORN:
        ph_cache_promote(caching->cache, action->object, action->old_lease, action->lease, action->mode);
        sim_caching_work(caching);
        break;
    case PH_WB_WHOLE:
        ph_cache_set_whole(caching->cache, action->object);
        break;
    case PH_WB_FORGET:
        ph_cache_forget_attr(caching->cache, action->object);
        break;
    case PH_WB_SPACE:
        sim_ask_space(&writeback->stub, action);
        break;
    case PH_WB_RANGE:
        acquire_range(writeback, action);
        break;
    case PH_WB_RETURN:
    case PH_WB_KEEP:
        writeback->client->world->result->ranges_cut += action->kind == PH_WB_KEEP;
        sim_release_range(&writeback->stub, action);
        break;
    case PH_WB_RESTORED:
        restored(writeback->client);
        break;
    case PH_WB_LOST: /* it is said by the next one */
        break;
    case PH_WB_FAILED:
        failed(writeback, action);
        break;
    }
}

static void finish(struct sim_writeback *writeback, struct ph_wb_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++)
        carry_out(writeback, actions->items[i]);
    ph_wb_actions_clear(actions);
}

static uint64_t stub_send(void *self, uint16_t command, const ProtobufCMessage *message,
                          struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    struct sim_writeback *writeback = self;
    struct ph_wb_actions actions;
    struct ph_wb_now at = now(writeback);
    ph_wb_actions_init(&actions);
    uint64_t ticket = ph_wb_submit(writeback->wb, command, message, payload, fn, data, &at, &actions);
    finish(writeback, &actions);
    return ticket;
}

/* --- Life --- */

struct sim_writeback *sim_writeback_new(struct sim_client *client)
{
    const struct sim_profile *profile = &client->world->profile;
    struct sim_writeback *writeback = g_new0(struct sim_writeback, 1);
    struct ph_wb_config config = {.flush_age_ms = profile->flush_age_ms,
                                  .dirty_limit_bytes = profile->dirty_limit,
                                  .owned_limit_bytes = profile->owned_limit,
                                  .payload_max_bytes = PH_PAYLOAD_MAX_BYTES,
                                  .in_flight_max = profile->flush_in_flight};
    writeback->client = client;
    writeback->wb = ph_wb_new(&config);
    writeback->link = client->stub;
    ph_client_restores(client->core);
    writeback->stub = (struct ph_stub){.send = stub_send, .self = writeback};
    writeback->notes = g_array_new(FALSE, FALSE, sizeof(struct note));
    writeback->refused = g_array_new(FALSE, FALSE, sizeof(struct refused));
    client->stub = writeback->stub;
    return writeback;
}

void sim_writeback_free(struct sim_writeback *writeback)
{
    struct ph_wb_counters counters;
    if (!writeback)
        return;
    struct sim_result *result = writeback->client->world->result;
    ph_wb_count(writeback->wb, 0, &counters);
    result->local += counters.local;
    result->forwarded += counters.forwarded;
    result->written_back += counters.sent;
    result->merged += counters.merged;
    result->cancelled_here += counters.cancelled;
    ph_wb_free(writeback->wb);
    g_array_unref(writeback->notes);
    g_array_unref(writeback->refused);
    g_free(writeback);
}

void sim_writeback_opened(struct sim_writeback *writeback)
{
    const struct world *world = writeback->client->world;
    struct ph_wb_actions actions;
    struct ph_wb_now at = now(writeback);
    ph_wb_actions_init(&actions);
    ph_wb_server(writeback->wb, ph_client_opened(writeback->client->core)->epoch,
                 ph_client_opened(writeback->client->core)->unbroken);
    ph_wb_opened(writeback->wb, ph_client_opened(writeback->client->core)->generation,
                 ph_client_opened(writeback->client->core)->leases, &at, &actions);
    /* Every server here grants them; with one that is killed they end, and what is dirty under them is lost,
     * which is not judged yet. */
    ph_wb_ranges(writeback->wb, ph_client_opened(writeback->client->core)->leases &&
                                    world->profile.server_crash_per_mille == 0 && !world->fault);
    finish(writeback, &actions);
}

void sim_writeback_claims(struct sim_writeback *writeback, struct ph_reclaim *reclaim)
{
    ph_wb_claims(writeback->wb, ph_reclaim_add, reclaim);
}

void sim_writeback_claimed(struct sim_writeback *writeback, const struct ph_reclaim *reclaim)
{
    for (const struct ph_reclaimed *at = ph_reclaim_first(reclaim); at; at = ph_reclaim_next(at))
        ph_wb_reclaimed(writeback->wb, &at->claim, at->lease, at->mode);
}

void sim_writeback_recalled(struct sim_writeback *writeback, uint64_t object, uint64_t lease)
{
    struct ph_wb_actions actions;
    struct ph_wb_now at = now(writeback);
    if (PH_MUTANT(RECALL_UNTOLD))
        return;
    ph_wb_actions_init(&actions);
    ph_wb_recalled(writeback->wb, object, lease, &at, &actions);
    finish(writeback, &actions);
}

gboolean sim_writeback_recalled_part(struct sim_writeback *writeback, const Pohmel__RecallEvent *recall)
{
    struct ph_wb_actions actions;
    struct ph_wb_now at = now(writeback);
    gboolean kept;
    ph_wb_actions_init(&actions);
    kept = ph_wb_recalled_part(writeback->wb, recall->object, recall->lease, recall->range->offset,
                               recall->range->offset + recall->range->length, &at, &actions);
    finish(writeback, &actions);
    return kept;
}

enum ph_wb_glimpse sim_writeback_glimpse(struct sim_writeback *writeback, uint64_t object, uint64_t lease,
                                         struct ph_cached_attr *attr, bool *unsent)
{
    struct ph_wb_now at = now(writeback);
    return ph_wb_glimpse(writeback->wb, object, lease, &at, attr, unsent);
}

static void drained(void *data, const struct ph_reply *reply)
{
    struct sim_writeback *writeback = data;
    (void) reply;
    writeback->drained = TRUE;
}

void sim_writeback_drain(struct sim_writeback *writeback)
{
    struct ph_wb_actions actions;
    struct ph_wb_now at = now(writeback);
    ph_wb_actions_init(&actions);
    writeback->draining = TRUE;
    ph_wb_flush(writeback->wb, 0, drained, writeback, &at, &actions);
    finish(writeback, &actions);
}

const struct ph_stub *sim_writeback_link(const struct sim_writeback *writeback)
{
    return &writeback->link;
}

gboolean sim_writeback_is_drained(const struct sim_writeback *writeback)
{
    return writeback->drained;
}

gboolean sim_writeback_makes_again(const struct sim_writeback *writeback)
{
    struct ph_wb_counters counters;
    ph_wb_count(writeback->wb, 0, &counters);
    return counters.making_again;
}

/* --- What may be lost --- */

static gboolean is_dirty(const struct sim_writeback *writeback, const struct note *note)
{
    for (int i = 0; i < NOTE_OBJECTS && note->objects[i] != 0; i++) {
        if (ph_wb_is_dirty(writeback->wb, note->objects[i]))
            return TRUE;
    }
    return FALSE;
}

/* What is clean by now is not lost any more. */
static void prune(struct sim_writeback *writeback)
{
    for (guint i = 0; i < writeback->notes->len;) {
        if (is_dirty(writeback, &g_array_index(writeback->notes, struct note, i)))
            i++;
        else
            g_array_remove_index(writeback->notes, i);
    }
}

/* What others were told of what is dirty here may be lost. */
static void doubt_glimpses(struct sim_writeback *writeback)
{
    struct world *world = writeback->client->world;
    for (guint i = 0; i < world->glimpsed->len; i++) {
        const struct sim_glimpsed *seen = &g_array_index(world->glimpsed, struct sim_glimpsed, i);
        if (ph_wb_is_dirty(writeback->wb, seen->object))
            sim_history_doubt(&world->history, seen->index, SIM_HISTORY_END_US);
    }
    world->glimpses_lost_us = world->now_us;
}

uint64_t sim_writeback_losses(const struct sim_writeback *writeback)
{
    return writeback->losses;
}

void sim_writeback_note(struct sim_writeback *writeback, guint index, const uint64_t *objects,
                        uint64_t losses)
{
    struct sim_history *history = &writeback->client->world->history;
    struct note note = {.index = index};
    if (losses != writeback->losses) { /* lost before its answer was told */
        sim_history_doubt(history, index, SIM_HISTORY_END_US);
        return;
    }
    for (int i = 0; i < NOTE_OBJECTS && objects[i] != 0; i++)
        note.objects[i] = objects[i];
    if (shows_refused(writeback, &note, sim_history_begin_us(history, index))) {
        sim_history_doubt(history, index, SIM_HISTORY_END_US);
        return;
    }
    prune(writeback);
    if (is_dirty(writeback, &note))
        g_array_append_val(writeback->notes, note);
}

/* What is noted is doubtful: UNTIL_US at the latest it happened. */
static void doubt_all(struct sim_writeback *writeback, uint64_t until_us)
{
    prune(writeback);
    for (guint i = 0; i < writeback->notes->len; i++) {
        const struct note *note = &g_array_index(writeback->notes, struct note, i);
        sim_history_doubt(&writeback->client->world->history, note->index, until_us);
        writeback->lost_some = TRUE;
        writeback->client->world->result->doubted++;
    }
    g_array_set_size(writeback->notes, 0);
}

void sim_writeback_lost(struct sim_writeback *writeback)
{
    struct ph_wb_counters counters;
    ph_wb_count(writeback->wb, 0, &counters);
    doubt_glimpses(writeback);
    writeback->losses++;
    writeback->lost_some = writeback->lost_some || counters.dirty_operations > 0;
    /* It may be written back in the next session. */
    doubt_all(writeback, SIM_HISTORY_END_US);
    ph_wb_lost(writeback->wb);
}

void sim_writeback_died(struct sim_writeback *writeback)
{
    doubt_glimpses(writeback);
    doubt_all(writeback, SIM_HISTORY_END_US);
}

void sim_writeback_tick(struct sim_writeback *writeback)
{
    struct ph_wb_actions actions;
    struct ph_wb_now at = now(writeback);
    if (writeback->notes->len > 0)
        prune(writeback);
    refused_ended(writeback);
    ph_wb_actions_init(&actions);
    ph_wb_tick(writeback->wb, &at, &actions);
    finish(writeback, &actions);
}
