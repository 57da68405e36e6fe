/* All workers in one directory, one page and one log, as fast as they can: nothing may
 * hang, get lost, or be older than what its writer has finished. Every worker writes to a part
 * of the page of its own, and knows what it wrote; the others know the least that they must see. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/coherence/options.h"

enum {
    PAGE_BYTES = 4096,
    PAGE_WORDS = PAGE_BYTES / 8,
    NAMES = 4, /* of each worker, in the directory of all */
    PATH_BYTES = 512,
    RECORD_BYTES = 40,
    TREE_FDS = 16,
    EVENTS_NONE = 1,
    COMPLAINTS_MAX = 2,
};

enum phase { HAMMER_FOLDER, HAMMER_OPEN, HAMMER_RUN, HAMMER_CHECK, HAMMER_REMOVE };

/* What a worker tells: the counters that it began to write and has finished writing. */
enum { BEGUN, DONE, MAP_BEGUN, MAP_DONE, APPENDED };

struct hammer {
    char dir[PATH_BYTES], path[2][PATH_BYTES];
    int file, log;
    uint64_t *map; /* the page of this worker alone, stored to through memory */
    bool there[NAMES];
    unsigned complaints;
};

static unsigned slot_words(const struct ph_worker *worker)
{
    /* An odd number of words: the parts end nowhere in particular. */
    return (PAGE_WORDS / worker->crew->workers - 1) | 1;
}

static off_t slot_at(const struct ph_worker *worker, unsigned index)
{
    return (off_t) index * slot_words(worker) * 8;
}

/* Page 0 is shared; the page of a worker alone comes after it. */
static off_t own_page(unsigned index)
{
    return (off_t) (index + 1) * PAGE_BYTES;
}

static const char *path_of(struct hammer *hammer, unsigned which, const char *name)
{
    char *path = hammer->path[which];
    size_t len = strlen(hammer->dir);

    if (len + 1 + strlen(name) >= PATH_BYTES)
        abort();
    memcpy(path, hammer->dir, len);
    path[len] = '/';
    memcpy(path + len + 1, name, strlen(name) + 1);
    return path;
}

static const char *name_path(struct ph_worker *worker, struct hammer *hammer, unsigned which, unsigned number)
{
    char name[32];

    snprintf(name, sizeof name, "w%u.%u", worker->index, number);
    return path_of(hammer, which, name);
}

static void wrong(struct ph_worker *worker, struct hammer *hammer, const char *what, uint64_t least,
                  uint64_t most, uint64_t seen)
{
    if (hammer->complaints++ < COMPLAINTS_MAX)
        ph_violation(worker, "%s: %s is %llu, must be %llu to %llu (call took %.3f ms)", worker->call_name,
                     what, (unsigned long long) seen, (unsigned long long) least, (unsigned long long) most,
                     (double) (worker->end_ns - worker->begin_ns) / 1e6);
    else
        atomic_fetch_add(&worker->crew->violations, 1);
}

static void write_slot(struct ph_worker *worker, struct hammer *hammer)
{
    uint64_t words[PAGE_WORDS], next = atomic_load(&worker->told[DONE]) + 1;
    size_t len = slot_words(worker) * 8;
    ssize_t done;

    for (unsigned i = 0; i < slot_words(worker); i++)
        words[i] = next;
    atomic_store(&worker->told[BEGUN], next);
    ph_call(worker, "pwrite of a part of the page", "pwrite(page, part %u)", worker->index);
    done = pwrite(hammer->file, words, len, slot_at(worker, worker->index));
    ph_called(worker);
    if (done != (ssize_t) len)
        ph_unexpected(worker, done < 0 ? errno : EIO);
    atomic_store(&worker->told[DONE], next);
}

static void check_parts(struct ph_worker *worker, struct hammer *hammer, const uint64_t *words,
                        const uint64_t *least)
{
    char what[64];

    for (unsigned i = 0; i < worker->crew->workers; i++) {
        const uint64_t *part = words + slot_at(worker, i) / 8;
        uint64_t most = atomic_load(&worker->crew->worker[i].told[BEGUN]);

        for (unsigned at = 0; at < slot_words(worker); at++) {
            if (part[at] >= least[i] && part[at] <= most)
                continue;
            snprintf(what, sizeof what, "word %u of the part of worker %u (mount %u)", at, i,
                     worker->crew->worker[i].mount);
            wrong(worker, hammer, what, least[i], most, part[at]);
            break;
        }
    }
}

static void read_page(struct ph_worker *worker, struct hammer *hammer)
{
    uint64_t words[PAGE_WORDS], least[PH_WORKERS_MAX];
    bool fresh = ph_random(worker, 2);
    int file = hammer->file;
    ssize_t len;

    for (unsigned i = 0; i < worker->crew->workers; i++)
        least[i] = atomic_load(&worker->crew->worker[i].told[DONE]);
    ph_call(worker, fresh ? "open, pread of the page" : "pread of the page", "pread(page)");
    if (fresh)
        file = open(path_of(hammer, 0, "page"), O_RDONLY);
    len = file < 0 ? -1 : pread(file, words, sizeof words, 0);
    ph_called(worker);
    if (len == (ssize_t) sizeof words)
        check_parts(worker, hammer, words, least);
    else
        ph_unexpected(worker, len < 0 ? errno : EIO);
    if (fresh && file >= 0)
        close(file);
}

static void store_mapped(struct ph_worker *worker, struct hammer *hammer)
{
    uint64_t next = atomic_load(&worker->told[MAP_DONE]) + 1;
    int failed;

    atomic_store(&worker->told[MAP_BEGUN], next);
    ph_call(worker, "store in mapped memory, msync", "msync(page of worker %u)", worker->index);
    hammer->map[0] = next;
    failed = msync(hammer->map, PAGE_BYTES, MS_SYNC);
    ph_called(worker);
    if (failed)
        ph_unexpected(worker, errno);
    atomic_store(&worker->told[MAP_DONE], next);
}

static void read_stored(struct ph_worker *worker, struct hammer *hammer)
{
    unsigned other = ph_random(worker, worker->crew->workers);
    struct ph_worker *writer = &worker->crew->worker[other];
    uint64_t seen = 0, least = atomic_load(&writer->told[MAP_DONE]), most;

    ph_call(worker, "pread of a page that is stored to by mmap", "pread(page of worker %u)", other);
    if (pread(hammer->file, &seen, sizeof seen, own_page(other)) != (ssize_t) sizeof seen)
        ph_unexpected(worker, errno);
    ph_called(worker);
    most = atomic_load(&writer->told[MAP_BEGUN]);
    if (seen < least || seen > most)
        wrong(worker, hammer, "the word", least, most, seen);
}

static void append(struct ph_worker *worker, struct hammer *hammer)
{
    char record[RECORD_BYTES];
    ssize_t done;

    memset(record, (int) ('a' + worker->index), sizeof record);
    ph_call(worker, "write O_APPEND", "append(log)");
    done = write(hammer->log, record, sizeof record);
    ph_called(worker);
    if (done != (ssize_t) sizeof record)
        ph_unexpected(worker, done < 0 ? errno : EIO);
    atomic_fetch_add(&worker->told[APPENDED], 1);
}

static uint64_t all_appended(const struct ph_worker *worker)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < worker->crew->workers; i++)
        sum += atomic_load(&worker->crew->worker[i].told[APPENDED]);
    return sum;
}

static void measure_log(struct ph_worker *worker, struct hammer *hammer)
{
    uint64_t least = all_appended(worker) * RECORD_BYTES, most;
    struct stat status;

    ph_call(worker, "stat of the log", "stat(log)");
    if (stat(path_of(hammer, 0, "log"), &status) < 0)
        ph_unexpected(worker, errno);
    ph_called(worker);
    /* Each other worker may have one append under way. */
    most = (all_appended(worker) + worker->crew->workers) * RECORD_BYTES;
    if ((uint64_t) status.st_size < least || (uint64_t) status.st_size > most)
        wrong(worker, hammer, "the size of the log", least, most, (uint64_t) status.st_size);
}

static void expect_result(struct ph_worker *worker, struct hammer *hammer, long result, int error)
{
    int got = result < 0 ? errno : 0;

    ph_called(worker);
    if (got != error && hammer->complaints++ < COMPLAINTS_MAX)
        ph_violation(worker, "%s: expected \"%s\", got \"%s\"; nobody else uses this name", worker->call,
                     error ? strerror(error) : "success", got ? strerror(got) : "success");
    else if (got != error)
        atomic_fetch_add(&worker->crew->violations, 1);
}

static void use_name(struct ph_worker *worker, struct hammer *hammer)
{
    unsigned number = ph_random(worker, NAMES), other = (number + 1) % NAMES;
    const char *path = name_path(worker, hammer, 0, number), *to = name_path(worker, hammer, 1, other);
    bool *there = &hammer->there[number];
    struct stat status;
    int file;

    switch (ph_random(worker, 6)) {
    case 0:
    case 1:
        ph_call(worker, "create", "create(w%u.%u)", worker->index, number);
        file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
        expect_result(worker, hammer, file, *there ? EEXIST : 0);
        *there = true;
        if (file >= 0)
            close(file);
        break;
    case 2:
        ph_call(worker, "unlink", "unlink(w%u.%u)", worker->index, number);
        expect_result(worker, hammer, unlink(path), *there ? 0 : ENOENT);
        *there = false;
        break;
    case 3:
        ph_call(worker, "rename", "rename(w%u.%u, w%u.%u)", worker->index, number, worker->index, other);
        expect_result(worker, hammer, rename(path, to), *there ? 0 : ENOENT);
        hammer->there[other] = hammer->there[other] || *there;
        *there = false;
        break;
    default:
        ph_call(worker, "stat", "stat(w%u.%u)", worker->index, number);
        expect_result(worker, hammer, stat(path, &status), *there ? 0 : ENOENT);
    }
}

static void list(struct ph_worker *worker, struct hammer *hammer)
{
    unsigned seen[NAMES] = {0}, index, number;
    struct dirent *entry;
    DIR *stream;

    ph_call(worker, "opendir, readdir", "list()");
    stream = opendir(hammer->dir);
    errno = stream ? 0 : errno;
    while (stream && (entry = readdir(stream))) {
        if (sscanf(entry->d_name, "w%u.%u", &index, &number) == 2 && index == worker->index && number < NAMES)
            seen[number]++;
    }
    ph_called(worker);
    if (errno)
        ph_unexpected(worker, errno);
    if (stream)
        closedir(stream);
    for (unsigned i = 0; stream && i < NAMES; i++) {
        if (seen[i] != hammer->there[i])
            wrong(worker, hammer, name_path(worker, hammer, 0, i), hammer->there[i], hammer->there[i],
                  seen[i]);
    }
}

static void run(struct ph_worker *worker, struct hammer *hammer, uint64_t until_ns)
{
    while (ph_now_ns() < until_ns) {
        switch (ph_random(worker, 12)) {
        case 0:
        case 1:
        case 2:
            write_slot(worker, hammer);
            break;
        case 3:
        case 4:
            read_page(worker, hammer);
            break;
        case 5:
            store_mapped(worker, hammer);
            break;
        case 6:
            read_stored(worker, hammer);
            break;
        case 7:
            append(worker, hammer);
            break;
        case 8:
            measure_log(worker, hammer);
            break;
        case 9:
            list(worker, hammer);
            break;
        default:
            use_name(worker, hammer);
        }
    }
}

static bool make(struct hammer *hammer, unsigned workers)
{
    bool good = mkdir(hammer->dir, 0755) == 0;
    int file = open(path_of(hammer, 0, "page"), O_CREAT | O_EXCL | O_WRONLY, 0644);
    int log = open(path_of(hammer, 0, "log"), O_CREAT | O_EXCL | O_WRONLY, 0644);

    good = good && file >= 0 && log >= 0 && ftruncate(file, own_page(workers)) == 0;
    return close(file) == 0 && close(log) == 0 && good;
}

static bool open_all(struct ph_worker *worker, struct hammer *hammer)
{
    void *map;

    hammer->file = open(path_of(hammer, 0, "page"), O_RDWR);
    hammer->log = open(path_of(hammer, 0, "log"), O_WRONLY | O_APPEND);
    if (hammer->file < 0 || hammer->log < 0)
        return false;
    map = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, hammer->file, own_page(worker->index));
    hammer->map = map;
    return map != MAP_FAILED;
}

static void check_end(struct ph_worker *worker, struct hammer *hammer)
{
    for (unsigned i = 0; i < 4; i++) {
        read_page(worker, hammer);
        read_stored(worker, hammer);
    }
    measure_log(worker, hammer);
    list(worker, hammer);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void) status;
    (void) place;
    return kind == FTW_DP ? rmdir(path) : unlink(path);
}

static int step(struct ph_worker *worker, const struct ph_order *order, char *text)
{
    struct hammer *hammer = worker->own;
    bool good = true;

    if (!hammer) {
        hammer = calloc(1, sizeof *hammer);
        if (!hammer)
            abort();
        snprintf(hammer->dir, sizeof hammer->dir, "%.300s/%s", worker->root, worker->crew->folder);
        worker->own = hammer;
        worker->random = worker->crew->seed * UINT64_C(0x9e3779b97f4a7c15) + worker->index;
    }
    switch ((enum phase) order->phase) {
    case HAMMER_FOLDER:
        good = make(hammer, worker->crew->workers);
        break;
    case HAMMER_OPEN:
        good = open_all(worker, hammer);
        break;
    case HAMMER_RUN:
        run(worker, hammer, order->number);
        break;
    case HAMMER_CHECK:
        check_end(worker, hammer);
        break;
    case HAMMER_REMOVE:
        good = nftw(hammer->dir, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS) == 0;
        break;
    }
    if (!good)
        snprintf(text, PH_ANSWER_BYTES, "%.300s: %s", hammer->dir, strerror(errno));
    return !good;
}

static bool tell(struct ph_crew *crew, unsigned first, unsigned count, enum phase phase, uint64_t number)
{
    struct ph_order order = {.phase = (int) phase, .number = number};
    struct ph_answer answer[PH_WORKERS_MAX];

    if (ph_crew_order(crew, first, count, &order, answer))
        return true;
    for (unsigned i = 0; i < count; i++) {
        if (answer[i].result)
            fprintf(stderr, "VIOLATION of hammer: worker %u, mount %u: %s\n", first + i,
                    crew->worker[first + i].mount, answer[i].text);
    }
    atomic_fetch_add(&crew->violations, 1);
    return false;
}

int ph_hammer(const struct ph_options *options)
{
    struct ph_crew *crew = ph_crew_start(options->mounts, options->mount_count, options->per_mount,
                                         EVENTS_NONE, options->hang_s, step);
    uint64_t start_ns = ph_now_ns();
    char what[64];

    if (!crew)
        return PH_EXIT_TROUBLE;
    crew->seed = options->seed;
    snprintf(crew->folder, sizeof crew->folder, "%s", options->folder);
    if (!tell(crew, 0, 1, HAMMER_FOLDER, 0) || !tell(crew, 0, crew->workers, HAMMER_OPEN, 0)) {
        ph_crew_stop(crew);
        return PH_EXIT_TROUBLE;
    }
    tell(crew, 0, crew->workers, HAMMER_RUN, start_ns + (uint64_t) (options->seconds * 1e9));
    tell(crew, 0, crew->workers, HAMMER_CHECK, 0);
    tell(crew, crew->workers - 1, 1, HAMMER_REMOVE, 0);
    ph_crew_stop(crew);
    snprintf(what, sizeof what, "seed %llu", (unsigned long long) options->seed);
    return ph_summary(options, crew, what, start_ns);
}
