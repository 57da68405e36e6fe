"""Files that are opened without the server: nobody notices, whatever becomes of them meanwhile."""

import fcntl
import os
import signal
import subprocess
import threading
import time

from calls import as_user, attempt, read, write
from harness import POHMELCTL, SLOWER, Case, MountCase, flush, undisturbed, wait_for

BOB = 4002
TRIES = 5
SMALL = b"small" * 100
LARGE = bytes(range(256)) * 1024


def requests(mount):
    """How many the client has sent, but for renewals of the session."""
    out = subprocess.run([POHMELCTL, "status", mount], check=True, stdout=subprocess.PIPE, timeout=60).stdout.decode()
    return int(dict(line.split(": ", 1) for line in out.splitlines())["requests"])


def requests_at_rest(mount):
    """The same, when what goes on behind everybody's back (releases, write-back) is done with."""
    last = requests(mount)
    while True:
        time.sleep(0.05)
        now = requests(mount)
        if now == last:
            return now
        last = now


class OpenHere(MountCase):
    """The first mount has the file open, the second does something about it."""

    mounts = 2

    def opened(self, content, name="f", fresh=False):
        """Opens a file that the first mount has a lease on and has read (or not, FRESH)."""
        path = os.path.join(self.here, name)
        write(os.path.join(self.there, name), content)
        flush(os.path.join(self.there, name))
        os.stat(path)
        if not fresh:
            self.assertEqual(read(path), content)
        descriptor = self.opened_without_the_server(path)
        self.addCleanup(os.close, descriptor)
        return path, os.path.join(self.there, name), descriptor

    def opened_without_the_server(self, path):
        """Opens PATH, for which at most its data are asked for. On a busy machine something of before may still
        come in between: then once more."""
        root = self.mounted[0].path
        for _ in range(TRIES):
            before = requests_at_rest(root)
            descriptor = os.open(path, os.O_RDONLY)
            if requests(root) - before <= 1:
                return descriptor
            os.close(descriptor)
        return self.fail("the server was asked each time")

    def holds(self, descriptor, content):
        """All of CONTENT can be read through it, also what the kernel does not have any more."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        self.assertEqual(os.pread(descriptor, len(content) + 1, 0), content)
        self.assertEqual(os.fstat(descriptor).st_size, len(content))

    def test_reading_again_asks_nobody(self):
        """Open, read, close: as often as one likes."""
        path, _, _ = self.opened(SMALL)
        root = self.mounted[0].path

        def look(_):
            before = requests(root)
            for _ in range(200):
                self.assertEqual(read(path), SMALL)
            self.assertLess(requests(root) - before, 20)
        undisturbed(look)

    def test_small_files_cost_one_request_to_read(self):
        """The data comes with the opening, and nothing is left open."""
        write(self.there + "/first", b"")
        for number in range(100):
            write(self.there + "/s%d" % number, SMALL)
        flush(self.there)
        subprocess.run(["ls", "-l", self.here], check=True, stdout=subprocess.DEVNULL)
        root = self.mounted[0].path
        before = requests(root)
        for number in range(100):
            self.assertEqual(read(self.here + "/s%d" % number), SMALL)
        self.assertLess(requests(root) - before, 150)

    def test_a_new_file_of_another_client_costs_two_requests(self):
        """One finds the directory as it is now, one the file and what it holds. On a busy machine something else may
        come in between: then once more, with another file."""
        root = self.mounted[0].path
        write(self.there + "/first", SMALL)
        self.assertEqual(read(self.here + "/first"), SMALL)
        costs = []
        while not costs or (min(costs) > 2 and len(costs) < 4 * TRIES):
            name = "/n%d" % len(costs)
            data = SMALL + name.encode()
            write(self.there + name, data)
            before = requests_at_rest(root)
            self.assertEqual(read(self.here + name), data)
            costs.append(requests(root) - before)
        self.assertLessEqual(min(costs), 2, costs)

    def test_a_file_that_another_client_wrote_over_costs_two_requests(self):
        """Also where reads go past the pages, because others wanted the file a moment ago."""
        root = self.mounted[0].path
        path, other = self.here + "/f", self.there + "/f"
        write(other, SMALL)
        self.assertEqual(read(path), SMALL)
        costs = []
        while not costs or (min(costs) > 3 and len(costs) < 4 * TRIES):
            data = SMALL + b"%d" % len(costs)
            write(other, data)
            before = requests_at_rest(root)
            with open(path, "rb", buffering=0) as file:
                self.assertEqual(b"".join(iter(lambda: file.read(1 << 16), b"")), data)
            costs.append(requests(root) - before)
        self.assertLessEqual(min(costs), 3, costs)  # the third closes the file, and nobody waits for it

    def test_removed_by_another_client(self):
        """Read before or not, it stays readable through the descriptor."""
        for content in (SMALL, LARGE):
            for fresh in (False, True):
                path, other, descriptor = self.opened(content, "f%d%d" % (len(content), fresh), fresh)
                os.unlink(other)
                flush(self.there)
                self.assertFalse(os.path.exists(path))
                self.holds(descriptor, content)
                self.assertEqual(os.fstat(descriptor).st_nlink, 0)

    def test_replaced_by_another_client(self):
        """The old file stays behind the descriptor."""
        path, other, descriptor = self.opened(LARGE)
        write(other + "new", SMALL)
        os.rename(other + "new", other)
        self.assertEqual(read(path), SMALL)
        self.holds(descriptor, LARGE)

    def test_removed_and_replaced_here(self):
        """The same by this mount itself, whose changes are written back later."""
        path, _, descriptor = self.opened(LARGE, "gone", fresh=True)
        os.unlink(path)
        flush(self.here)
        self.holds(descriptor, LARGE)
        path, _, descriptor = self.opened(LARGE, "replaced", fresh=True)
        write(path + "new", SMALL)
        os.rename(path + "new", path)
        flush(self.here)
        self.assertEqual(read(path), SMALL)
        self.holds(descriptor, LARGE)

    def test_removed_with_its_tree(self):
        """By one command, which does not say what it removes."""
        for mount in (self.here, self.there):
            os.mkdir(self.there + "/d")
            _, _, descriptor = self.opened(LARGE, "d/f", fresh=True)
            subprocess.run([POHMELCTL, "rmtree", mount + "/d"], check=True, timeout=60)
            self.assertFalse(os.path.exists(self.here + "/d"))
            self.assertFalse(os.path.exists(self.there + "/d"))
            self.holds(descriptor, LARGE)

    def forbidden(self, forbid, name):
        """Who has it open goes on reading after FORBID(path here, path there)."""
        path, other = os.path.join(self.here, name), os.path.join(self.there, name)
        write(other, LARGE)
        flush(other)
        os.stat(path)

        reader, writer = os.pipe()
        result, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setresgid(BOB, BOB, BOB)
            os.setresuid(BOB, BOB, BOB)
            descriptor = os.open(path, os.O_RDONLY)
            os.write(told, b"1")
            os.read(reader, 1)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os._exit(0 if os.pread(descriptor, len(LARGE), 0) == LARGE else 1)
        try:
            self.assertEqual(os.read(result, 1), b"1")
            forbid(path, other)
            flush(self.here, self.there)
            self.assertEqual(as_user(BOB, BOB, [], attempt, read, path), "EACCES")
        finally:
            os.write(writer, b"1")
            _, status = os.waitpid(pid, 0)
            for descriptor in (reader, writer, result, told):
                os.close(descriptor)
        self.assertEqual(status, 0)

    def test_forbidden_while_it_is_open(self):
        """By mode or owner, by this mount or another."""
        self.forbidden(lambda path, other: os.chmod(path, 0o600), "here")
        self.forbidden(lambda path, other: os.chmod(other, 0o600), "there")

    def test_locks_and_other_uses(self):
        """What needs the file to be open at the server finds it so."""
        path, other, descriptor = self.opened(LARGE, fresh=True)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with open(other, "rb") as second:
            self.assertEqual(attempt(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB), "EAGAIN")
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _, _, descriptor = self.opened(LARGE, "g", fresh=True)
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 10)
        _, _, descriptor = self.opened(LARGE, "h", fresh=True)
        self.assertEqual(os.lseek(descriptor, 0, os.SEEK_HOLE), len(LARGE))
        _, _, descriptor = self.opened(LARGE, "i", fresh=True)
        os.fsync(descriptor)
        _, _, descriptor = self.opened(LARGE, "j", fresh=True)
        target = os.open(path + "copy", os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, target)
        self.assertEqual(os.copy_file_range(descriptor, target, len(LARGE), 0, 0), len(LARGE))
        self.assertEqual(read(path + "copy"), LARGE)

    def test_who_may_not_read_may_not_open(self):
        """The server is asked where the mode bits do not say that it is allowed."""
        path, _, _ = self.opened(SMALL)
        os.chmod(path, 0o640)
        self.assertEqual(as_user(BOB, BOB, [], attempt, read, path), "EACCES")
        self.assertEqual(as_user(BOB, BOB, [os.stat(path).st_gid], attempt, read, path), SMALL)


class OpenHereInTrouble(Case):
    """The same when server and session end."""

    def test_a_server_that_is_killed(self):
        """The file is read on, and survives being removed by another client."""
        server = self.server()
        here, there = self.mount(server), self.mount(server)
        write(there.join("f"), LARGE)
        flush(there.path)
        os.stat(here.join("f"))
        descriptor = os.open(here.join("f"), os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        server.kill()
        server.start()
        os.listdir(there.path)
        wait_for(lambda: attempt(os.stat, here.join("f")) != "EIO", "a session")
        os.unlink(there.join("f"))
        flush(there.path)
        self.assertEqual(os.pread(descriptor, len(LARGE), 0), LARGE)


class ListedHere(MountCase):
    """Listings that the kernel keeps."""

    mounts = 2

    def listing(self, directory):
        """Names in it."""
        return sorted(os.listdir(directory))

    def filled(self, count):
        """A directory with COUNT names that the first mount knows whole."""
        path, other = self.here + "/d", self.there + "/d"
        os.mkdir(other)
        for number in range(count):
            write(other + "/%s%d" % ("n" * 50, number), b"")
        flush(self.there)
        for _ in range(3):
            subprocess.run(["ls", "-l", path], check=True, stdout=subprocess.DEVNULL)
        return path, other

    def test_changes_of_others_are_seen(self):
        """At once, in small directories and large ones, through new descriptors and old ones."""
        for count in (3, 700):
            path, other = self.filled(count)
            descriptor = os.open(path, os.O_RDONLY)
            names = self.listing(path)
            self.assertEqual(len(names), count)
            for number in range(20):
                name = "new%d" % number
                if number % 2:
                    write(other + "/" + name, b"")
                else:
                    os.mkdir(other + "/" + name)
                names = sorted(names + [name])
                self.assertEqual(self.listing(descriptor), names)
                self.assertEqual(self.listing(path), names)
                os.rename(other + "/" + name, other + "/" + name + "x")
                names = sorted([known for known in names if known != name] + [name + "x"])
                self.assertEqual(self.listing(path), names)
                self.assertEqual(self.listing(descriptor), names)
            os.close(descriptor)
            subprocess.run(["rm", "-r", path], check=True)

    def test_own_changes_are_seen(self):
        """Between listings, and in the midst of one."""
        path, _ = self.filled(700)
        names = self.listing(path)
        for number in range(20):
            name = "new%d" % number
            with os.scandir(path) as begun:
                next(begun)
                write(path + "/" + name, b"")
                self.assertGreaterEqual(len(list(begun)), len(names) - 1)
            names = sorted(names + [name])
            self.assertEqual(self.listing(path), names)
            os.unlink(path + "/" + names.pop(0))
            self.assertEqual(self.listing(path), names)

    def test_listing_again_asks_nobody(self):
        """Not even the daemon, through a descriptor that is open. Where the kernel asks all the same, because it was
        made to forget meanwhile, only the daemon can answer it: a while later it goes on."""
        path, _ = self.filled(20)
        descriptor = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        daemon = self.mounted[0].program.pid

        def look(_):
            names = self.listing(descriptor)
            went_on = threading.Event()

            def go_on():
                went_on.set()
                os.kill(daemon, signal.SIGCONT)
            later = threading.Timer(2 * SLOWER, go_on)
            later.start()
            os.kill(daemon, signal.SIGSTOP)
            try:
                self.assertEqual(self.listing(descriptor), names)
            finally:
                os.kill(daemon, signal.SIGCONT)
                later.cancel()
                later.join()
            self.assertFalse(went_on.is_set(), "the daemon was asked")
        undisturbed(look)

    def test_a_moved_directory_names_its_new_parent(self):
        """Also where the kernel keeps its listing."""
        path, _ = self.filled(3)
        os.mkdir(self.here + "/e")
        self.listing(path)
        os.rename(path, self.here + "/e/d")
        listed = subprocess.run(["ls", "-ai", self.here + "/e/d"], check=True, stdout=subprocess.PIPE).stdout.decode()
        inodes = {line.split()[1]: int(line.split()[0]) for line in listed.splitlines()}
        self.assertEqual(inodes[".."], os.stat(self.here + "/e").st_ino)
