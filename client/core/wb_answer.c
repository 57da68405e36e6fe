/* Answers that are made here look like the server's. */
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_private.h"
#include "ph_commands.h"

Pohmel__Attr *wb_attr_to_wire(const struct wb_object *o, struct ph_cached_attr_wire *wire)
{
    Pohmel__Attr *attr = (Pohmel__Attr *) ph_cached_attr_to_wire(&o->attr, wire);
    attr->lease = o->lease;
    attr->lease_mode = o->lease != 0 ? POHMEL__LEASE_MODE__MODE_EXCLUSIVE : POHMEL__LEASE_MODE__MODE_NONE;
    attr->plain = o->plain;
    return attr;
}

struct ph_wb_answer *wb_answer_attr(const struct wb_object *o)
{
    struct ph_wb_answer *answer = wb_alloc(sizeof(*answer));
    if (o != NULL)
        answer->found[0] = wb_attr_to_wire(o, &answer->attr);
    return answer;
}

/* The answer to a change: inside that of a transaction. */
static void wrap(struct ph_wb_answer *answer, const struct ph_wb_call *call)
{
    pohmel__transact_reply__init(&answer->transact);
    pohmel__change_result__init(&answer->result);
    answer->results[0] = &answer->result;
    answer->transact.n_results = 1;
    answer->transact.results = answer->results;
    /* The number of each member is the command's. */
    answer->result.result_case = (Pohmel__ChangeResult__ResultCase) call->command;
    answer->result.create = &answer->message.create;
    answer->reply = &answer->transact.base;
}

void wb_answer(struct ph_wb *wb, struct ph_wb_call *call, struct ph_wb_answer *answer,
               struct ph_blob *payload, struct ph_wb_actions *actions)
{
    struct ph_wb_action *action = wb_action(actions, PH_WB_COMPLETE);
    if (call->outer == PH_CMD_TRANSACT)
        wrap(answer, call);
    else
        answer->reply = &answer->message.nothing.base;
    action->fn = call->fn;
    action->data = call->data;
    action->answer = answer;
    action->reply =
        (struct ph_reply){.status = PH_ST_OK, .message = answer->reply, .payload = payload, .text = ""};
    wb->counters.local++;
    wb_call_over(wb, call, actions);
}

void wb_fail(struct ph_wb *wb, struct ph_wb_call *call, uint32_t status, const char *text,
             struct ph_wb_actions *actions)
{
    struct ph_wb_action *action = wb_action(actions, PH_WB_COMPLETE);
    action->fn = call->fn;
    action->data = call->data;
    action->reply = (struct ph_reply){.status = status, .text = text};
    wb_call_over(wb, call, actions);
}
