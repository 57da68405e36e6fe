/* A user of a mount who does things at random. */
#ifndef PH_CLIENT_CORE_TESTS_WB_ACT_H
#define PH_CLIENT_CORE_TESTS_WB_ACT_H

#include "client/core/tests/wb_world.h"

enum { WB_ACT_HANDLES = 6 };

struct wb_act_handle {
    uint64_t number, object;
    bool ready, leaving;
    unsigned users;
};

struct wb_act {
    GRand *rand;
    struct wb_world *world;
    struct wb_model *truth;
    bool alone; /* nothing else was asked: a kernel keeps others out of what is moved or replaced */
    uint64_t last_object, last_handle;
    uint64_t passing_in; /* directory and name that are removed next; PASSING: NULL for none */
    const char *passing;
    struct wb_act_handle handles[WB_ACT_HANDLES];
};

/* Submits one command. */
struct wb_asked *wb_act(struct wb_act *act);
/* It was answered. */
void wb_act_answered(struct wb_act *act, const struct wb_asked *asked);
/* All handles are gone. */
void wb_act_lost(struct wb_act *act);

/* A name, a directory that exists, any object of KIND (S_IFMT; 0: any), or 0. */
const char *wb_act_name(struct wb_act *act);
uint64_t wb_act_object(struct wb_act *act, uint32_t kind);

/* The command in words; owned. */
char *wb_act_words(uint16_t command, const ProtobufCMessage *message);

#endif
