"""pohmel.lua: a Wireshark dissector with the names of the schema."""
import os

from .names import c_string
from .schema import F, SIGNED


def field_row(field):
    if field.is_message:
        kind = '"message", message = %s' % c_string(field.type_name)
    elif field.is_bytes:
        kind = '"bytes"'
    elif field.type == F.TYPE_BOOL:
        kind = '"bool"'
    else:
        kind = '"signed"' if field.type in SIGNED else '"number"'
    packed = ', packed = true' if field.repeated and not field.is_bytes and not field.is_message else ''
    return '    [%d] = {name = %s, kind = %s%s},\n' % (field.number, c_string(field.name), kind, packed)


def tables(schema):
    out = 'local messages = {}\n'
    for message in schema.messages:
        out += 'messages[%s] = {\n%s}\n' % (c_string(message.name),
                                           ''.join(field_row(field) for field in message.fields))
    out += '\nlocal commands = {\n'
    for command in schema.commands:
        out += '    [%d] = {name = %s, request = %s, reply = %s},\n' % (
            command.number, c_string(command.upper), c_string(command.request_name),
            c_string(command.reply_name))
    out += '}\n\nlocal statuses = {\n'
    for value in schema.status.values:
        out += '    [%d] = %s,\n' % (value.number, c_string(value.name))
    return out + '}\n\n'


def dissector(schema):
    path = os.path.join(os.path.dirname(__file__), 'dissector.lua')
    with open(path, encoding='utf-8') as file:
        fixed = file.read()
    return ('-- Pohmel for Wireshark and tshark: tshark -X lua_script:pohmel.lua\n'
            '-- Generated from idl/ by gen/generate.py. Do not edit.\n\n' + tables(schema) + fixed)
