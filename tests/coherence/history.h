/* What was done to the objects of one export, by whom, when, and with which
 * answer: the material that the checker judges.
 *
 * One system call may be several events: stat(2) tells several attributes, each
 * of which is an object of its own; a listing tells of every name whether it
 * was there. All of them then carry the times of the call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PH_SLOTS = 4,         /* names of one PH_MODEL_NAMES object */
    PH_RECORD_BYTES = 64, /* a record of a PH_MODEL_LOG object */
    PH_WORKERS_MAX = 16,
};

/* How an object behaves. */
enum ph_model {
    PH_MODEL_REGISTER, /* one value: a word of data, a mode, a size, a target */
    PH_MODEL_NAMES,    /* PH_SLOTS names, each absent or standing for a file or a directory */
    PH_MODEL_LOG,      /* records that are only ever appended */
    PH_MODEL_WORDS,    /* PH_SLOTS registers that are judged together */
};

/* What an event did (it succeeded), or what it saw. */
enum ph_deed {
    PH_SET,      /* register: VALUE was stored; words: in SLOT */
    PH_GET,      /* register: VALUE was seen; words: in SLOT */
    PH_ADD,      /* names: SLOT was absent and stands for VALUE now */
    PH_PUT,      /* names: SLOT stands for the file VALUE now; it was absent or a file */
    PH_DROP,     /* names: SLOT was there, and a directory if VALUE is PH_DIRECTORY, a file otherwise */
    PH_MOVE,     /* names: SLOT to SLOT2, replacing what was there */
    PH_MOVE_NEW, /* names: SLOT to SLOT2, which was absent */
    PH_SWAP,     /* names: SLOT and SLOT2 exchanged */
    PH_NAMED,    /* names: SLOT was seen to stand for VALUE; 0: absent */
    PH_HAS,      /* names: SLOT was seen to be there (VALUE 1) or not (0) */
    PH_KIND,     /* names: SLOT was seen to be a directory (VALUE 1) or a file (0) */
    PH_COUNT,    /* names: VALUE of the names were seen to be there */
    PH_ALIVE,    /* names: some name (EXTRA 1) or none (0) stands for VALUE */
    PH_LINKS,    /* names: EXTRA of the names were seen to stand for the file VALUE */
    PH_APPEND,   /* log: the record VALUE was appended */
    PH_LENGTH,   /* log: VALUE bytes were seen; EXTRA is their hash, 0 when only the size was */
};

/* The VALUE of all directories: they are not told apart. Files have other values below 1 << 63. */
#define PH_DIRECTORY (UINT64_C(1) << 63)

struct ph_event {
    uint64_t begin_ns, end_ns; /* CLOCK_MONOTONIC just before and just after the call */
    uint64_t value, extra;
    const char *call; /* for the report */
    uint16_t object;
    uint8_t deed, slot, slot2;
    uint8_t worker, mount;
    bool maybe; /* its answer was lost: it happened until its end, or not at all */
    uint32_t
        transaction; /* not 0: with all others of that number in one moment, in the order of the events */
    struct ph_event *then; /* of the checker: the next one of the transaction */
};

struct ph_object {
    const char *name;
    enum ph_model model;
    const char
        *slot[PH_SLOTS]; /* PH_MODEL_NAMES, PH_MODEL_WORDS: how they are called; NULL where there is none */
};

/* A value that no other worker stores: who, and which of his. Below 1 << 29, so that
 * it is good as a user id, a time in seconds and a size. */
#define PH_VALUE(worker, number) (((uint64_t) (worker) + 1) << 24 | (number))
#define PH_VALUE_WORKER(value) ((unsigned) ((value) >> 24) - 1)
#define PH_VALUE_NUMBER(value) ((unsigned) ((value) &0xffffff))

/* Hash of LEN bytes of a log, never 0. Start with HASH 0 or go on from that of the bytes before. */
uint64_t ph_log_hash(uint64_t hash, const void *data, size_t len);
