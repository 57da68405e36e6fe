"""Directories under test, and what can be asked of the mounts they lie on."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("POHMEL_BUILD") or os.path.join(os.path.dirname(HERE), "build")
ROOT = os.geteuid() == 0
# What pohmelctl says of the commands that a mount sent to its server.
REQUESTS = re.compile(r"^requests: (\d+)$", re.MULTILINE)


def drop_caches():
    """Makes the kernel forget what it has of all filesystems; only root can."""
    if ROOT:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3\n")


def control(*words):
    """pohmelctl WORDS: what it printed, or None when it failed."""
    program = os.path.join(BUILD, "client", "pohmelctl")
    if not os.access(program, os.X_OK):
        program = shutil.which("pohmelctl")
    if program is None:
        sys.exit("bench: there is no pohmelctl in %s/client or in PATH" % BUILD)
    done = subprocess.run([program, *words], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def is_pohmel(path):
    """Whether PATH lies on a mount of Pohmel."""
    device = os.stat(path).st_dev
    number = "%d:%d" % (os.major(device), os.minor(device))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        for line in table:
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == number:
                return rest.startswith("fuse.pohmelfs")
    return False


class Place:
    """A directory under test, and where its measurements work."""

    def __init__(self, word):
        name, _, path = word.rpartition("=")
        self.base = os.path.abspath(path)
        self.name = name or os.path.basename(self.base) or "/"
        if not os.path.isdir(self.base):
            sys.exit("bench: '%s' is not a directory" % self.base)
        self.pohmel = is_pohmel(self.base)
        self.work = ""
        self.asking = self._cost_of_asking() if self.pohmel else 0

    def _cost_of_asking(self):
        """Commands that asking for their number takes."""
        before = self.requests()
        return (self.requests() - before) if before is not None else 0

    def open(self):
        """A fresh directory in it."""
        self.work = tempfile.mkdtemp(prefix=".bench.", dir=self.base)

    def close(self):
        """Leaves nothing behind."""
        shutil.rmtree(self.work, ignore_errors=True)

    def at(self, *names):
        """A path in it."""
        return os.path.join(self.work, *names)

    def sync(self):
        """Everything in it becomes stable. The kernel tells no filesystem in userspace of a
        sync; so the mount is told, and then the disk on which it all ends up."""
        if self.pohmel and control("flush", self.base) is None:
            sys.exit("bench: %s does not become stable" % self.name)
        os.sync()

    def requests(self):
        """Commands sent to the server so far; None where nobody counts them."""
        if not self.pohmel:
            return None
        found = REQUESTS.search(control("status", self.base) or "")
        return int(found.group(1)) if found else None

    def requests_since(self, before):
        """Commands sent since requests() returned BEFORE; None where that is not known."""
        now = self.requests()
        return max(now - before - self.asking, 0) if None not in (now, before) else None
