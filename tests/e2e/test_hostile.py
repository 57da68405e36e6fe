"""What a hostile or broken peer sends to the real server: a clear error, the
connection closed where it must be, everybody else served. Named after the
sentences of docs/protocol.md."""

import os
import random
import struct
import threading
import time

import wire
from calls import read, write
from harness import SLOWER, Case, Mount, Server
from wire import Closed, Peer, block, frame, number

GETATTR_ROOT = wire.CALLER + number(2, 1)
# What a single connection may make the server hold, with room for what malloc keeps.
GROWTH_MAX = 192 << 20


class Hostile(Case):
    """A mount works on while each test plays the villain."""

    limit_s = 120 * SLOWER

    @classmethod
    def setUpClass(cls):
        """One server, one honest mount."""
        cls.one = Server()
        cls.addClassCleanup(cls.one.stop)
        cls.honest = Mount(cls.one)
        cls.addClassCleanup(cls.honest.unmount)

    def setUp(self):
        """The server is as it was."""
        self._logs = [self.one.log]
        self.peers = []
        self.size = self.memory()

    def tearDown(self):
        """The honest mount was not harmed, and memory is bounded."""
        for peer in self.peers:
            peer.close()
        path = self.honest.join("honest")
        self.assertEqual(write(path, b"work"), 4)
        self.assertEqual(read(path), b"work")
        self.assertTrue(self.one.program.running())
        self.assertLess(self.memory() - self.size, GROWTH_MAX)

    def memory(self):
        """Resident bytes of the server."""
        with open("/proc/%d/statm" % self.one.program.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peer(self, greet=True, session=False):
        """A connection."""
        peer = Peer(self.one.port, greet)
        self.peers.append(peer)
        if session:
            self.assertEqual(peer.open(client=os.urandom(16)).status, wire.OK)
        return peer

    def good(self, peer):
        """The connection still serves."""
        self.assertEqual(peer.ask(wire.GETATTR, GETATTR_ROOT).status, wire.OK)

    def closed(self, peer):
        """The server ends the connection, promptly."""
        started = time.monotonic()
        status = peer.at_end()
        self.assertLess(time.monotonic() - started, 10 * SLOWER)
        return status

    def test_r_2_1_wrong_banners_are_closed(self):
        """Magic, versions the wrong way round, a hello that is too long or nonsense."""
        message = wire.hello()
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, wire.BANNER.pack(b"POHMEL\r\n", 2, 1, len(message)) + message,
                     wire.BANNER.pack(b"POHMEL\r\n", 1, 1, 1 << 31), wire.banner(b"\xff" * 100),
                     wire.banner(number(3, 5) + number(4, 5)), wire.banner(message, 7, 9)):
            peer = self.peer(greet=False)
            peer.send(data)
            peer.peer_hello()
            self.closed(peer)

    def test_r_2_2_wrong_headers_close_the_connection(self):
        """Every byte of a header turned, before and after the session."""
        sound = frame(wire.GETATTR, GETATTR_ROOT, ident=5)
        for at in range(48):
            peer = self.peer(session=True)
            broken = bytearray(sound)
            broken[at] ^= 0x41
            peer.send(bytes(broken))
            self.assertEqual(self.closed(peer), wire.MALFORMED, at)

    def test_r_2_2_wrong_fields_under_a_right_checksum_close_the_connection(self):
        """Kinds, flags, lengths, directions."""
        def head(**change):
            values = dict(magic=b"PHM1", length=12, kind=1, flags=0, cls=0, command=17, credits=0, status=0, ident=9,
                          slot=wire.NO_SLOT, sequence=0, message=0, payload=0, body=0)
            values.update(change)
            raw = wire.HEADER.pack(*values.values(), 0)[:44]
            return raw + struct.pack("<I", wire.crc32c(raw))
        for change in (dict(magic=b"PHM2"), dict(length=11), dict(length=255), dict(kind=0), dict(kind=9),
                       dict(flags=0x80), dict(cls=77), dict(message=262145), dict(message=0xFFFFFFFF),
                       dict(payload=(1 << 20) + 1), dict(payload=0xFFFFFFFF), dict(message=0xFFFFFFFF,
                                                                               payload=0xFFFFFFFF), dict(body=1)):
            peer = self.peer(session=True)
            peer.send(head(**change))
            self.assertEqual(self.closed(peer), wire.MALFORMED, change)
        for kind in (wire.REPLY, wire.EVENT):
            peer = self.peer(session=True)
            peer.send(head(kind=kind))
            self.assertEqual(self.closed(peer), wire.WRONG_STATE, kind)

    def test_r_2_3_malformed_messages_are_answered_and_the_connection_goes_on(self):
        """Truncated, out of range, missing members, bad names."""
        peer = self.peer(session=True)
        lookups = [wire.CALLER + number(2, 1) + block(3, name)
                   for name in (b"", b".", b"..", b"a/b", b"a\0b", b"x" * 256)]
        lookups += [wire.CALLER + number(2, 1), wire.CALLER + number(2, 0) + block(3, b"a"),
                    number(2, 1) + block(3, b"a"), wire.CALLER + number(2, 1) + block(3, b"a") * 65, b"\xff\xff\xff",
                    block(1, b"\x80"), wire.CALLER + b"\x10", block(1, number(3, 1) * 1025) + number(2, 1)]
        for message in lookups:
            self.assertEqual(peer.ask(wire.LOOKUP, message).status, wire.MALFORMED, message[:40])
        self.assertEqual(peer.ask(wire.GETATTR, GETATTR_ROOT, b"payload where none belongs").status, wire.MALFORMED)
        self.good(peer)

    def test_r_2_3_3_unknown_fields_are_ignored(self):
        """From a newer peer."""
        peer = self.peer(session=True)
        more = number(100, 7) + block(2000, b"new") + block(101, number(1, 1))
        self.assertEqual(peer.ask(wire.GETATTR, GETATTR_ROOT + more).status, wire.OK)

    def test_r_2_3_7_a_small_message_cannot_take_much_memory(self):
        """256 KiB of empty sub-messages and of tiny names."""
        peer = self.peer(session=True)
        bombs = [(wire.TRANSACT, block(1, b"") * 100000, dict(slot=0, sequence=1)),
                 (wire.LOOKUP, wire.CALLER + number(2, 1) + block(3, b"a") * 80000, {}),
                 (wire.LOOKUP, block(1, number(3, 1) * 100000) + number(2, 1), {})]
        for command, message, more in bombs:
            self.assertEqual(peer.ask(command, message, **more).status, wire.MALFORMED)
        self.good(peer)

    def test_r_3_1_2_nothing_is_served_before_the_session(self):
        """But pings."""
        peer = self.peer()
        for command in (wire.GETATTR, wire.LOOKUP, wire.IDS_GRANT, wire.TRANSACT):
            more = dict(slot=0, sequence=1) if command == wire.TRANSACT else {}
            self.assertEqual(peer.ask(command, GETATTR_ROOT, **more).status, wire.WRONG_STATE)
        peer.send(frame(wire.PING, kind=wire.CONTROL, ident=77))
        pong = peer.receive()
        self.assertEqual((pong.kind, pong.command, pong.ident), (wire.CONTROL, wire.PONG, 77))
        self.assertEqual(peer.open(client=os.urandom(16)).status, wire.OK)
        self.good(peer)

    def test_r_3_1_3_a_second_session_is_refused(self):
        """On one connection."""
        peer = self.peer(session=True)
        self.assertEqual(peer.open(client=os.urandom(16)).status, wire.WRONG_STATE)
        self.good(peer)

    def test_r_3_2_required_features_that_are_missing_end_it(self):
        """INCOMPATIBLE, said before closing."""
        peer = self.peer(greet=False)
        peer.send(wire.banner(wire.hello(required=1 << 40)))
        peer.peer_hello()
        self.assertIn(self.closed(peer), (68, None))

    def test_r_3_2_7_unknown_commands_are_told_from_those_that_do_not_fit(self):
        """And all are survived."""
        peer = self.peer(session=True)
        for command in (0, 5, 200, 9999, 65535):
            self.assertEqual(peer.ask(command).status, wire.UNKNOWN_COMMAND, command)
        self.assertEqual(peer.ask(83).status, wire.NO_LEASE)  # nothing is to be claimed here
        self.assertEqual(peer.ask(84).status, wire.OK)  # it is done with that
        self.assertEqual(peer.ask(91).status, wire.WRONG_STATE)  # an event
        self.good(peer)

    def test_r_4_1_a_wrong_export_is_told(self):
        """NO_EXPORT; and a session that is not kept."""
        self.assertEqual(self.peer().open(name=b"nope", client=os.urandom(16)).status, wire.NO_EXPORT)
        self.assertEqual(self.peer().open(client=os.urandom(16), resume=1).status, wire.NO_SESSION)

    def test_r_5_1_changes_outside_a_transaction_and_wrong_slots_are_refused(self):
        """Without effect."""
        peer = self.peer(session=True)
        mkdir = wire.CALLER + number(2, 1) + block(3, b"hostile") + number(4, 1 << 50) + number(5, 0o755)
        self.assertEqual(peer.ask(41, mkdir).status, wire.WRONG_STATE)
        body = block(1, block(41, mkdir))
        for slot, sequence in ((0, 2), (0, 0), (1 << 20, 1), (wire.NO_SLOT, 0)):
            self.assertEqual(peer.ask(wire.TRANSACT, body, slot=slot, sequence=sequence).status, wire.BAD_SEQUENCE)
        self.assertEqual(peer.ask(wire.TRANSACT, body, slot=0, sequence=1).status, wire.INVALID, "id not granted")
        self.assertEqual(peer.ask(wire.TRANSACT, body * 2, slot=1, sequence=1).status, wire.INVALID, "one of several")
        self.assertFalse(os.path.exists(os.path.join(self.one.export, "hostile")))
        self.good(peer)

    def test_r_5_1_6_a_repeated_transaction_is_answered_from_the_record(self):
        """And executed once."""
        peer = self.peer(session=True)
        first = wire.fields(peer.ask(wire.IDS_GRANT, number(1, 10)).message)[1][0]
        mkdir = wire.CALLER + number(2, 1) + block(3, b"once") + number(4, first) + number(5, 0o755)
        body = block(1, block(41, mkdir))
        one = peer.ask(wire.TRANSACT, body, slot=3, sequence=1)
        two = peer.ask(wire.TRANSACT, body, slot=3, sequence=1, flags=1)
        self.assertEqual((one.status, two.status), (wire.OK, wire.OK))
        self.assertEqual(one.message, two.message)
        again = block(1, block(41, mkdir.replace(number(4, first), number(4, first + 1))))
        self.assertEqual(peer.ask(wire.TRANSACT, again, slot=3, sequence=2).status, 10)
        os.rmdir(os.path.join(self.one.export, "once"))

    def test_r_3_6_credits_are_returned_exactly(self):
        """For small requests, payloads and reads."""
        peer = self.peer(session=True)
        self.assertEqual(peer.ask(wire.GETATTR, GETATTR_ROOT).credits, 1)
        self.assertEqual(peer.ask(wire.LOOKUP, b"\xff").credits, 1)
        reading = wire.CALLER + number(2, 1) + number(3, 1) + number(5, 1 << 20)
        self.assertEqual(peer.ask(23, reading).credits, 17)

    def test_r_3_6_more_than_the_credits_is_refused(self):
        """A flood of waiting requests."""
        peer = self.peer(session=True)
        reading = wire.CALLER + number(2, 1) + number(3, 1) + number(5, 1 << 20)
        flood = b"".join(frame(23, reading, ident=1000 + n) for n in range(3000))
        sender = threading.Thread(target=peer.send, args=(flood,))
        sender.start()
        seen = 0
        try:
            while seen < 3000:
                seen += peer.receive().kind == wire.REPLY
        except Closed:
            pass
        sender.join()

    def test_random_bytes_do_no_harm(self):
        """At every state, from a printed seed."""
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        for turn in range(150):
            peer = self.peer(greet=turn % 3 != 0, session=turn % 3 == 2)
            peer.send(rng.randbytes(rng.choice([1, 15, 16, 47, 48, 49, 500, 70000])))
            peer.close()
        self.assertTrue(self.one.program.running(), "seed %d" % seed)

    def test_random_messages_in_sound_frames_do_no_harm(self):
        """Each command with noise, and with pieces of right messages turned."""
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        peer = self.peer(session=True)
        commands = [1, 2, 3, 4] + list(range(16, 29)) + [70, 71, 72, 80, 81, 82, 83, 84, 90, 91]
        for _ in range(600):
            message = bytearray(wire.CALLER + number(2, rng.randrange(4)) + block(3, rng.randbytes(rng.randrange(20)))
                                + number(4, rng.randrange(1 << 40)) + number(5, rng.randrange(5000)))
            for _ in range(rng.randrange(4)):
                message[rng.randrange(len(message))] = rng.randrange(256)
            command = rng.choice(commands)
            if command == 2:
                continue
            try:
                peer.ask(command, bytes(message), rng.randbytes(rng.choice([0, 0, 0, 10])))
            except Closed:
                peer = self.peer(session=True)
        self.assertTrue(self.one.program.running(), "seed %d" % seed)

    def test_half_a_frame_and_then_nothing_does_no_harm(self):
        """Many connections that stop in the middle."""
        sound = frame(wire.GETATTR, GETATTR_ROOT)
        for cut in range(1, len(sound), 3):
            peer = self.peer(session=True)
            peer.send(sound[:cut])
        self.good(self.peer(session=True))

    def test_a_peer_that_does_not_read_is_not_waited_for(self):
        """Megabytes asked for and left lying; others go on, memory is bounded."""
        write(os.path.join(self.one.export, "big"), b"z" * (1 << 20))
        big = os.stat(self.honest.join("big")).st_ino
        for _ in range(4):
            peer = self.peer(session=True)
            self.assertEqual(peer.ask(21, wire.CALLER + number(2, big) + number(3, 7) + number(4, 1)).status, wire.OK)
            reading = wire.CALLER + number(2, big) + number(3, 7) + number(5, 1 << 20)
            peer.socket.settimeout(1)
            try:
                for n in range(400):
                    peer.socket.sendall(frame(23, reading, ident=1000 + n))
            except OSError:
                pass
        started = time.monotonic()
        self.assertEqual(len(read(self.honest.join("big"))), 1 << 20)
        self.assertLess(time.monotonic() - started, 5 * SLOWER)

    def test_many_connections_do_not_keep_others_out(self):
        """Three hundred that say nothing."""
        for _ in range(300):
            self.peer(greet=False)
        started = time.monotonic()
        write(self.honest.join("during"), b"x")
        self.assertLess(time.monotonic() - started, 5 * SLOWER)
        for peer in self.peers:
            peer.close()
        self.peers.clear()
        until = time.monotonic() + 15 * SLOWER
        while True:
            try:
                self.good(self.peer(session=True))
                break
            except (Closed, ConnectionError, AssertionError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
