"""Who only looks at a file that another mount is writing is told by that mount, which keeps its lease."""

import os
import threading
import time

from calls import read, write
from harness import MountCase, flush, wait_for
from trees import PATIENT, status

WRITE = 4096
LOOKS = 300
TRIES = 4


class Glimpse(MountCase):
    """Sizes and times of a file that is being written."""

    mounts = 2
    mount_options = PATIENT

    def wait_until_kept(self, descriptor):
        """Until what is written through DESCRIPTOR stays in the mount: it has the file for itself."""

        def is_kept():
            before = status(self.here)["answered-here"]
            os.write(descriptor, b"x" * WRITE)
            return status(self.here)["answered-here"] > before

        wait_for(is_kept, "writes that are kept back")

    def begin(self):
        """A file that the one mount has open, and writes in its cache."""
        descriptor = os.open(self.here + "/f", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"x" * WRITE)
        self.wait_until_kept(descriptor)
        return descriptor

    def look(self, descriptor):
        """Sizes and times that the other mount sees while DESCRIPTOR is written, and what the writer's mount tells
        of itself before and after. Each size is one that the file had meanwhile."""
        before = status(self.here)
        stop = threading.Event()

        def work():
            while not stop.is_set():
                os.write(descriptor, b"y" * WRITE)
                time.sleep(0.001)

        writer = threading.Thread(target=work)
        writer.start()
        seen = []
        try:
            for _ in range(LOOKS):
                least = os.fstat(descriptor).st_size
                looked = os.stat(self.there + "/f")
                most = os.fstat(descriptor).st_size
                self.assertTrue(least <= looked.st_size <= most, (least, looked.st_size, most))
                seen.append((looked.st_size, looked.st_mtime_ns, looked.st_ctime_ns))
        finally:
            stop.set()
            writer.join()
        return before, status(self.here), seen

    def test_a_stat_leaves_the_lease_of_the_writer(self):
        """The size grows, and never shrinks; nothing is recalled; both mounts agree when the writer rests."""
        descriptor = self.begin()
        os.stat(self.there + "/f")  # the name is known from now on
        for _ in range(TRIES):
            before, after, seen = self.look(descriptor)
            for number in range(3):
                values = [one[number] for one in seen]
                self.assertEqual(values, sorted(values))
            self.assertGreater(len({one[0] for one in seen}), 10)
            # On a busy machine the server may take one of the first changes for one from outside, once.
            if after["recalls"] == before["recalls"] and after["glimpses"] - before["glimpses"] >= LOOKS:
                break
            self.wait_until_kept(descriptor)
        self.assertEqual(after["recalls"], before["recalls"])
        self.assertGreaterEqual(after["glimpses"] - before["glimpses"], LOOKS)
        self.assertGreater(after["dirty-bytes"], before["dirty-bytes"])
        mine, other = os.fstat(descriptor), os.stat(self.there + "/f")
        for field in ("st_size", "st_mtime_ns", "st_mode", "st_uid", "st_gid", "st_nlink"):
            self.assertEqual(getattr(mine, field), getattr(other, field), field)
        os.close(descriptor)
        self.assertEqual(read(self.there + "/f"), read(self.here + "/f"))

    def test_times_do_not_go_back_when_it_is_written_back(self):
        """What was told before is not later than what the server says in the end."""
        descriptor = self.begin()
        for _ in range(20):
            os.write(descriptor, b"z" * WRITE)
            told = os.stat(self.there + "/f")
            os.fsync(descriptor)
            kept = os.stat(self.there + "/f")
            for field in ("st_size", "st_mtime_ns", "st_ctime_ns"):
                self.assertLessEqual(getattr(told, field), getattr(kept, field), field)
            self.assertEqual(told.st_mtime_ns, kept.st_mtime_ns)
        os.close(descriptor)
        final = os.stat(self.there + "/f")
        self.assertEqual(final.st_mtime_ns, kept.st_mtime_ns)
        self.assertGreaterEqual(final.st_ctime_ns, kept.st_ctime_ns)

    def test_a_mode_that_was_changed_shows_at_once(self):
        """What decides who may do what comes from the server."""
        descriptor = self.begin()
        for mode in (0o600, 0o640, 0o604):
            os.fchmod(descriptor, mode)
            os.write(descriptor, b"m" * WRITE)
            self.assertEqual(os.stat(self.there + "/f").st_mode & 0o777, mode)
            self.assertEqual(os.stat(self.there + "/f").st_size, os.fstat(descriptor).st_size)
        os.close(descriptor)

    def test_a_file_that_is_not_written_is_shared(self):
        """Looked at again and again, it costs nothing."""
        write(self.here + "/quiet", b"quiet")
        flush(self.here)
        self.assertEqual(os.stat(self.there + "/quiet").st_size, 5)
        self.assertEqual(status(self.here)["glimpses"], 0)
        time.sleep(2.5)  # what was recalled just now is not kept by the kernel
        os.stat(self.there + "/quiet")
        before = status(self.there)["requests"]
        for _ in range(100):
            os.stat(self.there + "/quiet")
        self.assertLess(status(self.there)["requests"] - before, 20)

    def test_a_listing_leaves_the_lease_of_the_writer(self):
        """ls -l of the directory."""
        descriptor = self.begin()
        for _ in range(TRIES):
            before = status(self.here)
            for _ in range(20):
                os.write(descriptor, b"l" * WRITE)
                sizes = {entry.name: entry.stat().st_size for entry in os.scandir(self.there)}
                self.assertEqual(sizes["f"], os.fstat(descriptor).st_size)
            after = status(self.here)
            if after["dirty-bytes"] > before["dirty-bytes"]:
                break
            self.wait_until_kept(descriptor)
        self.assertGreaterEqual(after["leases-files-exclusive"], 1)
        self.assertGreater(after["dirty-bytes"], before["dirty-bytes"])
        os.close(descriptor)
