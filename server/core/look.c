#include "server/core/look.h"

#include <stdio.h>
#include <string.h>

#include "server/core/private.h"

enum { LOOKS_MAX = 4096 /* with the guard held */ };

static void view(const struct ph_session *session, struct ph_session_view *out)
{
    const struct ph_lease_session *lease = session->lease;

    *out = (struct ph_session_view){
        .number = session->number,
        .leases = lease == NULL ? 0 : ph_lease_session_count(lease),
        .recalled = lease == NULL ? 0 : ph_lease_session_recalled(lease),
        .running = session->running,
        .credits = session->conn == NULL ? 0 : session->conn->credits,
        .away = session->away,
        .caches = lease != NULL,
        .read_only = session->read_only,
    };
    if (lease != NULL)
        memcpy(out->who, ph_lease_session_who(lease), sizeof(out->who));
    else
        snprintf(out->who, sizeof(out->who), "client %02x%02x%02x%02x", session->client[0],
                 session->client[1], session->client[2], session->client[3]);
}

size_t ph_server_look_sessions(struct ph_server *server, size_t export_index, struct ph_session_view *out,
                               size_t max)
{
    const struct ph_session *session;
    size_t count = 0;

    ph_server_enter(server, NULL);
    LIST_FOREACH(session, &server->sessions, of_server)
    {
        if (session->entry->index != export_index)
            continue;
        if (count < max)
            view(session, &out[count]);
        count++;
    }
    ph_server_leave(server);
    return count;
}

size_t ph_server_look_grace(struct ph_server *server)
{
    size_t awaited;

    ph_server_enter(server, NULL);
    awaited = ph_server_is_grace(server) ? server->claimants + server->leaving : 0;
    ph_server_leave(server);
    return awaited;
}

size_t ph_server_look_left(struct ph_server *server, size_t export_index, struct ph_lease_left *out,
                           size_t max)
{
    size_t count;

    ph_server_enter(server, NULL);
    count = ph_leases_left(server->leases, export_index, out, max);
    ph_server_leave(server);
    return count;
}

size_t ph_server_look_leases(struct ph_server *server, size_t export_index, struct ph_table_cursor *cursor,
                             struct ph_lease_view *out, size_t max)
{
    size_t count = 0, looks = LOOKS_MAX;

    ph_server_enter(server, NULL);
    while (count < max && ph_leases_scan(server->leases, export_index, cursor, &looks, &out[count]))
        count++;
    ph_server_leave(server);
    return count;
}

uint64_t ph_server_newest_lease(struct ph_server *server, size_t export_index)
{
    uint64_t newest;

    ph_server_enter(server, NULL);
    newest = ph_leases_newest(server->leases, export_index);
    ph_server_leave(server);
    return newest;
}

void ph_server_sweep(struct ph_server *server, size_t export_index, uint64_t newest,
                     struct ph_lease_sweep *sweep, struct ph_actions *actions)
{
    size_t looks = LOOKS_MAX;

    ph_server_enter(server, actions);
    ph_leases_sweep(server->leases, export_index, newest, sweep, &looks);
    ph_server_leave(server);
}
