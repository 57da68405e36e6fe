"""Wireshark reads a conversation with the names of the schema. Usage: test_dissector.py POHMEL_LUA

Skipped (exit status 77) where there is no tshark.
"""
import os
import shutil
import struct
import subprocess
import sys
import tempfile

CLIENT, SERVER = 0, 1
REQUEST, REPLY = 1, 2
LOOKUP, READ, TRANSACT = 16, 23, 8


def varint(value):
    out = b''
    while True:
        low, value = value & 127, value >> 7
        out += bytes([low | (128 if value else 0)])
        if not value:
            return out


def number(field, value):
    return varint(field << 3) + varint(value)


def delimited(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def frame(kind, command, message, payload=b'', status=0):
    return struct.pack('<4sBBBBHHIQIIIIII', b'PHM1', 12, kind, 0, 0, command, 1, status, 7, 0xffffffff, 0,
                       len(message), len(payload), 0, 0) + message + payload


def conversation():
    """(sender, bytes of one TCP segment) each."""
    hello = number(1, 7) + delimited(5, b'pohmelfs 0.1')
    yield CLIENT, b'POHMEL\r\n' + struct.pack('<HHI', 1, 1, len(hello)) + hello
    caller = number(1, 1000) + delimited(3, varint(4) + varint(2 ** 31))
    lookup = delimited(1, caller) + number(2, 2 ** 63 + 5) + delimited(3, b'a"\xff')
    yield CLIENT, frame(REQUEST, LOOKUP, lookup)
    times = delimited(10, number(1, 1700000000 << 1)) + delimited(11, number(1, 5 * 2 - 1))
    read = frame(REPLY, READ, number(1, 1), b'x' * 3000)
    # The read begins in this segment and ends in the next.
    yield SERVER, frame(REPLY, LOOKUP, delimited(1, number(1, 17) + times)) + read[:1500]
    yield SERVER, read[1500:]
    yield SERVER, frame(REPLY, TRANSACT, delimited(1, number(1, 2)), b'no such', 2)
    yield CLIENT, frame(REQUEST, TRANSACT, b'\x0a\xff')


def capture():
    """The conversation as a pcap file of raw IP packets."""
    out = struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101)
    ports, sequence = (40000, 1025), [1000, 2000]
    for sender, data in conversation():
        tcp = struct.pack('>HHIIBBHHH', ports[sender], ports[1 - sender], sequence[sender],
                          sequence[1 - sender], 0x50, 0x18, 65535, 0, 0)
        sequence[sender] += len(data)
        packet = struct.pack('>BBHHHBBHII', 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0,
                             0x0a000001 + sender, 0x0a000002 - sender) + tcp + data
        out += struct.pack('<IIII', 0, 0, len(packet), len(packet)) + packet
    return out


EXPECTED = ['implementation: "pohmelfs 0.1"', 'Command: LOOKUP (16)', 'uid: 1000', 'groups: 4 2147483648',
            'parent: 9223372036854775813', 'names: "a\\x22\\xff"', 'seconds: 1700000000', 'seconds: -5',
            'Pohmel reply READ = OK #7', 'Payload bytes: 3000', 'end: yes',
            'Pohmel reply TRANSACT = NOT_FOUND #7', 'status: 2', 'Not a valid encoding']


def main(arguments):
    if shutil.which('tshark') is None:
        return 77
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, 'capture')
        with open(path, 'wb') as file:
            file.write(capture())
        done = subprocess.run(['tshark', '-r', path, '-X', 'lua_script:' + arguments[1], '-O', 'pohmel'],
                              capture_output=True, text=True, check=True)
    missing = [text for text in EXPECTED if text not in done.stdout]
    for text in missing:
        print('not in what tshark shows: ' + text)
    if missing:
        print(done.stdout, done.stderr)
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
