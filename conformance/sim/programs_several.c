/* Transactions of several commands that programs make: over words of registers, and over names. Nobody may
 * see a part of one. */
#include "conformance/sim/programs.h"
#include "conformance/sim/several.h"
#include "conformance/sim/tell.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

enum { NO_REPLACE = 1, DOOMED_PER_MILLE = 150, BOTH_PER_MILLE = 300, BLOCKS = 4 };

static struct world *world_of(const struct sim_process *process)
{
    return process->client->world;
}

static struct sim_part *add(struct sim_process *process, enum sim_part_kind kind, unsigned slot)
{
    struct sim_part *part = &process->several.part[process->several.count++];
    *part = (struct sim_part){.kind = kind, .slot = slot};
    return part;
}

/* Another name of the group of SLOT. */
static unsigned beside(struct sim_process *process, unsigned slot)
{
    unsigned steps = 1 + (unsigned) sim_below(world_of(process), PH_SLOTS - 1);
    return slot / PH_SLOTS * PH_SLOTS + (slot + steps) % PH_SLOTS;
}

/* --- What is put together --- */

/* Two words are stored: of two registers, or where each client has one of its own, of that. */
static gboolean store_two(struct sim_process *process)
{
    struct world *world = world_of(process);
    gboolean own = sim_power_owned(world);
    uint64_t handles[2], objects[2];
    unsigned word = (unsigned) sim_below(world, SIM_WORDS);
    for (unsigned i = 0; i < 2; i++) {
        objects[i] = MODEL_REGISTER_FIRST + (own ? (uint64_t) process->client->index : i);
        handles[i] = sim_program_handle(process, objects[i]);
        if (handles[i] == 0)
            return FALSE;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct sim_part *part = add(process, SIM_PART_SET, own ? i : word);
        part->object = objects[i];
        part->handle = handles[i];
        part->value = sim_program_value(process);
        word = (unsigned) sim_below(world, SIM_WORDS);
    }
    return TRUE;
}

/* A new file, which takes the place of another when all is in it. */
static gboolean save(struct sim_process *process)
{
    unsigned slot = sim_program_slot(process), other = beside(process, slot);
    uint64_t id = sim_program_id(process), handle = ++process->client->next_handle;
    if (id == 0)
        return FALSE;
    struct sim_part *part = add(process, SIM_PART_CREATE, slot);
    part->object = id;
    part->handle = handle;
    part = add(process, SIM_PART_FILL, slot);
    part->object = id;
    part->handle = handle;
    part->value = sim_program_value(process);
    part = add(process, SIM_PART_RENAME, slot);
    part->slot2 = other;
    part->object = id;
    g_hash_table_add(world_of(process)->whole, g_memdup2(&id, sizeof(id)));
    return TRUE;
}

/* Two names are moved. */
static gboolean move_two(struct sim_process *process)
{
    unsigned first = sim_program_slot(process);
    for (unsigned i = 0; i < 2; i++) {
        unsigned slot = i == 0 ? first : beside(process, first);
        struct sim_part *part = add(process, SIM_PART_RENAME, slot);
        part->slot2 = beside(process, slot);
        part->flags = sim_chance(world_of(process), 300) ? NO_REPLACE : 0;
    }
    return TRUE;
}

/* One file goes, and another one is in its place. */
static gboolean replace(struct sim_process *process)
{
    unsigned slot = sim_program_slot(process);
    uint64_t id = sim_program_id(process);
    if (id == 0)
        return FALSE;
    add(process, SIM_PART_REMOVE, slot);
    add(process, SIM_PART_CREATE, slot)->object = id;
    return TRUE;
}

/* --- What comes of it --- */

static struct ph_event event_of(const struct sim_process *process, const struct sim_part *part)
{
    struct ph_event event = sim_event_of(process, sim_names_of(part->slot), PH_ADD, "transaction");
    event.value = part->object;
    event.slot = (uint8_t) (part->slot % PH_SLOTS);
    event.slot2 = (uint8_t) (part->slot2 % PH_SLOTS);
    if (part->kind == SIM_PART_SET) {
        event.object = (uint16_t) (SIM_OBJECT_WORD + sim_register_of(part->object) * SIM_WORDS + part->slot);
        event.deed = PH_SET;
        event.value = part->value;
        event.slot = 0;
    } else if (part->kind == SIM_PART_REMOVE) {
        event.deed = PH_DROP;
    } else if (part->kind == SIM_PART_RENAME) {
        event.deed = part->flags == NO_REPLACE ? PH_MOVE_NEW : PH_MOVE;
        event.value = 0;
    }
    return event;
}

static gboolean is_told(const struct sim_part *part)
{
    return part->kind != SIM_PART_FILL && part->kind != SIM_PART_FAIL;
}

static gboolean is_doomed(const struct sim_process *process)
{
    return process->several.part[process->several.count - 1].kind == SIM_PART_FAIL;
}

static void on_several(struct sim_process *process, const struct sim_answer *answer)
{
    struct world *world = world_of(process);
    gboolean apart = answer->status == PH_ST_IO_ERROR && sim_power_unanswered(world);
    uint32_t transaction = apart ? 0 : ++world->last_transaction;
    world->result->several += answer->status == PH_ST_OK;
    if (is_doomed(process) && answer->status == PH_ST_OK)
        sim_violate(world, "%s: a transaction was executed though its last command cannot be",
                    process->client->name);
    for (unsigned i = 0; i < process->several.count && !is_doomed(process); i++) {
        const struct sim_part *part = &process->several.part[i];
        struct ph_event event = event_of(process, part);
        event.transaction = transaction;
        if (is_told(part) && !sim_is_lost(process, answer, &event) && answer->status == PH_ST_OK)
            sim_did(process, &event);
    }
    if (answer->status == PH_ST_OK)
        sim_power_transacted(world, transaction);
    sim_program_done(process, answer);
}

gboolean sim_do_several(struct sim_process *process, gboolean *busy)
{
    static gboolean (*const blocks[BLOCKS])(struct sim_process *) = {store_two, save, move_two, replace};
    struct world *world = world_of(process);
    unsigned first = (unsigned) sim_below(world, BLOCKS);
    gboolean both = sim_chance(world, BOTH_PER_MILLE);
    process->several.count = 0;
    gboolean built = blocks[first](process);
    if (built && both)
        built = blocks[(first + 1) % BLOCKS](process);
    *busy = process->task != NULL; /* a file is being opened */
    if (!built || *busy)
        return FALSE;
    if (sim_chance(world, DOOMED_PER_MILLE))
        add(process, SIM_PART_FAIL, 0);
    process->several.key = ++world->last_key;
    sim_ask_several(process, &process->several, on_several);
    return TRUE;
}
