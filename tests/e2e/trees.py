"""Trees of files made, compared, and what a mount tells of itself."""

import hashlib
import json
import os
import stat
import subprocess

from calls import facts, read, write
from harness import POHMELCTL

MIB = 1 << 20
# What only ages is not sent while a test is under way.
PATIENT = ("allow_other", "flush_age=3600s", "dirty_limit=1G")


def status(path):
    """What pohmelctl tells of a mount."""
    done = subprocess.run([POHMELCTL, "status", "--json", path], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def transactions(path):
    """How many changes were sent to the server."""
    return status(path)["transactions"]


def digest(top):
    """A checksum of all names, kinds, modes and contents below TOP."""
    out = hashlib.sha256()
    for where, directories, names in os.walk(top):
        directories.sort()
        for name in sorted(names + directories):
            path = os.path.join(where, name)
            out.update(os.fsencode(os.path.relpath(path, top)) + repr(facts(path)).encode())
            if stat.S_ISREG(os.lstat(path).st_mode):
                out.update(hashlib.sha256(read(path)).digest())
            elif os.path.islink(path):
                out.update(os.fsencode(os.readlink(path)))
    return out.hexdigest()


def make_tree(top, files):
    """FILES small files in directories of 100."""
    for number in range(files):
        if number % 100 == 0:
            where = os.path.join(top, "d%03d" % (number // 100))
            os.makedirs(where)
        write(os.path.join(where, "f%05d" % number), (b"%d " % number) * (number % 300))
