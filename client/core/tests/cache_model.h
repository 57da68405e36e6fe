/* A small world around the cache: a server with versions, names and leases that keeps the rules, others who
 * change things, a kernel that keeps what it is told, and a network that delays and reorders. */
#ifndef PH_CLIENT_CORE_TESTS_CACHE_MODEL_H
#define PH_CLIENT_CORE_TESTS_CACHE_MODEL_H

#include "client/core/cache.h"
#include "runtime/base/random.h"

enum {
    DIRS = 3,
    OBJECTS = 8,
    NAMES = 4,
    CALLS = 24,
    OTHERS = 2,
    RECALLS = 32,
    WRITINGS = 6,
    DROPS = 8,
    PASTS = 16
};
enum { MODEL_TTL_MS = 5000, NOBODY = -1 };

/* Something that is, and what it was before. */
struct truth {
    uint64_t value;
    struct {
        uint64_t value, until_ms;
    } past[PASTS];
    unsigned pasts;
};

enum call_kind { GETATTR, LOOKUP, LIST, SETATTR, LINK, REMOVE, RENAME, RELEASE };
enum call_state { FREE, SENT, EXECUTED, ANSWERED };

/* Attributes in a reply. */
struct said {
    int object; /* NOBODY: not said */
    uint64_t version, lease;
};

struct call {
    enum call_state state;
    enum call_kind kind;
    int dir, name, dir2, name2, object; /* what it is about */
    struct ph_cache_ask ask;
    struct ph_cache_change change;
    bool failed;       /* it changed nothing */
    bool alone;        /* no other change of its directories ran at the same time */
    uint64_t moved_id; /* RENAME: what the client believes it moves */
    int affected[5];   /* objects that it changes at the server, or NOBODY */
    /* The reply. */
    uint64_t since; /* clock of the server when it was read */
    struct said dir_said, said[NAMES];
    uint64_t entry[NAMES];
    /* LIST */
    int part;
    struct ph_cache_listing listing;
    /* RELEASE */
    size_t id_count;
    uint64_t ids[64];
};

struct other {
    bool active, name_op;
    int dir, name, object; /* OBJECT or NOBODY gets NAME in DIR; or OBJECT is touched */
};

struct server {
    struct truth attr[OBJECTS], name[DIRS][NAMES];
    uint64_t lease[OBJECTS], changed[OBJECTS], clock, next_lease, next_version;
    bool recalled[OBJECTS]; /* said so in this connection */
    bool open;
    uint64_t last_answer_ms;
    struct other others[OTHERS];
};

struct kept {
    bool there;
    uint64_t value, until_ms;
};

/* A reply to the kernel on its way. */
struct writing {
    bool used;
    int dir, name, object; /* NOBODY: not about a name, or no object */
    uint64_t entry_until_ms, attr_until_ms, version, epoch;
    uint64_t name_stamp, attr_stamp;
};

struct kernel {
    struct kept attr[OBJECTS], name[DIRS][NAMES];
    uint64_t refs[OBJECTS], epoch;
    uint64_t attr_stamp[OBJECTS], name_stamp[DIRS][NAMES]; /* own changes seen */
    struct writing writings[WRITINGS];
};

struct model {
    struct ph_random random;
    uint64_t server_ms;
    bool watched;
    unsigned changes_per_mille; /* among what the client asks for */
    struct server server;
    struct kernel kernel;
    struct call calls[CALLS];
    struct {
        bool used;
        int object;
        uint64_t lease;
    } recalls[RECALLS];
    struct {
        bool used;
        int object;
        uint64_t lease, generation;
        size_t names;
    } drops[DROPS];
    int attr_running[OBJECTS], name_running[DIRS][NAMES], dir_running[DIRS]; /* changes of the client */
    struct ph_cache *cache;
    struct ph_cache_work work;
    uint64_t generation;
    bool connected;
    uint64_t weight[16], weights; /* of what happens, drawn anew for each seed */
    uint64_t answers, listings;   /* served from the cache */
};

/* The object id of index OBJECT, and back. */
uint64_t model_id(int object);
int model_index(uint64_t id);

uint64_t model_client_ms(const struct model *m); /* the client's clock is slow, as far as is allowed */
int model_pick(struct model *m, int bound);
void truth_set(struct truth *truth, uint64_t value, uint64_t now_ms);

/* cache_model_server.c */
void server_init(struct model *m);
void server_execute(struct model *m, struct call *call);
void server_answer(struct model *m, struct call *call);
void server_others(struct model *m);
void server_behind(struct model *m);
void server_connection_lost(struct model *m);

/* OBJECT is changed by CALL, from now until its end. */
void model_affects(struct model *m, struct call *call, int object);

/* cache_model_kernel.c */
bool truth_is(const struct model *m, const struct truth *truth, uint64_t value);
void kernel_reply(struct model *m, int dir, int name, int object, uint64_t version, uint64_t entry_ms,
                  uint64_t attr_ms);
void kernel_written(struct model *m, struct writing *writing);
void kernel_lookup(struct model *m, int dir, int name);
void kernel_list(struct model *m, int dir);
void kernel_getattr(struct model *m, int object);
void kernel_change_done(struct model *m, const struct call *call, bool kept);
void kernel_drop(struct model *m, int object, uint64_t lease, bool none_told);
void kernel_forget(struct model *m, int object);
void kernel_check(struct model *m);
void kernel_lost(struct model *m);

#endif
