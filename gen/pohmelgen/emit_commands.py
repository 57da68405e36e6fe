"""ph_protocol.h, ph_commands.[ch]: numbers, rules, tables."""
from .names import BANNER, c_comment, c_string

# Spellings of the host for which the protocol has one status only.
ERRNO_ALIASES = {'EMFILE': 'TOO_MANY_OPEN', 'ENOSYS': 'UNSUPPORTED'}

# Statuses from here on speak of the protocol; no system call yields them.
FIRST_PROTOCOL_STATUS = 64


def protocol_header(schema):
    out = BANNER + '#ifndef PH_PROTOCOL_H\n#define PH_PROTOCOL_H\n\n'
    for file in schema.files:
        out += '#include "%s.pb-c.h"\n' % file.name[:-len('.proto')]
    return out + '\n#endif\n'


def header(schema):
    out = BANNER + '#ifndef PH_COMMANDS_H\n#define PH_COMMANDS_H\n\n#include "runtime/wire/command.h"\n\n'
    out += 'enum ph_command {\n'
    for command in schema.commands:
        out += c_comment(command.comment, '    ')
        out += '    PH_CMD_%s = %d,\n' % (command.upper, command.number)
    out += '};\n\n' + c_comment(schema.status.comment) + 'enum ph_status {\n'
    for value in schema.status.values:
        out += c_comment(value.comment, '    ')
        out += '    PH_ST_%s = %d,\n' % (value.name, value.number)
    out += '};\n\n'
    for message in schema.messages:
        out += 'extern const struct ph_message_rule %s;\n' % message.rule_name
    return out + '\n#endif\n'


def field_rule(field):
    rule = field.rule
    parts = ['.number = %d' % field.number, '.kind = PH_KIND_%s' % kind_name(rule)]
    if rule.required:
        parts.append('.required = true')
    for key in ('min_len', 'max_len', 'min_count', 'max_count'):
        if getattr(rule, key):
            parts.append('.%s = %d' % (key, getattr(rule, key)))
    if rule.min:
        parts.append('.min = UINT64_C(%d)' % rule.min)
    parts.append('.max = UINT64_C(%d)' % rule.max if rule.max else '.max = UINT64_MAX')
    if rule.bits:
        parts.append('.bits = UINT64_C(%d)' % rule.bits)
    if field.is_message:
        parts.append('.message = &%s' % field.message.rule_name)
    return '    {%s},\n' % ', '.join(parts)


def kind_name(rule):
    enum = rule.DESCRIPTOR.fields_by_name['kind'].enum_type
    return enum.values_by_number[rule.kind].name


def rules(schema):
    out = ''
    for message in schema.messages:
        if message.fields:
            out += 'static const struct ph_field_rule fields_%s[] = {\n' % message.snake
            out += ''.join(field_rule(field) for field in message.fields) + '};\n'
        out += 'const struct ph_message_rule %s = {\n' % message.rule_name
        out += '    .descriptor = &%s__%s__descriptor,\n' % (schema.package, message.snake)
        out += '    .fields = %s,\n};\n\n' % ('fields_' + message.snake if message.fields else 'NULL')
    return out


def command_row(command):
    rule = command.rule
    rows = [('number', 'PH_CMD_' + command.upper), ('name', c_string(command.upper)),
            ('section', c_string(rule.section)), ('effect', 'PH_EFFECT_' + command.choice('effect')),
            ('cost', 'PH_COST_' + command.choice('cost')), ('layer', 'PH_LAYER_' + command.choice('layer')),
            ('profile', 'PH_PROFILE_' + command.choice('profile')), ('lease', str(rule.lease)),
            ('event', 'true' if rule.event else 'false'), ('reserved', 'true' if rule.reserved else 'false'),
            ('request_payload_max', str(rule.request_payload_max)),
            ('reply_payload_max', str(rule.reply_payload_max)),
            ('request', '&' + command.request.rule_name), ('reply', '&' + command.reply.rule_name),
            ('errors', 'errors_' + command.snake)]
    return '    {%s},\n' % ', '.join('.%s = %s' % row for row in rows)


def command_tables(schema):
    out = ''
    for command in schema.commands:
        names = ['PH_ST_' + value.name for value in schema.answers(command)] + ['0']
        out += 'static const uint32_t errors_%s[] = {%s};\n' % (command.snake, ', '.join(names))
    out += '\nstatic const struct ph_command_info commands[] = {\n'
    out += ''.join(command_row(command) for command in schema.commands) + '};\n\n'
    out += '/* Place in the table plus one, by number. */\nstatic const uint8_t places[] = {\n'
    for place, command in enumerate(schema.commands):
        out += '    [PH_CMD_%s] = %d,\n' % (command.upper, place + 1)
    return out + '''};

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

'''


def status_function(schema, signature, line, otherwise):
    out = signature + '\n{\n    switch (status) {\n'
    for value in schema.status.values:
        out += '    case PH_ST_%s: return %s;\n' % (value.name, line(value))
    return out + '    }\n' + otherwise + '}\n\n'


def status_tables(schema):
    out = status_function(
        schema, 'const char *ph_status_name(uint32_t status)', lambda v: c_string(v.name),
        '    static _Thread_local char unknown[24];\n'
        '    snprintf(unknown, sizeof unknown, "status %" PRIu32, status);\n    return unknown;\n')
    out += status_function(
        schema, 'const char *ph_status_text(uint32_t status)', lambda v: c_string(v.rule.text),
        '    return "the peer answered with a status that this version does not know";\n')
    out += status_function(
        schema, 'int ph_status_to_errno(uint32_t status)', lambda v: v.rule.errno_name or '0',
        '    return EIO;\n')
    out += 'uint32_t ph_status_from_errno(int error)\n{\n    switch (error) {\n    case 0: return PH_ST_OK;\n'
    chosen = {}
    by_name = {v.name: v for v in schema.status.values}
    for value in sorted(schema.status.values, key=lambda v: v.number):
        if value.rule.errno_name and value.number < FIRST_PROTOCOL_STATUS:
            chosen.setdefault(value.rule.errno_name, value.name)
    for alias, name in ERRNO_ALIASES.items():
        if name in by_name:
            chosen.setdefault(alias, name)
    for errno_name, name in chosen.items():
        out += '    case %s: return PH_ST_%s;\n' % (errno_name, name)
    return out + '    }\n    return PH_ST_IO_ERROR;\n}\n'


def source(schema):
    return (BANNER + '#include "ph_commands.h"\n\n#include <errno.h>\n#include <inttypes.h>\n#include <stdio.h>\n\n'
            '#include "ph_protocol.h"\n\n' + rules(schema) + command_tables(schema) + status_tables(schema))
