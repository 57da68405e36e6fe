#include "server/core/actions.h"

#include "server/core/memory.h"
#include "server/core/server_core.h"

struct ph_action *ph_actions_add(struct ph_actions *actions, enum ph_action_kind kind)
{
    struct ph_action *action;

    if (actions->count >= PH_ACTIONS_INLINE && actions->count - PH_ACTIONS_INLINE == actions->room) {
        actions->room = actions->room == 0 ? 8 : 2 * actions->room;
        actions->more = realloc(actions->more, actions->room * sizeof(struct ph_action));
        if (actions->more == NULL)
            abort();
    }
    actions->count++;
    action = ph_actions_get(actions, actions->count - 1);
    *action = (struct ph_action){.kind = kind};
    return action;
}

struct ph_action *ph_actions_get(struct ph_actions *actions, size_t index)
{
    return index < PH_ACTIONS_INLINE ? &actions->first[index] : &actions->more[index - PH_ACTIONS_INLINE];
}

void ph_actions_clear(struct ph_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        struct ph_action *action = ph_actions_get(actions, i);

        ph_server_conn_unref(action->conn);
        ph_blob_unref(action->message);
        ph_blob_unref(action->payload);
    }
    free(actions->more);
    actions->more = NULL;
    actions->count = actions->room = 0;
}
