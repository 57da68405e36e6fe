/* A disk keeps names as of a moment between what is stable and the loss of power: what is made again meets
 * what came later. Whatever that moment was, all is as it was in the end. docs/decisions/0015-owned.md. */
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/wb_power.h"
#include "ph_commands.h"

enum {
    PLENTY = 1 << 20,
    STABLE_MS = 5000,
    NAMES = 5,
    STEPS = 24,
    WORLDS = 60,
    FOUND = 100000,
    PAST = 1000 /* what is made again is later by so much */
};

static const char *const names[NAMES] = {"a", "b", "c", "d", "e"};

/* A command as the server executed it. */
struct executed {
    uint16_t command;
    ProtobufCMessage *message;
    struct ph_blob *payload;
    struct ph_cached_time now;
};

struct life {
    struct wb_steps steps;
    GPtrArray *executed;
    guint stable; /* of these */
    GRand *rand;
    uint64_t last_id;
};

static void free_executed(void *data)
{
    struct executed *one = data;
    protobuf_c_message_free_unpacked(one->message, NULL);
    ph_blob_unref(one->payload);
    g_free(one);
}

static ProtobufCMessage *copy(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    g_autofree uint8_t *packed = g_malloc(len + 1);
    protobuf_c_message_pack(message, packed);
    return protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
}

static void on_executing(void *data, struct wb_sent *sent)
{
    struct life *life = data;
    struct executed *one = g_new0(struct executed, 1);
    one->command = sent->outer;
    one->message = copy(sent->message);
    one->payload = sent->payload != NULL ? ph_blob_ref(sent->payload) : NULL;
    one->now = life->steps.world.server->now;
    g_ptr_array_add(life->executed, one);
}

/* What clients made from command FIRST on has an id by which nobody knows it. */
static void lose_ids(const struct life *life, struct wb_model *model, guint first, guint count)
{
    for (guint i = first; i < count; i++) {
        const struct executed *one = g_ptr_array_index(life->executed, i);
        const ProtobufCMessage *inner;
        if (wb_model_inner(one->command, one->message, &inner) != PH_CMD_CREATE)
            continue;
        struct wb_node *node = wb_model_node(model, ((const Pohmel__CreateRequest *) inner)->object);
        GHashTableIter iter;
        void *entry;
        if (node == NULL)
            continue;
        g_hash_table_iter_init(&iter, wb_model_node(model, WB_ROOT)->names);
        while (g_hash_table_iter_next(&iter, NULL, &entry))
            if (((struct wb_entry *) entry)->id == node->id)
                ((struct wb_entry *) entry)->id += FOUND;
        g_hash_table_steal(model->nodes, &node->id);
        node->id += FOUND;
        node->found = true;
        g_hash_table_insert(model->nodes, &node->id, node);
    }
}

/* A server that did the first COUNT commands of LIFE. */
static struct wb_model *server_after(const struct life *life, guint count)
{
    struct wb_model *model = wb_model_new(true, NULL);
    model->timed = true;
    for (guint i = 0; i < count; i++) {
        const struct executed *one = g_ptr_array_index(life->executed, i);
        struct wb_model_reply reply = {0};
        model->now = one->now;
        wb_model_execute(model, one->command, one->message, one->payload, &reply);
        wb_model_reply_clear(&reply);
    }
    wb_model_end_session(model);
    return model;
}

static void begin(struct life *life, guint32 seed)
{
    *life = (struct life){.last_id = 100};
    life->rand = g_rand_new_with_seed(seed);
    life->executed = g_ptr_array_new_with_free_func(free_executed);
    wb_power_begin(&life->steps, PLENTY);
    life->steps.world.server->timed = true;
    life->steps.world.data = life;
    life->steps.world.executing = on_executing;
}

static void end(struct life *life)
{
    wb_steps_end(&life->steps);
    g_ptr_array_unref(life->executed);
    g_rand_free(life->rand);
}

static const char *a_name(struct life *life)
{
    return names[g_rand_int_range(life->rand, 0, NAMES)];
}

/* Whatever comes of it: some names are taken, some are not there. */
static void step(struct life *life)
{
    struct wb_steps *steps = &life->steps;
    const char *one = a_name(life), *other = a_name(life);
    uint64_t id;
    switch (g_rand_int_range(life->rand, 0, 7)) {
    case 0:
    case 1:
    case 2:
        id = ++life->last_id;
        if (wb_has_name(steps, WB_ROOT, one) || wb_create(steps, WB_ROOT, one, id, id) != PH_ST_OK)
            break;
        wb_write(steps, id, id, 0, one);
        wb_close_handle(steps, id, id);
        break;
    case 3:
        if (wb_has_name(steps, WB_ROOT, one))
            wb_remove(steps, WB_ROOT, one);
        break;
    default:
        if (strcmp(one, other) != 0 && wb_has_name(steps, WB_ROOT, one))
            wb_rename(steps, WB_ROOT, one, other);
        break;
    }
    wb_steps_flush(steps);
}

static void sync_all(struct life *life)
{
    wb_world_tick(&life->steps.world, STABLE_MS);
    wb_world_settle(&life->steps.world);
    g_assert_cmpuint(wb_unstable_bytes(&life->steps), ==, 0);
    life->stable = life->executed->len;
}

/* What is in the root: names with ids and texts. Owned. */
static char *picture(struct wb_model *model)
{
    GString *out = g_string_new("");
    for (int i = 0; i < NAMES; i++) {
        const struct wb_entry *entry = g_hash_table_lookup(wb_model_node(model, WB_ROOT)->names, names[i]);
        const struct wb_node *node = entry != NULL ? wb_model_node(model, entry->id) : NULL;
        if (node != NULL)
            g_string_append_printf(out, "%s:%" G_GUINT64_FORMAT ":%.*s ", names[i], node->id,
                                   S_ISREG(node->mode) ? (int) node->data->len : 0,
                                   S_ISREG(node->mode) ? (const char *) node->data->data : "");
    }
    return g_string_free(out, FALSE);
}

static void survive(bool without_ids)
{
    for (guint32 seed = 0; seed < WORLDS; seed++) {
        for (guint part = 0; part < 8; part++) {
            struct life life;
            begin(&life, seed);
            for (int i = 0; i < STEPS; i++) {
                step(&life);
                if (i == (int) (seed % STEPS))
                    sync_all(&life);
            }
            g_autofree char *before = picture(life.steps.world.server);
            guint left = life.executed->len - life.stable, kept = life.stable + left * part / 7;
            wb_world_lose(&life.steps.world);
            wb_model_free(life.steps.world.server);
            life.steps.world.server = server_after(&life, kept);
            life.steps.world.server->latest += PAST;
            if (without_ids)
                lose_ids(&life, life.steps.world.server, life.stable, kept);
            wb_power_back(&life.steps, 2, 2);
            wb_world_settle(&life.steps.world);
            g_autofree char *after = picture(life.steps.world.server);
            g_test_message("seed %u, %u of %u", seed, kept, life.executed->len);
            g_assert_cmpstr(after, ==, before);
            if (life.steps.world.failed->len > 0)
                g_error("%s", (const char *) g_ptr_array_index(life.steps.world.failed, 0));
            end(&life);
        }
    }
}

static void test_whatever_of_it_survived_all_is_as_it_was(void)
{
    survive(false);
}

static void test_names_may_survive_without_their_ids(void)
{
    survive(true);
}

/* What replaced it survived; what was moved there before was gone by then. */
static void test_what_came_to_a_name_later_is_not_replaced(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "a", 10, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "b", 11, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 11, 1, 0, "of b"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "a", "c"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "b", "c"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_assert_text(&steps, 11, "of b");
    g_assert_true(wb_has_name(&steps, WB_ROOT, "c"));
    g_assert_false(wb_has_name(&steps, WB_ROOT, "a"));
    g_assert_null(wb_model_node(steps.world.server, 10));
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb_owned_later/what came to a name later is not replaced",
                    test_what_came_to_a_name_later_is_not_replaced);
    g_test_add_func("/wb_owned_later/whatever of it survived all is as it was",
                    test_whatever_of_it_survived_all_is_as_it_was);
    g_test_add_func("/wb_owned_later/names may survive without their ids",
                    test_names_may_survive_without_their_ids);
    return g_test_run();
}
