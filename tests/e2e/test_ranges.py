"""Two mounts write one file at the same time, each its part in its own cache, and both have the right bytes."""

import os
import subprocess
import threading

from calls import read, write
from harness import POHMELCTL, Case, Mount, MountCase, flush, scratch, wait_for
from trees import PATIENT, status

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 4 * KIB
HALF = MIB
RECORD = 100
ROUNDS = 4
WARM = 64
TRIES = 6


def opened(*paths):
    """Descriptors of PATHS, to be written."""
    return [os.open(path, os.O_RDWR) for path in paths]


def closed(descriptors):
    """None of DESCRIPTORS is open any more; errors are told."""
    for descriptor in descriptors:
        os.close(descriptor)


def at_once(*works):
    """Calls all of WORKS at the same time; the first failure is told."""
    failures = []

    def guarded(work):
        try:
            work()
        except BaseException as failure:  # noqa: B902 - told below
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def block(writer, number, turn):
    """What WRITER puts into block NUMBER when it comes by for the TURNth time."""
    return (b"%d:%06d:%06d;" % (writer, number, turn)).ljust(64, b"." if writer else b"-") * (BLOCK // 64)


def settle_into_halves(descriptors, mounts):
    """Until each of MOUNTS keeps what is written into its half: few writes are needed to find out who writes where."""

    def are_kept():
        before = [status(path)["sent-on"] for path in mounts]
        at_once(*(lambda writer=writer: [os.pwrite(descriptors[writer], b"w", writer * HALF + number * BLOCK)
                                         for number in range(WARM)] for writer in range(2)))
        after = [status(path)["sent-on"] for path in mounts]
        return all(b - a < WARM // 8 for a, b in zip(before, after))

    wait_for(are_kept, "both mounts to keep what they write")


class Ranges(MountCase):
    """One file, two mounts."""

    mounts = 2
    mount_options = PATIENT

    def prepare(self, size=2 * HALF):
        """A file of SIZE zeros; its descriptors in both mounts."""
        write(self.below + "/f", bytes(size))
        return opened(self.here + "/f", self.there + "/f")

    def assert_everywhere(self, wanted):
        """Both mounts and the server have WANTED."""
        for path in (self.here, self.there):
            self.assertEqual(read(path + "/f"), wanted)
        flush(self.here, self.there)
        self.assertEqual(read(self.below + "/f"), wanted)

    def write_half(self, descriptor, writer, turn, step=1):
        """All blocks of the half of WRITER."""
        for number in range(0, HALF // BLOCK, step):
            os.pwrite(descriptor, block(writer, number, turn), writer * HALF + number * BLOCK)

    def settle_into_halves(self, descriptors):
        """Each mount keeps what is written into its half."""
        settle_into_halves(descriptors, (self.here, self.there))

    @staticmethod
    def leases(path):
        """What pohmelctl lists of the file in PATH."""
        done = subprocess.run([POHMELCTL, "leases", path + "/f"], stdout=subprocess.PIPE, check=True, text=True)
        return done.stdout

    def test_halves_are_written_in_two_caches(self):
        """Almost nothing of what is written goes to the server until it has to, and nothing is lost."""
        descriptors = self.prepare()

        def are_told():
            self.settle_into_halves(descriptors)
            return (status(self.here)["leases-ranges"] >= 1 and status(self.there)["leases-ranges"] >= 1 and
                    "byte" in self.leases(self.here))

        wait_for(are_told, "ranges are leased, and told")
        writes = ROUNDS * HALF // BLOCK

        def are_kept():
            before = [status(path) for path in (self.here, self.there)]
            at_once(*(lambda writer=writer: [self.write_half(descriptors[writer], writer, turn)
                                             for turn in range(ROUNDS)] for writer in range(2)))
            after = [status(path) for path in (self.here, self.there)]
            return all(new["answered-here"] - old["answered-here"] > writes * 9 // 10 and
                       new["requests"] - old["requests"] < writes // 10 for old, new in zip(before, after))

        # Where the border lies is found out now and then; on a busy machine that is seen.
        self.assertTrue(any(are_kept() for _ in range(TRIES)), "writes are not kept back")
        wanted = b"".join(block(writer, number, ROUNDS - 1) for writer in range(2) for number in range(HALF // BLOCK))
        self.assert_everywhere(wanted)
        closed(descriptors)

    def test_what_is_written_here_is_read_here(self):
        """At once, while the other mount writes its half; and there after it was written."""
        descriptors = self.prepare()
        self.settle_into_halves(descriptors)

        def work(writer):
            for number in range(HALF // BLOCK):
                data = block(writer, number, 1)
                where = writer * HALF + number * BLOCK
                os.pwrite(descriptors[writer], data, where)
                self.assertEqual(os.pread(descriptors[writer], BLOCK, where), data)

        at_once(lambda: work(0), lambda: work(1))
        for writer in range(2):
            for number in (0, 1, HALF // BLOCK - 1):
                self.assertEqual(os.pread(descriptors[1 - writer], BLOCK, writer * HALF + number * BLOCK),
                                 block(writer, number, 1))
        closed(descriptors)

    def test_the_two_halves_of_one_page(self):
        """Neither takes bytes of the other along."""
        descriptors = self.prepare(BLOCK)

        def work(writer):
            for turn in range(200):
                for part in range(0, BLOCK // 2, 256):
                    os.pwrite(descriptors[writer], bytes([1 + writer * 100 + turn % 100]) * 256,
                              writer * BLOCK // 2 + part)

        at_once(lambda: work(0), lambda: work(1))
        self.assert_everywhere(bytes([100]) * (BLOCK // 2) + bytes([200]) * (BLOCK // 2))
        closed(descriptors)

    def test_records_in_turn(self):
        """Records of 100 bytes, the even ones here, the odd ones there."""
        count = 600
        descriptors = self.prepare(count * RECORD)

        def record(number, turn):
            return (b"%06d %d " % (number, turn)).ljust(RECORD, b"r")

        def work(writer):
            for turn in range(2):
                for number in range(writer, count, 2):
                    os.pwrite(descriptors[writer], record(number, turn), number * RECORD)

        at_once(lambda: work(0), lambda: work(1))
        self.assert_everywhere(b"".join(record(number, 1) for number in range(count)))
        closed(descriptors)

    def test_one_extends_while_the_other_writes_below(self):
        """The size is that of the last write past the end, for both."""
        descriptors = self.prepare(HALF)
        more = 200

        def extend():
            for number in range(more):
                os.pwrite(descriptors[1], block(1, number, 0), HALF + number * BLOCK)
                self.assertEqual(os.fstat(descriptors[1]).st_size, HALF + (number + 1) * BLOCK)

        at_once(lambda: [self.write_half(descriptors[0], 0, turn) for turn in range(2)], extend)
        for descriptor in descriptors:
            self.assertEqual(os.fstat(descriptor).st_size, HALF + more * BLOCK)
        wanted = [block(0, number, 1) for number in range(HALF // BLOCK)]
        self.assert_everywhere(b"".join(wanted + [block(1, number, 0) for number in range(more)]))
        closed(descriptors)

    def test_both_make_a_file_grow(self):
        """An empty file, whose halves are written from their beginnings."""
        descriptors = self.prepare(0)
        at_once(lambda: self.write_half(descriptors[0], 0, 0), lambda: self.write_half(descriptors[1], 1, 0))
        for descriptor in descriptors:
            self.assertEqual(os.fstat(descriptor).st_size, 2 * HALF)
        self.assert_everywhere(
            b"".join(block(writer, number, 0) for writer in range(2) for number in range(HALF // BLOCK)))
        closed(descriptors)

    def test_it_is_cut_by_a_third(self):
        """What was written before it was cut does not come back."""
        descriptors = self.prepare()
        self.settle_into_halves(descriptors)
        at_once(lambda: self.write_half(descriptors[0], 0, 5), lambda: self.write_half(descriptors[1], 1, 5))
        os.truncate(self.here + "/f", 3 * BLOCK)
        for path in (self.here, self.there, self.below):
            self.assertEqual(os.stat(path + "/f").st_size, 3 * BLOCK)
        os.pwrite(descriptors[1], b"again", HALF + 10)
        wanted = b"".join(block(0, number, 5) for number in range(3))
        self.assert_everywhere(wanted + bytes(HALF + 10 - len(wanted)) + b"again")
        closed(descriptors)

    def test_fsync_of_each(self):
        """What was synced is on the server; the other's bytes are nobody's business."""
        descriptors = self.prepare()
        self.settle_into_halves(descriptors)
        for turn in range(3):
            for writer in range(2):
                os.pwrite(descriptors[writer], block(writer, 7, turn), writer * HALF + 7 * BLOCK)
                os.fsync(descriptors[writer])
                below = os.open(self.below + "/f", os.O_RDONLY)
                self.assertEqual(os.pread(below, BLOCK, writer * HALF + 7 * BLOCK), block(writer, 7, turn))
                os.close(below)
        closed(descriptors)

    def test_who_reads_past_the_cache_of_the_writer_sees_it(self):
        """A third descriptor, for reading, through the pages of either mount."""
        descriptors = self.prepare()
        self.settle_into_halves(descriptors)
        for turn in range(20):
            writer = turn % 2
            os.pwrite(descriptors[writer], block(writer, turn, turn), writer * HALF + turn * BLOCK)
            for path in (self.here, self.there):
                reader = os.open(path + "/f", os.O_RDONLY)
                self.assertEqual(os.pread(reader, BLOCK, writer * HALF + turn * BLOCK), block(writer, turn, turn))
                os.close(reader)
        closed(descriptors)


class Killed(MountCase):
    """One of the writers is no more."""

    mounts = 1
    server_options = ("--lease-time", "4")
    mount_options = PATIENT

    def test_what_the_other_wrote_stays(self):
        """What was synced is there, on both sides; the one that is left goes on."""
        write(self.below + "/f", bytes(2 * HALF))
        victim = Mount(self.shared, options=PATIENT)
        self.addCleanup(victim.unmount)
        there = victim.join(self.name)
        descriptors = opened(self.here + "/f", there + "/f")
        for number in range(WARM):
            for writer in range(2):
                os.pwrite(descriptors[writer], block(writer, number, 0), writer * HALF + number * BLOCK)
        for descriptor in descriptors:
            os.fsync(descriptor)
        os.pwrite(descriptors[0], block(0, 0, 1), 0)
        victim.program.send(9)
        os.pwrite(descriptors[0], block(0, 1, 1), BLOCK)
        data = os.pread(descriptors[0], 2 * HALF, 0)
        wanted = [block(0, number, number < 2) for number in range(WARM)]
        self.assertEqual(data[:WARM * BLOCK], b"".join(wanted))
        self.assertEqual(data[HALF:HALF + WARM * BLOCK], b"".join(block(1, number, 0) for number in range(WARM)))
        os.pwrite(descriptors[0], b"mine now", HALF)
        os.fsync(descriptors[0])
        self.assertEqual(read(self.below + "/f")[HALF:HALF + 8], b"mine now")
        os.close(descriptors[0])


class Restarted(Case):
    """The server ends, and is started anew, while two mounts have what they wrote under ranges."""

    def test_what_was_not_sent_is_told_and_kept_aside(self):
        """Nobody can know whether others wrote there meanwhile. What was synced is there, and all goes on."""
        server = self.server()
        kept = scratch("kept")
        mounts = [self.mount(server, options=PATIENT + ("conflicts=" + os.path.join(kept, name),)) for name in "ab"]
        write(os.path.join(server.export, "f"), bytes(2 * HALF))
        descriptors = opened(*(mount.join("f") for mount in mounts))
        dirty = []

        def has_dirty_bytes():
            """Under a lease on a range, which may go on a busy machine; other bytes each time."""
            settle_into_halves(descriptors, [mount.path for mount in mounts])
            for writer in range(2):
                os.pwrite(descriptors[writer], block(writer, 3, 0), writer * HALF + 3 * BLOCK)
                os.fsync(descriptors[writer])
            if status(mounts[0].path)["leases-ranges"] < 1:
                return False
            dirty.append(block(0, 4, len(dirty)))
            os.pwrite(descriptors[0], dirty[-1], 4 * BLOCK)
            return status(mounts[0].path)["dirty-bytes"] >= BLOCK

        wait_for(has_dirty_bytes, "what is dirty in a range")
        server.kill()
        server.start()
        # Asked by a call: who runs a program closes files in it, and is told then.
        wait_for(lambda: b"leases-ranges: 0" in os.getxattr(mounts[0].path, "system.pohmel.status"),
                 "the session to be taken up")
        with self.assertRaises(OSError):
            os.fsync(descriptors[0])
        os.fsync(descriptors[0])  # told once
        os.fsync(descriptors[1])
        below = read(os.path.join(server.export, "f"))
        for writer in range(2):
            self.assertEqual(below[writer * HALF + 3 * BLOCK:][:BLOCK], block(writer, 3, 0))
        self.assertFalse(below[4 * BLOCK:5 * BLOCK] == dirty[-1], "it was not sent")
        aside = [read(os.path.join(where, name)) for where, _, names in os.walk(kept) for name in names]
        self.assertTrue(any(dirty[-1] in data for data in aside), "the bytes are kept aside")
        for writer in range(2):
            os.pwrite(descriptors[writer], block(writer, 5, 1), writer * HALF + 5 * BLOCK)
            os.fsync(descriptors[writer])
        for mount in mounts:
            data = read(mount.join("f"))
            for writer in range(2):
                self.assertEqual(data[writer * HALF + 5 * BLOCK:][:BLOCK], block(writer, 5, 1))
        closed(descriptors)
