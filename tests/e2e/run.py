"""Runs the end-to-end tests: each module in a process of its own, three at a time.

usage: run.py [--slower FACTOR] [--jobs N] [TEXT...]    tests whose name contains a TEXT

Prints one line for each test. Whatever happens, processes and mounts are gone at the end.
"""

import argparse
import concurrent.futures
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(ROOT, "scripts"))

from processes import end_group  # noqa: E402
from result_lines import run_suite  # noqa: E402

MODULE_LIMIT_S = 420
# Those that may be given more to do.
LIMITS_S = {"test_power": 420 + 60 * int(os.environ.get("POWER_ROUNDS", "0")),
            "test_power_txn": 420 + 60 * int(os.environ.get("POWER_ROUNDS", "0")),
            "test_fault_matrix": 420 + 600 * int(os.environ.get("FAULT_ROUNDS", "0")),
            "test_failing_mount": 36000 if "FAIL_EVERY" in os.environ else MODULE_LIMIT_S,
            "test_failing_server": 36000 if "FAIL_EVERY" in os.environ else MODULE_LIMIT_S,
            "test_starving": 36000 if "STARVE_EVERY" in os.environ else MODULE_LIMIT_S}
# Those that take longest, in that order.
FIRST = ["test_survival", "test_outside", "test_write_back", "test_write_back_trouble", "test_directories",
         "test_hostile_leases", "test_work", "test_power"]
running = []


def tests_of(suite):
    """All single tests of a suite."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from tests_of(item)
        else:
            yield item


def chosen(module, texts):
    """The tests of MODULE that were asked for."""
    loaded = unittest.defaultTestLoader.loadTestsFromName(module)
    return unittest.TestSuite(test for test in tests_of(loaded)
                              if not texts or any(text in test.id() for text in texts))


def run_one(module, texts):
    """In the process of one module."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    suite = chosen(module, texts)
    return 0 if run_suite(suite, "e2e " + module[len("test_"):]) else 1


def clear(base):
    """Ends and unmounts what a module left below BASE."""
    try:
        with open(os.path.join(base, "pids"), encoding="ascii") as file:
            pids = [int(line) for line in file]
    except (OSError, ValueError):
        pids = []
    for pid in pids:
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                ours = os.fsencode(base) in file.read()
            if ours:
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        points = [line.split()[4] for line in table]
    for point in reversed(points):
        if point.startswith(base + "/"):
            subprocess.run(["umount", "-l", point], check=False)
    shutil.rmtree(base, ignore_errors=True)


def run_module(module, args):
    """Runs a module; its lines."""
    base = tempfile.mkdtemp(prefix="pohmel-e2e.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    os.chmod(base, 0o755)
    env = dict(os.environ, E2E_BASE=base, E2E_SLOWER=str(args.slower))
    command = [sys.executable, "-B", os.path.abspath(__file__), "--one", module] + args.texts
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", start_new_session=True)
    running.append(process)
    late, began = [], time.monotonic()

    def break_off():
        late.append(True)
        end_group(process)

    limit_s = LIMITS_S.get(module, MODULE_LIMIT_S) * args.slower
    timer = threading.Timer(limit_s, break_off)
    timer.daemon = True
    timer.start()
    try:
        out, _ = process.communicate()
    finally:
        timer.cancel()
        end_group(process)
        clear(base)
    out += "-- e2e %s: %.0f s\n" % (module[len("test_"):], time.monotonic() - began)
    if late:
        out += "FAIL e2e %s: not done within %d s\n" % (module, limit_s)
    elif process.returncode not in (0, 1):
        out += "FAIL e2e %s: ended with %d\n" % (module, process.returncode)
    return out, process.returncode == 0 and not late


def parse():
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slower", type=float, default=1)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("texts", nargs="*")
    return parser.parse_args()


def interrupted(*_):
    """Ends all modules; each clears up behind itself."""
    for process in running:
        end_group(process)
    sys.exit(143)


def why_not():
    """Why no test can run here, or None."""
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    if os.geteuid() != 0:
        return "the tests act as several users: they need root"
    return None


def main():
    """0 when no test failed."""
    args = parse()
    if args.one:
        return run_one(args.one, args.texts)
    reason = why_not()
    modules = sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "test_*.py")))
    modules = [module for module in modules if chosen(module, args.texts).countTestCases()]
    if reason:
        for module in modules:
            for test in tests_of(chosen(module, args.texts)):
                print("skip e2e %s: %s" % (test.id(), reason))
        return 0
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    good = True
    modules.sort(key=lambda module: (FIRST.index(module) if module in FIRST else len(FIRST),
                                     -os.path.getsize(os.path.join(HERE, module + ".py"))))
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run_module, module, args) for module in modules]):
            out, fine = done.result()
            sys.stdout.write(out)
            sys.stdout.flush()
            good = good and fine
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
