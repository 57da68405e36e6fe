#!/usr/bin/python3
"""Counts how often a disk is told to write its cache out for an fsync of a small new file: on the disk itself, through
a mount of Pohmel by one program, and by many at once.

    flushes.py [--files N] [--at-once N]

The disks are filesystems in files, so nothing is said of time. Needs root and loop devices.
"""

import argparse
import os
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "scripts")]

from disks import Disk, why_not  # noqa: E402
from rig import Rig  # noqa: E402

KINDS = ("ext4", "xfs")
FILE_BYTES = 4096


def make(directory, names):
    """A small file for each name, one after the other, each synced."""
    for name in names:
        with open(os.path.join(directory, name), "wb", buffering=0) as file:
            file.write(bytes(FILE_BYTES))
            os.fsync(file.fileno())


def by_one(directory, files):
    """One program makes FILES files."""
    make(directory, ["one%d" % number for number in range(files)])


def by_many(directory, files, at_once):
    """AT_ONCE programs share the work."""
    threads = [threading.Thread(target=make, args=(directory, ["many%d.%d" % (first, number) for number in
                                                               range(files // at_once)])) for first in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def for_each(disk, files, work, *args):
    """Flushes of DISK for each of FILES files that WORK makes."""
    before = disk.flushes()
    work(*args)
    return (disk.flushes() - before) / files


def measure(kind, base, files, at_once):
    """A line of the table."""
    point = os.path.join(base, kind)
    os.mkdir(point)
    disk = Disk(kind, point)
    try:
        with Rig(directory=point) as rig:
            rig.serve()
            mount, local = rig.mount("mount"), rig.at("local")
            made = files // at_once * at_once
            for directory in (local, mount):
                make(directory, ["first"])
            return [for_each(disk, files, by_one, local, files), for_each(disk, files, by_one, mount, files),
                    for_each(disk, made, by_many, local, files, at_once),
                    for_each(disk, made, by_many, mount, files, at_once)]
    finally:
        disk.end()


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=16)
    args = parser.parse_args()
    if not 1 <= args.at_once <= args.files:
        parser.error("--files and --at-once have to be at least 1, and no more at once than there are")
    print("%-44s%10s%10s%14s%14s" % ("device flushes for each fsync of a new file", "local", "pohmel",
                                     "local, %d" % args.at_once, "pohmel, %d" % args.at_once))
    with tempfile.TemporaryDirectory(prefix="pohmel-flushes.", dir="/var/tmp") as base:
        for kind in KINDS:
            reason = why_not(kind)
            if reason:
                print("%-44s%s" % (kind, reason))
                continue
            print("%-44s%10.2f%10.2f%14.2f%14.2f" % (kind, *measure(kind, base, args.files, args.at_once)))


if __name__ == "__main__":
    main()
