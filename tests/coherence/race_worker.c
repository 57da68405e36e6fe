/* What a worker does in each phase of a round. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/coherence/race.h"

enum { PAUSE_EVERY = 16, PAUSE_MAX_US = 1000, TREE_FDS = 16, FIRST_MODE = 0777 };

const struct ph_object race_object[RACE_OBJECTS] = {
    {"the first word of half page 0 of file data", PH_MODEL_REGISTER, {NULL}},
    {"the last word of half page 0 of file data", PH_MODEL_REGISTER, {NULL}},
    {"the first word of half page 1 of file data", PH_MODEL_REGISTER, {NULL}},
    {"the last word of half page 1 of file data", PH_MODEL_REGISTER, {NULL}},
    {"the first word of half page 2 of file data", PH_MODEL_REGISTER, {NULL}},
    {"the last word of half page 2 of file data", PH_MODEL_REGISTER, {NULL}},
    {"the first word of half page 3 of file data", PH_MODEL_REGISTER, {NULL}},
    {"the last word of half page 3 of file data", PH_MODEL_REGISTER, {NULL}},
    {"the modification time of file attributes", PH_MODEL_REGISTER, {NULL}},
    {"the owner of file attributes", PH_MODEL_REGISTER, {NULL}},
    {"the mode of file attributes", PH_MODEL_REGISTER, {NULL}},
    {"the extended attribute of file attributes", PH_MODEL_REGISTER, {NULL}},
    {"the size of file sized", PH_MODEL_REGISTER, {NULL}},
    {"place 0 of part 0 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 1 of part 0 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 2 of part 0 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 3 of part 0 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 0 of part 1 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 1 of part 1 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 2 of part 1 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 3 of part 1 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 0 of part 2 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 1 of part 2 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 2 of part 2 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 3 of part 2 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 0 of part 3 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 1 of part 3 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 2 of part 3 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"place 3 of part 3 of file parts", PH_MODEL_REGISTER, {NULL}},
    {"the target of symlink target", PH_MODEL_REGISTER, {NULL}},
    {"the content of file content", PH_MODEL_REGISTER, {NULL}},
    {"the names d0/ and d1/", PH_MODEL_NAMES, {"d0/a", "d0/b", "d1/c", "d1/d"}},
    {"the hard links of links/anchor", PH_MODEL_NAMES, {"links/x", "links/y", "links/z", NULL}},
    {"the log", PH_MODEL_LOG, {NULL}},
};

const char *const race_family_name[RACE_FAMILIES] = {"data",  "attributes", "replaced", "names",
                                                     "links", "log",        "parts"};

const struct race_directory race_directory[3] = {
    {"d0", RACE_NAMES, 0, 2}, {"d1", RACE_NAMES, 2, 2}, {"links", RACE_LINKS, 0, 3}};

typedef void (*family_fn)(struct ph_worker *worker, struct race *race);

static const family_fn do_family[RACE_FAMILIES] = {race_do_data,    race_do_attributes, race_do_replaced,
                                                   race_do_entries, race_do_hard_links, race_do_appends,
                                                   race_do_parts};
static const family_fn look_family[RACE_FAMILIES] = {
    race_look_data,       race_look_attributes, race_look_replaced, race_look_entries,
    race_look_hard_links, race_look_appends,    race_look_parts};

uint64_t race_value(struct ph_worker *worker, struct race *race)
{
    return PH_VALUE(worker->index, ++race->number);
}

void race_path(const struct race *race, const char *name, char path_text[RACE_PATH_BYTES])
{
    if (snprintf(path_text, RACE_PATH_BYTES, "%s/%s", race->dir, name) >= RACE_PATH_BYTES)
        abort();
}

static bool put_file(const char *path, const void *data, size_t len)
{
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    bool good = file >= 0 && pwrite(file, data, len, 0) == (ssize_t) len;

    if (file >= 0)
        good = close(file) == 0 && good;
    return good;
}

static bool put_parts(const char *path, uint64_t value)
{
    size_t count = RACE_PARTS * (size_t) RACE_PART_BYTES / sizeof(uint64_t);
    uint64_t *words = malloc(count * sizeof(uint64_t));
    if (!words)
        abort();
    for (size_t i = 0; i < count; i++)
        words[i] = value;
    bool good = put_file(path, words, count * sizeof(uint64_t));
    free(words);
    return good;
}

static bool make_files(const struct race *race, uint64_t value)
{
    uint64_t words[RACE_PAGES * RACE_PAGE_BYTES / sizeof(uint64_t)];
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t) value}};
    char path[RACE_PATH_BYTES], target[32];
    bool good = true;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        words[i] = value;
    race_path(race, "data", path);
    good = put_file(path, words, sizeof words) && good;
    race_path(race, "parts", path);
    good = put_parts(path, value) && good;
    race_path(race, "content", path);
    good = put_file(path, &value, sizeof value) && good;
    race_path(race, "links/anchor", path);
    good = put_file(path, "", 0) && good;
    race_path(race, "log", path);
    good = put_file(path, "", 0) && good;
    race_path(race, "sized", path);
    good = put_file(path, "", 0) && truncate(path, (off_t) value) == 0 && good;
    race_path(race, "target", path);
    snprintf(target, sizeof target, "%llu", (unsigned long long) value);
    good = symlink(target, path) == 0 && good;
    race_path(race, "attributes", path);
    return put_file(path, "", 0) && chown(path, (uid_t) value, (gid_t) -1) == 0 &&
           chmod(path, FIRST_MODE) == 0 &&
           (setxattr(path, "user.value", &value, sizeof value, 0) == 0 || errno == EOPNOTSUPP) &&
           utimensat(AT_FDCWD, path, times, 0) == 0 && good;
}

/* Everything there is at the start, as one long call that set all values. */
static int make_round(struct ph_worker *worker, struct race *race)
{
    uint64_t value = race_value(worker, race);
    bool good = mkdir(race->dir, 0755) == 0;
    char path[RACE_PATH_BYTES];

    ph_call(worker, "making the files", "make(%s)", race->dir);
    for (unsigned i = 0; i < 3; i++) {
        race_path(race, race_directory[i].name, path);
        good = mkdir(path, 0755) == 0 && good;
    }
    good = make_files(race, value) && good;
    ph_called(worker);
    if (!good) {
        ph_unexpected(worker, errno);
        return 1;
    }
    for (unsigned object = 0; object < RACE_OBJECTS; object++) {
        if (race_object[object].model == PH_MODEL_REGISTER)
            ph_record(worker, object, PH_SET, object == RACE_MODE ? FIRST_MODE : value);
    }
    return 0;
}

static int open_file(const struct race *race, const char *name, int flags)
{
    char path[RACE_PATH_BYTES];

    race_path(race, name, path);
    return open(path, flags);
}

static int open_round(struct ph_worker *worker, struct race *race)
{
    char path[RACE_PATH_BYTES];
    void *map = MAP_FAILED;
    bool good;

    ph_call(worker, "opening the files", "open(%s/...)", race->dir);
    race->data = open_file(race, "data", O_RDWR);
    race->attributes = open_file(race, "attributes", O_RDWR);
    race->sized = open_file(race, "sized", O_RDWR);
    race->log = open_file(race, "log", O_RDWR | O_APPEND);
    race->anchor = open_file(race, "links/anchor", O_RDONLY);
    race->parts = open_file(race, "parts", O_RDWR);
    good = race->data >= 0 && race->attributes >= 0 && race->sized >= 0 && race->log >= 0 &&
           race->anchor >= 0 && race->parts >= 0;
    if (race->data >= 0)
        map = mmap(NULL, RACE_PAGES * RACE_PAGE_BYTES, PROT_READ, MAP_SHARED, race->data, 0);
    race->map = map == MAP_FAILED ? NULL : map;
    for (unsigned i = 0; i < 3; i++) {
        race_path(race, race_directory[i].name, path);
        race->kept[i] = opendir(path);
        good = good && race->kept[i];
    }
    ph_called(worker);
    if (good && race->map)
        return 0;
    ph_unexpected(worker, errno);
    return 1;
}

static void close_round(struct ph_worker *worker, struct race *race)
{
    int *file[] = {&race->data,   &race->attributes, &race->sized, &race->log,
                   &race->anchor, &race->parts,      &race->held};

    ph_call(worker, "closing the files", "close(%s/...)", race->dir);
    if (race->map)
        munmap((void *) race->map, RACE_PAGES * RACE_PAGE_BYTES);
    race->map = NULL;
    for (unsigned i = 0; i < sizeof file / sizeof file[0]; i++) {
        if (*file[i] >= 0)
            close(*file[i]);
        *file[i] = -1;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (race->kept[i])
            closedir(race->kept[i]);
        race->kept[i] = NULL;
    }
    ph_called(worker);
}

static void run_round(struct ph_worker *worker, struct race *race, const struct ph_order *order)
{
    unsigned wanted[RACE_FAMILIES], count = 0;
    bool pauses = order->extra >> RACE_FAMILIES & 1;

    for (unsigned family = 0; family < RACE_FAMILIES; family++) {
        if (order->extra >> family & 1)
            wanted[count++] = family;
    }
    for (uint64_t i = 0; i < order->number; i++) {
        do_family[wanted[ph_random(worker, count)]](worker, race);
        if (pauses && ph_random(worker, PAUSE_EVERY) == 0)
            usleep(ph_random(worker, PAUSE_MAX_US));
    }
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void) status;
    (void) place;
    if ((kind == FTW_DP ? rmdir(path) : unlink(path)) == 0)
        return 0;
    fprintf(stderr, "removing %s: %s\n", path, strerror(errno));
    return -1;
}

static int remove_round(struct ph_worker *worker, const char *path)
{
    int failed;

    ph_call(worker, "removing the files", "remove(%s)", path);
    failed = nftw(path, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS);
    ph_called(worker);
    if (failed)
        ph_violation(worker, "what was made cannot be removed");
    return failed ? 1 : 0;
}

static struct race *own(struct ph_worker *worker)
{
    struct race *race = worker->own;

    if (!race) {
        race = calloc(1, sizeof *race);
        if (!race)
            abort();
        race->data = race->attributes = race->sized = race->log = race->anchor = race->parts = race->held =
            -1;
        worker->own = race;
    }
    return race;
}

static void begin_round(struct ph_worker *worker, struct race *race, const struct ph_order *order,
                        const char *folder)
{
    if (snprintf(race->dir, sizeof race->dir, "%s/%s/r%u", worker->root, folder, order->round) >=
        (int) sizeof race->dir - 64)
        abort();
    race->number = 0;
    worker->count = 0;
    worker->random =
        worker->crew->seed * UINT64_C(0x9e3779b97f4a7c15) + ((uint64_t) order->round << 8) + worker->index;
    ph_random(worker, 2);
}

int race_step(struct ph_worker *worker, const struct ph_order *order, char *text)
{
    struct race *race = own(worker);
    const char *folder = worker->crew->folder;
    char path[RACE_PATH_BYTES];

    (void) text;
    snprintf(path, sizeof path, "%s/%s", worker->root, folder);
    switch ((enum race_phase) order->phase) {
    case RACE_MAKE:
        begin_round(worker, race, order, folder);
        if (order->round == 0 && mkdir(path, 0755) < 0)
            perror(path);
        return make_round(worker, race);
    case RACE_OPEN:
        if (worker->index != 0)
            begin_round(worker, race, order, folder);
        return open_round(worker, race);
    case RACE_RUN:
        run_round(worker, race, order);
        return 0;
    case RACE_END:
        for (unsigned family = 0; family < RACE_FAMILIES; family++)
            look_family[family](worker, race);
        close_round(worker, race);
        return 0;
    case RACE_REMOVE:
        return remove_round(worker, race->dir);
    case RACE_LEAVE:
        return rmdir(path) < 0;
    }
    return 1;
}
