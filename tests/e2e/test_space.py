"""Space that is reserved: what was accepted does not fail later because somebody else filled the disk."""

import errno
import os
import subprocess
import threading
import time

from calls import attempt, read, write
from harness import SLOWER, Case, flush, scratch
from trees import MIB, PATIENT


class Full(Case):
    """Two clients and a disk that has not enough for both."""

    def disk(self, size):
        """A filesystem of that size, exported, and two mounts of it that keep what they can."""
        export = scratch("export")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % size, "tmpfs", export], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", export], check=True)
        server = self.server(export=export)
        mounts = [self.mount(server, options=PATIENT) for _ in range(2)]
        for number, at in enumerate(mounts):
            os.mkdir(at.join("d%d" % number))
            write(at.join("d%d" % number, "first"), b"x")
            flush(at.path)
        return export, mounts

    def fill(self, top, synced):
        """Files of a MiB until there is no more room: names of those that were written whole, and how many failed."""
        accepted, refused = [], 0
        for number in range(80):
            path = os.path.join(top, "f%d" % number)
            result = attempt(write, path, b"%02d" % number * (MIB // 2))
            if result == MIB:
                accepted.append(path)
            else: # or what there was room for
                self.assertTrue(isinstance(result, int) or result == "ENOSPC", result)
                refused += 1
                attempt(os.unlink, path)
            if result == MIB and number % synced == 0:
                descriptor = os.open(path, os.O_WRONLY)
                os.fsync(descriptor)
                os.close(descriptor)
        return accepted, refused

    def check(self, synced):
        """Everything that write(2) took is on the disk in the end, however it got full."""
        export, mounts = self.disk(64)
        results = [None, None]

        def run(number):
            results[number] = self.fill(mounts[number].join("d%d" % number), synced)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * SLOWER)
        self.assertNotIn(None, results)
        flush(*[at.path for at in mounts])
        for number, (accepted, refused) in enumerate(results):
            self.assertGreater(refused, 0)
            for path in accepted:
                below = os.path.join(export, "d%d" % number, os.path.basename(path))
                name = int(os.path.basename(path)[1:])
                self.assertTrue(read(below) == b"%02d" % name * (MIB // 2), below)
        # None of the space that was reserved is left unused by much.
        self.assertGreater(sum(len(accepted) for accepted, _ in results), 40)

    def test_what_is_accepted_arrives(self):
        """Nothing is synced before the end."""
        self.check(1000)

    def test_what_is_synced_arrives(self):
        """Each file is."""
        self.check(1)

    def test_what_one_reserved_no_other_takes(self):
        """Dirty data of one client, while another one fills up the disk past its own cache."""
        export, (one, two) = self.disk(48)
        for number in range(50):
            kept = "d0/kept%d" % number
            self.assertEqual(write(one.join(kept), b"k" * (4 * MIB)), 4 * MIB)
            if not os.path.exists(os.path.join(export, kept)):
                break
            os.unlink(one.join(kept))
            time.sleep(0.1)
        self.assertFalse(os.path.exists(os.path.join(export, kept)))
        descriptor = os.open(two.join("d1/greedy"), os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
        written = 0
        try:
            while written < 100 * MIB:
                written += os.write(descriptor, b"g" * MIB)
        except OSError as error:
            self.assertEqual(error.errno, errno.ENOSPC)
        os.close(descriptor)
        self.assertLess(written, 44 * MIB)
        flush(one.path)
        self.assertTrue(read(os.path.join(export, kept)) == b"k" * (4 * MIB))

    def test_what_is_not_used_comes_back(self):
        """A client that is idle keeps little."""
        export, (one, two) = self.disk(256)
        write(one.join("d0/some"), b"s" * (4 * MIB))
        flush(one.path)
        descriptor = os.open(two.join("d1/greedy"), os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
        self.addCleanup(os.close, descriptor)

        def most():
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            written = 0
            while written < 256 * MIB:
                result = attempt(os.write, descriptor, b"g" * MIB)
                if not isinstance(result, int):
                    break
                written += result
            return written > 200 * MIB

        self.assertTrue(any(most() for _ in range(10)), export)
