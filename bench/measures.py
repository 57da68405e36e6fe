"""The measurements: each does some units of work in a place, and says how many."""

import io
import os
import random
import subprocess
import tarfile
import tempfile
import time

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 4 * KIB
RANDOM_ACCESSES = 5000
# Files that changed in the second of the index are read again by git; after that it trusts their times.
GIT_SETTLES_S = 1.1


class Measures:
    """Each measurement returns units done, and is timed by its caller; its title and unit are its
    docstring. before_NAME and after_NAME, where they are, are not timed. They come
    in the order of ORDER: later ones use what earlier ones made."""

    def __init__(self, files, tree, size_mib, seed):
        self.files = files
        self.size = size_mib * MIB
        self.tree_files = tree
        self.rng = random.Random(seed)
        self.tar = None
        self.paths = {}
        self.block = self.rng.randbytes(MIB)

    def names(self, place, folder="files", prefix="f"):
        """Paths of many files; made once, as making them takes about as long as a stat."""
        key = (place.at(folder), prefix)
        if key not in self.paths:
            self.paths[key] = [place.at(folder, "%s%d" % (prefix, number)) for number in range(self.files)]
        return self.paths[key]

    # Names

    def before_create(self, place):
        os.mkdir(place.at("files"))
        self.names(place)

    def create(self, place):
        """create files|files/s"""
        for name in self.names(place):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return self.files

    def before_stat_warm(self, place):
        self.stat_warm(place)

    def stat_warm(self, place):
        """stat, warm|files/s"""
        for name in self.names(place):
            os.stat(name)
        return self.files

    def stat_cold(self, place):
        """stat, cold|files/s"""
        return self.stat_warm(place)

    def list_long(self, place):
        """list with attributes, cold|entries/s"""
        with os.scandir(place.at("files")) as listing:
            for entry in listing:
                entry.stat(follow_symlinks=False)
        return self.files

    def before_rename(self, place):
        self.names(place, prefix="g")

    def rename(self, place):
        """rename files|files/s"""
        for old, new in zip(self.names(place), self.names(place, prefix="g")):
            os.rename(old, new)
        return self.files

    def unlink(self, place):
        """unlink files|files/s"""
        for name in self.names(place, prefix="g"):
            os.unlink(name)
        return self.files

    def after_unlink(self, place):
        os.rmdir(place.at("files"))

    def before_mkdir(self, place):
        os.mkdir(place.at("folders"))
        self.names(place, "folders")

    def mkdir(self, place):
        """make directories|dirs/s"""
        for name in self.names(place, "folders"):
            os.mkdir(name)
        return self.files

    def rmdir(self, place):
        """remove directories|dirs/s"""
        for name in self.names(place, "folders"):
            os.rmdir(name)
        return self.files

    # Small files

    def before_write_small(self, place):
        os.mkdir(place.at("small"))
        self.names(place, "small")

    def write_small(self, place):
        """write 4 KiB files|files/s"""
        for name in self.names(place, "small"):
            with open(name, "wb", buffering=0) as file:
                file.write(self.block[:BLOCK])
        return self.files

    def read_small(self, place):
        """read 4 KiB files, cold|files/s"""
        for name in self.names(place, "small"):
            with open(name, "rb", buffering=0) as file:
                file.read(BLOCK)
        return self.files

    def read_small_warm(self, place):
        """read 4 KiB files, warm|files/s"""
        return self.read_small(place)

    def before_read_small_warm(self, place):
        self.read_small(place)

    # A large file

    def stream_write(self, place):
        """write a large file|MiB/s"""
        with open(place.at("large"), "wb", buffering=0) as file:
            for _ in range(self.size // MIB):
                file.write(self.block)
            os.fsync(file.fileno())
        return self.size / MIB

    def stream_read(self, place):
        """read a large file, cold|MiB/s"""
        with open(place.at("large"), "rb", buffering=0) as file:
            buffer = bytearray(MIB)
            while file.readinto(buffer):
                pass
        return self.size / MIB

    def before_stream_read_warm(self, place):
        self.stream_read(place)

    def stream_read_warm(self, place):
        """read a large file, warm|MiB/s"""
        return self.stream_read(place)

    def random_read(self, place):
        """read 4 KiB at random, cold|reads/s"""
        return self._at_random(place, os.O_RDONLY)

    def random_write(self, place):
        """write 4 KiB at random|writes/s"""
        return self._at_random(place, os.O_WRONLY)

    def _at_random(self, place, flags):
        descriptor = os.open(place.at("large"), flags)
        count = min(RANDOM_ACCESSES, self.size // BLOCK)
        for _ in range(count):
            offset = self.rng.randrange(self.size // BLOCK) * BLOCK
            if flags == os.O_RDONLY:
                os.pread(descriptor, BLOCK, offset)
            else:
                os.pwrite(descriptor, self.block[:BLOCK], offset)
        if flags != os.O_RDONLY:
            os.fsync(descriptor)
        os.close(descriptor)
        return count

    def after_random_write(self, place):
        os.unlink(place.at("large"))

    # A tree

    def _unpack(self, place, name):
        os.mkdir(place.at(name))
        subprocess.run(["tar", "-xf", self.archive(), "-C", place.at(name)], check=True)

    def before_untar_sync(self, place):
        self.archive()
        place.sync()

    def untar_sync(self, place):
        """unpack a tree and sync|files/s"""
        self._unpack(place, "synced")
        place.sync()
        return self.tree_files

    def remove_synced(self, place):
        """rm -rf of a tree that was synced|files/s"""
        subprocess.run(["rm", "-rf", place.at("synced")], check=True)
        return self.tree_files

    def before_remove_fresh(self, place):
        self._unpack(place, "fresh")

    def remove_fresh(self, place):
        """rm -rf of a tree just unpacked|files/s"""
        subprocess.run(["rm", "-rf", place.at("fresh")], check=True)
        return self.tree_files

    def before_untar(self, place):
        self.archive()

    def untar(self, place):
        """unpack a tree|files/s"""
        self._unpack(place, "tree")
        return self.tree_files

    def _git(self, place, *words):
        subprocess.run(["git", "-C", place.at("tree"), "-c", "gc.auto=0", "-c", "user.name=b", "-c", "user.email=b@b",
                        *words], check=True)

    def before_git_add(self, place):
        self._git(place, "init", "-q")

    def git_add(self, place):
        """git add, commit of it|trees/s"""
        self._git(place, "add", "-A")
        self._git(place, "commit", "-qm", "b")
        return 1

    def before_git_status_warm(self, place):
        time.sleep(GIT_SETTLES_S)
        self.git_status(place)
        self.git_status(place)

    def git_status_warm(self, place):
        """git status of it, warm|runs/s"""
        return self.git_status(place)

    def git_status(self, place):
        """git status of it, cold|runs/s"""
        self._git(place, "status", "--porcelain")
        return 1

    def remove_tree(self, place):
        """rm -rf of it|files/s"""
        subprocess.run(["rm", "-rf", place.at("tree")], check=True)
        return self.tree_files

    def archive(self):
        """A tar file of many small files; made once, on local disk."""
        if self.tar is None:
            self.tar = tempfile.NamedTemporaryFile(suffix=".tar")
            with tarfile.open(fileobj=self.tar, mode="w") as tar:
                for number in range(self.tree_files):
                    info = tarfile.TarInfo("d%d/e%d/f%d.c" % (number % 40, number % 7, number))
                    info.size = 200 + number * 37 % 6000
                    start = number * 101 % (MIB - 8000)
                    tar.addfile(info, io.BytesIO(self.block[start:start + info.size]))
            self.tar.flush()
        return self.tar.name


ORDER = ["create", "stat_warm", "stat_cold", "list_long", "rename", "unlink", "mkdir", "rmdir",
         "write_small", "read_small", "read_small_warm",
         "stream_write", "stream_read", "stream_read_warm", "random_read", "random_write",
         "untar_sync", "remove_synced", "remove_fresh", "untar", "git_add", "git_status_warm", "git_status", "remove_tree"]
COLD = {"stat_cold", "list_long", "read_small", "stream_read", "random_read", "git_status"}

# Each measurement with those that have to come before it.
BASES = {"stat_warm": ["create"], "stat_cold": ["create"], "list_long": ["create"], "rename": ["create"],
         "unlink": ["create", "rename"], "rmdir": ["mkdir"], "read_small": ["write_small"],
         "read_small_warm": ["write_small"], "stream_read": ["stream_write"], "stream_read_warm": ["stream_write"],
         "random_read": ["stream_write"], "random_write": ["stream_write"], "remove_synced": ["untar_sync"],
         "git_add": ["untar"], "git_status_warm": ["untar", "git_add"], "git_status": ["untar", "git_add"],
         "remove_tree": ["untar"]}


def title_of(name):
    """What a measurement is called, and its unit."""
    title, unit = getattr(Measures, name).__doc__.splitlines()[0].split("|")
    return title, unit


def wanted_of(only):
    """The measurements asked for (all for an empty list), with those that they build on."""
    if not only:
        return set(ORDER)
    return set(only).union(*(BASES.get(name, []) for name in only))
