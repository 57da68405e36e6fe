/* Where objects were last seen: object -> (directory, name). A server that
 * forgot an object in a restart learns it again when its path is walked.
 * Bounded; the entry used least recently goes first. Hints may be wrong, so
 * what a walk leads to is compared with the object wanted. Pure; not thread safe. */
#ifndef PH_CLIENT_CORE_HINTS_H
#define PH_CLIENT_CORE_HINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PH_HINT_DEPTH_MAX = 4096 }; /* longer chains of hints are not followed */

struct ph_hints;

/* One name on the way from the root to an object. */
struct ph_hint_step {
    uint64_t object;     /* what the name is expected to stand for */
    const uint8_t *name; /* borrowed from the table: until it changes */
    size_t len;
};

/* Remembers CAPACITY objects at most. Never NULL. */
struct ph_hints *ph_hints_new(size_t capacity);

/* NULL is fine. */
void ph_hints_free(struct ph_hints *hints);

/* OBJECT is NAME (1 to 255 bytes) in PARENT. What was known of OBJECT is replaced. */
void ph_hints_learn(struct ph_hints *hints, uint64_t object, uint64_t parent, const void *name, size_t len);

/* OBJECT was used, and so was all that is known of the way to it. */
void ph_hints_touch(struct ph_hints *hints, uint64_t root, uint64_t object);

/* The way from ROOT to OBJECT: up to MAX steps into STEPS, from the root down.
 * Returns their number; 0 when the way is not known, is longer than MAX or runs in a circle. */
size_t ph_hints_path(struct ph_hints *hints, uint64_t root, uint64_t object, struct ph_hint_step *steps,
                     size_t max);

/* Where OBJECT was seen last: its directory, and (borrowed until the table changes) its name. False: not
 * known. Does not count as use. */
bool ph_hints_place(const struct ph_hints *hints, uint64_t object, uint64_t *parent,
                    struct ph_hint_step *step);

/* Number of objects remembered. */
size_t ph_hints_count(const struct ph_hints *hints);

#endif
