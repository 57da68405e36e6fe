"""Extended attributes and access control lists."""

import os
import subprocess

from calls import as_user, attempt, facts, read, write
from harness import MountCase, scratch

ALICE, BOB, CAROL = 4001, 4002, 4003
TEAM = 4100


class Attributes(MountCase):
    """Compared with a local directory."""

    def same(self, function):
        """FUNCTION(directory) returns the same here and locally."""
        expected = function(scratch("local"))
        self.assertEqual(function(self.here), expected)

    def test_extended_attributes_are_kept(self):
        """Set with each flag, got, listed, removed, of files, directories and links."""
        def deed(where):
            path, folder, link = (os.path.join(where, name) for name in ("f", "d", "l"))
            write(path, b"x")
            os.mkdir(folder)
            os.symlink("f", link)
            out = []
            for target in (path, folder):
                out.append(attempt(os.setxattr, target, "user.a", b"one"))
                out.append(attempt(os.setxattr, target, "user.a", b"two", os.XATTR_CREATE))
                out.append(attempt(os.setxattr, target, "user.b", b"x", os.XATTR_REPLACE))
                out.append(attempt(os.setxattr, target, "user.a", b"\0three\xff", os.XATTR_REPLACE))
                out.append(attempt(os.setxattr, target, "user.empty", b""))
                out.append(attempt(os.setxattr, target, "user." + "n" * 250, b"long name"))
                out.append(attempt(os.setxattr, target, "user." + "n" * 251, b"too long"))
                out.append(attempt(os.setxattr, target, "nonsense.a", b"x"))
                out.append(attempt(os.setxattr, target, "user.big", b"v" * 2000))
                out.append(attempt(os.getxattr, target, "user.a"))
                out.append(attempt(os.getxattr, target, "user.no"))
                out.append(sorted(os.listxattr(target)))
                out.append(attempt(os.removexattr, target, "user.a"))
                out.append(attempt(os.removexattr, target, "user.a"))
                out.append(sorted(os.listxattr(target)))
            out.append(attempt(os.setxattr, link, "user.a", b"x", 0, follow_symlinks=False))
            out.append(attempt(os.setxattr, link, "trusted.a", b"x", 0, follow_symlinks=False))
            return out + [os.listxattr(link, follow_symlinks=False)]
        self.same(deed)

    def test_ordinary_users_see_and_change_what_they_may(self):
        """user.* by permission, trusted.* by root alone."""
        def deed(where):
            path = os.path.join(where, "f")
            write(path, b"x", 0o644)
            os.chown(path, ALICE, ALICE)
            os.setxattr(path, "trusted.t", b"secret")

            def inner():
                return [attempt(os.setxattr, path, "user.a", b"1"), attempt(os.getxattr, path, "trusted.t"),
                        os.listxattr(path), attempt(os.setxattr, path, "trusted.x", b"1")]
            return [as_user(ALICE, ALICE, [], inner), as_user(BOB, BOB, [], inner), sorted(os.listxattr(path))]
        self.same(deed)

    def test_access_lists_are_enforced(self):
        """Named users and groups, the mask, and what stat shows of it."""
        def deed(where):
            os.chmod(where, 0o755)
            path = os.path.join(where, "f")
            write(path, b"secret", 0o600)
            self.acl("-m", "u:%d:r,g:%d:rw" % (ALICE, TEAM), path)
            out = [facts(path), self.acl_of(path)]
            out += self.access(path)
            os.chmod(path, 0o640)
            out += [self.acl_of(path)] + self.access(path)
            self.acl("-b", "", path)
            return out + [facts(path), self.acl_of(path)] + self.access(path)
        self.same(deed)

    def test_default_access_lists_are_inherited(self):
        """By files, directories and theirs; the umask is not applied then."""
        def deed(where):
            os.chmod(where, 0o755)
            os.umask(0o077)
            try:
                self.acl("-m", "d:u:%d:rwx,d:g::rx,d:o::-" % ALICE, where)
                write(os.path.join(where, "f"), b"x", 0o666)
                os.mkdir(os.path.join(where, "d"), 0o777)
                write(os.path.join(where, "d", "f"), b"x", 0o640)
                os.mkfifo(os.path.join(where, "p"), 0o666)
            finally:
                os.umask(0o022)
            return [(facts(os.path.join(where, name)), self.acl_of(os.path.join(where, name)))
                    for name in ("f", "d", "d/f", "p")]
        self.same(deed)

    def test_copying_with_attributes_keeps_them(self):
        """cp -a there and back."""
        source = scratch("source")
        write(os.path.join(source, "f"), b"x", 0o751)
        os.setxattr(os.path.join(source, "f"), "user.note", b"kept")
        self.acl("-m", "u:%d:rw" % BOB, os.path.join(source, "f"))
        os.utime(os.path.join(source, "f"), ns=(10**18, 10**18 + 1))
        subprocess.run(["cp", "-a", source + "/f", self.here + "/f"], check=True)
        subprocess.run(["cp", "-a", self.here + "/f", source + "/back"], check=True)
        for name in (self.here + "/f", source + "/back"):
            self.assertEqual(os.getxattr(name, "user.note"), b"kept")
            self.assertEqual(self.acl_of(name), self.acl_of(source + "/f"))
            self.assertEqual(os.stat(name).st_mtime_ns, 10**18 + 1)

    @staticmethod
    def acl(option, spec, path):
        """setfacl."""
        subprocess.run(["setfacl", option] + ([spec] if spec else []) + [path], check=True)

    @staticmethod
    def acl_of(path):
        """getfacl, without the name."""
        return subprocess.run(["getfacl", "-cpnE", path], check=True, stdout=subprocess.PIPE).stdout

    @staticmethod
    def access(path):
        """What several users can do."""
        def inner():
            return [attempt(read, path), attempt(write, path, b"x", 0, os.O_APPEND), os.access(path, os.R_OK),
                    os.access(path, os.W_OK)]
        return [as_user(ALICE, ALICE, [], inner), as_user(BOB, BOB, [], inner), as_user(CAROL, CAROL, [TEAM], inner),
                as_user(CAROL, TEAM, [], inner)]
