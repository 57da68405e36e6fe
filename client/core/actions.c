/* The list of actions that a step of the session leaves behind. */
#include <stdlib.h>
#include <string.h>

#include "client/core/private.h"

void ph_client_actions_init(struct ph_client_actions *actions)
{
    actions->items = actions->inline_items;
    actions->count = 0;
    actions->capacity = PH_CLIENT_ACTIONS_INLINE;
}

void ph_client_actions_clear(struct ph_client_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        ph_request_unref(actions->items[i].request);
        ph_frame_free(actions->items[i].frame);
        free(actions->items[i].text);
    }
    if (actions->items != actions->inline_items)
        free(actions->items);
    ph_client_actions_init(actions);
}

struct ph_client_action *ph_client_act(struct ph_client_actions *actions, enum ph_client_action_kind kind)
{
    if (actions->count == actions->capacity) {
        size_t bytes = actions->count * sizeof(*actions->items);
        struct ph_client_action *items = malloc(2 * bytes);
        if (!items)
            abort();
        memcpy(items, actions->items, bytes);
        if (actions->items != actions->inline_items)
            free(actions->items);
        actions->items = items;
        actions->capacity *= 2;
    }
    struct ph_client_action *action = &actions->items[actions->count++];
    memset(action, 0, sizeof(*action));
    action->kind = kind;
    return action;
}

void ph_client_complete(struct ph_client_request *request, uint32_t status, const char *text,
                        struct ph_client_actions *actions)
{
    struct ph_client_action *action = ph_client_act(actions, PH_CLIENT_COMPLETE);
    action->request = ph_request_ref(request);
    action->status = status;
    action->text = strdup(text);
    if (!action->text)
        abort();
    request->state = PH_REQUEST_DONE;
}
