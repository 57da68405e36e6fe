/* A transaction that is gathered step by step: what it takes, what it refuses, and how it is cut into parts.
 */
#include <glib.h>
#include <string.h>

#include "client/fuse/txn.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

enum { DIRECTORY = 77, FILE_OBJECT = 88, MADE = 99 };

static struct ph_txn *begun(void)
{
    static uint32_t groups[] = {5, 6};
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    caller.uid = 1000;
    caller.gid = 100;
    caller.n_groups = 2;
    caller.groups = groups;
    return ph_txn_new(&caller, DIRECTORY);
}

static struct ph_ioc_txn step_of(uint32_t action, const char *name)
{
    struct ph_ioc_txn step = {.action = action, .place = 1, .subject = 1};
    step.name_bytes = (uint32_t) strlen(name);
    memcpy(step.name, name, step.name_bytes);
    return step;
}

static void value(struct ph_ioc_txn *step, const char *text)
{
    step->value_bytes = (uint32_t) strlen(text);
    memcpy(step->value, text, step->value_bytes);
}

static void test_objects_go_by_numbers(void)
{
    struct ph_txn *txn = begun();
    uint32_t number;
    g_assert_cmpuint(ph_txn_object(txn, FILE_OBJECT, &number), ==, PH_ST_OK);
    g_assert_cmpuint(number, ==, 2);
    struct ph_ioc_txn mkdir = step_of(PH_IOC_TXN_MKDIR, "new");
    mkdir.mode = 0755;
    g_assert_cmpuint(ph_txn_add(txn, &mkdir, MADE), ==, PH_ST_OK);
    g_assert_cmpuint(mkdir.subject, ==, 3);
    struct ph_ioc_txn link = step_of(PH_IOC_TXN_LINK, "file");
    link.place = 3;
    link.subject = 2;
    g_assert_cmpuint(ph_txn_add(txn, &link, 0), ==, PH_ST_OK);
    g_assert_cmpuint(ph_txn_count(txn), ==, 2);
    g_assert_cmpuint(ph_txn_cut(txn), ==, 1);
    size_t count;
    struct ph_blob *payload;
    Pohmel__Change **changes = ph_txn_part(txn, 0, &count, &payload);
    g_assert_cmpuint(count, ==, 2);
    g_assert_null(payload);
    g_assert_cmpuint(changes[0]->mkdir->parent, ==, DIRECTORY);
    g_assert_cmpuint(changes[0]->mkdir->object, ==, MADE);
    g_assert_cmpuint(changes[0]->mkdir->caller->groups[1], ==, 6);
    g_assert_cmpuint(changes[1]->link->parent, ==, MADE);
    g_assert_cmpuint(changes[1]->link->object, ==, FILE_OBJECT);
    g_assert_cmpmem(changes[1]->link->name.data, changes[1]->link->name.len, "file", 4);
    ph_txn_free(txn);
}

/* Adds STEP to a transaction with one more object; what came of it. */
static uint32_t try(struct ph_ioc_txn step, uint64_t made)
{
    struct ph_txn *txn = begun();
    uint32_t number;
    ph_txn_object(txn, FILE_OBJECT, &number);
    uint32_t status = ph_txn_add(txn, &step, made);
    g_assert_cmpuint(ph_txn_count(txn), ==, status == PH_ST_OK);
    ph_txn_free(txn);
    return status;
}

static void test_unsound_steps_are_refused(void)
{
    static const char *const names[] = {"", ".", "..", "a/b"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_cmpuint(try(step_of(PH_IOC_TXN_REMOVE, names[i]), 0), ==, PH_ST_INVALID);
    struct ph_ioc_txn step = step_of(PH_IOC_TXN_REMOVE, "fine");
    g_assert_cmpuint(try(step, 0), ==, PH_ST_OK);
    g_assert_cmpuint(try(step, MADE), ==, PH_ST_INVALID); /* makes nothing */
    step.place = 3;
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID); /* no such object */
    step.place = 0;
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID);
    step = step_of(PH_IOC_TXN_REMOVE, "fine");
    step.name_bytes = sizeof(step.name);
    memset(step.name, 'n', sizeof(step.name));
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID); /* longer than names are */
    step.name_bytes = UINT32_MAX;
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID);
    step = step_of(PH_IOC_TXN_SYMLINK, "link");
    g_assert_cmpuint(try(step, MADE), ==, PH_ST_INVALID); /* to nowhere */
    value(&step, "target");
    g_assert_cmpuint(try(step, MADE), ==, PH_ST_OK);
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID); /* no id */
    step.value_bytes = PH_TARGET_MAX_BYTES + 1;
    memset(step.value, 't', step.value_bytes);
    g_assert_cmpuint(try(step, MADE), ==, PH_ST_INVALID);
    step = step_of(PH_IOC_TXN_SETATTR, "");
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID); /* sets nothing */
    step.which = PH_SET_SIZE;
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID);
    step.which = PH_SET_MODIFIED;
    g_assert_cmpuint(try(step, 0), ==, PH_ST_OK);
    step.modified_ns = 1000000000;
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID);
    step = step_of(PH_IOC_TXN_COMMIT, "x");
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID);
    step = step_of(99, "x");
    g_assert_cmpuint(try(step, 0), ==, PH_ST_INVALID);
}

/* Every part fits into a message, has no more commands than one may have, and brings its own payload. */
static void check_parts(struct ph_txn *txn, size_t parts, size_t expected)
{
    size_t commands = 0;
    for (size_t part = 0; part < parts; part++) {
        size_t count, of_it = 0;
        struct ph_blob *payload;
        Pohmel__StageRequest stage = POHMEL__STAGE_REQUEST__INIT;
        stage.changes = ph_txn_part(txn, part, &count, &payload);
        stage.n_changes = count;
        g_assert_cmpuint(count, >=, 1);
        g_assert_cmpuint(count, <=, PH_TRANSACTION_PART_COMMANDS);
        g_assert_cmpuint(ph_encoded_size(&stage.base), <=, PH_MESSAGE_MAX_BYTES);
        for (size_t i = 0; i < count; i++)
            if (stage.changes[i]->command_case == POHMEL__CHANGE__COMMAND_SETXATTR)
                of_it += stage.changes[i]->setxattr->length;
        g_assert_cmpuint(payload != NULL ? payload->len : 0, ==, of_it);
        g_assert_cmpuint(of_it, <=, PH_PAYLOAD_MAX_BYTES);
        ph_blob_unref(payload);
        commands += count;
    }
    g_assert_cmpuint(commands, ==, expected);
}

static void test_large_ones_are_cut(void)
{
    enum { NAMES = 1000, VALUES = 200, TARGETS = 100 };
    struct ph_txn *txn = begun();
    for (unsigned i = 0; i < NAMES; i++) {
        struct ph_ioc_txn step = step_of(PH_IOC_TXN_REMOVE, "name");
        g_assert_cmpuint(ph_txn_add(txn, &step, 0), ==, PH_ST_OK);
    }
    for (unsigned i = 0; i < VALUES; i++) {
        struct ph_ioc_txn step = step_of(PH_IOC_TXN_SETXATTR, "user.x");
        step.value_bytes = sizeof(step.value);
        g_assert_cmpuint(ph_txn_add(txn, &step, 0), ==, PH_ST_OK);
    }
    for (unsigned i = 0; i < TARGETS; i++) {
        struct ph_ioc_txn step = step_of(PH_IOC_TXN_SYMLINK, "link");
        step.value_bytes = PH_TARGET_MAX_BYTES;
        memset(step.value, 't', step.value_bytes);
        g_assert_cmpuint(ph_txn_add(txn, &step, MADE + i), ==, PH_ST_OK);
    }
    size_t parts = ph_txn_cut(txn);
    g_assert_cmpuint(parts, >, NAMES / PH_TRANSACTION_PART_COMMANDS);
    check_parts(txn, parts, NAMES + VALUES + TARGETS);
    ph_txn_free(txn);
}

static void test_there_is_a_limit(void)
{
    struct ph_txn *txn = begun();
    struct ph_ioc_txn step = step_of(PH_IOC_TXN_REMOVE, "name");
    for (unsigned i = 0; i < PH_TRANSACTION_COMMANDS_MAX; i++)
        g_assert_cmpuint(ph_txn_add(txn, &step, 0), ==, PH_ST_OK);
    g_assert_cmpuint(ph_txn_add(txn, &step, 0), ==, PH_ST_LIMIT);
    check_parts(txn, ph_txn_cut(txn), PH_TRANSACTION_COMMANDS_MAX);
    ph_txn_free(txn);
    txn = begun();
    g_assert_cmpuint(ph_txn_cut(txn), ==, 0);
    uint32_t number, status = PH_ST_OK;
    for (unsigned i = 0; i <= PH_TXN_OBJECTS_MAX && status == PH_ST_OK; i++)
        status = ph_txn_object(txn, FILE_OBJECT, &number);
    g_assert_cmpuint(status, ==, PH_ST_LIMIT);
    ph_txn_free(txn);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/txn/objects_go_by_numbers", test_objects_go_by_numbers);
    g_test_add_func("/txn/unsound_steps_are_refused", test_unsound_steps_are_refused);
    g_test_add_func("/txn/large_ones_are_cut", test_large_ones_are_cut);
    g_test_add_func("/txn/there_is_a_limit", test_there_is_a_limit);
    return g_test_run();
}
