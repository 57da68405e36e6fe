/* What the simulated programs do, and what must hold whatever comes of it. */
#include <string.h>

#include "conformance/sim/world.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum {
    SHORT_OF_IDS_US = 2000,
    NAMES = 6,
    DOOMED_PER_MILLE = 150,
    IMPATIENT_PER_MILLE = 250,
    IMPATIENCE_US = 30000,
    ACCESS_BOTH = 3,
};

static const Pohmel__Caller nobody = POHMEL__CALLER__INIT;

static void next_operation(struct world *world, void *data);

static struct world *world_of(const struct sim_process *process)
{
    return process->client->world;
}

static uint64_t session_of(const struct sim_process *process)
{
    return ph_client_opened(process->client->core)->generation;
}

static void think(struct sim_process *process)
{
    struct world *world = world_of(process);
    sim_after(world, sim_below(world, world->profile.think_us), next_operation, process, NULL);
}

/* Every answer begins here: there must be somebody who waits for it. */
static void answered(struct sim_process *process, const struct ph_reply *reply)
{
    if (!process->busy)
        sim_violate(world_of(process), "%s: a request was answered twice", process->client->name);
    process->busy = FALSE;
    sim_trace_line(&world_of(process)->result->trace, world_of(process)->now_us, process->client->name,
                   "process %d: %s", process->index, ph_status_name(reply->status));
    think(process);
}

static void on_answer(void *data, const struct ph_reply *reply)
{
    answered(data, reply);
}

static void on_open(void *data, const struct ph_reply *reply)
{
    struct sim_process *process = data;
    if (reply->status != PH_ST_OK)
        process->object = 0;
    answered(process, reply);
}

static void open_register(struct sim_process *process)
{
    struct world *world = world_of(process);
    Pohmel__OpenRequest message = POHMEL__OPEN_REQUEST__INIT;
    process->object = MODEL_REGISTER_FIRST + sim_below(world, MODEL_REGISTERS);
    process->handle = ++process->client->next_handle;
    process->lock_session = 0;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = process->object;
    message.handle = process->handle;
    message.access = ACCESS_BOTH;
    ph_send_open(&process->client->stub, &message, NULL, on_open, process);
}

static void on_write(void *data, const struct ph_reply *reply)
{
    struct sim_process *process = data;
    struct world *world = world_of(process);
    guint writes = model_store_writes_of(world->store, process->value);
    gboolean unknown = reply->status == PH_ST_IO_ERROR || reply->status == PH_ST_CANCELLED;
    if (process->doomed && unknown) {
        /* It may be half executed right now. */
        g_array_append_val(world->doomed, process->value);
    } else if (process->doomed) {
        if (writes > 0 || reply->status == PH_ST_OK)
            sim_violate(world, "%s: a transaction that failed left its first command done",
                        process->client->name);
    } else if (reply->status == PH_ST_OK && writes != 1) {
        sim_violate(world, "%s: a write that was answered took effect %u times", process->client->name,
                    writes);
    } else if (writes > (unknown ? 1U : reply->status == PH_ST_OK)) {
        sim_violate(world, "%s: a write answered %s took effect %u times", process->client->name,
                    ph_status_name(reply->status), writes);
    }
    answered(process, reply);
}

/* A transaction that writes and then removes what is not there. */
static void send_doomed(struct sim_process *process, Pohmel__WriteRequest *write, struct ph_blob *payload)
{
    Pohmel__RemoveRequest nothing = POHMEL__REMOVE_REQUEST__INIT;
    Pohmel__Change changes[2] = {POHMEL__CHANGE__INIT, POHMEL__CHANGE__INIT};
    Pohmel__Change *list[2] = {&changes[0], &changes[1]};
    Pohmel__TransactRequest message = POHMEL__TRANSACT_REQUEST__INIT;
    nothing.caller = (Pohmel__Caller *) &nobody;
    nothing.parent = PH_OBJECT_ROOT;
    nothing.name = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *) "none"};
    changes[0].command_case = POHMEL__CHANGE__COMMAND_WRITE;
    changes[0].write = write;
    changes[1].command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    changes[1].remove = &nothing;
    message.n_changes = G_N_ELEMENTS(list);
    message.changes = list;
    process->client->stub.send(process->client->stub.self, PH_CMD_TRANSACT, &message.base, payload, on_write,
                               process);
}

static void write_register(struct sim_process *process)
{
    struct world *world = world_of(process);
    Pohmel__WriteRequest message = POHMEL__WRITE_REQUEST__INIT;
    process->value = ((uint64_t) (process->client->index + 1) << 56) | ((uint64_t) process->index << 48) |
                     ++process->count;
    process->doomed = sim_chance(world, DOOMED_PER_MILLE);
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = process->object;
    message.handle = process->handle;
    message.length = MODEL_VALUE_BYTES;
    uint64_t little = GUINT64_TO_LE(process->value);
    struct ph_blob *payload = ph_blob_new(MODEL_VALUE_BYTES);
    memcpy(payload->data, &little, MODEL_VALUE_BYTES);
    payload->len = MODEL_VALUE_BYTES;
    if (process->doomed)
        send_doomed(process, &message, payload);
    else
        ph_send_write(&process->client->stub, &message, payload, on_write, process);
    ph_blob_unref(payload);
}

static void on_read(void *data, const struct ph_reply *reply)
{
    struct sim_process *process = data;
    struct world *world = world_of(process);
    uint64_t value = 0;
    if (reply->status == PH_ST_OK && (!reply->payload || reply->payload->len != sizeof(value))) {
        sim_violate(world, "%s: a read of a register brought no value", process->client->name);
    } else if (reply->status == PH_ST_OK) {
        memcpy(&value, reply->payload->data, sizeof(value));
        if (!model_store_held(world->store, process->object, GUINT64_FROM_LE(value), process->started_us,
                              world->now_us))
            sim_violate(world, "%s: a read brought a value that the register did not hold meanwhile",
                        process->client->name);
    }
    answered(process, reply);
}

static void read_register(struct sim_process *process)
{
    Pohmel__ReadRequest message = POHMEL__READ_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = process->object;
    message.handle = process->handle;
    message.length = MODEL_VALUE_BYTES;
    ph_send_read(&process->client->stub, &message, NULL, on_read, process);
}

static struct sim_holder *holder_of(struct sim_process *process)
{
    return &world_of(process)->holders[process->object - MODEL_REGISTER_FIRST];
}

static void send_unlock(struct sim_process *process)
{
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__UnlockRequest message = POHMEL__UNLOCK_REQUEST__INIT;
    struct sim_holder *holder = holder_of(process);
    if (holder->process == process)
        *holder = (struct sim_holder){0};
    process->lock_session = 0;
    range.length = MODEL_VALUE_BYTES;
    message.object = process->object;
    message.owner = (uint64_t) process->index;
    message.range = &range;
    ph_send_unlock(&process->client->stub, &message, NULL, on_answer, process);
}

static void on_lock(void *data, const struct ph_reply *reply)
{
    struct sim_process *process = data;
    struct world *world = world_of(process);
    struct sim_holder *holder = holder_of(process);
    if (reply->status == PH_ST_CANCELLED) {
        /* It may have been granted in the same moment: given back in any case. */
        send_unlock(process);
        return;
    }
    if (reply->status == PH_ST_OK) {
        if (holder->process && !holder->conn->closed[SIM_END_SERVER])
            sim_violate(world, "%s and %s hold the same lock", process->client->name,
                        holder->process->client->name);
        *holder = (struct sim_holder){.process = process, .conn = process->client->conn};
        process->lock_session = session_of(process);
        world->result->locks++;
    }
    answered(process, reply);
}

/* The program loses its patience with the operation it was in. */
static void on_impatience(struct world *world, void *data)
{
    struct sim_process *process = data;
    struct ph_client_actions actions;
    if (!process->busy || process->ticket == 0)
        return;
    ph_client_actions_init(&actions);
    if (sim_chance(world, 500))
        ph_client_cancel(process->client->core, process->ticket, &actions);
    else
        ph_client_abandon(process->client->core, process->ticket, &actions);
    process->ticket = 0;
    sim_client_act(process->client, &actions);
}

static void lock_register(struct sim_process *process)
{
    struct world *world = world_of(process);
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__LockRequest message = POHMEL__LOCK_REQUEST__INIT;
    range.length = MODEL_VALUE_BYTES;
    message.object = process->object;
    message.handle = process->handle;
    message.owner = (uint64_t) process->index;
    message.range = &range;
    message.wait = true;
    process->ticket = ph_send_lock(&process->client->stub, &message, NULL, on_lock, process);
    if (sim_chance(world, IMPATIENT_PER_MILLE))
        sim_after(world, sim_below(world, IMPATIENCE_US), on_impatience, process, NULL);
}

static void on_create(void *data, const struct ph_reply *reply)
{
    struct sim_process *process = data;
    const Pohmel__CreateResult *result = ph_reply_create(reply);
    if (result && result->created && result->attr->object != process->value)
        sim_violate(world_of(process), "%s: a file was made with another id than it was to have",
                    process->client->name);
    answered(process, reply);
}

/* A name of the few that all programs use. */
static ProtobufCBinaryData some_name(struct world *world)
{
    static const char *const names[NAMES] = {"ash", "birch", "cedar", "elm", "fir", "hazel"};
    const char *name = names[sim_below(world, NAMES)];
    return (ProtobufCBinaryData){.len = strlen(name), .data = (uint8_t *) name};
}

/* Makes a file, with an id of the client's own. FALSE when it has none right now. */
static gboolean create_file(struct sim_process *process)
{
    struct world *world = world_of(process);
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    uint64_t id = ph_client_take_ids(process->client->core, 1, sim_now_ms(world), &actions);
    sim_client_act(process->client, &actions);
    if (id == 0)
        return FALSE;
    Pohmel__CreateRequest message = POHMEL__CREATE_REQUEST__INIT;
    process->value = id;
    message.caller = (Pohmel__Caller *) &nobody;
    message.parent = PH_OBJECT_ROOT;
    message.name = some_name(world);
    message.object = id;
    message.exclusive = sim_chance(world, 500);
    ph_send_create(&process->client->stub, &message, NULL, on_create, process);
    return TRUE;
}

static void use_names(struct sim_process *process)
{
    struct world *world = world_of(process);
    const struct ph_stub *stub = &process->client->stub;
    Pohmel__RemoveRequest removal = POHMEL__REMOVE_REQUEST__INIT;
    Pohmel__RenameRequest rename = POHMEL__RENAME_REQUEST__INIT;
    Pohmel__LookupRequest lookup = POHMEL__LOOKUP_REQUEST__INIT;
    Pohmel__ReaddirRequest listing = POHMEL__READDIR_REQUEST__INIT;
    ProtobufCBinaryData name = some_name(world);
    removal.caller = rename.caller = lookup.caller = listing.caller = (Pohmel__Caller *) &nobody;
    removal.parent = rename.old_parent = rename.new_parent = lookup.parent = listing.object = PH_OBJECT_ROOT;
    switch (sim_below(world, 4)) {
    case 0:
        removal.name = name;
        ph_send_remove(stub, &removal, NULL, on_answer, process);
        break;
    case 1:
        rename.old_name = name;
        rename.new_name = some_name(world);
        ph_send_rename(stub, &rename, NULL, on_answer, process);
        break;
    case 2:
        lookup.n_names = 1;
        lookup.names = &name;
        ph_send_lookup(stub, &lookup, NULL, on_answer, process);
        break;
    default:
        listing.count = 1 + (uint32_t) sim_below(world, 16);
        listing.bytes_max = PH_MESSAGE_MAX_BYTES;
        ph_send_readdir(stub, &listing, NULL, on_answer, process);
    }
}

/* Something with the register that is open. */
static void use_register(struct sim_process *process)
{
    struct world *world = world_of(process);
    gboolean locked = process->lock_session == session_of(process);
    switch (sim_below(world, locked ? 4 : 3)) {
    case 0:
        write_register(process);
        break;
    case 1:
        read_register(process);
        break;
    case 2:
        if (!locked) {
            lock_register(process);
            break;
        }
        /* fall through */
    default:
        send_unlock(process);
    }
}

static void maybe_cut(struct world *world)
{
    struct sim_client *client = world->clients[sim_below(world, (uint64_t) world->profile.clients)];
    if (!world->calm && client->conn && sim_chance(world, world->profile.cut_per_mille))
        sim_conn_cut(client->conn);
}

static void next_operation(struct world *world, void *data)
{
    struct sim_process *process = data;
    /* What is open outlives its session, unless it had locks. */
    gboolean alive = process->object && ph_client_has_handle(process->client->core, process->handle);
    gboolean locked = alive && process->lock_session == session_of(process);
    maybe_cut(world);
    process->started_us = world->now_us;
    process->ticket = 0;
    if (world->steps_left == 0 && !locked) {
        process->stopped = TRUE;
        return;
    }
    process->busy = TRUE;
    if (world->steps_left == 0) {
        send_unlock(process); /* others may wait for it */
        return;
    }
    world->steps_left--;
    process->op++;
    if (!alive) {
        open_register(process);
    } else if (sim_chance(world, 700)) {
        use_register(process);
    } else if (sim_chance(world, 500)) {
        use_names(process);
    } else if (!create_file(process)) {
        process->busy = FALSE;
        sim_after(world, SHORT_OF_IDS_US, next_operation, process, NULL);
    }
}

void sim_process_start(struct sim_process *process)
{
    think(process);
}
