/* Generated from idl/ by gen/generate.py. Do not edit. */
#include "ph_commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "ph_protocol.h"

static const struct ph_field_rule fields_asker[] = {
    {.number = 1, .kind = PH_KIND_USER_ID, .max = UINT64_MAX},
};
const struct ph_message_rule ph_rule_asker = {
    .descriptor = &pohmel__asker__descriptor,
    .fields = fields_asker,
};

static const struct ph_field_rule fields_find_request[] = {
    {.number = 1, .kind = PH_KIND_PLAIN, .required = true, .max = UINT64_MAX, .message = &ph_rule_asker},
    {.number = 2, .kind = PH_KIND_PLAIN, .max = UINT64_MAX, .bits = UINT64_C(7)},
    {.number = 3, .kind = PH_KIND_NAME, .max_len = 255, .min_count = 1, .max_count = 4, .max = UINT64_MAX},
};
const struct ph_message_rule ph_rule_find_request = {
    .descriptor = &pohmel__find_request__descriptor,
    .fields = fields_find_request,
};

static const struct ph_field_rule fields_find_reply[] = {
    {.number = 1, .kind = PH_KIND_OBJECT_ID, .min = UINT64_C(1), .max = UINT64_C(100)},
    {.number = 2, .kind = PH_KIND_TIME, .max = UINT64_MAX},
};
const struct ph_message_rule ph_rule_find_reply = {
    .descriptor = &pohmel__find_reply__descriptor,
    .fields = fields_find_reply,
};

static const struct ph_field_rule fields_put_request[] = {
    {.number = 1, .kind = PH_KIND_PLAIN, .max = UINT64_C(4096)},
};
const struct ph_message_rule ph_rule_put_request = {
    .descriptor = &pohmel__put_request__descriptor,
    .fields = fields_put_request,
};

static const struct ph_field_rule fields_put_result[] = {
    {.number = 1, .kind = PH_KIND_PLAIN, .max = UINT64_MAX},
};
const struct ph_message_rule ph_rule_put_result = {
    .descriptor = &pohmel__put_result__descriptor,
    .fields = fields_put_result,
};

static const struct ph_field_rule fields_change[] = {
    {.number = 40, .kind = PH_KIND_PLAIN, .required = true, .max = UINT64_MAX, .message = &ph_rule_put_request},
};
const struct ph_message_rule ph_rule_change = {
    .descriptor = &pohmel__change__descriptor,
    .fields = fields_change,
};

static const struct ph_field_rule fields_change_result[] = {
    {.number = 1, .kind = PH_KIND_PLAIN, .max = UINT64_MAX},
    {.number = 40, .kind = PH_KIND_PLAIN, .max = UINT64_MAX, .message = &ph_rule_put_result},
};
const struct ph_message_rule ph_rule_change_result = {
    .descriptor = &pohmel__change_result__descriptor,
    .fields = fields_change_result,
};

static const struct ph_field_rule fields_transact_request[] = {
    {.number = 1, .kind = PH_KIND_PLAIN, .min_count = 1, .max_count = 8, .max = UINT64_MAX, .message = &ph_rule_change},
};
const struct ph_message_rule ph_rule_transact_request = {
    .descriptor = &pohmel__transact_request__descriptor,
    .fields = fields_transact_request,
};

static const struct ph_field_rule fields_transact_reply[] = {
    {.number = 1, .kind = PH_KIND_PLAIN, .max_count = 8, .max = UINT64_MAX, .message = &ph_rule_change_result},
};
const struct ph_message_rule ph_rule_transact_reply = {
    .descriptor = &pohmel__transact_reply__descriptor,
    .fields = fields_transact_reply,
};

const struct ph_message_rule ph_rule_nothing = {
    .descriptor = &pohmel__nothing__descriptor,
    .fields = NULL,
};

static const struct ph_field_rule fields_news_event[] = {
    {.number = 1, .kind = PH_KIND_OBJECT_ID, .min = UINT64_C(1), .max = UINT64_MAX},
};
const struct ph_message_rule ph_rule_news_event = {
    .descriptor = &pohmel__news_event__descriptor,
    .fields = fields_news_event,
};

static const uint32_t errors_transact[] = {PH_ST_IO_ERROR, PH_ST_NO_SPACE, 0};
static const uint32_t errors_find_it[] = {PH_ST_NOT_FOUND, PH_ST_IO_ERROR, 0};
static const uint32_t errors_put[] = {PH_ST_IO_ERROR, PH_ST_NO_SPACE, 0};
static const uint32_t errors_news[] = {PH_ST_IO_ERROR, 0};

static const struct ph_command_info commands[] = {
    {.number = PH_CMD_TRANSACT, .name = "TRANSACT", .section = "5.1", .effect = PH_EFFECT_CONTROLS, .cost = PH_COST_DISK, .layer = PH_LAYER_SESSION, .profile = PH_PROFILE_BASE, .lease = 1, .event = false, .reserved = false, .request_payload_max = 4096, .reply_payload_max = 0, .request = &ph_rule_transact_request, .reply = &ph_rule_transact_reply, .errors = errors_transact},
    {.number = PH_CMD_FIND_IT, .name = "FIND_IT", .section = "6.1", .effect = PH_EFFECT_READS, .cost = PH_COST_QUICK, .layer = PH_LAYER_STORE, .profile = PH_PROFILE_BASE, .lease = 2, .event = false, .reserved = false, .request_payload_max = 0, .reply_payload_max = 512, .request = &ph_rule_find_request, .reply = &ph_rule_find_reply, .errors = errors_find_it},
    {.number = PH_CMD_PUT, .name = "PUT", .section = "7.1", .effect = PH_EFFECT_CHANGES, .cost = PH_COST_QUICK, .layer = PH_LAYER_STORE, .profile = PH_PROFILE_BASE, .lease = 3, .event = false, .reserved = false, .request_payload_max = 4096, .reply_payload_max = 0, .request = &ph_rule_put_request, .reply = &ph_rule_put_result, .errors = errors_put},
    {.number = PH_CMD_NEWS, .name = "NEWS", .section = "9.3", .effect = PH_EFFECT_CONTROLS, .cost = PH_COST_QUICK, .layer = PH_LAYER_PEER, .profile = PH_PROFILE_CACHING, .lease = 1, .event = true, .reserved = true, .request_payload_max = 0, .reply_payload_max = 0, .request = &ph_rule_news_event, .reply = &ph_rule_nothing, .errors = errors_news},
};

/* Place in the table plus one, by number. */
static const uint8_t places[] = {
    [PH_CMD_TRANSACT] = 1,
    [PH_CMD_FIND_IT] = 2,
    [PH_CMD_PUT] = 3,
    [PH_CMD_NEWS] = 4,
};

const struct ph_command_info *ph_command_info(uint16_t number)
{
    if (number >= sizeof places || places[number] == 0)
        return NULL;
    return &commands[places[number] - 1];
}

const struct ph_command_info *ph_commands(size_t *count)
{
    *count = sizeof commands / sizeof commands[0];
    return commands;
}

const char *ph_status_name(uint32_t status)
{
    switch (status) {
    case PH_ST_OK: return "OK";
    case PH_ST_NOT_FOUND: return "NOT_FOUND";
    case PH_ST_IO_ERROR: return "IO_ERROR";
    case PH_ST_NO_SPACE: return "NO_SPACE";
    }
    static _Thread_local char unknown[24];
    snprintf(unknown, sizeof unknown, "status %" PRIu32, status);
    return unknown;
}

const char *ph_status_text(uint32_t status)
{
    switch (status) {
    case PH_ST_OK: return "done";
    case PH_ST_NOT_FOUND: return "no such thing";
    case PH_ST_IO_ERROR: return "input/output error";
    case PH_ST_NO_SPACE: return "no space left";
    }
    return "the peer answered with a status that this version does not know";
}

int ph_status_to_errno(uint32_t status)
{
    switch (status) {
    case PH_ST_OK: return 0;
    case PH_ST_NOT_FOUND: return ENOENT;
    case PH_ST_IO_ERROR: return EIO;
    case PH_ST_NO_SPACE: return ENOSPC;
    }
    return EIO;
}

uint32_t ph_status_from_errno(int error)
{
    switch (error) {
    case 0: return PH_ST_OK;
    case ENOENT: return PH_ST_NOT_FOUND;
    case EIO: return PH_ST_IO_ERROR;
    case ENOSPC: return PH_ST_NO_SPACE;
    }
    return PH_ST_IO_ERROR;
}
