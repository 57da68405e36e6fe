/* The leader of a handoff, and what its workers share. */
#include "tests/coherence/handoff.h"

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

enum { EVENTS_NONE = 1, TREE_FDS = 16 };

enum phase { HAND_BEGIN, HAND_MAKE, HAND_CHANGE, HAND_LOOK, HAND_END, HAND_REMOVE, HAND_FOLDER, HAND_LEAVE };

static const struct hand_kind *kind_of(unsigned index)
{
    return index < hand_data_count ? &hand_data_kinds[index] : &hand_name_kinds[index - hand_data_count];
}

const char *hand_path(struct hand *hand, const char *name)
{
    static unsigned turn;
    char *path = hand->path[turn++ % 4];

    if (snprintf(path, HAND_PATH_BYTES, "%s/%s", hand->dir, name) >= HAND_PATH_BYTES)
        abort();
    return path;
}

const char *hand_numbered(struct hand *hand, char letter, unsigned number)
{
    char name[16];

    snprintf(name, sizeof name, "%c%u", letter, number);
    return hand_path(hand, name);
}

bool hand_same(struct hand *hand, const char *what, uint64_t expected, uint64_t seen)
{
    if (expected == seen)
        return true;
    snprintf(hand->text, PH_ANSWER_BYTES, "%s: expected %lld (%#llx), saw %lld (%#llx)", what,
             (long long) expected, (unsigned long long) expected, (long long) seen,
             (unsigned long long) seen);
    return false;
}

bool hand_did(struct hand *hand, const char *call, long result)
{
    if (result >= 0)
        return true;
    if (!hand->text[0])
        snprintf(hand->text, PH_ANSWER_BYTES, "%s failed: %s", call, strerror(errno));
    return false;
}

bool hand_failed(struct hand *hand, const char *call, long result, int error)
{
    if (result < 0 && errno == error)
        return true;
    snprintf(hand->text, PH_ANSWER_BYTES, "%s: expected \"%s\", got %s", call, strerror(error),
             result < 0 ? strerror(errno) : "success");
    return false;
}

bool hand_make_file(struct hand *hand, const char *name, int byte, size_t len)
{
    char data[HAND_FILE_BYTES];
    int file = open(hand_path(hand, name), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    bool good = hand_did(hand, "open O_CREAT", file);

    memset(data, byte, sizeof data);
    good = good && hand_did(hand, "write", write(file, data, len));
    return (file < 0 || hand_did(hand, "close", close(file))) && good;
}

bool hand_is_file(struct hand *hand, const char *name, int byte, size_t len)
{
    struct stat status;
    char data[2 * HAND_FILE_BYTES];
    int file = open(hand_path(hand, name), O_RDONLY);
    ssize_t seen;
    bool good;

    if (!hand_did(hand, "open", file))
        return false;
    seen = read(file, data, sizeof data);
    good = hand_did(hand, "read", seen) && hand_same(hand, "bytes read", len, (uint64_t) seen) &&
           hand_same(hand, "the first byte read", (uint64_t) byte, (uint64_t) (unsigned char) data[0]) &&
           hand_did(hand, "stat", stat(hand_path(hand, name), &status)) &&
           hand_same(hand, "the size, by stat", len, (uint64_t) status.st_size);
    close(file);
    return good;
}

bool hand_is_listed(struct hand *hand, const char *name, bool expected)
{
    const char *slash = strrchr(name, '/');
    char folder[HAND_PATH_BYTES];
    struct dirent *entry;
    bool seen = false;
    DIR *stream;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int) (slash - name) : 1, slash ? name : ".");
    stream = opendir(hand_path(hand, folder));
    if (!hand_did(hand, "opendir", stream ? 0 : -1))
        return false;
    while ((entry = readdir(stream)))
        seen = seen || strcmp(entry->d_name, slash ? slash + 1 : name) == 0;
    closedir(stream);
    return hand_same(hand, "whether the listing has the name", expected, seen);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void) status;
    (void) place;
    return kind == FTW_DP ? rmdir(path) : unlink(path);
}

static void let_go(struct hand *hand)
{
    if (hand->map)
        munmap(hand->map, HAND_FILE_BYTES);
    if (hand->file >= 0)
        close(hand->file);
    if (hand->stream)
        closedir(hand->stream);
    *hand = (struct hand){.worker = hand->worker, .file = -1};
}

static int in_folder(struct ph_worker *worker, enum phase phase)
{
    char path[HAND_PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s", worker->root, worker->crew->folder);
    if (phase == HAND_FOLDER && mkdir(path, 0755) < 0) {
        perror(path);
        return 1;
    }
    return phase == HAND_LEAVE && rmdir(path) < 0;
}

static bool act(struct hand *hand, const struct hand_kind *kind, const struct ph_order *order)
{
    switch ((enum phase) order->phase) {
    case HAND_MAKE:
        return hand_did(hand, "mkdir", mkdir(hand->dir, 0755)) && kind->make(hand, 0);
    case HAND_CHANGE:
        return kind->change(hand, (unsigned) order->number);
    case HAND_LOOK:
        return kind->look(hand, (unsigned) order->number);
    case HAND_REMOVE:
        return hand_did(hand, "removing everything",
                        nftw(hand->dir, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS));
    default:
        return false;
    }
}

static int step(struct ph_worker *worker, const struct ph_order *order, char *text)
{
    static const char *const doing[] = {"beginning", "making",   "changing", "looking at",
                                        "ending",    "removing", "",         ""};
    const struct hand_kind *kind = kind_of((unsigned) order->extra);
    struct hand *hand = worker->own;
    bool good;

    if (order->phase == HAND_FOLDER || order->phase == HAND_LEAVE)
        return in_folder(worker, order->phase);
    if (!hand) {
        hand = calloc(1, sizeof *hand);
        if (!hand)
            abort();
        *hand = (struct hand){.worker = worker, .file = -1};
        worker->own = hand;
    }
    if (order->phase == HAND_BEGIN || order->phase == HAND_END) {
        let_go(hand);
        snprintf(hand->dir, sizeof hand->dir, "%.300s/%s/h%u", worker->root, worker->crew->folder,
                 order->round);
        return 0;
    }
    hand->text = text;
    ph_call(worker, kind->name, "%s: %s, step %u", doing[order->phase], kind->name, (unsigned) order->number);
    good = act(hand, kind, order);
    ph_called(worker);
    if (!good && !text[0])
        snprintf(text, PH_ANSWER_BYTES, "failed: %s", strerror(errno));
    return !good;
}

static bool tell(struct ph_crew *crew, unsigned worker, struct ph_order order, enum phase phase,
                 unsigned changer)
{
    static const char *const failed[] = {
        "", "could not make", "could not change", "does not see", "", "could not remove", "", ""};
    struct ph_answer answer;

    order.phase = (int) phase;
    if (ph_crew_order(crew, worker, 1, &order, &answer))
        return true;
    fprintf(stderr, "VIOLATION of handoff: mount %u %s: %s, step %u, by mount %u: %s\n",
            crew->worker[worker].mount, failed[phase], kind_of((unsigned) order.extra)->name,
            (unsigned) order.number, changer, answer.text);
    atomic_fetch_add(&crew->violations, 1);
    return false;
}

static bool hand_over(struct ph_crew *crew, unsigned index, unsigned changer, uint32_t round)
{
    const struct hand_kind *kind = kind_of(index);
    struct ph_order order = {.phase = HAND_BEGIN, .round = round, .extra = index};
    bool good;

    ph_crew_order(crew, 0, crew->workers, &order, NULL);
    good = tell(crew, changer, order, HAND_MAKE, changer);
    for (unsigned step_number = 0; good && step_number <= kind->steps; step_number++) {
        order.number = step_number;
        if (step_number > 0)
            good = tell(crew, changer, order, HAND_CHANGE, changer);
        /* The others first: what they see must not depend on a look of the one who changed it. */
        for (unsigned i = 1; good && i <= crew->workers; i++)
            good = tell(crew, (changer + i) % crew->workers, order, HAND_LOOK, changer);
    }
    order.phase = HAND_END;
    ph_crew_order(crew, 0, crew->workers, &order, NULL);
    return tell(crew, (changer + 1) % crew->workers, order, HAND_REMOVE, changer) && good;
}

static unsigned all_kinds(const struct ph_options *options, struct ph_crew *crew, uint32_t *round)
{
    unsigned done = 0;

    for (unsigned index = 0; index < hand_data_count + hand_name_count; index++) {
        if (options->only && !strstr(kind_of(index)->name, options->only))
            continue;
        done++;
        if (options->verbose)
            printf("handoff: %s\n", kind_of(index)->name);
        for (unsigned changer = 0; changer < crew->workers; changer++) {
            if (!hand_over(crew, index, changer, (*round)++))
                break;
        }
    }
    return done;
}

int ph_handoff(const struct ph_options *options)
{
    struct ph_crew *crew =
        ph_crew_start(options->mounts, options->mount_count, 1, EVENTS_NONE, options->hang_s, step);
    struct ph_order order = {.phase = HAND_FOLDER};
    uint64_t start_ns = ph_now_ns();
    unsigned kinds = 0, turns = 0;
    uint32_t round = 0;
    char what[64];

    if (!crew)
        return PH_EXIT_TROUBLE;
    crew->map_plain = options->map_plain;
    snprintf(crew->folder, sizeof crew->folder, "%s", options->folder);
    if (!ph_crew_order(crew, 0, 1, &order, NULL)) {
        ph_crew_stop(crew);
        return PH_EXIT_TROUBLE;
    }
    do {
        kinds = all_kinds(options, crew, &round);
        turns++;
    } while (kinds && !atomic_load(&crew->violations) && !ph_time_is_up(options, start_ns));
    order.phase = HAND_LEAVE;
    ph_crew_order(crew, 0, 1, &order, NULL);
    ph_crew_stop(crew);
    if (!kinds) {
        fprintf(stderr, "coherence: no kind of change has \"%s\" in its name\n", options->only);
        return PH_EXIT_TROUBLE;
    }
    snprintf(what, sizeof what, "%u kinds of change, %u times", kinds, turns);
    return ph_summary(options, crew, what, start_ns);
}
