"""Every fault in every phase, with real processes: a server and two mounts, struck at a moment that is made on purpose.

tests/e2e/fault_matrix.py runs all of it and prints a table; ./check runs a few cells: some always, others in turn.
"""

import hashlib
import os
import random
import subprocess
import time
import unittest

from fault_cell import Cell, why_not
from fault_phases import PHASES
from faults import FAULTS
from harness import LOCAL, ROOT, SLOWER, Case

# 0: the slice of ./check.
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "0"))
ROUND_S = 150
# The most telling ones.
ALWAYS = [("server killed", "rename half done"), ("server killed", "recall out"), ("connection reset", "reclaim"),
          ("I/O error", "flush under way"), ("power loss", "applied, unanswered")]
IN_TURN = 7
DAY_S = 86400


def cells():
    """All of them, (fault, phase)."""
    return [(fault, phase) for fault in FAULTS for phase in PHASES]


def turn():
    """A number that is another one for each commit; where that is not known, for each day."""
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, check=False)
    name = done.stdout or str(time.time() // DAY_S).encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:3], "big")


SEED = int(os.environ.get("FAULT_SEED", turn()))


def chosen():
    """Those to be run."""
    if ROUNDS:
        return cells()
    # Where the end of leases is waited for it takes longer.
    others = [(fault, phase) for fault, phase in cells()
              if (fault, phase) not in ALWAYS and not FAULTS[fault].short and phase != "shutdown"]
    return ALWAYS + random.Random(turn()).sample(others, IN_TURN)


def name_of(fault, phase):
    """Of the test of a cell."""
    return "test_%s__%s" % tuple(text.translate(str.maketrans(" /-", "___", ",")) for text in (fault, phase))


def test_of(fault, phase):
    """The test of a cell."""
    def test(self):
        reason = why_not(fault, phase)
        if reason:
            self.skipTest(reason)
        for number in range(max(1, ROUNDS)):
            form = number if ROUNDS else SEED
            broken = Cell(self, fault, phase, form, SEED + number).run()
            self.assertEqual(broken, [], "%s: %s, form %d, seed %d" % (fault, phase, form, SEED + number))
            self.doCleanups()
    test.__doc__ = "%s: %s. What was promised is there, once, and all go on." % (fault, phase)
    return test


@unittest.skipIf(LOCAL, "about the programs")
class FaultMatrix(Case):
    """A test for each cell."""

    limit_s = ROUND_S * max(1, ROUNDS) * SLOWER


for one in chosen():
    setattr(FaultMatrix, name_of(*one), test_of(*one))
