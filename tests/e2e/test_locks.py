"""Locks of files and of byte ranges: within a mount, between mounts, with their
owners dying."""

import errno
import fcntl
import os
import signal
import struct
import subprocess
import sys
import time

from calls import write
from harness import LOCAL, SLOWER, MountCase, wait_for

# A lock holder: takes the lock described by its arguments, says "held", waits for a line.
HOLDER = """
import fcntl, os, struct, sys
path, kind, exclusive, start, length = sys.argv[1], sys.argv[2], sys.argv[3] == "1", int(sys.argv[4]), int(sys.argv[5])
d = os.open(path, os.O_RDWR)
if kind == "flock":
    fcntl.flock(d, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
else:
    command = fcntl.F_OFD_SETLKW if kind == "ofd" else fcntl.F_SETLKW
    fcntl.fcntl(d, command, struct.pack("hhqqi4x", fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, 0, start, length, 0))
print("held", flush=True)
sys.stdin.readline()
"""


class Locks(MountCase):
    """Each test between two paths of one file: the same mount, and two mounts."""

    mounts = 2

    def setUp(self):
        """One file."""
        super().setUp()
        write(os.path.join(self.here, "f"), b"x" * 100)
        self.one, self.two = os.path.join(self.here, "f"), os.path.join(self.there, "f")
        self.holders = []
        self.addCleanup(self.end_all)

    def end_all(self):
        """No holder outlives its test."""
        for holder in self.holders:
            holder.kill()
            holder.communicate()

    def holder(self, path, kind="posix", exclusive=True, start=0, length=0, wait=True):
        """A process that takes a lock; with WAIT it has it when this returns."""
        process = subprocess.Popen([sys.executable, "-c", HOLDER, path, kind, "1" if exclusive else "0", str(start),
                                    str(length)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.holders.append(process)
        if wait:
            self.assertEqual(process.stdout.readline(), "held\n")
        else:
            time.sleep(0.4)
        return process

    @staticmethod
    def let_go(holder):
        """The holder ends in order."""
        holder.stdin.write("\n")
        holder.stdin.flush()
        holder.wait(10)

    @staticmethod
    def try_lock(path, kind="posix", exclusive=True, start=0, length=0):
        """Whether the lock could be had now."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            if kind == "flock":
                fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            else:
                command = fcntl.F_OFD_SETLK if kind == "ofd" else fcntl.F_SETLK
                kind_ = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
                fcntl.fcntl(descriptor, command, struct.pack("hhqqi4x", kind_, 0, start, length, 0))
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        finally:
            os.close(descriptor)

    def each(self):
        """Pairs of paths and kinds."""
        for other in (self.one, self.two):
            for kind in ("posix", "ofd", "flock"):
                yield other, kind

    def test_an_exclusive_lock_keeps_all_others_out(self):
        """Until it is given back."""
        for other, kind in self.each():
            with self.subTest(kind=kind, across=other == self.two):
                holder = self.holder(self.one, kind)
                self.assertFalse(self.try_lock(other, kind))
                self.assertFalse(self.try_lock(other, kind, exclusive=False))
                self.let_go(holder)
                self.assertTrue(self.try_lock(other, kind))

    def test_shared_locks_go_together(self):
        """And keep exclusive ones out."""
        for other, kind in self.each():
            with self.subTest(kind=kind, across=other == self.two):
                holder = self.holder(self.one, kind, exclusive=False)
                self.assertTrue(self.try_lock(other, kind, exclusive=False))
                self.assertFalse(self.try_lock(other, kind))
                self.let_go(holder)

    def test_ranges_conflict_only_where_they_overlap(self):
        """Also beyond the end of the file, and to the end."""
        holder = self.holder(self.one, start=10, length=10)
        far = self.holder(self.one, start=1000)
        for path in (self.one, self.two):
            self.assertTrue(self.try_lock(path, start=0, length=10))
            self.assertTrue(self.try_lock(path, start=20, length=980))
            self.assertFalse(self.try_lock(path, start=19, length=1))
            self.assertFalse(self.try_lock(path, start=0, length=11))
            self.assertFalse(self.try_lock(path, start=1 << 40, length=1))
        self.let_go(holder)
        self.let_go(far)

    def test_posix_and_ofd_locks_see_each_other_and_flock_neither(self):
        """As on a local disk."""
        holder = self.holder(self.one, "posix")
        self.assertFalse(self.try_lock(self.two, "ofd"))
        self.assertTrue(self.try_lock(self.two, "flock"))
        self.let_go(holder)

    def test_a_waiter_gets_the_lock_when_it_is_free(self):
        """Within a moment, and not before."""
        for other, kind in self.each():
            with self.subTest(kind=kind, across=other == self.two):
                holder = self.holder(self.one, kind)
                waiter = self.holder(other, kind, wait=False)
                self.assertIsNone(waiter.poll())
                started = time.monotonic()
                self.let_go(holder)
                self.assertEqual(waiter.stdout.readline(), "held\n")
                self.assertLess(time.monotonic() - started, 3 * SLOWER)
                self.let_go(waiter)

    def test_a_waiter_can_be_killed_and_leaves_nothing(self):
        """SIGKILL and SIGTERM while waiting."""
        for other, kind in self.each():
            for number in (signal.SIGKILL, signal.SIGTERM):
                with self.subTest(kind=kind, signal=number, across=other == self.two):
                    holder = self.holder(self.one, kind)
                    waiter = self.holder(other, kind, wait=False)
                    waiter.send_signal(number)
                    self.assertEqual(waiter.wait(5 * SLOWER), -number)
                    self.let_go(holder)
                    wait_for(lambda: self.try_lock(other, kind), "the lock that was let go")

    def test_a_signal_with_a_handler_interrupts_the_wait(self):
        """EINTR, as the manual of fcntl says."""
        holder = self.holder(self.one)
        code = ("import fcntl,os,signal,sys\nclass E(Exception): pass\ndef h(*a): raise E\n"
                "signal.signal(signal.SIGALRM,h)\nsignal.alarm(1)\nd=os.open(sys.argv[1],os.O_RDWR)\n"
                "try: fcntl.lockf(d,fcntl.LOCK_EX)\nexcept E: print('interrupted')\n")
        out = subprocess.run([sys.executable, "-c", code, self.two], stdout=subprocess.PIPE, text=True, timeout=20,
                             check=True).stdout
        self.assertEqual(out, "interrupted\n")
        self.let_go(holder)

    def test_the_death_of_a_holder_frees_its_locks(self):
        """SIGKILL of the process."""
        for other, kind in self.each():
            with self.subTest(kind=kind, across=other == self.two):
                holder = self.holder(self.one, kind)
                self.assertFalse(self.try_lock(other, kind))
                holder.kill()
                holder.wait()
                wait_for(lambda: self.try_lock(other, kind), "the lock of the dead", 5)

    def test_a_deadlock_of_two_processes_is_told(self):
        """EDEADLK, across the mounts."""
        write(os.path.join(self.here, "g"), b"y")
        code = ("import fcntl,os,sys,time\na=os.open(sys.argv[1],os.O_RDWR);b=os.open(sys.argv[2],os.O_RDWR)\n"
                "fcntl.lockf(a,fcntl.LOCK_EX)\nprint('one',flush=True)\nsys.stdin.readline()\n"
                "try: fcntl.lockf(b,fcntl.LOCK_EX); print('two',flush=True)\n"
                "except OSError as e: print(e.errno,flush=True)\n")
        names = [(self.here + "/f", self.here + "/g"), (self.there + "/g", self.there + "/f")]
        both = [subprocess.Popen([sys.executable, "-c", code, *pair], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True) for pair in names]
        self.holders += both
        for process in both:
            self.assertEqual(process.stdout.readline(), "one\n")
        for process in both:
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(0.5)
        answers = sorted(process.stdout.readline().strip() for process in reversed(both))
        self.assertEqual(answers, sorted([str(errno.EDEADLK), "two"]))

    def test_the_holder_is_named_to_those_who_ask(self):
        """F_GETLK tells the range; the process where it is on the same machine's mount."""
        holder = self.holder(self.one, start=5, length=7)
        for path in (self.one, self.two):
            descriptor = os.open(path, os.O_RDWR)
            answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            kind, _, start, length, process = struct.unpack("hhqqi4x", answer)
            self.assertEqual((kind, start, length), (fcntl.F_WRLCK, 5, 7))
            if path == self.one:
                self.assertEqual(process, holder.pid)
            os.close(descriptor)
        self.let_go(holder)

    def test_closing_any_descriptor_drops_the_processes_posix_locks(self):
        """The famous rule; OFD locks stay."""
        for kind, expected in (("posix", True), ("ofd", False)):
            descriptor = os.open(self.one, os.O_RDWR)
            command = fcntl.F_OFD_SETLK if kind == "ofd" else fcntl.F_SETLK
            fcntl.fcntl(descriptor, command, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            os.close(os.open(self.one, os.O_RDONLY))
            self.assertEqual(self.try_lock(self.two, "ofd"), expected, kind)
            os.close(descriptor)
            self.assertTrue(self.try_lock(self.two, "ofd"))

    def test_a_lock_can_be_cut_and_turned(self):
        """Unlocking the middle; from exclusive to shared."""
        descriptor = os.open(self.one, os.O_RDWR)

        def set_lock(kind, start, length):
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, 0, start, length, 0))

        def free(**lock):
            return self.try_lock(self.two, "ofd", **lock)
        set_lock(fcntl.F_WRLCK, 0, 30)
        set_lock(fcntl.F_UNLCK, 10, 10)
        self.assertTrue(free(start=10, length=10))
        self.assertFalse(free(start=9, length=2))
        set_lock(fcntl.F_RDLCK, 0, 10)
        self.assertTrue(free(exclusive=False, start=0, length=10))
        self.assertFalse(free(exclusive=False, start=20, length=10))
        os.close(descriptor)

    def test_many_waiters_do_not_stop_the_mount(self):
        """More of them than requests may be in flight."""
        holder = self.holder(self.one, "flock")
        code = ("import fcntl,os,sys\nfor n in range(40):\n  if os.fork()==0:\n"
                "    fcntl.flock(os.open(sys.argv[1],os.O_RDWR),fcntl.LOCK_EX); os._exit(0)\n"
                "ok=all(os.waitstatus_to_exitcode(os.wait()[1])==0 for n in range(40))\nsys.exit(not ok)\n")
        crowds = [subprocess.Popen([sys.executable, "-c", code, path]) for path in (self.one, self.two) * 4]
        self.holders += crowds
        time.sleep(3)
        self.assertEqual(write(os.path.join(self.here, "other"), b"free"), 4)
        self.let_go(holder)
        for crowd in crowds:
            self.assertEqual(crowd.wait(30), 0)

    def test_a_client_that_dies_frees_its_locks(self):
        """The daemon of a mount is killed: its guard says so, and nobody waits."""
        if LOCAL:
            self.skipTest("there is no client")
        server = self.server()
        mount, other = self.mount(server), self.mount(server)
        write(mount.join("f"), b"")
        holder = self.holder(mount.join("f"), "flock")
        self.assertFalse(self.try_lock(other.join("f"), "flock"))
        mount.program.end(signal.SIGKILL)
        wait_for(lambda: self.try_lock(other.join("f"), "flock"), "the lock of the dead client", 3 * SLOWER)
        holder.kill()
