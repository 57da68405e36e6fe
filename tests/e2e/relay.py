"""A way from a mount to its server that knows the protocol (docs/protocol.md, section 2): it can hold a direction at a
message, reset connections, lose what goes in one direction, and be down. Looks like a server to who mounts it.
"""

import collections
import socket
import struct
import threading

import wire

UP, DOWN = "up", "down"  # to the server, to the mount
CONNECT_S = 20
CHANGES_FIELD = 1  # of TransactRequest


class Frame:
    """A frame as it goes by."""

    def __init__(self, head, body):
        fields = wire.HEADER.unpack(head)
        self.kind, self.command, self.ident = fields[2], fields[5], fields[8]
        self.message, self.data = body[:fields[11]], head + body

    def changes(self):
        """Commands of a TRANSACT request, as numbers."""
        if self.kind != wire.REQUEST or self.command != wire.TRANSACT:
            return []
        return [next(iter(wire.fields(change))) for change in wire.fields(self.message).get(CHANGES_FIELD, [])]


def message(kind, *commands):
    """What is true of frames of that kind with one of COMMANDS."""
    return lambda frame: frame.kind == kind and frame.command in commands


def several(frame):
    """A transaction of several commands."""
    return len(frame.changes()) > 1


class Hold:
    """The first frame in DIRECTION that FITS, and all behind it, wait until they are let go. COUNT: not before that many
    have gone by."""

    def __init__(self, direction, fits, count=0):
        self.direction, self.fits, self.count = direction, fits, count
        self.caught = threading.Event()
        self.gone = threading.Event()

    def takes(self, direction, frame):
        """Whether it is this frame that is held."""
        if self.caught.is_set() or self.gone.is_set() or direction != self.direction or not self.fits(frame):
            return False
        self.count -= 1
        if self.count >= 0:
            return False
        self.caught.set()
        return True


class Pair:
    """One connection of the mount, and the one to the server that belongs to it."""

    def __init__(self, near, far):
        self.near, self.far = near, far
        self.deaf, self.cut = set(), False
        self.pumping = 2
        self.lock = threading.Lock()

    def ends(self, direction):
        """(where frames come from, where they go)."""
        return (self.near, self.far) if direction == UP else (self.far, self.near)

    def close(self, reset):
        """No more of it; RESET: without a word of farewell, and without what is held."""
        self.cut = self.cut or reset
        for end in (self.near, self.far):
            try:
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            except OSError:
                pass

    def pumped(self):
        """A direction has ended, and with it the other one; the last one takes the sockets away."""
        if not self.cut:
            self.close(False)
        with self.lock:
            self.pumping -= 1
            last = self.pumping == 0
        for end in (self.near, self.far) if last else ():
            end.close()


class Ended(Exception):
    """There is nothing more to read."""


def take(end, count):
    """COUNT bytes."""
    out = bytearray()
    while len(out) < count:
        piece = end.recv(count - len(out))
        if not piece:
            raise Ended
        out += piece
    return bytes(out)


class Relay:
    """Between one mount and its server."""

    def __init__(self, server):
        self.server, self.exports = server, server.exports
        self.closed = self.down = False
        self.pairs, self.holds, self.passed = [], [], collections.Counter()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def hold(self, direction, fits, count=0):
        """Holds the next frame that FITS (Hold)."""
        hold = Hold(direction, fits, count)
        with self.lock:
            self.holds.append(hold)
        return hold

    def release(self):
        """What is held goes on, and nothing is held any more."""
        with self.lock:
            holds, self.holds = self.holds, []
        for hold in holds:
            hold.gone.set()

    def reset(self):
        """Every connection, whatever is under way."""
        with self.lock:
            for pair in self.pairs:
                pair.close(True)

    def lose(self, direction):
        """What goes in DIRECTION on the connections that there are is lost from now on."""
        with self.lock:
            for pair in self.pairs:
                pair.deaf.add(direction)

    def seen(self, kind, command):
        """How many such frames went by."""
        with self.lock:
            return self.passed[kind, command]

    def end(self):
        """No more connections."""
        self.closed = True
        self.listener.shutdown(socket.SHUT_RDWR)  # who waits there would keep it open
        self.accepting.join()
        self.listener.close()
        self.release()
        self.reset()

    def _accept(self):
        while not self.closed:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            try:
                if self.down:
                    raise OSError("nobody gets through")
                far = socket.create_connection(("127.0.0.1", self.server.port), CONNECT_S)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = Pair(near, far)
            with self.lock:
                self.pairs.append(pair)
            for direction in (UP, DOWN):
                threading.Thread(target=self._pump, args=(pair, direction), daemon=True).start()

    def _pump(self, pair, direction):
        source, target = pair.ends(direction)
        try:
            banner = take(source, wire.BANNER.size)
            target.sendall(banner + take(source, wire.BANNER.unpack(banner)[3]))
            while True:
                head = take(source, wire.HEADER.size)
                lengths = wire.HEADER.unpack(head)[11:13]
                self._pass(pair, direction, target, Frame(head, take(source, sum(lengths))))
        except (OSError, Ended):
            pass
        with self.lock:
            if pair in self.pairs:
                self.pairs.remove(pair)
        pair.pumped()

    def _pass(self, pair, direction, target, frame):
        with self.lock:
            hold = next((hold for hold in self.holds if hold.takes(direction, frame)), None)
        if hold is not None:
            hold.gone.wait()
        if direction in pair.deaf or pair.cut:
            return
        target.sendall(frame.data)
        with self.lock:
            self.passed[frame.kind, frame.command] += 1
