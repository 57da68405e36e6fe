/* Shared by wb_model*.c. */
#ifndef PH_CLIENT_CORE_TESTS_WB_MODEL_PRIVATE_H
#define PH_CLIENT_CORE_TESTS_WB_MODEL_PRIVATE_H

#include "client/core/tests/wb_model.h"

struct wb_node *wb_model_make(struct wb_model *model, uint64_t id, uint32_t mode, uint64_t parent);
void wb_model_settle(struct wb_model *model, struct wb_node *node);

struct wb_execution {
    struct wb_model *model;
    uint16_t command;
    const void *message;
    const struct ph_blob *payload;
    struct wb_model_reply *out;
};

/* What NODE is, on the wire; GRANT: a lease is due with it. */
Pohmel__Attr *wb_model_attr(struct wb_model *model, struct wb_node *node, bool grant,
                            struct ph_cached_attr_wire *wire);
/* The answer is a copy of MESSAGE. */
void wb_model_say(struct wb_model_reply *out, const ProtobufCMessage *message);
/* The answer to a change is a copy of MESSAGE. */
void wb_model_say_result(struct wb_execution *x, const void *message);

/* Each returns a status, after saying the answer when it is OK. */
uint32_t wb_model_name(struct wb_execution *x);
uint32_t wb_model_change(struct wb_execution *x);
uint32_t wb_model_read(struct wb_execution *x);
uint32_t wb_model_set_xattr(struct wb_execution *x);
uint32_t wb_model_get_xattr(struct wb_execution *x);

/* Words for how attributes of A and B differ; NULL when they do not. Owned. */
char *wb_model_differ_xattrs(const struct wb_node *a, const struct wb_node *b);

char *wb_model_text(const ProtobufCBinaryData *name); /* owned */
bool wb_model_open(struct wb_model *model, uint64_t handle, struct wb_node *node);
/* Whether HANDLE may be used for NODE. */
bool wb_model_is_open(const struct wb_model *model, uint64_t handle, const struct wb_node *node);
void wb_model_touch(struct wb_model *model, struct wb_node *node, bool data);

#endif
