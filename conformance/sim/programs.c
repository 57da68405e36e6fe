/* What the programs on machines that cache do, and what they tell of it. */
#include <string.h>
#include <sys/stat.h>

#include "conformance/sim/programs.h"
#include "conformance/sim/tell.h"
#include "conformance/sim/writeback.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

enum {
    SHORT_OF_IDS_US = 2000,
    NO_REPLACE = 1,
    EXCHANGE = 2,
    LIST_WHOLE = 100,
    VALUE_WORKERS = PH_WORKERS_MAX,
};

static void next_deed(struct world *world, void *data);

static struct world *world_of(const struct sim_process *process)
{
    return process->client->world;
}

/* How long until it is the turn of CLIENT; 0 when it is, or nobody takes turns. */
static uint64_t turn_us(const struct sim_client *client)
{
    const struct world *world = client->world;
    uint64_t turn = world->profile.turn_us, clients = (uint64_t) world->profile.clients;
    if (turn == 0 || world->steps_left == 0)
        return 0;
    uint64_t at = world->now_us % (turn * clients), mine = turn * (uint64_t) client->index;
    if (at >= mine && at < mine + turn)
        return 0;
    return at < mine ? mine - at : turn * clients - at + mine;
}

static void think(struct sim_process *process)
{
    struct world *world = world_of(process);
    const struct sim_profile *profile = &world->profile;
    uint64_t us = sim_chance(world, profile->rest_per_mille) ? profile->rest_us : profile->think_us;
    us = sim_below(world, us) + turn_us(process->client);
    sim_after_at(process->client, us, next_deed, process, NULL);
}

unsigned sim_program_slot(struct sim_process *process)
{
    struct world *world = process->client->world;
    unsigned group = (unsigned) process->client->index % world->profile.groups;
    if (sim_chance(world, world->profile.strange_per_mille))
        group = (unsigned) sim_below(world, world->profile.groups);
    return group * PH_SLOTS + (unsigned) sim_below(world, PH_SLOTS);
}

/* --- Answers --- */

void sim_program_done(struct sim_process *process, const struct sim_answer *answer)
{
    struct world *world = world_of(process);
    if (!process->busy)
        sim_violate(world, "%s: a program was answered twice", process->client->name);
    process->busy = FALSE;
    sim_trace_line(&world->result->trace, world->now_us, process->client->name, "program %d: %s",
                   process->index, ph_status_name(answer->status));
    think(process);
}

static void on_attr(struct sim_process *process, const struct sim_answer *answer)
{
    if (answer->has_attr)
        sim_saw_attr(process, &answer->attr, "stat");
    sim_program_done(process, answer);
}

/* What a name stands for, then that object's attributes. */
static void go_to(struct sim_process *process, uint64_t object, const char *call)
{
    struct world *world = world_of(process);
    const struct ph_cached_attr *attr = sim_kernel_attr(process->client->caching, object);
    process->started_us = world->now_us;
    if (attr) {
        world->result->kernel_hits++;
        sim_saw_attr(process, attr, call);
        sim_program_done(process, &(struct sim_answer){.status = PH_ST_OK});
    } else {
        sim_ask_attr(process, object, on_attr);
    }
}

static void on_lookup(struct sim_process *process, const struct sim_answer *answer)
{
    if (answer->status == PH_ST_OK) {
        sim_saw(process, sim_names_of(process->slot), PH_NAMED, process->slot,
                answer->object ? sim_identity(answer->object, &answer->attr) : 0, "lookup");
        if (answer->has_attr) {
            sim_saw_attr(process, &answer->attr, "lookup");
            if (S_ISREG(answer->attr.mode))
                process->seen_object[process->slot / PH_SLOTS] = answer->object;
        }
    }
    sim_program_done(process, answer);
}

static void do_stat(struct sim_process *process, unsigned slot)
{
    uint64_t object;
    process->slot = slot;
    if (!sim_kernel_name(process->client->caching, slot, &object)) {
        sim_ask_lookup(process, slot, on_lookup);
        return;
    }
    world_of(process)->result->kernel_hits++;
    /* What kind of object it is the kernel knows as long as it has it. */
    sim_saw(process, sim_names_of(slot), PH_HAS, slot, object != 0, "kernel's name");
    if (object == 0)
        sim_program_done(process, &(struct sim_answer){.status = PH_ST_OK});
    else
        go_to(process, object, "kernel's attributes");
}

static void on_list(struct sim_process *process, const struct sim_answer *answer)
{
    for (unsigned slot = 0; answer->listed && slot < SIM_SLOTS; slot++) {
        if (sim_slot_directory(slot) == process->object)
            sim_saw(process, sim_names_of(slot), PH_HAS, slot, answer->objects[slot] != 0, "readdir");
    }
    sim_program_done(process, answer);
}

static void do_list(struct sim_process *process)
{
    struct world *world = world_of(process);
    unsigned count = sim_chance(world, 700) ? LIST_WHOLE : 1 + (unsigned) sim_below(world, 4);
    process->object = sim_chance(world, 500) ? PH_OBJECT_ROOT : MODEL_SUB;
    sim_ask_list(process, process->object, count, on_list);
}

/* --- Data --- */

static struct sim_opened *opened_of(struct sim_process *process, uint64_t object)
{
    return &process->opened[object == MODEL_LOG ? 0 : 1 + sim_register_of(object)];
}

/* What comes with an open or a write has no version while others have ranges of the file: they may have
 * written what it does not show. */
static gboolean says_something(const struct sim_answer *answer)
{
    return answer->has_attr && answer->attr.version != 0;
}

static void on_open(struct sim_process *process, const struct sim_answer *answer)
{
    struct sim_opened *opened = opened_of(process, process->object);
    if (says_something(answer))
        sim_saw_attr(process, &answer->attr, "open");
    if (answer->status != PH_ST_OK)
        opened->handle = 0;
    else
        opened->session = ph_client_opened(process->client->core)->generation;
    sim_program_done(process, answer);
}

/* Whether the file is open; FALSE: it is being opened. */
static gboolean is_open(struct sim_process *process, uint64_t object)
{
    struct sim_opened *opened = opened_of(process, object);
    process->object = object;
    if (opened->handle && opened->session == ph_client_opened(process->client->core)->generation)
        return TRUE;
    opened->handle = ++process->client->next_handle;
    sim_ask_open(process, object, opened->handle, on_open);
    return FALSE;
}

static void saw_data(const struct sim_process *process, GBytes *data, const char *call)
{
    gsize len;
    const uint8_t *bytes = g_bytes_get_data(data, &len);
    if (process->object == MODEL_LOG) {
        struct ph_event event = sim_event_of(process, SIM_OBJECT_LOG, PH_LENGTH, call);
        event.value = len;
        event.extra = ph_log_hash(0, bytes, len);
        sim_did(process, &event);
        return;
    }
    for (unsigned word = 0; word < SIM_WORDS; word++) {
        uint64_t value = 0;
        if ((word + 1) * MODEL_VALUE_BYTES <= len)
            memcpy(&value, bytes + word * MODEL_VALUE_BYTES, sizeof(value));
        sim_saw(process, SIM_OBJECT_WORD + sim_register_of(process->object) * SIM_WORDS + word, PH_GET, 0,
                GUINT64_FROM_LE(value), call);
    }
}

static void on_read(struct sim_process *process, const struct sim_answer *answer)
{
    if (answer->data)
        saw_data(process, answer->data, "read");
    sim_program_done(process, answer);
}

static uint64_t some_file(struct sim_process *process)
{
    struct world *world = world_of(process);
    gboolean log = world->profile.weight[SIM_APPEND] > 0 && sim_chance(world, 300);
    return log ? MODEL_LOG : MODEL_REGISTER_FIRST + sim_below(world, 2);
}

static void do_read(struct sim_process *process)
{
    uint64_t object = some_file(process);
    if (!is_open(process, object))
        return;
    GBytes *pages = sim_kernel_pages(process->client->caching, object);
    if (!pages) {
        sim_ask_read(process, object, opened_of(process, object)->handle, on_read);
        return;
    }
    world_of(process)->result->kernel_hits++;
    saw_data(process, pages, "kernel's pages");
    sim_program_done(process, &(struct sim_answer){.status = PH_ST_OK});
}

uint64_t sim_program_handle(struct sim_process *process, uint64_t object)
{
    return is_open(process, object) ? opened_of(process, object)->handle : 0;
}

/* One to be changed. */
static uint64_t some_register(struct sim_process *process)
{
    struct world *world = world_of(process);
    if (sim_power_owned(world))
        return MODEL_REGISTER_FIRST + (uint64_t) process->client->index;
    return MODEL_REGISTER_FIRST + sim_below(world, 2);
}

static uint64_t some_log(struct sim_process *process)
{
    if (sim_power_owned(world_of(process)) && process->client->index != 0)
        return some_register(process);
    return MODEL_LOG;
}

uint64_t sim_program_value(struct sim_process *process)
{
    return process->value = PH_VALUE(sim_worker_of(process) % VALUE_WORKERS, ++world_of(process)->next_value);
}

static void on_write(struct sim_process *process, const struct sim_answer *answer)
{
    unsigned object = SIM_OBJECT_LOG;
    if (process->object != MODEL_LOG)
        object = SIM_OBJECT_WORD + sim_register_of(process->object) * SIM_WORDS + process->slot;
    struct ph_event event =
        sim_event_of(process, object, process->object == MODEL_LOG ? PH_APPEND : PH_SET, "write");
    event.value = process->value;
    if (!sim_is_lost(process, answer, &event) && answer->status == PH_ST_OK)
        sim_did(process, &event);
    if (says_something(answer))
        sim_saw_attr(process, &answer->attr, "write's attributes");
    sim_program_done(process, answer);
}

static void do_write(struct sim_process *process, uint64_t object)
{
    uint64_t words[PH_RECORD_BYTES / sizeof(uint64_t)];
    if (!is_open(process, object))
        return;
    uint64_t value = GUINT64_TO_LE(sim_program_value(process)), handle = opened_of(process, object)->handle;
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        words[i] = value;
    if (object == MODEL_LOG) {
        sim_ask_write(process, object, handle, UINT64_MAX, g_bytes_new(words, sizeof(words)), on_write);
        return;
    }
    process->slot = (unsigned) sim_below(world_of(process), SIM_WORDS);
    sim_ask_write(process, object, handle, (uint64_t) process->slot * MODEL_VALUE_BYTES,
                  g_bytes_new(words, MODEL_VALUE_BYTES), on_write);
}

static void on_chown(struct sim_process *process, const struct sim_answer *answer)
{
    struct ph_event event =
        sim_event_of(process, SIM_OBJECT_OWNER + sim_register_of(process->object), PH_SET, "chown");
    event.value = process->value;
    if (!sim_is_lost(process, answer, &event) && answer->status == PH_ST_OK)
        sim_did(process, &event);
    sim_program_done(process, answer);
}

static void do_chown(struct sim_process *process)
{
    process->object = some_register(process);
    sim_ask_chown(process, process->object, (uint32_t) sim_program_value(process), on_chown);
}

static void on_sync(struct sim_process *process, const struct sim_answer *answer)
{
    if (answer->status == PH_ST_OK)
        sim_power_synced(world_of(process), process->client->index,
                         process->object == PH_OBJECT_ROOT ? 0 : process->object, process->started_us);
    sim_program_done(process, answer);
}

static void do_sync(struct sim_process *process)
{
    struct world *world = world_of(process);
    uint64_t object = some_file(process);
    if (world->power && sim_chance(world, 300)) {
        process->object = PH_OBJECT_ROOT;
        sim_ask_sync_all(process, on_sync);
    } else if (is_open(process, object))
        sim_ask_sync(process, object, opened_of(process, object)->handle, on_sync);
}

/* --- Names --- */

/* A change of names in the slot of PROCESS came to its end. */
static void changed(struct sim_process *process, const struct sim_answer *answer, enum ph_deed deed,
                    uint64_t value, const char *call)
{
    struct ph_event event = sim_event_of(process, sim_names_of(process->slot), deed, call);
    event.slot = (uint8_t) (process->slot % PH_SLOTS);
    event.slot2 = (uint8_t) (process->slot2 % PH_SLOTS);
    event.value = value;
    if (!sim_is_lost(process, answer, &event) && answer->status == PH_ST_OK)
        sim_did(process, &event);
}

static void on_create(struct sim_process *process, const struct sim_answer *answer)
{
    /* A file that was there already is found, not made. */
    if (answer->status == PH_ST_OK && !answer->created)
        sim_saw(process, sim_names_of(process->slot), PH_NAMED, process->slot, answer->object, "create");
    else
        changed(process, answer, PH_ADD, process->made_directory ? PH_DIRECTORY : process->value, "create");
    sim_saw_failure(process, answer->status, process->slot, "create");
    if (answer->has_attr)
        sim_saw_attr(process, &answer->attr, "create's attributes");
    sim_program_done(process, answer);
}

uint64_t sim_program_id(struct sim_process *process)
{
    struct sim_client *client = process->client;
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    uint64_t id = ph_client_take_ids(client->core, 1, sim_client_ms(client), &actions);
    sim_client_act(client, &actions);
    return id;
}

static gboolean do_create(struct sim_process *process, gboolean directory)
{
    process->value = sim_program_id(process);
    if (process->value == 0)
        return FALSE;
    process->made_directory = directory;
    process->slot = sim_program_slot(process);
    sim_ask_create(process, process->slot, process->value, sim_chance(world_of(process), 700), directory,
                   on_create);
    return TRUE;
}

static void on_remove(struct sim_process *process, const struct sim_answer *answer)
{
    changed(process, answer, PH_DROP, process->made_directory ? PH_DIRECTORY : 0, "remove");
    sim_saw_failure(process, answer->status, process->slot, "remove");
    sim_program_done(process, answer);
}

static void do_remove(struct sim_process *process)
{
    struct world *world = world_of(process);
    process->made_directory = world->profile.weight[SIM_MKDIR] > 0 && sim_chance(world, 300);
    process->slot = sim_program_slot(process);
    sim_ask_remove(process, process->slot, process->made_directory, on_remove);
}

static void on_link(struct sim_process *process, const struct sim_answer *answer)
{
    changed(process, answer, PH_ADD, process->seen_object[process->slot / PH_SLOTS], "link");
    sim_saw_failure(process, answer->status, process->slot, "link");
    if (answer->has_attr)
        sim_saw_attr(process, &answer->attr, "link's attributes");
    if (answer->status == PH_ST_STALE)
        process->seen_object[process->slot / PH_SLOTS] = 0;
    sim_program_done(process, answer);
}

static void on_rename(struct sim_process *process, const struct sim_answer *answer)
{
    enum ph_deed deed = PH_MOVE;
    if (process->flags == NO_REPLACE)
        deed = PH_MOVE_NEW;
    else if (process->flags == EXCHANGE)
        deed = PH_SWAP;
    changed(process, answer, deed, 0, "rename");
    if (answer->status == PH_ST_NOT_FOUND && process->flags != EXCHANGE)
        sim_saw(process, sim_names_of(process->slot), PH_HAS, process->slot, 0, "rename");
    if (answer->status == PH_ST_EXISTS)
        sim_saw(process, sim_names_of(process->slot2), PH_HAS, process->slot2, 1, "rename");
    sim_program_done(process, answer);
}

static void do_rename(struct sim_process *process)
{
    struct world *world = world_of(process);
    struct sim_caching *caching = process->client->caching;
    uint64_t one, other;
    process->slot = sim_program_slot(process);
    process->slot2 = process->slot / PH_SLOTS * PH_SLOTS +
                     (process->slot + 1 + (unsigned) sim_below(world, PH_SLOTS - 1)) % PH_SLOTS;
    process->flags = sim_chance(world, 500) ? 0 : sim_chance(world, 700) ? NO_REPLACE : EXCHANGE;
    if (process->flags == EXCHANGE && sim_power_owned(world)) /* not made again */
        process->flags = 0;
    /* A kernel that knows both names of a file does nothing. */
    if (process->flags == 0 && sim_kernel_name(caching, process->slot, &one) &&
        sim_kernel_name(caching, process->slot2, &other) && one == other && one != 0)
        on_rename(process, &(struct sim_answer){.status = PH_ST_OK});
    else
        sim_ask_rename(process, process->slot, process->slot2, process->flags, on_rename);
}

/* --- One after the other --- */

static enum sim_deed choose(struct world *world)
{
    unsigned sum = 0;
    for (int i = 0; i < SIM_DEEDS; i++)
        sum += world->profile.weight[i];
    uint64_t at = sim_below(world, sum);
    for (int i = 0; i < SIM_DEEDS; i++) {
        if (at < world->profile.weight[i])
            return (enum sim_deed) i;
        at -= world->profile.weight[i];
    }
    return SIM_STAT;
}

/* FALSE: it cannot be done now. */
static gboolean do_names(struct sim_process *process, enum sim_deed deed)
{
    switch (deed) {
    case SIM_LIST:
        do_list(process);
        return TRUE;
    case SIM_CREATE:
    case SIM_MKDIR:
        return do_create(process, deed == SIM_MKDIR);
    case SIM_REMOVE:
        do_remove(process);
        return TRUE;
    case SIM_LINK:
        process->slot = sim_program_slot(process);
        if (process->seen_object[process->slot / PH_SLOTS] == 0)
            do_stat(process, process->slot);
        else
            sim_ask_link(process, process->seen_object[process->slot / PH_SLOTS], process->slot, on_link);
        return TRUE;
    case SIM_RENAME:
        do_rename(process);
        return TRUE;
    default:
        do_stat(process, sim_program_slot(process));
        return TRUE;
    }
}

static gboolean do_deed(struct sim_process *process, enum sim_deed deed)
{
    gboolean opening = FALSE;
    switch (deed) {
    case SIM_GETATTR:
        go_to(process, some_file(process), "kernel's attributes");
        return TRUE;
    case SIM_READ:
        do_read(process);
        return TRUE;
    case SIM_WRITE:
        do_write(process, some_register(process));
        return TRUE;
    case SIM_APPEND:
        do_write(process, some_log(process));
        return TRUE;
    case SIM_CHOWN:
        do_chown(process);
        return TRUE;
    case SIM_SYNC:
        do_sync(process);
        return TRUE;
    case SIM_SEVERAL:
        return sim_do_several(process, &opening) || opening;
    default:
        return do_names(process, deed);
    }
}

/* Something goes wrong now and then. FALSE: the client is not there any more. */
static gboolean make_trouble(struct sim_client *client)
{
    struct world *world = client->world;
    const struct sim_profile *profile = &world->profile;
    if (world->steps_left == 0)
        return TRUE;
    if (client->conn && sim_chance(world, profile->cut_per_mille))
        sim_conn_cut(client->conn);
    if (sim_chance(world, profile->forget_per_mille))
        sim_kernel_evict(client->caching);
    if (sim_chance(world, profile->pause_per_mille))
        sim_client_pause(client, sim_below(world, profile->pause_us));
    if (sim_chance(world, profile->server_crash_per_mille))
        sim_server_crash(world);
    if (sim_chance(world, profile->crash_per_mille))
        sim_client_crash(client, sim_chance(world, 400));
    return !client->dead;
}

static void next_deed(struct world *world, void *data)
{
    struct sim_process *process = data;
    struct sim_client *client = process->client;
    if (!make_trouble(client))
        return;
    if (client->paused_until_us > world->now_us) {
        think(process); /* when it goes on */
        return;
    }
    if (world->steps_left == 0) {
        process->stopped = TRUE;
        return;
    }
    process->started_us = world->now_us;
    process->losses = client->writeback ? sim_writeback_losses(client->writeback) : 0;
    process->busy = TRUE;
    world->steps_left--;
    if (!do_deed(process, choose(world))) {
        process->busy = FALSE;
        sim_after_at(client, SHORT_OF_IDS_US, next_deed, process, NULL);
    }
}

void sim_program_start(struct sim_process *process)
{
    think(process);
}

void sim_programs_died(struct sim_client *client)
{
    static const struct sim_answer lost = {.status = PH_ST_IO_ERROR};
    for (int i = 0; i < client->world->profile.processes; i++) {
        struct sim_process *process = &client->processes[i];
        if (process->busy && process->task)
            process->task->fn(process, &lost);
    }
}
