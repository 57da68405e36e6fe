/* Attributes both ways, owners of locks, and buffers that leave with their data. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "client/fuse/attr.h"
#include "client/fuse/buffers.h"
#include "client/fuse/conflicts.h"
#include "client/fuse/lock_owners.h"
#include "client/fuse/request.h"
#include "client/fuse/unmounting.h"
#include "ph_commands.h"

static void test_attr(void)
{
    Pohmel__Time past = POHMEL__TIME__INIT, birth = POHMEL__TIME__INIT;
    past.seconds = -5;
    past.nanoseconds = 999999999;
    birth.seconds = 77;
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    attr.object = UINT64_C(1) << 50;
    attr.mode = S_IFBLK | 04755;
    attr.links = 3;
    attr.size = UINT64_C(5) << 40;
    attr.device = UINT64_C(259) << 32 | 70000;
    attr.accessed = attr.modified = attr.changed = &past;
    attr.created = &birth;

    struct stat stat;
    ph_attr_to_stat(&attr, &stat);
    g_assert_cmpuint(stat.st_ino, ==, attr.object);
    g_assert_cmpuint(stat.st_mode, ==, attr.mode);
    g_assert_cmpint(stat.st_size, ==, (off_t) attr.size);
    g_assert_cmpint(stat.st_mtim.tv_sec, ==, -5);
    g_assert_cmpint(stat.st_mtim.tv_nsec, ==, 999999999);
    g_assert_cmpuint(major(stat.st_rdev), ==, 259);
    g_assert_cmpuint(minor(stat.st_rdev), ==, 70000);
    g_assert_cmpuint(ph_device_to_wire(stat.st_rdev), ==, attr.device);
    g_assert_cmpint(ph_time_to_wire(&stat.st_mtim).seconds, ==, -5);
    g_assert_cmpuint(ph_time_to_wire(&stat.st_mtim).nanoseconds, ==, 999999999);

    struct fuse_statx statx;
    ph_attr_to_statx(&attr, &statx);
    g_assert_cmpuint(statx.mask & STATX_BTIME, !=, 0);
    g_assert_cmpint(statx.btime.tv_sec, ==, 77);
    attr.created = NULL;
    ph_attr_to_statx(&attr, &statx);
    g_assert_cmpuint(statx.mask & STATX_BTIME, ==, 0);
}

static void test_setattr(void)
{
    g_assert_cmphex(ph_setattr_bits(0), ==, 0);
    g_assert_cmphex(ph_setattr_bits(FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_SIZE), ==, 0x9);
    g_assert_cmphex(ph_setattr_bits(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME), ==, 0x30);
    g_assert_cmphex(ph_setattr_bits(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME), ==,
                    0x60);
    g_assert_cmphex(ph_setattr_bits(FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW), ==, 0x80);
}

static void test_owners(void)
{
    struct ph_lock_owners *owners = ph_lock_owners_new();
    uint64_t owner = 0;
    g_assert_false(ph_lock_owners_take(owners, 5, 100));
    ph_lock_owners_add(owners, 5, 100, 1);
    ph_lock_owners_add(owners, 5, 100, 1); /* again, elsewhere in the file */
    ph_lock_owners_add(owners, 5, 100, 2); /* through another open file */
    ph_lock_owners_add(owners, 5, 200, 2);
    ph_lock_owners_add(owners, 6, 100, 3);
    g_assert_false(ph_lock_owners_take(owners, 5, 300));
    g_assert_true(ph_lock_owners_take(owners, 5, 100));
    g_assert_false(ph_lock_owners_take(owners, 5, 100));
    g_assert_false(ph_lock_owners_take_handle(owners, 5, 1, &owner));
    g_assert_true(ph_lock_owners_take_handle(owners, 5, 2, &owner));
    g_assert_cmpuint(owner, ==, 200);
    g_assert_false(ph_lock_owners_take_handle(owners, 5, 2, &owner));
    g_assert_true(ph_lock_owners_take(owners, 6, 100));
    ph_lock_owners_add(owners, 7, 1, 9);
    ph_lock_owners_free(owners);
}

static void test_buffers(void)
{
    struct ph_buffers *buffers = ph_buffers_new(1 << 20, 1);
    char *buffer = ph_buffers_get(buffers);
    memset(buffer, 'x', 1 << 20);
    ph_buffers_reading(buffers, buffer);

    struct ph_blob *small = ph_buffers_steal(buffer + 80, 100);
    g_assert_true(ph_buffers_current() == buffer);
    g_assert_true(small->data != (uint8_t *) buffer + 80);
    g_assert_cmpmem(small->data, small->len, buffer + 80, 100);
    ph_blob_unref(small);

    struct ph_blob *large = ph_buffers_steal(buffer + 80, 512 * 1024);
    g_assert_null(ph_buffers_current());
    g_assert_true(large->data == (uint8_t *) buffer + 80);
    void *other = ph_buffers_get(buffers);
    g_assert_true(other != buffer);
    ph_buffers_put(buffers, other);
    ph_buffers_unref(buffers); /* the blob keeps what it needs */
    g_assert_cmpuint(large->data[512 * 1024 - 1], ==, 'x');
    ph_blob_unref(large);
    ph_buffers_reading(NULL, NULL);
}

static void test_errno(void)
{
    g_assert_cmpint(ph_request_errno(PH_ST_NOT_FOUND), ==, ENOENT);
    g_assert_cmpint(ph_request_errno(PH_ST_NO_SESSION), ==, EIO);
    /* Never EBADF: the descriptor of the application is a good one. */
    g_assert_cmpint(ph_request_errno(PH_ST_BAD_HANDLE), ==, EIO);
}

static void test_unmounting(void)
{
    g_assert_true(ph_name_unmounts("umount\n"));
    g_assert_true(ph_name_unmounts("umount.fuse.poh\n"));
    g_assert_true(ph_name_unmounts("fusermount3\n"));
    g_assert_false(ph_name_unmounts("ls\n"));
    g_assert_false(ph_name_unmounts("mount\n"));
}

/* What is kept of a file, and the line that tells of it. */
static void test_conflicts(void)
{
    g_autofree char *directory = g_dir_make_tmp("pohmel-conflicts-XXXXXX", NULL);
    g_autofree char *below = g_build_filename(directory, "a", "b", NULL);
    struct ph_conflicts *conflicts = ph_conflicts_new(below, "/mnt");
    struct ph_blob *blob = ph_blob_copy("new", 3);
    ph_conflicts_data(conflicts, 77, "/d/sa\"ved", 10, blob);
    ph_conflicts_data(conflicts, 77, "/d/sa\"ved", 0, blob);
    ph_conflicts_data(conflicts, 78, "", 0, blob);
    ph_blob_unref(blob);
    g_autofree char *kept = ph_conflicts_enter(conflicts, 77, "/d/sa\"ved", "writing", "no space");
    g_autofree char *none = ph_conflicts_enter(conflicts, 79, "/gone", "removing", "why not");
    g_assert_null(none);
    g_assert_true(g_str_has_suffix(kept, "-77.0-sa\"ved"));
    g_autofree char *file = g_build_filename(below, kept, NULL), *data = NULL, *text = NULL;
    g_autofree char *index = g_build_filename(below, PH_CONFLICTS_INDEX, NULL);
    gsize len = 0;
    g_assert_true(g_file_get_contents(file, &data, &len, NULL));
    g_assert_cmpmem(data, len, "new\0\0\0\0\0\0\0new", 13);
    g_assert_true(g_file_get_contents(index, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, 3);
    g_assert_nonnull(
        strstr(lines[0], "\"path\": \"/d/sa\\\"ved\", \"object\": \"77\", \"what\": \"writing\""));
    g_assert_nonnull(strstr(lines[1], "\"why\": \"why not\", \"file\": \"\"}"));
    ph_conflicts_free(conflicts);
    g_autofree char *middle = g_path_get_dirname(below);
    g_autoptr(GDir) left = g_dir_open(below, 0, NULL);
    for (const char *name; (name = g_dir_read_name(left)) != NULL;) {
        g_autofree char *path = g_build_filename(below, name, NULL);
        g_assert_cmpint(unlink(path), ==, 0);
    }
    g_assert_true(rmdir(below) == 0 && rmdir(middle) == 0 && rmdir(directory) == 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/attr/times before 1970 and large device numbers survive", test_attr);
    g_test_add_func("/attr/now is left to the server", test_setattr);
    g_test_add_func("/lock-owners/only closes that may drop a lock ask the server", test_owners);
    g_test_add_func("/request/what was lost with a session is an input or output error", test_errno);
    g_test_add_func("/buffers/large data leave in the buffer they came in", test_buffers);
    g_test_add_func("/unmounting/programs that unmount are known by their names", test_unmounting);
    g_test_add_func("/conflicts/data at its place, and a line for each change", test_conflicts);
    return g_test_run();
}
