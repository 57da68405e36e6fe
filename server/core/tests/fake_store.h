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
