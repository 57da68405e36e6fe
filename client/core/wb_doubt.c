#include "client/core/wb_doubt.h"

#include <string.h>

#include "client/core/wb_owned_steps.h"
#include "ph_commands.h"

static void forget_first(struct wb_owned *kept)
{
    memmove(&kept->doubts[0], &kept->doubts[1], (--kept->doubt_count) * sizeof(kept->doubts[0]));
}

void wb_doubt(struct ph_wb *wb, const struct ph_wb_call *call)
{
    struct wb_owned *kept = wb->owned;
    const Pohmel__TransactRequest *request = (const Pohmel__TransactRequest *) call->owned;
    if (call->command != PH_CMD_TRANSACT || request == NULL || request->key == 0)
        return;
    if (kept->doubt_count == WB_DOUBTS_MAX)
        forget_first(kept);
    kept->doubts[kept->doubt_count++] =
        (struct wb_doubt){.key = request->key, .since = request->since, .number = call->owned_number};
}

bool wb_doubt_ask(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    const struct wb_doubt *doubt = &wb->owned->doubts[0];
    if (wb->owned->doubt_count == 0)
        return false;
    struct ph_wb_call *call = wb_owned_command(wb, WB_OWNED_OUTCOME);
    Pohmel__OutcomeRequest *outcome = &call->outgoing->message.outcome;
    pohmel__outcome_request__init(outcome);
    outcome->key = doubt->key;
    outcome->since = doubt->since;
    wb_send(wb, call, PH_CMD_OUTCOME, &outcome->base, actions);
    return true;
}

void wb_doubt_answered(struct ph_wb *wb, const struct ph_reply *reply)
{
    struct wb_owned *kept = wb->owned;
    const Pohmel__OutcomeReply *told = (const Pohmel__OutcomeReply *) reply->message;
    bool done = reply->status == PH_ST_OK && told != NULL && told->done;
    while (done && kept->first != NULL && kept->first->number <= kept->doubts[0].number)
        wb_owned_drop(wb, NULL);
    forget_first(kept);
}

void wb_doubt_clear(struct ph_wb *wb)
{
    wb->owned->doubt_count = 0;
}
