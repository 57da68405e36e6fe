/* One changes, the others look at once: the kinds of change. */
#pragma once

#include <dirent.h>

#include "tests/coherence/crew.h"

enum { HAND_PATH_BYTES = 512, HAND_FILE_BYTES = 8192 };

/* What a worker has of one kind. */
struct hand {
    struct ph_worker *worker;
    char dir[HAND_PATH_BYTES];
    char path[4][HAND_PATH_BYTES]; /* of hand_path */
    int file;                      /* kept open from the first look on; -1 */
    uint8_t *map;
    DIR *stream;
    uint64_t last; /* what the last look saw, for what must move */
    char *text;    /* PH_ANSWER_BYTES: what is wrong */
};

/* Each returns whether all went well; if not, `text` says what was expected and what was seen. */
typedef bool (*hand_fn)(struct hand *hand, unsigned step);

/* One kind of change. Made once by the changing worker; then all look (step 0, nothing changed
 * yet); then, for step 1 to `steps`, it is changed and all look. */
struct hand_kind {
    const char *name;
    unsigned steps;
    hand_fn make, change, look;
};

extern const struct hand_kind hand_data_kinds[], hand_name_kinds[];
extern const unsigned hand_data_count, hand_name_count;

/* The path of NAME in the directory of this kind; the last four stay valid. */
const char *hand_path(struct hand *hand, const char *name);

/* The path of a name that is a letter and a number. */
const char *hand_numbered(struct hand *hand, char letter, unsigned number);

/* Whether SEEN is EXPECTED; WHAT is for the report. */
bool hand_same(struct hand *hand, const char *what, uint64_t expected, uint64_t seen);

/* Whether RESULT is no failure of CALL. */
bool hand_did(struct hand *hand, const char *call, long result);

/* Whether RESULT is the failure of CALL with ERROR, and errno says so. */
bool hand_failed(struct hand *hand, const char *call, long result, int error);

/* Makes the file NAME with LEN bytes of BYTE. */
bool hand_make_file(struct hand *hand, const char *name, int byte, size_t len);

/* Whether the file NAME has LEN bytes, the first of which is BYTE, as open, read and stat see it. */
bool hand_is_file(struct hand *hand, const char *name, int byte, size_t len);

/* Whether NAME is in the listing of the directory, as asked of a fresh stream. */
bool hand_is_listed(struct hand *hand, const char *name, bool expected);
