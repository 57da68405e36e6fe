#!/usr/bin/python3
"""Generates everything that follows from idl/. Usage: generate.py DESCRIPTOR_SET OUTPUT_DIR

DESCRIPTOR_SET comes from protoc --include_imports --include_source_info
--descriptor_set_out. What is incomplete is refused: one line "file:line: what
is missing" for each on stderr, exit 1, and nothing is written.
"""
import os
import sys

from pohmelgen import check, emit_commands, emit_dispatch, emit_lock, emit_lua, emit_reference, emit_stubs
from pohmelgen.schema import Schema

OUTPUTS = {
    'ph_protocol.h': emit_commands.protocol_header,
    'ph_commands.h': emit_commands.header,
    'ph_commands.c': emit_commands.source,
    'ph_dispatch.h': emit_dispatch.header,
    'ph_dispatch.c': emit_dispatch.source,
    'ph_stubs.h': emit_stubs.header,
    'ph_stubs.c': emit_stubs.source,
    'reference.md': emit_reference.page,
    'pohmel.lua': emit_lua.dissector,
    'wire.lock': emit_lock.lock,
}


def main(arguments):
    if len(arguments) != 3:
        sys.exit(__doc__)
    with open(arguments[1], 'rb') as file:
        schema = Schema(file.read())
    problems = check.problems(schema)
    if problems:
        sys.stderr.write('\n'.join(problems) + '\n')
        return 1
    texts = {name: emit(schema) for name, emit in OUTPUTS.items()}
    for name, text in texts.items():
        with open(os.path.join(arguments[2], name), 'w', encoding='utf-8') as file:
            file.write(text)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
