#!/usr/bin/python3
"""What safety costs: the same work through a server with its journal and through one without (--no-journal), and through
mounts that keep what the server's disk may still lose and through one that does not (-o nokeep).

    safety.py [--files N] [--size MIB] [--rounds N]

All are there at the same time and take turns in each round; the table shows medians of the rounds as shares of what it
takes without either, of time and of the processor time of client and server, and the most memory that the client had. Needs
root.
"""

import argparse
import os
import shutil
import statistics
import sys
import time
from contextlib import ExitStack

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from measures import MIB, Measures  # noqa: E402
from places import Place  # noqa: E402
from rig import Rig, cpu_s  # noqa: E402

KINDS = {"neither": ("nokeep", ["--no-journal"]), "journal": ("nokeep", []), "kept": ("", ["--no-journal"]),
         "both": ("", [])}
WORK = {"unpack and sync": "untar_sync", "write a large file": "stream_write"}
CLEARED = {"untar_sync": "synced", "stream_write": "large"}
KIB_IN_MIB = 1024


def peak_anew(pid):
    """Begins to look for the most memory that process PID has."""
    with open("/proc/%d/clear_refs" % pid, "w", encoding="ascii") as file:
        file.write("5\n")


def peak_kib(pid):
    """The most memory that it had since."""
    with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


class Subject:
    """A server and a mount of one kind."""

    def __init__(self, stack, name):
        options, words = KINDS[name]
        self.rig = stack.enter_context(Rig(mount_options=options, server_options=words))
        self.rig.serve()
        self.point = self.rig.mount("mount")
        self.client, self.server = self.rig.clients[self.point].pid, self.rig.server.pid
        self.place = Place("%s=%s" % (name, self.point))
        self.place.open()
        self.values = {}

    def do(self, measures, work):
        """Once, timed."""
        before = getattr(measures, "before_" + work, None)
        if before:
            before(self.place)
        self.place.sync()
        peak_anew(self.client)
        client, server, started = cpu_s(self.client), cpu_s(self.server), time.perf_counter()
        getattr(measures, work)(self.place)
        values = (time.perf_counter() - started, cpu_s(self.client) - client, cpu_s(self.server) - server,
                  peak_kib(self.client) / KIB_IN_MIB)
        self.values.setdefault(work, []).append(values)
        left = self.place.at(CLEARED[work])
        if os.path.isdir(left):
            shutil.rmtree(left)
        else:
            os.unlink(left)

    def median(self, work, column):
        """Of the rounds."""
        return statistics.median(round_[column] for round_ in self.values[work])


def share(value, base):
    """For people."""
    return "%.2f" % (value / base) if base > 0 else "-"


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--size", type=int, default=128, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    if min(args.files, args.size, args.rounds) < 1:
        parser.error("all of them have to be at least 1")
    measures = Measures(1, args.files, args.size, 1)
    with ExitStack() as stack:
        subjects = {name: Subject(stack, name) for name in KINDS}
        for round_ in range(args.rounds + 1):
            order = list(subjects.values())
            for subject in order[round_ % len(order):] + order[:round_ % len(order)]:
                for work in WORK.values():
                    subject.do(measures, work)
            if round_ == 0:  # what is taken once
                for subject in order:
                    subject.values.clear()
        print("%-22s%-10s%8s%14s%14s%22s" % ("", "", "time", "client's CPU", "server's CPU", "client's memory, MiB"))
        for title, work in WORK.items():
            base = subjects["neither"]
            for name, subject in subjects.items():
                print("%-22s%-10s%8s%14s%14s%22.1f" % (
                    title, name, *(share(subject.median(work, column), base.median(work, column)) for column in range(3)),
                    subject.median(work, 3)))


if __name__ == "__main__":
    main()
