/* Promises of the command and status tables. */
#include <errno.h>
#include <glib.h>

#include "ph_commands.h"

static void test_every_command_is_found_by_its_number(void)
{
    size_t count;
    const struct ph_command_info *all = ph_commands(&count);
    g_assert_cmpuint(count, >, 40);
    for (size_t i = 0; i < count; i++) {
        g_assert_true(ph_command_info(all[i].number) == &all[i]);
        g_assert_nonnull(all[i].request);
        g_assert_nonnull(all[i].reply);
        if (i > 0)
            g_assert_cmpuint(all[i].number, >, all[i - 1].number);
    }
    g_assert_null(ph_command_info(0));
    g_assert_null(ph_command_info(7));
    g_assert_null(ph_command_info(UINT16_MAX));
}

static void test_table_tells_what_the_idl_says(void)
{
    const struct ph_command_info *lookup = ph_command_info(PH_CMD_LOOKUP);
    g_assert_cmpstr(lookup->name, ==, "LOOKUP");
    g_assert_cmpstr(lookup->section, ==, "6.1");
    g_assert_cmpint(lookup->effect, ==, PH_EFFECT_READS);
    g_assert_cmpint(lookup->layer, ==, PH_LAYER_STORE);
    g_assert_true(lookup->request == &ph_rule_lookup_request);
    g_assert_cmpuint(ph_command_info(PH_CMD_READ)->reply_payload_max, ==, 1048576);
    g_assert_true(ph_command_info(PH_CMD_RECALL)->event);
    g_assert_true(ph_command_info(PH_CMD_INVALIDATE)->reserved);
    g_assert_false(ph_command_info(PH_CMD_RECLAIM)->reserved);
}

static void test_a_command_answers_its_own_and_the_common_statuses(void)
{
    const struct ph_command_info *lookup = ph_command_info(PH_CMD_LOOKUP);
    g_assert_true(ph_command_may_answer(lookup, PH_ST_OK));
    g_assert_true(ph_command_may_answer(lookup, PH_ST_NOT_FOUND));
    g_assert_true(ph_command_may_answer(lookup, PH_ST_IO_ERROR));
    g_assert_false(ph_command_may_answer(lookup, PH_ST_NO_SPACE));
    g_assert_false(ph_command_may_answer(lookup, 4711));
}

static void test_a_transaction_answers_what_its_changes_may(void)
{
    const struct ph_command_info *transact = ph_command_info(PH_CMD_TRANSACT);
    g_assert_true(ph_command_may_answer(transact, PH_ST_NOT_EMPTY));
    g_assert_true(ph_command_may_answer(transact, PH_ST_MISMATCH));
    g_assert_false(ph_command_may_answer(transact, PH_ST_NO_EXPORT));
}

static void test_statuses_and_errnos_go_both_ways(void)
{
    g_assert_cmpint(ph_status_to_errno(PH_ST_OK), ==, 0);
    g_assert_cmpint(ph_status_to_errno(PH_ST_NOT_FOUND), ==, ENOENT);
    g_assert_cmpint(ph_status_to_errno(4711), ==, EIO);
    g_assert_cmpuint(ph_status_from_errno(0), ==, PH_ST_OK);
    g_assert_cmpuint(ph_status_from_errno(ESTALE), ==, PH_ST_STALE);
    g_assert_cmpuint(ph_status_from_errno(ENOSPC), ==, PH_ST_NO_SPACE);
    g_assert_cmpuint(ph_status_from_errno(EMFILE), ==, PH_ST_TOO_MANY_OPEN);
    g_assert_cmpuint(ph_status_from_errno(EPROTO), ==, PH_ST_IO_ERROR);
    for (int error = 1; error < 134; error++) {
        uint32_t status = ph_status_from_errno(error);
        if (status != PH_ST_IO_ERROR && error != EMFILE && error != ENOSYS)
            g_assert_cmpint(ph_status_to_errno(status), ==, error);
    }
}

static void test_statuses_have_names_and_words(void)
{
    g_assert_cmpstr(ph_status_name(PH_ST_NOT_FOUND), ==, "NOT_FOUND");
    g_assert_cmpstr(ph_status_name(4711), ==, "status 4711");
    g_assert_cmpstr(ph_status_text(PH_ST_READ_ONLY), ==, "read-only export");
    g_assert_nonnull(ph_status_text(4711));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/command/every-command-is-found-by-its-number",
                    test_every_command_is_found_by_its_number);
    g_test_add_func("/command/table-tells-what-the-idl-says", test_table_tells_what_the_idl_says);
    g_test_add_func("/command/answers-own-and-common-statuses",
                    test_a_command_answers_its_own_and_the_common_statuses);
    g_test_add_func("/command/transaction-answers-what-its-changes-may",
                    test_a_transaction_answers_what_its_changes_may);
    g_test_add_func("/command/statuses-and-errnos-go-both-ways", test_statuses_and_errnos_go_both_ways);
    g_test_add_func("/command/statuses-have-names-and-words", test_statuses_have_names_and_words);
    return g_test_run();
}
