/* Changes of which it is not known what they concern, as transactions of several commands are: what is held,
 * or granted in answers to what was asked before, says nothing afterwards. */
#include <string.h>

#include "client/core/tests/wb_steps.h"
#include "runtime/base/limits.h"

enum { PLENTY = 1 << 20, OLD_MODE = 0644, NEW_MODE = 0600, CHANGES = 2 };

static Pohmel__Caller user = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor), .uid = 1000, .gid = 1000};

static ProtobufCBinaryData bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *) text};
}

/* File 10 gets NEW_MODE, and its name "f" becomes "g". */
static struct wb_asked *ask_several(struct wb_steps *steps)
{
    Pohmel__SetattrRequest setattr = POHMEL__SETATTR_REQUEST__INIT;
    Pohmel__RenameRequest rename = POHMEL__RENAME_REQUEST__INIT;
    Pohmel__Change change[CHANGES] = {POHMEL__CHANGE__INIT, POHMEL__CHANGE__INIT};
    Pohmel__Change *changes[CHANGES] = {&change[0], &change[1]};
    Pohmel__TransactRequest message = POHMEL__TRANSACT_REQUEST__INIT;
    setattr.caller = rename.caller = &user;
    setattr.object = 10;
    setattr.which = PH_SET_MODE;
    setattr.mode = NEW_MODE;
    rename.old_parent = rename.new_parent = WB_ROOT;
    rename.old_name = bytes("f");
    rename.new_name = bytes("g");
    change[0].command_case = POHMEL__CHANGE__COMMAND_SETATTR;
    change[0].setattr = &setattr;
    change[1].command_case = POHMEL__CHANGE__COMMAND_RENAME;
    change[1].rename = &rename;
    message.n_changes = CHANGES;
    message.changes = changes;
    return wb_world_ask(&steps->world, PH_CMD_TRANSACT, &message, NULL);
}

static struct wb_asked *ask_attr(struct wb_steps *steps)
{
    Pohmel__GetattrRequest message = POHMEL__GETATTR_REQUEST__INIT;
    message.caller = &user;
    message.object = 10;
    return wb_world_ask(&steps->world, PH_CMD_GETATTR, &message, NULL);
}

static struct wb_asked *ask_lease(struct wb_steps *steps)
{
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    message.object = 10;
    message.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    return wb_world_ask(&steps->world, PH_CMD_LEASE_ACQUIRE, &message, NULL);
}

static struct wb_asked *ask_name(struct wb_steps *steps, const char *name)
{
    ProtobufCBinaryData names[] = {bytes(name)};
    Pohmel__LookupRequest message = POHMEL__LOOKUP_REQUEST__INIT;
    message.caller = &user;
    message.parent = WB_ROOT;
    message.n_names = 1;
    message.names = names;
    return wb_world_ask(&steps->world, PH_CMD_LOOKUP, &message, NULL);
}

static void end(struct wb_steps *steps, struct wb_asked *asked)
{
    wb_world_settle(&steps->world);
    g_assert_true(asked->done);
    wb_world_drop(asked);
}

/* What is known of the file is what the transaction made of it. */
static void check(struct wb_steps *steps)
{
    struct wb_asked *attr = ask_attr(steps), *old = ask_name(steps, "f"), *new = ask_name(steps, "g");
    wb_world_settle(&steps->world);
    g_assert_cmpuint(((const Pohmel__GetattrReply *) attr->reply.message)->attr->mode & 0777, ==, NEW_MODE);
    g_assert_cmpuint(((const Pohmel__LookupReply *) old->reply.message)->n_found, ==, 0);
    g_assert_cmpuint(((const Pohmel__LookupReply *) new->reply.message)->n_found, ==, 1);
    wb_world_drop(attr);
    wb_world_drop(old);
    wb_world_drop(new);
    wb_steps_end(steps);
}

static void test_what_is_held_is_asked_for_again(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "text");
    end(&steps, ask_several(&steps));
    check(&steps);
}

/* While it is under way nothing is changed here, that it may overtake or be overtaken by. */
static void test_meanwhile_the_server_is_asked(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "text");
    struct wb_asked *several = ask_several(&steps), *attr = ask_attr(&steps);
    g_assert_false(attr->done);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "other", 11, 0), ==, UINT32_MAX);
    end(&steps, attr);
    g_assert_true(several->done);
    wb_world_drop(several);
    check(&steps);
}

/* The lease is granted before it, and comes to be known during it (AFTER: after it). */
static void grant_before(bool after)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "text");
    end(&steps, wb_release(&steps, wb_model_node(steps.world.server, 10)->lease));
    struct wb_asked *lease = ask_lease(&steps);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_LEASE_ACQUIRE));
    struct wb_asked *several = ask_several(&steps);
    struct wb_sent *sent = wb_world_find(&steps.world, PH_CMD_TRANSACT);
    if (after)
        wb_world_deliver(&steps.world, sent);
    end(&steps, lease);
    g_assert_true(several->done);
    wb_world_drop(several);
    check(&steps);
}

static void test_grant_before_it_is_known_during_it(void)
{
    grant_before(false);
}

static void test_grant_before_it_is_known_after_it(void)
{
    grant_before(true);
}

/* What is dirty goes first, under a lease that has to be asked for anew. */
static void test_what_is_dirty_goes_first(void)
{
    struct wb_steps steps;
    wb_steps_begin_written(&steps, PLENTY);
    struct wb_asked *several = ask_several(&steps);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_TRANSACT), ==, 0);
    end(&steps, several);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "new");
    check(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb_everything/what is held is asked for again", test_what_is_held_is_asked_for_again);
    g_test_add_func("/wb_everything/meanwhile the server is asked", test_meanwhile_the_server_is_asked);
    g_test_add_func("/wb_everything/a grant before it is known during it",
                    test_grant_before_it_is_known_during_it);
    g_test_add_func("/wb_everything/a grant before it is known after it",
                    test_grant_before_it_is_known_after_it);
    g_test_add_func("/wb_everything/what is dirty goes first", test_what_is_dirty_goes_first);
    return g_test_run();
}
