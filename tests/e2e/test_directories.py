"""Large directories, listed while they change."""

import os
import subprocess
import sys
import threading

from calls import attempt, write
from harness import SLOWER, MountCase

MANY = 100_000


class Directories(MountCase):
    """Listings are complete and name nothing twice."""

    mounts = 2
    limit_s = 240 * SLOWER

    def test_100000_entries_are_listed_whole_while_others_come_and_go(self):
        """Every entry that is there throughout exactly once."""
        for number in range(MANY):
            os.close(os.open(os.path.join(self.below, "keep%d" % number), os.O_CREAT | os.O_WRONLY))
        stop = threading.Event()

        def churn(where, tag):
            number = 0
            while not stop.is_set():
                path = os.path.join(where, "%s%d" % (tag, number))
                write(path)
                os.rename(path, path + "r")
                if number >= 50:
                    os.unlink(os.path.join(where, "%s%dr" % (tag, number - 50)))
                number += 1

        threads = [threading.Thread(target=churn, args=args) for args in
                   ((self.here, "a"), (self.there, "b"), (self.below, "c"))]
        for thread in threads:
            thread.start()
        try:
            for where in (self.here, self.there):
                names = os.listdir(where)
                self.assertEqual(len(names), len(set(names)))
                kept = sum(name.startswith("keep") for name in names)
                self.assertEqual(kept, MANY)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def test_entries_removed_while_listing_do_not_hide_others(self):
        """rm -rf of a large directory by reading and removing in turns."""
        names = {"f%d" % number for number in range(5000)}
        for name in names:
            write(os.path.join(self.below, name))
        seen = []
        with os.scandir(self.here) as listing:
            for entry in listing:
                seen.append(entry.name)
                os.unlink(entry.path)
        self.assertEqual(sorted(seen), sorted(names))
        self.assertEqual(os.listdir(self.there), [])
        os.rmdir(self.here)
        os.mkdir(self.below)

    def test_two_that_list_at_the_same_time_do_not_disturb_each_other(self):
        """Each has its own position, also after a fork and with rewinding."""
        names = sorted("f%d" % number for number in range(3000))
        for name in names:
            write(os.path.join(self.below, name))
        listings = [iter(os.scandir(self.here)) for _ in range(3)]
        out = [[], [], []]
        for turn in range(len(names)):
            for number, listing in enumerate(listings):
                if turn % (number + 1) == 0 or turn > len(names) // 2:
                    out[number] += [entry.name for entry in [next(listing, None)] if entry]
        for number, listing in enumerate(listings):
            out[number] += [entry.name for entry in listing]
            self.assertEqual(sorted(out[number]), names)

    def test_positions_can_be_kept_and_returned_to(self):
        """telldir and seekdir."""
        for number in range(2000):
            write(os.path.join(self.below, "f%d" % number))
        code = ("import ctypes,sys\nl=ctypes.CDLL(None)\n"
                "class D(ctypes.Structure): _fields_=[('i',ctypes.c_uint64),('o',ctypes.c_int64),('l',ctypes.c_ushort),"
                "('t',ctypes.c_ubyte),('n',ctypes.c_char*256)]\n"
                "l.opendir.restype=ctypes.c_void_p;l.readdir.restype=ctypes.POINTER(D);l.telldir.restype=ctypes.c_long\n"
                "d=ctypes.c_void_p(l.opendir(sys.argv[1].encode()))\nseen=[]\n"
                "while True:\n  at=l.telldir(d);e=l.readdir(d)\n  if not e: break\n  seen.append((at,e.contents.n))\n"
                "for at,name in seen[::37]:\n  l.seekdir(d,ctypes.c_long(at))\n"
                "  assert l.readdir(d).contents.n==name,(at,name)\n"
                "l.rewinddir(d)\nassert l.readdir(d).contents.n==seen[0][1]\nprint(len(seen))\n")
        out = subprocess.run([sys.executable, "-c", code, self.here], stdout=subprocess.PIPE, text=True, check=True)
        self.assertEqual(out.stdout, "2002\n")

    def test_dot_and_dotdot_have_the_right_numbers(self):
        """In listings and by stat."""
        os.mkdir(self.here + "/d")
        listed = subprocess.run(["ls", "-ai", self.here + "/d"], stdout=subprocess.PIPE, text=True, check=True).stdout
        numbers = {line.split()[1]: int(line.split()[0]) for line in listed.splitlines()}
        self.assertEqual(numbers, {".": os.stat(self.here + "/d").st_ino, "..": os.stat(self.here).st_ino})

    def test_types_are_listed(self):
        """Without asking for each entry."""
        write(self.here + "/f")
        os.mkdir(self.here + "/d")
        os.symlink("x", self.here + "/l")
        os.mkfifo(self.here + "/p")
        kinds = {entry.name: (entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False),
                              entry.is_symlink()) for entry in os.scandir(self.here)}
        self.assertEqual(kinds, {"f": (False, True, False), "d": (True, False, False), "l": (False, False, True),
                                 "p": (False, False, False)})

    def test_a_listing_of_names_of_255_bytes_is_whole(self):
        """Many long names in each reply."""
        names = sorted(("%04d" % number + "é" * 130)[:128] + "x" * 100 for number in range(1500))
        names = sorted({name.encode()[:255] for name in names})
        for name in names:
            write(os.fsencode(self.below) + b"/" + name)
        self.assertEqual(sorted(os.listdir(os.fsencode(self.here))), names)
        self.assertEqual(attempt(os.listdir, self.here + "/" + "y"), "ENOENT")
