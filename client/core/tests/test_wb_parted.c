/* An answer that was made before what was written back of an object comes when its lease has gone: it says
 * what programs have seen, not what was before. */
#include "client/core/tests/wb_steps.h"

enum { PLENTY = 1 << 20, FILE_ID = 10, OTHER_ID = 11, LINKS_MADE = 2 };

/* CREATE of "f", which is there. */
static struct wb_asked *create_again(struct wb_steps *steps)
{
    Pohmel__Caller user = POHMEL__CALLER__INIT;
    Pohmel__CreateRequest message = POHMEL__CREATE_REQUEST__INIT;
    message.caller = &user;
    message.parent = WB_ROOT;
    message.name = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *) "f"};
    message.object = OTHER_ID;
    message.mode = 0644;
    return wb_world_ask(&steps->world, PH_CMD_CREATE, &message, NULL);
}

static const Pohmel__Attr *created(const struct wb_asked *asked)
{
    g_assert_true(asked->done);
    g_assert_cmpuint(asked->reply.status, ==, PH_ST_OK);
    const Pohmel__TransactReply *reply = (const Pohmel__TransactReply *) asked->reply.message;
    g_assert_false(reply->results[0]->create->created);
    return reply->results[0]->create->attr;
}

/* All but CREATE is executed and answered. */
static void deliver_others(struct wb_steps *steps, const struct wb_sent *create)
{
    for (guint i = 0; i < steps->world.sent->len;) {
        struct wb_sent *sent = g_ptr_array_index(steps->world.sent, i);
        if (sent == create)
            i++;
        else
            wb_world_deliver(&steps->world, sent);
    }
}

/* File 10 is "f", held, and "g" as well; that name is removed here. */
static void begin(struct wb_steps *steps)
{
    wb_steps_begin(steps, PLENTY);
    wb_steps_file(steps, "f", FILE_ID, "text");
    g_assert_cmpuint(wb_link(steps, FILE_ID, WB_ROOT, "g"), ==, PH_ST_OK);
    wb_steps_flush(steps);
    g_assert_cmpuint(wb_remove(steps, WB_ROOT, "g"), ==, PH_ST_OK);
}

/* The server executes CREATE, then what was removed before, whose object is given back; then CREATE is
 * answered. */
static void test_a_name_removed_before_is_not_counted(void)
{
    struct wb_steps steps;
    begin(&steps);
    uint64_t lease = wb_model_node(steps.world.server, FILE_ID)->lease;
    struct wb_asked *asked = create_again(&steps);
    struct wb_sent *create = wb_world_find(&steps.world, PH_CMD_CREATE);
    g_assert_nonnull(create);
    wb_world_execute(&steps.world, create);
    g_assert_cmpuint(wb_model_node(steps.world.server, FILE_ID)->links, ==, LINKS_MADE);
    wb_world_recall(&steps.world, FILE_ID, lease);
    struct wb_asked *release = wb_release(&steps, lease);
    deliver_others(&steps, create);
    g_assert_true(release->done);
    g_assert_cmpuint(wb_model_node(steps.world.server, FILE_ID)->links, ==, 1);
    g_assert_false(asked->done);
    wb_world_deliver(&steps.world, create);
    g_assert_cmpuint(created(asked)->links, ==, 1);
    wb_world_drop(asked);
    wb_world_drop(release);
    wb_steps_end(&steps);
}

/* What others did when the lease had gone is told as the server says. */
static void test_what_others_did_since_is_told(void)
{
    struct wb_steps steps;
    begin(&steps);
    uint64_t lease = wb_model_node(steps.world.server, FILE_ID)->lease;
    struct wb_asked *asked = create_again(&steps);
    struct wb_sent *create = wb_world_find(&steps.world, PH_CMD_CREATE);
    wb_world_recall(&steps.world, FILE_ID, lease);
    struct wb_asked *release = wb_release(&steps, lease);
    deliver_others(&steps, create);
    wb_steps_other_writes(&steps, FILE_ID, "longer text");
    wb_world_deliver(&steps.world, create);
    g_assert_cmpuint(created(asked)->links, ==, 1);
    g_assert_cmpuint(created(asked)->size, ==, strlen("longer text"));
    wb_world_drop(asked);
    wb_world_drop(release);
    wb_steps_end(&steps);
}

/* Of what was before a session that is lost nothing is told. */
static void test_nothing_is_kept_beyond_a_session(void)
{
    struct wb_steps steps;
    begin(&steps);
    wb_steps_flush(&steps);
    struct wb_asked *release = wb_release(&steps, wb_model_node(steps.world.server, FILE_ID)->lease);
    wb_world_settle(&steps.world);
    wb_world_drop(release);
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    struct wb_asked *asked = create_again(&steps);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(created(asked)->links, ==, 1);
    wb_world_drop(asked);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/wb_parted/a_name_removed_before_is_not_counted",
                    test_a_name_removed_before_is_not_counted);
    g_test_add_func("/client/wb_parted/what_others_did_since_is_told", test_what_others_did_since_is_told);
    g_test_add_func("/client/wb_parted/nothing_is_kept_beyond_a_session",
                    test_nothing_is_kept_beyond_a_session);
    return g_test_run();
}
