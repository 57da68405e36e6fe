"""ph_stubs.[ch]: typed sends and typed replies for the client."""
from .emit_dispatch import prefix
from .names import BANNER, c_comment


def sent(schema):
    return [c for c in schema.commands if c.choice('layer') != 'PEER']


def send_signature(command):
    return ('uint64_t ph_send_%s(const struct ph_stub *stub, const %s *request,\n'
            '    struct ph_blob *payload, ph_reply_fn fn, void *data)') % (command.snake, command.request.ctype)


def reply_signature(command):
    return 'const %s *ph_reply_%s(const struct ph_reply *reply)' % (command.reply.ctype, command.snake)


def header(schema):
    out = BANNER + ('#ifndef PH_STUBS_H\n#define PH_STUBS_H\n\n#include "ph_commands.h"\n'
                    '#include "ph_protocol.h"\n#include "runtime/wire/stub.h"\n\n'
                    '/* ph_send_X sends the command X; see struct ph_stub in runtime/wire/stub.h for PAYLOAD, FN, DATA\n'
                    ' * and the ticket returned. A change is sent as a transaction of its own.\n'
                    ' * ph_reply_X is the typed reply to it, borrowed for the time of the callback: NULL when the\n'
                    ' * command failed or the peer answered with something else. */\n\n')
    for command in sent(schema):
        out += c_comment(command.comment) + send_signature(command) + ';\n' + reply_signature(command) + ';\n\n'
    return out + '#endif\n'


PLAIN = '''{send}
{{
    return stub->send(stub->self, PH_CMD_{upper}, &request->base, payload, fn, data);
}}

{reply}
{{
    return (const {rtype} *) message_of(reply, &{rule});
}}

'''

CHANGE = '''{send}
{{
    {p}Change change = {P}CHANGE__INIT;
    change.command_case = {P}CHANGE__COMMAND_{upper};
    change.{snake} = ({qtype} *) request;
    return send_change(stub, &change, payload, fn, data);
}}

{reply}
{{
    const {p}ChangeResult *result = result_of(reply);
    if (result == NULL || result->result_case != {P}CHANGE_RESULT__RESULT_{upper})
        return NULL;
    return result->{snake};
}}

'''

MESSAGE_OF = '''static const ProtobufCMessage *message_of(const struct ph_reply *reply, const struct ph_message_rule *rule)
{
    if (reply->status != PH_ST_OK || reply->message == NULL || reply->message->descriptor != rule->descriptor)
        return NULL;
    return reply->message;
}

'''

CHANGE_HELPERS = '''static const {p}ChangeResult *result_of(const struct ph_reply *reply)
{{
    const {t} *message = (const {t} *) message_of(reply, &{rule});
    if (message == NULL || message->n_{results} != 1 || message->{results}[0]->status != PH_ST_OK)
        return NULL;
    return message->{results}[0];
}}

static uint64_t send_change(const struct ph_stub *stub, {p}Change *change, struct ph_blob *payload,
                            ph_reply_fn fn, void *data)
{{
    {q} request = {Q}__INIT;
    request.n_{changes} = 1;
    request.{changes} = &change;
    return stub->send(stub->self, PH_CMD_{upper}, &request.base, payload, fn, data);
}}

'''


def change_helpers(schema):
    transaction = schema.transaction()
    changes = next(f for f in transaction.request.fields if f.type_name == 'Change')
    results = next(f for f in transaction.reply.fields if f.type_name == 'ChangeResult')
    return CHANGE_HELPERS.format(
        p=prefix(schema), t=transaction.reply.ctype, rule=transaction.reply.rule_name, results=results.name,
        q=transaction.request.ctype, Q=prefix(schema).upper() + transaction.request.snake.upper(),
        changes=changes.name, upper=transaction.upper)


def source(schema):
    out = BANNER + '#include "ph_stubs.h"\n\n' + MESSAGE_OF
    if schema.transaction() is not None:
        out += change_helpers(schema)
    for command in sent(schema):
        template = CHANGE if command.is_change else PLAIN
        out += template.format(
            send=send_signature(command), reply=reply_signature(command), upper=command.upper,
            snake=command.snake, rtype=command.reply.ctype, qtype=command.request.ctype,
            rule=command.reply.rule_name, p=prefix(schema), P=prefix(schema).upper())
    return out
