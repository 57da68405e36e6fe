"""Files without a name - removed while they are open, or made without one - outlive the server."""

import os
import signal

from calls import link_open, read
from harness import SLOWER, Case, flush, wait_for

LEASE_S = 4
GRACE_S = 40 * SLOWER  # at most, until who does not come back is forgotten
HIDDEN = os.path.join(".pohmel", "orphans")
BIG = os.urandom(300000)


def kept(server):
    """What the server keeps where nobody sees it."""
    try:
        return sorted(os.listdir(os.path.join(server.export, HIDDEN)))
    except FileNotFoundError:
        return []


class Nameless(Case):
    """One server with leases that end soon, and a mount."""

    limit_s = 60 * SLOWER + GRACE_S
    mount_options = ("allow_other",)

    def setUp(self):
        self.one = self.server(options=["--lease-time", str(LEASE_S)])
        self.at = self.mount(self.one, options=self.mount_options)

    def open(self, name, flags=os.O_CREAT | os.O_RDWR):
        """A descriptor that is closed at the end of the test."""
        fd = os.open(self.at.join(name), flags, 0o600)
        self.addCleanup(self.close, fd)
        return fd

    @staticmethod
    def close(fd):
        """Unless it is closed already."""
        try:
            os.close(fd)
        except OSError:
            pass

    def removed(self, name, content):
        """A file that is open, with CONTENT, at the server, and was removed there."""
        fd = self.open(name)
        os.write(fd, content)
        flush(self.at.path)
        os.unlink(self.at.join(name))
        flush(self.at.path)
        return fd

    def unnamed(self, content, more=0):
        """A file made without a name, with CONTENT."""
        fd = self.open(".", os.O_TMPFILE | os.O_RDWR | more)
        os.write(fd, content)
        os.fsync(fd)
        return fd

    def assert_works(self, fd, content):
        """It is as it was, and can be read and written."""
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.assertEqual(os.pread(fd, len(content) + 1, 0), content)
        os.pwrite(fd, b"more", len(content))
        os.fsync(fd)
        self.assertEqual(os.pread(fd, len(content) + 100, 0), content + b"more")

    def again(self, how):
        """The server ends, and is started."""
        if how == "killed":
            self.one.kill()
        else:
            self.assertEqual(self.one.stop(), 0)
        self.one.start()

    def survive(self, how):
        """All of them, whichever way the server ends."""
        small, large = self.removed("small", b"some bytes"), self.removed("large", BIG)
        replaced = self.open("replaced")
        os.write(replaced, b"old")
        flush(self.at.path)
        with open(self.at.join("other"), "wb") as file:
            file.write(b"new")
        os.rename(self.at.join("other"), self.at.join("replaced"))
        with open(self.at.join("seen"), "wb") as file:
            file.write(b"only looked at")
        flush(self.at.path)
        seen = self.open("seen", os.O_RDONLY)
        os.unlink(self.at.join("seen"))
        made, exclusive = self.unnamed(b"made"), self.unnamed(b"exclusive", os.O_EXCL)
        flush(self.at.path)
        for _ in range(2):
            self.again(how)
            os.fsync(small)  # its client is back
        self.assert_works(small, b"some bytes")
        self.assert_works(large, BIG)
        self.assert_works(replaced, b"old")
        self.assert_works(exclusive, b"exclusive")
        self.assertEqual(os.fstat(made).st_nlink, 0)
        self.assertEqual(os.pread(seen, 100, 0), b"only looked at")
        with self.assertRaises(OSError):
            link_open(exclusive, self.at.join("never"))
        link_open(made, self.at.join("named"))
        os.write(made, b" and named")
        self.assertEqual(sorted(os.listdir(self.at.path)), ["named", "replaced"])
        self.assertEqual(os.fstat(made).st_nlink, 1)
        flush(self.at.path)
        self.assertEqual(read(os.path.join(self.one.export, "named")), b"made and named")
        for fd in (small, large, seen, replaced, made, exclusive):
            os.close(fd)
        wait_for(lambda: kept(self.one) == [], "nothing to be kept")

    def test_they_outlive_a_server_that_is_killed(self):
        """Whatever was done with them before can be done afterwards."""
        self.survive("killed")

    def test_they_outlive_a_server_that_is_stopped(self):
        """In order, and started again."""
        self.survive("stopped")

    def assert_removed(self, fd):
        """FD is of a directory without a name: nothing is in it, and nothing can be made there."""
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        again = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        self.assertEqual(os.listdir(again), [])
        os.close(again)
        for deed in (lambda: os.stat("x", dir_fd=fd), lambda: os.mkdir("x", dir_fd=fd),
                     lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)):
            with self.assertRaises(FileNotFoundError):
                deed()

    def test_directories_that_were_removed_are_empty(self):
        """Those that are open, and those where somebody is, whoever has removed them: as on a local disk."""
        other = self.mount(self.one, options=self.mount_options)
        for name in ("mine", "here", "theirs"):
            os.mkdir(self.at.join(name), 0o750)
        flush(self.at.path)
        fds = [self.open("mine", os.O_RDONLY | os.O_DIRECTORY), self.open("here", os.O_PATH | os.O_DIRECTORY),
               self.open("theirs", os.O_RDONLY | os.O_DIRECTORY)]
        self.assertEqual(os.listdir(fds[0]), [])
        os.rmdir(self.at.join("mine"))
        os.rmdir(self.at.join("here"))
        flush(self.at.path)
        os.rmdir(other.join("theirs"))
        flush(other.path)
        self.assert_removed(fds[2])  # who did not remove it has to hear of it
        self.again("killed")
        os.mkdir(self.at.join("back"))
        for fd in fds:
            self.assert_removed(fd)
            self.assertEqual(os.fstat(fd).st_mode & 0o7777, 0o750)

    def test_nobody_comes_back_for_them(self):
        """Their client died with the server: they go when its time is over, and what another one has stays."""
        other = self.mount(self.one, options=self.mount_options)
        mine = self.removed("mine", b"mine")
        fd = os.open(other.join("theirs"), os.O_CREAT | os.O_RDWR, 0o600)
        os.write(fd, b"theirs")
        flush(other.path)
        os.unlink(other.join("theirs"))
        flush(other.path)
        self.assertEqual(len(kept(self.one)), 2)
        self.one.kill()
        other.program.end(signal.SIGKILL)
        self.close(fd)
        other.unmount()
        self.one.start()
        self.assert_works(mine, b"mine")
        wait_for(lambda: len(kept(self.one)) == 1, "the other one to be deleted", GRACE_S)
        self.assert_works(mine, b"minemore")


class NamelessWrittenThrough(Nameless):
    """The same where each change goes to the server at once."""

    mount_options = ("allow_other", "writethrough")
