"""An allocation that fails: the program goes on, or ends with words and is as one that was killed
(docs/decisions/0023-what-fails.md). STARVE_ROUNDS=N tries N allocations instead of a few, STARVE_SEED the same again;
STARVE_EVERY=N each Nth of all that there are, from STARVE_FROM on."""

import os
import random
import re
import threading
import time
import unittest

import test_failing_mount as failing
from calls import attempt, read
from harness import BUILD, LOCAL, SLOWER, Case, Server, flush, tail

STARVE = os.environ.get("STARVE_SO", os.path.join(BUILD, "tests", "faults", "libstarve.so"))
ROUNDS = int(os.environ.get("STARVE_ROUNDS", "3"))
EVERY = int(os.environ.get("STARVE_EVERY", "0"))
FROM = int(os.environ.get("STARVE_FROM", "1"))
SEED = int(os.environ.get("STARVE_SEED", random.randrange(1 << 32)))
# A server makes some 6,000 allocations until it is ready, and as many for the work below; so does a mount.
MOST = 14000
FILES = 60
# In what way ever it is said.
WORDS = "memory|allocat|cannot"


def starving(command, number):
    """COMMAND with an allocation that fails; 0: none does."""
    return ["env", "LD_PRELOAD=" + STARVE, "STARVE_AT=%d" % number] + command if number else command


class StarvedRound(failing.Round):
    """A mount whose Nth allocation fails, at work."""

    may_be_left = True

    def environment(self):
        """What makes it fail."""
        return "LD_PRELOAD=%s STARVE_AT=%d STARVE_LOG=%s" % (STARVE, self.at, self.log)


class StarvingServer(Server):
    """A server whose Nth allocation fails."""

    starve_at = 0

    def __init__(self, number, **options):
        self.starve_at = number
        super().__init__(**options)

    def command(self):
        """The command line."""
        return starving(super().command(), self.starve_at)


def safely(function, *args):
    """What could not be made stable is told, and is still there: it is asked for again."""
    for _ in range(20):
        try:
            return function(*args)
        except (OSError, AssertionError) as error:
            failure = error
            time.sleep(0.2)
    raise failure


def work(top, synced):
    """Files, some of them synced, moved, removed; names of those that fsync said are safe go to SYNCED."""
    os.makedirs(os.path.join(top, "d"), exist_ok=True)
    for number in range(FILES):
        path = os.path.join(top, "d", "f%03d" % number)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(descriptor, b"%03d" % number * (1 + number * 20))
            if number % 5 == 0:
                safely(os.fsync, descriptor)
                synced.append("f%03d" % number)
        finally:
            os.close(descriptor)
        if number % 7 == 1:
            os.rename(path, path + ".moved")
        if number % 7 == 2 and number % 5 != 0:
            os.unlink(path)


@unittest.skipIf(LOCAL, "about the programs")
class Starving(Case):
    """One allocation fails, of the server or of a mount."""

    limit_s = (180 + 15 * ROUNDS if not EVERY else 100000) * SLOWER

    def setUp(self):
        """Nothing to complain about yet."""
        self.complaints = []

    def numbers(self):
        """Of the allocations that fail."""
        if not os.path.exists(STARVE):
            self.skipTest("not built: " + STARVE)
        rng = random.Random(SEED)
        if EVERY:
            return range(FROM, MOST + 1, EVERY)
        return [int(MOST ** rng.uniform(0.5, 1)) for _ in range(ROUNDS)]

    def check(self, top, synced, number):
        """What was synced is there."""
        for name in synced:
            path = os.path.join(top, "d", name)
            path = path if os.path.exists(path) else path + ".moved"
            self.assertEqual(read(path), name[1:].encode() * (1 + int(name[1:]) * 20),
                             "allocation %d, seed %d" % (number, SEED))

    def test_a_server_that_is_out_of_memory_loses_nothing(self):
        """It goes on, or it ends with words, and everything is there when it was started again."""
        for number in self.numbers():
            one = self.starved_server(number)
            synced, done, over = [], [], threading.Event()
            keeper = threading.Thread(target=self.keep, args=(one, over))
            keeper.start()
            self.addCleanup(over.set)
            try:
                at = self.mount(one, options=("allow_other", "flush_age=200ms"))
            except AssertionError:  # it was being started again
                at = self.mount(one, options=("allow_other", "flush_age=200ms"))
            worker = threading.Thread(target=lambda top=at.path, s=synced, d=done: d.append(attempt(work, top, s)))
            worker.start()
            worker.join(60 * SLOWER)
            safely(flush, at.path)
            at.unmount()
            over.set()
            keeper.join()
            one.stop()
            self.assertEqual(done, [None], "allocation %d, seed %d" % (number, SEED))
            self.assertEqual(self.complaints, [], "allocation %d, seed %d" % (number, SEED))
            self.check(one.export, synced, number)
            self.assertEqual(len(os.listdir(os.path.join(one.export, "d"))), len([n for n in range(FILES)
                             if not (n % 7 == 2 and n % 5 != 0)]))

    def test_a_mount_that_is_out_of_memory_loses_only_what_was_not_synced(self):
        """It goes on, or ends with words; the server and others do not care."""
        self.one = self.server()
        self.other = self.mount(self.one)
        wrong = []
        for number in self.numbers():
            one = StarvedRound(self, number, 0, ("allow_other",))
            wrong += one.run()
            if EVERY:
                print("".join("# BROKEN: %s\n" % what for what in one.wrong) + "# " + one.told(), flush=True)
            if EVERY and one.calls()[0] is not None and not one.calls()[1]:
                break
        self.assertEqual(wrong, [], "\n".join(wrong + ["seed %d" % SEED]))

    def keep(self, server, over):
        """Starts it again when it has ended, as it should have, until it is OVER."""
        while not over.wait(0.05):
            if not server.program.running():
                said = "\n".join(tail(server.log))
                if server.program.process.returncode == -11 or not re.search(WORDS, said):
                    self.complaints.append(said)
                server.starve_at = 0
                try:
                    server.start()
                except AssertionError as error:
                    self.complaints.append("%s (%s)" % (error, server.program.process.returncode))

    def starved_server(self, number):
        """A server that is ready; one that ended before is started as usual."""
        try:
            one = StarvingServer(number)
        except AssertionError as error:
            self.assertRegex(str(error), WORDS)
            one = StarvingServer(0)
        self.addCleanup(one.stop)
        self._logs = getattr(self, "_logs", []) + [one.log]
        return one
