/* Kinds of change of data and attributes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/coherence/handoff.h"

enum { AT = 5000, RECORD = 100, SHORT = 3000, LONG = 6000, FIRST_ID = 1000, HOLE = 4096 };

static bool make_file(struct hand *hand, unsigned step)
{
    return hand_make_file(hand, "f", 'a', HAND_FILE_BYTES);
}

static bool keep_open(struct hand *hand)
{
    if (hand->file < 0)
        hand->file = open(hand_path(hand, "f"), O_RDWR);
    return hand_did(hand, "open", hand->file);
}

static bool change_bytes(struct hand *hand, unsigned step)
{
    uint64_t value = step;
    int file = open(hand_path(hand, "f"), O_WRONLY);
    bool good =
        hand_did(hand, "open", file) && hand_did(hand, "pwrite", pwrite(file, &value, sizeof value, AT));

    return hand_did(hand, "close", close(file)) && good;
}

static bool change_bytes_kept(struct hand *hand, unsigned step)
{
    uint64_t value = step;

    return keep_open(hand) && hand_did(hand, "pwrite", pwrite(hand->file, &value, sizeof value, AT));
}

static bool same_bytes(struct hand *hand, const char *how, int file, unsigned step)
{
    uint64_t value = 0, expected = step;

    if (!step)
        memset(&expected, 'a', sizeof expected);
    return hand_did(hand, "pread", pread(file, &value, sizeof value, AT)) &&
           hand_same(hand, how, expected, value);
}

static bool look_fresh(struct hand *hand, unsigned step)
{
    int file = open(hand_path(hand, "f"), O_RDONLY);
    bool good = hand_did(hand, "open", file) && same_bytes(hand, "the bytes, after open", file, step);

    if (file >= 0)
        close(file);
    return good;
}

static bool look_kept(struct hand *hand, unsigned step)
{
    return keep_open(hand) && same_bytes(hand, "the bytes, through the old descriptor", hand->file, step) &&
           look_fresh(hand, step);
}

static bool map_kept(struct hand *hand)
{
    void *map;

    if (!keep_open(hand) || hand->map)
        return hand->map != NULL;
    map = mmap(NULL, HAND_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, hand->file, 0);
    hand->map = map == MAP_FAILED ? NULL : map;
    return hand_did(hand, "mmap", hand->map ? 0 : -1);
}

static bool look_mapped(struct hand *hand, unsigned step)
{
    struct stat status;
    uint64_t value, expected = step;

    if (!map_kept(hand) || (!hand->worker->crew->map_plain && fstat(hand->file, &status) < 0))
        return false;
    if (!step)
        memset(&expected, 'a', sizeof expected);
    memcpy(&value, hand->map + AT, sizeof value);
    return hand_same(hand, "the bytes, in mapped memory", expected, value) && look_kept(hand, step);
}

static bool change_mapped(struct hand *hand, unsigned step)
{
    uint64_t value = step;

    if (!map_kept(hand))
        return false;
    memcpy(hand->map + AT, &value, sizeof value);
    return hand_did(hand, "msync", msync(hand->map, HAND_FILE_BYTES, MS_SYNC));
}

static bool change_append(struct hand *hand, unsigned step)
{
    char record[RECORD];
    int file = open(hand_path(hand, "f"), O_WRONLY | O_APPEND);
    bool good;

    memset(record, (int) ('a' + step), sizeof record);
    good = hand_did(hand, "open", file) && hand_did(hand, "write", write(file, record, sizeof record));
    return hand_did(hand, "close", close(file)) && good;
}

static bool look_append(struct hand *hand, unsigned step)
{
    size_t size = HAND_FILE_BYTES + (size_t) step * RECORD;
    uint8_t last = 0;
    struct stat status;

    return keep_open(hand) && hand_did(hand, "fstat", fstat(hand->file, &status)) &&
           hand_same(hand, "the size, by fstat", size, (uint64_t) status.st_size) &&
           hand_did(hand, "pread", pread(hand->file, &last, 1, (off_t) size - 1)) &&
           hand_same(hand, "the last byte", 'a' + step, last) && hand_is_file(hand, "f", 'a', size);
}

static bool change_size(struct hand *hand, unsigned step)
{
    return hand_did(hand, "truncate", truncate(hand_path(hand, "f"), step % 2 ? SHORT : LONG));
}

static bool look_size(struct hand *hand, unsigned step)
{
    size_t size = !step ? HAND_FILE_BYTES : step % 2 ? SHORT : LONG;
    uint8_t byte = 0;

    if (!keep_open(hand) || !hand_is_file(hand, "f", 'a', size))
        return false;
    if (step % 2)
        return hand_same(hand, "bytes read beyond the end", 0,
                         (uint64_t) pread(hand->file, &byte, 1, LONG - 1));
    return hand_did(hand, "pread", pread(hand->file, &byte, 1, AT)) &&
           hand_same(hand, "a byte that was cut off before", step ? 0 : 'a', byte);
}

static bool change_trunc(struct hand *hand, unsigned step)
{
    return hand_make_file(hand, "f", (int) ('a' + step), HAND_FILE_BYTES - step);
}

static bool look_trunc(struct hand *hand, unsigned step)
{
    return hand_is_file(hand, "f", (int) ('a' + step), HAND_FILE_BYTES - step);
}

static bool change_hole(struct hand *hand, unsigned step)
{
    int file = open(hand_path(hand, "f"), O_RDWR), flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    bool good = hand_did(hand, "open", file);

    if (good && step % 2)
        good = hand_did(hand, "fallocate", fallocate(file, flags, 0, HOLE));
    else if (good)
        good = hand_did(hand, "pwrite", pwrite(file, "bbbb", 4, 0));
    return hand_did(hand, "close", close(file)) && good;
}

static bool look_hole(struct hand *hand, unsigned step)
{
    return hand_is_file(hand, "f", !step ? 'a' : step % 2 ? 0 : 'b', HAND_FILE_BYTES);
}

static bool change_attributes(struct hand *hand, unsigned step)
{
    struct timespec times[2] = {{.tv_sec = FIRST_ID + step}, {.tv_sec = FIRST_ID + 2 * step}};

    return hand_did(hand, "chown", chown(hand_path(hand, "f"), FIRST_ID + step, FIRST_ID + 2 * step)) &&
           hand_did(hand, "chmod", chmod(hand_path(hand, "f"), 0600 + step)) &&
           hand_did(hand, "utimensat", utimensat(AT_FDCWD, hand_path(hand, "f"), times, 0));
}

static bool same_attributes(struct hand *hand, const struct stat *status, unsigned step)
{
    return !step ||
           (hand_same(hand, "the mode", 0600 + step, status->st_mode & 07777) &&
            hand_same(hand, "the owner", FIRST_ID + step, status->st_uid) &&
            hand_same(hand, "the group", FIRST_ID + 2 * step, status->st_gid) &&
            hand_same(hand, "the access time", FIRST_ID + step, (uint64_t) status->st_atim.tv_sec) &&
            hand_same(hand, "the modification time", FIRST_ID + 2 * step, (uint64_t) status->st_mtim.tv_sec));
}

static bool look_attributes(struct hand *hand, unsigned step)
{
    struct stat by_path, by_file;

    return keep_open(hand) && hand_did(hand, "stat", stat(hand_path(hand, "f"), &by_path)) &&
           same_attributes(hand, &by_path, step) && hand_did(hand, "fstat", fstat(hand->file, &by_file)) &&
           same_attributes(hand, &by_file, step);
}

static bool change_mode_only(struct hand *hand, unsigned step)
{
    return hand_did(hand, "chmod", chmod(hand_path(hand, "f"), 0644));
}

/* The same mode again: only the time of change tells. */
static bool look_ctime(struct hand *hand, unsigned step)
{
    struct stat status;
    uint64_t before = hand->last;

    if (!hand_did(hand, "stat", stat(hand_path(hand, "f"), &status)))
        return false;
    hand->last = (uint64_t) status.st_ctim.tv_sec * 1000000000 + (uint64_t) status.st_ctim.tv_nsec;
    return hand_same(hand, "whether the time of change moved", 1, !step || hand->last != before);
}

static bool change_xattr(struct hand *hand, unsigned step)
{
    if (step % 3 == 0)
        return hand_did(hand, "removexattr", removexattr(hand_path(hand, "f"), "user.a"));
    return hand_did(hand, "setxattr", setxattr(hand_path(hand, "f"), "user.a", &step, sizeof step, 0));
}

static bool look_xattr(struct hand *hand, unsigned step)
{
    unsigned value = 0;
    char names[256];
    ssize_t len = getxattr(hand_path(hand, "f"), "user.a", &value, sizeof value);

    if (step % 3 == 0)
        return hand_failed(hand, "getxattr", len, ENODATA) &&
               hand_same(hand, "bytes of names by listxattr", 0,
                         (uint64_t) listxattr(hand_path(hand, "f"), names, sizeof names));
    return hand_did(hand, "getxattr", len) && hand_same(hand, "the value", step, value) &&
           hand_same(hand, "bytes of names by listxattr", sizeof "user.a",
                     (uint64_t) listxattr(hand_path(hand, "f"), names, sizeof names));
}

/* An access list as the kernel takes it: owner, one user (999) with STEP % 8, group, mask, others. */
static size_t access_list(uint8_t *list, unsigned step)
{
    static const uint16_t tag[] = {1, 2, 4, 16, 32}, right[] = {6, 0, 4, 7, 4};
    static const uint32_t version = 2, user = 999, nobody = UINT32_MAX;
    size_t len = sizeof version;

    memcpy(list, &version, sizeof version);
    for (size_t i = 0; i < sizeof tag / sizeof tag[0]; i++) {
        uint16_t rights = tag[i] == 2 ? (uint16_t) (step % 8) : right[i];

        memcpy(list + len, &tag[i], sizeof tag[i]);
        memcpy(list + len + 2, &rights, sizeof rights);
        memcpy(list + len + 4, tag[i] == 2 ? &user : &nobody, sizeof user);
        len += 8;
    }
    return len;
}

static bool set_list(struct hand *hand, const char *name, const char *kind, unsigned step)
{
    uint8_t list[64];
    size_t len = access_list(list, step);

    return hand_did(hand, "setxattr of the access list", setxattr(hand_path(hand, name), kind, list, len, 0));
}

static bool same_list(struct hand *hand, const char *name, const char *kind, unsigned step)
{
    uint8_t expected[64], list[64];
    size_t len = access_list(expected, step);
    ssize_t seen = getxattr(hand_path(hand, name), kind, list, sizeof list);

    if (!step)
        return hand_failed(hand, "getxattr of the access list", seen, ENODATA);
    return hand_did(hand, "getxattr of the access list", seen) &&
           hand_same(hand, "its length", len, (uint64_t) seen) &&
           hand_same(hand, "whether the access list is the new one", 1, memcmp(expected, list, len) == 0);
}

static bool change_acl(struct hand *hand, unsigned step)
{
    return set_list(hand, "f", "system.posix_acl_access", step);
}

static bool look_acl(struct hand *hand, unsigned step)
{
    return same_list(hand, "f", "system.posix_acl_access", step);
}

static bool make_directory(struct hand *hand, unsigned step)
{
    return hand_did(hand, "mkdir", mkdir(hand_path(hand, "d"), 0755));
}

static bool change_default_acl(struct hand *hand, unsigned step)
{
    return set_list(hand, "d", "system.posix_acl_default", step);
}

static bool look_default_acl(struct hand *hand, unsigned step)
{
    return same_list(hand, "d", "system.posix_acl_default", step);
}

static bool make_linked(struct hand *hand, unsigned step)
{
    return make_file(hand, step) && hand_did(hand, "link", link(hand_path(hand, "f"), hand_path(hand, "g")));
}

static bool change_alias(struct hand *hand, unsigned step)
{
    return hand_make_file(hand, "g", (int) ('a' + step), HAND_FILE_BYTES);
}

static bool look_alias(struct hand *hand, unsigned step)
{
    return hand_is_file(hand, "f", (int) ('a' + step), HAND_FILE_BYTES);
}

const struct hand_kind hand_data_kinds[] = {
    {"bytes written after an open", 6, make_file, change_bytes, look_kept},
    {"bytes written through an old descriptor", 6, make_file, change_bytes_kept, look_kept},
    {"bytes written, read in mapped memory", 6, make_file, change_bytes, look_mapped},
    {"bytes stored in mapped memory, msync", 6, make_file, change_mapped, look_kept},
    {"bytes appended", 6, make_file, change_append, look_append},
    {"size by truncate", 6, make_file, change_size, look_size},
    {"content by O_TRUNC and write", 6, make_file, change_trunc, look_trunc},
    {"hole punched", 6, make_file, change_hole, look_hole},
    {"mode, owner, group, times", 6, make_file, change_attributes, look_attributes},
    {"time of change", 4, make_file, change_mode_only, look_ctime},
    {"extended attribute set, replaced, removed", 7, make_file, change_xattr, look_xattr},
    {"access list", 7, make_file, change_acl, look_acl},
    {"default access list of a directory", 7, make_directory, change_default_acl, look_default_acl},
    {"content through another hard link", 6, make_linked, change_alias, look_alias},
};
const unsigned hand_data_count = sizeof hand_data_kinds / sizeof hand_data_kinds[0];
