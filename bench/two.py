#!/usr/bin/python3
"""What two mounts of one export cost each other, and whether each reads what the other wrote.

    two.py [options]          sets up a server and two mounts of it, and takes them down
    two.py [options] A B      uses two directories, which have to be one and the same

Exits with 1 when a mount read anything else than what was written last.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from crowd import Reader, both_write  # noqa: E402
from places import Place  # noqa: E402
from rig import Rig, cpu_s  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
HANDS_GOAL = 2000
LATENCY_GOAL = 2  # round trips, and the data
NUMBER_BYTES = 8
RECORD = 64


class Two:
    """Two mounts, and what went wrong between them."""

    def __init__(self, a, b, args, server=None):
        self.a, self.b, self.args, self.server = a, b, args, server
        self.wrong = self.checked = self.wrong_in_all = 0
        self.round_trip = 0.0

    def check(self, got, want):
        """Counts whether GOT is WANT."""
        self.checked += 1
        self.wrong += got != want

    def line(self, what, text):
        """One line of the table, about what was checked since the last one."""
        wrong = "  %d of %d WRONG" % (self.wrong, self.checked) if self.wrong else ""
        print("%-48s %s%s" % (what, text, wrong), flush=True)
        self.wrong_in_all += self.wrong
        self.wrong = self.checked = 0

    def latencies(self, what, times, size):
        """One line about how long things took, in seconds; for SIZE bytes each."""
        times = sorted(times)
        middle = statistics.median(times)
        self.line(what, "%7.0f us, 90 %% below %7.0f us; %.1f round trips%s" % (
            middle * 1e6, times[len(times) * 9 // 10] * 1e6, middle / self.round_trip,
            " (goal %d)" % LATENCY_GOAL if size <= 4 * KIB else ""))


def timed(call):
    """Seconds that CALL took, and what it returned."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def slurp(path):
    """What is in a file."""
    descriptor = os.open(path, os.O_RDONLY)
    data = b"".join(iter(lambda: os.read(descriptor, MIB), b""))
    os.close(descriptor)
    return data


def spill(path, data):
    """A file with DATA in it, made or replaced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, data)
    os.close(descriptor)


@contextmanager
def opened(*paths, flags=os.O_RDWR):
    """Descriptors of PATHS."""
    descriptors = [os.open(path, flags) for path in paths]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def measure_round_trip(two):
    """How long a question takes that only the server can answer."""
    times = [timed(lambda: os.statvfs(two.a.work))[0] for _ in range(two.args.count)]
    two.round_trip = statistics.median(times)
    print("%-48s %7.0f us" % ("round trip (statfs)", two.round_trip * 1e6))


def written_then_read(two, size, fresh):
    """A writes a file (each time a FRESH one, or over one that B has cached), B reads it."""
    times, name = [], "handed"
    for number in range(two.args.count):
        data = (b"%08d" % number) * (size // NUMBER_BYTES)
        if fresh:
            name = "handed%d" % number
        spill(two.a.at(name), data)
        took, got = timed(lambda: slurp(two.b.at(name)))
        times.append(took)
        two.check(got, data)
        if fresh:
            os.unlink(two.a.at(name))
    what = "a new file of A" if fresh else "a file that A wrote over"
    two.latencies("%s is read by B, %d KiB" % (what, size // KIB), times, size)


def hand_back_and_forth(two):
    """A and B hold a file open; one writes, the other reads, and the other way round."""
    spill(two.a.at("token"), bytes(NUMBER_BYTES))
    hands = 0
    with opened(two.a.at("token"), two.b.at("token")) as ends:
        started = time.perf_counter()
        while (took := time.perf_counter() - started) < two.args.seconds:
            for writer, reader in (ends, ends[::-1]):
                hands += 1
                number = hands.to_bytes(NUMBER_BYTES, "little")
                os.pwrite(writer, number, 0)
                two.check(os.pread(reader, NUMBER_BYTES, 0), number)
    two.line("handed back and forth: write here, read there",
             "%7.0f a second (goal %d)" % (hands / took, HANDS_GOAL))


def append_in_turn(two):
    """A and B append to one file in turn; each sees the end that the other made."""
    spill(two.a.at("log"), b"")
    records = 0
    with opened(two.a.at("log"), two.b.at("log"), flags=os.O_RDWR | os.O_APPEND) as ends:
        started = time.perf_counter()
        while (took := time.perf_counter() - started) < two.args.seconds:
            for writer, reader in (ends, ends[::-1]):
                record = (b"%d" % records).rjust(RECORD)
                os.write(writer, record)
                two.check(os.fstat(reader).st_size, (records + 1) * RECORD)
                two.check(os.pread(reader, RECORD, records * RECORD), record)
                records += 1
    two.check(slurp(two.b.at("log")), b"".join((b"%d" % number).rjust(RECORD) for number in range(records)))
    two.line("appended in turn: append here, read there", "%7.0f a second" % (records / took))


def names_in_turn(two):
    """A makes a name, B sees it, removes it; A sees that it is gone. And the other way round."""
    os.mkdir(two.a.at("names"))
    steps = 0
    started = time.perf_counter()
    while (took := time.perf_counter() - started) < two.args.seconds:
        for maker, other in ((two.a, two.b), (two.b, two.a)):
            name = "n%d" % steps
            two.check(os.path.exists(other.at("names", name)), False)
            os.close(os.open(maker.at("names", name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            two.check(os.path.exists(other.at("names", name)), True)
            os.unlink(other.at("names", name))
            two.check(os.path.exists(maker.at("names", name)), False)
            steps += 1
    two.line("made here, seen and removed there", "%7.0f a second" % (steps / took))


def disjoint_halves(two, block):
    """A and B write at once: two files, then two halves of one file."""
    half = two.args.half * MIB
    rates, asked = [], []
    for names, offsets in ((("one", "other"), (0, 0)), (("shared", "shared"), (0, half))):
        for place, name in zip((two.a, two.b), names):
            with open(place.at(name), "ab") as file:
                file.truncate(max(offsets) + half)
        requests = [place.requests() for place in (two.a, two.b)]
        took = both_write([two.a.at(names[0]), two.b.at(names[1])], offsets, half, block)
        asked.append([place.requests_since(before) for place, before in zip((two.a, two.b), requests)])
        rates.append(2 * half / MIB / took)
        # Each looks at what the other wrote.
        two.check(slurp(two.b.at(names[0]))[:half], b"A" * half)
        two.check(slurp(two.a.at(names[1]))[offsets[1]:offsets[1] + half], b"B" * half)
        for name in set(names):
            os.unlink(two.a.at(name))
    two.line("A and B write halves of one file, %d KiB at once" % (block // KIB),
             "%7.0f MiB/s; two files %.0f; %.2f (goal 1)%s" % (
                 rates[1], rates[0], rates[1] / rates[0],
                 "" if None in asked[0] + asked[1] else "; %d requests for %d writes; two files %d" % (
                     sum(asked[1]), 2 * half // block, sum(asked[0]))))


def common_tree(two, local):
    """A tree made by A is read by both; once warm, that should be no work for the server."""
    made = Reader.make(two.a.at("tree"), two.args.tree)
    Reader.make(os.path.join(local, "tree"), two.args.tree)
    two.a.sync()
    readers = {name: Reader(top) for name, top in (
        ("A", two.a.at("tree")), ("B", two.b.at("tree")), ("local", os.path.join(local, "tree")))}
    cold = {name: reader.once() for name, reader in readers.items()}
    warm = {name: reader.rate(two.args.seconds) for name, reader in readers.items() if name != "A"}
    requests = [place.requests() for place in (two.a, two.b)]
    busy, seconds = cpu_s(two.server) if two.server else 0, two.args.seconds
    with readers["A"].going():
        both, rounds = readers["B"].rate_and_rounds(seconds)
    busy = "%.1f %%" % ((cpu_s(two.server) - busy) / seconds * 100) if two.server else "unknown"
    used = [place.requests_since(before) for place, before in zip((two.a, two.b), requests)]
    two.check(readers["B"].seen, made)
    two.line("a tree of A is read by B, first time", "%7.0f files/s" % cold["B"])
    two.line("a tree read by B, warm", "%7.0f files/s; local %.0f; %.2f" % (
        warm["B"], warm["local"], warm["B"] / warm["local"]))
    wire = "unknown" if used[1] is None else "%.3g" % (used[1] / max(rounds * made, 1))
    two.line("the same while A reads it, too", "%7.0f files/s; %s commands a file by B; server busy: %s" % (
        both, wire, busy))


def run(two, local):
    """All of it; how much was wrong."""
    steps = [lambda: measure_round_trip(two)]
    steps += [lambda size=size, fresh=fresh: written_then_read(two, size, fresh)
              for size in (4 * KIB, MIB) for fresh in (True, False)]
    steps += [lambda: hand_back_and_forth(two), lambda: append_in_turn(two), lambda: names_in_turn(two)]
    steps += [lambda block=block: disjoint_halves(two, block) for block in (4 * KIB, 128 * KIB)]
    steps += [lambda: common_tree(two, local)]
    for step in steps:
        step()
    return two.wrong_in_all


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mounts", nargs="*", metavar="DIR")
    parser.add_argument("--count", type=int, default=100, help="files written by A and read by B (100)")
    parser.add_argument("--seconds", type=float, default=2, help="of what is done as often as possible (2)")
    parser.add_argument("--half", type=int, default=16, help="MiB that each writes of a common file (16)")
    parser.add_argument("--tree", type=int, default=1000, help="files of the common tree (1000)")
    parser.add_argument("--dir", default="/var/tmp", help="where to work (/var/tmp)")
    parser.add_argument("-o", "--options", default="", help="mount options for pohmelfs")
    args = parser.parse_args()
    if len(args.mounts) not in (0, 2):
        parser.error("either two directories, or none")
    if min(args.count, args.half, args.tree) < 1 or args.seconds <= 0:
        parser.error("numbers have to be positive")
    return args


def main():
    """Sets up what is not given, and runs."""
    args = parse()
    with (Rig(args.dir, args.options) if not args.mounts else nullcontext()) as rig, \
            tempfile.TemporaryDirectory(dir=args.dir) as local:
        if rig is not None:
            rig.serve()
        words = args.mounts or [rig.mount(name) for name in "ab"]
        a, b = (Place("%s=%s" % pair) for pair in zip("AB", words))
        a.open()
        b.work = os.path.join(b.base, os.path.basename(a.work))
        try:
            if not os.path.isdir(b.work):
                sys.exit("bench: what is made in %s does not show in %s: they are not the same" % (a.base, b.base))
            wrong = run(Two(a, b, args, rig.server.pid if rig else None), local)
        finally:
            a.close()
    if wrong:
        sys.exit("bench: %d times the wrong thing was read" % wrong)


if __name__ == "__main__":
    main()
