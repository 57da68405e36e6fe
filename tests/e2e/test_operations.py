"""Each operation does on a mount what it does on a local directory: the same
function runs in both, and what it saw is compared."""

import os
import socket
import stat
import time

from calls import (RENAME_EXCHANGE, RENAME_NOREPLACE, as_user, attempt, birth_time, facts, link_open,
                   read, renameat2, write)
from harness import MountCase, flush, scratch

NAMES = [b"plain", b"with space", b"\xff\xfe\x01\x7f", "grüße".encode(), b"-rf", b"new\nline", b"..x", b"a" * 255,
         bytes(range(1, 47)) + bytes(range(48, 256)), b"\\", b"*?[", b"%41", b"&<>\"'"]


class Operations(MountCase):
    """Compared with a local directory."""

    def same(self, function):
        """FUNCTION(directory) returns the same here and locally; what it returned."""
        local = scratch("local")
        expected = function(local)
        got = function(self.here)
        self.assertEqual(got, expected)
        return got

    def test_create_honours_its_flags(self):
        """O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, modes and umask."""
        def deed(where):
            path = os.path.join(where, "f")
            out = [write(path, b"0123456789", 0o666), facts(path)]
            out.append(attempt(write, path, b"x", 0o600, os.O_EXCL))
            out.append((attempt(write, path, b"ab", 0o600, os.O_APPEND), read(path)))
            out.append((attempt(write, path, b"cd", 0o600, os.O_TRUNC), read(path), facts(path)))
            out.append(attempt(os.open, path, os.O_RDONLY | os.O_DIRECTORY))
            os.symlink("f", os.path.join(where, "l"))
            os.symlink("missing", os.path.join(where, "dangling"))
            out.append(attempt(os.open, os.path.join(where, "l"), os.O_RDONLY | os.O_NOFOLLOW))
            out.append(attempt(os.open, os.path.join(where, "l"), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            out.append((attempt(write, os.path.join(where, "dangling"), b"x"), sorted(os.listdir(where))))
            out.append(read(os.path.join(where, "missing")))
            for mode in (0, 0o200, 0o4711, 0o1777, 0o2775):
                name = os.path.join(where, "m%o" % mode)
                out.append((attempt(write, name, b"x", mode), facts(name)))
            out.append(attempt(os.open, where, os.O_WRONLY))
            out.append(attempt(os.open, os.path.join(where, "no", "f"), os.O_WRONLY | os.O_CREAT))
            out.append(attempt(os.open, os.path.join(path, "f"), os.O_WRONLY | os.O_CREAT))
            return out
        self.same(deed)

    def test_a_file_made_without_permission_is_open_all_the_same(self):
        """The mode counts for the next open only."""
        def deed(where):
            os.chmod(where, 0o777)

            def inner():
                path = os.path.join(where, "f")
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0)
                out = [os.write(descriptor, b"abc"), os.pread(descriptor, 9, 0)]
                os.close(descriptor)
                return out + [attempt(os.open, path, os.O_RDONLY), attempt(os.open, path, os.O_WRONLY)]
            return as_user(4001, 4001, [], inner)
        self.same(deed)

    def test_open_modes_limit_what_a_descriptor_may_do(self):
        """Reading through a writer and the like."""
        def deed(where):
            path = os.path.join(where, "f")
            write(path, b"abc")
            out = []
            for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_PATH):
                descriptor = os.open(path, flags)
                out.append((attempt(os.read, descriptor, 3), attempt(os.write, descriptor, b"x"),
                            attempt(os.ftruncate, descriptor, 3)))
                os.close(descriptor)
            return out
        self.same(deed)

    def test_directories_are_made_and_removed_by_the_rules(self):
        """mkdir, rmdir, and what they refuse."""
        def deed(where):
            path = os.path.join(where, "d")
            out = [attempt(os.mkdir, path, 0o2755), facts(path), attempt(os.mkdir, path)]
            write(os.path.join(path, "f"), b"x")
            out += [attempt(os.rmdir, path), attempt(os.unlink, path), attempt(os.rmdir, os.path.join(path, "f"))]
            os.mkdir(os.path.join(path, "sub"))
            out += [facts(path), facts(os.path.join(path, "sub"))]
            os.rmdir(os.path.join(path, "sub"))
            os.unlink(os.path.join(path, "f"))
            out += [facts(path), attempt(os.rmdir, os.path.join(path, ".")), attempt(os.rmdir, path),
                    attempt(os.rmdir, path), attempt(os.stat, path)]
            return out + [attempt(os.mkdir, os.path.join(where, "no", "d"))]
        self.same(deed)

    def test_symbolic_links_are_kept_as_they_are(self):
        """Any target, any length, followed by the client alone."""
        def deed(where):
            out = []
            targets = [b"x", b"../..", b"/absolute", b"a" * 4095, b"\xff\n ", b"d/" * 1000]
            for number, target in enumerate(targets):
                path = os.fsencode(os.path.join(where, "l%d" % number))
                out.append((attempt(os.symlink, target, path), os.readlink(path), os.lstat(path).st_size))
            out.append(attempt(os.symlink, b"a" * 4096, os.fsencode(os.path.join(where, "long"))))
            out.append(attempt(os.symlink, "x", os.path.join(where, "l0")))
            write(os.path.join(where, "f"), b"x")
            out.append(attempt(os.readlink, os.path.join(where, "f")))
            os.symlink("loop", os.path.join(where, "loop"))
            return out + [attempt(os.stat, os.path.join(where, "loop")), facts(os.path.join(where, "loop"))]
        self.same(deed)

    def test_hard_links_are_one_object(self):
        """Counts, contents, and what cannot be linked."""
        def deed(where):
            one, two = os.path.join(where, "one"), os.path.join(where, "two")
            write(one, b"x")
            out = [attempt(os.link, one, two), facts(one), os.path.samefile(one, two)]
            write(two, b"longer", 0, os.O_APPEND)
            out += [read(one), attempt(os.link, one, two)]
            os.mkdir(os.path.join(where, "d"))
            out += [attempt(os.link, os.path.join(where, "d"), os.path.join(where, "e"))]
            out += [attempt(os.link, os.path.join(where, "no"), os.path.join(where, "e"))]
            os.symlink("one", os.path.join(where, "s"))
            os.link(os.path.join(where, "s"), os.path.join(where, "s2"), follow_symlinks=False)
            out += [os.readlink(os.path.join(where, "s2")), os.lstat(os.path.join(where, "s2")).st_nlink]
            os.unlink(one)
            return out + [facts(two), read(two)]
        self.same(deed)

    def test_special_files_are_made(self):
        """Fifos, sockets, devices."""
        def deed(where):
            out = []
            for name, mode, device in (("fifo", stat.S_IFIFO | 0o640, 0), ("sock", stat.S_IFSOCK | 0o600, 0),
                                       ("char", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
                                       ("block", stat.S_IFBLK | 0o600, os.makedev(259, 70000)),
                                       ("plain", stat.S_IFREG | 0o604, 0)):
                path = os.path.join(where, name)
                out.append((name, attempt(os.mknod, path, mode, device), attempt(facts, path)))
            out.append(attempt(os.mkfifo, os.path.join(where, "fifo")))
            server = socket.socket(socket.AF_UNIX)
            os.chdir(where)
            server.bind("listening")
            server.listen()
            client = socket.socket(socket.AF_UNIX)
            client.connect("listening")
            os.chdir("/")
            return out + [oct(os.stat(os.path.join(where, "listening")).st_mode)]
        self.same(deed)

    def test_a_fifo_carries_data_between_processes(self):
        """Two processes meet in it."""
        path = os.path.join(self.here, "fifo")
        os.mkfifo(path)
        pid = os.fork()
        if pid == 0:
            write(path, b"through the fifo", flags=os.O_WRONLY)
            os._exit(0)
        self.assertEqual(read(path), b"through the fifo")
        os.waitpid(pid, 0)

    def test_unlink_leaves_open_files_alone(self):
        """Data, attributes, growth, and a link count of 0."""
        def deed(where):
            path = os.path.join(where, "f")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            os.write(descriptor, b"before")
            out = [attempt(os.unlink, path), attempt(os.stat, path), os.fstat(descriptor).st_nlink]
            out += [os.write(descriptor, b" after"), os.pread(descriptor, 99, 0), os.fstat(descriptor).st_size]
            write(path, b"another")
            out += [os.pread(descriptor, 99, 0), read(path), attempt(os.fchmod, descriptor, 0o600),
                    attempt(os.ftruncate, descriptor, 2), os.pread(descriptor, 99, 0)]
            os.close(descriptor)
            return out + [os.listdir(where)]
        self.same(deed)

    def test_a_removed_directory_stays_usable_where_it_is_open(self):
        """Empty, and nothing can be made in it."""
        def deed(where):
            path = os.path.join(where, "d")
            os.mkdir(path)
            descriptor = os.open(path, os.O_RDONLY)
            os.rmdir(path)
            out = [os.listdir(descriptor), os.fstat(descriptor).st_nlink]
            out.append(attempt(os.open, "f", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
            os.close(descriptor)
            return out
        self.same(deed)

    def test_rename_replaces_by_the_rules(self):
        """Files over files, directories over empty directories, and nothing else."""
        def deed(where):
            def at(name):
                return os.path.join(where, name)
            for name in ("d1", "d2", "full"):
                os.mkdir(at(name))
            write(at("full/x"), b"x")
            write(at("a"), b"a")
            write(at("b"), b"b")
            os.link(at("a"), at("a2"))
            pairs = [("a", "a2"), ("a", "b"), ("b", "d1"), ("d1", "b"), ("d1", "full"), ("d1", "d2"), ("full", "d2"),
                     ("d2", "d2/sub"), ("no", "x"), ("b", "no/x"), ("b", "b"), ("d2", "full"), ("full/x", "x")]
            out = [(old, new, attempt(os.rename, at(old), at(new)), sorted(os.listdir(where))) for old, new in pairs]
            return out + [read(at("x")), facts(where)]
        self.same(deed)

    def test_rename_flags_are_honoured(self):
        """NOREPLACE and EXCHANGE."""
        def deed(where):
            def at(name):
                return os.path.join(where, name)
            write(at("a"), b"a")
            os.mkdir(at("d"))
            write(at("d/in"), b"in")
            out = [attempt(renameat2, at("a"), at("d"), RENAME_NOREPLACE), attempt(renameat2, at("a"), at("b"), 1)]
            out += [attempt(renameat2, at("b"), at("d"), RENAME_EXCHANGE), read(at("d")), read(at("b/in"))]
            out += [attempt(renameat2, at("b"), at("no"), RENAME_EXCHANGE), attempt(renameat2, at("b"), at("d"), 3)]
            return out
        self.same(deed)

    def test_a_file_that_is_open_follows_its_new_name(self):
        """Rename and replace under an open descriptor."""
        def deed(where):
            one, two = os.path.join(where, "one"), os.path.join(where, "two")
            write(one, b"one")
            write(two, b"two")
            keep = os.open(two, os.O_RDWR)
            moved = os.open(one, os.O_RDWR)
            os.rename(one, two)
            out = [os.pread(keep, 9, 0), os.fstat(keep).st_nlink, os.pread(moved, 9, 0), read(two)]
            os.pwrite(moved, b"ONE", 0)
            out.append(read(two))
            os.close(keep)
            os.close(moved)
            return out
        self.same(deed)

    def test_attributes_are_set(self):
        """Modes, owners, sizes."""
        def deed(where):
            path = os.path.join(where, "f")
            write(path, b"0123456789")
            out = []
            for mode in (0, 0o777, 0o4755, 0o2755, 0o1777):
                out.append((attempt(os.chmod, path, mode), facts(path)))
            for uid, gid in ((4001, 4002), (-1, 0), (0, -1), (-1, -1)):
                os.chmod(path, 0o6755)
                out.append((attempt(os.chown, path, uid, gid), facts(path)))
            for size in (3, 0, 100000, 12):
                out.append((attempt(os.truncate, path, size), os.stat(path).st_size, len(read(path))))
            os.symlink("f", os.path.join(where, "l"))
            out.append((attempt(os.lchown, os.path.join(where, "l"), 7, 8), facts(os.path.join(where, "l"))))
            return out + [attempt(os.truncate, where, 0), attempt(os.chmod, os.path.join(where, "no"), 0)]
        self.same(deed)

    def test_times_are_set_to_the_nanosecond(self):
        """Before 1970 as well, through links or not."""
        def deed(where):
            path, link = os.path.join(where, "f"), os.path.join(where, "l")
            write(path)
            os.symlink("f", link)
            out = []
            for atime, mtime in ((1, 2), (10**18 + 1, 10**18 + 999999999), (-1, -10**9 - 1), (0, 0)):
                os.utime(path, ns=(atime, mtime))
                status = os.stat(path)
                out.append((status.st_atime_ns, status.st_mtime_ns))
            os.utime(link, ns=(5, 6), follow_symlinks=False)
            return out + [os.lstat(link).st_mtime_ns, os.stat(path).st_mtime_ns]
        self.same(deed)

    def test_changes_move_the_times_that_they_should(self):
        """mtime and ctime of the object and of its directory."""
        def deed(where):
            path = os.path.join(where, "f")
            write(path, b"x")
            out = []

            def moved(action, *paths):
                os.utime(where, ns=(0, 10**18))
                os.utime(path, ns=(0, 10**18))
                # The time of change is the server's: it moves once more when a change comes to be there, and
                # that of a directory when its own time follows what was done in it.
                for _ in range(2 if where == self.here else 0):
                    flush(where)
                    time.sleep(0.05)
                before = [os.stat(p).st_ctime_ns for p in paths]
                time.sleep(0.03)
                action()
                out.append([(os.stat(p).st_mtime_ns != 10**18, os.stat(p).st_ctime_ns > b)
                            for p, b in zip(paths, before)])
            moved(lambda: write(path, b"y", 0, os.O_APPEND), path, where)
            moved(lambda: os.chmod(path, 0o600), path, where)
            moved(lambda: os.truncate(path, 1), path, where)
            moved(lambda: os.link(path, path + "2"), path, where)
            moved(lambda: os.rename(path + "2", path + "3"), path, where)
            moved(lambda: os.unlink(path + "3"), path, where)
            moved(lambda: os.mkdir(os.path.join(where, "d")), path, where)
            moved(lambda: os.utime(path), path, where)
            return out
        self.same(deed)

    def test_names_are_any_bytes(self):
        """Up to 255 of them."""
        def deed(where):
            where = os.fsencode(where)
            out = []
            for name in NAMES:
                path = os.path.join(where, name)
                out.append((attempt(write, path, name), attempt(read, path)))
            out.append(sorted(os.listdir(where)) == sorted(NAMES))
            for name in (b"a" * 256, b"a" * 4000):
                out.append((attempt(os.stat, os.path.join(where, name)), attempt(write, os.path.join(where, name))))
            for name in NAMES:
                os.rename(os.path.join(where, name), os.path.join(where, b"x"))
                os.unlink(os.path.join(where, b"x"))
            return out
        self.same(deed)

    def test_deep_trees_work(self):
        """200 levels, and walking back up."""
        def deed(where):
            path = os.path.join(where, *["level"] * 200)
            os.makedirs(path)
            write(os.path.join(path, "f"), b"deep")
            os.chdir(path)
            out = [os.getcwd() == path, read("f"), os.path.samefile("/".join([".."] * 200), where)]
            os.chdir("/")
            return out + [sum(len(files) for _, _, files in os.walk(where))]
        self.same(deed)

    def test_a_file_without_a_name_can_be_given_one(self):
        """O_TMPFILE, with and without O_EXCL."""
        def deed(where):
            out = []
            descriptor = os.open(where, os.O_TMPFILE | os.O_RDWR, 0o640)
            out += [os.write(descriptor, b"nameless"), os.fstat(descriptor).st_nlink, os.listdir(where)]
            out.append(attempt(link_open, descriptor, os.path.join(where, "named")))
            os.close(descriptor)
            out += [read(os.path.join(where, "named")), facts(os.path.join(where, "named"))]
            descriptor = os.open(where, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
            out += [attempt(link_open, descriptor, os.path.join(where, "x"))]
            os.close(descriptor)
            return out + [os.listdir(where)]
        self.same(deed)

    def test_birth_times_are_told_and_stay(self):
        """Where the filesystem below keeps them."""
        def deed(where):
            path = os.path.join(where, "f")
            before = time.time()
            write(path, b"x")
            born = attempt(birth_time, path)
            time.sleep(0.05)
            write(path, b"xx")
            os.chmod(path, 0o600)
            later = attempt(birth_time, path)
            return [isinstance(born, float) and abs(born - before) < 5, born == later]
        self.same(deed)

    def test_inode_numbers_are_unique_and_stay(self):
        """Across renames and listings."""
        names = ["f%d" % number for number in range(200)]
        for name in names:
            write(os.path.join(self.here, name))
        first = {name: os.stat(os.path.join(self.here, name)).st_ino for name in names}
        self.assertEqual(len(set(first.values())), len(names))
        listed = {entry.name: entry.inode() for entry in os.scandir(self.here)}
        self.assertEqual(listed, first)
        os.rename(os.path.join(self.here, "f0"), os.path.join(self.here, "moved"))
        self.assertEqual(os.stat(os.path.join(self.here, "moved")).st_ino, first["f0"])

    def test_statvfs_is_that_of_the_disk_below(self):
        """Sizes, free space, name length."""
        above, below = os.statvfs(self.here), os.statvfs(self.below)
        self.assertEqual(above.f_blocks * above.f_frsize, below.f_blocks * below.f_frsize)
        self.assertEqual(above.f_files, below.f_files)
        self.assertEqual(above.f_namemax, 255)
        slack = 512 << 20
        self.assertLess(abs(above.f_bavail * above.f_frsize - below.f_bavail * below.f_frsize), slack)

    def test_a_program_on_the_mount_can_be_executed(self):
        """Also one that may be executed and not read."""
        def deed(where):
            path = os.path.join(where, "tool")
            write(path, read("/bin/true"), 0o755)
            script = os.path.join(where, "script")
            write(script, b"#!/bin/sh\nexit 7\n", 0o755)
            os.chmod(where, 0o755)
            out = [os.spawnl(os.P_WAIT, path, path), os.spawnl(os.P_WAIT, script, script)]
            os.chmod(path, 0o711)
            out.append(as_user(4001, 4001, [], os.spawnl, os.P_WAIT, path, path))
            out.append(as_user(4001, 4001, [], lambda: attempt(os.open, path, os.O_RDONLY)))
            os.chmod(path, 0o644)
            return out + [os.spawnl(os.P_WAIT, path, path)]
        self.same(deed)
