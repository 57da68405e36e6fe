/* Names that come, go and move; hard links; a log. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/coherence/race.h"

enum { LINK_SLOTS = 3, NO_REPLACE = 1, EXCHANGE = 2 };

#define ID_FACTOR UINT64_C(0x9e3779b97f4a7c15)

static uint64_t identity(const struct stat *status)
{
    uint64_t id = ((uint64_t) status->st_ino * ID_FACTOR) >> 1;

    return S_ISDIR(status->st_mode) ? PH_DIRECTORY : id ? id : 1;
}

static void record_slot(struct ph_worker *worker, unsigned object, enum ph_deed deed, unsigned slot,
                        uint64_t value)
{
    ph_record_event(worker, (struct ph_event){.object = (uint16_t) object,
                                              .deed = (uint8_t) deed,
                                              .slot = (uint8_t) slot,
                                              .value = value});
}

static void hold(struct race *race, int file, uint64_t id)
{
    if (race->held >= 0)
        close(race->held);
    race->held = file;
    race->held_id = id;
}

/* O_EXCL: one wins. */
static void create(struct ph_worker *worker, struct race *race, unsigned slot, const char *path)
{
    struct stat status;
    int file;

    ph_call(worker, "open O_CREAT|O_EXCL", "create(%s)", race_object[RACE_NAMES].slot[slot]);
    file = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);
    ph_called(worker);
    if (file < 0 && errno == EEXIST) {
        record_slot(worker, RACE_NAMES, PH_HAS, slot, 1);
    } else if (file < 0 || fstat(file, &status) < 0) {
        ph_unexpected(worker, errno);
    } else {
        record_slot(worker, RACE_NAMES, PH_ADD, slot, identity(&status));
        hold(race, file, identity(&status));
    }
}

static void make_directory(struct ph_worker *worker, unsigned slot, const char *path)
{
    int failed;

    ph_call(worker, "mkdir", "mkdir(%s)", race_object[RACE_NAMES].slot[slot]);
    failed = mkdir(path, 0755);
    ph_called(worker);
    if (!failed)
        record_slot(worker, RACE_NAMES, PH_ADD, slot, PH_DIRECTORY);
    else if (errno == EEXIST)
        record_slot(worker, RACE_NAMES, PH_HAS, slot, 1);
    else
        ph_unexpected(worker, errno);
}

static void remove_name(struct ph_worker *worker, unsigned object, unsigned slot, const char *path,
                        bool directory)
{
    int failed;

    ph_call(worker, directory ? "rmdir" : "unlink", "remove(%s)", race_object[object].slot[slot]);
    failed = directory ? rmdir(path) : unlink(path);
    ph_called(worker);
    if (!failed)
        record_slot(worker, object, PH_DROP, slot, directory ? PH_DIRECTORY : 0);
    else if (errno == ENOENT)
        record_slot(worker, object, PH_HAS, slot, 0);
    else if (errno == (directory ? ENOTDIR : EISDIR))
        record_slot(worker, object, PH_KIND, slot, !directory);
    else
        ph_unexpected(worker, errno);
}

static void record_rename_error(struct ph_worker *worker, unsigned from, unsigned to, unsigned flags,
                                int error)
{
    if (error == ENOENT && flags == EXCHANGE)
        return; /* One of the two was absent: nobody knows which. */
    if (error == ENOENT) {
        record_slot(worker, RACE_NAMES, PH_HAS, from, 0);
    } else if (error == EEXIST && flags == NO_REPLACE) {
        record_slot(worker, RACE_NAMES, PH_HAS, to, 1);
    } else if (error == EISDIR || error == ENOTDIR) {
        record_slot(worker, RACE_NAMES, PH_KIND, from, error == ENOTDIR);
        record_slot(worker, RACE_NAMES, PH_KIND, to, error == EISDIR);
    } else {
        ph_unexpected(worker, error);
    }
}

static void move(struct ph_worker *worker, struct race *race, unsigned from, unsigned to, unsigned flags)
{
    static const char *const call[] = {"rename", "rename RENAME_NOREPLACE", "rename RENAME_EXCHANGE"};
    static const enum ph_deed deed[] = {PH_MOVE, PH_MOVE_NEW, PH_SWAP};
    const char *const *name = race_object[RACE_NAMES].slot;
    char old[RACE_PATH_BYTES], new[RACE_PATH_BYTES];
    int failed;

    race_path(race, name[from], old);
    race_path(race, name[to], new);
    ph_call(worker, call[flags], "%s(%s, %s)", call[flags], name[from], name[to]);
    failed = renameat2(AT_FDCWD, old, AT_FDCWD, new, flags);
    ph_called(worker);
    if (failed)
        record_rename_error(worker, from, to, flags, errno);
    else
        ph_record_event(worker, (struct ph_event){.object = RACE_NAMES,
                                                  .deed = (uint8_t) deed[flags],
                                                  .slot = (uint8_t) from,
                                                  .slot2 = (uint8_t) to});
}

/* A new file takes the name, as editors do. */
static void put(struct ph_worker *worker, struct race *race, unsigned slot, const char *path)
{
    char name[64], temporary[RACE_PATH_BYTES];
    struct stat status;
    int file, failed;

    snprintf(name, sizeof name, "put.%u.%u", worker->index, ++race->number);
    race_path(race, name, temporary);
    ph_call(worker, "making a file to rename", "make(%s)", name);
    file = open(temporary, O_CREAT | O_EXCL | O_RDWR, 0644);
    if (file < 0 || fstat(file, &status) < 0) {
        ph_called(worker);
        ph_unexpected(worker, errno);
        return;
    }
    ph_call(worker, "rename of a new file over it", "rename(%s, %s)", name,
            race_object[RACE_NAMES].slot[slot]);
    failed = rename(temporary, path);
    ph_called(worker);
    if (!failed) {
        record_slot(worker, RACE_NAMES, PH_PUT, slot, identity(&status));
        hold(race, file, identity(&status));
        return;
    }
    if (errno == EISDIR)
        record_slot(worker, RACE_NAMES, PH_KIND, slot, 1);
    else
        ph_unexpected(worker, errno);
    close(file);
    unlink(temporary);
}

static void stat_name(struct ph_worker *worker, unsigned object, unsigned slot, const char *path)
{
    struct stat status;
    int failed;

    ph_call(worker, "stat", "stat(%s)", race_object[object].slot[slot]);
    failed = lstat(path, &status);
    ph_called(worker);
    if (!failed)
        record_slot(worker, object, PH_NAMED, slot, object == RACE_LINKS ? 1 : identity(&status));
    else if (errno == ENOENT)
        record_slot(worker, object, PH_NAMED, slot, 0);
    else
        ph_unexpected(worker, errno);
}

static void open_name(struct ph_worker *worker, struct race *race, unsigned slot, const char *path)
{
    struct stat status;
    int file;

    ph_call(worker, "open", "open(%s)", race_object[RACE_NAMES].slot[slot]);
    file = open(path, O_RDONLY);
    ph_called(worker);
    if (file < 0 && errno == ENOENT) {
        record_slot(worker, RACE_NAMES, PH_NAMED, slot, 0);
        return;
    }
    if (file < 0 || fstat(file, &status) < 0) {
        ph_unexpected(worker, errno);
        return;
    }
    record_slot(worker, RACE_NAMES, PH_NAMED, slot, identity(&status));
    if (S_ISDIR(status.st_mode))
        close(file);
    else
        hold(race, file, identity(&status));
}

static void look_at_held(struct ph_worker *worker, struct race *race)
{
    struct stat status;
    int failed;

    if (race->held < 0)
        return;
    ph_call(worker, "fstat of a file held open", "fstat(held)");
    failed = fstat(race->held, &status);
    ph_called(worker);
    if (failed)
        ph_unexpected(worker, errno);
    else
        ph_record_event(worker, (struct ph_event){.object = RACE_NAMES,
                                                  .deed = PH_ALIVE,
                                                  .value = race->held_id,
                                                  .extra = status.st_nlink > 0});
}

void race_list(struct ph_worker *worker, struct race *race, unsigned which, bool kept)
{
    const struct race_directory *directory = &race_directory[which];
    const struct ph_object *object = &race_object[directory->object];
    bool seen[PH_SLOTS] = {false};
    char path[RACE_PATH_BYTES], name[RACE_PATH_BYTES];
    struct dirent *entry;
    DIR *stream = race->kept[which];

    race_path(race, directory->name, path);
    ph_call(worker, kept ? "rewinddir, readdir" : "opendir, readdir", "list(%s)", directory->name);
    if (kept)
        rewinddir(stream);
    else
        stream = opendir(path);
    errno = stream ? 0 : errno;
    while (stream && (entry = readdir(stream))) {
        snprintf(name, sizeof name, "%s/%s", directory->name, entry->d_name);
        for (unsigned i = 0; i < directory->slots; i++)
            seen[i] = seen[i] || strcmp(name, object->slot[directory->first_slot + i]) == 0;
    }
    ph_called(worker);
    if (errno)
        ph_unexpected(worker, errno);
    for (unsigned i = 0; i < directory->slots && stream; i++)
        record_slot(worker, directory->object, PH_HAS, directory->first_slot + i, seen[i]);
    if (!kept && stream)
        closedir(stream);
}

void race_do_entries(struct ph_worker *worker, struct race *race)
{
    unsigned slot = ph_random(worker, PH_SLOTS),
             other = (slot + 1 + ph_random(worker, PH_SLOTS - 1)) % PH_SLOTS;
    char path[RACE_PATH_BYTES];

    race_path(race, race_object[RACE_NAMES].slot[slot], path);
    switch (ph_random(worker, 20)) {
    case 0:
    case 1:
        create(worker, race, slot, path);
        break;
    case 2:
        make_directory(worker, slot, path);
        break;
    case 3:
        remove_name(worker, RACE_NAMES, slot, path, false);
        break;
    case 4:
    case 5:
        remove_name(worker, RACE_NAMES, slot, path, true);
        break;
    case 6:
        move(worker, race, slot, other, 0);
        break;
    case 7:
        move(worker, race, slot, other, NO_REPLACE);
        break;
    case 8:
        move(worker, race, slot, other, EXCHANGE);
        break;
    case 9:
        put(worker, race, slot, path);
        break;
    case 10:
    case 11:
        race_list(worker, race, ph_random(worker, 2), ph_random(worker, 2));
        break;
    case 12:
    case 13:
        open_name(worker, race, slot, path);
        break;
    case 14:
        look_at_held(worker, race);
        break;
    default:
        stat_name(worker, RACE_NAMES, slot, path);
    }
}

void race_look_entries(struct ph_worker *worker, struct race *race)
{
    char path[RACE_PATH_BYTES];

    look_at_held(worker, race);
    for (unsigned slot = 0; slot < PH_SLOTS; slot++) {
        race_path(race, race_object[RACE_NAMES].slot[slot], path);
        stat_name(worker, RACE_NAMES, slot, path);
        race_list(worker, race, slot / 2, slot % 2);
    }
}

static void make_link(struct ph_worker *worker, struct race *race, unsigned slot, const char *path)
{
    char anchor[RACE_PATH_BYTES];
    int failed;

    race_path(race, "links/anchor", anchor);
    ph_call(worker, "link", "link(%s)", race_object[RACE_LINKS].slot[slot]);
    failed = link(anchor, path);
    ph_called(worker);
    if (!failed)
        record_slot(worker, RACE_LINKS, PH_ADD, slot, 1);
    else if (errno == EEXIST)
        record_slot(worker, RACE_LINKS, PH_HAS, slot, 1);
    else
        ph_unexpected(worker, errno);
}

static void count_links(struct ph_worker *worker, struct race *race, bool by_path)
{
    char anchor[RACE_PATH_BYTES];
    struct stat status;
    int failed;

    race_path(race, "links/anchor", anchor);
    ph_call(worker, by_path ? "stat of another link" : "fstat", "stat(anchor)");
    failed = by_path ? stat(anchor, &status) : fstat(race->anchor, &status);
    ph_called(worker);
    if (failed)
        ph_unexpected(worker, errno);
    else
        ph_record(worker, RACE_LINKS, PH_COUNT, status.st_nlink - 1);
}

void race_do_hard_links(struct ph_worker *worker, struct race *race)
{
    unsigned slot = ph_random(worker, LINK_SLOTS);
    char path[RACE_PATH_BYTES];

    race_path(race, race_object[RACE_LINKS].slot[slot], path);
    switch (ph_random(worker, 8)) {
    case 0:
    case 1:
        make_link(worker, race, slot, path);
        break;
    case 2:
        remove_name(worker, RACE_LINKS, slot, path, false);
        break;
    case 3:
        stat_name(worker, RACE_LINKS, slot, path);
        break;
    case 4:
        race_list(worker, race, 2, ph_random(worker, 2));
        break;
    default:
        count_links(worker, race, ph_random(worker, 2));
    }
}

void race_look_hard_links(struct ph_worker *worker, struct race *race)
{
    race_list(worker, race, 2, false);
    race_list(worker, race, 2, true);
    count_links(worker, race, false);
    count_links(worker, race, true);
}
