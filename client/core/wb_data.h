/* Bytes of one file that are newer than the server's: those that were written
 * here (dirty) and, below them, those that are on their way (being sent), one
 * generation at a time. Newer bytes always hide older ones. Ranges are in
 * bytes from the file's start and end at 2^63 or before. Pure; not thread safe.
 * Memory that cannot be had ends the process. */
#ifndef PH_CLIENT_CORE_WB_DATA_H
#define PH_CLIENT_CORE_WB_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/blob.h"

struct ph_wb_data;

/* New, holding nothing. Never NULL. */
struct ph_wb_data *ph_wb_data_new(void);

/* Everything in it is lost; pieces that were handed out stay good. NULL is fine. */
void ph_wb_data_free(struct ph_wb_data *data);

/* Bytes held, dirty and being sent, for accounting: what hides and what is hidden both count. */
uint64_t ph_wb_data_bytes(const struct ph_wb_data *data);

/* Of these the dirty ones. */
uint64_t ph_wb_data_dirty_bytes(const struct ph_wb_data *data);

/* All of PAYLOAD (any length up to 2^32 - 1) becomes dirty at OFFSET, over what was there. A large one that
 * fills most of its capacity is kept by a reference of its own, without a copy, and its bytes must not be
 * changed any more; what is written behind it may go into the room that it has left (its len grows), so
 * nobody else may be using it. Small ones are copied. The caller keeps its reference. */
void ph_wb_data_write(struct ph_wb_data *data, uint64_t offset, struct ph_blob *payload);

/* Forgets everything at SIZE and beyond: dirty bytes are dropped; those being sent go on being sent, but
 * are not read or covered any more and do not come back with ph_wb_data_unsent. */
void ph_wb_data_cut(struct ph_wb_data *data, uint64_t size);

/* Whether every byte of LEN bytes from OFFSET is held; true when LEN is 0. */
bool ph_wb_data_covers(const struct ph_wb_data *data, uint64_t offset, uint64_t len);

/* Whether at least one byte of LEN bytes from OFFSET is held; false when LEN is 0. */
bool ph_wb_data_any(const struct ph_wb_data *data, uint64_t offset, uint64_t len);

/* Copies what is held of LEN bytes from OFFSET over BUFFER, the newest; other bytes of BUFFER stay. */
void ph_wb_data_read(const struct ph_wb_data *data, uint64_t offset, void *buffer, size_t len);

/* What is dirty is being sent from now on. Nothing may be being sent already. */
void ph_wb_data_take(struct ph_wb_data *data);

/* The next piece of what is being sent, in ascending order: *CURSOR is 0 at first. Adjacent extents are
 * joined into pieces of up to MAX (1 or more) bytes; a piece that lies in one extent is not copied. *PAYLOAD
 * is a reference that the caller gives back; it stays good after ph_wb_data_sent and _unsent, and must not be
 * changed. Returns false, *OFFSET and *PAYLOAD untouched, when there is no more. */
bool ph_wb_data_next(const struct ph_wb_data *data, uint64_t *cursor, size_t max, uint64_t *offset,
                     struct ph_blob **payload);

/* LEN bytes at OFFSET of what is being sent are on the server: they are dropped. */
void ph_wb_data_arrived(struct ph_wb_data *data, uint64_t offset, uint64_t len);

/* What was being sent is on the server: it is dropped. */
void ph_wb_data_sent(struct ph_wb_data *data);

/* What was being sent is not on the server: it is dirty again, below what was written since, without
 * what was cut off since. */
void ph_wb_data_unsent(struct ph_wb_data *data);

#endif
