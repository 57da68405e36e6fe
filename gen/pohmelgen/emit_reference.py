"""reference.md: all commands, messages and statuses on one page."""
from .check import kind_name
from .schema import INTEGERS


def prose(element):
    return ' '.join(element.comment.split())


def limits(field):
    """Rules of a field in words."""
    rule, words = field.rule, []
    if field.repeated:
        words.append('%d to %d times' % (rule.min_count, rule.max_count))
    if field.is_bytes:
        least = max(rule.min_len, 1 if kind_name(rule) in ('NAME', 'XATTR_NAME', 'TARGET') else 0)
        words.append('%d bytes' % least if least == rule.max_len else '%d to %d bytes' % (least, rule.max_len))
    if field.type in INTEGERS:
        if rule.bits:
            words.append('bits 0x%x' % rule.bits)
        elif rule.max:
            words.append('%d to %d' % (rule.min, rule.max))
        elif rule.min:
            words.append('at least %d' % rule.min)
    if rule.required:
        words.append('required')
    return ', '.join(words)


def type_text(field):
    if field.is_message:
        return '[%s](#%s)' % (field.type_name, anchor(field.type_name))
    return field.type_text()


def anchor(title):
    return title.lower().replace(' ', '-')


def field_table(message):
    if not message.fields:
        return '(no fields)\n\n'
    out = '| # | field | type | kind | limits | meaning |\n|---|---|---|---|---|---|\n'
    for field in message.fields:
        name = field.name
        if field.oneof is not None:
            name = '%s: %s' % (field.oneof.name, name)
        out += '| %d | %s | %s | %s | %s | %s |\n' % (
            field.number, name, type_text(field), kind_name(field.rule).lower(), limits(field),
            prose(field).replace('|', '\\|'))
    return out + '\n'


def message_section(schema, name, level):
    message = schema.by_name[name]
    return '%s %s\n\n%s\n\n%s' % ('#' * level, name, prose(message), field_table(message))


def errors_text(schema, command):
    own = [v for v in schema.answers(command) if not v.rule.common]
    if command.rule.event:
        return 'no reply'
    words = ['%s (%s)' % (v.name, v.rule.errno_name) for v in own]
    return ', '.join(words + ['the common ones'])


def command_section(schema, command):
    rule = command.rule
    out = '### %d %s\n\n%s\n\n' % (command.number, command.upper, prose(command))
    rows = [('section', rule.section), ('effect', command.choice('effect').lower()),
            ('layer', command.choice('layer').lower()), ('cost', command.choice('cost').lower()),
            ('profile', command.choice('profile').lower()),
            ('lease to answer it from a cache', command.choice('lease')[len('LEASE_'):].lower()),
            ('repeating it', rule.idempotence)]
    if rule.request_payload_max:
        rows.append(('payload of the request', 'up to %d bytes' % rule.request_payload_max))
    if rule.reply_payload_max:
        rows.append(('payload of the reply', 'up to %d bytes' % rule.reply_payload_max))
    if command.is_change:
        rows.append(('travels', 'as a member of [Change](#change), inside a transaction'))
    if rule.event:
        rows.append(('travels', 'as an event'))
    if rule.reserved:
        rows.append(('in this version', 'answered UNSUPPORTED' if not rule.event else 'not sent'))
    rows.append(('errors', errors_text(schema, command)))
    out += '| | |\n|---|---|\n' + ''.join('| %s | %s |\n' % row for row in rows) + '\n'
    for name in (command.request_name, command.reply_name):
        out += '%s: [%s](#%s)' % ('Request' if name == command.request_name else '. Reply', name, anchor(name))
    return out + '.\n\n'


def status_section(schema):
    out = '## Statuses\n\n%s\n\n' % prose(schema.status)
    out += '| # | status | errno | common | text | meaning |\n|---|---|---|---|---|---|\n'
    for value in sorted(schema.status.values, key=lambda v: v.number):
        out += '| %d | %s | %s | %s | %s | %s |\n' % (
            value.number, value.name, value.rule.errno_name, 'yes' if value.rule.common else '',
            value.rule.text, prose(value))
    return out + '\nCommon statuses may be answered to every command.\n\n'


def enum_sections(schema):
    out = ''
    for enum in schema.enums:
        if enum is schema.status:
            continue
        out += '### %s\n\n%s\n\n| # | value | meaning |\n|---|---|---|\n' % (enum.name, prose(enum))
        out += ''.join('| %d | %s | %s |\n' % (v.number, v.name, prose(v)) for v in enum.values) + '\n'
    return out


def page(schema):
    out = ('# Reference of the protocol\n\nGenerated from `idl/`. What the pieces mean together stands in '
           'docs/protocol.md; section numbers are its.\n\n## Commands\n\n'
           '| # | command | section | effect | layer | profile |\n|---|---|---|---|---|---|\n')
    for command in schema.commands:
        out += '| %d | [%s](#%s) | %s | %s | %s | %s |\n' % (
            command.number, command.upper, anchor('%d %s' % (command.number, command.upper)),
            command.rule.section, command.choice('effect').lower(), command.choice('layer').lower(),
            command.choice('profile').lower())
    out += '\n' + ''.join(command_section(schema, command) for command in schema.commands)
    out += status_section(schema) + '## Messages\n\n'
    for message in sorted(schema.messages, key=lambda m: m.name):
        out += message_section(schema, message.name, 3)
    return out + enum_sections(schema)
