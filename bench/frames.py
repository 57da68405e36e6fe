"""What goes over the connections of a mount, frame by frame, as somebody in the middle sees it."""

import os
import re
import socket
import struct
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
IDL = os.path.join(os.path.dirname(HERE), "idl", "service.proto")
# docs/protocol.md, 2.1 and 2.2.
BANNER = struct.Struct("<8sHHI")
HEADER = struct.Struct("<4sBBBBHHIQIIIIII")
REQUEST, REPLY, EVENT = 1, 2, 3
TRANSACT = 8
PIECE = 1 << 16


def command_names():
    """{number: name} of the commands that are not members of a transaction."""
    with open(IDL, encoding="utf-8") as file:
        found = re.findall(r"rpc (\w+)\(.*?number: (\d+)", file.read(), re.DOTALL)
    return {int(number): name for name, number in found}


NAMES = command_names()


def _key(data, at):
    """The varint at AT, and what is behind it."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def changes(message):
    """Names of the commands in a TRANSACT."""
    names, at = [], 0
    while at < len(message):
        key, at = _key(message, at)
        size, behind = _key(message, at)
        if key & 7 == 2:
            if key >> 3 == 1:
                names.append(NAMES.get(_key(message, behind)[0] >> 3, "?"))
            behind += size
        at = behind
    return names


class Frame:
    """A frame that passed: who is the mount, and what it says."""

    def __init__(self, who, head, message):
        self.who, self.kind, self.ident, self.status = who, head[2], head[8], head[7]
        self.command, self.payload = head[5], head[12]
        self.what = NAMES.get(self.command, "control %d" % self.command)
        if self.kind == REQUEST and self.command == TRANSACT:
            self.what += "(%s)" % ", ".join(changes(message))

    def __str__(self):
        arrow = {REQUEST: "->", REPLY: "<-", EVENT: "<="}.get(self.kind, "--")
        status = " status %d" % self.status if self.status else ""
        data = " and %d bytes" % self.payload if self.payload else ""
        return "%s %s %s%s%s" % (self.who, arrow, self.what, status, data)


class Between:
    """Listens for one mount, and passes on what it and the server say. Frames are in `frames`, a list that several of
    these may share."""

    def __init__(self, who, port, frames):
        self.who, self.to, self.frames = who, port, frames
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        """Breaks all connections."""
        for end in [self.listener] + self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.ends += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source, target):
        """Frames are noted before they are passed on: so what answers them is noted behind them."""
        waiting, greeted = b"", False
        try:
            while piece := source.recv(PIECE):
                waiting += piece
                if not greeted and len(waiting) >= BANNER.size:
                    size = BANNER.size + BANNER.unpack_from(waiting)[3]
                    greeted, waiting = len(waiting) >= size, waiting[size:] if len(waiting) >= size else waiting
                if greeted:
                    waiting = self._note(waiting)
                target.sendall(piece)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _note(self, data):
        while len(data) >= HEADER.size:
            head = HEADER.unpack_from(data)
            size = HEADER.size + head[11] + head[12]
            if len(data) < size:
                break
            self.frames.append(Frame(self.who, head, data[HEADER.size:HEADER.size + head[11]]))
            data = data[size:]
        return data


def rounds(frames, who):
    """How many requests of WHO were sent one after the other: each of them after the answer to the one before it."""
    asked, done = {}, 0
    for frame in frames:
        if frame.who == who and frame.kind == REQUEST:
            asked[frame.ident] = done + 1
        elif frame.who == who and frame.kind == REPLY and frame.ident in asked:
            done = max(done, asked.pop(frame.ident))
    return done


__all__ = ["Between", "EVENT", "Frame", "REPLY", "REQUEST", "rounds"]

