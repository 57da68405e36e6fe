"""Spellings of one name in the languages of the project."""
import re
import textwrap


def snake(camel):
    """LookupRequest -> lookup_request"""
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', camel).lower()


def upper(camel):
    """LookupRequest -> LOOKUP_REQUEST"""
    return snake(camel).upper()


def c_comment(text, indent=''):
    """Prose as a C comment, wrapped."""
    text = ' '.join(text.split()).replace('*/', '* /')
    lines = textwrap.wrap(text, 96 - len(indent)) or ['']
    lines[0] = indent + '/* ' + lines[0]
    lines[1:] = [indent + ' * ' + line for line in lines[1:]]
    return '\n'.join(lines) + ' */\n'


def c_string(text):
    """Text as a C literal. Plain ASCII is right in Lua as well."""
    out = ''
    for byte in text.encode():
        char = chr(byte)
        if char in '"\\':
            out += '\\' + char
        elif 32 <= byte < 127:
            out += char
        else:
            out += '\\%03o' % byte
    return '"' + out + '"'


BANNER = '/* Generated from idl/ by gen/generate.py. Do not edit. */\n'
