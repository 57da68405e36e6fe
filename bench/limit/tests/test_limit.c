/* The filesystem in memory keeps what it is given. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/limit/tree.h"
#include "runtime/base/limits.h"

enum { MODEL_BYTES = 3 * PH_LIMIT_PIECE_BYTES, STEPS = 2000 };

static void compare(const struct ph_limit_content *content, const uint8_t *model, size_t size,
                    uint64_t offset, size_t len)
{
    struct iovec spans[PH_LIMIT_SPANS];
    unsigned count = ph_limit_content_read(content, offset, len, spans);
    size_t at = (size_t) offset;
    for (unsigned i = 0; i < count; i++) {
        g_assert_cmpmem(spans[i].iov_base, spans[i].iov_len, model + at, spans[i].iov_len);
        at += spans[i].iov_len;
    }
    size_t end = offset < size ? MIN((size_t) offset + len, size) : (size_t) offset;
    g_assert_cmpuint(at, ==, end);
}

/* Writes, cuts and holes at random against a plain array. */
static void test_content(void)
{
    g_autofree uint8_t *model = g_malloc0(MODEL_BYTES);
    g_autofree uint8_t *data = g_malloc(PH_LIMIT_PIECE_BYTES);
    struct ph_limit_content content = {0};
    size_t size = 0;
    for (int step = 0; step < STEPS; step++) {
        size_t len = (size_t) g_test_rand_int_range(1, step % 9 == 0 ? PH_LIMIT_PIECE_BYTES : 9000);
        size_t offset = (size_t) g_test_rand_int_range(0, (gint32) (MODEL_BYTES - len));
        if (step % 4 == 3) {
            memset(model + offset, 0, MODEL_BYTES - offset);
            ph_limit_content_truncate(&content, offset);
            size = offset;
        } else {
            memset(data, step % 255 + 1, len);
            memcpy(model + offset, data, len);
            g_assert_true(ph_limit_content_write(&content, offset, data, len));
            size = MAX(size, offset + len);
        }
        g_assert_cmpuint(content.size, ==, size);
        compare(&content, model, size,
                (uint64_t) g_test_rand_int_range(0, MODEL_BYTES - PH_LIMIT_PIECE_BYTES),
                PH_LIMIT_PIECE_BYTES);
    }
    ph_limit_content_clear(&content);
    g_assert_cmpuint(content.held_bytes, ==, 0);
}

static void test_too_far(void)
{
    struct ph_limit_content content = {0};
    g_assert_false(ph_limit_content_write(&content, INT64_MAX, "ab", 2));
    g_assert_cmpuint(content.size, ==, 0);
    ph_limit_content_truncate(&content, INT64_MAX);
    struct iovec spans[PH_LIMIT_SPANS];
    g_assert_cmpuint(ph_limit_content_read(&content, INT64_MAX - 1, 10, spans), ==, 1);
    g_assert_cmpuint(spans[0].iov_len, ==, 1);
    ph_limit_content_clear(&content);
}

static struct ph_limit_node *make(struct ph_limit_tree *tree, struct ph_limit_node *directory,
                                  const char *name, mode_t mode)
{
    struct ph_limit_node *node = NULL;
    g_assert_cmpint(ph_limit_tree_make(tree, directory, name, &(struct ph_limit_make){.mode = mode}, &node),
                    ==, 0);
    return node;
}

/* What nobody has a name for and the kernel forgot is gone; nothing before. */
static void test_lifetime(void)
{
    struct ph_limit_tree *tree = ph_limit_tree_new(1 << 20);
    struct ph_limit_node *file = make(tree, tree->root, "f", S_IFREG | 0600), *found = NULL;
    g_assert_cmpint(
        ph_limit_tree_make(tree, tree->root, "f", &(struct ph_limit_make){.mode = S_IFREG}, &found), ==,
        EEXIST);
    g_assert_cmpint(ph_limit_tree_link(tree, file, tree->root, "g"), ==, 0);
    g_assert_cmpint(ph_limit_tree_remove(tree, tree->root, "f", false), ==, 0);
    ph_limit_tree_forget(tree, file, 2);
    g_assert_cmpuint(tree->nodes, ==, 2); /* has its other name */
    g_assert_cmpint(ph_limit_tree_lookup(tree, tree->root, "g", &found), ==, 0);
    g_assert_true(found == file);
    g_assert_cmpint(ph_limit_tree_remove(tree, tree->root, "g", false), ==, 0);
    g_assert_cmpuint(tree->nodes, ==, 2); /* the kernel still knows it */
    ph_limit_tree_forget(tree, file, 1);
    g_assert_cmpuint(tree->nodes, ==, 1);
    g_assert_cmpint(ph_limit_tree_lookup(tree, tree->root, "g", &found), ==, ENOENT);
    struct ph_limit_node *nameless = make(tree, tree->root, NULL, S_IFREG | 0600);
    ph_limit_tree_forget(tree, nameless, 1);
    g_assert_cmpuint(tree->nodes, ==, 1);
    ph_limit_tree_free(tree);
}

static void test_rename(void)
{
    struct ph_limit_tree *tree = ph_limit_tree_new(1 << 20);
    struct ph_limit_node *a = make(tree, tree->root, "a", S_IFDIR | 0700);
    struct ph_limit_node *b = make(tree, tree->root, "b", S_IFDIR | 0700);
    struct ph_limit_node *file = make(tree, a, "f", S_IFREG | 0600), *found = NULL;
    g_assert_cmpuint(tree->root->stat.st_nlink, ==, 4);
    g_assert_cmpint(ph_limit_tree_rename(tree, a, "f", tree->root, "b", 0), ==, EISDIR);
    g_assert_cmpint(ph_limit_tree_rename(tree, tree->root, "b", tree->root, "a", 0), ==, ENOTEMPTY);
    g_assert_cmpint(ph_limit_tree_rename(tree, tree->root, "b", tree->root, "a", RENAME_NOREPLACE), ==,
                    EEXIST);
    g_assert_cmpint(ph_limit_tree_rename(tree, tree->root, "a", b, "c", 0), ==, 0);
    g_assert_cmpuint(tree->root->stat.st_nlink, ==, 3);
    g_assert_cmpuint(b->stat.st_nlink, ==, 3);
    g_assert_true(a->parent == b);
    g_assert_cmpint(ph_limit_tree_rename(tree, a, "f", b, "c", RENAME_EXCHANGE), ==, 0);
    g_assert_cmpint(ph_limit_tree_lookup(tree, b, "c", &found), ==, 0);
    g_assert_true(found == file);
    g_assert_cmpint(ph_limit_tree_remove(tree, tree->root, "b", true), ==, ENOTEMPTY);
    g_assert_cmpint(ph_limit_tree_remove(tree, b, "c", true), ==, ENOTDIR);
    ph_limit_tree_free(tree);
}

struct seen {
    guint count, stop_after;
    uint64_t last;
};

static bool see(void *data, const char *name, struct ph_limit_node *node, uint64_t after)
{
    struct seen *seen = data;
    if (seen->count == seen->stop_after)
        return false;
    seen->count++;
    seen->last = after;
    return true;
}

/* A listing that goes on after names went shows each remaining name once. */
static void test_listing(void)
{
    enum { FILES = 500, FIRST = 100 };
    struct ph_limit_tree *tree = ph_limit_tree_new(1 << 20);
    char name[16];
    for (int i = 0; i < FILES; i++) {
        g_snprintf(name, sizeof name, "f%d", i);
        make(tree, tree->root, name, S_IFREG | 0600);
    }
    struct seen seen = {.stop_after = FIRST};
    ph_limit_tree_listing(tree, tree->root, 1);
    ph_limit_tree_list(tree, tree->root, 0, see, &seen);
    g_assert_cmpuint(seen.count, ==, FIRST);
    for (int i = 0; i < FILES - 10; i++) {
        g_snprintf(name, sizeof name, "f%d", i);
        g_assert_cmpint(ph_limit_tree_remove(tree, tree->root, name, false), ==, 0);
    }
    make(tree, tree->root, "new", S_IFREG | 0600); /* would close up if nobody stood there */
    seen = (struct seen){.stop_after = FILES, .last = seen.last};
    ph_limit_tree_list(tree, tree->root, seen.last, see, &seen);
    g_assert_cmpuint(seen.count, ==, 11);
    ph_limit_tree_listing(tree, tree->root, -1);
    make(tree, tree->root, "newer", S_IFREG | 0600);
    g_assert_cmpuint(tree->root->order->len, ==, 12);
    seen = (struct seen){.stop_after = FILES};
    ph_limit_tree_list(tree, tree->root, 0, see, &seen);
    g_assert_cmpuint(seen.count, ==, 14);
    ph_limit_tree_free(tree);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/limit/content is what was written", test_content);
    g_test_add_func("/limit/offsets beyond all memory are refused", test_too_far);
    g_test_add_func("/limit/nodes live as long as anybody knows them", test_lifetime);
    g_test_add_func("/limit/rename", test_rename);
    g_test_add_func("/limit/listings go on where they stopped", test_listing);
    return g_test_run();
}
