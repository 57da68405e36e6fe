"""Transactions of several commands, sent by hand: all of it or nothing is there, for whoever looks, and whenever
the server is killed. R-5.1-10, sections 5.3 and 5.4."""

import os
import random
import struct
import threading
import time

import wire
from harness import SLOWER, Case
from wire import Closed, Peer, block, fields, number

STAGE, RECLAIM_DONE = 9, 84
STALE, LIMIT, EXISTS, ABORTED = 28, 72, 10, 77
CREATE, MKDIR, REMOVE, RENAME = 40, 41, 46, 48
ROOT = 1
FILES, PARTS = 40, 4  # files of one part


def mkdir(parent, name, object_id):
    """A Change."""
    return block(MKDIR, wire.CALLER + number(2, parent) + block(3, name) + number(4, object_id) + number(5, 0o755))


def create(parent, name, object_id, length=0):
    """A Change; LENGTH bytes of the payload are its data."""
    return block(CREATE, wire.CALLER + number(2, parent) + block(3, name) + number(4, object_id) + number(5, 0o644) +
                 number(7, 1) + number(11, length))


def rename(name, new_name, flags=0):
    """A Change, in the root."""
    return block(RENAME, wire.CALLER + number(2, ROOT) + block(3, name) + number(4, ROOT) + block(5, new_name) +
                 number(6, flags))


def transaction(changes, staged=0, parts=0):
    """A TransactRequest."""
    return b"".join(block(1, change) for change in changes) + number(3, staged) + number(4, parts)


def part(name, which, changes):
    """A StageRequest."""
    return number(1, name) + number(2, which) + b"".join(block(3, change) for change in changes)


class Session:
    """A session with one slot in use, which goes on at a server that was started anew."""

    def __init__(self, server):
        self.server = server
        self.client = os.urandom(16)
        self.sequence = 0
        self.peer = Peer(server.port)
        reply = self.peer.ask(wire.SESSION_OPEN, self.opening())
        assert reply.status == wire.OK
        said = fields(reply.message)
        assert said[16][0] > 1 and said[17][0] > 0
        granted = fields(self.peer.ask(wire.IDS_GRANT, number(1, 4096)).message)
        self.next_id = granted[1][0]

    def opening(self):
        """SESSION_OPEN."""
        return block(1, self.client) + number(2, 1) + block(3, b"data") + number(12, 1)

    def resume(self):
        """Over a new connection."""
        self.peer.close()
        self.peer = Peer(self.server.port)
        assert self.peer.ask(wire.SESSION_OPEN, self.opening() + number(4, 1)).status == wire.OK
        assert self.peer.ask(RECLAIM_DONE).status == wire.OK

    def ids(self, count):
        """COUNT ids that nothing has."""
        self.next_id += count
        return self.next_id - count

    def transact(self, message, payload=b"", again=False):
        """The next transaction, or the last one again."""
        self.sequence += not again
        return self.peer.ask(wire.TRANSACT, message, payload, slot=0, sequence=self.sequence)


def statuses(reply):
    """Of the results in a reply."""
    return [fields(result).get(1, [0])[0] for result in fields(reply.message).get(1, [])]


class Transactions(Case):
    """Several commands."""

    limit_s = 120 * SLOWER

    def tree(self, session, name, number_of=77):
        """Stages the making of a directory of files; the request that executes it, and its payload."""
        top = session.ids(1)
        changes = []
        for which in range(PARTS):
            first = session.ids(FILES)
            changes.append([create(top, b"f%d" % (which * FILES + i), first + i, 5) for i in range(FILES)])
        changes[0].insert(0, mkdir(ROOT, name, top))
        for which in range(PARTS - 1):
            reply = session.peer.ask(STAGE, part(number_of, which + 1, changes[which]), b"bytes" * FILES)
            self.assertEqual(reply.status, wire.OK)
        return transaction(changes[-1], number_of, PARTS - 1), b"bytes" * FILES

    def test_a_failed_one_leaves_nothing(self):
        """Which command failed is told; the others are ABORTED."""
        server = self.server()
        session = Session(server)
        one = session.ids(4)
        request = transaction([mkdir(ROOT, b"d", one), create(one, b"f", one + 1), mkdir(ROOT, b"d", one + 2),
                               mkdir(ROOT, b"e", one + 3)])
        reply = session.transact(request)
        self.assertEqual(reply.status, EXISTS)
        self.assertEqual(statuses(reply), [ABORTED, ABORTED, EXISTS, ABORTED])
        self.assertEqual(fields(reply.message)[3][0], 3)
        self.assertIn(b"command 3", reply.payload)
        self.assertEqual([name for name in os.listdir(server.export) if name != ".pohmel"], [])
        session.peer.close()

    def test_a_tree_appears_at_once(self):
        """Another mount sees no tree, or all of it."""
        server = self.server()
        mount = self.mount(server)
        session = Session(server)
        request, payload = self.tree(session, b"tree")
        seen, done = set(), threading.Event()

        def look():
            while not done.is_set():
                try:
                    seen.add(len(os.listdir(mount.join("tree"))))
                except FileNotFoundError:
                    seen.add(0)

        looker = threading.Thread(target=look)
        looker.start()
        try:
            self.assertEqual(session.transact(request, payload).status, wire.OK)
            time.sleep(0.2)
        finally:
            done.set()
            looker.join()
        self.assertLessEqual(seen, {0, FILES * PARTS})
        self.assertEqual(len(os.listdir(mount.join("tree"))), FILES * PARTS)
        self.assertEqual(os.listdir(os.path.join(server.state, "staged")), [])
        session.peer.close()

    def test_killed_at_any_moment(self):
        """The server dies while it executes one, and is started again: all or nothing, and all when it is sent
        again, once."""
        server = self.server()
        session = Session(server)
        for turn in range(4):
            name = b"tree%d" % turn
            below = os.path.join(server.export, name.decode())
            request, payload = self.tree(session, name, 100 + turn)
            killer = threading.Timer(random.uniform(0, 0.04), server.kill)
            killer.start()
            answered = None
            try:
                answered = session.transact(request, payload).status
            except (Closed, OSError, struct.error):
                pass
            killer.join()
            server.start()
            found = len(os.listdir(below)) if os.path.isdir(below) else 0
            self.assertIn(found, (0, FILES * PARTS))
            self.assertIn(answered, (None, wire.OK))
            self.assertTrue(answered is None or found)
            session.resume()
            self.assertEqual(session.transact(request, payload, again=True).status, wire.OK)
            self.assertEqual(len(os.listdir(below)), FILES * PARTS)
        session.peer.close()

    def test_bad_parts_are_refused(self):
        """Whatever a peer stages, nothing is executed, and the server goes on."""
        server = self.server()
        session = Session(server)
        one = session.ids(3)
        made = mkdir(ROOT, b"d", one)
        stage = session.peer.ask
        self.assertEqual(stage(STAGE, part(1, 0, [made])).status, wire.INVALID)
        self.assertEqual(stage(STAGE, part(1, 1025, [made])).status, wire.MALFORMED)
        self.assertEqual(stage(STAGE, part(1, 1, [])).status, wire.INVALID)
        self.assertEqual(stage(STAGE, part(0, 1, [made])).status, wire.MALFORMED)
        self.assertEqual(stage(STAGE, part(1, 1, [made]), b"x").status, wire.MALFORMED)
        self.assertEqual(stage(STAGE, part(1, 1, [create(ROOT, b"f", one, 9)]), b"x").status, wire.MALFORMED)
        self.assertEqual(stage(STAGE, part(1, 1, [b""])).status, wire.MALFORMED)
        self.assertEqual(stage(STAGE, part(1, 1, [made])).status, wire.OK)
        self.assertEqual(stage(STAGE, part(1, 1, [mkdir(ROOT, b"e", one)])).status, wire.INVALID)
        for transactions in range(2, 5):
            self.assertEqual(stage(STAGE, part(transactions, 1, [made])).status, wire.OK)
        self.assertEqual(stage(STAGE, part(5, 1, [made])).status, LIMIT)
        last = [mkdir(ROOT, b"last", one + 1)]
        self.assertEqual(session.transact(transaction(last, 1, 2)).status, STALE)
        self.assertEqual(session.transact(transaction(last, 99, 1)).status, STALE)
        self.assertEqual(session.transact(transaction(last, 1, 1025)).status, wire.MALFORMED)
        self.assertEqual([name for name in os.listdir(server.export) if name != ".pohmel"], [])
        self.assertEqual(stage(STAGE, number(1, 1) + number(4, 1)).status, wire.OK)
        self.assertEqual(session.transact(transaction(last, 1, 1)).status, STALE)
        self.assertEqual(len(os.listdir(os.path.join(server.state, "staged"))), 3)
        self.assertEqual(session.peer.ask(2).status, wire.OK)
        session.peer.close()
        limit = time.monotonic() + 20
        while os.listdir(os.path.join(server.state, "staged")) and time.monotonic() < limit:
            time.sleep(0.05)
        self.assertEqual(os.listdir(os.path.join(server.state, "staged")), [])
