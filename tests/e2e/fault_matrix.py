#!/usr/bin/env python3
"""Every fault in every phase with real processes, as a table (docs/decisions/0028-faults-with-real-processes.md).

usage: fault_matrix.py [--rounds N] [--seed S] [--jobs N] [--fault TEXT] [--phase TEXT]

One round is eight minutes. A phase has several forms, which the rounds take in turn. In the table stands how often each
cell was run, BROKEN where something that was promised was not kept, and - where it cannot be made (and why, below).
"""

import argparse
import concurrent.futures
import os
import random
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "scripts"))

from fault_phases import PHASES  # noqa: E402
from faults import FAULTS  # noqa: E402
from test_fault_matrix import name_of  # noqa: E402

RESULT = re.compile(r"(ok|FAIL|skip) e2e fault_matrix \w+\.(test_\w+)(?:: (.*))?")


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    parser.add_argument("--fault", default="", help="only those whose name contains TEXT")
    parser.add_argument("--phase", default="", help="only those whose name contains TEXT")
    return parser.parse_args()


def run_row(fault, phases, args):
    """What the tests of one fault print."""
    env = dict(os.environ, FAULT_ROUNDS=str(args.rounds), FAULT_SEED=str(args.seed))
    done = subprocess.run([sys.executable, "-B", os.path.join(HERE, "run.py")] +
                          ["FaultMatrix." + name_of(fault, phase) for phase in phases], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)
    return done.stdout


def shown(out, name, rounds):
    """What stands in a cell."""
    found = {match[2]: match[1] for match in map(RESULT.match, out.splitlines()) if match}
    return {"ok": str(rounds), "skip": "-"}.get(found.get(name), "BROKEN")


def main():
    """0 when nothing is broken."""
    args = parse()
    faults = [fault for fault in FAULTS if args.fault in fault]
    phases = [phase for phase in PHASES if args.phase in phase]
    rows = {}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        asked = {pool.submit(run_row, fault, phases, args): fault for fault in faults}
        for done in concurrent.futures.as_completed(asked):
            rows[asked[done]] = done.result()
            print("".join(line + "\n" for line in done.result().splitlines() if not line.startswith("ok ")), end="")
            print("%s: done" % asked[done], file=sys.stderr, flush=True)
    cells = [[fault] + [shown(rows[fault], name_of(fault, phase), args.rounds) for phase in phases] for fault in faults]
    for line in [[""] + phases, ["---"] * (len(phases) + 1)] + cells:
        print("| " + " | ".join(line) + " |")
    for why in sorted({match[3] for out in rows.values() for match in map(RESULT.match, out.splitlines())
                       if match and match[1] == "skip"}):
        print("-: " + str(why))
    print("seed %d" % args.seed)
    return 1 if any("BROKEN" in row for row in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
