/* Calls that wait until others have given their leases back. No thread waits with them: a
 * parked call is done with like one that was answered, and executed from its start when it may go. */
#include "runtime/base/mutant.h"
#include "server/core/peek.h"
#include "server/core/private.h"

uint32_t ph_server_wait(struct ph_server_call *call)
{
    call->parked = call->waits = true;
    return PH_PENDING;
}

uint32_t ph_server_park(struct ph_server_call *call)
{
    if (call->cancelled) {
        ph_leases_claim_end(call->server->leases, &call->claim);
        ph_server_glimpse_forget(call);
        return PH_ST_CANCELLED;
    }
    call->parked = true;
    call->waits = call->claim.state == PH_LEASE_WAITING || call->glimpse.state == PH_GLIMPSE_ASKED;
    return PH_PENDING;
}

static void run_again(struct ph_server_call *call)
{
    call->settled = false;
    ph_gate_count(call);
    ph_actions_add(call->server->out, PH_ACTION_RUN)->call = call;
}

void ph_server_unpark(struct ph_server_call *call, uint32_t status)
{
    if (!call->waits)
        return;
    if (status != PH_ST_OK) {
        ph_leases_claim_end(call->server->leases, &call->claim);
        ph_server_glimpse_forget(call);
    }
    if (PH_MUTANT(FENCED_GOES_ON) && status == PH_ST_NO_SESSION)
        status = PH_ST_OK;
    call->waits = call->in_grace = call->at_gate = false;
    call->verdict = status;
    if (call->settled)
        run_again(call);
}

void ph_server_settle(struct ph_server_call *call)
{
    ph_gate_uncount(call);
    call->settled = true;
    if (!call->waits)
        run_again(call);
}

static void unpark_of(const struct ph_session *session, uint32_t status)
{
    struct ph_server_call *call;

    LIST_FOREACH(call, &session->calls, of_session)
    {
        ph_server_unpark(call, status);
    }
}

void ph_server_unpark_all(struct ph_server *server, const struct ph_session *session, uint32_t status)
{
    const struct ph_session *one;

    if (session != NULL) {
        unpark_of(session, status);
        return;
    }
    LIST_FOREACH(one, &server->sessions, of_server)
    {
        unpark_of(one, status);
    }
}

/* Guard held. */
static uint32_t claim(struct ph_server_call *call, const struct ph_lease_want *wants, size_t count)
{
    struct ph_session *session = call->session;
    struct ph_leases *leases = call->server->leases;

    if (ph_lease_claim_covers(&call->claim, wants, count))
        return PH_ST_OK;
    /* What it has is given up first: who waits holds nothing that others wait for. */
    ph_leases_claim_end(leases, &call->claim);
    if (session->ended)
        return PH_MUTANT(FENCED_GOES_ON) ? PH_ST_OK : PH_ST_NO_SESSION;
    if (ph_server_is_stray(call))
        return PH_ST_NO_SESSION;
    ph_leases_claim(leases, &call->claim, session->lease, session->entry->index, wants, count);
    return call->claim.state == PH_LEASE_WAITING ? ph_server_park(call) : PH_ST_OK;
}

/* Whether it goes whoever holds what. Guard held. */
static bool must_not_wait(const struct ph_server_call *call, const struct ph_change_plan *plan)
{
    const struct ph_lease_session *own = call->session->lease;

    return plan->laundered && own != NULL &&
           ph_leases_holds(call->server->leases, own, plan->wants[0].object);
}

/* Whether its session has all objects of WANTS exclusively, so that no other session can claim one of them.
 * Guard held. */
static bool is_all_own(const struct ph_server_call *call, const struct ph_lease_want *wants, size_t wanted)
{
    const struct ph_lease_session *own = call->session->lease;
    size_t count = 0;

    while (own != NULL && count < wanted && wants[count].object != PH_LEASE_ALL &&
           ph_leases_holds_alone(call->server->leases, own, wants[count].object))
        count++;
    return count == wanted;
}

uint32_t ph_server_claim_wants(struct ph_server_call *call, const struct ph_lease_want *wants, size_t count)
{
    uint32_t status;

    ph_server_enter(call->server, &call->actions);
    if (call->server->grace && !call->session->ended && !is_all_own(call, wants, count))
        status = ph_server_wait_for_grace(call);
    else
        status = claim(call, wants, count);
    call->since = ph_leases_clock(call->server->leases);
    ph_server_leave(call->server);
    return status;
}

uint32_t ph_server_claim(struct ph_server_call *call, const struct ph_change_plan *plan)
{
    uint32_t status = PH_ST_OK;

    ph_server_enter(call->server, &call->actions);
    if (call->server->grace && !call->session->ended && !is_all_own(call, plan->wants, plan->count)) {
        status = ph_server_wait_for_grace(call);
    } else if (must_not_wait(call, plan)) {
        ph_leases_claim_end(call->server->leases, &call->claim);
        ph_leases_claim_at_once(call->server->leases, &call->claim, call->session->lease, &plan->wants[0]);
    } else {
        status = claim(call, plan->wants, plan->count);
    }
    call->since = ph_leases_clock(call->server->leases);
    ph_server_leave(call->server);
    return status;
}

/* What CALL, which reads, is about. What a session has exclusively may be told of by it: that shows when it
 * was read (grants.c). Guard held. */
static struct ph_lease_want want_of(const struct ph_server_call *call, uint64_t object)
{
    const struct ph_frame *frame = call->frame;
    const struct ph_lease_session *own = call->session->lease;
    struct ph_lease_want want = {.object = object};

    switch (frame->header.command) {
    case PH_CMD_READ:
        want.part =
            ph_peek_read_bytes(frame->message, frame->header.message_len, &want.bytes.start, &want.bytes.end);
        break;
    case PH_CMD_ACCESS:
    case PH_CMD_GETXATTR:
    case PH_CMD_LISTXATTR:
        want.part = true; /* no bytes: ranges have nothing to do with it */
        break;
    case PH_CMD_OPEN:
        /* Who writes under a range must be able to open it; the attributes that it is told say nothing. */
        want.part = own != NULL && ph_leases_holds_range(call->server->leases, own, object);
        break;
    default:
        break;
    }
    return want;
}

bool ph_server_reading_waits(struct ph_server_call *call)
{
    const struct ph_frame *frame = call->frame;
    struct ph_server *server = call->server;
    struct ph_lease_want want;
    uint64_t object;

    if (ph_server_is_grace(server) && ph_server_grace_parks(call))
        return true;
    if (call->session == NULL || !ph_leases_exclusive(server->leases))
        return false;
    object = frame->header.command == PH_CMD_GETATTR
                 ? 0
                 : ph_peek_read_object(frame->header.command, frame->message, frame->header.message_len);
    if (object == 0)
        return false;
    ph_server_enter(server, &call->actions);
    call->status = PH_ST_OK;
    want = want_of(call, object);
    /* Only where it must wait: a claim that it holds already is for what it found before. */
    if (!ph_server_reopens(call) &&
        ph_leases_reading_conflicts(server->leases, call->session->lease, call->session->entry->index, &want))
        call->status = claim(call, &want, 1);
    call->since = ph_leases_clock(server->leases);
    ph_server_leave(server);
    return call->status != PH_ST_OK;
}
