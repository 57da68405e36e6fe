"""What a server keeps does not grow with the sessions, transactions and restarts that it has seen."""

import os
import sqlite3
import sys

import wire
from harness import SLOWER, Case, wait_for
from test_transactions import ROOT, Session, create, mkdir, transaction
from wire import block, number

ROUNDS, SESSIONS, STARTS = 2, 300, 3  # more sessions in a round than AWAY_MAX
AWAY_MAX = 256  # sessions of one machine without a connection that are waited for
REMOVE, RMDIR = 46, 47
SLACK_BYTES = 1 << 20
LOG_MAX_BYTES = 48 << 20  # of the database


def size_of(directory):
    """Bytes that it takes on the disk, by name."""
    return {entry.name: entry.stat().st_blocks * 512 for entry in os.scandir(directory)}


def known(server):
    """Sessions that the server would take up again."""
    with sqlite3.connect("file:%s?mode=ro" % os.path.join(server.state, "pohmel.db"), uri=True) as base:
        return base.execute("SELECT count(*) FROM sessions").fetchone()[0]


def objects(server):
    """Objects that the server remembers by their ids."""
    with sqlite3.connect("file:%s?mode=ro" % os.path.join(server.state, "pohmel.db"), uri=True) as base:
        return base.execute("SELECT count(*) FROM objects").fetchone()[0]


def gone(command, name):
    """A Change."""
    return block(command, wire.CALLER + number(2, ROOT) + block(3, name))


class Bounds(Case):
    """Sessions that come, make transactions and vanish; and restarts."""

    limit_s = 120 * SLOWER

    def visit(self, server, name):
        """A client that makes something, takes it away, and is never heard of again."""
        session = Session(server)
        changes = [mkdir(ROOT, name, session.ids(1)), gone(RMDIR, name), create(ROOT, name, session.ids(1)), gone(REMOVE, name)]
        self.assertEqual(session.transact(transaction(changes)).status, wire.OK)
        for change in (mkdir(ROOT, name, session.ids(1)), gone(RMDIR, name)):
            self.assertEqual(session.transact(transaction([change])).status, wire.OK)
        session.peer.close()

    def test_nothing_grows_without_bound(self):
        """Neither the journal nor what is known of sessions and objects."""
        server = self.server()
        sizes = []
        for round_ in range(ROUNDS):
            for number_ in range(SESSIONS):
                self.visit(server, b"r%dn%d" % (round_, number_))
            wait_for(lambda: known(server) <= AWAY_MAX, "most sessions to be forgotten")
            sizes.append(size_of(server.state))
        for _ in range(STARTS):
            server.kill()
            server.start()
        sizes.append(size_of(server.state))
        for name in sizes[-1]:
            most = LOG_MAX_BYTES if name == "pohmel.db-wal" else sizes[0].get(name, 0) + SLACK_BYTES
            self.assertLessEqual(sizes[-1][name], most, sizes)
        wait_for(lambda: objects(server) == 0, "what is gone to be forgotten")
        self.assertLessEqual(set(os.listdir(server.export)), {".pohmel"})
        print("bytes in the state directory: %s" % sizes[-1], file=sys.stderr)
