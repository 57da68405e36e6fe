/* Generated from idl/ by gen/generate.py. Do not edit. */
#ifndef PH_COMMANDS_H
#define PH_COMMANDS_H

#include "runtime/wire/command.h"

enum ph_command {
    /* Runs changes. */
    PH_CMD_TRANSACT = 8,
    /* Finds a thing. */
    PH_CMD_FIND_IT = 16,
    /* Stores a thing. */
    PH_CMD_PUT = 40,
    /* Tells news. */
    PH_CMD_NEWS = 90,
};

/* Answers. */
enum ph_status {
    /* Done. */
    PH_ST_OK = 0,
    /* Not there. */
    PH_ST_NOT_FOUND = 2,
    /* Broken. */
    PH_ST_IO_ERROR = 3,
    /* Full. */
    PH_ST_NO_SPACE = 18,
};

extern const struct ph_message_rule ph_rule_asker;
extern const struct ph_message_rule ph_rule_find_request;
extern const struct ph_message_rule ph_rule_find_reply;
extern const struct ph_message_rule ph_rule_put_request;
extern const struct ph_message_rule ph_rule_put_result;
extern const struct ph_message_rule ph_rule_change;
extern const struct ph_message_rule ph_rule_change_result;
extern const struct ph_message_rule ph_rule_transact_request;
extern const struct ph_message_rule ph_rule_transact_reply;
extern const struct ph_message_rule ph_rule_nothing;
extern const struct ph_message_rule ph_rule_news_event;

#endif
