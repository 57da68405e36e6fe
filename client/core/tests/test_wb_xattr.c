/* The promises of write-back about extended attributes. */
#include <string.h>

#include "client/core/tests/wb_steps.h"

enum { PLENTY = 1 << 20 };

static Pohmel__Caller user = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor), .uid = 1000, .gid = 1000};

static ProtobufCBinaryData bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *) text};
}

static uint32_t status_of(struct wb_asked *asked)
{
    uint32_t status = asked->done ? asked->reply.status : UINT32_MAX;
    wb_world_forget(asked);
    return status;
}

static uint32_t set_bytes(struct wb_steps *steps, uint64_t id, const char *name, const void *value,
                          size_t len, uint32_t flags)
{
    Pohmel__SetxattrRequest message = POHMEL__SETXATTR_REQUEST__INIT;
    struct ph_blob *blob = len > 0 ? ph_blob_copy(value, len) : NULL;
    message.caller = &user;
    message.object = id;
    message.name = bytes(name);
    message.length = (uint32_t) len;
    message.flags = flags;
    return status_of(wb_world_ask(&steps->world, PH_CMD_SETXATTR, &message, blob));
}

static uint32_t set(struct wb_steps *steps, uint64_t id, const char *name, const char *value)
{
    return set_bytes(steps, id, name, value, strlen(value), 0);
}

static uint32_t take_away(struct wb_steps *steps, uint64_t id, const char *name)
{
    Pohmel__RemovexattrRequest message = POHMEL__REMOVEXATTR_REQUEST__INIT;
    message.caller = &user;
    message.object = id;
    message.name = bytes(name);
    return status_of(wb_world_ask(&steps->world, PH_CMD_REMOVEXATTR, &message, NULL));
}

/* The value, "-" where there is none, "?" while it is not answered. Owned. */
static char *get(struct wb_steps *steps, uint64_t id, const char *name)
{
    Pohmel__GetxattrRequest message = POHMEL__GETXATTR_REQUEST__INIT;
    message.caller = &user;
    message.object = id;
    message.name = bytes(name);
    struct wb_asked *asked = wb_world_ask(&steps->world, PH_CMD_GETXATTR, &message, NULL);
    const struct ph_blob *payload = asked->reply.payload;
    char *text = !asked->done                                ? g_strdup("?")
                 : asked->reply.status == PH_ST_NO_ATTRIBUTE ? g_strdup("-")
                 : asked->reply.status != PH_ST_OK           ? g_strdup("!")
                                                   : g_strndup(payload != NULL ? (char *) payload->data : "",
                                                               payload != NULL ? payload->len : 0);
    wb_world_forget(asked);
    return text;
}

static void assert_here(struct wb_steps *steps, uint64_t id, const char *name, const char *expected)
{
    g_autofree char *value = get(steps, id, name);
    g_assert_cmpstr(value, ==, expected);
}

static void assert_there(const struct wb_steps *steps, uint64_t id, const char *name, const char *expected)
{
    GBytes *value = g_hash_table_lookup(wb_model_node(steps->world.server, id)->xattrs, name);
    if (expected == NULL) {
        g_assert_null(value);
        return;
    }
    g_assert_nonnull(value);
    g_assert_cmpmem(g_bytes_get_data(value, NULL), g_bytes_get_size(value), expected, strlen(expected));
}

static void assert_sent(const struct wb_steps *steps, const char *expected)
{
    g_autofree char *sent = wb_steps_sent(steps);
    g_assert_cmpstr(sent, ==, expected);
}

/* A world in which the server has shown that it keeps attributes of users, and a file made here, 10. */
static void begin(struct wb_steps *steps)
{
    wb_steps_begin(steps, PLENTY);
    g_assert_cmpuint(wb_create(steps, WB_ROOT, "other", 9, 0), ==, PH_ST_OK);
    g_assert_cmpuint(set(steps, 9, "user.first", "1"), ==, UINT32_MAX);
    wb_world_settle(&steps->world);
    assert_there(steps, 9, "user.first", "1");
    g_assert_cmpuint(wb_create(steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    wb_world_settle(&steps->world);
    g_string_truncate(steps->history, 0);
}

static void test_set_here_and_sent_later(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    assert_here(&steps, 10, "user.a", "one");
    assert_here(&steps, 10, "user.b", "-");
    assert_sent(&steps, "");
    g_assert_true(ph_wb_is_dirty(steps.world.wb, 10));
    wb_steps_flush(&steps);
    g_assert_true(g_str_has_prefix(steps.history->str, "CREATE SETXATTR"));
    assert_there(&steps, 10, "user.a", "one");
    g_assert_false(ph_wb_is_dirty(steps.world.wb, 10));
    assert_here(&steps, 10, "user.a", "one"); /* and is known still */
    wb_steps_end(&steps);
}

static void test_set_twice_is_sent_once(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    g_assert_cmpuint(set(&steps, 10, "user.a", "two"), ==, PH_ST_OK);
    g_assert_cmpuint(set(&steps, 10, "user.b", ""), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 10);
    assert_sent(&steps, "CREATE");
    wb_world_settle(&steps.world);
    g_assert_cmpstr(strstr(steps.history->str, "SETXATTR"), !=, NULL);
    g_assert_null(strstr(strstr(strstr(steps.history->str, "SETXATTR") + 1, "SETXATTR") + 1, "SETXATTR"));
    assert_there(&steps, 10, "user.a", "two");
    assert_there(&steps, 10, "user.b", "");
    wb_steps_end(&steps);
}

static void test_set_and_taken_away_is_never_sent(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    g_assert_cmpuint(take_away(&steps, 10, "user.a"), ==, PH_ST_OK);
    assert_here(&steps, 10, "user.a", "-");
    wb_steps_flush(&steps);
    g_assert_null(strstr(steps.history->str, "XATTR"));
    wb_steps_end(&steps);
}

/* What came after it goes after what came before it all the same. */
static void test_order_without_it(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(wb_open(&steps, 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "hello"), ==, PH_ST_OK);
    g_assert_cmpuint(take_away(&steps, 10, "user.a"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    assert_sent(&steps, "CREATE");
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

static void test_taken_away_after_it_was_sent(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "two"), ==, PH_ST_OK);
    g_assert_cmpuint(take_away(&steps, 10, "user.a"), ==, PH_ST_OK);
    assert_here(&steps, 10, "user.a", "-");
    wb_steps_flush(&steps);
    assert_there(&steps, 10, "user.a", NULL);
    wb_steps_end(&steps);
}

static void test_goes_with_the_file(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_null(strstr(steps.history->str, "XATTR"));
    g_assert_null(strstr(steps.history->str, "CREATE"));
    struct ph_wb_counters counters;
    ph_wb_count(steps.world.wb, 0, &counters);
    g_assert_cmpuint(counters.dirty_bytes, ==, 0);
    wb_steps_end(&steps);
}

/* tar and cp set attributes, then mode and times: data, mode and times still travel with the making. */
static void test_a_file_is_two_commands(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "g", 11, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 11, 1, 0, "hello"), ==, PH_ST_OK);
    g_assert_cmpuint(set(&steps, 11, "user.a", "one"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_chmod(&steps, 11, 0600), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(&steps, 11, 1), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 11);
    wb_world_settle(&steps.world);
    g_assert_cmpstr(steps.history->str, ==, "CREATE SETXATTR");
    g_assert_cmpuint(wb_model_node(steps.world.server, 11)->mode & 07777, ==, 0600);
    assert_there(&steps, 11, "user.a", "one");
    wb_steps_end(&steps);
}

/* It was set with the right to; it is sent before that right is taken away. */
static void test_read_only_after_it_was_set(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0444), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    assert_there(&steps, 10, "user.a", "one");
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->mode & 07777, ==, 0444);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

static void test_plain_access_list_is_a_chmod(void)
{
    static const uint8_t list[] = {2, 0, 0,   0,   1,   0,   6,    0, 255, 255, 255, 255, 4,   0,
                                   4, 0, 255, 255, 255, 255, 0x20, 0, 0,   0,   255, 255, 255, 255};
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(set_bytes(&steps, 10, "system.posix_acl_access", list, sizeof(list), 0), ==, PH_ST_OK);
    assert_sent(&steps, "");
    wb_world_flush(&steps.world, 10);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->mode & 07777, ==, 0640);
    g_assert_null(strstr(steps.history->str, "XATTR"));
    wb_steps_end(&steps);
}

/* What a filesystem may have no room for, and flags that may be refused, are the server's to decide. */
static void test_what_is_not_sure_is_sent_on(void)
{
    static const char large[4000] = "x";
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(set_bytes(&steps, 10, "user.a", large, sizeof(large), 0), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(
        g_bytes_get_size(g_hash_table_lookup(wb_model_node(steps.world.server, 10)->xattrs, "user.a")), ==,
        sizeof(large));
    g_assert_cmpuint(set_bytes(&steps, 10, "user.b", "1", 1, 2), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    assert_there(&steps, 10, "user.b", NULL);
    wb_steps_end(&steps);
}

static void test_refusal_is_told(void)
{
    struct wb_steps steps;
    begin(&steps);
    wb_steps_flush(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 10);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_SETXATTR), PH_ST_NO_SPACE);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(ph_wb_take_error(steps.world.wb, 10), ==, PH_ST_NO_SPACE);
    g_assert_cmpuint(steps.world.failed->len, ==, 1);
    g_assert_nonnull(strstr(g_ptr_array_index(steps.world.failed, 0), "user.a"));
    wb_steps_end(&steps);
}

static void test_sent_again_after_a_lost_session(void)
{
    struct wb_steps steps;
    begin(&steps);
    wb_steps_flush(&steps);
    g_assert_cmpuint(set(&steps, 10, "user.a", "one"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 10);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_SETXATTR));
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    wb_steps_flush(&steps);
    assert_there(&steps, 10, "user.a", "one");
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    g_assert_false(ph_wb_is_dirty(steps.world.wb, 10));
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb/xattr/it is set here, and sent later", test_set_here_and_sent_later);
    g_test_add_func("/wb/xattr/what is set twice is sent once", test_set_twice_is_sent_once);
    g_test_add_func("/wb/xattr/what is set and taken away is never sent",
                    test_set_and_taken_away_is_never_sent);
    g_test_add_func("/wb/xattr/order is kept without it", test_order_without_it);
    g_test_add_func("/wb/xattr/what was sent is taken away there", test_taken_away_after_it_was_sent);
    g_test_add_func("/wb/xattr/it goes with the file", test_goes_with_the_file);
    g_test_add_func("/wb/xattr/a file with data, mode and an attribute is two commands",
                    test_a_file_is_two_commands);
    g_test_add_func("/wb/xattr/it is sent before the right to set it is taken away",
                    test_read_only_after_it_was_set);
    g_test_add_func("/wb/xattr/an access list that says what mode bits say is a chmod",
                    test_plain_access_list_is_a_chmod);
    g_test_add_func("/wb/xattr/what is not sure is sent on", test_what_is_not_sure_is_sent_on);
    g_test_add_func("/wb/xattr/what the server refuses is told", test_refusal_is_told);
    g_test_add_func("/wb/xattr/it is sent again after a lost session", test_sent_again_after_a_lost_session);
    return g_test_run();
}
