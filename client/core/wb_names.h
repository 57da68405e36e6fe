/* The names of one directory as this client has them: those that the server told
 * and those that are on their way to it. Pure; not thread safe. Memory that cannot
 * be had ends the process. Names have 1 to PH_NAME_MAX_BYTES bytes. */
#ifndef PH_CLIENT_CORE_WB_NAMES_H
#define PH_CLIENT_CORE_WB_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PH_WB_UNKNOWN UINT64_MAX /* what an entry stands for when only the server can tell */

/* One name. Only `op` is the user's to change. */
struct ph_wb_name {
    uint64_t object;          /* 0: known not to be there; PH_WB_UNKNOWN: ask */
    void *op;                 /* the last pending operation on this name, or NULL */
    uint64_t seq;             /* order of making, from 1; never used twice in a directory */
    struct ph_wb_name *chain; /* private */
    uint32_t place;           /* private */
    uint8_t len, name[];
};

struct ph_wb_names;

enum ph_wb_name_is {
    PH_WB_NAME_UNKNOWN,
    PH_WB_NAME_ABSENT,
    PH_WB_NAME_PRESENT,
};

/* New, empty and not whole. Never NULL. */
struct ph_wb_names *ph_wb_names_new(void);

/* The entries with it, whatever their op. NULL is fine. */
void ph_wb_names_free(struct ph_wb_names *names);

/* The entry of NAME, or NULL. It stays where it is until it is removed. */
struct ph_wb_name *ph_wb_names_find(const struct ph_wb_names *names, const void *name, size_t len);

/* NAME stands for OBJECT (or 0, or PH_WB_UNKNOWN) from now on. Makes the entry, last in order and with
 * op NULL, or changes the one there is, which keeps its op and its seq. Never NULL. */
struct ph_wb_name *ph_wb_names_put(struct ph_wb_names *names, const void *name, size_t len, uint64_t object);

/* Forgets ENTRY, which is one of NAMES. */
void ph_wb_names_remove(struct ph_wb_names *names, struct ph_wb_name *entry);

/* What is known of NAME, its object in *OBJECT (0 unless PRESENT). A name without an entry is
 * ABSENT when NAMES are whole. */
enum ph_wb_name_is ph_wb_names_lookup(const struct ph_wb_names *names, const void *name, size_t len,
                                      uint64_t *object);

/* Number of entries that stand for an object. */
size_t ph_wb_names_present(const struct ph_wb_names *names);

/* Number of entries that are PH_WB_UNKNOWN. */
size_t ph_wb_names_unknown(const struct ph_wb_names *names);

/* Number of entries of any kind. */
size_t ph_wb_names_count(const struct ph_wb_names *names);

/* The entry made next after PREVIOUS (NULL: the first of all), absent and unknown ones too; NULL at the end.
 * To remove entries on the way, ask for the next one first. */
struct ph_wb_name *ph_wb_names_next(const struct ph_wb_names *names, const struct ph_wb_name *previous);

/* Whether names without an entry are known not to exist. */
void ph_wb_names_set_whole(struct ph_wb_names *names, bool whole);
bool ph_wb_names_is_whole(const struct ph_wb_names *names);

/* Forgets what the server told: all entries with op NULL, and that NAMES are whole. Those with an op stay
 * as they are. */
void ph_wb_names_clear(struct ph_wb_names *names);

#endif
