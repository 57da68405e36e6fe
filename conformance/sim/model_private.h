/* Inside of the model store. */
#ifndef PH_CONFORMANCE_SIM_MODEL_PRIVATE_H
#define PH_CONFORMANCE_SIM_MODEL_PRIVATE_H

#include "conformance/sim/model_store.h"
#include "ph_commands.h"

enum { MODEL_FILE_MAX_BYTES = 32768 }; /* more than all appends of a long world */

struct model_entry {
    GBytes *name;
    uint64_t object;
};

struct model_object {
    uint64_t id, version;
    uint64_t inode; /* is its id where no client gave it one, and outlives that */
    uint32_t mode, links, uid;
    struct timespec modified; /* the data */
    GPtrArray *entries;       /* struct model_entry; NULL for files */
    uint8_t data[MODEL_FILE_MAX_BYTES];
    gsize size;
};

/* A value that a register held from a moment on. */
struct model_moment {
    uint64_t object, value, from_us;
};

struct model_handle {
    uint64_t session, handle, object;
};

/* What was answered to a transaction; kept with its effect. */
struct model_record {
    uint8_t client[PH_CLIENT_ID_BYTES];
    uint64_t session, epoch;
    uint32_t slot, sequence, crc;
    GBytes *reply; /* NULL: that it was done is all that is known */
};

/* What became of the transaction KEY: it was executed, or never will be. Stable. */
struct model_outcome {
    uint8_t client[PH_CLIENT_ID_BYTES];
    uint64_t key;
    gboolean done;
};

/* A transaction of several commands that is being executed, or undone. */
struct model_undo {
    gboolean running, done; /* DONE: it will not be undone */
    GPtrArray *before;      /* GHashTable of objects: before each of its commands */
    GArray *made, *opened;  /* uint64_t: ids that it gave to objects, and its handles */
    guint moments;          /* there were that many */
    gboolean in_slot;
    struct model_record of; /* whose it is */
    uint64_t key;           /* 0: none */
};

struct model_store {
    struct ph_store interface;
    const uint64_t *now_us;
    GHashTable *objects; /* uint64_t -> struct model_object */
    GArray *moments;     /* struct model_moment */
    GHashTable *used;    /* ids that objects ever had */
    GArray *handles;     /* struct model_handle */
    uint64_t epoch;
    gboolean dead; /* its server died */
    uint32_t fail_status;
    unsigned fail_changes, fail_syncs; /* that many fail with it */
    GPtrArray *records;                /* struct model_record */
    GArray *sessions;                  /* struct ph_store_session */
    uint64_t next_id;                  /* first id not given out yet */
    uint64_t next_inode;               /* of what is made */
    uint64_t last_version;             /* of all objects: none has one twice, whatever was lost */
    struct model_undo undo;
    GArray *outcomes;            /* struct model_outcome */
    void (*between)(void *data); /* called between its steps; or NULL */
    void *between_data;
    /* model_power.c */
    gboolean keeps_states;
    GPtrArray *states;    /* GHashTable of objects: before each change since all was made stable last */
    GHashTable *floors;   /* id -> how many changes had been made when the object was made stable since */
    guint names_floor;    /* the same, of a SYNC that takes names along */
    guint last_floor;     /* of any; ids are stable with it */
    GHashTable *lost_ids; /* inode -> the id that was lost with power */
    gboolean broken;      /* power was lost before this start */
    uint64_t unbroken;    /* the start since which nothing was lost */
    char *violation;
};

/* The object, or NULL. */
struct model_object *model_find(struct model_store *store, uint64_t object);

/* New object without a name; NULL where the id was used. Notes a violation when it was never given out.
 * AGAIN: its maker says that it was made under that id before: what the database knows of that is no
 * hindrance, where the object is not there. */
struct model_object *model_add(struct model_store *store, uint64_t id, uint32_t mode, gboolean again);

/* The same of a file that no client made. */
struct model_object *model_add_found(struct model_store *store);

/* The entry of that name, or NULL. */
struct model_entry *model_entry(const struct model_object *directory, ProtobufCBinaryData name);

/* OBJECT gets a version that no object has had. */
void model_touch(struct model_store *store, struct model_object *object);

/* Gives OBJECT a name; takes one away, and with the last name (and no handle) the object. */
void model_link(struct model_store *store, struct model_object *directory, ProtobufCBinaryData name,
                struct model_object *object);
void model_unlink(struct model_store *store, struct model_object *directory, struct model_entry *entry);

/* Attributes of OBJECT, in ARENA. */
void model_attr(struct ph_arena *arena, const struct model_object *object, Pohmel__Attr *attr);
Pohmel__Attr *model_new_attr(struct ph_arena *arena, const struct model_object *object);

/* The open handle, or NULL. */
struct model_handle *model_handle(struct model_store *store, uint64_t session, uint64_t handle);
void model_handle_add(struct model_store *store, uint64_t session, uint64_t handle, uint64_t object);

/* Notes the first violation. */
void model_violate(struct model_store *store, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A copy of OBJECTS, all there are. */
GHashTable *model_copy_objects(GHashTable *objects);

/* What has no name and is not open goes. */
void model_drop_unused(struct model_store *store);

/* Executes the commands of REQUEST, all or nothing; its results are there, and empty. After a kill it is
 * undone, or recorded. model_several.c */
uint32_t model_several(struct model_store *store, struct ph_call *call,
                       const Pohmel__TransactRequest *request, Pohmel__TransactReply *reply);
void model_several_recover(struct model_store *store);
void model_several_init(struct model_store *store);
void model_several_clear(struct model_store *store);

/* Power is lost during one: it is undone, unless its end mark was STABLE. */
void model_several_lose_power(struct model_store *store, gboolean stable);

/* As of struct ph_store; IO_ERROR while that very transaction is being executed. */
uint32_t model_several_outcome(void *self, struct ph_call *call, const Pohmel__OutcomeRequest *request,
                               Pohmel__OutcomeReply *reply);

/* What was answered to CALL, which was executed, is kept; as of struct ph_store. model_record.c */
void model_record_keep(struct model_store *store, const struct ph_call *call,
                       const Pohmel__TransactReply *reply);
bool model_record_find(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                       Pohmel__TransactReply *reply);
void model_record_free(void *record);

/* The transaction OF was executed before its server died, and its results are not known. */
void model_record_done(struct model_store *store, const struct model_record *of);

/* Nothing is unstable; frees what is kept for that. model_power.c */
void model_power_init(struct model_store *store);
void model_power_clear(struct model_store *store);

/* Something was changed, and before that the objects were BEFORE, which is taken over. */
void model_power_changed(struct model_store *store, GHashTable *before);

/* All that there is has been made stable. */
void model_power_all_stable(struct model_store *store);

/* REQUEST was executed: what it is about is stable. */
void model_power_synced(struct model_store *store, const Pohmel__SyncRequest *request);

/* As of struct ph_store. */
bool model_power_continued(void *self);
uint64_t model_power_unbroken(void *self);

/* Whether what ENTRY stands for, of TYPE, has the id ID since before power was lost, and with it what was
 * recorded: R-7-6. */
bool model_power_made_before(struct model_store *store, const struct model_entry *entry, uint64_t id,
                             uint32_t type);

/* The object with that inode among OBJECTS, or NULL. model_ids.c */
struct model_object *model_of_inode(GHashTable *objects, uint64_t inode);

/* Power was lost, and LEFT is there. Their ids are as the database says, which is as of when the objects were
 * ROWS. */
void model_ids_lose(struct model_store *store, GHashTable *left, GHashTable *rows);

/* What ENTRY stands for gets the id ID, which it had before power was lost: R-9.15-4. False: it may be
 * something else. */
bool model_adopt(struct model_store *store, const struct model_entry *entry, uint64_t id, uint32_t type,
                 uint64_t survivor);

extern const struct ph_store_ops model_ops;

#endif
