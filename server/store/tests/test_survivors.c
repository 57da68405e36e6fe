/* What power was lost over: files without the ids that their makers gave, and ids without files
 * (docs/decisions/0015-owned.md). */
#include <stdio.h>

#include "server/store/tests/fixture.h"

enum { ROOT = PH_OBJECT_ROOT };

/* Its maker makes it again. */
static uint32_t make_again(struct fixture *fx, const char *name, uint64_t id, uint64_t survivor,
                           bool directory)
{
    uint64_t next = fx->next_id;
    fx->next_id = id;
    fx->survivor = survivor;
    uint32_t status = directory ? fx_mkdir(fx, ROOT, name, 0755) : fx_create_exclusive(fx, ROOT, name, 0644);
    fx->next_id = next;
    fx->survivor = 0;
    return status;
}

/* The server is started again, after something happened to the disk of which it was not told. */
static void start_again(struct fixture *fx, void (*meanwhile)(struct fixture *fx))
{
    fx_ok(fx, fx_sync(fx, ROOT, 0, true));
    fx_close(fx);
    meanwhile(fx);
    fx_open(fx);
}

static void lose_both(struct fixture *fx)
{
    g_autofree char *file = fx_path(fx, "f"), *directory = fx_path(fx, "d");
    g_assert_cmpint(unlink(file), ==, 0);
    g_assert_cmpint(rmdir(directory), ==, 0);
}

/* The rows were given to the disk with the sync of something else; the names had not come there yet. */
static void test_what_is_gone_is_made_again_under_its_id(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create_exclusive(&fx, ROOT, "f", 0644));
    uint64_t file = fx.attr->object;
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    uint64_t directory = fx.attr->object;
    start_again(&fx, lose_both);
    fx_is(fx_getattr(&fx, file), PH_ST_STALE);
    fx_is(make_again(&fx, "f", file, 0, false), PH_ST_INVALID); /* who does not say so is not believed */
    fx_ok(&fx, make_again(&fx, "f", file, 1, false));
    g_assert_cmpuint(fx.attr->object, ==, file);
    fx_ok(&fx, make_again(&fx, "d", directory, UINT64_MAX, true));
    g_assert_cmpuint(fx.attr->object, ==, directory);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    g_assert_cmpuint(fx.attr->object, ==, file);
    fx_ok(&fx, fx_getattr(&fx, directory));
    fx_teardown(&fx);
}

static void move_it(struct fixture *fx)
{
    g_autofree char *old = fx_path(fx, "f"), *new = fx_path(fx, "g");
    g_assert_cmpint(rename(old, new), ==, 0);
}

/* Where it was seen under another name it is there, and the id is taken. */
static void test_what_is_elsewhere_keeps_its_id(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create_exclusive(&fx, ROOT, "f", 0644));
    uint64_t file = fx.attr->object;
    start_again(&fx, move_it);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "g"));
    g_assert_cmpuint(fx.attr->object, ==, file);
    fx_is(make_again(&fx, "f", file, UINT64_MAX, false), PH_ST_INVALID);
    fx_is(fx_lookup(&fx, ROOT, "f"), PH_ST_NOT_FOUND);
    fx_teardown(&fx);
}

/* What was removed in this start is not there again, whatever its maker says. */
static void test_what_was_removed_is_not_made_again(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create_exclusive(&fx, ROOT, "f", 0644));
    uint64_t file = fx.attr->object;
    fx_ok(&fx, fx_remove(&fx, ROOT, "f", file));
    fx_is(make_again(&fx, "f", file, UINT64_MAX, false), PH_ST_INVALID);
    fx_teardown(&fx);
}

static void test_what_has_the_name_is_given_the_id_if_it_is_no_newer(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_put(&fx, "f", "what survived");
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    uint64_t version = fx.attr->version, inode = fx.attr->object, id = fx_id(&fx);
    g_assert_cmpuint(inode, <, PH_OBJECT_GIVEN_FIRST);
    fx_is(make_again(&fx, "f", id, version - 1, false), PH_ST_EXISTS);
    fx_is(make_again(&fx, "f", id, UINT64_MAX, true), PH_ST_EXISTS); /* it is no directory */
    fx_ok(&fx, make_again(&fx, "f", id, version, false));
    g_assert_cmpuint(fx.attr->object, ==, id);
    g_assert_cmpuint(fx.attr->size, ==, strlen("what survived"));
    fx_is(fx_getattr(&fx, inode), PH_ST_STALE);
    fx_is(make_again(&fx, "f", fx_id(&fx), UINT64_MAX, false), PH_ST_EXISTS); /* it has one now */
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/survivors/what is gone is made again under its id",
                    test_what_is_gone_is_made_again_under_its_id);
    g_test_add_func("/store/survivors/what is elsewhere keeps its id", test_what_is_elsewhere_keeps_its_id);
    g_test_add_func("/store/survivors/what was removed is not made again",
                    test_what_was_removed_is_not_made_again);
    g_test_add_func("/store/survivors/what has the name is given the id if it is no newer",
                    test_what_has_the_name_is_given_the_id_if_it_is_no_newer);
    return g_test_run();
}
