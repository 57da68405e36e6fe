"""Extended attributes under leases: set in the cache, answered from it, and seen by everybody at once."""

import errno
import os
import shutil
import subprocess
import unittest

from calls import attempt, read, write
from harness import SLOWER, MountCase, flush, scratch, undisturbed, wait_for
from trees import PATIENT, status, transactions

FILES = 300


def xattrs(path):
    """All that PATH has."""
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


class Kept(MountCase):
    """Two mounts; nothing is sent by age."""

    mounts = 2
    mount_options = PATIENT
    limit_s = 120 * SLOWER

    def setUp(self):
        super().setUp()
        if attempt(os.setxattr, self.below, "user.probe", b"1") is not None:
            self.skipTest("the filesystem keeps no extended attributes of users")
        os.removexattr(self.below, "user.probe")
        os.mkdir(self.here + "/warm")
        wait_for(self.is_warm, "an exclusive lease, and that the server keeps such attributes is known")

    def is_warm(self):
        """Whether what is made in there, and its attributes, are kept back."""
        flush(self.here)
        before = transactions(self.here)
        probe = self.here + "/warm/probe"
        write(probe)
        os.setxattr(probe, "user.probe", b"1")
        kept = transactions(self.here) == before
        os.unlink(probe)
        return kept

    def test_what_is_set_here_shows_there_at_once(self):
        """Set, changed, taken away; files and directories; what the server had before too."""
        flush(self.here)
        before = transactions(self.here)
        write(self.here + "/warm/f", b"data")
        os.mkdir(self.here + "/warm/d")
        for path in ("/warm/f", "/warm/d"):
            os.setxattr(self.here + path, "user.a", b"one")
            os.setxattr(self.here + path, "user.b", b"two")
            os.setxattr(self.here + path, "user.a", b"three")
            os.setxattr(self.here + path, "user.empty", b"")
            os.removexattr(self.here + path, "user.b")
            os.setxattr(self.here + path, "trusted.t", b"root")
        expected = {"user.a": b"three", "user.empty": b"", "trusted.t": b"root"}
        self.assertEqual(xattrs(self.here + "/warm/f"), expected)
        # That trusted. ones are kept too showed with the first of them.
        self.assertLess(transactions(self.here) - before, 6)
        self.assertGreater(status(self.here)["dirty-operations"], 0)
        for path in ("/warm/f", "/warm/d"):
            self.assertEqual(xattrs(self.there + path), expected)
            self.assertEqual(xattrs(self.below + path), expected)
            os.setxattr(self.there + path, "user.a", b"four")
            self.assertEqual(os.getxattr(self.here + path, "user.a"), b"four")
            os.removexattr(self.here + path, "user.a")
            self.assertEqual(attempt(os.getxattr, self.there + path, "user.a"), "ENODATA")

    def test_refusals_are_as_on_the_server(self):
        """What exists, what does not, what is too large."""
        path = self.here + "/warm/f"
        write(path)
        os.setxattr(path, "user.a", b"one", os.XATTR_CREATE)
        self.assertEqual(attempt(os.setxattr, path, "user.a", b"two", os.XATTR_CREATE), "EEXIST")
        self.assertEqual(attempt(os.setxattr, path, "user.b", b"two", os.XATTR_REPLACE), "ENODATA")
        self.assertEqual(attempt(os.removexattr, path, "user.b"), "ENODATA")
        local = scratch("local") + "/f"
        write(local)
        for where in (path, local):
            for number in range(20):
                result = attempt(os.setxattr, where, "user.n%d" % number, b"x" * 700)
                if result is not None:
                    break
            os.setxattr(where, "user.last", str((number, result)).encode())
        self.assertEqual(os.getxattr(path, "user.last"), os.getxattr(local, "user.last"))
        self.assertEqual(os.getxattr(path, "user.a"), b"one")

    def unpack(self, with_xattrs):
        """Transactions and requests sent while a tree is copied with cp -a and untarred, before anything is flushed."""
        source = scratch("source-%d" % with_xattrs)
        for number in range(FILES):
            path = "%s/f%d" % (source, number)
            write(path, b"x" * number)
            if with_xattrs:
                os.setxattr(path, "user.one", b"1" * 20)
                os.setxattr(path, "user.two", b"2")
        archive = scratch() + "/archive-%d.tar" % with_xattrs
        subprocess.run(["tar", "--xattrs", "-cf", archive, "-C", source, "."], check=True)
        target = "%s/warm/unpacked-%d" % (self.here, with_xattrs)
        os.makedirs(target)
        flush(self.here)
        before = status(self.here)
        subprocess.run(["cp", "-a", source, target + "/copied"], check=True)
        os.mkdir(target + "/untarred")
        subprocess.run(["tar", "--xattrs", "-xf", archive, "-C", target + "/untarred"], check=True)
        if shutil.which("rsync"):
            subprocess.run(["rsync", "-aX", source + "/", target + "/synced/"], check=True)
        after = status(self.here)
        for copied in os.listdir(target):
            self.assertEqual(xattrs("%s/%s/f7" % (target, copied)), xattrs(source + "/f7"))
        flush(self.here)
        for copied in os.listdir(target):
            for number in (0, 7, FILES - 1):
                name = "/warm/unpacked-%d/%s/f%d" % (with_xattrs, copied, number)
                self.assertEqual(xattrs(self.below + name), xattrs("%s/f%d" % (source, number)))
                self.assertEqual(read(self.below + name), read("%s/f%d" % (source, number)))
        return after["transactions"] - before["transactions"], after["requests"] - before["requests"]

    def test_unpacking_sends_as_little_as_without(self):
        """cp -a, tar --xattrs, rsync -X."""
        plain, attributed = self.unpack(False), self.unpack(True)
        self.assertLess(plain[0], 10)
        self.assertLess(attributed[0], 10)
        self.assertLess(attributed[1] - plain[1], 20)

    def test_what_was_read_once_is_not_asked_for_again(self):
        """Values, absence and lists, on a mount that only reads; what is written leaves absence known."""
        for number in range(20):
            path = "%s/warm/r%d" % (self.here, number)
            write(path, b"x")
            os.setxattr(path, "user.a", b"%d" % number)
        flush(self.here)
        paths = ["%s/warm/r%d" % (self.there, number) for number in range(20)]

        def look():
            for number, path in enumerate(paths):
                os.stat(path)
                self.assertEqual(os.listxattr(path), ["user.a"])
                self.assertEqual(os.getxattr(path, "user.a"), b"%d" % number)
                for name in ("user.none", "security.capability", "system.posix_acl_access", "security.selinux"):
                    self.assertIn(attempt(os.getxattr, path, name), ("ENODATA", "EOPNOTSUPP"))

        def look_again(_):
            look()
            before = status(self.there)["requests"]
            look()
            self.assertLess(status(self.there)["requests"] - before, 5)
        undisturbed(look_again)
        os.setxattr("%s/warm/r3" % self.here, "user.a", b"new")
        self.assertEqual(os.getxattr(paths[3], "user.a"), b"new")

    def asked(self, mount):
        """How often attributes were asked for at the server."""
        now = status(mount)
        return now.get("commands-getxattr", 0) + now.get("commands-listxattr", 0)

    def test_who_lists_files_without_any_asks_for_none(self):
        """ls -l asks for labels and access lists of each; what is set later shows at once."""
        for number in range(60):
            write("%s/warm/n%d" % (self.here, number), b"x")
        flush(self.here)
        if os.listxattr(self.below + "/warm/n0"):
            self.skipTest("the server labels all files")
        paths = ["%s/warm/n%d" % (self.there, number) for number in range(60)]
        for path in paths:
            os.stat(path)
        before = self.asked(self.there)
        for path in paths:
            for name in ("security.selinux", "system.posix_acl_access", "user.a"):
                self.assertIn(attempt(os.getxattr, path, name), ("ENODATA", "EOPNOTSUPP"))
            self.assertEqual(os.listxattr(path), [])
        after = self.asked(self.there)
        self.assertLess(after - before, 20)
        os.setxattr(self.here + "/warm/n7", "user.a", b"here")
        self.assertEqual(os.getxattr(paths[7], "user.a"), b"here")
        os.setxattr(paths[8], "user.a", b"there")
        self.assertEqual(os.listxattr(self.here + "/warm/n8"), ["user.a"])
        self.assertEqual(os.listxattr(paths[8]), ["user.a"])
        os.setxattr(self.below + "/warm/n9", "user.a", b"below")
        wait_for(lambda: attempt(os.getxattr, paths[9], "user.a") == b"below", "what was set at the server")

    def test_writing_asks_for_capabilities_once(self):
        """The kernel asks with the first write to each file, and again whenever it forgot."""
        path = self.here + "/warm/f"
        write(path, b"x")
        flush(self.here)
        for _ in range(3):
            with open(path, "ab") as file:
                file.write(b"y")
            os.stat(path)
        flush(self.here)

        def look(_):
            before = status(self.here)["requests"]
            with open(path, "r+b", buffering=0) as file:
                for number in range(30):
                    os.pwrite(file.fileno(), b"z", number)
                    os.stat(path)
                    attempt(os.getxattr, path, "security.capability")
                self.assertLess(status(self.here)["requests"] - before, 8)
        undisturbed(look)

    def test_what_a_stranger_may_not_read_is_not_told(self):
        """The cache was told by somebody else."""
        path = self.here + "/warm/f"
        write(path, b"x")
        os.setxattr(path, "user.a", b"secret")
        os.setxattr(path, "trusted.t", b"secret")
        os.chmod(path, 0o600)
        os.chmod(self.here + "/warm", 0o755)
        os.chmod(self.here, 0o755)
        for _ in range(2):
            self.assertEqual(os.getxattr(path, "user.a"), b"secret")
            self.assertEqual(sorted(os.listxattr(path)), ["trusted.t", "user.a"])
            script = ("import os\n"
                      "try: print(os.getxattr(%r, 'user.a'))\n"
                      "except OSError as error: print(error.errno)\n"
                      "print(os.listxattr(%r))" % (path, path))
            seen = subprocess.run(["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "/usr/bin/python3", "-c",
                                   script], stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
            self.assertEqual(seen[:2], [str(errno.EACCES), "['user.a']"])
            flush(self.here)


if __name__ == "__main__":
    unittest.main()
