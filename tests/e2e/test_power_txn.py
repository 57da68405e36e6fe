"""A server's machine that loses power while transactions are published: all or nothing, once, and what is said of it is
true.

POWER_ROUNDS=N, POWER_SEED=S as in test_power; POWER_KIND=xfs for another filesystem; with POWER_UNSYNCED=1 what was there
before is not on the disk yet, and the client makes it again, or need not.
"""

import os
import random
import subprocess
import time

from calls import read
from harness import POHMELCTL, SLOWER, Case, wait_for
from power import APART, Machine, why_not
from test_txn import FAILED, end

ROUNDS = int(os.environ.get("POWER_ROUNDS", "2"))
SEED = int(os.environ.get("POWER_SEED", str(random.randrange(1 << 30))))
UNSYNCED = os.environ.get("POWER_UNSYNCED", "") != ""
KIND = os.environ.get("POWER_KIND", "ext4")
FILES = 30
UP_TO_S = (0.15, 0.03)  # from the end of the command, and from the beginning of the commit
LOOK_S = 0.001
CHANGES = "mkdir d; for i in $(seq %d); do echo $i > d/g$i; echo new > f$i; done; rm f0; echo ready" % (FILES - 1)
AWAY_FROM_DISK = 'umount "$0" && exec "$@"'


def begin(top, disk):
    """A transaction under way in TOP. What it sees of the system is not to keep DISK mounted, which is the server's."""
    return subprocess.Popen([*APART, "sh", "-c", AWAY_FROM_DISK, disk, POHMELCTL, "txn", "--", "sh", "-ec", CHANGES],
                            cwd=top, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def contents(top):
    """Files and what is in them."""
    return {os.path.relpath(os.path.join(place, name), top): read(os.path.join(place, name))
            for place, _, files in os.walk(top) for name in files}


def expected(done):
    """The same, as it is to be."""
    if not done:
        return {"f%d" % number: b"old" for number in range(FILES)}
    new = {"f%d" % number: b"new\n" for number in range(1, FILES)}
    return {**new, **{"d/g%d" % number: b"%d\n" % number for number in range(1, FILES)}}


class Power(Case):
    """Some files are replaced, others are made in a new directory, one is removed."""

    limit_s = 60 * SLOWER + 30 * SLOWER * ROUNDS
    maxDiff = None

    def setUp(self):
        reason = why_not(KIND)
        if reason:
            self.skipTest(reason)
        self.chance = random.Random(SEED)
        self.machine = Machine(KIND)
        self.addCleanup(self.machine.end)
        self._logs = [self.machine.server.log]
        self.turns = 0

    def publish(self, mount, losing_power):
        """Whether the transaction was published. LOSING_POWER(process): what is done meanwhile."""
        self.turns += 1
        name = "t%d" % self.turns
        top = mount.join(name)
        os.mkdir(top)
        for number in range(FILES):
            with open(os.path.join(top, "f%d" % number), "wb", buffering=0) as file:
                file.write(b"old")
                if not UNSYNCED:
                    os.fsync(file.fileno())
        process = begin(top, self.machine.path)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        losing_power(process)
        code, said = end(process)
        words = "%s, turn %d, seed %d" % (said, self.turns, SEED)
        self.assertIn(code, (0, FAILED), words)
        for place in (top, os.path.join(self.machine.export, name)):
            self.assertEqual(contents(place), expected(code == 0), "%s: %s" % (place, words))
        return code == 0

    def lose_power(self, process, after_s):
        """Soon, and it comes back."""
        time.sleep(self.chance.uniform(0, after_s))
        self.machine.lose_power()
        self.assertEqual(self.machine.start(), "", "pohmel-server --check, seed %d" % SEED)

    def lose_power_in_the_commit(self, process):
        """As soon as the server writes down how the transaction is undone; or, should that be missed, later."""
        undo = os.path.join(self.machine.server.state, "undo")
        before = os.stat(undo).st_mtime_ns
        wait_for(lambda: os.stat(undo).st_mtime_ns != before or process.poll() is not None, "the commit", step_s=LOOK_S)
        self.lose_power(process, UP_TO_S[1])

    def test_all_of_a_transaction_or_nothing_and_what_is_said_of_it_is_true(self):
        """Whenever it happens, and always while nothing does."""
        mount = self.mount(self.machine.server)
        self.assertTrue(self.publish(mount, lambda process: None))
        for turn in range(ROUNDS):
            if turn % 2 == 1:
                self.publish(mount, lambda process: self.lose_power(process, UP_TO_S[0]))
            else:
                self.publish(mount, self.lose_power_in_the_commit)
        self.assertTrue(self.publish(mount, lambda process: None))
