/* Glimpses: who looks at what another session has exclusively is told by that session, which keeps its lease.
 * docs/protocol.md, section 9.5.
 *
 * What is told held at some time after the question, so while the call that asks was under way. Only size,
 * space and times are taken from the answer: what decides who may do what is the store's, and where the
 * holder has other ideas of it, it is asked for its lease. */
#include "ph_commands.h"
#include "runtime/base/mutant.h"
#include "server/core/private.h"

#include <sys/stat.h>

void ph_server_glimpse_forget(struct ph_server_call *call)
{
    struct ph_glimpse *glimpse = &call->glimpse;

    if (glimpse->state == PH_GLIMPSE_ASKED) {
        TAILQ_REMOVE(&call->server->glimpses, glimpse, of_server);
        TAILQ_REMOVE(&glimpse->holder->asked, glimpse, of_holder);
        glimpse->holder->asked_count--;
    }
    glimpse->holder = NULL;
    glimpse->state = PH_GLIMPSE_NONE;
}

/* The answer to GLIMPSE is known, or will not come. */
static void settle(struct ph_glimpse *glimpse, enum ph_glimpse_state state)
{
    struct ph_server_call *call = PH_TABLE_ENTRY(glimpse, struct ph_server_call, glimpse);

    ph_server_glimpse_forget(call);
    glimpse->state = state;
    ph_server_unpark(call, PH_ST_OK);
}

void ph_server_glimpse_end_session(struct ph_session *session)
{
    while (!TAILQ_EMPTY(&session->asked))
        settle(TAILQ_FIRST(&session->asked), PH_GLIMPSE_REFUSED);
}

void ph_server_glimpse_tick(struct ph_server *server)
{
    struct ph_glimpse *oldest;

    while ((oldest = TAILQ_FIRST(&server->glimpses)) != NULL &&
           server->now_ms - oldest->asked_ms >= PH_GLIMPSE_TIMEOUT_MS)
        settle(oldest, PH_GLIMPSE_REFUSED);
}

/* --- Asking --- */

static void send_question(struct ph_session *holder, uint64_t object, uint64_t lease, uint64_t question)
{
    Pohmel__GlimpseEvent event = POHMEL__GLIMPSE_EVENT__INIT;

    event.object = object;
    event.lease = lease;
    event.question = question;
    ph_server_send_event(holder->conn, PH_CMD_GLIMPSE, &event.base);
}

/* The session that has OBJECT exclusively and answers questions about it, its lease in *LEASE; or NULL. */
static struct ph_session *teller(struct ph_server *server, const struct ph_session *session, uint64_t object,
                                 uint64_t *lease)
{
    struct ph_lease_session *holds =
        ph_leases_teller(server->leases, session->lease, session->entry->index, object, lease);
    struct ph_session *holder = holds == NULL ? NULL : ph_lease_session_owner(holds);

    /* Who is not there cannot be asked. */
    return holder != NULL && holder->glimpses && holder->conn != NULL &&
                   holder->conn->state == PH_CONN_OPEN && !holder->conn->closed
               ? holder
               : NULL;
}

static enum ph_glimpse_state ask(struct ph_server_call *call, struct ph_session *holder, uint64_t object,
                                 uint64_t lease)
{
    const struct ph_store *store = call->session->entry->export->store;
    struct ph_server *server = call->server;
    struct ph_glimpse *glimpse = &call->glimpse;

    if (holder->asked_count >= PH_GLIMPSES_AT_ONCE)
        return PH_GLIMPSE_REFUSED;
    *glimpse = (struct ph_glimpse){
        .state = PH_GLIMPSE_ASKED,
        .question = ++server->last_question,
        .object = object,
        .lease = lease,
        .asked_ms = server->now_ms,
        .asked = POHMEL__TIME__INIT,
        .holder = holder,
    };
    if (store->now != NULL)
        store->now(store->self, &glimpse->asked);
    TAILQ_INSERT_TAIL(&server->glimpses, glimpse, of_server);
    TAILQ_INSERT_TAIL(&holder->asked, glimpse, of_holder);
    holder->asked_count++;
    send_question(holder, object, lease, glimpse->question);
    return PH_GLIMPSE_ASKED;
}

void ph_server_glimpse_hint(struct ph_server *server, const struct ph_session *session, uint64_t object)
{
    uint64_t lease;
    struct ph_session *holder = teller(server, session, object, &lease);

    if (holder == NULL)
        ph_leases_ask_to_share(server->leases, session->lease, session->entry->index, object);
    else if (ph_leases_take_hint(server->leases, session->entry->index, object))
        send_question(holder, object, lease, 0);
}

/* --- Using the answer --- */

static bool is_later(const Pohmel__Time *one, const Pohmel__Time *other)
{
    return one->seconds > other->seconds ||
           (one->seconds == other->seconds && one->nanoseconds > other->nanoseconds);
}

/* The time of change moves when the holder sends what it has changed, to the time at which that arrives,
 * whatever its own clock says: nobody is told a later one before. */
static void tell_changed(const struct ph_glimpse *glimpse, Pohmel__Attr *attr)
{
    const Pohmel__Time *changed = &glimpse->changed;

    if (!glimpse->unsent)
        return;
    if (is_later(changed, &glimpse->asked))
        changed = &glimpse->asked;
    if (is_later(changed, attr->changed)) {
        attr->changed->seconds = changed->seconds;
        attr->changed->nanoseconds = changed->nanoseconds;
    }
}

/* The answer of the holder is brought into ATTR, the store's. False where they do not agree on what the
 * server has to know best. */
static bool tell(const struct ph_glimpse *glimpse, Pohmel__Attr *attr)
{
    const Pohmel__Attr *said = &glimpse->attr;

    if (said->mode != attr->mode || said->uid != attr->uid || said->gid != attr->gid ||
        said->links != attr->links)
        return false;
    attr->size = said->size;
    attr->blocks = said->blocks;
    attr->modified->seconds = glimpse->modified.seconds;
    attr->modified->nanoseconds = glimpse->modified.nanoseconds;
    tell_changed(glimpse, attr);
    if (PH_MUTANT(GLIMPSE_KEPT)) {
        attr->lease = glimpse->lease;
        attr->lease_mode = PH_LEASE_SHARED;
    }
    attr->version = 0; /* the store's does not belong to this state */
    return true;
}

enum ph_glimpse_state ph_server_glimpse(struct ph_server_call *call, Pohmel__Attr *attr)
{
    struct ph_glimpse *glimpse = &call->glimpse;
    enum ph_glimpse_state state = glimpse->object == attr->object ? glimpse->state : PH_GLIMPSE_NONE;
    uint64_t lease;
    struct ph_session *holder = teller(call->server, call->session, attr->object, &lease);

    glimpse->state = PH_GLIMPSE_NONE;
    if (holder == NULL || !S_ISREG(attr->mode) || state == PH_GLIMPSE_REFUSED)
        return PH_GLIMPSE_REFUSED;
    if (state == PH_GLIMPSE_TOLD && glimpse->lease == lease)
        return tell(glimpse, attr) ? PH_GLIMPSE_TOLD : PH_GLIMPSE_REFUSED;
    if (state == PH_GLIMPSE_TOLD)
        return PH_GLIMPSE_REFUSED; /* it has changed hands since: it is wanted by many */
    return ask(call, holder, attr->object, lease);
}

/* --- The answer --- */

/* A question that SESSION was asked, or NULL. */
static struct ph_glimpse *find(struct ph_session *session, uint64_t question)
{
    struct ph_glimpse *glimpse;

    TAILQ_FOREACH(glimpse, &session->asked, of_holder)
    {
        if (glimpse->question == question)
            return glimpse;
    }
    return NULL;
}

/* Whether REQUEST answers GLIMPSE with what may be true. The lease may be gone by now, and with it the right
 * to say anything. */
static bool is_good(const struct ph_server *server, const struct ph_session *session,
                    const struct ph_glimpse *glimpse, const Pohmel__GlimpseAnswerRequest *request)
{
    struct ph_lease_bytes bytes; /* it may be on a range by now */

    return request->attr != NULL && request->lease == glimpse->lease &&
           !ph_leases_range(server->leases, session->lease, request->lease, &bytes) &&
           request->attr->object == glimpse->object && request->attr->size <= INT64_MAX &&
           ph_leases_mode(server->leases, session->lease, request->lease) == PH_LEASE_EXCLUSIVE;
}

uint32_t ph_server_glimpse_answer(void *self, struct ph_call *call,
                                  const Pohmel__GlimpseAnswerRequest *request, Pohmel__Nothing *reply)
{
    struct ph_server *server = self;
    struct ph_server_call *running = call->context;
    struct ph_session *session = running->session;
    struct ph_glimpse *glimpse;

    (void) reply;
    if (!session->caches)
        return ph_fault_set(&call->fault, PH_ST_WRONG_STATE, "the session was opened without leases");
    ph_server_enter(server, &running->actions);
    /* One that is not known was given up, or never asked. */
    glimpse = session->lease == NULL ? NULL : find(session, request->question);
    if (glimpse != NULL && is_good(server, session, glimpse, request)) {
        glimpse->attr = *request->attr;
        glimpse->modified = *request->attr->modified;
        glimpse->changed = *request->attr->changed;
        glimpse->unsent = request->unsent;
        settle(glimpse, PH_GLIMPSE_TOLD);
    } else if (glimpse != NULL) {
        if (request->sharing)
            ph_leases_will_share(server->leases, session->lease, glimpse->lease);
        settle(glimpse, PH_GLIMPSE_REFUSED);
    }
    ph_server_leave(server);
    return PH_ST_OK;
}
