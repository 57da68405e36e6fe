"""Shared mappings on two mounts: exact by default, at msync, munmap and close with mmap=flush."""

import mmap
import os
import subprocess
import sys

from calls import read, write
from harness import POHMELFS, SLOWER, MountCase, undisturbed
from trees import status

SIZE = 5 * mmap.PAGESIZE

# Counts in a mapping, up to a limit, whenever the number there has the parity of this process.
PLAYER = """
import mmap, os, struct, sys, time
path, parity, limit, until = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), time.monotonic() + float(sys.argv[4])
descriptor = os.open(path, os.O_RDWR)
mapping = mmap.mmap(descriptor, %d)
while time.monotonic() < until:
    number, = struct.unpack_from("<Q", mapping, 8192)
    if number >= limit:
        sys.exit(0)
    if number %% 2 == parity:
        struct.pack_into("<Q", mapping, 8192, number + 1)
sys.exit("stuck at %%d" %% number)
""" % SIZE


def can_be_strict():
    """Linux 6.6 and later map files that go past the pages."""
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 6)


class Mapped(MountCase):
    """A file that both mounts map."""

    mounts = 2
    limit_s = 120 * SLOWER

    def map(self, path):
        """A mapping of it that can be stored into."""
        descriptor = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        mapping = mmap.mmap(descriptor, SIZE)
        self.addCleanup(mapping.close)
        return mapping

    def both(self):
        """The same file mapped here and there."""
        write(self.here + "/f", b"a" * SIZE)
        return self.map(self.here + "/f"), self.map(self.there + "/f")


class Strict(Mapped):
    """The default."""

    def setUp(self):
        super().setUp()
        if not can_be_strict():
            self.skipTest("this kernel cannot map files that go past the pages")

    def test_what_is_stored_shows_elsewhere_at_once(self):
        """Back and forth, without msync; to mappings and to read(2)."""
        here, there = self.both()
        for number in range(20):
            here[5000:5010] = b"%010d" % number
            self.assertEqual(there[5000:5010], b"%010d" % number)
            self.assertEqual(read(self.there + "/f")[5000:5010], b"%010d" % number)
            there[9000:9010] = b"%010d" % number
            self.assertEqual(here[9000:9010], b"%010d" % number)
            self.assertEqual(read(self.here + "/f")[9000:9010], b"%010d" % number)
            self.assertEqual(here[5000:5010], b"%010d" % number)

    def test_one_who_reads_here_does_not_bring_pages_that_hide_it(self):
        """A descriptor that is open for reading only, opened before and after, on the mount that stores."""
        write(self.here + "/f", b"a" * SIZE)
        before = os.open(self.here + "/f", os.O_RDONLY)
        self.addCleanup(os.close, before)
        os.pread(before, SIZE, 0)
        here, there = self.map(self.here + "/f"), self.map(self.there + "/f")
        after = os.open(self.here + "/f", os.O_RDONLY)
        self.addCleanup(os.close, after)
        for number in range(10):
            self.assertEqual(os.pread(before, 5, 0), os.pread(after, 5, 0))
            here[0:5] = b"%05d" % number
            self.assertEqual(there[0:5], b"%05d" % number)
            self.assertEqual(os.pread(before, 5, 0), b"%05d" % number)
            self.assertEqual(os.pread(after, 5, 0), b"%05d" % number)

    def test_two_processes_count_together(self):
        """Each stores only when it is its turn, in a page that both have mapped: no number is lost."""
        write(self.here + "/f", b"\0" * SIZE)
        players = [subprocess.Popen([sys.executable, "-c", PLAYER, where + "/f", str(parity), "200", str(60 * SLOWER)])
                   for parity, where in enumerate((self.here, self.there))]
        self.assertEqual([player.wait() for player in players], [0, 0])


class Flushed(Mapped):
    """mmap=flush"""

    mount_options = ("allow_other", "mmap=flush")

    def test_what_is_stored_shows_elsewhere_at_msync_munmap_and_close(self):
        """And not before, to who has pages of its own."""
        write(self.here + "/f", b"a" * SIZE)
        here = self.map(self.here + "/f")
        self.assertEqual(here[5000:5005], b"aaaaa")
        self.assertEqual(read(self.there + "/f"), b"a" * SIZE)
        here[5000:5005] = b"store"
        self.assertEqual(read(self.there + "/f")[5000:5005], b"aaaaa")
        here.flush()
        self.assertEqual(read(self.there + "/f")[5000:5005], b"store")
        here[10000:10005] = b"again"
        here.close()
        self.assertEqual(read(self.there + "/f")[9999:10006], b"aagaina")
        descriptor = os.open(self.here + "/f", os.O_RDWR)
        mapping = mmap.mmap(descriptor, SIZE)
        mapping[0:5] = b"close"
        os.close(descriptor)
        self.assertEqual(read(self.there + "/f")[0:6], b"closea")
        mapping.close()

    def test_a_recall_brings_dirty_pages_back_exactly(self):
        """Held exclusively and not; the page that was stored into, and no byte that others wrote elsewhere."""
        here = None
        write(self.here + "/f", b"a" * SIZE)
        here = self.map(self.here + "/f")
        for number in range(10):
            page = mmap.PAGESIZE * (number % 5)
            here[page + 7:page + 17] = b"%010d" % number
            descriptor = os.open(self.there + "/f", os.O_RDWR)
            os.pwrite(descriptor, b"%010d" % (number + 50), page + 100)
            os.close(descriptor)
            expected = b"%010d" % number + b"a" * 83 + b"%010d" % (number + 50)
            self.assertEqual(read(self.there + "/f")[page + 7:page + 110], expected)
            self.assertEqual(here[page + 7:page + 110], expected)
            here[page:page + 110] = b"a" * 110
            here.flush()
        self.assertEqual(read(self.there + "/f"), b"a" * SIZE)

    def test_pages_are_kept_for_who_writes(self):
        """Reading again through a descriptor that is open for writing asks nobody."""
        write(self.here + "/f", b"a" * SIZE)
        descriptor = os.open(self.here + "/f", os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        os.fsync(descriptor)
        os.pread(descriptor, SIZE, 0)

        def look(_):
            before = status(self.here)["requests"]
            for _ in range(50):
                os.pread(descriptor, SIZE, 0)
            self.assertLess(status(self.here)["requests"] - before, 10)
        undisturbed(look)

    def test_writes_show_elsewhere_at_once_all_the_same(self):
        """write(2) is not what the option is about."""
        write(self.here + "/f", b"a" * SIZE)
        one, two = (os.open(where + "/f", os.O_RDWR) for where in (self.here, self.there))
        self.addCleanup(os.close, one)
        self.addCleanup(os.close, two)
        for number in range(20):
            os.pwrite(one, b"%05d" % number, 0)
            self.assertEqual(os.pread(two, 5, 0), b"%05d" % number)
            os.pwrite(two, b"%05d" % number, 6000)
            self.assertEqual(os.pread(one, 5, 6000), b"%05d" % number)


class Refused(MountCase):
    """Values that mean nothing."""

    def test_other_values_are_refused_in_words(self):
        """Before anything is mounted."""
        for value in ("", "always", "flush2"):
            done = subprocess.run([POHMELFS, "unix:/none:/x", "/mnt", "-o", "mmap=" + value],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(b"'%s' is neither 'strict'" % value.encode(), done.stdout)
