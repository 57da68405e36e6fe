"""wire.lock: what a deployed peer relies on, as sorted text."""

HEADER = ('# What deployed peers rely on: numbers, types and names on the wire.\n'
          '# Written by gen/update-lock; a change of a line that stands here breaks them.\n')


def lock(schema):
    lines = []
    for message in sorted(schema.messages, key=lambda m: m.name):
        lines.append('message ' + message.name)
        for field in message.fields:
            label = 'repeated' if field.repeated else 'single'
            if field.oneof is not None:
                label = 'oneof:' + field.oneof.name
            lines.append('  %d %s %s %s' % (field.number, field.type_text(), field.name, label))
    for command in schema.commands:
        lines.append('command %d %s %s %s %s' % (command.number, command.name, command.request_name,
                                                 command.reply_name, command.choice('effect')))
    for value in sorted(schema.status.values, key=lambda v: v.number):
        lines.append('status %d %s' % (value.number, value.name))
    for enum in sorted(schema.enums, key=lambda e: e.name):
        if enum is not schema.status:
            lines += ['enum %s %d %s' % (enum.name, v.number, v.name) for v in enum.values]
    return HEADER + '\n'.join(lines) + '\n'
