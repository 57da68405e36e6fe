"""A system call of a mount's daemon that fails, the Nth from its start on: the daemon goes on, and what it told to be
done is done; or it ends with words, and only what was not synced is gone (docs/decisions/0023-what-fails.md).

FAIL_EVERY=1 lets each of them fail, in one way; FAIL_WAYS=6 in each; FAIL_AT=N and FAIL_WAY=W only that one."""

import mmap
import os
import random
import re
import signal
import subprocess
import threading
import time
import unittest

import harness
from harness import BUILD, LOCAL, POHMELCTL, POHMELFS, SLOWER, Case, Mount, mounted, scratch, tail, wait_for

FAIL = os.environ.get("FAIL_SO", os.path.join(BUILD, "tests", "faults", "libfail.so"))
EVERY = int(os.environ.get("FAIL_EVERY", "0"))
WAYS = int(os.environ.get("FAIL_WAYS", "1"))
ONLY = int(os.environ.get("FAIL_AT", "0"))
WAY = int(os.environ.get("FAIL_WAY", "-1"))
ROUNDS = 6
# What anything may take on a busy machine.
PATIENCE_S = 60 * SLOWER
ENDING_S = 5 * SLOWER
# A daemon makes about as many of them for the work below.
MOST = 1200
WORDS = r"\w{4}"


def data(name, length):
    """LENGTH bytes that tell where they belong."""
    line = ("%s %%06d\n" % name).encode()
    out = b"".join(line % number for number in range(length // 8 + 1))
    return out[:length]


def put(path, content, sync=True, flags=os.O_CREAT | os.O_EXCL):
    """Writes a file; what went wrong is told, by close(2) as well."""
    descriptor = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view[:131072]):]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def get(path):
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def sync_directory(path):
    """fsync of a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Unit:
    """A piece of work of the mount under test, which says what must be there if nothing went wrong, and what may be
    there if something did. Whatever is synced in it is safe when it was told to be done."""

    synced = True

    def __init__(self, number):
        self.name = "%s%d" % (type(self).__name__.lower(), number)

    def prepare(self, healthy):
        """What another mount does before."""

    def run(self, top, healthy):
        """The work, below TOP."""

    def exact(self, top):
        """What is wrong, when all of it was done; None for nothing."""

    def partly(self, top):
        """What is wrong, when something of it had failed."""
        path = os.path.join(top, self.name)
        if not os.path.exists(path):
            return None
        return self.torn(get(path), self.content())

    def content(self):
        """Of its file."""
        return data(self.name, 10000)

    def same(self, path, content):
        """None when that is what is there."""
        found = get(path)
        return None if found == content else "%s: %d bytes, not %d, or others" % (self.name, len(found), len(content))

    def torn(self, found, content):
        """What had not been synced may be missing, but is nothing else."""
        if len(found) > len(content):
            return "%s: %d bytes, %d at most were written" % (self.name, len(found), len(content))
        if any(f not in (0, c) for f, c in zip(found, content)):
            return "%s: bytes that nobody wrote" % self.name
        return None


class Synced(Unit):
    """A file, synced."""

    def run(self, top, healthy):
        put(os.path.join(top, self.name), self.content())

    def exact(self, top):
        return self.same(os.path.join(top, self.name), self.content())


class Large(Synced):
    """More than one message takes."""

    def content(self):
        return data(self.name, 700000)


class Later(Synced):
    """A file that nobody syncs."""

    synced = False

    def run(self, top, healthy):
        put(os.path.join(top, self.name), self.content(), sync=False)


class Replaced(Synced):
    """As an editor saves a file."""

    def prepare(self, healthy):
        put(os.path.join(healthy, self.name), b"before\n")

    def run(self, top, healthy):
        path = os.path.join(top, self.name)
        put(path + ".new", self.content())
        os.rename(path + ".new", path)
        sync_directory(top)

    def exact(self, top):
        if os.path.exists(os.path.join(top, self.name + ".new")):
            return self.name + ": the other name is there"
        return super().exact(top)

    def partly(self, top):
        path = os.path.join(top, self.name)
        if not os.path.exists(path):
            return self.name + ": neither the old one nor the new one"
        return None if get(path) in (b"before\n", self.content()) else self.name + ": neither the old nor the new one"


class Appended(Unit):
    """To what another mount wrote."""

    def prepare(self, healthy):
        put(os.path.join(healthy, self.name), b"of another\n")

    def content(self):
        return b"of another\nand of this one\n"

    def run(self, top, healthy):
        put(os.path.join(top, self.name), b"and of this one\n", flags=os.O_APPEND)

    def exact(self, top):
        return self.same(os.path.join(top, self.name), self.content())

    def partly(self, top):
        found = get(os.path.join(top, self.name))
        if not found.startswith(b"of another\n"):
            return self.name + ": what another mount wrote is gone"
        return self.torn(found, self.content())


class Read(Unit):
    """What another mount wrote just now, and once more from what is kept here."""

    def run(self, top, healthy):
        content = data(self.name, 300000)
        put(os.path.join(healthy, self.name), content)
        for _ in range(2):
            if get(os.path.join(top, self.name)) != content:
                raise AssertionError("%s: other bytes than another mount wrote" % self.name)

    def content(self):
        return data(self.name, 300000)

    def exact(self, top):
        return self.same(os.path.join(top, self.name), self.content())

    partly = exact


class Taken(Unit):
    """What is dirty here is read by another mount."""

    synced = False

    def run(self, top, healthy):
        path = os.path.join(top, self.name)
        put(path, self.content(), sync=False)
        if get(path) != self.content():
            raise AssertionError("%s: other bytes than were written here" % self.name)
        found = get(os.path.join(healthy, self.name))
        if found != self.content():
            raise AssertionError("%s: another mount reads %d bytes, or others" % (self.name, len(found)))

    def exact(self, top):
        return self.same(os.path.join(top, self.name), self.content())


class Mapped(Unit):
    """Written through a mapping."""

    def content(self):
        return b"m" * 10000

    def run(self, top, healthy):
        path = os.path.join(top, self.name)
        put(path, b"\0" * 10000)
        with open(path, "r+b") as file:
            with mmap.mmap(file.fileno(), 10000) as mapping:
                mapping[:] = self.content()
                mapping.flush()
            os.fsync(file.fileno())

    def exact(self, top):
        return self.same(os.path.join(top, self.name), self.content())


class Names(Unit):
    """Everything that concerns names and attributes."""

    def run(self, top, healthy):
        here = os.path.join(top, self.name)
        os.mkdir(here)
        put(os.path.join(here, "file"), b"x", sync=False)
        os.link(os.path.join(here, "file"), os.path.join(here, "hard"))
        os.symlink("file", os.path.join(here, "soft"))
        os.chmod(os.path.join(here, "file"), 0o600)
        put(os.path.join(here, "gone"), b"y", sync=False)
        os.unlink(os.path.join(here, "gone"))
        os.rename(os.path.join(here, "hard"), os.path.join(here, "moved"))
        os.setxattr(os.path.join(here, "file"), "user.a", b"value")
        os.truncate(os.path.join(here, "file"), 3)
        os.mkdir(os.path.join(here, "empty"))
        os.rmdir(os.path.join(here, "empty"))
        found = sorted(os.listdir(here))
        if found != ["file", "moved", "soft"]:
            raise AssertionError("%s: the listing says %s" % (self.name, found))
        descriptor = os.open(os.path.join(here, "file"), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(here)

    def exact(self, top):
        here = os.path.join(top, self.name)
        if sorted(os.listdir(here)) != ["file", "moved", "soft"]:
            return "%s: %s" % (self.name, os.listdir(here))
        state = os.stat(os.path.join(here, "file"))
        found = (state.st_mode & 0o777, state.st_nlink, state.st_size, os.readlink(os.path.join(here, "soft")),
                 os.getxattr(os.path.join(here, "file"), "user.a"), get(os.path.join(here, "moved")))
        wanted = (0o600, 2, 3, "file", b"value", b"x\0\0")
        return None if found == wanted else "%s: %s, not %s" % (self.name, found, wanted)

    def partly(self, top):
        return None


KINDS = (Synced, Later, Names, Replaced, Large, Appended, Read, Taken, Mapped, Synced)


class Round:
    """One daemon of which one call fails."""

    may_be_left = False  # the mount, by a daemon that ended while it was mounting

    def __init__(self, case, at, way, options):
        self.case, self.at, self.way, self.options = case, at, way, options
        self.log = os.path.join(scratch("log"), "failed")
        self.wrong, self.outcomes = [], []
        self.directory = os.path.basename(scratch("round"))
        self.healthy = os.path.join(case.other.path, self.directory)
        os.mkdir(self.healthy)

    def told(self):
        """Which call failed."""
        return "call %d, way %d: %s" % (self.at, self.way, "; ".join(tail(self.log)))

    def calls(self):
        """That the daemon made, and whether one of them failed."""
        said = "\n".join(tail(self.log))
        made = re.search(r"calls (\d+)", said)
        return int(made.group(1)) if made else None, "failed" in said

    def environment(self):
        """What makes it fail."""
        return "LD_PRELOAD=%s FAIL_AT=%d FAIL_WAY=%d FAIL_LOG=%s" % (FAIL, self.at, self.way, self.log)

    def complain(self, what):
        """That is wrong."""
        self.wrong.append("%s (%s)" % (what, self.told()))

    def mount(self):
        """The mount under test; None where it did not come to be, with words."""
        path = scratch("mnt")
        wrapper = os.path.join(scratch("bin"), "pohmelfs")
        with open(wrapper, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexec env %s %s \"$@\"\n" % (self.environment(), POHMELFS))
        os.chmod(wrapper, 0o755)
        before, harness.POHMELFS = harness.POHMELFS, wrapper
        try:
            return Mount(self.case.one, path=path, options=self.options)
        except AssertionError as error:
            if not re.search(r"ended: .*" + WORDS, str(error), re.DOTALL):
                self.complain("no mount and no words: %s" % error)
            if mounted(path):
                if not self.may_be_left:
                    self.complain("still mounted after: %s" % error)
                subprocess.run(["umount", "-l", path], check=False)
            return None
        finally:
            harness.POHMELFS = before

    def work(self, at):
        """Each unit, whatever became of the others; and that it goes on afterwards."""
        top = os.path.join(at.path, self.directory)
        for unit in self.units:
            try:
                unit.run(top, self.healthy)
                self.outcomes.append((unit, None))
            except OSError as error:
                self.outcomes.append((unit, error))
            except AssertionError as error:
                self.outcomes.append((unit, error))
                if unit.synced or not self.ended_soon(at):
                    self.complain(str(error))
        self.flushed = subprocess.run([POHMELCTL, "flush", at.path], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, check=False).returncode == 0
        if at.program.running():
            wait_for(lambda: self.goes_on(at, top) or not at.program.running(), "the mount to go on", PATIENCE_S)

    def ended_soon(self, at):
        """Whether the daemon is just ending: what was not synced ends with it, before others are told that it has."""
        until = time.monotonic() + ENDING_S
        while at.program.running() and time.monotonic() < until:
            time.sleep(0.05)
        return not at.program.running()

    def goes_on(self, at, top):
        """Nothing fails any more."""
        try:
            put(os.path.join(top, "after"), b"after", flags=os.O_CREAT | os.O_TRUNC)
            return get(os.path.join(self.healthy, "after")) == b"after"
        except OSError:
            return False

    def run(self):
        """What was wrong."""
        self.units = [kind(number) for number, kind in enumerate(KINDS)]
        self.flushed = False
        for unit in self.units:
            unit.prepare(self.healthy)
        at = self.mount()
        if at is None:
            return self.wrong
        worker = threading.Thread(target=self.attempt, args=(at,), daemon=True)
        worker.start()
        worker.join(2 * PATIENCE_S)
        if worker.is_alive():
            self.complain("it hangs after %d units: %s" % (len(self.outcomes), "; ".join(tail(at.log))))
            at.program.send(signal.SIGKILL)
            worker.join(PATIENCE_S)
        self.end(at)
        self.judge()
        return self.wrong

    def attempt(self, at):
        """The work, in a thread."""
        try:
            self.work(at)
        except Exception as error:  # pylint: disable=broad-except
            self.complain("%s" % error)

    def end(self, at):
        """It was unmounted, or ended before with words."""
        if not at.program.running() and not re.search(WORDS, "\n".join(tail(at.log))):
            self.complain("it ended without words, with %s" % at.program.process.returncode)
        if at.program.process.poll() in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE):
            self.complain("it ended by signal %d: %s" % (-at.program.process.returncode, "; ".join(tail(at.log))))
        at.unmount()
        if mounted(at.path):
            self.complain("it cannot be unmounted")

    def judge(self):
        """By what another mount sees."""
        for unit, failure in self.outcomes:
            look = unit.exact if failure is None and (unit.synced or self.flushed) else unit.partly
            wrong = None
            for _ in range(2):  # a failure may be told of the first look
                try:
                    wrong = look(self.healthy)
                    break
                except OSError as error:
                    wrong = "%s: %s" % (unit.name, error)
            if wrong:
                self.complain("%s; it was told: %s; all: %s" % (
                    wrong, failure or "done", ["%s" % (error or "done") for _, error in self.outcomes]))


@unittest.skipIf(LOCAL, "about the programs")
class FailingMount(Case):
    """One call fails."""

    limit_s = (120 + 20 * ROUNDS if not EVERY else 100000) * SLOWER
    options = ("allow_other",)

    def setUp(self):
        """A server, and a mount that nothing is wrong with."""
        if not os.path.exists(FAIL):
            self.skipTest("not built: " + FAIL)
        self.one = self.server()
        self.other = self.mount(self.one)

    def sweep(self):
        """The rounds."""
        rng, wrong, done = random.Random(), [], 0
        every = EVERY or MOST // ROUNDS
        first = ONLY or rng.randrange(every) + 1
        for way in [WAY] if WAY >= 0 else range(WAYS):
            number = first
            while True:
                started = time.monotonic()
                one = Round(self, number, way if WAYS > 1 or WAY >= 0 else rng.randrange(6), self.options)
                wrong += one.run()
                done += 1
                if EVERY:
                    print("# %.1f s, %s" % (time.monotonic() - started, one.told()), flush=True)
                    print("".join("# BROKEN: %s\n" % what for what in one.wrong), end="", flush=True)
                made, failed = one.calls()
                number += every
                if ONLY or (made is not None and not failed) or done * every > 10 * MOST * WAYS:
                    break
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_a_call_that_fails_is_told_or_does_not_matter(self):
        """Write-back."""
        self.sweep()


class FailingWriteThrough(FailingMount):
    """The same, where nothing is written behind anybody's back."""

    options = ("allow_other", "writethrough")
