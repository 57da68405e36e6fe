#include "conformance/sim/power.h"

#include <string.h>
#include <sys/stat.h>

#include "conformance/sim/caching.h"
#include "conformance/sim/model_private.h"
#include "conformance/sim/tell.h"
#include "conformance/sim/writeback.h"
#include "runtime/base/limits.h"
#include "tests/coherence/models.h"

enum { LOCAL_PER_MILLE = 300 };

static const char END[] = "in the end", LOCALLY[] = "of a local program";

/* Once. */
struct loss {
    uint64_t at_us, over_us; /* 0: not all are back */
    gboolean kept;           /* by those who write back */
    gboolean names;          /* kept as well */
};

struct stable {
    uint64_t object, begin_us;
    uint32_t transaction; /* not 0: that was, and nothing else is meant */
    int mount;            /* by whom what is meant was done; -1 for anybody */
};

struct sim_power {
    GArray *losses;   /* struct loss */
    GArray *stable;   /* struct stable */
    gboolean unsure;  /* whether a transaction of several commands was executed is not known to who made it */
    GHashTable *made; /* ids of objects of which clients that write back know that they made them */
    GHashTable *untold,
        *aside;           /* objects of which a change was under way and not answered, and was put aside */
    GHashTable *replaced; /* ids of objects whose names local programs have taken while the server was down */
    gboolean moved;       /* a name was moved by who did not say of what */
    gboolean blind; /* names were taken away by who did not say of what: that is not made again (0015) */
};

void sim_power_begin(struct world *world)
{
    world->power = g_new0(struct sim_power, 1);
    world->power->losses = g_array_new(FALSE, FALSE, sizeof(struct loss));
    world->power->stable = g_array_new(FALSE, FALSE, sizeof(struct stable));
    world->power->made = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    world->power->untold = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    world->power->aside = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    world->power->replaced = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    model_store_may_lose_power(world->store);
}

void sim_power_free(struct sim_power *power)
{
    if (!power)
        return;
    g_array_unref(power->losses);
    g_array_unref(power->stable);
    g_hash_table_unref(power->made);
    g_hash_table_unref(power->replaced);
    g_hash_table_unref(power->untold);
    g_hash_table_unref(power->aside);
    g_free(power);
}

gboolean sim_power_owned(const struct world *world)
{
    return world->power && world->write_back;
}

static void add_id(GHashTable *ids, uint64_t id)
{
    if (id != 0)
        g_hash_table_add(ids, g_memdup2(&id, sizeof(id)));
}

/* Nothing of any session is executed any more. */
static void note_ends(struct world *world)
{
    for (guint i = 0; i < world->conns->len; i++) {
        const struct sim_conn *conn = world->conns->pdata[i];
        if (conn->session && !g_hash_table_contains(conn->client->ended, &conn->session))
            g_hash_table_insert(conn->client->ended, g_memdup2(&conn->session, sizeof(conn->session)),
                                g_memdup2(&world->now_us, sizeof(world->now_us)));
    }
}

static void see(struct world *world, unsigned object, enum ph_deed deed, unsigned slot, uint64_t value,
                const char *call, gboolean maybe)
{
    struct ph_event event = {.object = (uint16_t) object,
                             .maybe = maybe,
                             .deed = (uint8_t) deed,
                             .slot = (uint8_t) slot,
                             .value = value,
                             .call = call};
    sim_history_add(&world->history, &event, world->now_us, world->now_us + 1);
}

/* A name that a local program may take while the server is down, and who has had it until now (0: nobody). */
struct place {
    gboolean free;
    uint64_t object;
};

static void find_places(struct world *world, struct place places[SIM_SLOTS])
{
    for (unsigned slot = 0; slot < SIM_SLOTS; slot++)
        places[slot].free = model_store_may_take(world->store, sim_slot_directory(slot), sim_slot_name(slot),
                                                 &places[slot].object);
}

/* It made file ID there. Who made what had the name cannot make that again. */
static void made_locally(struct world *world, unsigned slot, uint64_t id, uint64_t object)
{
    if (object != 0) {
        add_id(world->power->replaced, object);
        see(world, sim_names_of(slot), PH_DROP, slot % PH_SLOTS, 0, "power", TRUE);
        see(world, sim_names_of(slot), PH_DROP, slot % PH_SLOTS, PH_DIRECTORY, "power", TRUE);
    }
    see(world, sim_names_of(slot), PH_ADD, slot % PH_SLOTS, id, LOCALLY, FALSE);
}

/* In one of those that power has made free. */
static void make_locally(struct world *world, const struct place places[SIM_SLOTS])
{
    unsigned start = (unsigned) sim_below(world, SIM_SLOTS);
    for (unsigned i = 0; i < SIM_SLOTS; i++) {
        unsigned slot = (start + i) % SIM_SLOTS;
        uint64_t id = 0;
        if (places[slot].free)
            id = model_store_put(world->store, sim_slot_directory(slot), sim_slot_name(slot));
        if (id != 0) {
            made_locally(world, slot, id, places[slot].object);
            return;
        }
    }
}

void sim_power_lost(struct world *world)
{
    struct loss loss = {.at_us = world->now_us};
    struct place places[SIM_SLOTS] = {0};
    if (sim_power_owned(world) && sim_chance(world, LOCAL_PER_MILLE))
        find_places(world, places);
    model_store_lose_power(world->store, &world->random);
    make_locally(world, places);
    /* Who has gone by then makes nothing again. */
    loss.kept = world->write_back && !world->ending;
    loss.names = loss.kept && !world->power->blind;
    /* Such a move is not made again: what it moved may be there, and be made again where it had been. */
    if (loss.kept && world->power->moved && model_store_ids_lost(world->store) > 0)
        world->power->unsure = TRUE;
    note_ends(world);
    g_array_append_val(world->power->losses, loss);
    world->result->power_losses++;
}

static gboolean is_blind(const Pohmel__Change *change)
{
    switch (change->command_case) {
    case POHMEL__CHANGE__COMMAND_REMOVE:
        return change->remove->object == 0;
    case POHMEL__CHANGE__COMMAND_RMDIR:
        return change->rmdir->object == 0;
    case POHMEL__CHANGE__COMMAND_RENAME:
        return change->rename->object == 0;
    default:
        return FALSE;
    }
}

static struct sim_power_deed deed_of(const Pohmel__Change *change)
{
    switch (change->command_case) {
    case POHMEL__CHANGE__COMMAND_CREATE:
        return (struct sim_power_deed){.makes = change->create->object};
    case POHMEL__CHANGE__COMMAND_MKDIR:
        return (struct sim_power_deed){.makes = change->mkdir->object};
    case POHMEL__CHANGE__COMMAND_WRITE:
        return (struct sim_power_deed){.changes = change->write->object};
    case POHMEL__CHANGE__COMMAND_SETATTR:
        return (struct sim_power_deed){.changes = change->setattr->object};
    default:
        return (struct sim_power_deed){0};
    }
}

struct sim_power_deed sim_power_asked(struct world *world, const Pohmel__TransactRequest *request)
{
    struct sim_power *power = world->power;
    /* Several are stable when they are answered. */
    if (!power || request->n_changes != 1)
        return (struct sim_power_deed){0};
    if (is_blind(request->changes[0])) {
        power->blind = TRUE;
        power->moved = power->moved || request->changes[0]->command_case == POHMEL__CHANGE__COMMAND_RENAME;
    }
    return deed_of(request->changes[0]);
}

void sim_power_told(struct world *world, const struct sim_power_deed *deed, uint32_t status)
{
    if (world->power && status == PH_ST_OK)
        add_id(world->power->made, deed->makes);
    else if (world->power && (status == PH_ST_IO_ERROR || status == PH_ST_NO_SESSION))
        add_id(world->power->untold, deed->changes);
}

/* Names are made again, whatever was lost. */
static gboolean names_are_kept(const struct sim_power *power)
{
    for (guint i = 0; i < power->losses->len; i++) {
        if (!g_array_index(power->losses, struct loss, i).names)
            return FALSE;
    }
    return TRUE;
}

uint64_t sim_power_identity(const struct world *world, uint64_t object)
{
    const struct sim_power *power = world->power;
    uint64_t lost = power ? model_store_lost_id(world->store, object) : 0;
    if (lost == 0 || (names_are_kept(power) && g_hash_table_contains(power->made, &lost)))
        return object;
    return lost;
}

gboolean sim_power_excuses(struct world *world, uint64_t object)
{
    const struct sim_power *power = world->power;
    if (!power || power->losses->len == 0)
        return FALSE;
    if (g_hash_table_contains(power->untold, &object)) {
        add_id(power->aside, object);
        return TRUE;
    }
    return power->unsure || g_hash_table_contains(power->replaced, &object) ||
           (power->blind && object >= PH_OBJECT_GIVEN_FIRST) ||
           (model_store_has_lost(world->store, object) && !g_hash_table_contains(power->made, &object));
}

void sim_power_synced(struct world *world, int mount, uint64_t object, uint64_t begin_us)
{
    const struct stable stable = {
        .object = object, .begin_us = begin_us, .mount = world->write_back ? mount : -1};
    const GArray *losses = world->power ? world->power->losses : NULL;
    /* Where changes are made again what waited through a loss of power is asked for after that. Elsewhere it
     * is not answered OK. */
    gboolean later = losses && losses->len > 0 && sim_power_owned(world) &&
                     g_array_index(losses, struct loss, losses->len - 1).at_us >= begin_us;
    if (losses && !later)
        g_array_append_val(world->power->stable, stable);
}

void sim_power_transacted(struct world *world, uint32_t transaction)
{
    const struct stable stable = {.begin_us = world->now_us, .transaction = transaction, .mount = -1};
    if (world->power)
        g_array_append_val(world->power->stable, stable);
}

gboolean sim_power_unanswered(struct world *world)
{
    if (!sim_power_owned(world) || world->power->losses->len == 0)
        return FALSE;
    world->power->unsure = TRUE;
    return TRUE;
}

static gboolean all_back(const struct world *world)
{
    for (int i = 0; i < world->profile.clients; i++) {
        const struct sim_client *client = world->clients[i];
        if (!client->closed && client->opened_start != world->starts)
            return FALSE;
        if (client->writeback && sim_writeback_makes_again(client->writeback))
            return FALSE;
    }
    return world->server != NULL;
}

void sim_power_tick(struct world *world)
{
    if (sim_power_is_over(world) || !all_back(world))
        return;
    for (guint i = 0; i < world->power->losses->len; i++) {
        struct loss *loss = &g_array_index(world->power->losses, struct loss, i);
        loss->over_us = loss->over_us ? loss->over_us : world->now_us;
    }
}

gboolean sim_power_is_over(const struct world *world)
{
    const GArray *losses = world->power ? world->power->losses : NULL;
    return !losses || losses->len == 0 || g_array_index(losses, struct loss, losses->len - 1).over_us != 0;
}

/* --- What may be lost --- */

/* What the store calls what an event is about; 0 for names. */
static uint64_t store_object(const struct ph_event *event)
{
    if (event->object < SIM_OBJECT_LOG)
        return 0;
    if (event->object == SIM_OBJECT_LOG)
        return MODEL_LOG;
    if (event->object < SIM_OBJECT_OWNER)
        return MODEL_REGISTER_FIRST + (event->object - SIM_OBJECT_WORD) / SIM_WORDS;
    return MODEL_REGISTER_FIRST + event->object - SIM_OBJECT_OWNER;
}

/* Whether EVENT was over before somebody asked for what it is about to be made stable, and was answered, all
 * of that before LOSS. */
static gboolean is_stable(const struct sim_power *power, const struct ph_event *event,
                          const struct loss *loss)
{
    uint64_t object = store_object(event);
    for (guint i = 0; i < power->stable->len; i++) {
        const struct stable *stable = &g_array_index(power->stable, struct stable, i);
        if (stable->transaction != 0) {
            if (stable->transaction == event->transaction && stable->begin_us < loss->at_us)
                return TRUE;
            continue;
        }
        if (stable->mount >= 0 && stable->mount != event->mount)
            continue;
        if ((stable->object == 0 || stable->object == object) && event->end_ns / 1000 <= stable->begin_us &&
            stable->begin_us < loss->at_us)
            return TRUE;
    }
    return FALSE;
}

/* Whether EVENT is about something of which it is not known what was done to it when power was lost: BEFORE
 * that; and at all, where it was put aside. */
static gboolean is_untold(const struct sim_power *power, const struct ph_event *event, gboolean before)
{
    uint64_t object = store_object(event);
    return g_hash_table_contains(power->aside, &object) ||
           (before && ph_model_is_read(event) && g_hash_table_contains(power->untold, &object));
}

static void look_at(struct world *world, struct ph_event *event, const struct loss *loss)
{
    uint64_t begin_us = event->begin_ns / 1000, end_us = event->end_ns / 1000;
    gboolean reads = ph_model_is_read(event);
    if (world->power->unsure && event->object < SIM_OBJECT_LOG)
        event->object = SIM_OBJECTS;
    gboolean kept = event->object < SIM_OBJECT_LOG ? loss->names : loss->kept;
    if (event->object >= SIM_OBJECTS || begin_us >= MAX(loss->at_us, loss->over_us))
        return;
    if (event->call == LOCALLY) /* it is on the disk */
        return;
    if (is_untold(world->power, event, begin_us < loss->at_us)) {
        event->maybe = !reads;
        event->object = reads ? SIM_OBJECTS : event->object;
        return;
    }
    if (!reads && begin_us < loss->at_us && !kept && !is_stable(world->power, event, loss))
        event->maybe = TRUE;
    /* Who looks while things are being made again may miss them. */
    if (reads && (end_us > loss->at_us || (!kept && !is_stable(world->power, event, loss))))
        event->object = SIM_OBJECTS;
}

/* --- In the end --- */

static void see_register(struct world *world, unsigned number)
{
    const struct model_object *file = model_find(world->store, MODEL_REGISTER_FIRST + number);
    for (unsigned word = 0; word < SIM_WORDS; word++) {
        uint64_t value;
        memcpy(&value, file->data + word * MODEL_VALUE_BYTES, sizeof(value));
        see(world, SIM_OBJECT_WORD + number * SIM_WORDS + word, PH_GET, 0, GUINT64_FROM_LE(value), END,
            FALSE);
    }
    see(world, SIM_OBJECT_OWNER + number, PH_GET, 0, file->uid, END, FALSE);
}

static void see_name(struct world *world, unsigned slot)
{
    const struct model_object *directory = model_find(world->store, sim_slot_directory(slot));
    const struct model_entry *entry = model_entry(directory, sim_slot_name(slot));
    const struct model_object *object = entry ? model_find(world->store, entry->object) : NULL;
    uint64_t identity = !object ? 0 : S_ISDIR(object->mode) ? PH_DIRECTORY : object->id;
    see(world, sim_names_of(slot), PH_NAMED, slot % PH_SLOTS, sim_power_identity(world, identity), END,
        FALSE);
}

void sim_power_settle(struct world *world)
{
    struct sim_power *power = world->power;
    GArray *events = world->history.events;
    for (guint i = 0; power && i < power->losses->len; i++) {
        struct loss *loss = &g_array_index(power->losses, struct loss, i);
        loss->over_us = loss->over_us ? loss->over_us : world->now_us;
        for (guint at = 0; at < events->len; at++)
            look_at(world, &g_array_index(events, struct ph_event, at), loss);
    }
    for (unsigned i = 0; power && i < MODEL_REGISTERS; i++)
        see_register(world, i);
    for (unsigned slot = 0; power && !power->unsure && slot < SIM_SLOTS; slot++)
        see_name(world, slot);
}
