/* A transaction takes effect once, however often it is sent. */
#include <glib.h>

#include "ph_commands.h"
#include "server/core/slot.h"

static enum ph_slot_verdict admit(struct ph_slot *slot, uint32_t sequence, uint32_t crc, uint32_t *status)
{
    const struct ph_frame_header header = {.id = 100 + sequence, .sequence = sequence, .body_crc = crc};
    struct ph_fault fault = {0};
    enum ph_slot_verdict verdict = ph_slot_admit(slot, &header, 1, &fault);

    *status = fault.status;
    g_assert_true((verdict == PH_SLOT_REFUSE) == (fault.status != 0));
    return verdict;
}

static void test_order(void)
{
    struct ph_slot slot = {0};
    uint32_t status;

    g_assert_cmpint(admit(&slot, 0, 0, &status), ==, PH_SLOT_REFUSE);
    g_assert_cmpuint(status, ==, PH_ST_BAD_SEQUENCE);
    g_assert_cmpint(admit(&slot, 2, 0, &status), ==, PH_SLOT_REFUSE);
    g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_RUN);
    g_assert_cmpint(admit(&slot, 2, 12, &status), ==, PH_SLOT_REFUSE); /* the first is not answered */
    ph_slot_done(&slot, PH_ST_OK, NULL, NULL);
    g_assert_cmpint(admit(&slot, 3, 13, &status), ==, PH_SLOT_REFUSE);
    g_assert_cmpint(admit(&slot, 2, 12, &status), ==, PH_SLOT_RUN);
    ph_slot_done(&slot, PH_ST_OK, NULL, NULL);
    g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_REFUSE);
    ph_slot_clear(&slot);
}

static void test_repeat(void)
{
    struct ph_slot slot = {0};
    struct ph_blob *message = ph_blob_new(3);
    uint32_t status;

    message->len = 3;
    g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_RUN);
    g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_WAIT);
    g_assert_cmpuint(slot.repeats, ==, 1);
    g_assert_cmpuint(slot.repeat[0].id, ==, 101);
    g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_WAIT);
    g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_REFUSE); /* two may wait, not many */
    ph_slot_done(&slot, PH_ST_NOT_FOUND, message, NULL);
    ph_blob_unref(message);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_REPEAT);
        g_assert_cmpuint(slot.status, ==, PH_ST_NOT_FOUND);
        g_assert_cmpuint(slot.message->len, ==, 3);
    }
    /* The number of another transaction does not get this one's answer. */
    g_assert_cmpint(admit(&slot, 1, 99, &status), ==, PH_SLOT_REFUSE);
    g_assert_cmpuint(status, ==, PH_ST_BAD_SEQUENCE);
    ph_slot_clear(&slot);
}

static void test_large_answer(void)
{
    struct ph_slot slot = {0};
    struct ph_blob *message = ph_blob_new(PH_SLOT_RECORD_MAX_BYTES + 1);
    uint32_t status;

    message->len = PH_SLOT_RECORD_MAX_BYTES + 1;
    g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_RUN);
    ph_slot_done(&slot, PH_ST_OK, message, NULL);
    ph_blob_unref(message);
    g_assert_null(slot.message);
    g_assert_cmpint(admit(&slot, 1, 11, &status), ==, PH_SLOT_REFUSE);
    g_assert_cmpuint(status, ==, PH_ST_LIMIT);
    g_assert_cmpint(admit(&slot, 2, 12, &status), ==, PH_SLOT_RUN);
    ph_slot_clear(&slot);
}

static void test_wrap(void)
{
    struct ph_slot slot = {.sequence = UINT32_MAX, .recorded = true};
    uint32_t status;

    g_assert_cmpint(admit(&slot, 0, 11, &status), ==, PH_SLOT_RUN);
    ph_slot_done(&slot, PH_ST_OK, NULL, NULL);
    g_assert_cmpint(admit(&slot, 0, 11, &status), ==, PH_SLOT_REPEAT);
    g_assert_cmpint(admit(&slot, 1, 12, &status), ==, PH_SLOT_RUN);
    ph_slot_clear(&slot);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/slot/only-the-next-is-executed", test_order);
    g_test_add_func("/slot/the-last-is-answered-again", test_repeat);
    g_test_add_func("/slot/large-answers-are-not-kept", test_large_answer);
    g_test_add_func("/slot/zero-follows-the-largest", test_wrap);
    return g_test_run();
}
