/* Write-back between a user and a server that can be looked at: what it sends waits here until the test has
 * it executed by the small filesystem, or answered otherwise, and the answer waits until it is delivered. */
#ifndef PH_CLIENT_CORE_TESTS_WB_WORLD_H
#define PH_CLIENT_CORE_TESTS_WB_WORLD_H

#include <glib.h>

#include "client/core/tests/wb_model.h"
#include "client/core/wb.h"

struct wb_world;

/* A command that the user, or the shell for write-back (INTERNAL), submitted. */
struct wb_asked {
    struct wb_world *world;
    uint64_t ticket;
    uint16_t outer, command;
    ProtobufCMessage *message; /* a copy */
    const ProtobufCMessage *inner;
    struct ph_blob *payload;
    bool internal, done, executed, blurred;
    bool forgotten;              /* it goes when it is answered */
    struct wb_model_reply reply; /* copied when it came */
    void *data;                  /* the test's */
    unsigned number;
};

/* A command that write-back sent. */
struct wb_sent {
    struct ph_wb_call *call;
    uint64_t ticket;
    uint16_t outer, command;
    ProtobufCMessage *message; /* a copy */
    const ProtobufCMessage *inner;
    struct ph_blob *payload;
    struct wb_asked *asked; /* NULL for what it sent by itself */
    bool executed;
    struct wb_model_reply reply;
};

struct wb_world {
    struct ph_wb *wb;
    struct ph_wb_now now;
    struct wb_model *server;
    GPtrArray *sent;    /* of struct wb_sent: not answered yet */
    GPtrArray *pending; /* of struct wb_asked: not answered yet */
    GPtrArray *failed;  /* texts of FAILED */
    uint64_t born_old, born_new;
    bool list_directories, acquire;
    unsigned asked_count;
    uint64_t last_link_ticket;
    /* Hooks; NULL for none. */
    void (*executing)(void *data, struct wb_sent *sent);
    void (*answered)(void *data, struct wb_asked *asked);
    void (*told)(void *data, const struct ph_wb_action *action);
    void *data;
};

/* With a server that has an empty root; a session is not open yet. RAND: for the server, or NULL. */
void wb_world_begin(struct wb_world *world, const struct ph_wb_config *config, GRand *rand);
void wb_world_end(struct wb_world *world);

/* A session opened in which changes may be kept back. */
void wb_world_open(struct wb_world *world);
/* It is over: what was sent and not executed never is, and nothing is answered but with a failure. */
void wb_world_lose(struct wb_world *world);

/* Submits COMMAND; a change is wrapped into a transaction. PAYLOAD is taken over. The answer is in the
 * result, which lives until wb_world_drop. */
struct wb_asked *wb_world_ask(struct wb_world *world, uint16_t command, const void *message,
                              struct ph_blob *payload);
void wb_world_drop(struct wb_asked *asked);
/* Dropped now, or when it is answered. */
void wb_world_forget(struct wb_asked *asked);

/* The server executes SENT, unless it did already. */
void wb_world_execute(struct wb_world *world, struct wb_sent *sent);
/* The answer to SENT, as executed (which it is now if it was not), comes here. */
void wb_world_deliver(struct wb_world *world, struct wb_sent *sent);
/* The answer to SENT is a failure; it was not executed. */
void wb_world_refuse(struct wb_world *world, struct wb_sent *sent, uint32_t status);
/* Executes and delivers in order until nothing is left. */
void wb_world_settle(struct wb_world *world);

void wb_world_tick(struct wb_world *world, uint64_t ms);
void wb_world_recall(struct wb_world *world, uint64_t object, uint64_t lease);
void wb_world_flush(struct wb_world *world, uint64_t object);

/* The number of commands of that kind that wait to be executed, and the first of them (or NULL). */
unsigned wb_world_count(const struct wb_world *world, uint16_t command);
struct wb_sent *wb_world_find(const struct wb_world *world, uint16_t command);

#endif
