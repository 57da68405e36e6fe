"""What was promised is there when the server's machine has lost power.

POWER_ROUNDS=N loses power N times in each test (default: a few). POWER_SEED=S chooses the same moments and changes
again, as far as those are chosen here.
"""

import errno
import os
import random
import threading
import time

from calls import read
from harness import PACE, SLOWER, Case, flush, wait_for
from power import Machine, why_not
from trees import status

ROUNDS = int(os.environ.get("POWER_ROUNDS", "2"))
SEED = int(os.environ.get("POWER_SEED", str(random.randrange(1 << 30))))
ROUND_S = 40 * SLOWER  # at most, for all of a round
WORKERS = 3
BLOCK = 4096
FILES_A_ROUND = 10


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


class Accepted:
    """A tree that a program changes without ever syncing, and what it should be like. Nothing fails while the power is
    lost, neither what has a file open."""

    def __init__(self, path, chance):
        self.path, self.chance = path, chance
        self.tree = {}  # path below -> content, None for a directory, a str for where a link points
        self.count = 0
        os.mkdir(path)

    def place(self, name):
        """Where NAME is."""
        return os.path.join(self.path, name)

    def new(self):
        """A name that is not in use."""
        self.count += 1
        below = self.chance.choice([""] + [name for name, what in self.tree.items() if what is None])
        return os.path.join(below, "n%d" % self.count)

    def file(self):
        """One of the files."""
        files = sorted(name for name, what in self.tree.items() if isinstance(what, bytes))
        return self.chance.choice(files) if files else None

    def make(self):
        """A new file."""
        name, content = self.new(), self.chance.randbytes(self.chance.choice([0, 5, BLOCK, 70000]))
        with open(self.place(name), "wb", buffering=0) as file:
            file.write(content)
        self.tree[name] = content

    def append(self):
        """More at the end of a file."""
        name, more = self.file(), self.chance.randbytes(self.chance.choice([1, 300, 20000]))
        if name is None:
            return
        with open(self.place(name), "ab", buffering=0) as file:
            file.write(more)
        self.tree[name] += more

    def rewrite(self):
        """Bytes in the middle."""
        name = self.file()
        if name is None or not self.tree[name]:
            return
        old, some = self.tree[name], self.chance.randbytes(self.chance.randrange(1, 3000))
        at = self.chance.randrange(len(old))
        with open(self.place(name), "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), some, at)
        self.tree[name] = old[:at] + some + old[at + len(some):]

    def cut(self):
        """Shorter, or longer."""
        name = self.file()
        if name is None:
            return
        length = self.chance.randrange(0, 9000)
        os.truncate(self.place(name), length)
        self.tree[name] = self.tree[name][:length].ljust(length, b"\0")

    def mkdir(self):
        """A new directory."""
        name = self.new()
        os.mkdir(self.place(name))
        self.tree[name] = None

    def link(self):
        """A symbolic link."""
        name = self.new()
        os.symlink("to %s" % name, self.place(name))
        self.tree[name] = "to %s" % name

    def remove(self):
        """A file less."""
        name = self.file()
        if name is None:
            return
        os.unlink(self.place(name))
        del self.tree[name]

    def rename(self):
        """To a new name, or over another file."""
        old = self.file()
        new = self.chance.choice([self.new(), self.file()])
        if old is None or new in (None, old):
            return
        os.rename(self.place(old), self.place(new))
        self.tree[new] = self.tree.pop(old)

    def step(self):
        """One of them, and a short rest now and then."""
        self.chance.choice([self.make, self.make, self.append, self.append, self.rewrite, self.cut, self.mkdir,
                            self.link, self.remove, self.rename])()
        if self.chance.random() < 0.2:
            time.sleep(0.02)

    def look(self):
        """What is there."""
        out = {}
        for folder, directories, files in os.walk(self.path):
            for name in directories + files:
                path = os.path.join(folder, name)
                key = os.path.relpath(path, self.path)
                if os.path.islink(path):
                    out[key] = os.readlink(path)
                elif os.path.isdir(path):
                    out[key] = None
                else:
                    with open(path, "rb") as file:
                        out[key] = file.read()
        return out

    def broken(self):
        """Differences, for people."""
        found = self.look()
        return ["%s: %s, should be %s" % (name, told(found, name), told(self.tree, name))
                for name in sorted(set(found) | set(self.tree))
                if (name in found) != (name in self.tree) or found[name] != self.tree[name]]


def told(tree, name):
    """For people."""
    if name not in tree:
        return "missing"
    what = tree[name]
    return "a directory" if what is None else what if isinstance(what, str) else size(what)


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
            time.sleep(self.chance.uniform(0.05, 2.5) * PACE)
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

    def test_a_synced_file_keeps_its_number(self):
        """What the server remembers of a file is as safe as the file."""
        machine = self.machine()
        numbers = {}
        for round_ in range(ROUNDS):
            mount = self.mount(machine.server)
            for number in range(FILES_A_ROUND):
                name = "f%d.%d" % (round_, number)
                with open(mount.join(name), "wb", buffering=0) as file:
                    os.fsync(file.fileno())
                    numbers[name] = os.fstat(file.fileno()).st_ino
            machine.lose_power(mount.program.process.kill)
            mount.unmount()
            self.restart(machine)
            again = self.mount(machine.server)
            self.assertEqual({name: os.stat(again.join(name)).st_ino for name in numbers}, numbers)
            again.unmount()

    def test_what_was_accepted_survives_the_loss_of_power_while_its_client_lives(self):
        """The server's machine dies and comes back; nothing was synced, and everything is there that a program was told
        is so, also what it did meanwhile."""
        machine = self.machine()
        mount = self.mount(machine.server)
        for round_ in range(ROUNDS):
            accepted = Accepted(mount.join("round%d" % round_), random.Random(self.chance.random()))
            worker = Worker(accepted)
            worker.start()
            time.sleep(self.chance.uniform(0.1, 9) * PACE)
            machine.lose_power()
            self.restart(machine)
            time.sleep(self.chance.uniform(0, 2) * PACE)
            worker.stop.set()
            worker.join(ROUND_S)
            self.assertIsNone(worker.error)
            self.assertEqual(accepted.broken(), [], "through the mount, seed %d" % SEED)
            flush(mount.path)
            accepted.path = os.path.join(machine.export, os.path.basename(accepted.path))
            self.assertEqual(accepted.broken(), [], "on the server's disk, seed %d" % SEED)
        self.assertEqual(status(mount.path)["not-made-again"], 0, "changes, seed %d" % SEED)


    def test_a_file_without_a_name_ends_with_the_power(self):
        """Who has it open is told so, though it was synced; the mount goes on, and the disk has its room back."""
        machine = self.machine()
        mount = self.mount(machine.server)
        fd = os.open(mount.join("removed"), os.O_CREAT | os.O_RDWR)
        self.addCleanup(os.close, fd)
        os.write(fd, b"removed while it is open")
        os.unlink(mount.join("removed"))
        flush(mount.path)
        os.fsync(fd)
        kept = os.path.join(machine.export, ".pohmel", "orphans")
        self.assertEqual(len(os.listdir(kept)), 1)
        machine.lose_power()
        self.restart(machine)
        with open(mount.join("next"), "wb") as file:
            file.write(b"as ever")
        for deed in (lambda: os.pread(fd, 10, 0), lambda: os.pwrite(fd, b"more", 0), lambda: os.fsync(fd)):
            with self.assertRaises(OSError) as told:
                deed()
            self.assertEqual(told.exception.errno, errno.EIO)
        self.assertGreaterEqual(status(mount.path)["handles-lost"], 1)
        flush(mount.path)
        self.assertEqual(read(os.path.join(machine.export, "next")), b"as ever")
        wait_for(lambda: not os.path.exists(kept) or os.listdir(kept) == [], "nothing to be kept")


class XfsPower(Ext4Power):
    """On xfs."""

    kind = "xfs"
