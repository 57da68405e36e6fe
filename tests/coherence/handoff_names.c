/* Kinds of change of names. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/coherence/handoff.h"

enum { FILE_BYTES = 100 };

static bool make_nothing(struct hand *hand, unsigned step)
{
    return true;
}

static bool make_first(struct hand *hand, unsigned step)
{
    return hand_make_file(hand, "n0", 'a', FILE_BYTES);
}

static bool is_there(struct hand *hand, const char *name, bool expected)
{
    struct stat status;
    int result = stat(hand_path(hand, name), &status);

    if (!(expected ? hand_did(hand, "stat of what is there", result)
                   : hand_failed(hand, "stat of what is not there", result, ENOENT)))
        return false;
    return hand_is_listed(hand, name, expected);
}

static const char *numbered(char *name, char letter, unsigned number)
{
    snprintf(name, 16, "%c%u", letter, number);
    return name;
}

static bool change_create(struct hand *hand, unsigned step)
{
    char name[16];

    return hand_make_file(hand, numbered(name, 'n', step), 'a', FILE_BYTES);
}

/* The next name is looked up before it is there. */
static bool look_create(struct hand *hand, unsigned step)
{
    char name[16];

    if (step &&
        (!is_there(hand, numbered(name, 'n', step), true) ||
         !hand_is_file(hand, numbered(name, 'n', step), 'a', FILE_BYTES) ||
         !hand_failed(hand, "open O_EXCL of what is there",
                      open(hand_numbered(hand, 'n', step), O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST)))
        return false;
    return is_there(hand, numbered(name, 'n', step + 1), false);
}

static bool make_many(struct hand *hand, unsigned step)
{
    char name[16];
    bool good = true;

    for (unsigned i = 1; i <= 6; i++)
        good = hand_make_file(hand, numbered(name, 'n', i), 'a', FILE_BYTES) && good;
    return good;
}

static bool change_remove(struct hand *hand, unsigned step)
{
    return hand_did(hand, "unlink", unlink(hand_numbered(hand, 'n', step)));
}

static bool look_remove(struct hand *hand, unsigned step)
{
    char name[16];

    return (!step || is_there(hand, numbered(name, 'n', step), false)) &&
           (step == 6 || is_there(hand, numbered(name, 'n', step + 1), true));
}

static bool change_rename(struct hand *hand, unsigned step)
{
    return hand_did(hand, "rename",
                    rename(hand_numbered(hand, 'n', step - 1), hand_numbered(hand, 'n', step)));
}

static bool look_rename(struct hand *hand, unsigned step)
{
    char name[16];

    return (!step || is_there(hand, numbered(name, 'n', step - 1), false)) &&
           is_there(hand, numbered(name, 'n', step), true) &&
           hand_is_file(hand, numbered(name, 'n', step), 'a', FILE_BYTES) &&
           is_there(hand, numbered(name, 'n', step + 1), false);
}

static bool change_replace(struct hand *hand, unsigned step)
{
    return hand_make_file(hand, "new", (int) ('a' + step), FILE_BYTES + step) &&
           hand_did(hand, "rename", rename(hand_path(hand, "new"), hand_path(hand, "n0")));
}

/* The file that was open keeps its bytes and has no name any more. */
static bool look_replace(struct hand *hand, unsigned step)
{
    struct stat status;
    char byte = 0;

    if (hand->file < 0)
        hand->file = open(hand_path(hand, "n0"), O_RDONLY);
    return hand_is_file(hand, "n0", (int) ('a' + step), FILE_BYTES + step) &&
           hand_did(hand, "pread", pread(hand->file, &byte, 1, 0)) &&
           hand_same(hand, "the bytes of the file that was replaced", 'a', (uint64_t) byte) &&
           hand_did(hand, "fstat", fstat(hand->file, &status)) &&
           hand_same(hand, "links of the file that was replaced", step == 0, status.st_nlink);
}

static bool make_two_directories(struct hand *hand, unsigned step)
{
    return hand_did(hand, "mkdir", mkdir(hand_path(hand, "d0"), 0755)) &&
           hand_did(hand, "mkdir", mkdir(hand_path(hand, "d1"), 0755)) &&
           hand_make_file(hand, "d0/f", 'a', FILE_BYTES);
}

static bool change_across(struct hand *hand, unsigned step)
{
    return hand_did(
        hand, "rename",
        rename(hand_path(hand, step % 2 ? "d0/f" : "d1/f"), hand_path(hand, step % 2 ? "d1/f" : "d0/f")));
}

static bool look_across(struct hand *hand, unsigned step)
{
    return is_there(hand, "d0/f", step % 2 == 0) && is_there(hand, "d1/f", step % 2 == 1);
}

static bool make_two(struct hand *hand, unsigned step)
{
    return hand_make_file(hand, "a", 'a', FILE_BYTES) && hand_make_file(hand, "b", 'b', 2 * FILE_BYTES);
}

static bool change_exchange(struct hand *hand, unsigned step)
{
    return hand_did(
        hand, "renameat2",
        renameat2(AT_FDCWD, hand_path(hand, "a"), AT_FDCWD, hand_path(hand, "b"), RENAME_EXCHANGE));
}

static bool look_exchange(struct hand *hand, unsigned step)
{
    bool moved = step % 2;

    return hand_is_file(hand, moved ? "b" : "a", 'a', FILE_BYTES) &&
           hand_is_file(hand, moved ? "a" : "b", 'b', 2 * FILE_BYTES);
}

static bool make_tree(struct hand *hand, unsigned step)
{
    return hand_did(hand, "mkdir", mkdir(hand_path(hand, "n0"), 0755)) &&
           hand_did(hand, "mkdir", mkdir(hand_path(hand, "n0/sub"), 0755)) &&
           hand_make_file(hand, "n0/sub/f", 'a', FILE_BYTES);
}

static bool look_tree(struct hand *hand, unsigned step)
{
    char name[32];
    struct stat status;

    if (hand->file < 0)
        hand->file = open(hand_path(hand, "n0/sub"), O_RDONLY | O_DIRECTORY);
    snprintf(name, sizeof name, "n%u/sub/f", step);
    if (!hand_is_file(hand, name, 'a', FILE_BYTES) ||
        !hand_did(hand, "fstatat below an open directory", fstatat(hand->file, "f", &status, 0)))
        return false;
    snprintf(name, sizeof name, "n%u/sub/f", step - 1);
    return !step ||
           hand_failed(hand, "stat below the old name", stat(hand_path(hand, name), &status), ENOENT);
}

static bool change_links(struct hand *hand, unsigned step)
{
    if (step <= 3)
        return hand_did(hand, "link", link(hand_path(hand, "n0"), hand_numbered(hand, 'n', step)));
    return hand_did(hand, "unlink", unlink(hand_numbered(hand, 'n', step - 3)));
}

static bool look_links(struct hand *hand, unsigned step)
{
    unsigned links = 1 + (step <= 3 ? step : 6 - step);
    struct stat status;
    char name[16];

    if (hand->file < 0)
        hand->file = open(hand_path(hand, "n0"), O_RDONLY);
    return hand_did(hand, "stat", stat(hand_path(hand, "n0"), &status)) &&
           hand_same(hand, "number of links, by stat", links, status.st_nlink) &&
           hand_did(hand, "fstat", fstat(hand->file, &status)) &&
           hand_same(hand, "number of links, by fstat", links, status.st_nlink) &&
           is_there(hand, numbered(name, 'n', 1), step > 0 && step < 4);
}

static bool change_symlink(struct hand *hand, unsigned step)
{
    char target[16];

    return hand_did(hand, "symlink", symlink(numbered(target, 't', step), hand_path(hand, "new"))) &&
           hand_did(hand, "rename", rename(hand_path(hand, "new"), hand_path(hand, "s")));
}

static bool look_symlink(struct hand *hand, unsigned step)
{
    char target[16] = "", expected[16];
    ssize_t len = readlink(hand_path(hand, "s"), target, sizeof target - 1);

    if (!step)
        return hand_failed(hand, "readlink", len, ENOENT);
    numbered(expected, 't', step);
    return hand_did(hand, "readlink", len) &&
           hand_same(hand, "whether the target is the new one (by its number)", step,
                     strcmp(target, expected) == 0 ? step : (unsigned) target[1] - '0');
}

static bool change_directories(struct hand *hand, unsigned step)
{
    if (step <= 3)
        return hand_did(hand, "mkdir", mkdir(hand_numbered(hand, 'd', step), 0755));
    return hand_did(hand, "rmdir", rmdir(hand_numbered(hand, 'd', step - 3)));
}

static bool look_directories(struct hand *hand, unsigned step)
{
    unsigned there = step <= 3 ? step : 6 - step;
    struct stat status;
    char name[16];

    return hand_did(hand, "stat", stat(hand->dir, &status)) &&
           hand_same(hand, "number of links of the directory", there + 2, status.st_nlink) &&
           is_there(hand, numbered(name, 'd', 1), step > 0 && step < 4);
}

static bool change_type(struct hand *hand, unsigned step)
{
    const char *path = hand_path(hand, "n0");

    if (!hand_did(hand, "removing it", step % 4 == 2 ? rmdir(path) : unlink(path)))
        return false;
    switch (step % 4) {
    case 1:
        return hand_did(hand, "mkdir", mkdir(path, 0755));
    case 2:
        return hand_did(hand, "symlink", symlink("nowhere", path));
    case 3:
        return hand_did(hand, "mkfifo", mkfifo(path, 0644));
    default:
        return hand_make_file(hand, "n0", 'a', FILE_BYTES);
    }
}

static bool look_type(struct hand *hand, unsigned step)
{
    static const mode_t type[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
    struct stat status;

    return hand_did(hand, "lstat", lstat(hand_path(hand, "n0"), &status)) &&
           hand_same(hand, "the type", type[step % 4], status.st_mode & S_IFMT);
}

static bool change_last_name(struct hand *hand, unsigned step)
{
    if (step > 1)
        return true;
    return hand_did(hand, "unlink", unlink(hand_path(hand, "n0")));
}

static bool look_last_name(struct hand *hand, unsigned step)
{
    struct stat status;
    char byte = 0;

    if (hand->file < 0)
        hand->file = open(hand_path(hand, "n0"), O_RDONLY);
    return hand_did(hand, "open", hand->file) && is_there(hand, "n0", !step) &&
           hand_did(hand, "fstat", fstat(hand->file, &status)) &&
           hand_same(hand, "number of links of the open file", !step, status.st_nlink) &&
           hand_did(hand, "pread", pread(hand->file, &byte, 1, 0)) &&
           hand_same(hand, "the bytes of the open file", 'a', (uint64_t) byte);
}

/* A stream kept open, rewound: what was changed before that must show. */
static bool look_rewound(struct hand *hand, unsigned step)
{
    struct dirent *entry;
    unsigned seen = 0;

    if (!hand->stream)
        hand->stream = opendir(hand->dir);
    if (!hand_did(hand, "opendir", hand->stream ? 0 : -1))
        return false;
    rewinddir(hand->stream);
    while ((entry = readdir(hand->stream)))
        seen += entry->d_name[0] == 'n';
    return hand_same(hand, "names in the listing", step, seen);
}

static bool look_directory_time(struct hand *hand, unsigned step)
{
    struct stat status;
    uint64_t before = hand->last;

    if (!hand_did(hand, "stat", stat(hand->dir, &status)))
        return false;
    hand->last = (uint64_t) status.st_mtim.tv_sec * 1000000000 + (uint64_t) status.st_mtim.tv_nsec;
    return hand_same(hand, "whether the directory's modification time moved", 1,
                     !step || hand->last != before);
}

const struct hand_kind hand_name_kinds[] = {
    {"name made where none was", 6, make_nothing, change_create, look_create},
    {"name removed", 6, make_many, change_remove, look_remove},
    {"name moved", 6, make_first, change_rename, look_rename},
    {"name replaced, the old file open", 6, make_first, change_replace, look_replace},
    {"name moved to another directory", 6, make_two_directories, change_across, look_across},
    {"two names exchanged", 6, make_two, change_exchange, look_exchange},
    {"directory moved", 6, make_tree, change_rename, look_tree},
    {"hard links made and removed", 6, make_first, change_links, look_links},
    {"symlink made and replaced", 6, make_nothing, change_symlink, look_symlink},
    {"directories made and removed", 6, make_nothing, change_directories, look_directories},
    {"name of another type", 8, make_first, change_type, look_type},
    {"last name removed, the file open", 3, make_first, change_last_name, look_last_name},
    {"listing through a stream kept open", 6, make_nothing, change_create, look_rewound},
    {"modification time of a directory", 4, make_nothing, change_create, look_directory_time},
};
const unsigned hand_name_count = sizeof hand_name_kinds / sizeof hand_name_kinds[0];
