#!/usr/bin/python3
"""Counts how often a disk is told to write its cache out for an fsync of a small new file: on the disk itself, through
a mount of Pohmel by one program, and by many at once; and the time that it takes, as a share of the disk's own. Then how
much more many mounts do at the same time than one.

    flushes.py [--files N] [--at-once N] [--rounds N] [--flush-ms MS]

The disks are filesystems in files, so of time only ratios are told, of rounds that take turns. Needs root and loop
devices.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "scripts")]

from disks import Disk, why_not  # noqa: E402
from places import BUILD  # noqa: E402
from rig import Rig  # noqa: E402

KINDS = ("ext4", "xfs")
FILE_BYTES = 4096
POLL_S = 0.05
DISK_BYTES = 1 << 30  # a log of usual size: one of a few MiB is full all the time, and emptying it takes flushes


class Work:
    """Counts the flushes of DISK and the time for fsyncs of new files."""

    def __init__(self, disk):
        self.disk, self.files, self.flushes, self.seconds, self.rounds = disk, 0, 0, 0.0, 0

    def do(self, directories, files):
        """One more round: a program for each of DIRECTORIES makes its share of FILES small files, each synced."""
        each = files // len(directories)
        self.rounds += 1
        names = ["round%d.%d.%d" % (self.rounds, len(directories), number) for number in range(each)]
        programs = [threading.Thread(target=make, args=(directory, names)) for directory in directories]
        flushes, started = self.disk.flushes(), time.perf_counter()
        for program in programs:
            program.start()
        for program in programs:
            program.join()
        self.seconds += time.perf_counter() - started
        self.flushes += self.disk.flushes() - flushes
        self.files += each * len(directories)

    def each(self):
        """Flushes for one file."""
        return self.flushes / self.files

    def rate(self):
        """Files a second."""
        return self.files / self.seconds


def make(directory, names):
    """A small file for each name, one after the other, each synced."""
    for name in names:
        with open(os.path.join(directory, name), "wb", buffering=0) as file:
            file.write(bytes(FILE_BYTES))
            os.fsync(file.fileno())


def below(top, count):
    """COUNT new directories below TOP."""
    paths = [os.path.join(top, "program%d" % number) for number in range(count)]
    for path in paths:
        os.mkdir(path)
    return paths


def measure(kind, base, args):
    """The lines of the table."""
    point = os.path.join(base, kind)
    os.mkdir(point)
    if args.flush_ms:
        os.mkdir(point + ".slow")
        slow = subprocess.Popen([os.path.join(BUILD, "bench", "limit", "limit"), point + ".slow", str(args.flush_ms)])
        while not os.path.ismount(point + ".slow"):
            if slow.poll() is not None:
                sys.exit("bench: the slow disk ended")
            time.sleep(POLL_S)
    try:
        on_disk(kind, point, os.path.join(point + ".slow", "img") if args.flush_ms else None, args)
    finally:
        if args.flush_ms:
            slow.terminate()
            slow.wait()


def on_disk(kind, point, image, args):
    """The same on the disk in IMAGE."""
    disk = Disk(kind, point, DISK_BYTES, image)
    try:
        with Rig(directory=point) as rig:
            rig.serve()
            mounts = [rig.mount("mount%d" % number) for number in range(args.at_once)]
            local = below(rig.at("local"), args.at_once)
            shared = below(mounts[0], args.at_once)
            own = [os.path.join(mount, os.path.basename(path)) for mount, path in zip(mounts, shared)]
            places = {"one program": (local[:1], shared[:1]), "%d programs" % args.at_once: (local, shared),
                      "%d mounts" % args.at_once: (local, own)}
            alone = None
            for label, (here, there) in places.items():
                for directory in here + there:
                    make(directory, ["first " + label])
                disk_itself, pohmel = Work(disk), Work(disk)
                for _ in range(args.rounds):
                    disk_itself.do(here, args.files // args.rounds)
                    pohmel.do(there, args.files // args.rounds)
                alone = alone or (disk_itself.rate(), pohmel.rate())
                print("%-6s%-16s%12.2f%10.2f%18.2f%18.2f%10.2f" % (
                    kind, label, disk_itself.each(), pohmel.each(), disk_itself.rate() / pohmel.rate(),
                    disk_itself.rate() / alone[0], pohmel.rate() / alone[1]), flush=True)
    finally:
        disk.end()


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=320)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--flush-ms", type=int, default=0, metavar="MS", help="disks in memory that take so long to flush")
    args = parser.parse_args()
    if min(args.files, args.at_once, args.rounds) < 1 or args.files < args.at_once * args.rounds:
        parser.error("each program has to make a file in each round, at least")
    print("%-22s%12s%10s%18s%18s%10s" % ("fsync of a new file", "flushes", "", "time", "rate of one's", ""))
    print("%-22s%12s%10s%18s%18s%10s" % ("", "local", "pohmel", "pohmel / local", "local", "pohmel"))
    with tempfile.TemporaryDirectory(prefix="pohmel-flushes.", dir="/var/tmp") as base:
        for kind in KINDS:
            reason = why_not(kind)
            if reason:
                print("%-6s%s" % (kind, reason))
                continue
            measure(kind, base, args)


if __name__ == "__main__":
    main()
