/* Listings in pieces: whatever the kernel has room for, each entry comes once. */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "client/fuse/kernel_abi.h"
#include "client/fuse/listing.h"

enum { ENTRIES = 100, SMALL_BYTES = 300 };

/* Cookies are the server's: neither counted nor in order. */
static uint64_t cookie_of(size_t i)
{
    return (i * 7919 + 13) % 100003 + 1;
}

static struct ph_listing *make(uint64_t start, bool end)
{
    static char names[ENTRIES][64];
    static Pohmel__DirEntry entries[ENTRIES];
    static Pohmel__DirEntry *pointers[ENTRIES];
    Pohmel__ReaddirReply reply = POHMEL__READDIR_REPLY__INIT;
    for (size_t i = 0; i < ENTRIES; i++) {
        pohmel__dir_entry__init(&entries[i]);
        snprintf(names[i], sizeof names[i], "entry-%zu%.*s", i, (int) (i % 30),
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        entries[i].name.data = (uint8_t *) names[i];
        entries[i].name.len = strlen(names[i]);
        entries[i].object = 1000 + i;
        entries[i].cookie = cookie_of(i);
        entries[i].type = S_IFREG;
        pointers[i] = &entries[i];
    }
    reply.n_entries = ENTRIES;
    reply.entries = pointers;
    reply.end = end;
    return ph_listing_new(start, &reply);
}

/* Reads the packed entries; checks that they go on at *NEXT. Returns how many, and the last cookie. */
static size_t check(const char *packed, size_t len, size_t *next, uint64_t *cookie)
{
    size_t count = 0;
    for (size_t at = 0; at < len; count++, (*next)++) {
        const struct fuse_dirent *entry = (const void *) (packed + at);
        g_assert_cmpuint(entry->ino, ==, 1000 + *next);
        g_assert_cmpuint(entry->off, ==, cookie_of(*next));
        g_assert_cmpuint(entry->type, ==, S_IFREG >> 12);
        *cookie = entry->off;
        at += FUSE_DIRENT_SIZE(entry);
        g_assert_cmpuint(at, <=, len);
    }
    return count;
}

static void test_pieces(void)
{
    struct ph_listing *listing = make(0, true);
    char out[SMALL_BYTES] __attribute__((aligned(8)));
    uint64_t cookie = 0;
    size_t next = 0, calls = 0;
    ssize_t len;
    while ((len = ph_listing_pack(listing, NULL, cookie, out, sizeof out)) > 0) {
        check(out, (size_t) len, &next, &cookie);
        calls++;
    }
    g_assert_cmpint(len, ==, 0);
    g_assert_cmpuint(next, ==, ENTRIES);
    g_assert_cmpuint(calls, >, ENTRIES * 32 / SMALL_BYTES);
    ph_listing_free(listing);
}

static void test_taken_in_part(void)
{
    struct ph_listing *listing = make(0, true);
    char out[4096] __attribute__((aligned(8)));
    uint64_t cookie;
    ssize_t len = ph_listing_pack(listing, NULL, 0, out, sizeof out);
    g_assert_cmpint(len, >, 0);
    size_t next = 4; /* the kernel used four of them, and asks for the fifth */
    len = ph_listing_pack(listing, NULL, cookie_of(3), out, sizeof out);
    g_assert_cmpint(len, >, 0);
    check(out, (size_t) len, &next, &cookie);
    ph_listing_free(listing);
}

static void test_beyond(void)
{
    char out[4096] __attribute__((aligned(8)));
    struct ph_listing *part = make(555555, false);
    g_assert_cmpint(ph_listing_pack(part, NULL, 0, out, sizeof out), ==, -1);
    g_assert_cmpint(ph_listing_pack(part, NULL, 555555, out, sizeof out), >, 0);
    g_assert_cmpint(ph_listing_pack(part, NULL, 999999, out, sizeof out), ==, -1);
    /* Behind the last entry of a part that is not the end, the server knows more. */
    g_assert_cmpint(ph_listing_pack(part, NULL, cookie_of(ENTRIES - 1), out, sizeof out), ==, -1);
    ph_listing_free(part);
    struct ph_listing *last = make(555555, true);
    g_assert_cmpint(ph_listing_pack(last, NULL, cookie_of(ENTRIES - 1), out, sizeof out), ==, 0);
    ph_listing_free(last);
}

/* Names and objects numbered alike, all but WITHOUT. */
static void fill(struct ph_listing *snapshot, int without)
{
    for (int i = ENTRIES - 1; i >= 0; i--) {
        g_autofree char *name = g_strdup_printf(i == 0 ? "." : i == 1 ? ".." : "name-%d", i);
        if (i != without)
            ph_listing_add(snapshot, name, strlen(name), (uint64_t) (1000 + i), i % 2 ? S_IFDIR : S_IFREG);
    }
    ph_listing_seal(snapshot);
}

static void test_positions_outlive_a_snapshot(void)
{
    char out[SMALL_BYTES] __attribute__((aligned(8))), again[SMALL_BYTES] __attribute__((aligned(8)));
    struct ph_listing *one = ph_listing_new_snapshot(), *other = ph_listing_new_snapshot();
    fill(one, -1);
    ssize_t len = ph_listing_pack(one, NULL, 0, out, sizeof out);
    g_assert_cmpint(len, >, 0);
    const struct fuse_dirent *entry = (const void *) out;
    for (int skip = 0; skip < 3; skip++) /* the fourth: a name */
        entry = (const void *) ((const char *) entry + FUSE_DIRENT_SIZE(entry));
    uint64_t position = entry->off;
    fill(other, (int) entry->ino - 1000); /* in which it is gone */
    len = ph_listing_pack(one, NULL, position, out, sizeof out);
    g_assert_cmpint(len, >, 0);
    g_assert_cmpint(ph_listing_pack(other, NULL, position, again, sizeof again), ==, len);
    g_assert_cmpmem(out, (size_t) len, again, (size_t) len);
    ph_listing_free(one);
    ph_listing_free(other);
}

static void test_snapshot(void)
{
    struct ph_listing *snapshot = ph_listing_new_snapshot();
    char out[SMALL_BYTES] __attribute__((aligned(8)));
    uint64_t cookie = 0;
    unsigned next = 0;
    bool seen[ENTRIES] = {false};
    g_assert_cmpint(ph_listing_pack(snapshot, NULL, 0, out, sizeof out), ==, 0);
    fill(snapshot, -1);
    for (ssize_t len; (len = ph_listing_pack(snapshot, NULL, cookie, out, sizeof out)) > 0;) {
        for (ssize_t at = 0; at < len; next++) {
            const struct fuse_dirent *entry = (const void *) (out + at);
            g_assert_cmpuint(entry->off, >, cookie);
            unsigned i = (unsigned) entry->ino - 1000;
            if (i >= ENTRIES)
                g_error("an object that was never added: %u", i);
            g_assert_false(seen[i]);
            seen[i] = true;
            g_autofree char *name = g_strdup_printf(i == 0 ? "." : i == 1 ? ".." : "name-%u", i);
            g_assert_cmpmem(entry->name, entry->namelen, name, strlen(name));
            g_assert_cmpuint(entry->type, ==, (i % 2 ? S_IFDIR : S_IFREG) >> 12);
            g_assert_true((next < 2) == (i < 2)); /* "." and ".." come first */
            cookie = entry->off;
            at += (ssize_t) FUSE_DIRENT_SIZE(entry);
        }
    }
    g_assert_cmpuint(next, ==, ENTRIES);
    /* Nobody is sent to the server with a position that it never gave. */
    g_assert_cmpint(ph_listing_pack(snapshot, NULL, INT64_MAX, out, sizeof out), ==, 0);
    ph_listing_free(snapshot);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/listing/each entry comes once in small pieces", test_pieces);
    g_test_add_func("/listing/entries that the kernel did not take come again", test_taken_in_part);
    g_test_add_func("/listing/it does not answer for what it has not read", test_beyond);
    g_test_add_func("/listing/a snapshot ends where it ends", test_snapshot);
    g_test_add_func("/listing/positions are good in another snapshot", test_positions_outlive_a_snapshot);
    return g_test_run();
}
