/* The time after a start: sessions of before may come back and claim what they held; whatever one of them may
 * hold is served to nobody else until then. docs/protocol.md, section 4.6. */
#include <string.h>

#include "runtime/base/mutant.h"
#include "server/core/memory.h"
#include "server/core/peek.h"
#include "server/core/private.h"

static void set_grace(struct ph_server *server, bool grace)
{
    __atomic_store_n(&server->grace, grace, __ATOMIC_RELEASE);
}

/* Nobody claims anything any more. */
static void over(struct ph_server *server)
{
    set_grace(server, false);
    for (size_t i = 0; i < server->export_count; i++) {
        const struct ph_store *store = server->exports[i].export->store;
        if (store->claimed != NULL)
            store->claimed(store->self);
    }
}

/* ---- Its beginning ---- */

/* Of two sessions of one client, in the lists of two exports, the older one had ended. */
static void take_over(struct ph_server *server, const struct ph_export_entry *entry,
                      const struct ph_store_session *stored)
{
    const struct ph_session_wish wish = {.client = stored->client,
                                         .number = stored->number,
                                         .entry = entry,
                                         .read_only = stored->read_only,
                                         .resumable = true,
                                         .listed = true};
    struct ph_session *other = ph_session_find(server, stored->client);

    if (other != NULL && other->number >= stored->number) {
        entry->export->store->leave_session(entry->export->store->self, stored->client, stored->number);
        return;
    }
    if (other != NULL)
        ph_session_end(server, other, false);
    ph_session_restore(server, &wish, stored);
    server->claimants++;
}

static void take_over_all(struct ph_server *server, const struct ph_export_entry *entry,
                          struct ph_store_session *list)
{
    const struct ph_store *store = entry->export->store;
    size_t count = store->sessions == NULL ? 0 : store->sessions(store->self, list, PH_SESSIONS_MAX);
    bool continued = store->continued == NULL || store->continued(store->self);

    for (size_t i = 0; i < count; i++) {
        if (continued)
            take_over(server, entry, &list[i]);
        else
            store->leave_session(store->self, list[i].client, list[i].number);
    }
}

uint64_t ph_server_unbroken(const struct ph_store *store, uint64_t epoch)
{
    if (store->unbroken != NULL)
        return store->unbroken(store->self);
    return store->continued == NULL || store->continued(store->self) ? 1 : epoch;
}

void ph_server_begin_grace(struct ph_server *server)
{
    struct ph_store_session *list = ph_core_new0(PH_SESSIONS_MAX * sizeof(*list));
    struct ph_actions actions = {0}, none = {0};

    ph_server_enter(server, &actions);
    for (size_t i = 0; i < server->export_count; i++)
        take_over_all(server, &server->exports[i], list);
    if (server->claimants > 0 && !PH_MUTANT(NO_GRACE))
        set_grace(server, true);
    else
        over(server);
    ph_server_leave(server);
    for (size_t i = 0; i < actions.count; i++)
        ph_server_end_session(server, ph_actions_get(&actions, i), &none);
    ph_actions_clear(&actions);
    ph_actions_clear(&none);
    free(list);
}

/* ---- Its end ---- */

static void go_on(struct ph_session *session)
{
    struct ph_server_call *call;

    LIST_FOREACH(call, &session->calls, of_session)
    {
        if (call->in_grace)
            ph_server_unpark(call, PH_ST_OK);
    }
}

/* It is over when nobody may claim any more, and those who did not come are not in the list any more: after
 * another restart they could. */
static void look_at_end(struct ph_server *server)
{
    struct ph_session *session;

    if (!server->grace || server->claimants > 0 || server->leaving > 0)
        return;
    over(server);
    LIST_FOREACH(session, &server->sessions, of_server)
    {
        go_on(session);
    }
}

void ph_session_claims_no_more(struct ph_server *server, struct ph_session *session)
{
    if (!session->claims)
        return;
    session->claims = false;
    server->claimants--;
    look_at_end(server);
}

void ph_server_left_list(struct ph_server *server, uint64_t session)
{
    server->leaving--;
    ph_lease_sessions_left(server->leases, session);
    look_at_end(server);
}

/* Who has not come back by now, or has not claimed what it held, does not: others may change that from now
 * on, and what it sent before the restart must not be executed after that. */
static void end_claims(struct ph_server *server)
{
    struct ph_session *next;
    size_t missing = 0;

    for (struct ph_session *session = LIST_FIRST(&server->sessions); session != NULL; session = next) {
        next = LIST_NEXT(session, of_server);
        if (!session->claims)
            continue;
        if (session->conn != NULL)
            ph_server_close(session->conn, PH_ST_NO_SESSION, "it did not claim its leases in time");
        ph_session_end(server, session, true);
        missing++;
    }
    if (missing > 0)
        ph_server_say(server, "%s did not come back in time after the start and are not known any more: %zu",
                      "sessions that", missing);
}

void ph_server_tick_grace(struct ph_server *server)
{
    if (!server->grace)
        return;
    if (server->grace_ms == 0) {
        /* Before the start they may have lasted longer than now. */
        uint32_t lease_ms = server->lease_ms > PH_LEASE_TTL_MS ? server->lease_ms : PH_LEASE_TTL_MS;
        server->grace_ms = server->now_ms + ph_lease_kept_ms(lease_ms);
        ph_server_say(server, "%s may come back until what they held has expired, others wait: %zu",
                      "sessions of before the start", server->claimants);
    }
    if (server->now_ms >= server->grace_ms)
        end_claims(server);
}

void ph_server_end_session(struct ph_server *server, const struct ph_action *action,
                           struct ph_actions *actions)
{
    const struct ph_store *store = action->export->store;

    store->end_session(store->self, action->session);
    if (!action->listed)
        return;
    store->leave_session(store->self, action->client, action->number);
    if (store->forget_session != NULL)
        store->forget_session(store->self, action->client, action->number);
    ph_server_enter(server, actions);
    ph_server_left_list(server, action->session);
    ph_server_leave(server);
}

/* ---- Waiting for it ---- */

uint32_t ph_server_wait_for_grace(struct ph_server_call *call)
{
    ph_leases_claim_end(call->server->leases, &call->claim);
    if (call->cancelled)
        return PH_ST_CANCELLED;
    call->in_grace = true;
    return ph_server_wait(call);
}

bool ph_server_reopens(const struct ph_server_call *call)
{
    const struct ph_frame *frame = call->frame;

    /* Also when it is done: the answer may have been lost, and all of it begins again. */
    return call->session->claimed &&
           ph_peek_reopens(frame->header.command, frame->message, frame->header.message_len);
}

/* Whether CALL may go though sessions may come back: its session has a lease on what it reads, so that nobody
 * else had it exclusively; or it opens again what it had open. Guard held. */
static bool may_read(const struct ph_server_call *call)
{
    const struct ph_frame *frame = call->frame;
    const struct ph_session *session = call->session;
    uint16_t command = frame->header.command;
    uint64_t object = ph_peek_read_object(command, frame->message, frame->header.message_len);

    /* What these find is not only the object that they name. */
    if (command == PH_CMD_LOOKUP || command == PH_CMD_READDIR)
        return false;
    if (object == 0)
        return true;
    if (ph_server_reopens(call))
        return true;
    return session->lease != NULL && ph_leases_holds(call->server->leases, session->lease, object);
}

bool ph_server_grace_parks(struct ph_server_call *call)
{
    struct ph_server *server = call->server;
    bool parks;

    if (call->session == NULL)
        return false;
    ph_server_enter(server, &call->actions);
    parks = server->grace && !call->session->ended && !ph_server_is_stray(call) && !may_read(call);
    if (parks)
        call->status = ph_server_wait_for_grace(call);
    ph_server_leave(server);
    return parks;
}
