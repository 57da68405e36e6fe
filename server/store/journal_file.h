/* The file of the journal: a header, and areas of equal size that are taken and given back. Mapped where what
 * was allocated stays allocated (state_recent.c says why), else kept in memory and written to. No locks: the
 * journal's. */
#ifndef PH_SERVER_STORE_JOURNAL_FILE_H
#define PH_SERVER_STORE_JOURNAL_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/limits.h"

enum {
    PH_JOURNAL_RECORD_BYTES = 1280,
    PH_JOURNAL_AREA_HEADER_BYTES = 4096,
    PH_JOURNAL_AREA_BYTES = PH_JOURNAL_AREA_HEADER_BYTES + PH_SESSION_SLOTS * PH_JOURNAL_RECORD_BYTES,
};

struct ph_journal_file;

/* As ph_journal_open. *CONTINUED: what stands in it may be believed; else it is empty. */
struct ph_journal_file *ph_journal_file_open(const char *directory, const uint8_t *volume, bool look,
                                             bool *continued, GError **error);
/* CLEAN as of ph_journal_close. NULL is fine. */
void ph_journal_file_close(struct ph_journal_file *file, bool clean);

/* Areas that the file has room for now. */
size_t ph_journal_file_areas(const struct ph_journal_file *file);
/* One of them, PH_JOURNAL_AREA_BYTES bytes, to be read; changes go through `put`. */
uint8_t *ph_journal_file_area(struct ph_journal_file *file, size_t index);
/* Room for more areas. False: there is none, said in the log once. */
bool ph_journal_file_grow(struct ph_journal_file *file);

/* Puts LEN bytes to AT, which lies in an area. */
void ph_journal_file_put(struct ph_journal_file *file, uint8_t *at, const void *bytes, size_t len);

/* When something was last done, in ns since 1970. */
void ph_journal_file_alive(struct ph_journal_file *file, uint64_t now_ns);
uint64_t ph_journal_file_alive_ns(const struct ph_journal_file *file);

/* Checksum to begin those of the volume's records with. */
uint32_t ph_journal_file_seed(const struct ph_journal_file *file);

#endif
