/* One file of which each worker writes its own part, most of the time: what mounts may do in their own
 * caches. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/coherence/race.h"

enum {
    WORDS = RACE_PART_WRITE_BYTES / sizeof(uint64_t),
    ABROAD_ONE_IN = 16, /* calls that are about somebody else's part */
    BURST_MAX = 4,      /* writes without a look between */
};

/* Where in the file place PLACE of PART begins: places of different parts share no page but for the last
 * ones, which lie side by side around the border. */
static off_t place_at(unsigned part, unsigned place)
{
    bool first = place == 0, last = place == RACE_PART_PLACES - 1;
    off_t begin = (off_t) part * RACE_PART_BYTES;
    if (first)
        return begin;
    return last ? begin + RACE_PART_BYTES - RACE_PART_WRITE_BYTES
                : begin + (off_t) place * (RACE_PART_BYTES / RACE_PART_PLACES);
}

static unsigned object_of(unsigned part, unsigned place)
{
    return RACE_PART_WORDS + part * RACE_PART_PLACES + place;
}

static void write_place(struct ph_worker *worker, struct race *race, unsigned part, unsigned place)
{
    uint64_t value = race_value(worker, race), words[WORDS];
    for (size_t i = 0; i < WORDS; i++)
        words[i] = value;
    ph_call(worker, "pwrite of part of a file", "pwrite(parts, part %u, place %u)", part, place);
    ssize_t done = pwrite(race->parts, words, sizeof words, place_at(part, place));
    ph_called(worker);
    if (done == (ssize_t) sizeof words)
        ph_record(worker, object_of(part, place), PH_SET, value);
    else
        ph_unexpected(worker, done < 0 ? errno : EIO);
}

static void read_place(struct ph_worker *worker, struct race *race, unsigned part, unsigned place, bool fresh)
{
    char path[RACE_PATH_BYTES];
    uint64_t words[WORDS];
    int file = race->parts;
    race_path(race, "parts", path);
    ph_call(worker, fresh ? "open, pread of part of a file" : "pread of part of a file",
            "pread(parts, part %u, place %u)", part, place);
    if (fresh)
        file = open(path, O_RDONLY);
    ssize_t len = file < 0 ? -1 : pread(file, words, sizeof words, place_at(part, place));
    ph_called(worker);
    if (len == (ssize_t) sizeof words)
        ph_record(worker, object_of(part, place), PH_GET, words[0]);
    else
        ph_unexpected(worker, len < 0 ? errno : EIO);
    if (fresh && file >= 0)
        close(file);
}

void race_do_parts(struct ph_worker *worker, struct race *race)
{
    bool abroad = ph_random(worker, ABROAD_ONE_IN) == 0;
    unsigned part = abroad ? ph_random(worker, RACE_PARTS) : worker->index % RACE_PARTS;
    unsigned place = ph_random(worker, RACE_PART_PLACES);
    unsigned kind = ph_random(worker, 32);
    if (kind == 0) {
        ph_call(worker, "fsync", "fsync(parts)");
        int failed = fsync(race->parts);
        ph_called(worker);
        if (failed)
            ph_unexpected(worker, errno);
    } else if (kind < 10) {
        read_place(worker, race, part, place, abroad && kind < 4);
    } else {
        for (unsigned i = abroad ? 1 : 1 + ph_random(worker, BURST_MAX); i > 0; i--)
            write_place(worker, race, part, ph_random(worker, RACE_PART_PLACES));
    }
}

void race_look_parts(struct ph_worker *worker, struct race *race)
{
    for (unsigned part = 0; part < RACE_PARTS; part++) {
        for (unsigned place = 0; place < RACE_PART_PLACES; place++) {
            read_place(worker, race, part, place, false);
            read_place(worker, race, part, place, true);
        }
    }
}
