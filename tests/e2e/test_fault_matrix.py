"""Every fault in every phase, with real processes: a server and two mounts, struck at a moment that is made on purpose.

tests/e2e/fault_matrix.py runs all of it and prints a table; ./check runs a few cells: some always, others in turn.
"""

import hashlib
import os
import random
import subprocess
import unittest

from fault_cell import Cell, why_not
from fault_phases import PHASES
from faults import FAULTS
from harness import LOCAL, ROOT, SLOWER, Case

# 0: the slice of ./check.
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "0"))
SEED = int(os.environ.get("FAULT_SEED", random.randrange(1 << 30)))
ROUND_S = 150
# The most telling ones.
ALWAYS = [("server killed", "rename half done"), ("both killed", "applied, unanswered")]
IN_TURN = 6


def cells():
    """All of them, (fault, phase)."""
    return [(fault, phase) for fault in FAULTS for phase in PHASES]


def turn():
    """A number that is another one for each commit."""
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, check=False)
    return int.from_bytes(hashlib.sha256(done.stdout).digest()[:8], "big")


def chosen():
    """Those to be run."""
    if ROUNDS:
        return cells()
    others = [cell for cell in cells() if cell not in ALWAYS and not FAULTS[cell[0]].short]
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
