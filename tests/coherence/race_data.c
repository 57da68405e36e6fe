/* Bytes, attributes, and files that are replaced as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/coherence/race.h"

enum { WORDS_PER_HALF = RACE_HALF_BYTES / sizeof(uint64_t), MODE_MAX = 0777 };

static const char xattr_name[] = "user.value";

static void write_value(struct ph_worker *worker, struct race *race, unsigned first_half, unsigned halves)
{
    uint64_t value = race_value(worker, race), words[RACE_PAGE_BYTES / sizeof(uint64_t)];
    size_t len = halves * (size_t) RACE_HALF_BYTES;
    ssize_t done;

    for (size_t i = 0; i < len / sizeof(uint64_t); i++)
        words[i] = value;
    ph_call(worker, halves > 1 ? "pwrite of a page" : "pwrite of half a page", "pwrite(data, half %u)",
            first_half);
    done = pwrite(race->data, words, len, (off_t) first_half * RACE_HALF_BYTES);
    ph_called(worker);
    if (done != (ssize_t) len) {
        ph_unexpected(worker, done < 0 ? errno : EIO);
        return;
    }
    for (unsigned i = 2 * first_half; i < 2 * (first_half + halves); i++)
        ph_record(worker, RACE_WORDS + i, PH_SET, value);
}

static void record_half(struct ph_worker *worker, unsigned half, const uint64_t *words)
{
    uint64_t first = words[0], last = words[WORDS_PER_HALF - 1];

    ph_record(worker, RACE_WORDS + 2 * half, PH_GET, first);
    ph_record(worker, RACE_WORDS + 2 * half + 1, PH_GET, last);
    for (unsigned i = 1; i + 1 < WORDS_PER_HALF; i++) {
        if (words[i] == first || words[i] == last)
            continue;
        if (PH_VALUE_WORKER(words[i]) >= worker->crew->workers)
            ph_violation(worker, "%s: word %u of half %u is %#llx, which nobody wrote", worker->call_name, i,
                         half, (unsigned long long) words[i]);
        break;
    }
}

static void read_page(struct ph_worker *worker, struct race *race, unsigned page, bool fresh)
{
    uint64_t words[2 * WORDS_PER_HALF];
    char path[RACE_PATH_BYTES];
    int file = race->data;
    ssize_t len;

    race_path(race, "data", path);
    ph_call(worker, fresh ? "open, pread" : "pread through the old descriptor", "pread(data, page %u)", page);
    if (fresh)
        file = open(path, O_RDONLY);
    len = file < 0 ? -1 : pread(file, words, sizeof words, (off_t) page * RACE_PAGE_BYTES);
    ph_called(worker);
    if (len == (ssize_t) sizeof words) {
        record_half(worker, 2 * page, words);
        record_half(worker, 2 * page + 1, words + WORDS_PER_HALF);
    } else {
        ph_unexpected(worker, len < 0 ? errno : EIO);
    }
    if (fresh && file >= 0)
        close(file);
}

static void read_map(struct ph_worker *worker, struct race *race, unsigned half)
{
    const volatile uint64_t *word = race->map + half * WORDS_PER_HALF;
    struct stat status;
    uint64_t first, last;

    ph_call(worker, worker->crew->map_plain ? "mapped memory" : "fstat, mapped memory",
            "mapped(data, half %u)", half);
    if (!worker->crew->map_plain && fstat(race->data, &status) < 0)
        ph_unexpected(worker, errno);
    first = word[0];
    last = word[WORDS_PER_HALF - 1];
    ph_called(worker);
    ph_record(worker, RACE_WORDS + 2 * half, PH_GET, first);
    ph_record(worker, RACE_WORDS + 2 * half + 1, PH_GET, last);
}

void race_do_data(struct ph_worker *worker, struct race *race)
{
    switch (ph_random(worker, 8)) {
    case 0:
    case 1:
        write_value(worker, race, ph_random(worker, RACE_HALVES), 1);
        break;
    case 2:
        write_value(worker, race, 2 * ph_random(worker, RACE_PAGES), 2);
        break;
    case 3:
    case 4:
        read_page(worker, race, ph_random(worker, RACE_PAGES), false);
        break;
    case 5:
        read_page(worker, race, ph_random(worker, RACE_PAGES), true);
        break;
    default:
        read_map(worker, race, ph_random(worker, RACE_HALVES));
    }
}

void race_look_data(struct ph_worker *worker, struct race *race)
{
    for (unsigned page = 0; page < RACE_PAGES; page++) {
        read_page(worker, race, page, false);
        read_page(worker, race, page, true);
    }
    for (unsigned half = 0; half < RACE_HALVES; half++)
        read_map(worker, race, half);
}

static void change_attribute(struct ph_worker *worker, struct race *race, unsigned object, const char *path)
{
    uint64_t value =
        object == RACE_MODE ? atomic_fetch_add(&worker->crew->counter, 1) : race_value(worker, race);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t) value}};
    bool by_path = ph_random(worker, 2);
    int failed = 0;

    if (object == RACE_MODE && value > MODE_MAX)
        return;
    switch (object) {
    case RACE_MODE:
        ph_call(worker, by_path ? "chmod" : "fchmod", "chmod(attributes)");
        failed = by_path ? chmod(path, (mode_t) value) : fchmod(race->attributes, (mode_t) value);
        break;
    case RACE_UID:
        ph_call(worker, by_path ? "chown" : "fchown", "chown(attributes)");
        failed = by_path ? chown(path, (uid_t) value, (gid_t) -1)
                         : fchown(race->attributes, (uid_t) value, (gid_t) -1);
        break;
    case RACE_MTIME:
        ph_call(worker, by_path ? "utimensat" : "futimens", "utimensat(attributes)");
        failed = by_path ? utimensat(AT_FDCWD, path, times, 0) : futimens(race->attributes, times);
        break;
    default:
        ph_call(worker, by_path ? "setxattr" : "fsetxattr", "setxattr(attributes)");
        failed = by_path ? setxattr(path, xattr_name, &value, sizeof value, 0)
                         : fsetxattr(race->attributes, xattr_name, &value, sizeof value, 0);
    }
    ph_called(worker);
    if (!failed)
        ph_record(worker, object, PH_SET, value);
    else if (errno != EOPNOTSUPP)
        ph_unexpected(worker, errno);
}

static void stat_attributes(struct ph_worker *worker, struct race *race, const char *path, bool by_path)
{
    struct stat status;
    int failed;

    ph_call(worker, by_path ? "stat" : "fstat", "stat(attributes)");
    failed = by_path ? stat(path, &status) : fstat(race->attributes, &status);
    ph_called(worker);
    if (failed) {
        ph_unexpected(worker, errno);
        return;
    }
    ph_record(worker, RACE_MODE, PH_GET, status.st_mode & MODE_MAX);
    ph_record(worker, RACE_UID, PH_GET, status.st_uid);
    ph_record(worker, RACE_MTIME, PH_GET, (uint64_t) status.st_mtim.tv_sec);
}

static void get_xattr(struct ph_worker *worker, struct race *race, const char *path, bool by_path)
{
    uint64_t value = 0;
    ssize_t len;

    ph_call(worker, by_path ? "getxattr" : "fgetxattr", "getxattr(attributes)");
    len = by_path ? getxattr(path, xattr_name, &value, sizeof value)
                  : fgetxattr(race->attributes, xattr_name, &value, sizeof value);
    ph_called(worker);
    if (len == (ssize_t) sizeof value)
        ph_record(worker, RACE_XATTR, PH_GET, value);
    else if (len >= 0 || errno != EOPNOTSUPP)
        ph_unexpected(worker, len < 0 ? errno : EIO);
}

static void change_size(struct ph_worker *worker, struct race *race, const char *path)
{
    uint64_t value = race_value(worker, race);
    bool by_path = ph_random(worker, 2);
    int failed;

    ph_call(worker, by_path ? "truncate" : "ftruncate", "truncate(sized)");
    failed = by_path ? truncate(path, (off_t) value) : ftruncate(race->sized, (off_t) value);
    ph_called(worker);
    if (failed)
        ph_unexpected(worker, errno);
    else
        ph_record(worker, RACE_SIZE, PH_SET, value);
}

static void look_at_size(struct ph_worker *worker, struct race *race, const char *path, unsigned how)
{
    static const char *const call[] = {"stat", "fstat", "lseek to the end"};
    struct stat status = {0};
    off_t size = -1;

    ph_call(worker, call[how], "%s(sized)", call[how]);
    if (how < 2)
        size = (how ? fstat(race->sized, &status) : stat(path, &status)) < 0 ? -1 : status.st_size;
    else
        size = lseek(race->sized, 0, SEEK_END);
    ph_called(worker);
    if (size < 0)
        ph_unexpected(worker, errno);
    else
        ph_record(worker, RACE_SIZE, PH_GET, (uint64_t) size);
}

void race_do_attributes(struct ph_worker *worker, struct race *race)
{
    char attributes[RACE_PATH_BYTES], sized[RACE_PATH_BYTES];

    race_path(race, "attributes", attributes);
    race_path(race, "sized", sized);
    switch (ph_random(worker, 8)) {
    case 0:
    case 1:
        change_attribute(worker, race, RACE_MTIME + ph_random(worker, 4), attributes);
        break;
    case 2:
        change_size(worker, race, sized);
        break;
    case 3:
        /* Not by lseek: the kernel throws away an answer that crosses with another (pohmelfs(8), known
         * limits). */
        look_at_size(worker, race, sized, ph_random(worker, 2));
        break;
    case 4:
        get_xattr(worker, race, attributes, ph_random(worker, 2));
        break;
    default:
        stat_attributes(worker, race, attributes, ph_random(worker, 2));
    }
}

void race_look_attributes(struct ph_worker *worker, struct race *race)
{
    char attributes[RACE_PATH_BYTES], sized[RACE_PATH_BYTES];

    race_path(race, "attributes", attributes);
    race_path(race, "sized", sized);
    for (unsigned by_path = 0; by_path < 2; by_path++) {
        stat_attributes(worker, race, attributes, by_path);
        get_xattr(worker, race, attributes, by_path);
    }
    for (unsigned how = 0; how < 3; how++)
        look_at_size(worker, race, sized, how);
}

static bool make_temporary(struct ph_worker *worker, const char *path, uint64_t value, bool link)
{
    char target[32];
    int file;
    bool good;

    snprintf(target, sizeof target, "%llu", (unsigned long long) value);
    ph_call(worker, "making a file to rename", "make(%s)", path);
    if (link) {
        good = symlink(target, path) == 0;
    } else {
        file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
        good = file >= 0 && pwrite(file, &value, sizeof value, 0) == (ssize_t) sizeof value;
        if (file >= 0)
            good = close(file) == 0 && good;
    }
    ph_called(worker);
    if (!good)
        ph_unexpected(worker, errno);
    return good;
}

static void replace(struct ph_worker *worker, struct race *race, unsigned object, const char *path)
{
    uint64_t value = race_value(worker, race);
    char name[64], temporary[RACE_PATH_BYTES];

    snprintf(name, sizeof name, "new.%u.%u", worker->index, race->number);
    race_path(race, name, temporary);
    if (!make_temporary(worker, temporary, value, object == RACE_TARGET))
        return;
    ph_call(worker, "rename over it", "rename(%s, %s)", name, race_object[object].name);
    if (rename(temporary, path) < 0) {
        ph_called(worker);
        ph_unexpected(worker, errno);
        return;
    }
    ph_called(worker);
    ph_record(worker, object, PH_SET, value);
}

static void read_target(struct ph_worker *worker, const char *path)
{
    char target[32];
    unsigned long long value = 0;
    ssize_t len;

    ph_call(worker, "readlink", "readlink(target)");
    len = readlink(path, target, sizeof target - 1);
    ph_called(worker);
    if (len < 0) {
        ph_unexpected(worker, errno);
        return;
    }
    target[len] = '\0';
    sscanf(target, "%llu", &value);
    ph_record(worker, RACE_TARGET, PH_GET, value);
}

static void read_content(struct ph_worker *worker, const char *path)
{
    uint64_t value = 0;
    ssize_t len;
    int file;

    ph_call(worker, "open, pread of the replaced file", "open, pread(content)");
    file = open(path, O_RDONLY);
    len = file < 0 ? -1 : pread(file, &value, sizeof value, 0);
    ph_called(worker);
    if (len == (ssize_t) sizeof value)
        ph_record(worker, RACE_CONTENT, PH_GET, value);
    else if (file >= 0) /* what is open stays readable, whatever becomes of the name */
        ph_violation(worker, "pread of an open file failed: %s",
                     len < 0 ? strerror(errno) : "it is too short");
    else
        ph_unexpected(worker, errno);
    if (file >= 0)
        close(file);
}

void race_do_replaced(struct ph_worker *worker, struct race *race)
{
    char target[RACE_PATH_BYTES], content[RACE_PATH_BYTES];

    race_path(race, "target", target);
    race_path(race, "content", content);
    switch (ph_random(worker, 6)) {
    case 0:
        replace(worker, race, RACE_TARGET, target);
        break;
    case 1:
        replace(worker, race, RACE_CONTENT, content);
        break;
    case 2:
    case 3:
        read_target(worker, target);
        break;
    default:
        read_content(worker, content);
    }
}

void race_look_replaced(struct ph_worker *worker, struct race *race)
{
    char target[RACE_PATH_BYTES], content[RACE_PATH_BYTES];

    race_path(race, "target", target);
    race_path(race, "content", content);
    read_target(worker, target);
    read_content(worker, content);
}
