/* A store in memory for the server's own tests: one directory of small files,
 * and commands that can be made to hang. */
#ifndef PH_SERVER_CORE_TESTS_FAKE_STORE_H
#define PH_SERVER_CORE_TESTS_FAKE_STORE_H

#include "server/store/store.h"

enum {
    PH_FAKE_HANGS = 900, /* GETATTR of this object waits until ph_fake_store_let_go */
};

struct ph_fake_store;

struct ph_fake_store *ph_fake_store_new(void);
struct ph_store *ph_fake_store_interface(struct ph_fake_store *fake);
void ph_fake_store_free(struct ph_fake_store *fake);

/* It keeps a list of sessions. To be said before a server uses it. */
void ph_fake_store_keep_list(struct ph_fake_store *fake);

/* The server that used it has ended without a word: handles are gone, the list is as it was, and the epoch is
 * raised. */
void ph_fake_store_restart(struct ph_fake_store *fake);

/* Sessions in the list; whether NUMBER of client {WHO} is one. */
unsigned ph_fake_store_listed(struct ph_fake_store *fake);
bool ph_fake_store_lists(struct ph_fake_store *fake, uint8_t who, uint64_t number);

/* Somebody else changes OBJECT: its version grows. */
void ph_fake_store_change(struct ph_fake_store *fake, uint64_t object);

/* Commands that hang go on, now and later. */
void ph_fake_store_let_go(struct ph_fake_store *fake);

/* How many transactions were executed; handles that are open; sessions ended; commands hanging. */
unsigned ph_fake_store_transactions(struct ph_fake_store *fake);
unsigned ph_fake_store_handles(struct ph_fake_store *fake);
unsigned ph_fake_store_ended(struct ph_fake_store *fake);
unsigned ph_fake_store_hanging(struct ph_fake_store *fake);

/* NAME belongs to OBJECT from now on, whatever it belonged to. */
void ph_fake_store_give_name(struct ph_fake_store *fake, const char *name, uint64_t object);

/* CALL(DATA) is called before each transaction; NULL for none. */
void ph_fake_store_before_change(struct ph_fake_store *fake, void (*call)(void *data), void *data);

/* CALL(DATA) is called, once, when the next LOOKUP or READDIR has read what it answers. */
void ph_fake_store_after_reading(struct ph_fake_store *fake, void (*call)(void *data), void *data);

#endif
