"""Write-back when something ends or fails: mounts, servers, space, permissions. What was not written back
arrives later, or its loss is told."""

import errno
import os
import signal
import subprocess
import sys
import time

from calls import attempt, read, write
from harness import BUILD, POHMELCTL, SLOWER, Case, flush, mounted, scratch, tail, wait_for, wait_said
from trees import MIB, PATIENT, digest, make_tree, status

ALICE = 4001


class Ending(Case):
    """A mount ends with changes in its cache."""

    def setUp(self):
        """A tree that is not at the server."""
        self.one = self.server()
        self.at = self.mount(self.one, options=PATIENT)
        self.local = scratch("local")
        for where in (self.local, self.at.path):
            make_tree(where, 500)
            write(os.path.join(where, "large"), b"x" * (10 * MIB))
        self.assertGreater(status(self.at.path)["dirty-bytes"], 0)

    def ended(self):
        """The daemon ends, in order, and everything is on the disk."""
        wait_for(lambda: not self.at.program.running(), "the end of pohmelfs")
        self.assertEqual(self.at.program.process.returncode, 0)
        self.assertEqual(digest(self.one.export), digest(self.local))

    def test_umount_loses_nothing(self):
        """umount(2) itself: the daemon writes back before it ends."""
        subprocess.run(["umount", "-i", self.at.path], check=True)
        self.ended()

    def test_the_umount_helper_returns_when_everything_is_there(self):
        """umount(8) calls it where it is installed."""
        subprocess.run([os.path.join(BUILD, "client", "umount.fuse.pohmelfs"), self.at.path], check=True)
        self.assertFalse(mounted(self.at.path))
        self.assertEqual(digest(self.one.export), digest(self.local))
        self.ended()

    def test_a_lazy_unmount_loses_nothing(self):
        """umount -l, while a file is open and written to."""
        descriptor = os.open(self.at.join("last"), os.O_WRONLY | os.O_CREAT)
        subprocess.run(["umount", "-l", self.at.path], check=True)
        os.write(descriptor, b"late")
        os.close(descriptor)
        write(os.path.join(self.local, "last"), b"late")
        os.chmod(os.path.join(self.local, "last"), os.stat(os.path.join(self.local, "last")).st_mode & 0o777)
        wait_for(lambda: not self.at.program.running(), "the end of pohmelfs")
        self.assertEqual(read(os.path.join(self.one.export, "last")), b"late")
        self.assertEqual(read(os.path.join(self.one.export, "large")), b"x" * (10 * MIB))

    def test_sigterm_loses_nothing(self):
        """The daemon unmounts by itself."""
        self.at.program.send(signal.SIGTERM)
        self.ended()
        self.assertFalse(mounted(self.at.path))

    def test_a_killed_mount_loses_only_what_was_not_synced(self):
        """SIGKILL: the export is sound, others go on, and what was synced is there."""
        with open(self.at.join("synced"), "wb") as file:
            file.write(b"safe")
            file.flush()
            os.fsync(file.fileno())
        other = self.mount(self.one)
        self.at.program.end(signal.SIGKILL)
        self.assertEqual(read(other.join("synced")), b"safe")
        self.assertEqual(write(other.join("synced"), b"changed"), 7)
        make_tree(other.join("again"), 200)
        flush(other.path)
        self.assertEqual(read(os.path.join(self.one.export, "synced")), b"changed")
        self.assertEqual(digest(os.path.join(self.one.export, "again")), digest(other.join("again")))
        for where, _, names in os.walk(self.one.export):
            for name in names:
                data = read(os.path.join(where, name))
                whole = attempt(read, os.path.join(self.local, os.path.relpath(os.path.join(where, name), self.one.export)))
                # A large file is sent while it is written: some of it may be there.
                self.assertTrue(data in (b"", whole) or name in ("synced", "large") or "again" in where, name)


class Trouble(Case):
    """The server stops, dies, comes back, while changes wait in a mount."""

    limit_s = 120 * SLOWER

    def setUp(self):
        """A tree that is not at the server yet."""
        self.one = self.server()
        self.at = self.mount(self.one, options=("allow_other", "flush_age=3600s", "patience=60"))
        self.local = scratch("local")
        for where in (self.local, self.at.path):
            make_tree(where, 300)

    def test_a_server_that_was_killed_gets_everything_afterwards(self):
        """Killed and started again while changes wait."""
        self.one.kill()
        self.one.start()
        flush(self.at.path)
        self.assertEqual(digest(self.one.export), digest(self.local))

    def end_in_the_midst(self, end):
        """END() the server while 1,500 files are being written back, and start it again."""
        for where in (self.local, self.at.path):
            make_tree(os.path.join(where, "more"), 1500)
        flusher = subprocess.Popen([POHMELCTL, "flush", self.at.path], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.isdir(os.path.join(self.one.export, "more/d002")), "directories", step_s=0.001)
        end()
        self.one.start()
        flusher.wait(60 * SLOWER)  # it may say that it was cut off
        wait_for(lambda: status(self.at.path)["session"] == "open", "another session")
        attempt(flush, self.at.path)

    def test_a_server_that_is_restarted_in_the_midst_gets_everything(self):
        """SIGTERM while changes are being written back."""
        self.end_in_the_midst(self.one.stop)
        self.assertEqual(digest(self.one.export), digest(self.local), tail(self.at.log))
        self.assertEqual(digest(self.at.path), digest(self.local))

    def test_a_server_that_was_killed_in_the_midst_loses_nothing(self):
        """What it made on disk in its last moment it knows when it starts again
        (docs/decisions/0013-exactly-once-across-a-kill.md), and takes back what it had made in part."""
        self.end_in_the_midst(self.one.kill)
        with open(self.at.log, encoding="utf-8") as file:
            self.assertNotIn(" is lost: ", file.read())
        self.assertEqual(digest(self.one.export), digest(self.local), tail(self.at.log))
        self.assertEqual(write(self.at.join("d000/new"), b"goes on"), 7)
        flush(self.at.join("d000/new"))
        self.assertEqual(read(os.path.join(self.one.export, "d000/new")), b"goes on")

    def test_work_goes_on_while_the_server_stands_still(self):
        """SIGSTOP for 3 s: what is known here is answered here."""
        self.one.program.send(signal.SIGSTOP)
        try:
            write(self.at.join("d000/new"), b"made meanwhile")
            self.assertEqual(read(self.at.join("d000/new")), b"made meanwhile")
            os.unlink(self.at.join("d000/f00001"))
            time.sleep(3)
        finally:
            self.one.program.send(signal.SIGCONT)
        write(os.path.join(self.local, "d000/new"), b"made meanwhile")
        os.unlink(os.path.join(self.local, "d000/f00001"))
        flush(self.at.path)
        self.assertEqual(digest(self.one.export), digest(self.local))

    def test_fsync_waits_for_a_server_that_stands_still(self):
        """It does not return before the disk has it."""
        self.one.program.send(signal.SIGSTOP)
        code = "import os,sys\nd=os.open(sys.argv[1],os.O_WRONLY)\nos.write(d,b'NEW')\nos.fsync(d)\n"
        syncer = subprocess.Popen([sys.executable, "-c", code, self.at.join("d001/f00100")])
        try:
            time.sleep(1)
            self.assertIsNone(syncer.poll())
        finally:
            self.one.program.send(signal.SIGCONT)
        self.assertEqual(syncer.wait(30 * SLOWER), 0)
        self.assertEqual(read(os.path.join(self.one.export, "d001/f00100"))[:3], b"NEW")

    def test_a_server_that_is_gone_is_not_waited_for_for_ever(self):
        """Reads and fsync fail after patience; unmounting ends and says what is lost."""
        self.at.program.end(signal.SIGKILL)  # it would wait for its changes at the end of the test
        impatient = self.mount(self.one, options=("allow_other", "flush_age=3600s", "patience=2"))
        os.mkdir(impatient.join("mine"))
        descriptor = os.open(impatient.join("mine/f"), os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"x")
        self.one.kill()
        began = time.monotonic()
        self.assertIn(attempt(os.fsync, descriptor), ("EIO", "ENOTCONN", "ETIMEDOUT"))
        self.assertIn(attempt(os.listdir, impatient.path), ("EIO", "ENOTCONN", "ETIMEDOUT", ["mine"]))
        self.assertLess(time.monotonic() - began, 30 * SLOWER)
        os.close(descriptor)
        subprocess.run(["umount", "-i", impatient.path], check=True, timeout=30 * SLOWER)
        wait_for(lambda: not impatient.program.running(), "the end of pohmelfs", 40 * SLOWER)
        wait_said(impatient.log, "lost")


class Refused(Case):
    """What the server cannot do when a change comes to it is told, and nothing else suffers."""

    def fill(self, at, top):
        """Synced, then as much as goes; (what was refused, names of files that were whole when closed)."""
        with open(os.path.join(at.path, top, "synced"), "wb") as file:
            file.write(b"safe" * 1000)
            file.flush()
            os.fsync(file.fileno())
        refused, whole = [], []
        for number in range(60):
            path = os.path.join(at.path, top, "f%d" % number)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
                try:
                    written = os.write(descriptor, b"%02d" % number * (MIB // 2))
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                if written == MIB:
                    whole.append("f%d" % number)
            except OSError as error:
                refused.append(errno.errorcode[error.errno])
        return refused, whole

    def check_full(self, server, at):
        """ENOSPC is told, and what was said to be safe is there, on the disk and on another mount."""
        os.mkdir(at.join("d"))
        refused, whole = self.fill(at, "d")
        self.assertEqual(set(refused), {"ENOSPC"})
        self.assertGreater(len(whole), 5)
        other = self.mount(server)
        for top in (server.export, other.path):
            self.assertEqual(read(os.path.join(top, "d/synced")), b"safe" * 1000)
            for name in whole:
                self.assertTrue(read(os.path.join(top, "d", name)) == b"%02d" % int(name[1:]) * (MIB // 2), name)
        for name in os.listdir(at.join("d")):
            os.unlink(at.join("d", name))
        # What was removed makes room at once, whether the server knows of it or not.
        self.assertEqual(write(at.join("again"), b"x" * MIB), MIB)
        flush(at.path)
        self.assertTrue(read(os.path.join(server.export, "again")) == b"x" * MIB)

    def test_a_full_disk(self):
        """A filesystem of 24 MiB below the export."""
        export = scratch("export")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", export], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", export], check=True)
        server = self.server(export=export)
        self.check_full(server, self.mount(server))

    def test_a_size_limit(self):
        """Of the server's own."""
        server = self.server(options=["--size-limit", "24M"])
        self.check_full(server, self.mount(server))

    def test_a_disk_that_fills_up_behind_the_mount(self):
        """Others take the space that the mount was counting on: fsync tells, the log tells, small files go on."""
        export = scratch("export")
        # Large enough that the mount takes a share of what is free for granted and keeps changes.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", export], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", export], check=True)
        server = self.server(export=export)
        at = self.mount(server, options=PATIENT)
        os.mkdir(at.join("d"))
        write(at.join("d/small"), b"fits")
        flush(at.path)
        descriptor = os.open(at.join("d/large"), os.O_WRONLY | os.O_CREAT)
        self.assertEqual(os.write(descriptor, b"x" * (2 * MIB)), 2 * MIB)
        self.assertFalse(os.path.exists(os.path.join(export, "d/large")))
        with open(os.path.join(export, "taken"), "wb") as file:
            attempt(file.write, b"x" * (200 * MIB))
            attempt(file.flush)
        self.assertEqual(attempt(os.fsync, descriptor), "ENOSPC")
        os.close(descriptor)
        os.unlink(os.path.join(export, "taken"))
        self.assertEqual(read(at.join("d/small")), b"fits")
        self.assertEqual(write(at.join("d/later"), b"x"), 1)
        attempt(flush, at.path)
        self.assertEqual(read(os.path.join(export, "d/later")), b"x")

    def test_a_permission_that_is_gone_when_a_change_comes_to_the_server(self):
        """Taken away on the server's disk: fsync and the log tell, others go on."""
        server = self.server()
        at = self.mount(server, options=PATIENT)
        os.mkdir(at.join("d"))
        os.chown(at.join("d"), ALICE, ALICE)
        flush(at.path)
        code = ("import os,sys\nd=os.open(sys.argv[1],os.O_WRONLY|os.O_CREAT)\nos.write(d,b'x')\nprint('made',flush=True)\n"
                "sys.stdin.readline()\ntry:\n  os.fsync(d)\nexcept OSError as e: sys.exit(e.errno)\n")
        maker = subprocess.Popen(["setpriv", "--reuid", str(ALICE), "--regid", str(ALICE), "--clear-groups",
                                  "/usr/bin/python3", "-c", code, at.join("d/f")], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.assertEqual(maker.stdout.readline(), "made\n")
        os.chown(os.path.join(server.export, "d"), 0, 0)
        os.chmod(os.path.join(server.export, "d"), 0o700)
        maker.communicate("\n", timeout=30 * SLOWER)
        self.assertEqual(errno.errorcode.get(maker.returncode), "EACCES")
        wait_said(at.log, "is lost: .*f.*permission")
        self.assertEqual(os.listdir(os.path.join(server.export, "d")), [])
        write(at.join("other"), b"fine")
        flush(at.join("other"))
        self.assertEqual(read(os.path.join(server.export, "other")), b"fine")
