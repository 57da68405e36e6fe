/* The list of sessions that outlive the server: a table of the state database, with a connection of its own.
 * What was put in is there after the end of the process, however it ends; after the loss of power it may not
 * be. All functions but open and close may be called from any thread; they may wait for the disk, and open no
 * file. */
#ifndef PH_SERVER_STORE_STATE_SESSIONS_H
#define PH_SERVER_STORE_STATE_SESSIONS_H

#include <glib.h>
#include <stdbool.h>

#include "server/store/store.h"

struct ph_state_sessions;

/* The list of VOLUME (16 bytes) in DIRECTORY/pohmel.db, which exists. What other volumes had there is
 * forgotten. NULL with ERROR in words. */
struct ph_state_sessions *ph_state_sessions_open(const char *directory, const uint8_t *volume,
                                                 GError **error);
void ph_state_sessions_close(struct ph_state_sessions *list); /* NULL is fine */

/* As of struct ph_store. `put` returns false, having told the log, where the database failed. */
bool ph_state_sessions_put(struct ph_state_sessions *list, const struct ph_store_session *session);
void ph_state_sessions_remove(struct ph_state_sessions *list, const uint8_t client[PH_CLIENT_ID_BYTES],
                              uint64_t number);
size_t ph_state_sessions_read(struct ph_state_sessions *list, struct ph_store_session *out, size_t max);

/* Forgets all. */
void ph_state_sessions_clear(struct ph_state_sessions *list);

#endif
