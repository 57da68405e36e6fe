#!/usr/bin/python3
"""Which requests it takes, one after the other, until a mount has read what another one wrote.

    chain.py [--frames] [-o OPTIONS]

Two mounts of one export are watched from the middle of their connections. A round is a request that was sent after the
answer to another one had come: two mounts across an ocean wait for each of them. Exits with 1 when the wrong thing was
read, or when a small file of A took B more rounds than it should.
"""

import argparse
import os
import sys
import time
from contextlib import closing

from frames import Between, rounds
from rig import Rig

KIB, MIB = 1 << 10, 1 << 20
GOAL = 2
SETTLED_S = 2.5  # after which nobody takes it for a file that is fought over
REPEATS = 3  # something else may come in between; the best one counts


class Chains:
    """Two mounts, and what is said on their connections."""

    def __init__(self, rig, show):
        self.show, self.frames, self.missed = show, [], 0
        rig.serve()
        server = int(rig.port)
        self.between = []
        self.mounts = []
        for name in "ab":
            self.between.append(Between(name.upper(), server, self.frames))
            rig.port = str(self.between[-1].port)
            self.mounts.append(rig.mount(name))

    def close(self):
        """Nobody listens any more."""
        for between in self.between:
            between.close()

    def a(self, *names):
        """A path in A's mount."""
        return os.path.join(self.mounts[0], *names)

    def b(self, *names):
        """A path in B's mount."""
        return os.path.join(self.mounts[1], *names)

    def scene(self, what, names, size, goal=None):
        """A writes files called NAMES of SIZE bytes, one after the other and each a moment before B reads it. Says
        what the cheapest one cost."""
        costs = []
        for number, name in enumerate(names):
            data = bytes([ord("0") + number]) * size
            time.sleep(SETTLED_S)
            spill(self.a(*name), data)
            time.sleep(0.1)
            del self.frames[:]
            if slurp(self.b(*name)) != data:
                sys.exit("bench: B read something else than A wrote")
            seen = list(self.frames)
            costs.append((rounds(seen, "B"), rounds(seen, "A"), seen))
        best = min(costs, key=lambda cost: cost[:2])
        late = goal is not None and best[0] > goal
        self.missed += late
        print("%-44s %d of B, %d of A%s%s" % (what, best[0], best[1], " (goal %d)" % goal if goal else "",
                                             "  MISSED" if late else ""), flush=True)
        for frame in best[2] if self.show else ():
            print("    " + str(frame))


def spill(path, data):
    """A file with DATA in it, made or replaced, in a directory that is there afterwards."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, data)
    os.close(descriptor)


def slurp(path):
    """What is in a file."""
    descriptor = os.open(path, os.O_RDONLY)
    data = b"".join(iter(lambda: os.read(descriptor, MIB), b""))
    os.close(descriptor)
    return data


def run(chains):
    """All of it."""
    spill(chains.a("w", "first"), b"x")
    slurp(chains.b("w", "first"))
    each = range(REPEATS)
    chains.scene("a new file of 4 KiB", [("w", "new%d" % number) for number in each], 4 * KIB, GOAL)
    chains.scene("the same over one that B knows", [("w", "new0")] * REPEATS, 4 * KIB, GOAL)
    chains.scene("a new one in a new directory", [("w", "n%d" % number, "f") for number in each], 4 * KIB)
    chains.scene("a new file of 1 MiB", [("w", "big%d" % number) for number in each], MIB)


def main():
    """Sets it up, and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", action="store_true", help="show what was sent, by whom")
    parser.add_argument("--dir", default="/var/tmp", help="where to work (/var/tmp)")
    parser.add_argument("-o", "--options", default="", help="mount options for pohmelfs")
    args = parser.parse_args()
    with Rig(args.dir, args.options) as rig, closing(Chains(rig, args.frames)) as chains:
        run(chains)
    if chains.missed:
        sys.exit("bench: it took more than it should")


if __name__ == "__main__":
    main()
