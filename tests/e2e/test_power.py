"""What was promised is there when the server's machine has lost power.

POWER_ROUNDS=N loses power N times in each test (default: a few). POWER_SEED=S chooses the same moments and changes
again, as far as those are chosen here.
"""

import os
import random
import threading
import time

from harness import SLOWER, Case
from power import Machine, why_not

ROUNDS = int(os.environ.get("POWER_ROUNDS", "2"))
SEED = int(os.environ.get("POWER_SEED", str(random.randrange(1 << 30))))
ROUND_S = 20 * SLOWER  # at most, for all of a round
WORKERS = 3
BLOCK = 4096


def sync_directory(path):
    """What happened in it is stable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Promises:
    """What a program was promised about files in one directory: for each name the contents that may be found (None:
    no file), of which there is one when nothing is under way. LOG: a file that is appended to."""

    def __init__(self, path, chance):
        self.path, self.chance = path, chance
        self.files = {}
        self.log, self.log_stable = b"", 0
        self.blocks = []
        self.count = 0

    def place(self, name):
        """Where NAME is."""
        return os.path.join(self.path, name)

    def name(self):
        """One that is in use."""
        return self.chance.choice(sorted(self.files)) if self.files else None

    def bytes(self):
        """Something to write."""
        return self.chance.randbytes(self.chance.choice([0, 1, 100, BLOCK, 30000, 200000]))

    def may_be(self, name, content):
        """NAME is being changed."""
        self.files.setdefault(name, [None]).append(content)

    def is_so(self, name, content):
        """The change of NAME is stable."""
        self.files[name] = [content]

    def make(self):
        """A new file, synced: its name is promised with it."""
        self.count += 1
        name, content = "f%d" % self.count, self.bytes()
        self.may_be(name, content)
        with open(self.place(name), "wb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())
        self.is_so(name, content)

    def replace(self):
        """A file in the place of another one, as editors do it."""
        name, content = self.name(), self.bytes()
        if name is None:
            return
        with open(self.place("tmp"), "wb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())
        self.may_be(name, content)
        os.rename(self.place("tmp"), self.place(name))
        sync_directory(os.path.dirname(self.place(name)))
        self.is_so(name, content)

    def remove(self):
        """A file that is not to come back."""
        name = self.name()
        if name is None or self.files[name] == [None]:
            return
        self.may_be(name, None)
        os.unlink(self.place(name))
        sync_directory(os.path.dirname(self.place(name)))
        self.is_so(name, None)

    def append(self):
        """More of the log, now and then synced."""
        more = self.chance.randbytes(self.chance.choice([10, 1000, 9000]))
        self.log += more
        with open(self.place("log"), "ab", buffering=0) as file:
            file.write(more)
            if self.chance.random() < 0.5:
                end = len(self.log)
                os.fsync(file.fileno())
                self.log_stable = end

    def rewrite(self):
        """A block in the middle of a file."""
        if not self.blocks:
            self.blocks = [[bytes(BLOCK)] for _ in range(16)]
        number, block = self.chance.randrange(16), self.chance.randbytes(BLOCK)
        self.blocks[number].append(block)
        with open(self.place("blocks"), "r+b" if os.path.exists(self.place("blocks")) else "w+b",
                  buffering=0) as file:
            os.pwrite(file.fileno(), block, number * BLOCK)
            os.fdatasync(file.fileno())
        self.blocks[number] = [block]

    def nest(self):
        """A directory in a new directory, with a file."""
        self.count += 1
        path = os.path.join("d%d" % self.count, "e")
        os.makedirs(self.place(path))
        name, content = os.path.join(path, "f"), self.bytes()
        self.may_be(name, content)
        with open(self.place(name), "wb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())
        self.is_so(name, content)

    def step(self):
        """One of them."""
        self.chance.choice([self.make, self.make, self.replace, self.remove, self.append, self.append, self.rewrite,
                            self.nest])()

    def found(self, name):
        """The content of NAME, None when there is no file."""
        try:
            with open(self.place(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def broken(self):
        """Promises that were not kept."""
        out = []
        for name, may in self.files.items():
            found = self.found(name)
            partly = len(may) > 1 and None in may and found is not None and any(
                content is not None and len(found) <= len(content) for content in may)
            if found not in may and not partly:
                out.append("%s: found %s, promised one of %s" % (name, size(found), [size(one) for one in may]))
        log = self.found("log") or b""
        if log[:self.log_stable] != self.log[:self.log_stable] or len(log) > len(self.log):
            out.append("log: %d bytes, promised %d of %d" % (len(log), self.log_stable, len(self.log)))
        blocks = self.found("blocks") or b""
        for number, may in enumerate(self.blocks):
            there = blocks[number * BLOCK:(number + 1) * BLOCK]
            if len(may) == 1 and may[0] != bytes(BLOCK) and there not in may:
                out.append("block %d is not as it was promised" % number)
        return out


def size(content):
    """For people."""
    return "none" if content is None else "%d bytes (%s)" % (len(content), content[:4].hex())


class Worker(threading.Thread):
    """Keeps changing things until it is told to stop, or cannot."""

    def __init__(self, promises):
        super().__init__(daemon=True)
        self.promises, self.stop, self.steps, self.error = promises, threading.Event(), 0, None

    def run(self):
        while not self.stop.is_set():
            try:
                self.promises.step()
                self.steps += 1
            except OSError as error:
                self.error = error
                return


class PowerCase(Case):
    """A machine that loses power, as KIND of filesystem says."""

    kind = "ext4"
    limit_s = 60 * SLOWER + ROUND_S * ROUNDS

    def setUp(self):
        reason = why_not(self.kind)
        if reason:
            self.skipTest(reason)
        self.chance = random.Random(SEED)

    def machine(self):
        """One that ends with the test."""
        machine = Machine(self.kind)
        self.addCleanup(machine.end)
        self._logs = getattr(self, "_logs", []) + [machine.server.log]
        return machine

    def restart(self, machine):
        """The power is back, and the disk and the state of the server agree."""
        self.assertEqual(machine.start(), "", "pohmel-server --check, seed %d" % SEED)

    def assert_kept(self, promises, why):
        """Nothing that was promised is missing."""
        self.assertEqual(promises.broken(), [], "%s, seed %d" % (why, SEED))


class Ext4Power(PowerCase):
    """On ext4."""

    def test_what_was_synced_survives_the_loss_of_power_at_any_moment(self):
        """Server and client die together while programs make, replace, remove, append and sync."""
        machine = self.machine()
        for round_ in range(ROUNDS):
            mount = self.mount(machine.server)
            workers = []
            for number in range(WORKERS):
                path = mount.join("round%d.%d" % (round_, number))
                os.mkdir(path)
                sync_directory(path)
                workers.append(Worker(Promises(path, random.Random(self.chance.random()))))
            for worker in workers:
                worker.start()
            time.sleep(self.chance.uniform(0.05, 2.5) * SLOWER)
            machine.lose_power(mount.program.process.kill)
            for worker in workers:
                worker.join(ROUND_S)
            mount.unmount()
            self.restart(machine)
            for worker in workers:
                promises = worker.promises
                promises.path = promises.path.replace(mount.path, machine.export)
                self.assertGreater(worker.steps, 0, worker.error)
                self.assert_kept(promises, "on the server's disk")
            again = self.mount(machine.server)
            for worker in workers:
                worker.promises.path = worker.promises.path.replace(machine.export, again.path)
                self.assert_kept(worker.promises, "through a mount")
            again.unmount()

    def test_each_sync_alone_keeps_its_promise(self):
        """Power is lost as soon as one sync has returned, whatever it was for."""
        machine = self.machine()
        for round_ in range(ROUNDS):
            mount = self.mount(machine.server)
            path = mount.join("round%d" % round_)
            os.mkdir(path)
            promises = Promises(path, random.Random(self.chance.random()))
            for _ in range(self.chance.randrange(1, 8)):
                promises.step()
            machine.lose_power(mount.program.process.kill)
            mount.unmount()
            self.restart(machine)
            promises.path = os.path.join(machine.export, "round%d" % round_)
            self.assert_kept(promises, "on the server's disk")


class XfsPower(Ext4Power):
    """On xfs."""

    kind = "xfs"
