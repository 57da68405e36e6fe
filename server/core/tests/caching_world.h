/* The core with a store in memory and clients that cache, stepped by hand. */
#ifndef PH_SERVER_CORE_TESTS_CACHING_WORLD_H
#define PH_SERVER_CORE_TESTS_CACHING_WORLD_H

#include <glib.h>

#include "ph_dispatch.h"
#include "server/core/look.h"
#include "server/core/server_core.h"
#include "server/core/tests/fake_store.h"

struct world {
    struct ph_fake_store *fake;
    struct ph_server_export export;
    struct ph_server *server;
    GByteArray *log;
    bool inside, hold_runs;
    GQueue runs; /* calls that may be run again, while they are held */
};

struct client {
    struct world *world;
    struct ph_server_conn *conn;
    uint64_t next_id;
    uint32_t next_sequence;
    uint32_t close_status;
    unsigned fenced;
    GHashTable *replies; /* id -> struct reply */
    GPtrArray *recalls;  /* Pohmel__RecallEvent, packed as GBytes */
    GPtrArray *glimpses; /* Pohmel__GlimpseEvent, the same */
};

struct reply {
    uint32_t status;
    GBytes *message;
    bool payload;
};

void world_init(struct world *world);
void world_clear(struct world *world);
/* The server is killed, its clients gone before, and started again. */
void world_restart(struct world *world, uint64_t now_ms);
void world_tick(struct world *world, uint64_t now_ms);

/* Leases of all sessions of the first export. */
size_t world_leases(struct world *world);

/* Lets the calls that were held run. */
void world_let_run(struct world *world);

/* A connection without a session. */
void client_connect(struct client *client, struct world *world);

enum {
    OPEN_CACHES = 1,
    OPEN_WRITES = 2,
    OPEN_RESUMABLE = 4,
    OPEN_RESUMES = 8,
    OPEN_TELLS = 16,
    OPEN_RANGES = 32
};

/* SESSION_OPEN; WHAT is of the above. The id of the request. */
uint64_t client_open(struct client *client, uint8_t who, uint64_t number, unsigned what);

/* A transaction in SLOT with SEQUENCE. */
uint64_t client_transact(struct client *client, Pohmel__Change *change, uint32_t slot, uint32_t sequence);

/* CACHES: its session has leases. */
void client_init(struct client *client, struct world *world, uint8_t who, uint64_t number, bool caches);
/* Its session has leases and makes changes in its cache. */
void client_init_writing(struct client *client, struct world *world, uint8_t who, uint64_t number);
/* The same, and it answers glimpses. */
void client_init_telling(struct client *client, struct world *world, uint8_t who, uint64_t number);
void client_clear(struct client *client);

/* Sends a request, which is run; its id. */
uint64_t client_send(struct client *client, uint16_t command, const ProtobufCMessage *message);
uint64_t client_change(struct client *client, Pohmel__Change *change, uint32_t payload_len);
/* Several commands as one transaction. */
uint64_t client_changes(struct client *client, Pohmel__Change **changes, size_t count);
void client_cancel(struct client *client, uint64_t id);

/* Status of the answer to ID, PH_PENDING for none yet. */
uint32_t client_status(struct client *client, uint64_t id);

/* The message of the answer to ID, which was OK; pohmel__..._free_unpacked by the caller. */
ProtobufCMessage *client_message(struct client *client, uint64_t id, const ProtobufCMessageDescriptor *type);

/* Whether the answer to ID brought a payload. */
bool client_brought(struct client *client, uint64_t id);

/* Shorthands. LEASE is filled with the lease in the answer. */
uint64_t client_getattr(struct client *client, uint64_t object, uint64_t *lease);
uint64_t client_lookup(struct client *client, const char *name, uint64_t *lease, uint64_t *directory_lease);
uint64_t client_create(struct client *client, const char *name, uint64_t object, bool truncate);
uint64_t client_remove(struct client *client, const char *name, uint64_t expected);
uint64_t client_rename(struct client *client, const char *from, const char *to);
uint64_t client_acquire(struct client *client, uint64_t object, uint32_t mode);
uint64_t client_acquired(struct client *client, uint64_t id);
void client_release(struct client *client, uint64_t lease, bool keep);

/* OPEN for reading and writing; REOPEN: as after a restart of the server. */
uint64_t client_open_file(struct client *client, uint64_t object, uint64_t handle, bool reopen);
/* LOCK of the first ten bytes. */
uint64_t client_lock_file(struct client *client, uint64_t object, uint64_t handle, bool wait);

/* The INDEXth recall: its lease, and the mode that may be kept. */
uint64_t client_recalled(struct client *client, guint index, uint64_t object, uint32_t keep);

#endif
