/* A small filesystem in memory that executes the commands of the protocol: as the server of a mount that
 * writes back (it grants leases, and knows handles), or as what its user has to see (every command at once).
 */
#ifndef PH_CLIENT_CORE_TESTS_WB_MODEL_H
#define PH_CLIENT_CORE_TESTS_WB_MODEL_H

#include <glib.h>

#include "client/core/cache.h"
#include "ph_commands.h"
#include "ph_protocol.h"
#include "runtime/wire/stub.h"

struct wb_node {
    uint64_t id, version, opens, parent;
    uint32_t mode, links, uid, gid;
    struct ph_cached_time accessed, modified, changed;
    GByteArray *data;   /* of files; the target of symbolic links */
    GHashTable *xattrs; /* text to GBytes */
    GHashTable *names;  /* of directories: text to struct wb_entry */
    uint64_t last_seq;
    uint64_t lease; /* EXCLUSIVE, of the one client; 0 for none */
    bool recalled;
    bool found;                      /* its id is one that no client gave it */
    bool others;                     /* write it, too: it is granted in ranges only */
    uint64_t range_start, range_len; /* of the lease, while OTHERS */
};

struct wb_entry {
    uint64_t id, seq;
};

struct wb_model {
    GHashTable *nodes, *handles;
    struct ph_cached_time now;
    bool is_server;          /* it grants leases, and a handle must be open */
    unsigned refuse_percent; /* of grants that would be due */
    GRand *rand;
    uint64_t last_lease;
    unsigned quotas_of; /* quotas that it enforces; QUOTA is what each of a user or group leaves */
    struct {
        bool limited;
        uint64_t bytes, objects;
    } quota;
    uint64_t changes; /* commands that changed something */
    bool timed;       /* versions are times, as they are in real servers; it is LATEST */
    uint64_t latest;
    bool several_unstable; /* it does not say that several commands are stable */
    uint64_t done_key;     /* of the last transaction of several that was executed */
    unsigned outcomes;     /* times that it was asked what became of one */
    uint64_t released[8];  /* objects of the leases that the last release gave back */
    unsigned released_count;
};

/* With an empty root that belongs to user 1000. */
struct wb_model *wb_model_new(bool is_server, GRand *rand);
void wb_model_free(struct wb_model *model);

/* An answer; owned. */
struct wb_model_reply {
    uint32_t status;
    ProtobufCMessage *message;
    struct ph_blob *payload;
};

/* Executes COMMAND. The changes of a TRANSACT of several are executed one after the other, as far as they can
 * be. */
void wb_model_execute(struct wb_model *model, uint16_t command, const ProtobufCMessage *message,
                      const struct ph_blob *payload, struct wb_model_reply *out);
void wb_model_reply_clear(struct wb_model_reply *reply);

struct wb_node *wb_model_node(const struct wb_model *model, uint64_t id);

/* NAME in DIRECTORY survived a loss of power, and its id did not: it is ID now. */
void wb_model_survives(struct wb_model *model, uint64_t directory, const char *name, uint64_t id,
                       uint32_t mode);

/* All handles are closed, and all leases over. */
void wb_model_end_session(struct wb_model *model);

/* The command inside a TRANSACT, and its message; or COMMAND itself. */
uint16_t wb_model_inner(uint16_t command, const ProtobufCMessage *message, const ProtobufCMessage **inner);

/* Words for how A and B differ in ID, itself without what is below; NULL when they do not. Owned. */
char *wb_model_differ(const struct wb_model *a, const struct wb_model *b, uint64_t id);

/* The same of everything that has a name. */
char *wb_model_differ_all(const struct wb_model *a, const struct wb_model *b);

#endif
