"""Runs all tests of the project; ./check calls it once the packages are there.

Every stage prints one line for each test, `ok NAME`, `FAIL NAME` or
`skip NAME: why`, with the log of what failed indented below it. The last line
counts them all.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import meson_lines  # noqa: E402
import second_look  # noqa: E402
from processes import end_group, run_quiet  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

BUILDS = {
    "check": [],
    "release": ["--buildtype=release"],
    "asan": ["-Db_sanitize=address,undefined", "-Db_lundef=false"],
    "tsan": ["-Db_sanitize=thread", "-Db_lundef=false"],
}
# How much longer than usual a test may take there.
SLOWER = {"check": 1, "release": 1, "asan": 3, "tsan": 6}
# Tests at the same time: many wait, for disks and for time to pass, more than they work.
JOBS = "3"
# All of the end-to-end tests; each has a limit of its own besides.
E2E_LIMIT_S = 1200
STYLE_LIMIT_S = 120

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1",
    # Memory that GLib keeps for later looks like a race when it goes from thread to thread.
    "G_SLICE": "always-malloc",
}


class Count:
    """What came of the tests so far."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = second_look.Failures()

    def line(self, text):
        """Prints a line of some test, and counts it."""
        print(text, flush=True)
        self.failures.line(text)
        if text.startswith("ok "):
            self.passed += 1
        elif text.startswith("FAIL "):
            self.failed += 1
        elif text.startswith("skip "):
            self.skipped += 1

    def failure(self, name, log):
        """A failure of something that is no test: a build, a missing program."""
        self.line("FAIL " + name)
        for line in log.splitlines()[-40:]:
            print("    " + line, flush=True)

    def forgive(self, failure):
        """FAILURE was one of a busy machine."""
        print("ok %s: alone, the second time; see above" % failure.line[len("FAIL "):], flush=True)
        self.failed -= 1
        self.passed += 1


def environment(kind):
    """Variables under which the programs of build KIND are run."""
    env = dict(os.environ, POHMEL_BUILD=build_dir(kind), PYTHONDONTWRITEBYTECODE="1")
    for name, value in SANITIZER_ENV.items():
        env.setdefault(name, value)
    return env


def build_dir(kind):
    """Where build KIND lives."""
    return os.path.join(ROOT, ".build-" + kind)


def build(kind, count):
    """Brings build KIND up to date; whether that worked."""
    where = build_dir(kind)
    if not os.path.exists(os.path.join(where, "build.ninja")):
        command = ["meson", "setup", where, ROOT, "--werror", "--buildtype=debugoptimized"] + BUILDS[kind]
        code, log = run_quiet(command, ROOT)
        if code != 0:
            count.failure("build %s: meson setup" % kind, log)
            return False
    code, log = run_quiet(["ninja", "-C", where], ROOT)
    if code != 0:
        count.failure("build %s: ninja" % kind, log)
        return False
    count.line("ok build %s" % kind)
    return True


def run_meson(kind, count):
    """All tests that are registered with meson, in build KIND."""
    command = ["meson", "test", "-C", build_dir(kind), "--no-rebuild", "--num-processes", JOBS,
               "--timeout-multiplier", str(SLOWER[kind])]
    code, log = run_quiet(command, ROOT, env=environment(kind))
    seen = 0
    for line in meson_lines.lines(os.path.join(build_dir(kind), "meson-logs", "testlog.json"), kind):
        count.line(line)
        seen += line.startswith("FAIL ")
    if code != 0 and not seen:
        count.failure("%s: meson test" % kind, log)


def run_lines(command, limit_s, count, env):
    """Runs a program that prints result lines itself and counts them."""
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True,
                               errors="replace", start_new_session=True)
    signal.signal(signal.SIGALRM, lambda *_: end_group(process))
    signal.alarm(limit_s)
    failed = count.failed
    try:
        for line in process.stdout:
            count.line(line.rstrip("\n"))
        code = process.wait()
    except BaseException:
        end_group(process)
        raise
    finally:
        signal.alarm(0)
    if code != 0 and count.failed == failed:
        count.failure(" ".join(command[-2:]), "ended with %d within %d s" % (code, limit_s))


def run_style(count):
    """House rules, and the tests of what checks them."""
    run_lines([sys.executable, "tests/style/run.py"], STYLE_LIMIT_S, count, environment("check"))


def run_e2e(kind, only, count):
    """End-to-end tests on real mounts, with the programs of build KIND."""
    command = [sys.executable, "tests/e2e/run.py", "--slower", str(SLOWER[kind]), "--jobs", JOBS] + only
    run_lines(command, E2E_LIMIT_S * SLOWER[kind], count, environment(kind))


def passes_alone(failure, kind):
    """Whether the test of FAILURE passes by itself, end-to-end tests with the programs of build KIND."""
    if failure.kind == "e2e":
        command = [sys.executable, "tests/e2e/run.py", "--slower", str(SLOWER[kind]),
                   "test_%s.%s" % (failure.program, failure.name)]
    else:
        kind = failure.kind
        command = ["meson", "test", "-C", build_dir(kind), "--no-rebuild", "--timeout-multiplier", str(SLOWER[kind]),
                   failure.program]
    return run_quiet(command, ROOT, env=environment(kind))[0] == 0


def look_again(count, kind):
    """Runs the few that failed once more; says which were right in the end."""
    passed = {}
    for failure in count.failures.doubtful():
        key = (failure.kind, failure.program, failure.name)
        if key not in passed:
            passed[key] = passes_alone(failure, kind)
        if passed[key]:
            count.forgive(failure)


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(prog="./check", description=(
        "Builds and tests Pohmel. Without arguments everything: style, unit and generator tests "
        "(plain, and under ASan and UBSan), a slice of fuzzing, and end-to-end tests on real mounts."))
    parser.add_argument("part", nargs="?", choices=["all", "unit", "style", "e2e"], default="all",
                        help="run only this part")
    parser.add_argument("--tsan", action="store_true", help="run the part under ThreadSanitizer instead")
    parser.add_argument("--asan", action="store_true", help="run the part under ASan and UBSan only")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="end-to-end tests whose name contains TEXT")
    parser.add_argument("--strict", action="store_true",
                        help="one or two tests that fail are not looked at again, alone, at the end")
    return parser.parse_args()


def main():
    """Runs what was asked for; 0 when nothing failed."""
    args = parse()
    count = Count()
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sanitized = "tsan" if args.tsan else "asan" if args.asan else None
    kinds = [sanitized] if sanitized else ["check", "asan"]
    served = sanitized or "release"
    if args.part in ("all", "style"):
        run_style(count)
    if args.part in ("all", "unit"):
        for kind in kinds:
            if build(kind, count):
                run_meson(kind, count)
    if args.part in ("all", "e2e") and build(served, count):
        run_e2e(served, args.only, count)
    if not args.strict:
        look_again(count, served)
    print("%d s" % (time.monotonic() - started))
    print("%d passed, %d failed, %d skipped" % (count.passed, count.failed, count.skipped))
    return 1 if count.failed or not count.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
