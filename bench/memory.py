#!/usr/bin/python3
"""How much memory client and server take for what they remember.

    memory.py [--entries N] [-o MOUNT_OPTIONS]

Makes a tree in the export, mounts it, looks at everything in it through the mount, and
shows by how much the memory of both programs grew; then what is left when the kernel was made to forget.
What the kernel itself takes for its caches is not in it.
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from places import control  # noqa: E402
from rig import Rig, drop_caches, memory_kib  # noqa: E402

FILES_IN_DIRECTORY = 500
SETTLE_S = 2
KIB_IN_MB = 1000 * 1000 / 1024
# MB for a million: entries in the client, leases in the server.
GOALS = {"client": 600, "server": 200}


def make_tree(top, entries):
    """ENTRIES empty files and directories below TOP; how many there are."""
    made = 0
    while made < entries:
        directory = os.path.join(top, "d%d" % made)
        os.mkdir(directory)
        made += 1
        for number in range(min(FILES_IN_DIRECTORY, entries - made)):
            # Names of a usual length.
            os.close(os.open(os.path.join(directory, "file-number-%d.c" % number), os.O_CREAT | os.O_WRONLY, 0o644))
            made += 1
    return made


def look_at_all(top):
    """The attributes of all below TOP, and how many they are."""
    seen, todo = 0, [top]
    while todo:
        with os.scandir(todo.pop()) as listing:
            for entry in listing:
                entry.stat(follow_symlinks=False)
                seen += 1
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
    return seen


def memory_of(rig, point):
    """KiB of both."""
    return {"client": memory_kib(rig.clients[point].pid), "server": memory_kib(rig.server.pid)}


def show(when, sizes, before, entries):
    """One moment."""
    for who, kib in sizes.items():
        grown = kib - before[who]
        print("%-26s %-8s %10.1f MB %+10.1f MB %10.0f bytes each, %7.1f MB per 100,000" % (
            when, who, kib / KIB_IN_MB, grown / KIB_IN_MB, grown * 1024 / entries, grown / KIB_IN_MB / entries * 1e5))


def main():
    """Makes, looks, shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=20000,
                        help="files and directories (20000; 1000000 is what the goals are about)")
    parser.add_argument("--dir", default="/var/tmp", help="where to work (/var/tmp)")
    parser.add_argument("-o", "--options", default="", help="mount options for pohmelfs")
    args = parser.parse_args()
    if args.entries < 1:
        parser.error("--entries has to be at least 1")
    with Rig(args.dir, args.options) as rig:
        entries = make_tree(rig.at("export"), args.entries)
        rig.serve()
        point = rig.mount("mount")
        os.stat(point)
        drop_caches()
        before = memory_of(rig, point)
        started = time.perf_counter()
        seen = look_at_all(point)
        took = time.perf_counter() - started
        if seen != entries:
            sys.exit("bench: the mount shows %d of %d entries" % (seen, entries))
        after = memory_of(rig, point)
        print("%d entries, looked at in %.1f s" % (entries, took))
        show("when all were seen", after, before, entries)
        seen = look_at_all(point)
        again = memory_of(rig, point)
        show("when seen again", again, before, entries)
        print(*["for a million: %s %.0f MB, goal %d  %s" % (
            who, mb, GOALS[who], "reached" if mb <= GOALS[who] else "missed")
            for who, mb in ((who, (again[who] - before[who]) / KIB_IN_MB / entries * 1e6) for who in GOALS)], sep="\n")
        leases = [line for line in (control("status", point) or "").splitlines() if "lease" in line]
        print(*leases, sep="\n", end="\n" if leases else "")
        drop_caches()
        time.sleep(SETTLE_S)
        show("when the kernel forgot", memory_of(rig, point), before, entries)


if __name__ == "__main__":
    main()
