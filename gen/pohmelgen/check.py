"""Refuses declarations that leave something open."""
import errno
import re

from . import names
from .schema import F, INTEGERS, SIGNED, TYPE_NAMES

WIRE_TYPES = set(INTEGERS) | SIGNED | {F.TYPE_BOOL, F.TYPE_BYTES, F.TYPE_MESSAGE}
BYTES_KINDS = {'NAME', 'XATTR_NAME', 'TARGET'}
NUMBER_KINDS = {'OBJECT_ID', 'HANDLE', 'SESSION_ID', 'LEASE_ID', 'EPOCH', 'COOKIE', 'VERSION', 'OWNER',
                'USER_ID'}
CHANGE, CHANGE_ONEOF = 'Change', 'command'
RESULT, RESULT_ONEOF = 'ChangeResult', 'result'


def problems(schema):
    """All that is wrong, as "file:line: what" in the order of the files."""
    found = []

    def bad(element, text):
        found.append((element.file.name, element.line, text))

    for message in schema.messages:
        check_message(message, bad)
    check_recursion(schema, bad)
    for enum in schema.enums:
        check_enum(enum, bad)
    if check_whole(schema, found):
        check_status(schema, bad)
        for command in schema.commands:
            check_command(schema, command, bad)
        check_unique(schema, bad)
        check_transaction(schema, bad)
    return ['%s:%d: %s' % problem for problem in sorted(set(found))]


def check_whole(schema, found):
    """One service, one Status: without them nothing else can be looked at."""
    place = schema.files[0].name if schema.files else 'options.proto'
    if schema.status is None:
        found.append((place, 1, 'no enum Status in any file'))
    for service in schema.services[1:]:
        found.append((service.file.name, service.line, 'more than one service'))
    if not schema.services:
        found.append((place, 1, 'no service in any file'))
    for service in schema.services:
        if not service.comment:
            found.append((service.file.name, service.line, 'service %s has no comment' % service.name))
    return schema.status is not None and len(schema.services) == 1


def check_message(message, bad):
    if not message.comment:
        bad(message, 'message %s has no comment' % message.name)
    for name in message.nested:
        bad(message, '%s.%s: maps, groups and nested types are not used; declare it at the top level' %
            (message.name, name))
    for oneof in message.oneofs:
        members = message.oneof_members(oneof.name)
        if not oneof.comment and not any(f.optional for f in members):
            bad(oneof, 'oneof %s.%s has no comment' % (message.name, oneof.name))
        if len({f.rule.required for f in members if f.rule is not None}) > 1:
            bad(oneof, 'oneof %s.%s: all members are required or none' % (message.name, oneof.name))
    for field in message.fields:
        name = '%s.%s' % (message.name, field.name)
        if not field.comment:
            bad(field, 'field %s has no comment' % name)
        check_field_type(field, name, bad)
        if field.rule is None:
            bad(field, 'field %s has no (field) rule' % name)
        else:
            check_field_rule(field, name, bad)


def check_field_type(field, name, bad):
    if field.type == F.TYPE_STRING:
        bad(field, 'field %s is a string; use bytes with max_len' % name)
    elif field.type not in WIRE_TYPES:
        bad(field, 'field %s: type %s is not used in this protocol' % (name, TYPE_NAMES[field.type]))
    if field.optional:
        bad(field, 'field %s: "optional" is not used; make it a oneof of one member' % name)
    if field.is_message and field.message is None:
        bad(field, 'field %s: message %s is not one of the protocol' % (name, field.type_name))


def kind_name(rule):
    value = rule.DESCRIPTOR.fields_by_name['kind'].enum_type.values_by_number.get(rule.kind)
    return value.name if value is not None and value.number else None


def check_field_rule(field, name, bad):
    rule, kind = field.rule, kind_name(field.rule)
    if kind is None:
        bad(field, 'field %s has no kind' % name)
    elif kind in BYTES_KINDS and not field.is_bytes:
        bad(field, 'field %s: kind %s is for bytes' % (name, kind))
    elif kind in NUMBER_KINDS and not field.is_integer:
        bad(field, 'field %s: kind %s is for uint32 and uint64' % (name, kind))
    if field.is_bytes and not rule.max_len:
        bad(field, 'field %s: bytes without max_len' % name)
    if not field.is_bytes and (rule.max_len or rule.min_len):
        bad(field, 'field %s: min_len and max_len are for bytes' % name)
    if rule.min_len > rule.max_len and field.is_bytes and rule.max_len:
        bad(field, 'field %s: min_len is above max_len' % name)
    if field.repeated and not rule.max_count:
        bad(field, 'field %s: repeated without max_count' % name)
    if not field.repeated and (rule.max_count or rule.min_count):
        bad(field, 'field %s: min_count and max_count are for repeated fields' % name)
    if rule.max_count and rule.min_count > rule.max_count:
        bad(field, 'field %s: min_count is above max_count' % name)
    if rule.required and (field.repeated or not (field.is_message or field.oneof is not None)):
        bad(field, 'field %s: required is for sub-messages; use min or min_len' % name)
    check_limits(field, name, bad)


def check_limits(field, name, bad):
    rule = field.rule
    if not field.is_integer:
        if rule.min or rule.max or rule.bits:
            bad(field, 'field %s: min, max and bits are for uint32 and uint64' % name)
        return
    if rule.max and rule.min > rule.max:
        bad(field, 'field %s: min is above max' % name)
    if max(rule.min, rule.max, rule.bits) >= 1 << INTEGERS[field.type]:
        bad(field, 'field %s: a limit does not fit the type' % name)
    if rule.bits and (rule.min or rule.max):
        bad(field, 'field %s: a set of bits has no min or max' % name)


def check_recursion(schema, bad):
    """protobuf-c decodes without a limit of depth: the schema must set it."""
    done = set()

    def walk(message, above):
        if message.name in above:
            chain = above[above.index(message.name):] + [message.name]
            bad(message, 'message %s contains itself (%s)' % (message.name, ' > '.join(chain)))
            return
        if message.name in done:
            return
        for field in message.fields:
            if field.message is not None:
                walk(field.message, above + [message.name])
        done.add(message.name)

    for message in schema.messages:
        walk(message, [])


def check_enum(enum, bad):
    if not enum.comment:
        bad(enum, 'enum %s has no comment' % enum.name)
    for value in enum.values:
        if not value.comment:
            bad(value, 'value %s has no comment' % value.name)


def check_status(schema, bad):
    first = schema.status.values[0]
    if first.name != 'OK' or first.number != 0:
        bad(first, 'the first status must be OK = 0')
    for value in schema.status.values:
        if value.rule is None:
            bad(value, 'status %s has no (status) rule' % value.name)
            continue
        if not value.rule.text:
            bad(value, 'status %s has no text' % value.name)
        if value.number == 0:
            if value.rule.errno_name:
                bad(value, 'OK has no errno')
        elif not hasattr(errno, value.rule.errno_name or '-'):
            bad(value, 'status %s: unknown errno "%s"' % (value.name, value.rule.errno_name))


def check_command(schema, command, bad):
    if not command.comment:
        bad(command, 'command %s has no comment' % command.name)
    if command.streaming:
        bad(command, 'command %s: streams are not used' % command.name)
    if command.rule is None:
        bad(command, 'command %s has no (command) rule' % command.name)
        return
    rule = command.rule
    for key in ('number', 'section', 'effect', 'cost', 'layer', 'lease', 'profile', 'idempotence'):
        if not getattr(rule, key):
            bad(command, 'command %s: %s is missing' % (command.name, key))
    if rule.number > 0xffff:
        bad(command, 'command %s: the number does not fit 16 bits' % command.name)
    if rule.section and not re.fullmatch(r'[0-9]+(\.[0-9]+)*', rule.section):
        bad(command, 'command %s: section "%s" is not a section number' % (command.name, rule.section))
    known = {value.name for value in schema.status.values}
    for i, name in enumerate(rule.errors):
        if name not in known:
            bad(command, 'command %s: unknown status "%s" in errors' % (command.name, name))
        if name in rule.errors[:i]:
            bad(command, 'command %s: status "%s" is listed twice' % (command.name, name))
    check_roles(command, bad)


def check_roles(command, bad):
    """The names of the messages say what they are."""
    event, change = command.rule.event, command.is_change
    if command.request is None or command.reply is None:
        bad(command, 'command %s: its messages are not of the protocol' % command.name)
        return
    request_end = 'Event' if event else 'Request'
    if not command.request_name.endswith(request_end):
        bad(command, 'command %s: the name of %s must end in %s' %
            (command.name, command.request_name, request_end))
    reply_end = 'Result' if change else 'Reply'
    if command.reply_name == 'Nothing':
        if change:
            bad(command, 'command %s: a change returns a message that ends in Result' % command.name)
    elif event:
        bad(command, 'command %s: an event returns Nothing' % command.name)
    elif not command.reply_name.endswith(reply_end):
        bad(command, 'command %s: the name of %s must end in %s' %
            (command.name, command.reply_name, reply_end))
    if event and command.choice('layer') != 'PEER':
        bad(command, 'command %s: an event is of layer PEER' % command.name)
    if change and command.choice('layer') != 'STORE':
        bad(command, 'command %s: a change is of layer STORE' % command.name)


def check_unique(schema, bad):
    numbers, spelled = {}, {}
    for command in sorted(schema.commands, key=lambda c: c.line):
        if command.number:
            first = numbers.setdefault(command.number, command)
            if first is not command:
                bad(command, 'command %s has the number %d of %s' % (command.name, command.number, first.name))
        first = spelled.setdefault(command.snake, command)
        if first is not command:
            bad(command, 'command %s is spelled like %s in C' % (command.name, first.name))
    for message in schema.messages:
        first = spelled.setdefault('message ' + names.snake(message.name), message)
        if first is not message:
            bad(message, 'message %s is spelled like %s in C' % (message.name, first.name))


def check_transaction(schema, bad):
    """Changes and the members of Change and ChangeResult tell the same."""
    changes = [c for c in schema.commands if c.rule is not None and c.is_change]
    if not changes and CHANGE not in schema.by_name:
        return
    for holder, oneof, attribute in ((CHANGE, CHANGE_ONEOF, 'request_name'),
                                     (RESULT, RESULT_ONEOF, 'reply_name')):
        message = schema.by_name.get(holder)
        if message is None:
            bad(changes[0], 'command %s is a change, but there is no message %s' % (changes[0].name, holder))
            continue
        compare_members(message, oneof, attribute, changes, bad)
    if schema.transaction() is None:
        bad(schema.by_name.get(CHANGE) or changes[0], 'no command carries a repeated %s' % CHANGE)


def compare_members(message, oneof, attribute, changes, bad):
    members = {field.name: field for field in message.oneof_members(oneof)}
    for command in changes:
        field = members.pop(command.snake, None)
        if field is None:
            bad(command, 'command %s is not a member of %s.%s' % (command.name, message.name, oneof))
            continue
        if field.number != command.number:
            bad(field, 'member %s.%s has number %d, its command has %d' %
                (message.name, field.name, field.number, command.number))
        if field.type_name != getattr(command, attribute):
            bad(field, 'member %s.%s is a %s, its command has a %s' %
                (message.name, field.name, field.type_name or TYPE_NAMES[field.type],
                 getattr(command, attribute)))
        if attribute == 'request_name' and field.rule is not None and not field.rule.required:
            bad(field, 'member %s.%s must be required' % (message.name, field.name))
    for field in members.values():
        bad(field, 'member %s.%s has no command that changes' % (message.name, field.name))
