"""ph_dispatch.[ch]: what a server implements, and the way to it."""
from .names import BANNER, c_comment


def ops_struct(schema, layer):
    out = 'struct ph_%s_ops {\n' % layer.lower()
    for command in schema.commands:
        if command.choice('layer') != layer:
            continue
        out += c_comment(command.comment, '    ')
        out += '    uint32_t (*%s)(void *self, struct ph_call *call, const %s *request, %s *reply);\n' % (
            command.snake, command.request.ctype, command.reply.ctype)
    return out + '};\n\n'


HEADER = '''/* Who answers. */
struct ph_dispatch {
    const struct ph_session_ops *session_ops;
    void *session;
    const struct ph_store_ops *store_ops;
    void *store;
};

/* Executes one request: decodes MESSAGE into the arena of CALL, validates it,
 * checks the payload's size, calls the handler. Returns the status to answer, with words in
 * call->fault, or PH_PENDING when the handler will answer later. *REPLY, in
 * the arena, is set when the status is OK; a transaction that failed has one
 * as well when its handler filled in results. NULL otherwise. */
uint32_t ph_dispatch_request(const struct ph_dispatch *dispatch, uint16_t command, const uint8_t *message,
                             size_t len, struct ph_call *call, ProtobufCMessage **reply);

/* The same for a REQUEST that is decoded and valid already. */
uint32_t ph_dispatch_message(const struct ph_dispatch *dispatch, const struct ph_command_info *command,
                             const ProtobufCMessage *request, struct ph_call *call, ProtobufCMessage **reply);

/* Calls the handler of one command; UNSUPPORTED where there is none, or the
 * command is not one of the requests. */
uint32_t ph_dispatch_handler(const struct ph_dispatch *dispatch, uint16_t command, struct ph_call *call,
                             const ProtobufCMessage *request, ProtobufCMessage *reply);
'''

CHANGE_HEADER = '''
/* Executes one command of a transaction, decoded and valid already. RESULT (initialised) gets the status and, on
 * success, what the command returned, in the arena of CALL. Returns the status. */
uint32_t ph_dispatch_change(const struct ph_store_ops *ops, void *store, struct ph_call *call,
                            const {p}Change *change, {p}ChangeResult *result);

/* The command that CHANGE holds. False when it holds none. */
bool ph_change_info(const {p}Change *change, const struct ph_command_info **out);

/* Calls the handler of the command that CHANGE holds, UNSUPPORTED where there
 * is none; REPLY is of the type that the command returns. */
uint32_t ph_change_handler(const struct ph_store_ops *ops, void *store, struct ph_call *call,
                           const {p}Change *change, ProtobufCMessage *reply);

/* Puts REPLY, of the type that COMMAND returns, into RESULT. */
void ph_change_result_set({p}ChangeResult *result, uint16_t command, ProtobufCMessage *reply);
'''


def prefix(schema):
    return schema.package.capitalize() + '__'


def header(schema):
    out = BANNER + ('#ifndef PH_DISPATCH_H\n#define PH_DISPATCH_H\n\n#include "ph_commands.h"\n'
                    '#include "ph_protocol.h"\n#include "runtime/wire/call.h"\n\n')
    out += ('/* Commands of the session layer. Handlers return a status; NULL is answered UNSUPPORTED.\n'
            ' * REPLY is initialised; what it points to is allocated in call->arena. */\n')
    out += ops_struct(schema, 'SESSION')
    out += '/* Commands of the store. */\n' + ops_struct(schema, 'STORE') + HEADER
    if schema.transaction() is not None:
        out += CHANGE_HEADER.replace('{p}', prefix(schema))
    return out + '\n#endif\n'


def handler_case(command, ops, self, request, reply):
    return ('    case PH_CMD_{upper}:\n'
            '        if ({ops} == NULL || {ops}->{snake} == NULL)\n            return PH_ST_UNSUPPORTED;\n'
            '        return {ops}->{snake}({self}, call, {request}, {reply});\n').format(
                upper=command.upper, snake=command.snake, ops=ops, self=self, request=request, reply=reply)


def request_handler(schema):
    out = ('uint32_t ph_dispatch_handler(const struct ph_dispatch *dispatch, uint16_t command, struct ph_call *call,\n'
           '                             const ProtobufCMessage *request, ProtobufCMessage *reply)\n{\n'
           '    switch (command) {\n')
    for command in schema.commands:
        layer = command.choice('layer').lower()
        if layer == 'peer' or command.is_change:
            continue
        out += handler_case(command, 'dispatch->%s_ops' % layer, 'dispatch->' + layer,
                            '(const %s *) request' % command.request.ctype,
                            '(%s *) reply' % command.reply.ctype)
    return out + '    default:\n        return PH_ST_UNSUPPORTED;\n    }\n}\n\n'


def change_functions(schema):
    p = prefix(schema)
    changes = [c for c in schema.commands if c.is_change]
    out = ('bool ph_change_info(const %sChange *change, const struct ph_command_info **out)\n{\n'
           '    *out = ph_command_info((uint16_t) change->command_case);\n'
           '    return *out != NULL;\n}\n\n') % p
    out += ('uint32_t ph_change_handler(const struct ph_store_ops *ops, void *store, struct ph_call *call,\n'
            '                           const %sChange *change, ProtobufCMessage *reply)\n{\n'
            '    switch ((int) change->command_case) {\n') % p
    for command in changes:
        out += handler_case(command, 'ops', 'store', 'change->' + command.snake,
                            '(%s *) reply' % command.reply.ctype)
    out += '    default:\n        return PH_ST_MALFORMED;\n    }\n}\n\n'
    out += ('void ph_change_result_set(%sChangeResult *result, uint16_t command, ProtobufCMessage *reply)\n{\n'
            '    switch (command) {\n') % p
    for command in changes:
        out += ('    case PH_CMD_%s:\n        result->%s = (%s *) reply;\n        break;\n' %
                (command.upper, command.snake, command.reply.ctype))
    out += ('    default:\n        return;\n    }\n'
            '    result->result_case = (%sChangeResult__ResultCase) command;\n}\n') % p
    return out


def source(schema):
    out = BANNER + '#include "ph_dispatch.h"\n\n' + request_handler(schema)
    if schema.transaction() is not None:
        out += change_functions(schema)
    return out
