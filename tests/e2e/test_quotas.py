"""Quotas of users, groups and projects on the server's filesystem: who has used them up hears it when writing, and
what was accepted arrives. Where the kernel has no quotas the tests are skipped, but for those of a filesystem whose
limits the server does not know (btrfs), which are met when changes are written back."""

import ctypes
import os
import shutil
import struct
import subprocess
import unittest

from calls import as_user, attempt, read, write
from harness import LOCAL, SLOWER, Case, flush, scratch, tail
from trees import MIB, PATIENT

ALICE, BOB, STAFF = 4001, 4002, 4100
USER, GROUP = 0, 1
KIB = 1024
QUOTACTL_FD = 443  # the same number everywhere
Q_SETQUOTA, Q_GETQUOTA = 0x800008, 0x800007
LIMITS_VALID = 1 | 4
QUOTA = struct.Struct("8QI4x")


def quotactl(top, command, kind, number, buffer):
    """quotactl_fd(2) on the filesystem of TOP."""
    descriptor = os.open(top, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(QUOTACTL_FD, descriptor, command << 8 | kind, number, buffer) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def limit(top, number, kind=USER, size=0, objects=0):
    """Hard limits, in bytes and objects; 0 for none."""
    blocks = size // KIB
    quotactl(top, Q_SETQUOTA, kind, number,
             ctypes.create_string_buffer(QUOTA.pack(blocks, 0, 0, objects, 0, 0, 0, 0, LIMITS_VALID)))


def used(top, number, kind=USER):
    """Bytes and objects."""
    buffer = ctypes.create_string_buffer(QUOTA.size)
    quotactl(top, Q_GETQUOTA, kind, number, buffer)
    values = QUOTA.unpack(buffer.raw)
    return values[2], values[5]


def content(name):
    """Of a file with that name, a 64 KiB piece."""
    return (os.path.basename(name).encode() + b".") * (64 * KIB // (len(os.path.basename(name)) + 1))


def fill(top, prefix, pieces, count):
    """COUNT files of PIECES pieces each: [(name, bytes accepted)] and the errors, by the call that told."""
    files, told = [], []
    for number in range(count):
        path = os.path.join(top, "%s%03d" % (prefix, number))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            told.append(("open", error.errno))
            break
        accepted = 0
        try:
            for _ in range(pieces):
                accepted += os.write(descriptor, content(path))
        except OSError as error:
            told.append(("write", error.errno))
        result = attempt(os.close, descriptor)
        if result is not None:
            told.append(("close", result))
        files.append((path, accepted))
        if told:
            break
    return files, told


class Disk:
    """A filesystem with quotas in a file."""

    MAKE = {
        "ext4": (["mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota"],
                 "usrquota,grpquota,prjquota"),
        "xfs": (["mkfs.xfs", "-q", "-f"], "uquota,gquota"),
        "xfs-project": (["mkfs.xfs", "-q", "-f"], "pquota"),
        "btrfs": (["mkfs.btrfs", "-q", "-f"], ""),
    }

    def __init__(self, kind, size):
        make, options = self.MAKE[kind]
        if shutil.which(make[0]) is None:
            raise unittest.SkipTest("there is no " + make[0])
        self.path = scratch("quota", 0o755)
        self.image = image = scratch("image") + "/disk"
        with open(image, "wb") as file:
            file.truncate(size)
        subprocess.run(make + [image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = subprocess.run(["mount", "-o", "loop" + ("," + options if options else ""), image, self.path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise unittest.SkipTest("no quotas on %s here: %s" % (kind, done.stdout.split("\n", 1)[0]))

    def end(self):
        """Unmounts it."""
        subprocess.run(["umount", "-l", self.path], check=False)
        os.unlink(self.image)


@unittest.skipIf(LOCAL, "about what a server promises")
class Quotas:
    """Tests of one kind of filesystem."""

    kind = ""
    limit_s = 120 * SLOWER

    def setUp(self):
        """An exported filesystem, not mounted yet; everybody may make files below `top`."""
        disk = Disk(self.kind, 400 * MIB)
        self.addCleanup(disk.end)
        self.disk = disk.path
        self.export = os.path.join(disk.path, "export")
        os.mkdir(self.export)
        os.mkdir(os.path.join(self.export, "top"))
        os.chmod(os.path.join(self.export, "top"), 0o777)
        self.one = self.server(export=self.export)

    def patient(self):
        """A mount that keeps what it can."""
        at = self.mount(self.one, options=PATIENT)
        flush(at.path)
        return at

    def arrived(self, at, files):
        """All that was accepted is on the disk, and nothing was lost."""
        flush(at.path)
        for path, accepted in files:
            below = os.path.join(self.export, os.path.relpath(path, at.path))
            data = read(below)
            self.assertEqual(len(data), accepted, below)
            piece = content(path)
            self.assertEqual(data, (piece * (accepted // len(piece) + 1))[:accepted], below)
        self.assertNotRegex("\n".join(tail(at.log, 1000)), "is lost")

    def test_a_write_beyond_the_quota_of_a_user_is_refused_at_once(self):
        """And everything before it arrives; somebody else goes on."""
        limit(self.disk, ALICE, size=12 * MIB)
        at = self.patient()
        files, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "a", 8, 100)
        self.assertIn(told[0][0], ("write", "open"))
        self.assertEqual(os.strerror(told[0][1]), "Disk quota exceeded")
        # Some filesystems count what they have set aside for a file that grows.
        self.assertGreater(sum(accepted for _, accepted in files), 6 * MIB)
        more, told = as_user(BOB, BOB, [], fill, at.join("top"), "b", 8, 40)
        self.assertEqual((len(more), told), (40, []))
        self.arrived(at, files + more)

    def test_objects_beyond_the_quota_of_a_user_are_refused_at_once(self):
        """Files without content."""
        limit(self.disk, ALICE, objects=150)
        at = self.patient()
        files, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "a", 0, 1000)
        self.assertEqual(told[0][0], "open")
        self.assertEqual(os.strerror(told[0][1]), "Disk quota exceeded")
        self.assertEqual(len(files), 150)
        self.arrived(at, files)

    def test_the_quota_of_a_group_counts_as_well(self):
        """Of two of its members, through two mounts: no more than there is is accepted, and all of it arrives."""
        limit(self.disk, STAFF, kind=GROUP, size=16 * MIB)
        mounts = [self.patient(), self.patient()]
        total = 0
        for at, who, prefix in zip(mounts, (ALICE, BOB), "ab"):
            files, told = as_user(who, STAFF, [], fill, at.join("top"), prefix, 1, 100 if who == ALICE else 400)
            if who == BOB:
                self.assertEqual(os.strerror(told[0][1]), "Disk quota exceeded", told)
            total += sum(accepted for _, accepted in files)
            mounts[0 if who == ALICE else 1].files = files
        for at in mounts:
            self.arrived(at, at.files)
        self.assertGreater(total, 12 * MIB)

    def test_what_is_written_in_the_cache_fits_into_a_small_quota(self):
        """A user far below the limit is answered in the cache."""
        limit(self.disk, ALICE, size=100 * MIB)
        at = self.patient()
        files, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "first", 1, 1)
        self.assertEqual(told, [])
        flush(at.path)
        more, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "a", 4, 10)
        self.assertEqual(told, [])
        self.assertFalse(os.path.exists(os.path.join(self.export, "top/a009")))
        self.arrived(at, files + more)

    def test_what_is_given_to_a_user_comes_out_of_that_quota(self):
        """chown of more than the user may have is refused, or told by fsync, not lost in silence."""
        limit(self.disk, ALICE, size=4 * MIB)
        at = self.patient()
        path = at.join("top/gift")
        write(path, b"g" * (6 * MIB))
        result = attempt(os.chown, path, ALICE, ALICE)
        descriptor = os.open(path, os.O_RDONLY)
        synced = attempt(os.fsync, descriptor)
        os.close(descriptor)
        owner = os.stat(os.path.join(self.export, "top/gift")).st_uid
        # Some filesystems let the superuser give away what they like.
        self.assertEqual(owner, ALICE if (result, synced) == (None, None) else 0)
        self.assertEqual(read(os.path.join(self.export, "top/gift")), b"g" * (6 * MIB))

    def test_a_quota_that_shrinks_meanwhile_is_told_by_fsync(self):
        """Nothing could be known when it was written; others' changes are written back all the same."""
        limit(self.disk, ALICE, size=100 * MIB)
        at = self.patient()
        files = []
        for who in (ALICE, BOB):
            files += as_user(who, who, [], fill, at.join("top"), "first%d" % who, 1, 1)[0]
        flush(at.path)
        big, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "big", 8, 1)
        self.assertEqual(told, [])
        more, _ = as_user(BOB, BOB, [], fill, at.join("top"), "b", 4, 10)
        self.assertFalse(os.path.exists(os.path.join(self.export, "top/big000")))
        limit(self.disk, ALICE, size=MIB // 4)
        descriptor = os.open(big[0][0], os.O_WRONLY)
        self.assertEqual(attempt(os.fsync, descriptor), "EDQUOT")
        attempt(os.close, descriptor)  # it may be that it could not even be made
        self.assertRegex("\n".join(tail(at.log)), "is lost: .*big000.*quota")
        attempt(flush, at.path)
        for path, accepted in files + more:
            self.assertEqual(len(read(os.path.join(self.export, os.path.relpath(path, at.path)))), accepted)


class Ext4(Quotas, Case):
    """Quotas in the filesystem itself."""

    kind = "ext4"

    def test_a_project_is_what_a_mount_of_it_shows(self):
        """The limit of the exported directory's project is its size, and is met when writing."""
        if subprocess.run(["chattr", "-p", "77", "+P", self.export], check=False).returncode != 0:
            self.skipTest("no projects")
        subprocess.run(["chattr", "-p", "77", "+P", os.path.join(self.export, "top")], check=True)
        quotactl(self.disk, Q_SETQUOTA, 2, 77,
                 ctypes.create_string_buffer(QUOTA.pack(16 * KIB, 0, 0, 0, 0, 0, 0, 0, LIMITS_VALID)))
        at = self.patient()
        shown = os.statvfs(at.path)
        self.assertEqual(shown.f_blocks * shown.f_frsize, 16 * MIB)
        files, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "a", 4, 200)
        self.assertIn(os.strerror(told[0][1]), ("Disk quota exceeded", "No space left on device"))
        self.assertGreater(sum(accepted for _, accepted in files), 12 * MIB)
        self.arrived(at, files)


class Xfs(Quotas, Case):
    """Another filesystem with another way to keep them."""

    kind = "xfs"


class Unknown(Case):
    """A limit that the server does not know of: btrfs' of a subvolume."""

    limit_s = 120 * SLOWER

    def setUp(self):
        """A subvolume, and a mount of it."""
        disk = Disk("btrfs", 1024 * MIB)
        self.addCleanup(disk.end)
        self.export = os.path.join(disk.path, "export")
        for command in (["subvolume", "create", self.export], ["quota", "enable", disk.path],
                        ["quota", "rescan", "-w", disk.path]):
            subprocess.run(["btrfs"] + command, check=True, stdout=subprocess.DEVNULL)
        self.one = self.server(export=self.export)
        self.at = self.mount(self.one, options=PATIENT)
        os.mkdir(self.at.join("small"))
        os.mkdir(self.at.join("large"))
        flush(self.at.path)

    def limit(self, size):
        """Of all that is in it."""
        subprocess.run(["btrfs", "filesystem", "sync", self.export], check=True)
        subprocess.run(["btrfs", "qgroup", "limit", size, self.export], check=True)

    def test_what_meets_it_is_told_and_the_rest_is_written_back(self):
        """By fsync and in the log; the rest stays, and is written back when it can be. (btrfs says one or the other.)"""
        for number in range(20):
            write(self.at.join("small/f%02d" % number), b"%02d" % number * 1000)
        descriptor = os.open(self.at.join("large/f"), os.O_WRONLY | os.O_CREAT)
        self.assertEqual(os.write(descriptor, b"x" * MIB), MIB)
        self.assertEqual(os.listdir(os.path.join(self.export, "small")), [])
        self.limit("256K")
        self.assertIn(attempt(os.fsync, descriptor), ("EDQUOT", "ENOSPC"))
        attempt(os.close, descriptor)
        self.assertRegex("\n".join(tail(self.at.log)), "is lost: .*large/f.*(quota|no space)")
        self.limit("none")
        attempt(flush, self.at.path)  # it may tell of the large one again
        for number in range(20):
            self.assertEqual(read(os.path.join(self.export, "small/f%02d" % number)), b"%02d" % number * 1000)
        write(self.at.join("small/after"), b"goes on")
        flush(self.at.path)
        self.assertEqual(read(os.path.join(self.export, "small/after")), b"goes on")


if __name__ == "__main__":
    unittest.main()
