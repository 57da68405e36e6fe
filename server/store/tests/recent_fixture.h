/* State directories, and objects to remember in them. */
#ifndef PH_SERVER_STORE_TESTS_RECENT_FIXTURE_H
#define PH_SERVER_STORE_TESTS_RECENT_FIXTURE_H

#include <sqlite3.h>

#include "server/store/state_recent.h"

enum { RECORD_BYTES = 64 /* of a change with a name of one letter */ };
/* A file of so many bytes is full after that many changes, and then it is the other file's turn. */
enum { TURN_CHANGES = 2, TURN_BYTES = 2 * TURN_CHANGES * RECORD_BYTES };

extern const uint8_t ph_recent_volume[16];
extern const struct ph_state_root ph_recent_root;

/* A new directory, on the disk that the test is for; to be dropped with all that is in it. */
char *ph_recent_directory(void);
void ph_recent_drop(char *path);

/* Object N, in all that is remembered of it; and that FOUND is so. */
struct ph_state_row ph_recent_row(uint64_t n);
void ph_recent_expect(const struct ph_state_row *found, uint64_t n);

/* Opens the database in DIRECTORY, as that of the export WHERE. */
struct ph_state_db *ph_recent_db(const char *directory, const struct ph_state_root *where);
/* Keeps that database from committing, until it is closed or this process ends. */
sqlite3 *ph_recent_hold(const char *directory);

/* That object N is there, or is REMOVED, as the next change. */
bool ph_recent_append(struct ph_state_recent *recent, uint64_t n, bool removed);

#endif
