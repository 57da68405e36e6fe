"""Compares two wire locks in the terms of the protocol."""

BREAKS = 'deployed peers would break'


def parse(text):
    """Key in words -> what the wire relies on, in the order of the text."""
    entries, message = {}, ''
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith('#'):
            continue
        if line.startswith('  '):
            number, kind, name, label = words
            entries['field %s of %s' % (number, message)] = {'type': kind, 'name': name, 'label': label}
        elif words[0] == 'message':
            message = words[1]
            entries['message ' + message] = {}
        elif words[0] == 'command':
            entries['command ' + words[1]] = dict(zip(('name', 'request', 'reply', 'effect'), words[2:]))
        elif words[0] == 'status':
            entries['status ' + words[1]] = {'name': words[2]}
        elif words[0] == 'enum':
            entries['value %s of %s' % (words[2], words[1])] = {'name': words[3]}
        else:
            raise ValueError('a wire lock does not have lines like "%s"' % line)
    return entries


def compare(old, new):
    """(what breaks, what is new), each a list of sentences."""
    before, after = parse(old), parse(new)
    broken, added = [], []
    for key, was in before.items():
        if key not in after:
            name = ' (%s)' % was['name'] if 'name' in was else ''
            broken.append('%s%s was removed: %s' % (key, name, BREAKS))
            continue
        for aspect, value in was.items():
            now = after[key].get(aspect)
            if now != value:
                broken.append('%s changed %s from %s to %s: %s' % (key, aspect, value, now, BREAKS))
    for key, now in after.items():
        if key not in before:
            name = ' (%s)' % now['name'] if 'name' in now else ''
            added.append('%s%s is new: run gen/update-lock and commit idl/wire.lock' % (key, name))
    return broken, added
