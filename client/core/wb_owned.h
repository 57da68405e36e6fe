/* What the server has applied and not yet made stable: kept here, with its bytes, until it is, so that a
 * server whose machine loses power loses nothing while its client lives (MOESI Owned). Whoever holds the
 * leases meanwhile. docs/decisions/0015-owned.md; docs/protocol.md, 9.15. */
#ifndef PH_CLIENT_CORE_WB_OWNED_H
#define PH_CLIENT_CORE_WB_OWNED_H

#include "client/core/wb_private.h"

/* One change, as it was answered. */
struct wb_owned_change {
    struct wb_owned_change *next;
    uint64_t number;
    uint64_t applied_ms;
    uint64_t objects[2]; /* what it is about (0: a move that did not say), and what it replaced; 0 for none */
    uint64_t offset;     /* WRITE: where the bytes went */
    uint64_t version;    /* that the object had after it; 0: nobody said */
    uint16_t command;
    bool over;       /* it cannot be made again */
    uint8_t *packed; /* a Change */
    size_t len;
    struct ph_blob *payload; /* a reference, or NULL */
};

/* What is known of an object that changes of the list are about. */
struct wb_owned_object {
    struct ph_lru_entry lru; /* object */
    unsigned changes;
    uint64_t version; /* the highest that a change of ours was answered with */
    bool moved;       /* a change of ours moved it without our being told */
    struct ph_cached_time
        modified; /* the latest that a change of ours was answered with, or may have given */
    bool untimed; /* a change of ours that was not answered may have given a later one */
    bool given;   /* its lease went meanwhile: others may have changed it */
    bool lost;    /* so did the session */
    bool made;    /* by a change of the list */
    int names;    /* that it was given, less those that were taken away */
    /* While changes are made again: */
    bool looked;                  /* the server was asked about it */
    bool there;                   /* it has it */
    bool conflict;                /* others have changed it */
    struct wb_owned_stand *stand; /* NULL where it has the name that the changes up to now gave it */
    uint64_t aside;               /* directory in which it was given a name of its own; 0: never */
};

enum { WB_DOUBTS_MAX = 4 }; /* programs that publish at the same time, through one mount */

/* A transaction of several commands that was not answered: wb_doubt.h. */
struct wb_doubt {
    uint64_t key, since;
    uint64_t number; /* of the last change that was kept when it was sent */
};

enum wb_owned_step {
    WB_OWNED_OUTCOME,  /* whether a transaction that was not answered was executed: before all others */
    WB_OWNED_LOOK,     /* whether the object is there, and as it was left */
    WB_OWNED_AGAIN,    /* the same by opening it: somebody else, who writes it, was asked instead of it */
    WB_OWNED_OLD,      /* RENAME: what is under the old name */
    WB_OWNED_NEW,      /* RENAME: what is under the new one */
    WB_OWNED_REPLACED, /* RENAME: what it replaces is removed from where it stands meanwhile */
    WB_OWNED_CHANGE,   /* the change itself */
    WB_OWNED_OPEN,     /* for what goes through a handle */
    WB_OWNED_DATA,
    WB_OWNED_ATTRIBUTES, /* of what was made with some */
};

/* The list, and what is being done about it. In the order of the answers, but for changes of one object,
 * which are in that of its versions: answers overtake each other. */
struct wb_owned {
    struct wb_owned_change *first, *last;
    struct ph_lru objects;
    uint64_t bytes, last_number;
    bool syncing;
    uint64_t sync_number; /* of the last change that the SYNC under way makes stable */
    uint64_t sync_after_ms;
    bool hurry; /* something was changed that cannot be kept */
    uint64_t epoch;
    bool lost; /* the server has lost what it had not made stable */
    struct wb_doubt doubts[WB_DOUBTS_MAX];
    size_t doubt_count;
    /* Making it again. */
    bool again;
    bool ready; /* AT is to be begun */
    struct wb_owned_change *at;
    enum wb_owned_step step;
    uint64_t handle, moved; /* MOVED: what is under the old name of a RENAME */
    bool moved_directory;   /* that is one */
    unsigned stands;        /* objects that do not have their name, wb_owned_stand.c */
    Pohmel__Change *change; /* of AT */
    struct ph_wb_call *held_first, *held_last;
    uint64_t restored, lost_changes; /* counted */
};

/* Whether changes are kept at all. */
static inline bool wb_keeps(const struct ph_wb *wb)
{
    return wb->config.owned_limit_bytes > 0;
}

/* CALL, which is or was a transaction, is answered with REPLY: what was changed is kept. */
void wb_owned_answered(struct ph_wb *wb, const struct ph_wb_call *call, const struct ph_reply *reply,
                       const struct ph_wb_now *now);

/* The lease on OBJECT goes: others may change it from now on. */
void wb_owned_given(struct ph_wb *wb, uint64_t object);

/* CALL, a SYNC that was sent on, is answered with REPLY. */
void wb_owned_synced(struct ph_wb *wb, const struct ph_wb_call *call, const struct ph_reply *reply);

/* Bytes that are kept beyond what is allowed: they count as dirty. */
uint64_t wb_owned_excess(const struct ph_wb *wb);

/* Time passed, or there is more: has everything made stable if it is time for that. */
void wb_owned_tick(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* CALL of kind OWNED was answered. */
void wb_owned_call_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                            const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* An empty list. */
void wb_owned_init(struct ph_wb *wb);

/* The session is over. */
void wb_owned_session_lost(struct ph_wb *wb);

/* Frees all of it. */
void wb_owned_free(struct ph_wb *wb);

/* Takes the change behind PREVIOUS (NULL: the first) out of the list, and frees it. */
void wb_owned_drop(struct ph_wb *wb, struct wb_owned_change *previous);

/* What is known of OBJECT, or NULL. */
struct wb_owned_object *wb_owned_find(const struct ph_wb *wb, uint64_t object);

/* Attributes of the object that RESULT is about, or NULL. */
const Pohmel__Attr *wb_owned_attr(const Pohmel__ChangeResult *result);

/* What a change with COMMAND does, for people. */
const char *wb_owned_describe(unsigned command);

/* Whether others changed O since, as ATTR tells: its version says so (none: others are writing it now); where
 * that is not known, and it was not ours all the time, the time of its data, if no change of ours gave it.
 * Directories are not compared: names in them go by ids. */
bool wb_owned_is_changed(const struct wb_owned_object *o, const Pohmel__Attr *attr);

/* Whether a change with COMMAND that is answered STATUS was made before. */
bool wb_owned_was_done(unsigned command, uint32_t status);

/* Whether TIME (may be NULL) is later than THAN. */
bool wb_owned_is_later(const Pohmel__Time *time, const struct ph_cached_time *than);

/* ATTR is of an object that a change of ours was just made to. */
void wb_owned_version(struct ph_wb *wb, const Pohmel__Attr *attr);

/* wb_owned_again.c: a new session of a server that lost what was not stable. */

/* Begins to make all that is kept again, if the server lost some of it. Nothing else is sent before that is
 * done. */
void wb_owned_again(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* A command of that was answered. */
void wb_owned_again_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                             const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* CALL waits for that; true if it does. */
bool wb_owned_hold(struct ph_wb *wb, struct ph_wb_call *call);

#endif
