"""The protocol by hand, as far as a hostile or a careful peer needs it. Written
from docs/protocol.md, not from the code."""

import socket
import struct

HEADER = struct.Struct("<4sBBBBHHIQIIIIII")
MAGIC = b"PHM1"
BANNER = struct.Struct("<8sHHI")
REQUEST, REPLY, EVENT, CONTROL = 1, 2, 3, 4
PING, PONG, CANCEL, GOAWAY = 1, 2, 3, 4
NO_SLOT = 0xFFFFFFFF
SESSION_OPEN, IDS_GRANT, TRANSACT, LOOKUP, GETATTR, READDIR = 1, 4, 8, 16, 17, 20
OK, INVALID, UNSUPPORTED, UNKNOWN_COMMAND, MALFORMED, WRONG_STATE = 0, 14, 31, 64, 65, 66
NO_EXPORT, NO_SESSION, BAD_SEQUENCE, NO_LEASE = 67, 69, 70, 76


def _table():
    out = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        out.append(value)
    return out


_TABLE = _table()


def crc32c(data):
    """CRC-32C (R-2.2-3)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def varint(value):
    """A protobuf varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    """A number field."""
    return varint(field << 3) + varint(value)


def block(field, value):
    """A bytes or message field."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def fields(data):
    """{field number: [values]} of an encoded message."""
    out, at = {}, 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = take()
        if key & 7 == 0:
            value = take()
        elif key & 7 == 2:
            length = take()
            value = data[at:at + length]
            at += length
        else:
            raise ValueError("wire type %d" % (key & 7))
        out.setdefault(key >> 3, []).append(value)
    return out


CALLER = block(1, number(1, 0) + number(2, 0))


def hello(features=7, required=0):
    """An encoded Hello."""
    return number(1, features) + number(2, required) + number(3, 262144) + number(4, 1 << 20) + block(5, b"test")


def banner(message, low=1, high=1):
    """Banner and hello."""
    return BANNER.pack(b"POHMEL\r\n", low, high, len(message)) + message


def frame(command, message=b"", payload=b"", kind=REQUEST, ident=1, slot=NO_SLOT, sequence=0, flags=0, status=0):
    """A frame."""
    head = HEADER.pack(MAGIC, 12, kind, flags, 0, command, 0, status, ident, slot, sequence, len(message),
                       len(payload), crc32c(message + payload), 0)[:44]
    return head + struct.pack("<I", crc32c(head)) + message + payload


class Closed(Exception):
    """The peer closed the connection."""


class Reply:
    """A frame as received."""

    def __init__(self, head, message, payload):
        (_, _, self.kind, self.flags, _, self.command, self.credits, self.status, self.ident, self.slot,
         self.sequence, _, _, _, _) = head
        self.message, self.payload = message, payload


class Peer:
    """A connection to a server."""

    def __init__(self, port, greet=True):
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.settimeout(20)
        self.ident = 100
        if greet:
            self.send(banner(hello()))
            self.peer_hello()

    def close(self):
        """Ends it."""
        self.socket.close()

    def send(self, data):
        """Sends bytes; a peer that closed meanwhile is not an error here."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def take(self, count):
        """Exactly COUNT bytes, or Closed."""
        out = b""
        while len(out) < count:
            try:
                piece = self.socket.recv(count - len(out))
            except ConnectionResetError as error:
                raise Closed from error
            if not piece:
                raise Closed
            out += piece
        return out

    def peer_hello(self):
        """The server's hello."""
        magic, low, high, length = BANNER.unpack(self.take(16))
        assert magic == b"POHMEL\r\n" and low <= high and length <= 4096
        return fields(self.take(length))

    def receive(self):
        """The next frame, checked."""
        raw = self.take(48)
        head = HEADER.unpack(raw)
        assert head[0] == MAGIC and head[1] == 12
        assert head[14] == crc32c(raw[:44])
        message, payload = self.take(head[11]), self.take(head[12])
        assert head[13] == crc32c(message + payload)
        return Reply(head, message, payload)

    def ask(self, command, message=b"", payload=b"", **more):
        """Sends a request and returns its reply."""
        self.ident += 1
        self.send(frame(command, message, payload, ident=self.ident, **more))
        while True:
            reply = self.receive()
            if reply.kind == REPLY and reply.ident == self.ident:
                return reply
            if reply.kind == CONTROL and reply.command == GOAWAY:
                raise Closed(reply.status)

    def open(self, name=b"data", client=b"c" * 16, session=1, **more):
        """Opens a session."""
        message = block(1, client) + number(2, session) + block(3, name)
        for key, value in more.items():
            message += number({"resume": 4, "read_only": 5}[key], value)
        return self.ask(SESSION_OPEN, message)

    def at_end(self):
        """Reads on to the end; the status of the GOAWAY that came before it, or None."""
        status = None
        try:
            while True:
                reply = self.receive()
                if reply.kind == CONTROL and reply.command == GOAWAY:
                    status = reply.status
        except Closed:
            return status
