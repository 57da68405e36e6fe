#!/usr/bin/python3
"""Measures directories against each other: metadata, streams, small files, git.

    bench.py [NAME=]DIR [[NAME=]DIR...]      the first is what the others are compared with

Every measurement is taken in every directory before the next one begins, in rounds; the
table shows medians, and in brackets how many times as fast as in the first directory.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 4 * KIB
ROOT = os.geteuid() == 0


def drop_caches():
    """Makes the kernel forget what it has of all filesystems; only root can."""
    if ROOT:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3\n")


class Place:
    """A directory under test, and where its measurements work."""

    def __init__(self, word):
        name, _, path = word.rpartition("=")
        self.base = os.path.abspath(path)
        self.name = name or os.path.basename(self.base) or "/"
        if not os.path.isdir(self.base):
            sys.exit("bench: '%s' is not a directory" % self.base)
        self.work = ""

    def open(self):
        """A fresh directory in it."""
        self.work = tempfile.mkdtemp(prefix=".bench.", dir=self.base)

    def close(self):
        """Leaves nothing behind."""
        shutil.rmtree(self.work, ignore_errors=True)

    def at(self, *names):
        """A path in it."""
        return os.path.join(self.work, *names)


class Bench:
    """The measurements; each returns units done, and is timed by its caller. They come
    in the order in which they stand: later ones use what earlier ones made."""

    def __init__(self, args):
        self.files = args.files
        self.size = args.size * MIB
        self.tree_files = args.tree
        self.rng = random.Random(args.seed)
        self.tar = None
        self.block = self.rng.randbytes(MIB)

    def names(self, place):
        """The small files."""
        return [place.at("files", "f%d" % number) for number in range(self.files)]

    def create(self, place):
        """create files|files/s"""
        os.mkdir(place.at("files"))
        for name in self.names(place):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return self.files

    def stat_warm(self, place):
        """stat, warm|files/s"""
        for name in self.names(place):
            os.stat(name)
        return self.files

    def stat_cold(self, place):
        """stat, cold|files/s"""
        return self.stat_warm(place)

    def list_long(self, place):
        """list with attributes, cold|entries/s"""
        with os.scandir(place.at("files")) as listing:
            for entry in listing:
                entry.stat(follow_symlinks=False)
        return self.files

    def remove(self, place):
        """remove files|files/s"""
        for name in self.names(place):
            os.unlink(name)
        os.rmdir(place.at("files"))
        return self.files

    def write_small(self, place):
        """write 4 KiB files|files/s"""
        os.mkdir(place.at("small"))
        count = self.files // 2
        for number in range(count):
            with open(place.at("small", "f%d" % number), "wb", buffering=0) as file:
                file.write(self.block[:BLOCK])
        return count

    def read_small(self, place):
        """read 4 KiB files, cold|files/s"""
        count = self.files // 2
        for number in range(count):
            with open(place.at("small", "f%d" % number), "rb", buffering=0) as file:
                file.read(BLOCK)
        return count

    def stream_write(self, place):
        """write a large file|MiB/s"""
        with open(place.at("large"), "wb", buffering=0) as file:
            for _ in range(self.size // MIB):
                file.write(self.block)
            os.fsync(file.fileno())
        return self.size / MIB

    def stream_read(self, place):
        """read a large file, cold|MiB/s"""
        with open(place.at("large"), "rb", buffering=0) as file:
            while file.read(MIB):
                pass
        return self.size / MIB

    def random_read(self, place):
        """read 4 KiB at random, cold|reads/s"""
        return self.at_random(place, os.O_RDONLY)

    def random_write(self, place):
        """write 4 KiB at random|writes/s"""
        return self.at_random(place, os.O_WRONLY)

    def at_random(self, place, flags):
        """4 KiB here and there in the large file."""
        descriptor = os.open(place.at("large"), flags)
        count = 5000
        for _ in range(count):
            offset = self.rng.randrange(self.size // BLOCK) * BLOCK
            if flags == os.O_RDONLY:
                os.pread(descriptor, BLOCK, offset)
            else:
                os.pwrite(descriptor, self.block[:BLOCK], offset)
        if flags != os.O_RDONLY:
            os.fsync(descriptor)
        os.close(descriptor)
        return count

    def untar(self, place):
        """unpack a tree|files/s"""
        os.mkdir(place.at("tree"))
        subprocess.run(["tar", "-xf", self.archive(), "-C", place.at("tree")], check=True)
        return self.tree_files

    def git_add(self, place):
        """git init, add, commit of it|trees/s"""
        tree = place.at("tree")
        subprocess.run(["git", "init", "-q", tree], check=True)
        subprocess.run(["git", "-C", tree, "-c", "gc.auto=0", "add", "-A"], check=True)
        subprocess.run(["git", "-C", tree, "-c", "user.name=b", "-c", "user.email=b@b", "-c", "gc.auto=0", "commit",
                        "-qm", "b"], check=True)
        return 1

    def git_status(self, place):
        """git status of it, cold|runs/s"""
        subprocess.run(["git", "-C", place.at("tree"), "status", "--porcelain"], check=True)
        return 1

    def git_status_warm(self, place):
        """git status of it, warm|runs/s"""
        return self.git_status(place)

    def remove_tree(self, place):
        """rm -r of it|files/s"""
        subprocess.run(["rm", "-rf", place.at("tree")], check=True)
        return self.tree_files

    def archive(self):
        """A tar file of many small files; made once, on local disk."""
        if self.tar is None:
            self.tar = tempfile.NamedTemporaryFile(suffix=".tar")
            with tarfile.open(fileobj=self.tar, mode="w") as tar:
                for number in range(self.tree_files):
                    info = tarfile.TarInfo("d%d/e%d/f%d.c" % (number % 40, number % 7, number))
                    info.size = 200 + number * 37 % 6000
                    start = number * 101 % (MIB - 8000)
                    tar.addfile(info, _Bytes(self.block[start:start + info.size]))
            self.tar.flush()
        return self.tar.name


class _Bytes:
    """Bytes to be read once."""

    def __init__(self, data):
        self.data = data

    def read(self, count):
        """The next COUNT of them."""
        piece, self.data = self.data[:count], self.data[count:]
        return piece


ORDER = ["create", "stat_warm", "stat_cold", "list_long", "remove", "write_small", "read_small", "stream_write",
         "stream_read", "random_read", "random_write", "untar", "git_status_warm", "git_status", "remove_tree"]
COLD = {"stat_cold", "list_long", "read_small", "stream_read", "random_read", "git_status"}


def measure(bench, place, name):
    """Units a second of one measurement."""
    if name in COLD:
        drop_caches()
    started = time.perf_counter()
    units = getattr(bench, name)(place)
    return units / (time.perf_counter() - started)


def one_round(bench, places, wanted, results):
    """All measurements in all places once; the places take turns."""
    for place in places:
        place.open()
    try:
        order = list(ORDER)
        order.insert(order.index("git_status_warm"), "git_add")
        for name in order:
            if name not in wanted:
                continue
            for place in places:
                rate = measure(bench, place, name)
                results.setdefault(name, {}).setdefault(place.name, []).append(rate)
                print(".", end="", flush=True, file=sys.stderr)
            places.reverse()
    finally:
        for place in places:
            place.close()
    print(file=sys.stderr)


def table(results, names):
    """The table as text."""
    width = max(len(name) for name in names) + 2
    out = ["%-36s %-10s" % ("", "") + "".join("%*s" % (max(width, 18), name) for name in names)]
    for measurement, values in results.items():
        title, unit = getattr(Bench, measurement).__doc__.splitlines()[0].split("|")
        cells = []
        first = statistics.median(values[names[0]])
        for name in names:
            rate = statistics.median(values[name])
            text = "%.0f" % rate if rate >= 100 else "%.3g" % rate
            cells.append("%*s" % (max(width, 18), text if name == names[0] else "%s (%.2f)" % (text, rate / first)))
        out.append("%-36s %-10s" % (title, unit) + "".join(cells))
    return "\n".join(out)


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="[NAME=]DIR")
    parser.add_argument("--files", type=int, default=5000, help="files to create, stat, list, remove (5000)")
    parser.add_argument("--tree", type=int, default=10000, help="files of the tree to unpack (10000)")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large file (1024)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which the median is taken (3)")
    parser.add_argument("--seed", type=int, default=1, help="of the random offsets (1)")
    parser.add_argument("--only", action="append", choices=ORDER, help="only this measurement; may be repeated")
    return parser.parse_args()


def wanted_of(only):
    """The measurements asked for, with those that they build on."""
    if not only:
        return set(ORDER) | {"git_add"}
    wanted = set(only)
    groups = [("create", {"stat_warm", "stat_cold", "list_long", "remove"}), ("write_small", {"read_small"}),
              ("stream_write", {"stream_read", "random_read", "random_write"}),
              ("untar", {"git_status", "git_status_warm", "remove_tree"}), ("git_add", {"git_status", "git_status_warm"})]
    for base, users in groups:
        if wanted & users:
            wanted.add(base)
    return wanted


def main():
    """Runs the rounds and prints the table."""
    args = parse()
    places = [Place(word) for word in args.places]
    names = [place.name for place in places]
    if len(set(names)) != len(names):
        sys.exit("bench: two directories have the name '%s'; write NAME=DIR" % names[0])
    if not ROOT:
        print("bench: not root: caches cannot be dropped, the cold numbers are warm ones; "
              "unmount and mount again between runs", file=sys.stderr)
    bench = Bench(args)
    results = {}
    for _ in range(args.rounds):
        one_round(bench, places, wanted_of(args.only), results)
    print(table(results, names))


if __name__ == "__main__":
    main()
