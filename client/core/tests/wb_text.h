/* Answers as text, to be compared. */
#ifndef PH_CLIENT_CORE_TESTS_WB_TEXT_H
#define PH_CLIENT_CORE_TESTS_WB_TEXT_H

#include "client/core/tests/wb_model.h"

/* Several questions are asked at once. Links and times may be those of before a change that was executed but
 * not answered yet; and so may the size of what was asked for by a name that is not known here. */
extern bool wb_text_overlap;

/* What REPLY to COMMAND says; ATTR (or NULL): instead of that in the answer to a change. Owned. */
char *wb_text_of(uint16_t command, const struct wb_model_reply *reply, const Pohmel__Attr *attr);

/* The attributes in the answer to a change, or NULL. */
const Pohmel__Attr *wb_text_attr(uint16_t command, const ProtobufCMessage *message);

/* Whether each byte of TEXT is one of ANSWERS: reading and writing at once may show some of each. */
bool wb_text_is_mixture(const GPtrArray *answers, const char *text);

#endif
