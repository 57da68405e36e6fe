/* Promises of runtime/base: arenas stay below their cap, blobs live as long as
 * a reference and are aligned, faults keep their first words, seeds repeat. */
#include <glib.h>
#include <pthread.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/blob.h"
#include "runtime/base/fault.h"
#include "runtime/base/random.h"

static void arena_gives_no_more_than_its_cap(void)
{
    struct ph_arena *arena = ph_arena_new(1000);
    size_t sum = 0;
    while (ph_arena_alloc(arena, 7) != NULL)
        sum += 7;
    g_assert_cmpuint(sum, >, 300);
    g_assert_cmpuint(ph_arena_used(arena), <=, 1000);
    g_assert_null(ph_arena_alloc(arena, 1000));
    g_assert_null(ph_arena_alloc(arena, SIZE_MAX));
    g_assert_null(ph_arena_alloc0(arena, SIZE_MAX / 2, 4));
    ph_arena_reset(arena, 64);
    g_assert_cmpuint(ph_arena_used(arena), ==, 0);
    g_assert_nonnull(ph_arena_alloc(arena, 64));
    g_assert_null(ph_arena_alloc(arena, 1));
    ph_arena_free(arena);
    ph_arena_free(NULL);
}

static void arena_pieces_are_aligned_and_apart(void)
{
    struct ph_random random;
    ph_random_seed(&random, 7);
    struct ph_arena *arena = ph_arena_new(8 * 1024 * 1024);
    for (int round = 0; round < 3; round++) {
        struct {
            uint8_t *bytes;
            size_t len;
        } pieces[300];
        for (unsigned i = 0; i < 300; i++) {
            pieces[i].len = ph_random_below(&random, i % 10 == 0 ? 20000 : 200);
            pieces[i].bytes = ph_arena_alloc(arena, pieces[i].len);
            g_assert_nonnull(pieces[i].bytes);
            g_assert_cmpuint((uintptr_t) pieces[i].bytes % _Alignof(max_align_t), ==, 0);
            memset(pieces[i].bytes, (int) (i & 0xff), pieces[i].len);
        }
        for (unsigned i = 0; i < 300; i++)
            for (size_t k = 0; k < pieces[i].len; k++)
                g_assert_cmpuint(pieces[i].bytes[k], ==, i & 0xff);
        ph_arena_reset(arena, 8 * 1024 * 1024);
    }
    ph_arena_free(arena);
}

static void arena_clears_and_copies(void)
{
    struct ph_arena *arena = ph_arena_new(4096);
    memset(ph_arena_alloc(arena, 256), 0xff, 256);
    ph_arena_reset(arena, 4096);
    const uint8_t *zero = ph_arena_alloc0(arena, 16, 16);
    for (int i = 0; i < 256; i++)
        g_assert_cmpuint(zero[i], ==, 0);
    g_assert_cmpstr(ph_arena_copy(arena, "abc", 4), ==, "abc");
    g_assert_nonnull(ph_arena_copy(arena, NULL, 0));
    ph_arena_free(arena);
}

static void blob_has_room_and_alignment(void)
{
    static const size_t sizes[] = {0,     1,     63,     64,      4095,    4096,   5000,
                                   16384, 16385, 131072, 1048576, 1048577, 4194304};
    for (int round = 0; round < 2; round++) /* the second one from the cache */
        for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
            struct ph_blob *blob = ph_blob_new(sizes[i]);
            g_assert_nonnull(blob);
            g_assert_cmpuint(blob->capacity, >=, sizes[i]);
            g_assert_cmpuint(blob->len, ==, 0);
            g_assert_cmpuint((uintptr_t) blob->data % (sizes[i] >= 4096 ? 4096 : 64), ==, 0);
            memset(blob->data, 0xaa, blob->capacity);
            ph_blob_unref(ph_blob_ref(blob));
            blob->len = sizes[i];
            ph_blob_unref(blob);
        }
    ph_blob_unref(NULL);
    g_assert_null(ph_blob_new(SIZE_MAX));
}

static void count(void *owner)
{
    ++*(int *) owner;
}

static void blob_releases_once_with_the_last_reference(void)
{
    int released = 0;
    uint8_t bytes[4] = "abc";
    struct ph_blob *blob = ph_blob_wrap(bytes, 3, count, &released);
    g_assert_true(blob->data == bytes && blob->len == 3);
    ph_blob_ref(blob);
    ph_blob_unref(blob);
    g_assert_cmpint(released, ==, 0);
    ph_blob_unref(blob);
    g_assert_cmpint(released, ==, 1);
    ph_blob_unref(ph_blob_wrap(bytes, 3, NULL, NULL));
}

static void *churn(void *seed)
{
    struct ph_random random;
    ph_random_seed(&random, GPOINTER_TO_UINT(seed));
    struct ph_blob *held[8] = {NULL};
    for (int i = 0; i < 4000; i++) {
        unsigned slot = (unsigned) ph_random_below(&random, 8);
        if (held[slot] != NULL)
            g_assert_cmpuint(held[slot]->data[0], ==, slot);
        ph_blob_unref(held[slot]);
        held[slot] = ph_blob_new(1 + ph_random_below(&random, 200000));
        held[slot]->data[0] = (uint8_t) slot;
    }
    for (int slot = 0; slot < 8; slot++)
        ph_blob_unref(held[slot]);
    return NULL;
}

static void blob_cache_hands_each_out_to_one_thread_only(void)
{
    pthread_t threads[4];
    for (guint i = 0; i < 4; i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, churn, GUINT_TO_POINTER(i)), ==, 0);
    for (guint i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static void fault_keeps_the_first_words_on_one_line(void)
{
    struct ph_fault fault = {0};
    g_assert_cmpuint(ph_fault_set(&fault, 5, "name \"%s\"", "a\nb\x7f"), ==, 5);
    g_assert_cmpuint(ph_fault_set(&fault, 6, "later"), ==, 6);
    g_assert_cmpuint(ph_fault_set(NULL, 7, "nobody listens"), ==, 7);
    g_assert_cmpuint(fault.status, ==, 5);
    g_assert_cmpstr(fault.text, ==, "name \"a?b?\"");
    struct ph_fault cut = {0};
    ph_fault_set(&cut, 1, "%0500d", 1);
    g_assert_cmpuint(strlen(cut.text), ==, sizeof cut.text - 1);
}

static void random_repeats_with_its_seed(void)
{
    struct ph_random random;
    ph_random_seed(&random, 0);
    /* xoshiro256** from splitmix64(0): the reference implementation's numbers. */
    g_assert_cmphex(ph_random_next(&random), ==, G_GUINT64_CONSTANT(0x99ec5f36cb75f2b4));
    g_assert_cmphex(ph_random_next(&random), ==, G_GUINT64_CONSTANT(0xbf6e1f784956452a));
    struct ph_random a, b, part;
    ph_random_seed(&a, 42);
    ph_random_seed(&b, 42);
    ph_random_split(&a, &part);
    ph_random_split(&b, &part);
    uint8_t bytes_a[13], bytes_b[13];
    ph_random_bytes(&a, bytes_a, sizeof bytes_a);
    ph_random_bytes(&b, bytes_b, sizeof bytes_b);
    g_assert_cmpmem(bytes_a, sizeof bytes_a, bytes_b, sizeof bytes_b);
}

static void random_is_spread_evenly_below_its_bound(void)
{
    struct ph_random random;
    ph_random_seed(&random, 3);
    int counts[6] = {0}, heads = 0;
    for (int i = 0; i < 60000; i++) {
        counts[ph_random_below(&random, 6)]++;
        heads += ph_random_chance(&random, 250);
    }
    for (int i = 0; i < 6; i++)
        g_assert_cmpint(ABS(counts[i] - 10000), <, 500);
    g_assert_cmpint(ABS(heads - 15000), <, 600);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/arena/gives-no-more-than-its-cap", arena_gives_no_more_than_its_cap);
    g_test_add_func("/arena/pieces-are-aligned-and-apart", arena_pieces_are_aligned_and_apart);
    g_test_add_func("/arena/clears-and-copies", arena_clears_and_copies);
    g_test_add_func("/blob/has-room-and-alignment", blob_has_room_and_alignment);
    g_test_add_func("/blob/releases-once-with-the-last-reference",
                    blob_releases_once_with_the_last_reference);
    g_test_add_func("/blob/cache-hands-each-out-to-one-thread-only",
                    blob_cache_hands_each_out_to_one_thread_only);
    g_test_add_func("/fault/keeps-the-first-words-on-one-line", fault_keeps_the_first_words_on_one_line);
    g_test_add_func("/random/repeats-with-its-seed", random_repeats_with_its_seed);
    g_test_add_func("/random/is-spread-evenly-below-its-bound", random_is_spread_evenly_below_its_bound);
    return g_test_run();
}
