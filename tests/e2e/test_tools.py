"""pohmelctl: what a mount offers beyond POSIX."""

import os
import subprocess

from calls import as_user, attempt, read, write
from harness import POHMELCTL, SLOWER, MountCase, scratch

BOB = 4002


def ctl(*words, user=None):
    """Runs pohmelctl; (exit code, what it said)."""
    command = [POHMELCTL, *words]
    if user is not None:
        command = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"] + command
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * SLOWER,
                          check=False)
    return done.returncode, done.stdout


class Tools(MountCase):
    """On paths inside a mount."""

    mounts = 2

    def refused(self, *words, says="", user=None):
        """The command fails with one line that contains SAYS."""
        code, out = ctl(*words, user=user)
        self.assertGreater(code, 0, out)
        self.assertEqual(len(out.strip().splitlines()), 1, out)
        self.assertIn(says, out)

    def test_mkpath_makes_all_that_is_missing(self):
        """At any depth; what exists is fine."""
        path = os.path.join(self.here, "a", "b", "c")
        self.assertEqual(ctl("mkpath", path)[0], 0)
        self.assertTrue(os.path.isdir(os.path.join(self.there, "a/b/c")))
        self.assertEqual(ctl("mkpath", path)[0], 0)
        deep = os.path.join(self.here, "a", *["level%d" % number for number in range(300)])
        self.assertEqual(ctl("mkpath", deep)[0], 0)
        self.assertTrue(os.path.isdir(deep))

    def test_mkpath_leaves_nothing_behind_when_it_fails(self):
        """A file on the way, a directory that may not be written."""
        write(os.path.join(self.here, "file"), b"x")
        self.refused("mkpath", os.path.join(self.here, "file", "a", "b"), says="file")
        os.chmod(self.here, 0o755)
        self.refused("mkpath", os.path.join(self.here, "x", "y"), says="x", user=BOB)
        self.assertEqual(os.listdir(self.here), ["file"])

    def test_rmtree_removes_a_tree_of_any_size(self):
        """Thousands of entries, links not followed, open files left alone."""
        outside = scratch("outside")
        write(os.path.join(outside, "keep"), b"x")
        tree = os.path.join(self.below, "tree")
        for number in range(40):
            os.makedirs(os.path.join(tree, "d%d" % number, "e"))
            for other in range(60):
                write(os.path.join(tree, "d%d" % number, "e", "f%d" % other), b"x")
        os.symlink(outside, os.path.join(tree, "link"))
        holder = os.open(os.path.join(self.here, "tree/d1/e/f1"), os.O_RDONLY)
        self.assertEqual(ctl("rmtree", os.path.join(self.here, "tree"))[0], 0)
        self.assertEqual(os.listdir(self.there), [])
        self.assertEqual(os.listdir(self.below), [])
        self.assertEqual(os.listdir(outside), ["keep"])
        self.assertEqual(os.pread(holder, 9, 0), b"x")
        os.close(holder)

    def test_rmtree_removes_nothing_when_something_may_not_be_removed(self):
        """All or nothing, for an ordinary user."""
        os.chmod(self.below, 0o777)

        def make():
            os.makedirs(self.here + "/tree/a/b")
            write(self.here + "/tree/a/f", b"x")
        as_user(BOB, BOB, [], make)
        os.mkdir(self.here + "/tree/a/b/of-root")
        write(self.here + "/tree/a/b/of-root/f", b"x")
        self.refused("rmtree", self.here + "/tree", user=BOB)
        self.assertEqual(read(self.there + "/tree/a/b/of-root/f"), b"x")
        self.assertEqual(read(self.there + "/tree/a/f"), b"x")
        self.assertEqual(ctl("rmtree", self.here + "/tree")[0], 0)
        self.assertEqual(os.listdir(self.below), [])

    def test_rmtree_says_what_it_cannot_do(self):
        """Missing names; outside of a mount."""
        self.refused("rmtree", os.path.join(self.here, "missing"), says="missing")
        other = scratch("other")
        self.refused("rmtree", other, says=other)
        self.assertTrue(os.path.isdir(other))

    def test_flush_returns_when_all_below_is_stable(self):
        """Directories and files."""
        os.mkdir(self.here + "/d")
        write(self.here + "/d/f", b"x" * 100000)
        for path in (self.here + "/d/f", self.here + "/d", self.here):
            self.assertEqual(ctl("flush", path)[0], 0)
        self.refused("flush", self.here + "/missing", says="missing")

    def test_status_tells_of_the_mount(self):
        """Server and session."""
        code, out = ctl("status", self.here)
        self.assertEqual(code, 0, out)
        self.assertIn(str(self.shared.port), out)
        self.refused("status", scratch("other"))

    def test_wrong_use_is_one_line(self):
        """Too few words, unknown ones."""
        self.refused("nonsense", self.here, says="nonsense")
        self.assertGreater(ctl("mkpath")[0], 0)
        self.assertGreater(ctl()[0], 0)
        self.assertEqual(attempt(os.listdir, self.here), [])
