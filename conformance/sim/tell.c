/* What programs tell the history of what they do and see. */
#include "conformance/sim/tell.h"

#include <sys/stat.h>

#include "conformance/sim/writeback.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

unsigned sim_worker_of(const struct sim_process *process)
{
    return (unsigned) (process->client->index * SIM_PROCESSES_MAX + process->index);
}

struct ph_event sim_event_of(const struct sim_process *process, unsigned object, enum ph_deed deed,
                             const char *call)
{
    return (struct ph_event){.object = (uint16_t) object,
                             .deed = (uint8_t) deed,
                             .worker = (uint8_t) sim_worker_of(process),
                             .mount = (uint8_t) process->client->index,
                             .call = call};
}

/* What an event of the history was done or seen under: for what its object stands there. */
static void objects_of(const struct ph_event *event, uint64_t objects[4])
{
    if (event->object == SIM_OBJECT_LOG) {
        objects[0] = MODEL_LOG;
    } else if (event->object >= SIM_OBJECT_OWNER) {
        objects[0] = MODEL_REGISTER_FIRST + event->object - SIM_OBJECT_OWNER;
    } else if (event->object >= SIM_OBJECT_WORD) {
        objects[0] = MODEL_REGISTER_FIRST + (event->object - SIM_OBJECT_WORD) / SIM_WORDS;
    } else {
        gboolean links = event->deed == PH_LINKS || event->deed == PH_ALIVE;
        objects[0] = links ? PH_OBJECT_ROOT : sim_slot_directory(event->slot);
        objects[1] = links ? MODEL_SUB : sim_slot_directory(event->slot2);
        objects[2] = event->value < PH_DIRECTORY ? event->value : 0;
    }
}

void sim_identify(const struct world *world, struct ph_event *event)
{
    if (event->object < SIM_OBJECT_LOG && (event->deed == PH_ADD || event->deed == PH_NAMED ||
                                           event->deed == PH_LINKS || event->deed == PH_ALIVE))
        event->value = sim_power_identity(world, event->value);
}

void sim_did(const struct sim_process *process, const struct ph_event *event)
{
    struct world *world = process->client->world;
    uint64_t objects[4] = {0};
    struct ph_event identified = *event;
    sim_identify(world, &identified);
    guint index = sim_history_add(&world->history, &identified, process->started_us, world->now_us);
    objects_of(event, objects);
    if (process->client->writeback)
        sim_writeback_note(process->client->writeback, index, objects, process->losses);
}

void sim_saw(const struct sim_process *process, unsigned object, enum ph_deed deed, unsigned slot,
             uint64_t value, const char *call)
{
    struct ph_event event = sim_event_of(process, object, deed, call);
    event.slot = (uint8_t) (slot % PH_SLOTS);
    event.value = value;
    sim_did(process, &event);
}

/* The object of the history that SLOT belongs to. */
unsigned sim_names_of(unsigned slot)
{
    return SIM_OBJECT_NAMES + slot / PH_SLOTS;
}

unsigned sim_register_of(uint64_t object)
{
    return (unsigned) (object - MODEL_REGISTER_FIRST);
}

static gboolean is_register(uint64_t object)
{
    return object >= MODEL_REGISTER_FIRST && object < MODEL_REGISTER_FIRST + MODEL_REGISTERS;
}

/* How directories, which the judge does not tell apart, and files are called. */
uint64_t sim_identity(uint64_t object, const struct ph_cached_attr *attr)
{
    return attr && S_ISDIR(attr->mode) ? PH_DIRECTORY : object;
}

static void saw_links(const struct sim_process *process, uint64_t object, uint64_t links, const char *call)
{
    struct ph_event event = sim_event_of(process, sim_names_of(process->slot), PH_LINKS, call);
    event.value = object;
    event.extra = links;
    sim_did(process, &event);
}

/* Attributes without a version come from a glimpse: who has the object told them. FALSE: it has lost it
 * since. */
static gboolean is_reliable(const struct sim_process *process, const struct ph_cached_attr *attr)
{
    struct world *world = process->client->world;
    struct sim_glimpsed glimpsed = {.index = world->history.events->len, .object = attr->object};
    if (attr->version != 0)
        return TRUE;
    if (world->glimpses_lost_us >= process->started_us)
        return FALSE;
    g_array_append_val(world->glimpsed, glimpsed);
    return TRUE;
}

/* A register grows as its words are written: what it does not reach was not. */
static void saw_size(const struct sim_process *process, const struct ph_cached_attr *attr, const char *call)
{
    for (unsigned word = 0; word < SIM_WORDS; word++) {
        if (attr->size < (word + 1) * MODEL_VALUE_BYTES)
            sim_saw(process, SIM_OBJECT_WORD + sim_register_of(attr->object) * SIM_WORDS + word, PH_GET, 0, 0,
                    call);
    }
}

/* Made and filled in one moment: nobody sees it without what is in it. */
static void check_whole(const struct sim_process *process, const struct ph_cached_attr *attr,
                        const char *call)
{
    struct world *world = process->client->world;
    if (g_hash_table_contains(world->whole, &attr->object) && attr->size != MODEL_VALUE_BYTES &&
        sim_power_is_over(world))
        sim_violate(world,
                    "%s: %s: a file of %" G_GUINT64_FORMAT
                    " bytes was seen, of a transaction that made and filled it",
                    process->client->name, call, attr->size);
}

void sim_saw_attr(const struct sim_process *process, const struct ph_cached_attr *attr, const char *call)
{
    if (!is_reliable(process, attr))
        return;
    check_whole(process, attr, call);
    if (is_register(attr->object)) {
        sim_saw(process, SIM_OBJECT_OWNER + sim_register_of(attr->object), PH_GET, 0, attr->uid, call);
        saw_size(process, attr, call);
    } else if (attr->object == MODEL_LOG)
        sim_saw(process, SIM_OBJECT_LOG, PH_LENGTH, 0, attr->size, call);
    else if (S_ISREG(attr->mode))
        saw_links(process, attr->object, attr->links, call);
}

/* Whether the answer to EVENT, which changes something, was lost; if so, EVENT may have happened, as long as
 * the server knew the session. */
gboolean sim_is_lost(const struct sim_process *process, const struct sim_answer *answer,
                     struct ph_event *event)
{
    struct world *world = process->client->world;
    if (answer->status != PH_ST_IO_ERROR)
        return FALSE;
    event->maybe = TRUE;
    event->begin_ns = process->started_us;
    sim_world_doubt(world, event, process->client, process->client->last_conn);
    return TRUE;
}

/* Failures tell something as well. */
void sim_saw_failure(const struct sim_process *process, uint32_t status, unsigned slot, const char *call)
{
    if (status == PH_ST_NOT_FOUND)
        sim_saw(process, sim_names_of(slot), PH_HAS, slot, 0, call);
    else if (status == PH_ST_EXISTS)
        sim_saw(process, sim_names_of(slot), PH_HAS, slot, 1, call);
}
