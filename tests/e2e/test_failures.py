"""The server stops, dies, hangs, comes back: clear errors, no hang that cannot be
ended, and work goes on afterwards."""

import os
import signal
import subprocess
import sys
import time

from calls import attempt, read, write
from harness import SLOWER, Case, mounted, wait_for

BROKEN = {"EIO", "ESTALE", "ENOTCONN", "ESHUTDOWN", "ECONNRESET", "ETIMEDOUT", "EBADF"}
# Longer than this nothing may wait for a server that is gone.
GONE_S = 45 * SLOWER


def touch(path):
    """Something that asks the server, in a process that can be killed."""
    return subprocess.Popen([sys.executable, "-c", "import os,sys\nos.stat(sys.argv[1])", path],
                            stderr=subprocess.DEVNULL)


class Failures(Case):
    """A server and a mount for each test. The mount writes through, so that a change that was answered is at
    the server; test_write_back_trouble.py has the same with changes that are not."""

    limit_s = 120 * SLOWER

    def setUp(self):
        """A file that is there."""
        self.first = self.server()
        self.at = self.mount(self.first, options=("allow_other", "writethrough", "soft=5"))
        write(self.at.join("f"), b"before")

    def test_a_killed_server_gives_errors_and_its_return_heals(self):
        """Without unmounting. What leases cover may be answered as long as they last."""
        self.first.kill()
        started = time.monotonic()
        self.assertIn(attempt(read, self.at.join("f")), BROKEN | {b"before"})
        self.assertIn(attempt(write, self.at.join("g"), b"x"), BROKEN)
        self.assertIn(attempt(os.stat, self.at.join("nowhere/at/all")), BROKEN | {"ENOENT"})
        self.assertLess(time.monotonic() - started, 3 * GONE_S)
        self.first.start()
        wait_for(lambda: attempt(read, self.at.join("f")) == b"before", "the mount's return", GONE_S)
        self.assertEqual(write(self.at.join("g"), b"after"), 5)
        self.assertEqual(read(os.path.join(self.first.export, "g")), b"after")

    def test_objects_keep_their_numbers_over_a_restart(self):
        """Made through the mount and found on the disk, known and not yet known."""
        write(os.path.join(self.first.export, "found"), b"x")
        os.makedirs(self.at.join("d/e"))
        write(self.at.join("d/e/made"), b"x")
        names = ("f", "found", "d", "d/e", "d/e/made")
        # What is done on the server itself is heard of a moment later.
        wait_for(lambda: attempt(read, self.at.join("found")) == b"x", "what was found on the disk")
        before = [os.stat(self.at.join(name)).st_ino for name in names]
        for end in (self.first.stop, self.first.kill):
            end()
            self.first.start()
            wait_for(lambda: attempt(read, self.at.join("f")) == b"before", "the mount's return", GONE_S)
            self.assertEqual([os.stat(self.at.join(name)).st_ino for name in names], before)

    def test_a_process_in_a_directory_goes_on_after_a_restart(self):
        """Its working directory still works."""
        os.makedirs(self.at.join("deep/er"))
        os.chdir(self.at.join("deep/er"))
        try:
            self.first.kill()
            self.first.start()
            wait_for(lambda: attempt(write, "new", b"x") == 1, "the working directory's return", GONE_S)
            self.assertEqual(read("new"), b"x")
        finally:
            os.chdir("/")

    def test_files_open_over_a_restart_never_give_wrong_data(self):
        """They answer as before, or with an error."""
        descriptor = os.open(self.at.join("f"), os.O_RDWR)
        self.first.kill()
        self.first.start()
        wait_for(lambda: attempt(read, self.at.join("f")) == b"before", "the mount's return", GONE_S)
        write(self.at.join("f"), b"AFTER!")
        self.assertIn(attempt(os.pread, descriptor, 6, 0), BROKEN | {b"AFTER!"})
        self.assertIn(attempt(os.pwrite, descriptor, b"x", 0), BROKEN | {1})
        attempt(os.close, descriptor)

    def test_a_process_that_waits_for_a_hung_server_can_be_killed(self):
        """SIGSTOP; also with SIGTERM."""
        self.first.program.send(signal.SIGSTOP)
        try:
            for number in (signal.SIGKILL, signal.SIGTERM):
                process = touch(self.at.join("f"))
                time.sleep(1)
                self.assertIsNone(process.poll(), "it was to wait")
                process.send_signal(number)
                self.assertEqual(process.wait(10), -number)
        finally:
            self.first.program.send(signal.SIGCONT)
        self.assertEqual(read(self.at.join("f")), b"before")

    def test_a_hung_server_that_goes_on_loses_nothing(self):
        """The waiting requests are answered."""
        self.first.program.send(signal.SIGSTOP)
        writer = subprocess.Popen([sys.executable, "-c", "import sys\nopen(sys.argv[1],'w').write('late')",
                                   self.at.join("g")])
        time.sleep(2)
        self.first.program.send(signal.SIGCONT)
        self.assertEqual(writer.wait(20), 0)
        self.assertEqual(read(self.at.join("g")), b"late")

    def test_other_signals_do_not_leak_errors_into_work(self):
        """A timer that fires all the time during reads and writes."""
        code = ("import os,signal,sys\nsignal.signal(signal.SIGALRM,lambda *a:None)\n"
                "signal.siginterrupt(signal.SIGALRM,False)\nsignal.setitimer(signal.ITIMER_REAL,0.001,0.001)\n"
                "data=os.urandom(100000)\nfor n in range(200):\n"
                "  open(sys.argv[1],'wb').write(data)\n  assert open(sys.argv[1],'rb').read()==data\n"
                "  os.stat(sys.argv[1]); os.rename(sys.argv[1],sys.argv[1]+'2'); os.rename(sys.argv[1]+'2',sys.argv[1])\n"
                "signal.setitimer(signal.ITIMER_REAL,0)\n")
        done = subprocess.run([sys.executable, "-c", code, self.at.join("signals")], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=100, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_unmounting_works_with_the_server_gone(self):
        """And the daemon ends."""
        self.first.kill()
        subprocess.run(["umount", self.at.path], check=True, timeout=GONE_S)
        self.assertFalse(mounted(self.at.path))
        wait_for(lambda: not self.at.program.running(), "the end of pohmelfs", GONE_S)

    def test_a_server_told_to_end_ends_in_order(self):
        """SIGTERM and SIGINT, with a mount at work; exit code 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.assertEqual(self.first.program.end(number), 0)
            self.first.start()
        wait_for(lambda: attempt(read, self.at.join("f")) == b"before", "the mount's return", GONE_S)

    def test_work_in_progress_survives_or_fails_clearly(self):
        """The server is killed in the middle of a copy; what was answered is there."""
        code = ("import os,sys\nn=0\ntry:\n  while True:\n"
                "    d=os.open('%s/w%d'%(sys.argv[1],n),os.O_CREAT|os.O_EXCL|os.O_WRONLY)\n"
                "    os.write(d,b'%d'%n); os.close(d); n+=1\nexcept OSError as e: print(n,e.errno)\n")
        worker = subprocess.Popen([sys.executable, "-c", code, self.at.path], stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        self.first.kill()
        out, _ = worker.communicate(timeout=GONE_S)
        done = int(out.split()[0])
        self.assertGreater(done, 10)
        for number in range(done):
            self.assertEqual(read(os.path.join(self.first.export, "w%d" % number)), b"%d" % number)

    def test_files_removed_while_open_are_gone_after_a_crash(self):
        """They are kept for those who have them open, never shown, and go when nobody came back for them."""
        descriptor = os.open(self.at.join("f"), os.O_RDWR)
        os.unlink(self.at.join("f"))
        self.assertEqual(os.listdir(self.at.path), [])
        self.first.kill()
        attempt(os.close, descriptor)
        self.first.start()
        wait_for(lambda: attempt(os.listdir, self.at.path) == [], "an empty listing", GONE_S)

        def left():
            return [os.path.join(where, name) for where, _, names in os.walk(self.first.export) for name in names]

        wait_for(lambda: left() == [], "nothing left in the export", GONE_S)
