/* How each kind of object behaves, one event at a time. */
#pragma once

#include <stdbool.h>

#include "tests/coherence/history.h"

/* Whether EVENT changes nothing, wherever it is possible at all. */
bool ph_model_is_read(const struct ph_event *event);

/* The states in which an object of MODEL may be after EVENT happened in STATE. Returns
 * how many there are, written to NEXT: 0 when EVENT cannot have happened in STATE.
 * State 0 is that of a new object: register 0, all names absent, an empty log.
 * In PH_MODEL_NAMES identities must be numbered first (ph_names_number), in PH_MODEL_LOG
 * the records (ph_log_number), in PH_MODEL_WORDS the values (ph_words_number). */
unsigned ph_model_step(enum ph_model model, uint64_t state, const struct ph_event *event, uint64_t next[2]);

/* Writes STATE of OBJECT in words into TEXT of SIZE bytes. */
void ph_model_print_state(const struct ph_object *object, uint64_t state, char *text, size_t size);

/* Writes what EVENT did to OBJECT in words into TEXT of SIZE bytes. */
void ph_model_print_event(const struct ph_object *object, const struct ph_event *event, char *text,
                          size_t size);

/* Replaces the identities of the files in the COUNT events of a PH_MODEL_NAMES object by
 * small numbers, from 1, and directories by one with a bit of their own. False when
 * there are more than can be told apart. */
bool ph_names_number(struct ph_event **events, size_t count);

/* Replaces the values in the COUNT events of a PH_MODEL_WORDS object by small numbers, from 1. False when
 * there are more than can be told apart. */
bool ph_words_number(struct ph_event **events, size_t count);

/* Marks renames during which another rename was under way. The kernel of a client answers
 * by itself, with success, a rename of a file to a name that it has found to stand for the same file,
 * and the names are looked up one after the other: then such a rename does nothing. Not those of
 * transactions, which no kernel answers. */
void ph_names_mark_races(struct ph_event **events, size_t count);
