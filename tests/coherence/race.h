/* The objects of a race, and the calls that its workers make on them. */
#pragma once

#include <dirent.h>

#include "tests/coherence/crew.h"

enum {
    RACE_PAGES = 2,
    RACE_PAGE_BYTES = 4096,
    RACE_HALF_BYTES = RACE_PAGE_BYTES / 2,
    RACE_HALVES = 2 * RACE_PAGES,
    RACE_PATH_BYTES = 512,
    RACE_LOG_MAX = PH_SHARED_BYTES / 2,
    RACE_PARTS = 4, /* of a file, each of which is mostly written by one worker */
    RACE_PART_PLACES = 4,
    RACE_PART_BYTES = 128 * 1024,
    RACE_PART_WRITE_BYTES = 512,
};

/* Objects of a round. Of each half of a page the first and the last word are looked at: the
 * bytes of one write need not become visible in one moment, those of a word do. */
enum race_object {
    RACE_WORDS,
    RACE_MTIME = RACE_WORDS + 2 * RACE_HALVES,
    RACE_UID,
    RACE_MODE,
    RACE_XATTR,
    RACE_SIZE,
    RACE_PART_WORDS,
    RACE_TARGET = RACE_PART_WORDS + RACE_PARTS * RACE_PART_PLACES,
    RACE_CONTENT,
    RACE_NAMES,
    RACE_LINKS,
    RACE_LOG,
    RACE_OBJECTS,
};

extern const struct ph_object race_object[RACE_OBJECTS];

/* Families of calls; a round may be about a few of them only. */
enum race_family {
    RACE_DATA,
    RACE_ATTRIBUTES,
    RACE_REPLACED,
    RACE_ENTRIES,
    RACE_HARD_LINKS,
    RACE_APPENDS,
    RACE_SHARED_PARTS,
    RACE_FAMILIES
};

extern const char *const race_family_name[RACE_FAMILIES];

/* What a worker has open in a round. */
struct race {
    char dir[RACE_PATH_BYTES];                       /* of the round, in the mount of this worker */
    int data, attributes, sized, log, anchor, parts; /* kept open over the changes of others */
    int held;                                        /* a file of the names, open over its removal; -1 */
    uint64_t held_id;
    const volatile uint64_t *map; /* of `data` */
    DIR *kept[3];                 /* directories of the names and of the links */
    uint32_t number;              /* of the last value */
};

/* The names of the directories whose listings are looked at, and the slots that lie in each. */
struct race_directory {
    const char *name;
    unsigned object, first_slot, slots;
};

extern const struct race_directory race_directory[3];

/* A value that was not there before. */
uint64_t race_value(struct ph_worker *worker, struct race *race);

/* PATH_TEXT becomes the path of NAME in the directory of the round; the name of the call is for the history.
 */
void race_path(const struct race *race, const char *name, char path_text[RACE_PATH_BYTES]);

/* One call of a family, chosen at random. */
void race_do_data(struct ph_worker *worker, struct race *race);
void race_do_attributes(struct ph_worker *worker, struct race *race);
void race_do_replaced(struct ph_worker *worker, struct race *race);
void race_do_entries(struct ph_worker *worker, struct race *race);
void race_do_hard_links(struct ph_worker *worker, struct race *race);
void race_do_appends(struct ph_worker *worker, struct race *race);
void race_do_parts(struct ph_worker *worker, struct race *race);

/* Calls that only look, all of the family once; part of the end of each round. */
void race_look_data(struct ph_worker *worker, struct race *race);
void race_look_attributes(struct ph_worker *worker, struct race *race);
void race_look_replaced(struct ph_worker *worker, struct race *race);
void race_look_entries(struct ph_worker *worker, struct race *race);
void race_look_hard_links(struct ph_worker *worker, struct race *race);
void race_look_appends(struct ph_worker *worker, struct race *race);
void race_look_parts(struct ph_worker *worker, struct race *race);

/* Lists directory number WHICH; KEPT: through a stream that was opened at the start of the round. */
void race_list(struct ph_worker *worker, struct race *race, unsigned which, bool kept);

/* Phases of a round: what each worker is told in turn. */
enum race_phase { RACE_MAKE, RACE_OPEN, RACE_RUN, RACE_END, RACE_REMOVE, RACE_LEAVE };

/* What a worker does: ph_worker_fn. `number` of an order is the number of calls, `extra` the families. */
int race_step(struct ph_worker *worker, const struct ph_order *order, char *text);
