"""Listings from memory: right at once whatever others change, and without the server where nobody does."""

import json
import os
import subprocess

from calls import write
from harness import POHMELCTL, MountCase, wait_for

MANY = 3000
BOB = 4002


class Listings(MountCase):
    """Two mounts of one export."""

    mounts = 2

    def requests(self):
        """How many requests the second mount has sent to the server."""
        out = subprocess.run([POHMELCTL, "status", "--json", self.there], stdout=subprocess.PIPE, check=True).stdout
        return json.loads(out)["requests"]

    def fill(self, count):
        """COUNT files, made by the first mount; their names."""
        names = {"f%d" % number for number in range(count)}
        for name in names:
            write(os.path.join(self.here, name))
        return names

    def test_what_is_known_whole_costs_no_request(self):
        """However often it is listed, and whatever of it is looked at."""
        names = self.fill(200)
        before = self.requests()
        own = self.requests() - before

        def cost(times):
            before = self.requests()
            for _ in range(times):
                self.assertEqual(set(os.listdir(self.there)), names)
            return self.requests() - before - own

        wait_for(lambda: cost(1) <= 0, "a listing that costs nothing")
        self.assertLessEqual(cost(20), 2)

    def test_entries_are_what_stat_says(self):
        """Numbers and types, of what was listed and of what came later; also of "." and ".."."""
        self.fill(20)
        os.listdir(self.there)
        os.mkdir(self.there + "/d")
        os.symlink("x", self.there + "/l")
        os.mkfifo(self.there + "/p")
        for _ in range(2):
            with os.scandir(self.there) as entries:
                for entry in entries:
                    found = os.lstat(entry.path)
                    self.assertEqual(entry.inode(), found.st_ino)
                    self.assertEqual(entry.is_dir(follow_symlinks=False), entry.name == "d")
                    self.assertEqual(entry.is_symlink(), entry.name == "l")
            listed = subprocess.run(["ls", "-fia", self.there + "/d"], stdout=subprocess.PIPE, check=True, text=True)
            numbers = {line.split()[1]: int(line.split()[0]) for line in listed.stdout.splitlines()}
            self.assertEqual(numbers, {".": os.stat(self.there + "/d").st_ino, "..": os.stat(self.there).st_ino})

    def test_changes_by_others_are_listed_at_once(self):
        """Made, renamed and removed, back and forth between both mounts."""
        names = self.fill(10)
        for number in range(100):
            one, two = ((self.here, self.there), (self.there, self.here))[number % 2]
            made, moved = "m%d" % number, "n%d" % number
            write(os.path.join(one, made))
            self.assertEqual(set(os.listdir(two)), names | {made})
            os.rename(os.path.join(one, made), os.path.join(one, moved))
            self.assertEqual(set(os.listdir(two)), names | {moved})
            self.assertEqual(set(os.listdir(one)), names | {moved})
            os.unlink(os.path.join(two, moved))
            self.assertEqual(set(os.listdir(one)), names)
            self.assertEqual(set(os.listdir(two)), names)

    def test_changes_in_the_exported_directory_are_listed(self):
        """As soon as the server has heard of them."""
        names = self.fill(10)
        self.assertEqual(set(os.listdir(self.there)), names)
        write(os.path.join(self.below, "behind"))
        wait_for(lambda: set(os.listdir(self.there)) == names | {"behind"}, "another listing")


    def test_a_listing_that_has_begun_goes_on(self):
        """Each name once, when others change the directory in its midst, and when the mount itself does."""
        names = self.fill(MANY)
        self.assertEqual(set(os.listdir(self.there)), names)
        for changer in (self.here, self.there):
            with os.scandir(self.there) as entries:
                begun = [next(entries).name for _ in range(10)]
                gone = sorted(names - set(begun))[MANY // 2]
                os.unlink(os.path.join(changer, gone))
                write(os.path.join(changer, "new"))
                seen = begun + [entry.name for entry in entries]
            self.assertEqual(len(seen), len(set(seen)))
            self.assertEqual(set(seen) - {gone, "new"}, names - {gone})
            names.remove(gone)
            self.assertEqual(set(os.listdir(self.there)), names | {"new"})
            os.unlink(os.path.join(changer, "new"))

    def test_who_may_not_read_a_directory_cannot_list_it(self):
        """Even when the mount knows all that is in it."""
        self.fill(3)
        listing = ["setpriv", "--reuid", str(BOB), "--regid", str(BOB), "--clear-groups", "ls", self.there]
        for mode, allowed in ((0o755, True), (0o711, False), (0o755, True), (0o700, False)):
            os.chmod(self.here, mode)
            for _ in range(2):
                os.listdir(self.there)
                done = subprocess.run(listing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
                self.assertEqual(done.returncode == 0, allowed, done.stderr)

    def test_descriptors_of_directories_work(self):
        """Sync, change of mode and names relative to one that the server was never told of."""
        self.fill(3)
        for _ in range(2):
            os.listdir(self.there)
        directory = os.open(self.there, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(directory)
        os.fchmod(directory, 0o750)
        self.assertEqual(os.stat(self.here).st_mode & 0o777, 0o750)
        os.mkdir("d", dir_fd=directory)
        self.assertIn("d", os.listdir(directory))
        os.close(directory)
