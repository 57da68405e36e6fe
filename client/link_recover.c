/* Leases are claimed at a server that was started anew: between the core and who caches under them. */
#include <stdlib.h>

#include "client/link_private.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

static void claim(struct ph_link *link)
{
    struct ph_client_actions actions;
    size_t count;
    ph_reclaim_clear(&link->reclaim);
    ph_reclaim_init(&link->reclaim);
    link->events->claims(link->events_data, &link->reclaim);
    struct ph_claim *claims = ph_reclaim_list(&link->reclaim, &count);
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    ph_client_claims(link->core, claims, count, ph_link_now_ms(), &actions);
    ph_link_finish(link, &actions);
    free(claims);
}

static void grant(struct ph_link *link, const struct ph_frame *frame)
{
    struct ph_fault fault = {0};
    ph_arena_reset(link->arena, PH_ARENA_CAP_BYTES);
    const ProtobufCMessage *message = ph_decode(ph_command_info(PH_CMD_RECLAIM)->reply, frame->message,
                                                frame->header.message_len, link->arena, &fault);
    if (message)
        ph_reclaim_grant(&link->reclaim, (const Pohmel__ReclaimReply *) message);
    else
        ph_link_malformed(link, PH_CMD_RECLAIM, fault.text);
}

void ph_link_recover(struct ph_link *link, const struct ph_client_action *action)
{
    if (action->kind == PH_CLIENT_CLAIMS) {
        claim(link);
    } else if (action->kind == PH_CLIENT_GRANTS) {
        grant(link, action->frame);
    } else {
        link->events->claimed(link->events_data, &link->reclaim);
        ph_reclaim_clear(&link->reclaim);
        ph_reclaim_init(&link->reclaim);
    }
}
