"""Sessions that outlive their connections, and the server: nothing that a program does fails by it."""

import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from calls import attempt, read, write
from harness import POHMELCTL, SLOWER, Case, flush, scratch, tail, wait_for, wait_said
from trees import status


LEASE_S = 5
ASLEEP_S = 26  # a recall may stay unanswered for 20 s


class Wire:
    """A way to a server that can be cut at any time. Looks like a server to who mounts it."""

    def __init__(self, server):
        self.server = server
        self.exports = server.exports
        self.pairs = []
        self.closed = False
        self.down = False
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.closed:
            try:
                near = self.listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                if not self.closed:
                    near.close()
                continue
            if self.down:
                near.close()
                far.close()
                continue
            with self.lock:
                self.pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one, other):
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Resets every connection, whatever is under way."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def end(self):
        """No more connections."""
        self.closed = True
        self.cut()
        self.listener.close()


# Makes files in rounds, reads each again, appends under a lock; any error ends it.
WORKER = """
import fcntl, os, sys, time
where, until = sys.argv[1], time.monotonic() + float(sys.argv[2])
log = open(os.path.join(where, "log"), "a+b", buffering=0)
done = 0
while time.monotonic() < until:
    name = os.path.join(where, "f%d" % (done % 40))
    with open(name + ".new", "wb") as file:
        file.write(b"%d" % done * 100)
        if done % 7 == 0:
            os.fsync(file.fileno())
    os.rename(name + ".new", name)
    with open(name, "rb") as file:
        assert file.read() == b"%d" % done * 100, name
    fcntl.lockf(log, fcntl.LOCK_EX)
    log.write(b"%d\\n" % done)
    fcntl.lockf(log, fcntl.LOCK_UN)
    os.listdir(where)
    done += 1
assert open(log.name).read().split() == [str(i) for i in range(done)]
print(done)
"""


class Survival(Case):
    """Connections break, the server dies: programs wait, and go on."""

    limit_s = 150 * SLOWER
    mount_options = ("allow_other", "flush_age=300ms")

    def setUp(self):
        """One server, one wire to it, one mount over that."""
        self.one = self.server()
        self.wire = Wire(self.one)
        self.addCleanup(self.wire.end)
        self.at = self.mount(self.wire, options=self.mount_options)

    def work(self, seconds, where=None):
        """A worker under way."""
        where = where or self.at.path
        return subprocess.Popen([sys.executable, "-c", WORKER, where, str(seconds)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def succeed(self, worker):
        """It ends without an error."""
        out, errors = worker.communicate(timeout=100 * SLOWER)
        self.assertEqual(worker.returncode, 0, errors + "\n".join(tail(self.at.log)))
        return int(out)

    def test_connections_that_break_all_the_time(self):
        """Reset every 300 ms: no error, one session, everything exactly once."""
        worker = self.work(6)
        while worker.poll() is None:
            time.sleep(0.3)
            self.wire.cut()
        self.assertGreater(self.succeed(worker), 0)
        wait_for(lambda: status(self.at.path)["session"] == "open", "the session")
        told = status(self.at.path)
        self.assertEqual(told["sessions-opened"], 1)
        self.assertGreater(told["sessions-resumed"], 3)
        flush(self.at.path)
        self.assertEqual(read(os.path.join(self.one.export, "log")), read(self.at.join("log")))

    def test_handles_and_locks_stay(self):
        """A file that is open and locked is so after the connection broke; another mount does not get the lock."""
        other = self.mount(self.one)
        fd = os.open(self.at.join("file"), os.O_CREAT | os.O_RDWR)
        self.addCleanup(os.close, fd)
        os.write(fd, b"before")
        fcntl.lockf(fd, fcntl.LOCK_EX)
        self.wire.cut()
        code = "import fcntl,os,sys\nfd=os.open(sys.argv[1],os.O_RDWR)\ntry:\n fcntl.lockf(fd,fcntl.LOCK_EX|fcntl.LOCK_NB)\n" \
               "except OSError:\n sys.exit(3)\n"
        for _ in range(3):
            self.assertEqual(subprocess.run([sys.executable, "-c", code, other.join("file")], check=False,
                                            timeout=30 * SLOWER).returncode, 3)
            self.wire.cut()
            time.sleep(0.2)
        self.assertEqual(os.pwrite(fd, b"behind", 6), 6)
        os.fsync(fd)
        self.assertEqual(read(other.join("file")), b"beforebehind")

    def test_what_is_kept_is_served_without_a_connection(self):
        """As long as leases last."""
        write(self.at.join("kept"), b"x" * 5000)
        os.makedirs(self.at.join("d/e"))
        flush(self.at.path)
        self.assertEqual(read(self.at.join("kept")), b"x" * 5000)
        self.assertEqual(os.listdir(self.at.join("d")), ["e"])
        self.wire.down = True
        self.wire.cut()
        began = time.monotonic()
        os.stat(self.at.join("kept"))
        self.assertEqual(os.listdir(self.at.join("d")), ["e"])
        self.assertLess(time.monotonic() - began, 1 * SLOWER)
        self.wire.down = False
        write(self.at.join("new"), b"goes on")
        flush(self.at.path)
        self.assertEqual(status(self.at.path)["sessions-opened"], 1)

    def test_whoever_waits_can_be_killed(self):
        """A server that is gone for good: ls and a writer that syncs wait, and die when they are killed; the mount ends."""
        self.wire.down = True
        self.one.kill()
        self.wire.cut()
        code = "import os,sys\nf=open(sys.argv[1],'wb')\nf.write(b'x')\nf.flush()\nos.fsync(f.fileno())\n"
        waiting = [subprocess.Popen(["ls", "-l", self.at.join("nowhere")], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL),
                   subprocess.Popen([sys.executable, "-c", code, self.at.join("written")])]
        time.sleep(3)
        for process in waiting:
            self.assertIsNone(process.poll())
            process.kill()
        for process in waiting:
            process.wait(10 * SLOWER)
        began = time.monotonic()
        self.at.unmount()
        self.assertLess(time.monotonic() - began, 50 * SLOWER)

    def test_a_server_that_is_killed_under_load(self):
        """SIGKILL three times: no program sees an error, and all is there once."""
        worker = self.work(10)
        for _ in range(3):
            time.sleep(2)
            self.one.kill()
            self.one.start()
        self.assertGreater(self.succeed(worker), 0)
        flush(self.at.path)
        self.assertEqual(status(self.at.path)["sessions-opened"], 1, tail(self.at.log))
        self.assertEqual(read(os.path.join(self.one.export, "log")), read(self.at.join("log")))

    def test_open_files_and_locks_outlive_the_server(self):
        """Opened, locked and written before; the server is killed; written on and read by another mount afterwards."""
        fds = [os.open(self.at.join("file%d" % i), os.O_CREAT | os.O_RDWR) for i in range(50)]
        for i, fd in enumerate(fds):
            self.addCleanup(os.close, fd)
            os.write(fd, b"%03d" % i)
        flush(self.at.path)
        fcntl.lockf(fds[0], fcntl.LOCK_EX)
        self.one.kill()
        self.one.start()
        began = time.monotonic()
        for i, fd in enumerate(fds):
            self.assertEqual(os.pwrite(fd, b"after", 3), 5)
            self.assertEqual(os.pread(fd, 100, 0), b"%03dafter" % i)
        os.fsync(fds[0])
        print("stall: %.2f s" % (time.monotonic() - began), file=sys.stderr)
        other = self.mount(self.one)
        for i in range(50):
            self.assertEqual(read(other.join("file%d" % i)), b"%03dafter" % i)
        code = "import fcntl,os,sys\nfd=os.open(sys.argv[1],os.O_RDWR)\ntry:\n fcntl.lockf(fd,fcntl.LOCK_EX|fcntl.LOCK_NB)\n" \
               "except OSError:\n sys.exit(3)\n"
        self.assertEqual(subprocess.run([sys.executable, "-c", code, other.join("file0")], check=False).returncode, 3)


class Programs:
    """With files open in the mount AT; OTHER sees the same."""

    def __init__(self, at, other):
        self.at, self.other = at, other
        os.mkdir(at.join("many"))
        for number in range(100):
            write(at.join("many/%d" % number))
        for name in ("written", "locked"):
            write(at.join(name), b"0123456789")
        flush(*(at.join(name) for name in ("many", "written", "locked")))
        self.fds = {name: os.open(at.join(name), os.O_RDWR) for name in ("written", "locked")}
        self.fds["appended"] = os.open(at.join("written"), os.O_WRONLY | os.O_APPEND)
        self.fds["fresh"] = os.open(at.join("fresh"), os.O_CREAT | os.O_RDWR)
        os.write(self.fds["fresh"], b"not sent yet ")
        fcntl.flock(self.fds["locked"], fcntl.LOCK_EX)
        self.listing = os.scandir(at.join("many"))
        self.listed = [next(self.listing).name]

    def go_on(self, test):
        """As if nothing had happened."""
        test.assertEqual(os.pread(self.fds["written"], 4, 2), b"2345")
        test.assertEqual(os.pwrite(self.fds["written"], b"ab", 0), 2)
        test.assertEqual(os.write(self.fds["appended"], b" and more"), 9)
        test.assertEqual(os.write(self.fds["fresh"], b"and later"), 9)
        for name in ("written", "fresh"):
            os.fsync(self.fds[name])
        test.assertEqual(read(self.other.join("written")), b"ab23456789 and more")
        test.assertEqual(read(self.other.join("fresh")), b"not sent yet and later")
        test.assertEqual(sorted(self.listed + [entry.name for entry in self.listing]),
                         sorted(str(number) for number in range(100)))
        test.assertEqual(attempt(os.pwrite, self.fds["locked"], b"x", 0), "EIO")
        for fd in self.fds.values():
            attempt(os.close, fd)


class Asleep(Case):
    """A machine that slept: its process was stopped for longer than its leases last, with changes in its cache."""

    limit_s = 120 * SLOWER

    def setUp(self):
        """What the mount changes stays in its cache."""
        self.one = self.server(options=["--lease-time", str(LEASE_S)])
        self.kept = scratch("kept")
        self.at = self.mount(self.one, options=("allow_other", "flush_age=3600s", "conflicts=" + self.kept))
        for name in ("mine", "theirs"):
            write(self.at.join(name), b"old " * 1000)
        flush(self.at.path)
        for name in ("mine", "theirs"):
            write(self.at.join(name), b"new " * 1000)
        wait_for(lambda: status(self.at.path)["dirty-bytes"] == 8000, "dirty bytes")

    def sleep(self, change=None):
        """Stopped for longer than leases last; CHANGE() is done by somebody else meanwhile."""
        self.at.program.send(signal.SIGSTOP)
        try:
            began = time.monotonic()
            if change:
                change()
            time.sleep(max(0, ASLEEP_S - (time.monotonic() - began)))
        finally:
            self.at.program.send(signal.SIGCONT)

    def test_nobody_wanted_anything(self):
        """It goes on where it was, in the same session."""
        self.sleep()
        flush(self.at.path)
        for name in ("mine", "theirs"):
            self.assertEqual(read(os.path.join(self.one.export, name)), b"new " * 1000)
        self.assertEqual(status(self.at.path)["sessions-opened"], 1)
        self.assertEqual(os.listdir(self.kept), [])

    def test_somebody_changed_one_file(self):
        """That one is not overwritten: what was to be in it is kept aside, and told; the other one arrives. What
        programs have open stays so, but for what they had locked."""
        other = self.mount(self.one)
        programs = Programs(self.at, other)
        for name in ("mine", "theirs"):
            write(self.at.join(name), b"new " * 1000)
        fd = os.open(self.at.join("theirs"), os.O_RDWR)
        os.pwrite(fd, b"new ", 0)
        self.sleep(lambda: write(other.join("theirs"), b"their own words"))
        told = [attempt(os.fsync, fd)]
        wait_for(lambda: status(self.at.path)["sessions-opened"] == 2, "a new session")
        programs.go_on(self)
        told += [attempt(os.fsync, fd), attempt(os.close, fd)]
        self.assertTrue(any(told), told)
        wait_for(lambda: subprocess.run([POHMELCTL, "flush", self.at.join("mine")], check=False,
                                        capture_output=True).returncode == 0, "the other one to be written back")
        wait_for(lambda: status(self.at.path)["dirty-operations"] == 0, "nothing dirty")
        self.assertEqual(read(os.path.join(self.one.export, "mine")), b"new " * 1000)
        self.assertEqual(read(os.path.join(self.one.export, "theirs")), b"their own words")
        self.assertEqual(read(self.at.join("theirs")), b"their own words")
        told = subprocess.run([POHMELCTL, "conflicts", "--json", self.at.path], check=True, capture_output=True,
                              timeout=30 * SLOWER)
        entries = [entry for entry in json.loads(told.stdout) if entry["file"]]
        self.assertEqual([entry["path"] for entry in entries], ["/theirs"], tail(self.at.log))
        self.assertEqual(read(os.path.join(self.kept, entries[0]["file"])), b"new " * 1000)
        plain = subprocess.run([POHMELCTL, "conflicts", self.at.path], check=True, capture_output=True, text=True,
                               timeout=30 * SLOWER)
        self.assertIn(entries[0]["file"], plain.stdout)
        wait_said(self.at.log, re.escape(entries[0]["file"]), 1000)

    def test_the_mount_ends_without_a_server(self):
        """What cannot be written back is kept aside."""
        self.one.kill()
        subprocess.run(["umount", "-i", self.at.path], check=True)
        wait_for(lambda: not self.at.program.running(), "the end of pohmelfs", 60 * SLOWER)
        with open(os.path.join(self.kept, "index"), encoding="utf-8") as file:
            entries = [json.loads(line) for line in file]
        kept = {entry["path"]: entry["file"] for entry in entries if entry["file"]}
        self.assertEqual(sorted(kept), ["/mine", "/theirs"])
        for name in kept.values():
            self.assertEqual(read(os.path.join(self.kept, name)), b"new " * 1000)


class AnotherServer(Case):
    """What comes back is not what went."""

    def test_the_state_directory_was_lost(self):
        """It is another volume then: everything fails with clear words, and works again when it is put right."""
        one = self.server()
        at = self.mount(one, options=("allow_other", "flush_age=3600s", "conflicts=" + scratch("kept")))
        write(at.join("f"), b"before")
        flush(at.path)
        write(at.join("f"), b"behind")
        fd = os.open(at.join("f"), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        one.kill()
        state, one.state = one.state, scratch("state", 0o700)
        one.start()
        self.assertEqual(attempt(os.fsync, fd), "EIO")
        wait_for(lambda: "another volume" in str(status(at.path).get("trouble")), "the words")
        wait_said(at.log, "exports another volume now", 1000)
        self.assertEqual(attempt(os.stat, at.join("nowhere")), "EIO")
        self.assertEqual(read(os.path.join(one.export, "f")), b"before")
        one.kill()
        one.state = state
        one.start()
        wait_for(lambda: attempt(os.stat, at.join("nowhere")) == "ENOENT", "the return")
        flush(at.path)
        self.assertEqual(read(os.path.join(one.export, "f")), b"behind")


class SurvivalWrittenThrough(Survival):
    """The same where each change goes to the server at once."""

    mount_options = ("allow_other", "writethrough")
