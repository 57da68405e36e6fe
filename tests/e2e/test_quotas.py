"""Quotas of users, groups and projects on the server's filesystem: who has used them up hears it when writing, and
what was accepted arrives. The kernel's own quotas are tested where it has them (ext4, xfs); everywhere the same is
tested with quotas that a library loaded into the server pretends (tests/faults/quotas.c), and with a filesystem whose
limits the server does not know (btrfs), which are met when changes are written back."""

import ctypes
import os
import shutil
import struct
import subprocess
import unittest

from calls import as_user, attempt, read, write
from harness import BASE, BUILD, LOCAL, SLOWER, Case, Server, flush, scratch, tail, wait_for, wait_said
from trees import MIB, PATIENT

ALICE, BOB, STAFF = 4001, 4002, 4100
USER, GROUP, PROJECT = 0, 1, 2
KIB = 1024
PRETEND = os.path.join(BUILD, "tests", "faults", "libquotas.so")
QUOTACTL_FD = 443  # the same number everywhere
Q_SETQUOTA = 0x800008
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

    def limit(self, number, kind=USER, size=0, objects=0):
        """Hard limits, in bytes and objects; 0 for none."""
        quotactl(self.path, Q_SETQUOTA, kind, number, ctypes.create_string_buffer(
            QUOTA.pack(size // KIB, 0, 0, objects, 0, 0, 0, 0, LIMITS_VALID)))

    def end(self):
        """Unmounts it."""
        subprocess.run(["umount", "-l", self.path], check=False)
        os.unlink(self.image)


class PretendedDisk:
    """A directory with quotas that only a server knows which was started with its environment."""

    def __init__(self):
        self.path = scratch("quota", 0o755)
        self.limits = os.path.join(self.path, "limits")
        self.lines = {}
        self.environment = ["LD_PRELOAD=" + PRETEND, "QUOTAS_LIMITS=" + self.limits,
                            "QUOTAS_TOP=" + os.path.join(self.path, "export")]

    def limit(self, number, kind=USER, size=0, objects=0):
        """Hard limits, in bytes and objects; 0 for none."""
        self.lines[kind, number] = "%s %d %d %d\n" % ("ug"[kind], number, size // KIB, objects)
        with open(self.limits + ".new", "w", encoding="ascii") as file:
            file.writelines(self.lines.values())
        os.rename(self.limits + ".new", self.limits)


class PretendingServer(Server):
    """A server that is told of a PretendedDisk's quotas."""

    def __init__(self, disk, **options):
        self.disk = disk
        super().__init__(**options)

    def command(self):
        """The command line."""
        return ["env"] + self.disk.environment + super().command()


@unittest.skipIf(LOCAL, "about what a server promises")
class Quotas:
    """Tests of one kind of filesystem."""

    kind = ""
    limit_s = 120 * SLOWER

    def setUp(self):
        """An exported filesystem, not mounted yet; everybody may make files below `top` and `other`."""
        disk = Disk(self.kind, 400 * MIB)
        self.addCleanup(disk.end)
        self.start(disk)

    def start(self, disk):
        """A server for a directory of that."""
        self.disk = disk
        self.export = os.path.join(disk.path, "export")
        os.mkdir(self.export)
        for name in ("top", "other"):
            os.mkdir(os.path.join(self.export, name))
            os.chmod(os.path.join(self.export, name), 0o777)
        self.one = self.server(export=self.export)

    def patient(self):
        """A mount that keeps what it can."""
        at = self.mount(self.one, options=PATIENT)
        flush(at.path)
        return at

    def known(self, at, who, group=None):
        """Files of WHO (and GROUP); the last one is answered in the cache, so it is known what the quota leaves."""
        files = []

        def kept():
            made, told = as_user(who, group or who, [], fill, at.join("top"), "first%d.%d." % (who, len(files)), 1, 1)
            self.assertEqual(told, [])
            files.extend(made)
            return not os.path.exists(os.path.join(self.export, os.path.relpath(made[0][0], at.path)))

        wait_for(kept, "a file that is made in the cache")
        flush(at.path)
        return files

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
        self.disk.limit(ALICE, size=12 * MIB)
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
        self.disk.limit(ALICE, objects=150)
        at = self.patient()
        files, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "a", 0, 1000)
        self.assertEqual(told[0][0], "open")
        self.assertEqual(os.strerror(told[0][1]), "Disk quota exceeded")
        self.assertEqual(len(files), 150)
        self.arrived(at, files)

    def test_the_quota_of_a_group_counts_as_well(self):
        """Of two of its members, through two mounts: no more than there is is accepted, and all of it arrives."""
        self.disk.limit(STAFF, kind=GROUP, size=16 * MIB)
        mounts = [self.patient(), self.patient()]
        first = self.known(mounts[0], ALICE, STAFF)
        ours, told = as_user(ALICE, STAFF, [], fill, mounts[0].join("top"), "a", 1, 40)
        self.assertEqual((len(ours), told), (40, []))
        self.assertFalse(os.path.exists(os.path.join(self.export, "top/a039")))
        others, told = as_user(BOB, STAFF, [], fill, mounts[1].join("other"), "b", 1, 400)
        self.assertEqual(os.strerror(told[0][1]), "Disk quota exceeded", told)
        # What the one was promised was not written back to make room for the other.
        self.assertFalse(os.path.exists(os.path.join(self.export, "top/a039")))
        self.arrived(mounts[0], first + ours)
        self.arrived(mounts[1], others)
        self.assertGreater(sum(accepted for _, accepted in first + ours + others), 11 * MIB)

    def test_what_is_written_in_the_cache_fits_into_a_small_quota(self):
        """A user far below the limit is answered in the cache."""
        self.disk.limit(ALICE, size=100 * MIB)
        at = self.patient()
        files = self.known(at, ALICE)
        more, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "a", 4, 10)
        self.assertEqual(told, [])
        self.assertFalse(os.path.exists(os.path.join(self.export, "top/a009")))
        self.arrived(at, files + more)

    def test_what_is_given_to_a_user_comes_out_of_that_quota(self):
        """chown of more than the user may have is refused, or told by fsync, not lost in silence."""
        self.disk.limit(ALICE, size=4 * MIB)
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
        self.disk.limit(ALICE, size=100 * MIB)
        at = self.patient()
        files = self.known(at, ALICE) + self.known(at, BOB)
        big, told = as_user(ALICE, ALICE, [], fill, at.join("top"), "big", 8, 1)
        self.assertEqual(told, [])
        more, _ = as_user(BOB, BOB, [], fill, at.join("top"), "b", 4, 10)
        self.assertFalse(os.path.exists(os.path.join(self.export, "top/big000")))
        self.disk.limit(ALICE, size=MIB // 4)
        descriptor = os.open(big[0][0], os.O_WRONLY)
        self.assertEqual(attempt(os.fsync, descriptor), "EDQUOT")
        attempt(os.close, descriptor)  # it may be that it could not even be made
        wait_said(at.log, "is lost: .*big000.*quota")
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
        self.disk.limit(77, kind=PROJECT, size=16 * MIB)
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


class Pretended(Quotas, Case):
    """The same everywhere: the kernel's part is played by a library in the server."""

    def setUp(self):
        """An exported directory, not mounted yet."""
        if not os.path.exists(PRETEND):
            self.skipTest("not built: " + PRETEND)
        self.start(PretendedDisk())

    def server(self, **options):
        """A server that believes in the quotas, and ends with the test."""
        server = PretendingServer(self.disk, **options)
        self.addCleanup(server.stop)
        self._logs = getattr(self, "_logs", []) + [server.log]
        return server


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
        wait_said(self.at.log, "is lost: .*large/f.*(quota|no space)")
        self.limit("none")
        attempt(flush, self.at.path)  # it may tell of the large one again
        for number in range(20):
            self.assertEqual(read(os.path.join(self.export, "small/f%02d" % number)), b"%02d" % number * 1000)
        write(self.at.join("small/after"), b"goes on")
        flush(self.at.path)
        self.assertEqual(read(os.path.join(self.export, "small/after")), b"goes on")


def load_tests(_loader, groups, _pattern):
    """The kernel's quotas are no tests where it has none: Pretended shows the same."""
    missing = set()
    for case in (Ext4, Xfs) if os.path.isdir(BASE) and not LOCAL else ():
        try:
            if shutil.which(Disk.MAKE[case.kind][0][0]):
                Disk(case.kind, 400 * MIB).end()
        except unittest.SkipTest:
            missing.add(case)
    return unittest.TestSuite(test for group in groups for test in group if type(test) not in missing)


if __name__ == "__main__":
    unittest.main()
