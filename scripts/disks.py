"""Disks for tests and measurements: a filesystem of its own in a file, which can lose power.

Power is lost as far as a running machine can do it: the filesystem is shut down without writing its log
(EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN), so that whatever was not made stable before is gone; it recovers from its log
when it is mounted again.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import time

SHUTDOWN = 0x8004587D  # of both filesystems: _IOR('X', 125, __u32)
NOLOGFLUSH = 2
MOUNT_TRIES, MOUNT_AGAIN_S = 1200, 0.1
IMAGE_BYTES = {"ext4": 128 << 20, "xfs": 320 << 20}
FLUSHES, FLUSH_COLUMN = "/sys/block/%s/stat", 15


def why_not(kind):
    """Why no disk of KIND can be had here, or None."""
    if os.geteuid() != 0:
        return "only root can mount disks"
    if shutil.which("mkfs." + kind) is None or shutil.which("losetup") is None:
        return "there is no mkfs.%s or no losetup (scripts/deps.sh test)" % kind
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices"
    return None


class Disk:
    """A new filesystem of KIND, mounted on PATH, until it is ended; of SIZE bytes if not as small as can be,
    in the file IMAGE if not one beside PATH."""

    def __init__(self, kind, path, size=None, image=None):
        self.kind, self.path = kind, path
        self.image = image or path + ".img"
        with open(self.image, "wb") as image:
            image.truncate(size or IMAGE_BYTES[kind])
        force = "-F" if kind == "ext4" else "-f"
        subprocess.run(["mkfs." + kind, "-q", force, self.image], check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run(["losetup", "--find", "--show", self.image], check=True, stdout=subprocess.PIPE,
                              text=True)
        self.device = done.stdout.strip()
        try:
            self.mount()
        except subprocess.CalledProcessError:
            self.end()
            raise

    def mount(self):
        """Recovers and mounts it. What is not quite gone yet, since a program had a namespace of its own (pohmelctl txn), would only
        be shown again, and to those who make such a namespace meanwhile."""
        for _ in range(MOUNT_TRIES):
            if not self.is_used():
                subprocess.run(["mount", "-t", self.kind, self.device, self.path], check=True)
                if self.works():
                    return
                self.unmount()
            time.sleep(MOUNT_AGAIN_S)
        raise OSError("%s stays as it was when it lost power" % self.device)

    def is_used(self):
        """Whether it is mounted, here or in the namespace of another program, as far as the kernel tells."""
        return os.path.exists("/sys/fs/%s/%s" % (self.kind, os.path.basename(self.device)))

    def works(self):
        """Whether something can be written to it."""
        probe = os.path.join(self.path, "probe")
        try:
            with open(probe, "wb"):
                pass
            os.unlink(probe)
        except OSError:
            return False
        return True

    def cut(self):
        """From now on nothing reaches the disk."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(fd)

    def unmount(self):
        """Whoever used it must be gone."""
        subprocess.run(["umount", self.path], check=True)

    def flushes(self):
        """Commands to write the device's cache out, since there is the device."""
        with open(FLUSHES % os.path.basename(self.device), encoding="ascii") as stat:
            return int(stat.read().split()[FLUSH_COLUMN])

    def end(self):
        """Nothing is left of it."""
        subprocess.run(["umount", "-l", self.path], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["losetup", "--detach", self.device], check=False)
        os.unlink(self.image)
