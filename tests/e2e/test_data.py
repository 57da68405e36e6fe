"""Data of files: written, read, mapped, sparse, allocated, copied."""

import errno
import fcntl
import hashlib
import mmap
import os
import random

from calls import (FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, attempt, fallocate, read, write)
from harness import MountCase, flush, scratch

MIB = 1 << 20


class Data(MountCase):
    """Compared with a local file, or with what was written."""

    def same(self, function):
        """FUNCTION(path of a file to be made) returns the same here and locally."""
        expected = function(os.path.join(scratch("local"), "f"))
        got = function(os.path.join(self.here, "f"))
        self.assertEqual(got, expected)

    def test_random_writes_reads_and_cuts_give_what_a_local_file_gives(self):
        """1,500 of them from a seed."""
        def deed(path):
            rng = random.Random(20)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            seen = hashlib.sha256()
            for _ in range(1500):
                offset, length = rng.randrange(3 * MIB), rng.choice([1, 100, 4096, 5000, 70000, 300000])
                action = rng.random()
                if action < 0.5:
                    seen.update(b"%d" % os.pwrite(descriptor, rng.randbytes(length), offset))
                elif action < 0.9:
                    seen.update(os.pread(descriptor, length, offset))
                else:
                    os.ftruncate(descriptor, offset)
            seen.update(b"%d" % os.fstat(descriptor).st_size)
            os.close(descriptor)
            return seen.hexdigest(), hashlib.sha256(read(path)).hexdigest()
        self.same(deed)

    def test_large_files_arrive_whole(self):
        """64 MiB, in writes of odd sizes, read by the server and through the mount."""
        path = os.path.join(self.here, "f")
        rng = random.Random(7)
        digest = hashlib.sha256()
        with open(path, "wb", buffering=0) as file:
            size = 0
            while size < 64 * MIB:
                piece = rng.randbytes(rng.choice([MIB, 3 * MIB + 17, 65536, 999983]))
                self.assertEqual(file.write(piece), len(piece))
                digest.update(piece)
                size += len(piece)
            os.fsync(file.fileno())
        for where in (os.path.join(self.below, "f"), path):
            self.assertEqual(hashlib.sha256(read(where)).digest(), digest.digest(), where)

    def test_append_goes_to_the_end(self):
        """Whatever the descriptor's position is."""
        def deed(path):
            write(path, b"start")
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
            os.lseek(descriptor, 0, os.SEEK_SET)
            out = [os.write(descriptor, b"+1"), os.lseek(descriptor, 0, os.SEEK_CUR)]
            os.truncate(path, 3)
            out += [os.write(descriptor, b"+2"), read(path)]
            os.close(descriptor)
            return out
        self.same(deed)

    def test_files_are_sparse_beyond_4_gib(self):
        """Offsets of 33 and more bits, and hardly any blocks."""
        def deed(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            out = []
            for offset in (5 << 30, (1 << 40) + 12345, 10):
                os.pwrite(descriptor, b"here", offset)
                out.append((os.fstat(descriptor).st_size, os.pread(descriptor, 10, offset - 3)))
            out.append(os.fstat(descriptor).st_blocks < 200)
            out.append(attempt(os.pwrite, descriptor, b"x", (1 << 63) - 1))
            os.close(descriptor)
            return out
        self.same(deed)

    def test_data_and_holes_are_found(self):
        """SEEK_DATA and SEEK_HOLE."""
        def deed(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            os.pwrite(descriptor, b"x" * 65536, 1 * MIB)
            os.pwrite(descriptor, b"x" * 65536, 9 * MIB)
            os.ftruncate(descriptor, 12 * MIB)
            os.fsync(descriptor)
            out = []
            for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                for offset in (0, MIB, MIB + 1, 2 * MIB, 9 * MIB + 70000, 12 * MIB, 13 * MIB):
                    out.append(attempt(os.lseek, descriptor, offset, whence))
            os.close(descriptor)
            return out
        self.same(deed)

    def test_space_is_allocated_punched_and_zeroed(self):
        """fallocate with each mode."""
        def deed(path):
            write(path, b"x" * 300000)
            descriptor = os.open(path, os.O_RDWR)
            out = []
            for mode, offset, length in ((0, 0, 400000), (FALLOC_KEEP_SIZE, 0, MIB), (0, 500000, 8192),
                                         (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 65536, 65536),
                                         (FALLOC_ZERO_RANGE, 200000, 5000), (FALLOC_PUNCH_HOLE, 0, 10), (0, 0, 0),
                                         (FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE, 600000, 5000)):
                out.append((mode, attempt(fallocate, descriptor, mode, offset, length),
                            os.fstat(descriptor).st_size, hashlib.sha256(read(path)).hexdigest()))
            os.close(descriptor)
            reader = os.open(path, os.O_RDONLY)
            out.append(attempt(fallocate, reader, 0, 0, 10))
            os.close(reader)
            return out
        self.same(deed)

    def test_ranges_are_copied_between_files(self):
        """copy_file_range, with offsets, to the end, and overlapping."""
        def deed(path):
            write(path, os.urandom(0) + bytes(range(256)) * 2000)
            source = os.open(path, os.O_RDWR)
            target = os.open(path + "2", os.O_RDWR | os.O_CREAT)
            out = []
            for length, from_, to in ((1000, 0, 0), (100000, 5, 70000), (1 << 30, 500000, 0), (10, 512000, 0)):
                out.append((attempt(os.copy_file_range, source, target, length, from_, to),
                            hashlib.sha256(read(path + "2")).hexdigest()))
            out.append(attempt(os.copy_file_range, source, source, 1000, 0, 100))
            out.append(attempt(os.copy_file_range, source, source, 1000, 0, 100000))
            os.close(source)
            os.close(target)
            return out + [hashlib.sha256(read(path)).hexdigest()]
        self.same(deed)

    def test_a_shared_mapping_writes_the_file(self):
        """msync, munmap, and reading what others wrote by write()."""
        path = os.path.join(self.here, "f")
        write(path, b"a" * 20000)
        descriptor = os.open(path, os.O_RDWR)
        mapping = mmap.mmap(descriptor, 20000)
        mapping[5000:5005] = b"store"
        mapping.flush()
        self.assertEqual(read(os.path.join(self.below, "f"))[5000:5005], b"store")
        os.pwrite(descriptor, b"write", 9000)
        self.assertEqual(mapping[9000:9005], b"write")
        mapping[19999:20000] = b"z"
        mapping.close()
        os.close(descriptor)
        self.assertEqual(read(path)[19999:], b"z")
        flush(path)
        self.assertEqual(read(os.path.join(self.below, "f")), read(path))

    def test_a_private_mapping_leaves_the_file_alone(self):
        """And sees what it contains."""
        path = os.path.join(self.here, "f")
        write(path, b"a" * 10000)
        with open(path, "rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        mapping[0:4] = b"mine"
        self.assertEqual(mapping[0:6], b"mineaa")
        mapping.close()
        self.assertEqual(read(path), b"a" * 10000)

    def test_a_mapping_outlives_descriptor_and_name(self):
        """close and unlink before the last store."""
        path = os.path.join(self.here, "f")
        write(path, b"a" * 8192)
        descriptor = os.open(path, os.O_RDWR)
        mapping = mmap.mmap(descriptor, 8192)
        os.link(path, path + "2")
        os.close(descriptor)
        os.unlink(path)
        mapping[4096:4100] = b"late"
        mapping.flush()
        mapping.close()
        self.assertEqual(read(path + "2")[4096:4100], b"late")

    def test_direct_and_synchronous_writes_work(self):
        """O_DIRECT, O_SYNC, O_DSYNC, fsync, fdatasync, of directories too."""
        path = os.path.join(self.here, "f")
        for flags in (os.O_DIRECT, os.O_SYNC, os.O_DSYNC):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags)
            buffer = mmap.mmap(-1, 8192)
            buffer[:] = bytes([flags % 251]) * 8192
            self.assertEqual(os.pwritev(descriptor, [buffer], 4096), 8192)
            self.assertEqual(os.preadv(descriptor, [buffer], 4096), 8192)
            self.assertEqual(buffer[:], bytes([flags % 251]) * 8192)
            os.fsync(descriptor)
            os.fdatasync(descriptor)
            os.close(descriptor)
        directory = os.open(self.here, os.O_RDONLY)
        os.fsync(directory)
        os.fdatasync(directory)
        os.close(directory)

    def test_reading_at_and_behind_the_end_gives_nothing(self):
        """And never stale bytes after the file shrank."""
        def deed(path):
            write(path, b"x" * 5000)
            descriptor = os.open(path, os.O_RDWR)
            out = [os.pread(descriptor, 10, offset) for offset in (4995, 5000, 5001, 1 << 40)]
            os.ftruncate(descriptor, 10)
            os.ftruncate(descriptor, 5000)
            out += [os.pread(descriptor, 20, 0)]
            os.close(descriptor)
            return out
        self.same(deed)

    def test_a_writer_of_one_byte_each_is_right_as_well(self):
        """Small steps, one file."""
        path = os.path.join(self.here, "f")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        text = bytes(random.Random(3).randrange(256) for _ in range(3000))
        for number in range(len(text)):
            os.write(descriptor, text[number:number + 1])
        os.close(descriptor)
        self.assertEqual(read(path), text)

    def test_an_unknown_ioctl_and_lease_are_refused_politely(self):
        """Programs that try must get an errno that they know."""
        path = os.path.join(self.here, "f")
        write(path, b"x")
        descriptor = os.open(path, os.O_RDWR)
        with self.assertRaises(OSError) as caught:
            fcntl.ioctl(descriptor, 0x5401, bytearray(64))
        self.assertIn(caught.exception.errno, (errno.ENOTTY, errno.EINVAL, errno.ENOSYS))
        os.close(descriptor)
