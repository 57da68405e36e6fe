/* A session core under test with a server played by hand. */
#ifndef PH_CLIENT_CORE_TESTS_WORLD_H
#define PH_CLIENT_CORE_TESTS_WORLD_H

#include <glib.h>

#include "client/core/session.h"

enum { WORLD_CREDITS = 64, WORLD_SLOTS = 4 };

/* What a request under test came to. */
struct outcome {
    int completions;
    uint32_t status;
    char text[600];
    int losses; /* sessions that were told to be over by then */
};

struct sent {
    struct ph_frame_header header;
    struct ph_client_request *request;
};

struct world {
    struct ph_client *client;
    uint64_t now_ms;
    struct ph_client_actions actions;
    GQueue sent;   /* struct sent *, requests not answered yet */
    GQueue parked; /* struct ph_client_request * of WALK actions */
    int connects, disconnects, opens, refusals, ids, closes, cancels, losses, events;
    char disconnect_text[600];
    uint32_t disconnect_status, close_status;
    uint8_t volume[16];
    uint32_t credits, slots;
    bool read_only, write_back, resumable, resumed;
    uint64_t epoch;
    int expiries, claims, grants, claimed;
};

/* Not connected; PATIENCE_MS for requests. */
void world_init(struct world *world, uint64_t patience_ms, bool read_only, uint64_t seed);
void world_clear(struct world *world);

/* The same, with leases and changes kept back, which the server grants. */
void world_init_write_back(struct world *world, uint64_t patience_ms, uint64_t seed);

/* Takes over what the last step left in world->actions. */
void world_act(struct world *world);

/* Ticks (until it asks to connect), connects and opens a session; the id request stays unanswered. */
void world_open(struct world *world);

/* The two halves of it: until SESSION_OPEN is sent, and from its answer on. */
void world_open_sent(struct world *world);
void world_open_answered(struct world *world);

/* The connection ends, for reason TEXT. */
void world_lose(struct world *world, const char *text);

/* What SESSION_OPEN, under way, says. */
struct world_asked {
    uint64_t session;
    bool resume, resumable;
};
struct world_asked world_asked(struct world *world);

/* Time passes; ticks. */
void world_pass(struct world *world, uint64_t ms);

/* Submits a request; OUTCOME is filled in when it completes. Returns the ticket. */
uint64_t world_submit(struct world *world, uint16_t command, const ProtobufCMessage *message,
                      struct ph_blob *payload, struct outcome *outcome);
uint64_t world_getattr(struct world *world, uint64_t object, struct outcome *outcome);
uint64_t world_write(struct world *world, uint32_t bytes, struct outcome *outcome);
uint64_t world_read(struct world *world, uint32_t bytes, struct outcome *outcome);

/* What write-back sends of itself in session GENERATION: a WRITE of so many bytes, and a CLOSE. */
uint64_t world_flush(struct world *world, uint64_t generation, uint32_t bytes, struct outcome *outcome);
uint64_t world_flush_close(struct world *world, uint64_t generation, struct outcome *outcome);

/* The oldest unanswered request of COMMAND, taken off the list; NULL for none. Free with sent_free. */
struct sent *world_take(struct world *world, uint16_t command);
void sent_free(struct sent *sent);

/* Answers (and frees) SENT. MESSAGE NULL for an empty one. */
void world_answer(struct world *world, struct sent *sent, uint32_t status, const ProtobufCMessage *message);

/* Hands a reply with that header to the core. */
void world_reply(struct world *world, const struct ph_frame_header *header, const ProtobufCMessage *message);

#endif
