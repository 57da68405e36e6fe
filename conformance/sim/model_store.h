/* A store in memory, small and obvious, that remembers what was done to it: the
 * truth that a simulated world is compared with. Implements struct ph_store; what it lacks is
 * NULL. One thread. Has the clock of the world handed in. */
#ifndef PH_CONFORMANCE_SIM_MODEL_STORE_H
#define PH_CONFORMANCE_SIM_MODEL_STORE_H

#include <glib.h>

#include "runtime/base/random.h"
#include "ph_protocol.h"
#include "server/store/store.h"

enum {
    MODEL_REGISTERS = 4, /* files that exist from the start: objects FIRST.. in the root */
    MODEL_REGISTER_FIRST = 100,
    MODEL_VALUE_BYTES = 8, /* a register holds little-endian numbers of that size */
    MODEL_REGISTER_BYTES = 16,
    MODEL_LOG = 110,           /* a file that is empty at first */
    MODEL_SUB = 120,           /* a directory that is empty at first */
    MODEL_INODE_FIRST = 1000,  /* of what is made later */
    MODEL_BORN_S = 1000000000, /* what its clock shows at first */
};

struct model_store;

/* A fresh volume; registers are as long as they may be, or (EMPTY) grow as they are written. NOW_US is read
 * whenever something is done. */
struct model_store *model_store_new(const uint64_t *now_us, gboolean empty);
void model_store_free(struct model_store *store);

/* The interface that a server takes. Its `free` does nothing. */
struct ph_store *model_store_interface(struct model_store *store);

/* The server that uses it dies: nothing is changed any more. Then it is started again: handles are gone, the
 * epoch is raised, and the list of sessions is as it was. */
void model_store_die(struct model_store *store);
void model_store_restart(struct model_store *store);

/* BETWEEN is called with DATA between the steps of transactions of several commands: others may have their
 * turn there, and the server may die. */
void model_store_between(struct model_store *store, void (*between)(void *data), void *data);

/* Whether the server that uses it has died. */
gboolean model_store_is_dead(const struct model_store *store);

/* Power may be lost: from now on it is kept what is stable, and what is not. */
void model_store_may_lose_power(struct model_store *store);

/* Power is lost while the server is dead: a legal part, chosen by RANDOM, is left of what was changed since
 * it was made stable; the names as of one moment, of each file the data as of another, the ids as of a third.
 * What was recorded of transactions and who had sessions is lost. */
void model_store_lose_power(struct model_store *store, struct ph_random *random);

/* The id that what is known by INODE had, and lost with power; 0: it did not. */
uint64_t model_store_lost_id(const struct model_store *store, uint64_t inode);

/* How many were lost; whether OBJECT is one of them. */
guint model_store_ids_lost(const struct model_store *store);
gboolean model_store_has_lost(const struct model_store *store, uint64_t object);

/* Whether NAME in DIRECTORY stands, and ever stood since all was stable last, for what had no other name, and
 * is *OBJECT (0: nothing has it) or is gone: who finds the name taken after a loss of power, and makes again
 * what had it, loses nothing else. */
gboolean model_store_may_take(struct model_store *store, uint64_t directory, ProtobufCBinaryData name,
                              uint64_t *object);

/* A local program makes a file while the server is down. Its id, which is its inode; 0: the name is taken. */
uint64_t model_store_put(struct model_store *store, uint64_t directory, ProtobufCBinaryData name);

/* The next COUNT transactions (SYNCS: syncs) are refused with STATUS. */
void model_store_fail(struct model_store *store, uint32_t status, unsigned count, gboolean syncs);

/* How often the write of VALUE took effect. Values are unique. */
guint model_store_writes_of(struct model_store *store, uint64_t value);

/* Whether a register held VALUE at some moment from FROM_US to TO_US. */
gboolean model_store_held(struct model_store *store, uint64_t object, uint64_t value, uint64_t from_us,
                          uint64_t to_us);

/* What a register holds now. */
uint64_t model_store_value(struct model_store *store, uint64_t object);

/* What OBJECT, a file that exists, consists of now; its length in *LEN. */
const uint8_t *model_store_data(struct model_store *store, uint64_t object, size_t *len);

/* Handles open now. */
guint model_store_handles(struct model_store *store);

/* What no server may do to a store (an id used twice, one that was not given out), or NULL. */
const char *model_store_violation(struct model_store *store);

#endif
