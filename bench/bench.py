#!/usr/bin/python3
"""Measures directories against each other: metadata, streams, small files, git.

    bench.py [NAME=]DIR [[NAME=]DIR...]      the first is what the others are compared with

Every measurement is taken in every directory before the next one begins, in rounds; the
table shows medians, and in brackets how many times as fast as in the first directory
(or in the one named by --base). For mounts of Pohmel a second table shows how many commands went to the server.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import targets  # noqa: E402
from measures import COLD, Measures, ORDER, title_of, wanted_of  # noqa: E402
from places import ROOT, Place, drop_caches  # noqa: E402

# --files, --tree, --size in MiB, --rounds: in about two minutes, and to be believed.
SMALL = {"files": 1000, "tree": 1000, "size": 128, "rounds": 1}
FULL = {"files": 5000, "tree": 10000, "size": 1024, "rounds": 3}


def measure(measures, place, name):
    """Units a second of one measurement, and commands a unit that it took (None: not known)."""
    getattr(measures, "before_" + name, lambda place: None)(place)
    if name in COLD:
        drop_caches()
    requests = place.requests()
    started = time.perf_counter()
    units = getattr(measures, name)(place)
    took = time.perf_counter() - started
    requests = place.requests_since(requests)
    getattr(measures, "after_" + name, lambda place: None)(place)
    return units / took, requests / units if requests is not None else None


def one_round(measures, places, wanted, results, commands):
    """All measurements in all places once; the places take turns. Returns those that failed at one: the
    others are still worth knowing (libfuse's passthrough cannot hold a tree that git adds)."""
    failed = set()
    for place in places:
        place.open()
    try:
        for name in ORDER:
            if name not in wanted:
                continue
            for place in places:
                try:
                    rate, requests = measure(measures, place, name)
                except (OSError, subprocess.CalledProcessError) as error:
                    print("\nbench: %s failed at %s: %s" % (place.name, title_of(name)[0], error), file=sys.stderr)
                    failed.add(place.name)
                    continue
                results.setdefault(name, {}).setdefault(place.name, []).append(rate)
                if requests is not None:
                    commands.setdefault(name, {}).setdefault(place.name, []).append(requests)
                print(".", end="", flush=True, file=sys.stderr)
            places.reverse()
    finally:
        for place in places:
            place.close()
    print(file=sys.stderr)
    return failed


def _number(value):
    return "%.0f" % value if value >= 100 else "%.3g" % value


def table(results, names, base):
    """Rates as text, with ratios to those of BASE."""
    width = max([len(name) + 2 for name in names] + [18])
    lines = ["%-36s %-10s" % ("", "") + "".join("%*s" % (width, name) for name in names)]
    for measurement, values in results.items():
        first = statistics.median(values[base]) if base in values else None
        cells = []
        for name in names:
            if name not in values:
                cells.append("%*s" % (width, "failed"))
                continue
            rate = statistics.median(values[name])
            text = _number(rate) if first is None or name == base else "%s (%.2f)" % (_number(rate), rate / first)
            cells.append("%*s" % (width, text))
        lines.append("%-36s %-10s" % title_of(measurement) + "".join(cells))
    return "\n".join(lines)


def command_table(commands):
    """Commands a unit as text; "" where none were counted."""
    names = sorted({name for values in commands.values() for name in values})
    if not names:
        return ""
    width = max([len(name) + 2 for name in names] + [18])
    lines = ["%-36s %-10s" % ("commands to the server", "for each") + "".join("%*s" % (width, name) for name in names)]
    for measurement, values in commands.items():
        title, unit = title_of(measurement)
        cells = ["%*s" % (width, "%.3g" % statistics.median(values[name]) if name in values else "-") for name in names]
        lines.append("%-36s %-10s" % (title, unit.rpartition("/")[0]) + "".join(cells))
    return "\n".join(lines)


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="[NAME=]DIR")
    parser.add_argument("--full", action="store_true",
                        help="sizes to be believed: %(files)d files, a tree of %(tree)d, %(size)d MiB, %(rounds)d rounds"
                        % FULL)
    parser.add_argument("--files", type=int, help="files to create, stat, list, remove (%d)" % SMALL["files"])
    parser.add_argument("--tree", type=int, help="files of the tree to unpack (%d)" % SMALL["tree"])
    parser.add_argument("--size", type=int, help="MiB of the large file (%d)" % SMALL["size"])
    parser.add_argument("--rounds", type=int, help="rounds of which the median is taken (%d)" % SMALL["rounds"])
    parser.add_argument("--seed", type=int, default=1, help="of the random offsets (1)")
    parser.add_argument("--base", help="name of the place with which the others are compared (the first)")
    parser.add_argument("--json", metavar="FILE", help="write all values there, too")
    parser.add_argument("--only", action="append", choices=ORDER, help="only this measurement; may be repeated")
    args = parser.parse_args()
    for name, value in (FULL if args.full else SMALL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
        if getattr(args, name) < 1:
            parser.error("--%s has to be at least 1" % name)
    return args


def main():
    """Runs the rounds and prints the tables."""
    args = parse()
    places = [Place(word) for word in args.places]
    names = [place.name for place in places]
    if len(set(names)) != len(names):
        sys.exit("bench: two directories have the same name; write NAME=DIR")
    base = args.base or names[0]
    if base not in names:
        sys.exit("bench: --base %s is none of %s" % (base, ", ".join(names)))
    if not ROOT:
        print("bench: not root: caches cannot be dropped, the cold numbers are warm ones; "
              "unmount and mount again between runs", file=sys.stderr)
    measures = Measures(args.files, args.tree, args.size, args.seed)
    results, commands, failed = {}, {}, set()
    for _ in range(args.rounds):
        failed |= one_round(measures, places, wanted_of(args.only), results, commands)
    print(table(results, names, base))
    for text in (command_table(commands), "\n".join(targets.report(results, commands))):
        if text:
            print("\n" + text)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"sizes": {name: getattr(args, name) for name in SMALL}, "rates": results,
                       "commands_per_unit": commands}, file, indent=1)
    if "pohmel" in failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
