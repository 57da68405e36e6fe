/* Answers as text, to be compared. */
#ifndef PH_CLIENT_CORE_TESTS_WB_TEXT_H
#define PH_CLIENT_CORE_TESTS_WB_TEXT_H

#include "client/core/tests/wb_model.h"

/* Several questions are asked at once: links and times in an answer may be those of before a change that was
 * executed but not answered yet. */
extern bool wb_text_overlap;

/* Attributes in answers to LOOKUP, CREATE and OPEN are compared. They may be old, once, where the server was
 * asked for an object that was dirty by a name that is not known here, and whose lease was given back before
 * the answer came. */
extern bool wb_text_by_name;

/* What REPLY to COMMAND says; ATTR (or NULL): instead of that in the answer to a change. Owned. */
char *wb_text_of(uint16_t command, const struct wb_model_reply *reply, const Pohmel__Attr *attr);

/* The attributes in the answer to a change, or NULL. */
const Pohmel__Attr *wb_text_attr(uint16_t command, const ProtobufCMessage *message);

/* Whether each byte of TEXT is one of ANSWERS: reading and writing at once may show some of each. */
bool wb_text_is_mixture(const GPtrArray *answers, const char *text);

/* Whether each entry in TEXT is in one of ANSWERS, and what is in all of them is in TEXT: a kernel does not
 * let names of a directory be made while it is listed. */
bool wb_text_is_mixed_listing(const GPtrArray *answers, const char *text);

#endif
