"""Write-back: changes are made in the mount and reach the server later, and nobody can tell but by the clock
and the server's disk."""

import fcntl
import mmap
import os
import subprocess
import sys
import threading
import time

from calls import attempt, read, write
from harness import PACE, SLOWER, Case, MountCase, flush, scratch, undisturbed, wait_for
from trees import MIB, PATIENT, digest, make_tree, status, transactions


def same_pieces(test, first, second):
    """Two large files are the same, read in pieces."""
    with open(first, "rb") as one, open(second, "rb") as two:
        while True:
            piece = one.read(4 * MIB)
            test.assertTrue(piece == two.read(4 * MIB), "they differ before %d" % one.tell())
            if not piece:
                return


class Seen(MountCase):
    """What one mount has in its cache, the other one sees at once, and whole. Nothing is sent by age."""

    mounts = 2
    mount_options = PATIENT
    limit_s = 120 * SLOWER

    def held(self):
        """Nobody but this mount has used the directory: it holds it exclusively, and makes things in it here."""
        os.makedirs(self.here + "/warm", exist_ok=True)
        wait_for(lambda: self.is_held("warm"), "an exclusive lease")

    def is_held(self, name):
        """Whether something made in there is not sent."""
        flush(self.here)
        before = transactions(self.here)
        write(os.path.join(self.here, name, "probe"))
        kept = transactions(self.here) == before
        os.unlink(os.path.join(self.here, name, "probe"))
        return kept

    def test_a_tree_shows_on_the_other_mount_at_once(self):
        """Names, data, modes, links."""
        make_tree(self.here, 1000)
        os.symlink("d000", self.here + "/link")
        os.link(self.here + "/d000/f00007", self.here + "/hard")
        os.mkfifo(self.here + "/fifo", 0o640)
        os.chmod(self.here + "/d001/f00101", 0o4711)
        local = scratch("local")
        make_tree(local, 1000)
        os.symlink("d000", local + "/link")
        os.link(local + "/d000/f00007", local + "/hard")
        os.mkfifo(local + "/fifo", 0o640)
        os.chmod(local + "/d001/f00101", 0o4711)
        self.assertEqual(digest(self.there), digest(local))
        self.assertEqual(digest(self.here), digest(local))

    def test_nothing_is_sent_while_only_this_mount_works(self):
        """Making, writing, reading, renaming, in a directory of its own."""
        self.assertEqual(len(os.listdir(self.there + undisturbed(self.work_in_a_directory))), 100)

    def work_in_a_directory(self, number):
        """Makes 100 files in one that is new, of which nothing is sent; its name."""
        self.held()
        flush(self.here)
        before = status(self.here)
        name = "/warm/d%d" % number
        os.mkdir(self.here + name)
        for number in range(100):
            path = self.here + "%s/f%d" % (name, number)
            write(path, b"x" * number)
            os.rename(path, path + "b")
            os.chmod(path + "b", 0o600)
            self.assertEqual(read(path + "b"), b"x" * number)
            os.stat(path + "b")
        self.assertEqual(len(os.listdir(self.here + name)), 100)
        after = status(self.here)
        self.assertEqual(after["transactions"], before["transactions"])
        # Free space may be asked for, and a lease or two.
        self.assertLess(after["requests"] - before["requests"], 20)
        self.assertGreater(after["dirty-operations"], 100)
        return name

    def test_the_kernel_takes_attributes_that_it_set_itself(self):
        """Who sets them and looks at them asks nobody, not even the daemon. On a busy machine something may come in
        between: then once more."""
        self.held()
        os.mkdir(self.here + "/warm/d")
        asked = []
        while not asked or (min(asked) > 60 and len(asked) < 5):
            with open(self.here + "/warm/d/f%d" % len(asked), "wb") as file:
                descriptor = file.fileno()
                os.fstat(descriptor)
                before = status(self.here)
                for number in range(100):
                    os.fchmod(descriptor, 0o600 + number % 8)
                    os.utime(descriptor, (number, number))
                    seen = os.fstat(descriptor)
                    self.assertEqual((seen.st_mode & 0o777, seen.st_mtime), (0o600 + number % 8, number))
                after = status(self.here)
            asked.append(after["cache-hits"] - before["cache-hits"])
        self.assertLessEqual(min(asked), 60, asked)

    def test_what_was_set_a_moment_ago_others_see(self):
        """Also of a file that is being written, and so is the writer's own."""
        self.held()
        path, other = self.here + "/warm/f", self.there + "/warm/f"
        with open(path, "wb", buffering=0) as file:
            for number in range(1, 30):
                file.write(b"x")
                os.fchmod(file.fileno(), 0o600 + number % 8)
                os.utime(path, (number, number))
                for seen in (os.stat(other), os.stat(path), os.fstat(file.fileno())):
                    self.assertEqual((seen.st_mode & 0o777, seen.st_mtime, seen.st_size),
                                     (0o600 + number % 8, number, number))

    def test_a_tree_that_is_removed_again_is_never_sent(self):
        """rm -r of what was just made."""
        def look(_):
            self.held()
            flush(self.here)
            before = transactions(self.here)
            make_tree(self.here + "/warm", 300)
            subprocess.run(["rm", "-r"] + [self.here + "/warm/d%03d" % number for number in range(3)], check=True)
            self.assertEqual(transactions(self.here), before)
        undisturbed(look)
        self.assertEqual(os.listdir(self.here + "/warm"), [])
        self.assertEqual(os.listdir(self.there + "/warm"), [])

    def test_directories_within_a_fresh_one_are_listed_here(self):
        """Something was made in all of them, which changed their attributes; rm -r sends nothing."""
        def look(_):
            self.held()
            flush(self.here)
            for number in range(5):
                os.makedirs(self.here + "/warm/d/e%d/f" % number)
                write(self.here + "/warm/d/e%d/g" % number, b"x")
            before = status(self.here)
            self.assertEqual(sorted(os.listdir(self.here + "/warm/d")), ["e%d" % number for number in range(5)])
            subprocess.run(["rm", "-r", self.here + "/warm/d"], check=True)
            after = status(self.here)
            for command in ("readdir", "open", "mkdir", "rmdir"):
                self.assertEqual(after.get("commands-" + command), before.get("commands-" + command), command)
            self.assertEqual(transactions(self.here), before["transactions"])
        undisturbed(look)

    def test_fsync_brings_the_file_and_not_the_world(self):
        """The directories above it with it."""
        self.held()
        os.makedirs(self.here + "/warm/a/b")
        os.makedirs(self.here + "/warm/other")
        for number in range(50):
            write(self.here + "/warm/other/f%d" % number, b"x" * 1000)
        descriptor = os.open(self.here + "/warm/a/b/f", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"safe")
        os.fsync(descriptor)
        os.close(descriptor)
        self.assertEqual(read(self.below + "/warm/a/b/f"), b"safe")
        left = [name for _, _, names in os.walk(self.below) for name in names]
        self.assertEqual(left, ["f"])
        self.assertGreaterEqual(status(self.here)["dirty-operations"], 50)

    def test_fsync_of_a_directory_brings_what_is_in_it(self):
        """Names made, renamed and removed."""
        self.held()
        for number in range(10):
            write(self.here + "/warm/f%d" % number, b"x")
        os.rename(self.here + "/warm/f0", self.here + "/warm/g")
        os.unlink(self.here + "/warm/f1")
        descriptor = os.open(self.here + "/warm", os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        self.assertEqual(sorted(os.listdir(self.below + "/warm")), ["f%d" % n for n in range(2, 10)] + ["g"])

    def test_flush_brings_everything(self):
        """pohmelctl flush of the whole mount."""
        make_tree(self.here, 500)
        flush(self.here)
        self.assertEqual(digest(self.below), digest(self.here))
        after = status(self.here)
        self.assertEqual((after["dirty-bytes"], after["dirty-operations"]), (0, 0))

    def test_a_file_that_is_replaced_is_old_or_new_everywhere(self):
        """Editors and package managers rely on it: written beside, renamed over, watched on the other mount
        and on the server's disk."""
        texts = [b"%08d" % number * 1000 for number in range(60)]
        write(self.here + "/f", texts[0])
        flush(self.here)
        seen, stop = [], threading.Event()

        def watch(path):
            while not stop.is_set():
                seen.append(read(path))

        watchers = [threading.Thread(target=watch, args=(path,), daemon=True)
                    for path in (self.there + "/f", self.below + "/f")]
        for watcher in watchers:
            watcher.start()
        try:
            for number, text in enumerate(texts):
                write(self.here + "/f.new", text)
                os.rename(self.here + "/f.new", self.here + "/f")
                if number % 10 == 0:
                    flush(self.here)
        finally:
            stop.set()
            for watcher in watchers:
                watcher.join()
        self.assertEqual(read(self.there + "/f"), texts[-1])
        self.assertEqual({text for text in seen} - set(texts), set())
        self.assertGreater(len(seen), 10)

    def test_two_mounts_write_halves_of_one_file(self):
        """In pieces, at the same time; both, and the disk, have all of it."""
        size, piece = 4 * MIB, 10000
        write(self.here + "/f", b"\0" * size)
        code = ("import os,sys\nd=os.open(sys.argv[1],os.O_WRONLY)\nat,end=int(sys.argv[2]),int(sys.argv[3])\n"
                "while at<end:\n  n=min(%d,end-at)\n  assert os.pwrite(d,sys.argv[4].encode()*n,at)==n\n  at+=n\n"
                "os.close(d)\n" % piece)
        writers = [subprocess.Popen([sys.executable, "-c", code, where + "/f", str(begin), str(begin + size // 2), letter])
                   for where, begin, letter in ((self.here, 0, "a"), (self.there, size // 2, "b"))]
        for writer in writers:
            self.assertEqual(writer.wait(), 0)
        flush(self.here, self.there)
        for where in (self.here, self.there, self.below):
            data = read(where + "/f")
            self.assertEqual((len(data), data.count(b"a"), data.count(b"b")), (size, size // 2, size // 2), where)
            self.assertEqual(data[:size // 2].count(b"a"), size // 2, where)

    def test_appends_of_two_mounts_lose_nothing(self):
        """Also between flushes, and with a reader."""
        code = ("import os,sys\nd=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\n"
                "for n in range(300): os.write(d,(sys.argv[2]*99+'\\n').encode())\n")
        writers = [subprocess.Popen([sys.executable, "-c", code, where + "/log", letter])
                   for where, letter in ((self.here, "a"), (self.there, "b"))]
        while any(writer.poll() is None for writer in writers):
            lines = attempt(read, self.there + "/log")
            for line in lines.split(b"\n")[:-1] if isinstance(lines, bytes) else []:
                self.assertIn(line, (b"a" * 99, b"b" * 99))
        self.assertEqual([writer.wait() for writer in writers], [0, 0])
        flush(self.here, self.there)
        for where in (self.here, self.there, self.below):
            lines = read(where + "/log").split(b"\n")
            self.assertEqual((lines.count(b"a" * 99), lines.count(b"b" * 99), len(lines)), (300, 300, 601), where)

    def test_of_two_mounts_that_create_a_name_one_wins(self):
        """O_EXCL, mkdir, link, symlink; whoever holds the directory."""
        for number in range(20):
            for make in (lambda path: write(path, b"x", 0o600, os.O_EXCL), os.mkdir, lambda path: os.symlink("x", path)):
                name, wins = "x%d" % number, []

                def attempt_it(where, name=name, make=make, wins=wins):
                    if attempt(make, os.path.join(where, name)) != "EEXIST":
                        wins.append(where)
                threads = [threading.Thread(target=attempt_it, args=(where,)) for where in (self.here, self.there)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.assertEqual(len(wins), 1)
                path = os.path.join(self.here, name)
                os.rmdir(path) if os.path.isdir(path) else os.unlink(path)

    def test_locks_hold_on_files_that_the_server_does_not_know_yet(self):
        """flock and fcntl, between the mounts."""
        self.held()
        for lock in (fcntl.flock, fcntl.lockf):
            path = "/warm/%s" % lock.__name__
            one = os.open(self.here + path, os.O_RDWR | os.O_CREAT)
            lock(one, fcntl.LOCK_EX)
            two = os.open(self.there + path, os.O_RDWR)
            self.assertEqual(attempt(lock, two, fcntl.LOCK_EX | fcntl.LOCK_NB), "EAGAIN")
            os.write(one, b"under the lock")
            lock(one, fcntl.LOCK_UN)
            lock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.assertEqual(os.read(two, 99), b"under the lock")
            os.close(one)
            os.close(two)

    def test_a_mapping_that_is_written_shows_on_the_other_mount(self):
        """After msync, and after munmap and close."""
        write(self.here + "/f", b"a" * 20000)
        descriptor = os.open(self.here + "/f", os.O_RDWR)
        mapping = mmap.mmap(descriptor, 20000)
        self.assertEqual(read(self.there + "/f"), b"a" * 20000)
        mapping[5000:5005] = b"store"
        mapping.flush()
        self.assertEqual(read(self.there + "/f")[5000:5005], b"store")
        mapping[15000:15005] = b"again"
        mapping.close()
        os.close(descriptor)
        self.assertEqual(read(self.there + "/f")[14999:15006], b"aagaina")
        flush(self.here)
        self.assertEqual(read(self.below + "/f"), read(self.there + "/f"))

    def test_sparse_files_stay_sparse(self):
        """Holes made by writing beyond the end, and by cutting and growing."""
        descriptor = os.open(self.here + "/f", os.O_RDWR | os.O_CREAT)
        os.pwrite(descriptor, b"end", 1 << 30)
        os.pwrite(descriptor, b"begin", 0)
        self.assertEqual(os.fstat(descriptor).st_size, (1 << 30) + 3)
        self.assertLess(os.fstat(descriptor).st_blocks, 200)
        os.ftruncate(descriptor, 3)
        os.ftruncate(descriptor, 1 << 20)
        os.pwrite(descriptor, b"x", 5 << 20)
        os.close(descriptor)
        expected = b"beg" + bytes((5 << 20) - 3) + b"x"
        self.assertTrue(read(self.there + "/f") == expected)
        flush(self.here)
        self.assertTrue(read(self.below + "/f") == expected)
        self.assertLess(os.stat(self.below + "/f").st_blocks, 200)


class Times(MountCase):
    """Times of changes are those of the system calls, not of the flush."""

    mounts = 2
    mount_options = PATIENT

    def test_times_of_modification_are_kept(self):
        """Of files and directories: here, after the flush, on the other mount, and on the disk."""
        os.mkdir(self.here + "/d")
        os.mkdir(self.here + "/d/e")
        write(self.here + "/d/f", b"x")
        write(self.here + "/d/g", b"x")
        os.symlink("x", self.here + "/d/l")
        os.utime(self.here + "/d/g", ns=(10**18 + 5, 10**18 + 7))
        os.utime(self.here + "/d/e", ns=(3 * 10**17, 4 * 10**17))
        names = ("d", "d/e", "d/f", "d/g", "d/l")

        def times(where):
            return {name: os.lstat(os.path.join(where, name)).st_mtime_ns for name in names}
        first = times(self.here)
        now = time.time_ns()
        for name in ("d", "d/f", "d/l"):
            self.assertLess(abs(first[name] - now), 5 * 10**9 * SLOWER, name)
        self.assertEqual((first["d/g"], first["d/e"]), (10**18 + 7, 4 * 10**17))
        time.sleep(1.2)
        self.assertEqual(times(self.here), first)
        flush(self.here)
        self.assertEqual(times(self.here), first)
        del first["d/l"]  # nobody sets the time of a link: it is made at the server later
        names = tuple(first)
        self.assertEqual(times(self.there), first)
        self.assertEqual(times(self.below), first)

    def test_later_changes_have_later_times(self):
        """make(1) depends on it: across flushes, and on both mounts."""
        last = 0
        for number in range(12):
            where = (self.here, self.there)[number % 2]
            path = os.path.join(where, "f%d" % number)
            write(path, b"x")
            if number % 3 == 0:
                flush(where)
            found = os.stat(path).st_mtime_ns
            self.assertGreaterEqual(found, last)
            last = found
            time.sleep(0.02)
        for where in (self.here, self.there):
            times = [os.stat(os.path.join(where, "f%d" % number)).st_mtime_ns for number in range(12)]
            self.assertEqual(times, sorted(times))


class Large(Case):
    """Amounts."""

    limit_s = 240 * SLOWER

    def test_ten_thousand_small_files_arrive_whole(self):
        """And the server's disk has them after a flush."""
        server = self.server()
        at, other = self.mount(server), self.mount(server)
        make_tree(at.path, 10000)
        flush(at.path)
        local = scratch("local")
        make_tree(local, 10000)
        expected = digest(local)
        self.assertEqual(digest(server.export), expected)
        self.assertEqual(digest(other.path), expected)

    def test_a_gigabyte_arrives_whole(self):
        """By dd, with the usual limits; memory stays bounded."""
        server = self.server()
        at = self.mount(server)
        source = os.path.join(scratch("local"), "source")
        subprocess.run("openssl enc -aes-128-ctr -pass pass:x -nosalt -pbkdf2 </dev/zero 2>/dev/null | "
                       "dd of=%s bs=1M count=1024 iflag=fullblock status=none" % source, shell=True, check=True)
        subprocess.run(["dd", "if=" + source, "of=" + at.join("f"), "bs=1M", "conv=fsync", "status=none"], check=True)
        try:
            same_pieces(self, source, os.path.join(server.export, "f"))
            same_pieces(self, source, at.join("f"))
            with open("/proc/%d/status" % at.program.pid, encoding="ascii") as file:
                peak = int([line for line in file if line.startswith("VmHWM")][0].split()[1])
            if PACE == 1:  # sanitizers need some of their own
                self.assertLess(peak, 700 << 10, "KiB of memory")
        finally:
            os.unlink(source)
            os.unlink(at.join("f"))

    def test_a_writer_of_more_than_the_limit_is_slowed_and_ends(self):
        """dirty_limit: three times as much passes, and not more than about the limit waits."""
        server = self.server()
        at = self.mount(server, options=("allow_other", "dirty_limit=16M", "flush_age=3600s"))
        stop, peaks = threading.Event(), []

        def watch():
            while not stop.is_set():
                peaks.append(status(at.path)["dirty-bytes"])
                time.sleep(0.01)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            data = os.urandom(MIB)
            for number in range(48):
                write(at.join("f%d" % (number // 8)), data, flags=os.O_APPEND)
        finally:
            stop.set()
            watcher.join()
        self.assertLess(max(peaks), 20 * MIB)
        flush(at.path)
        for number in range(6):
            self.assertTrue(read(os.path.join(server.export, "f%d" % number)) == data * 8)

    def test_what_is_old_enough_is_sent_by_itself(self):
        """flush_age: soon after it, and not while it is not over."""
        server = self.server()
        young = self.mount(server, options=PATIENT)
        os.mkdir(young.join("kept"))
        flush(young.path)
        at = self.mount(server, options=("allow_other", "flush_age=1s"))
        os.mkdir(at.join("d"))
        write(at.join("d/f"), b"x" * 1000)
        path = os.path.join(server.export, "d/f")
        wait_for(lambda: attempt(read, path) == b"x" * 1000, "the file on the disk")
        wait_for(lambda: status(at.path)["dirty-operations"] == 0, "a clean mount")
        wait_for(lambda: self.keeps(young.join("kept"), 3), "a change that is kept for as long")

    @staticmethod
    def keeps(directory, time_s):
        """Whether a file made there is not sent by itself within TIME_S."""
        write(os.path.join(directory, "f"), b"x" * 1000)
        before = transactions(directory)
        time.sleep(time_s)
        return transactions(directory) == before and status(directory)["dirty-bytes"] >= 1000
