/* Transactions of several commands are executed alone: nobody reads or changes anything of their export
 * meanwhile, so that nobody sees the middle of one. What comes then is parked, for as long as that takes;
 * what is being executed already is waited for. docs/protocol.md, section 5.4. */
#include "runtime/base/mutant.h"
#include "server/core/private.h"

/* Whether COMMAND reads or changes objects. */
static bool is_concerned(uint16_t command)
{
    switch (command) {
    case PH_CMD_TRANSACT:
    case PH_CMD_LOOKUP:
    case PH_CMD_GETATTR:
    case PH_CMD_READLINK:
    case PH_CMD_ACCESS:
    case PH_CMD_READDIR:
    case PH_CMD_OPEN:
    case PH_CMD_READ:
    case PH_CMD_SEEK:
    case PH_CMD_GETXATTR:
    case PH_CMD_LISTXATTR:
    case PH_CMD_LEASE_ACQUIRE:
    case PH_CMD_RECLAIM:
        return true;
    default:
        return false;
    }
}

static struct ph_gate *gate_of(const struct ph_server_call *call)
{
    return &call->server->exports[call->session->entry->index].gate;
}

/* Nobody but the owner is inside any more. Guard held. */
static bool is_alone(const struct ph_gate *gate)
{
    return gate->inside == (gate->owner->inside ? 1 : 0);
}

void ph_gate_count(struct ph_server_call *call)
{
    if (call->session == NULL || call->inside || !is_concerned(call->frame->header.command))
        return;
    call->inside = true;
    gate_of(call)->inside++;
}

void ph_gate_uncount(struct ph_server_call *call)
{
    struct ph_gate *gate;

    if (!call->inside)
        return;
    gate = gate_of(call);
    call->inside = false;
    gate->inside--;
    if (gate->owner != NULL && gate->owner->at_gate && is_alone(gate)) {
        gate->owner->at_gate = false;
        ph_server_unpark(gate->owner, PH_ST_OK);
    }
}

/* CALL waits for the gate. Guard held. */
static uint32_t wait_for_gate(struct ph_server_call *call)
{
    if (call->cancelled || call->session->ended || ph_server_is_stray(call))
        return call->cancelled ? PH_ST_CANCELLED : PH_ST_NO_SESSION;
    call->at_gate = true;
    return ph_server_wait(call);
}

bool ph_gate_parks(struct ph_server_call *call)
{
    const struct ph_server *server = call->server;
    struct ph_gate *gate;

    if (__atomic_load_n(&server->gates, __ATOMIC_ACQUIRE) == 0 || call->session == NULL ||
        !is_concerned(call->frame->header.command) || PH_MUTANT(GATE_OPEN))
        return false;
    gate = gate_of(call);
    ph_server_enter(call->server, &call->actions);
    call->status = gate->owner == NULL || gate->owner == call ? PH_ST_OK : wait_for_gate(call);
    ph_server_leave(call->server);
    return call->status != PH_ST_OK;
}

uint32_t ph_gate_enter(struct ph_server_call *call)
{
    struct ph_server *server = call->server;
    struct ph_gate *gate = gate_of(call);
    uint32_t status = PH_ST_OK;

    ph_server_enter(server, &call->actions);
    if (gate->owner == NULL) {
        gate->owner = call;
        __atomic_add_fetch(&server->gates, 1, __ATOMIC_RELEASE);
    }
    if (gate->owner != call || !is_alone(gate))
        status = wait_for_gate(call);
    ph_server_leave(server);
    return status;
}

bool ph_gate_is_entered(struct ph_server_call *call)
{
    const struct ph_gate *gate = gate_of(call);
    bool entered;

    ph_server_enter(call->server, &call->actions);
    entered = gate->owner == call && is_alone(gate);
    ph_server_leave(call->server);
    return entered;
}

void ph_gate_open(struct ph_server_call *call)
{
    struct ph_server *server = call->server;
    struct ph_gate *gate = call->session == NULL ? NULL : gate_of(call);
    struct ph_session *session;
    struct ph_server_call *other;

    call->at_gate = false;
    if (gate == NULL || gate->owner != call)
        return;
    gate->owner = NULL;
    __atomic_sub_fetch(&server->gates, 1, __ATOMIC_RELEASE);
    LIST_FOREACH(session, &server->sessions, of_server)
    {
        LIST_FOREACH(other, &session->calls, of_session)
        {
            if (!other->at_gate || gate_of(other) != gate)
                continue;
            other->at_gate = false;
            ph_server_unpark(other, PH_ST_OK);
        }
    }
}
