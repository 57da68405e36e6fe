/* A client takes up its leases at a server that was started anew. */
#include <stdlib.h>

#include "client/core/reclaim.h"
#include "conformance/sim/caching.h"
#include "conformance/sim/writeback.h"
#include "ph_commands.h"

void sim_reclaim_claim(struct sim_client *client)
{
    struct ph_client_actions actions;
    size_t count;
    ph_reclaim_clear(&client->reclaim);
    ph_reclaim_init(&client->reclaim);
    if (client->writeback)
        sim_writeback_claims(client->writeback, &client->reclaim);
    ph_cache_claims(client->caching->cache, ph_reclaim_add, &client->reclaim);
    struct ph_claim *claims = ph_reclaim_list(&client->reclaim, &count);
    ph_client_actions_init(&actions);
    ph_client_claims(client->core, claims, count, sim_client_ms(client), &actions);
    sim_client_act(client, &actions);
    free(claims);
}

void sim_reclaim_grant(struct sim_client *client, const struct ph_frame *frame)
{
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    const ProtobufCMessage *reply = ph_decode(ph_command_info(PH_CMD_RECLAIM)->reply, frame->message,
                                              frame->header.message_len, arena, &fault);
    if (reply)
        ph_reclaim_grant(&client->reclaim, (const Pohmel__ReclaimReply *) reply);
    else
        sim_violate(client->world, "%s: the server sent a malformed reply: %s", client->name, fault.text);
    ph_arena_free(arena);
}

void sim_reclaim_done(struct sim_client *client)
{
    struct sim_caching *caching = client->caching;
    if (client->writeback)
        sim_writeback_claimed(client->writeback, &client->reclaim);
    for (const struct ph_reclaimed *at = ph_reclaim_first(&client->reclaim); at; at = ph_reclaim_next(at))
        ph_cache_reclaimed(caching->cache, &at->claim, at->lease, at->mode);
    client->world->result->reclaims++;
    ph_reclaim_clear(&client->reclaim);
    ph_reclaim_init(&client->reclaim);
    sim_caching_work(caching);
}
