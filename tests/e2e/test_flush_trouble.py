"""What is in the way when changes are written back: an export that has become read-only, and a server that stands still
while somebody unmounts."""

import os
import signal
import subprocess
import sys
import unittest

from calls import attempt, read, write
from harness import LOCAL, SLOWER, Case, flush, scratch, tail, wait_for, wait_said
from trees import PATIENT


@unittest.skipIf(LOCAL, "about write-back")
class FlushTrouble(Case):
    """Of one mount."""

    def test_an_export_that_has_become_read_only_is_told_and_the_rest_stays(self):
        """By fsync and in the log; what was not tried is written back when it is writable again."""
        export = scratch("export")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", export], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", export], check=True)
        at = self.mount(self.server(export=export), options=PATIENT)
        for name in ("one", "two"):
            os.mkdir(at.join(name))
            write(at.join(name, "known"), b"old")
        flush(at.path)
        for name in ("one", "two"):
            write(at.join(name, "known"), b"newer")
            write(at.join(name, "made"), b"made here")
        wait_for(lambda: subprocess.run(["mount", "-o", "remount,ro", export], stderr=subprocess.DEVNULL,
                                        check=False).returncode == 0, "a read-only export")
        descriptor = os.open(at.join("one/known"), os.O_WRONLY)
        self.assertEqual(attempt(os.fsync, descriptor), "EROFS")
        attempt(os.close, descriptor)
        wait_said(at.log, "is lost: .*one/known.*read-only")
        subprocess.run(["mount", "-o", "remount,rw", export], check=True)
        attempt(flush, at.path)  # it may tell of that file again
        self.assertEqual(read(os.path.join(export, "two/known")), b"newer")
        self.assertEqual(read(os.path.join(export, "two/made")), b"made here")
        self.assertEqual(write(at.join("one/later"), b"goes on"), 7)
        flush(at.path)
        self.assertEqual(read(os.path.join(export, "one/later")), b"goes on")

    def test_umount_waits_for_no_server_that_stands_still(self):
        """As soon as it has stopped, long before that is known; the daemon goes on writing back afterwards."""
        one = self.server()
        at = self.mount(one, options=("hard",))
        write(at.join("f"), b"still to be written back")
        one.program.send(signal.SIGSTOP)
        try:
            subprocess.run(["umount", "-i", at.path], check=True, timeout=40 * SLOWER)
        finally:
            one.program.send(signal.SIGCONT)
        wait_for(lambda: not at.program.running(), "the end of pohmelfs", 40 * SLOWER)
        self.assertEqual(read(os.path.join(one.export, "f")), b"still to be written back")

    def test_unmounting_waits_and_says_what_for(self):
        """A server that stands still: the daemon stays, says how much is to be written back, and ends when it has."""
        one = self.server()
        at = self.mount(one, options=PATIENT)
        os.mkdir(at.join("d"))
        for number in range(30):
            write(at.join("d/f%02d" % number), b"%02d" % number * 100)
        one.program.send(signal.SIGSTOP)
        try:
            code = "import ctypes,sys; sys.exit(ctypes.CDLL(None).umount2(sys.argv[1].encode(), 0) != 0)"
            unmounting = subprocess.Popen([sys.executable, "-c", code, at.path])
            self.addCleanup(unmounting.wait)
            wait_for(lambda: "still to be written back" in "\n".join(tail(at.log)), "a word of it", 40 * SLOWER)
            self.assertTrue(at.program.running())
            wait_said(at.log, r"waiting for .*: [0-9]+ changes and [0-9]+ bytes are still")
        finally:
            one.program.send(signal.SIGCONT)
        self.assertEqual(unmounting.wait(40 * SLOWER), 0)
        wait_for(lambda: not at.program.running(), "the end of pohmelfs", 40 * SLOWER)
        self.assertEqual(at.program.process.returncode, 0)
        for number in range(30):
            self.assertEqual(read(os.path.join(one.export, "d/f%02d" % number)), b"%02d" % number * 100)
