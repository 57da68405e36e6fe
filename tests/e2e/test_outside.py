"""What programs on the server do in the exported directory, behind the server's back,
shows in mounts that have it in their caches: soon where the server watches, a little later where it does not."""

import errno
import mmap
import os
import subprocess
import sys
import time

from calls import attempt, read, write
from harness import LOCAL, SLOWER, Case, MountCase, flush, tail, wait_for

SOON_S = 1.0 * SLOWER
LATE_S = 2.0 + SOON_S
MOVES = 200
ALICE = 4001


class Outside:
    """Each test has things cached by both mounts, changes them on the server's disk, and looks again."""

    limit = SOON_S

    def below_join(self, *names):
        """A path on the server's disk."""
        return os.path.join(self.below, *names)

    def sides(self, *names):
        """The same name in both mounts."""
        return os.path.join(self.here, *names), os.path.join(self.there, *names)

    def shows(self, look, expected):
        """LOOK() comes to give EXPECTED in time, and goes on giving it."""
        answers = []

        def same():
            answers.append(look())
            return answers[-1] == expected

        try:
            wait_for(same, "", limit_s=self.limit, step_s=0.005)
        except AssertionError:
            self.assertEqual(answers[-1], expected)
        for _ in range(3):
            time.sleep(0.01)
            self.assertEqual(look(), expected)

    def test_a_number_that_is_used_again_is_something_else(self):
        """Files removed through a mount leave their numbers to what other programs make."""
        for number in range(200):
            write(self.below_join("f%d" % number))
        wait_for(lambda: len(os.listdir(self.here)) == 200, "the files")
        removed = set()
        for name in os.listdir(self.here):
            removed.add(os.stat(os.path.join(self.here, name)).st_ino)
            os.unlink(os.path.join(self.here, name))
        flush(self.here)
        for number in range(400):
            os.mkdir(self.below_join("d%d" % number))
        wait_for(lambda: len(os.listdir(self.here)) == 400, "the directories")
        for name in os.listdir(self.here):
            again = os.stat(self.below_join(name)).st_ino in removed
            self.assertEqual(os.listdir(os.path.join(self.here, name)), [], again)

    def test_data(self):
        """Of a file that was read before, longer, shorter, and of the same size and time."""
        write(self.below_join("f"), b"first")
        for text in (b"second, longer", b"3rd", b"4th"):
            for path in self.sides("f"):
                read(path)
            kept = os.stat(self.below_join("f"))
            write(self.below_join("f"), text)
            os.utime(self.below_join("f"), ns=(kept.st_atime_ns, kept.st_mtime_ns))
            for path in self.sides("f"):
                self.shows(lambda path=path: read(path), text)

    def test_data_through_a_descriptor_and_a_mapping(self):
        """That stay open all the time."""
        write(self.below_join("f"), b"a" * 8192)
        descriptor = os.open(self.sides("f")[0], os.O_RDONLY)
        mapping = mmap.mmap(descriptor, 8192, prot=mmap.PROT_READ)
        self.assertEqual(mapping[4096:4100], b"aaaa")
        changer = os.open(self.below_join("f"), os.O_RDWR)
        os.pwrite(changer, b"news", 4096)
        self.shows(lambda: os.fstat(descriptor) and os.pread(descriptor, 4, 4096), b"news")
        self.shows(lambda: mapping[4096:4100], b"news")
        os.close(changer)
        mapping.close()
        os.close(descriptor)

    def test_data_written_through_a_mapping_on_the_server(self):
        """When its writer has closed it."""
        write(self.below_join("f"), b"a" * 4096)
        for path in self.sides("f"):
            read(path)
        changer = os.open(self.below_join("f"), os.O_RDWR)
        mapping = mmap.mmap(changer, 4096)
        mapping[:4] = b"news"
        mapping.flush()
        mapping.close()
        os.close(changer)
        for path in self.sides("f"):
            self.shows(lambda path=path: read(path)[:4], b"news")

    def test_attributes(self):
        """Mode, owner, times, size, number of names, extended attributes."""
        below = self.below_join("f")
        write(below, b"x")
        fields = ("st_mode", "st_uid", "st_gid", "st_size", "st_nlink", "st_mtime_ns", "st_ctime_ns")
        actions = (lambda: os.chmod(below, 0o640), lambda: os.chown(below, 12, 34), lambda: os.utime(below, (1, 2)),
                   lambda: os.truncate(below, 1000), lambda: os.link(below, below + "2"),
                   lambda: os.setxattr(below, "user.a", b"1"), lambda: os.setxattr(below, "user.a", b"22"),
                   lambda: os.unlink(below + "2"), lambda: os.removexattr(below, "user.a"))

        def value(path, name):
            """None: it went after it was listed."""
            try:
                return os.getxattr(path, name)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENODATA)
                return None

        def all_of(path):
            found = os.stat(path)
            return [getattr(found, field) for field in fields], [(name, value(path, name))
                                                                 for name in os.listxattr(path)]

        for action in actions:
            for path in self.sides("f"):
                all_of(path)
            action()
            for path in self.sides("f"):
                self.shows(lambda path=path: all_of(path), all_of(below))

    def test_names(self):
        """That come, go, move, and stand for something else."""
        below = self.below_join("f")
        for number in range(5):
            for path in self.sides("f"):
                self.assertEqual(attempt(os.stat, path), "ENOENT")
                self.assertEqual(os.listdir(os.path.dirname(path)), [])
            write(below, b"%d" % number)
            for path in self.sides("f"):
                self.shows(lambda path=path: os.listdir(os.path.dirname(path)), ["f"])
                self.shows(lambda path=path: attempt(read, path), b"%d" % number)
            os.rename(below, below + "2")
            for path in self.sides("f"):
                self.shows(lambda path=path: attempt(os.lstat, path), "ENOENT")
                self.shows(lambda path=path: attempt(read, path + "2"), b"%d" % number)
            os.mkdir(below)
            os.rename(below + "2", below + "/in")
            for path in self.sides("f"):
                self.shows(lambda path=path: attempt(os.listdir, path), ["in"])
            os.unlink(below + "/in")
            os.rmdir(below)
            os.symlink("target%d" % number, below)
            for path in self.sides("f"):
                self.shows(lambda path=path: attempt(os.readlink, path), "target%d" % number)
            os.unlink(below)
            for path in self.sides("f"):
                self.shows(lambda path=path: attempt(os.lstat, path), "ENOENT")

    def test_replacing_by_rename(self):
        """As editors save files."""
        below = self.below_join("f")
        write(below, b"start")
        for number in range(MOVES // 10):
            for path in self.sides("f"):
                read(path)
            write(below + ".new", b"saved %d" % number)
            os.rename(below + ".new", below)
            for path in self.sides("f"):
                # Until it shows, the name may stand for the file that is gone (ESTALE).
                self.shows(lambda path=path: attempt(read, path), b"saved %d" % number)

    def test_a_directory_that_moves(self):
        """With everything below it; out of the export, too."""
        os.makedirs(self.below_join("a", "deep", "er"))
        os.mkdir(self.below_join("b"))
        write(self.below_join("a", "deep", "er", "f"), b"x")
        for path in self.sides("a", "deep", "er", "f"):
            read(path)
        os.rename(self.below_join("a", "deep"), self.below_join("b", "deep"))
        for path in self.sides("a", "deep", "er", "f"):
            self.shows(lambda path=path: attempt(os.stat, path), "ENOENT")
        for path in self.sides("b", "deep", "er", "f"):
            self.shows(lambda path=path: attempt(read, path), b"x")
        away = self.shared.export + ".away"
        os.rename(self.below_join("b", "deep"), away)
        for path in self.sides("b"):
            self.shows(lambda path=path: os.listdir(path), [])
            self.shows(lambda path=path: attempt(os.stat, path + "/deep/er/f"), "ENOENT")
        subprocess.run(["rm", "-r", away], check=True)

    def test_a_file_by_another_name_outside_of_the_export(self):
        """A hard link is the same file."""
        write(self.below_join("f"), b"x")
        away = self.shared.export + ".link"
        os.link(self.below_join("f"), away)
        for path in self.sides("f"):
            read(path)
        write(away, b"changed there")
        for path in self.sides("f"):
            self.shows(lambda path=path: read(path), b"changed there")
        os.unlink(away)
        for path in self.sides("f"):
            self.shows(lambda path=path: os.stat(path).st_nlink, 1)

    def test_a_whole_tree_removed(self):
        """That both mounts have walked."""
        for number in range(20):
            os.makedirs(self.below_join("tree", "d%d" % number))
            write(self.below_join("tree", "d%d" % number, "f"), b"x")
        for path in self.sides("tree"):
            self.assertEqual(sum(len(files) for _, _, files in os.walk(path)), 20)
        subprocess.run(["rm", "-r", self.below_join("tree")], check=True)
        for path in self.sides("tree"):
            self.shows(lambda path=path: attempt(os.listdir, path), "ENOENT")
        os.mkdir(self.below_join("tree"))
        for path in self.sides("tree"):
            self.shows(lambda path=path: attempt(os.listdir, path), [])
            self.shows(lambda path=path: attempt(os.stat, path + "/d3/f"), "ENOENT")

    def test_what_a_mount_does_at_the_same_time_stays(self):
        """Work in the mount and on the server, in one directory, and nothing of either is lost."""
        code = ("import os,sys\nos.chdir(sys.argv[1])\nfor n in range(%d):\n"
                "  open('s%%d' %% n,'w').write('server')\n  os.rename('s%%d' %% n,'S%%d' %% n)\n" % MOVES)
        with subprocess.Popen([sys.executable, "-c", code, self.below]) as changer:
            for number in range(MOVES):
                write(os.path.join(self.here, "c%d" % number), b"client")
                os.rename(os.path.join(self.here, "c%d" % number), os.path.join(self.here, "C%d" % number))
            self.assertEqual(changer.wait(), 0)
        names = sorted("%s%d" % (letter, number) for letter in "SC" for number in range(MOVES))
        for path in self.sides():
            self.shows(lambda path=path: sorted(os.listdir(path)), names)
            self.shows(lambda path=path: {read(os.path.join(path, name)) for name in names}, {b"server", b"client"})
        self.assertEqual(sorted(os.listdir(self.below)), names)


class Watched(Outside, MountCase):
    """A server that watches: soon."""

    mounts = 2

    def test_a_mount_below(self):
        """Of another filesystem, in a directory that was listed before; and what happens in it."""
        os.mkdir(self.below_join("d"))
        for path in self.sides("d"):
            self.assertEqual(os.listdir(path), [])
        subprocess.run(["mount", "-t", "tmpfs", "e2e", self.below_join("d")], check=True)
        try:
            if LOCAL:
                return
            write(self.below_join("d", "f"), b"x")
            for path in self.sides("d", "f"):
                self.shows(lambda path=path: attempt(read, path), b"x")
            write(self.below_join("d", "f"), b"changed")
            for path in self.sides("d", "f"):
                self.shows(lambda path=path: attempt(read, path), b"changed")
        finally:
            subprocess.run(["umount", "-l", self.below_join("d")], check=True)
        for path in self.sides("d"):
            self.shows(lambda path=path: attempt(os.listdir, path), [])


class NotWatched(Outside, MountCase):
    """One that was told not to: within seconds."""

    mounts = 2
    limit = LATE_S
    server_options = ("--no-watch",)


class Words(Case):
    """Where changes cannot be noticed, the log says so."""

    def lines(self, **options):
        """What the log of a server says about it."""
        server = self.server(**options)
        return [] if LOCAL else [line for line in tail(server.log) if "shows late in mounts" in line]

    def test_the_log_says_when_changes_are_not_noticed(self):
        """And why; not where nobody wanted it."""
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.lines(options=["--no-watch"]), [])
        if not LOCAL:
            said = self.lines(user=ALICE, options=["--read-only"])
            self.assertEqual(len(said), 1, said)
            self.assertRegex(said[0], "export data: .*that needs root")
