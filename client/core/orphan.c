/* What an abandoned request opened at the server has no owner here; it is closed again. */
#include "client/core/private.h"
#include "ph_commands.h"
#include "runtime/wire/command.h"

/* Handle and object that a request, which was answered well, has opened; false when none. */
static bool opened_by(uint16_t command, const ProtobufCMessage *message, Pohmel__CloseRequest *close)
{
    if (command == PH_CMD_OPEN) {
        const Pohmel__OpenRequest *open = (const Pohmel__OpenRequest *) message;
        close->handle = open->handle;
        close->object = open->object;
        return true;
    }
    const Pohmel__TransactRequest *transact = (const Pohmel__TransactRequest *) message;
    for (size_t i = 0; i < transact->n_changes; i++) {
        const Pohmel__Change *change = transact->changes[i];
        if (change->command_case == POHMEL__CHANGE__COMMAND_CREATE && change->create->handle) {
            close->handle = change->create->handle;
            close->object = change->create->object;
            return true;
        }
        if (change->command_case == POHMEL__CHANGE__COMMAND_TMPFILE) {
            close->handle = change->tmpfile->handle;
            close->object = change->tmpfile->object;
            return true;
        }
    }
    return false;
}

void ph_client_undo_orphan(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms)
{
    if ((client->state != CLIENT_OPEN && !client->kept) ||
        (request->command != PH_CMD_OPEN && request->command != PH_CMD_TRANSACT))
        return;
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    ProtobufCMessage *message = ph_decode(ph_command_info(request->command)->request, request->message,
                                          request->message_len, arena, &fault);
    Pohmel__CloseRequest close = POHMEL__CLOSE_REQUEST__INIT;
    if (message && opened_by(request->command, message, &close)) {
        struct ph_client_request *undo = ph_client_own_request(PH_PURPOSE_USER, PH_CMD_CLOSE, &close.base);
        undo->orphan = true;
        undo->id = ++client->next_id;
        ph_client_enqueue(client, undo, now_ms);
    }
    ph_arena_free(arena);
}

bool ph_client_when_late(struct ph_client *client, uint64_t ticket, ph_late_fn late, void *data)
{
    struct ph_client_request *request = ph_client_find_sent(client, ticket);
    if (!request || !request->orphan)
        return false;
    request->late = late;
    request->late_data = data;
    return true;
}

void ph_client_tell_late(struct ph_client_request *request, struct ph_client_actions *actions)
{
    if (request->late)
        ph_client_act(actions, PH_CLIENT_LATE)->request = ph_request_ref(request);
}
