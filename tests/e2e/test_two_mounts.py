"""Two mounts of one export, and the exported directory itself: what one changes,
the others see at once."""

import mmap
import os
import signal
import subprocess
import sys
import threading
import time

import wire
from calls import attempt, read, write
from harness import SLOWER, Case, MountCase, flush, scratch, wait_for
from relay import UP, Relay, message

PIECE = 100
APPENDS = 400
SESSION_CLOSE = 2


def guards(mount):
    """The processes that guard MOUNT."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as line, open("/proc/%s/comm" % pid, "rb") as name:
                if os.fsencode(mount.path) in line.read() and name.read() == b"pohmelfs-guard\n":
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Freshness(MountCase):
    """No kind of change is hidden by a cache."""

    mounts = 2

    def pair(self, name):
        """Paths of NAME in both mounts."""
        return os.path.join(self.here, name), os.path.join(self.there, name)

    def test_new_contents_are_seen(self):
        """Also of a file of the same size, read just before."""
        one, two = self.pair("f")
        for number in range(50):
            text = b"version %08d" % number
            write((one, two)[number % 2], text)
            self.assertEqual(read((two, one)[number % 2]), text)

    def test_new_contents_are_seen_through_an_open_descriptor(self):
        """Without reopening, and without the writer closing."""
        one, two = self.pair("f")
        write(one, b"x" * 10000)
        reader = os.open(two, os.O_RDONLY)
        writer = os.open(one, os.O_WRONLY)
        for number in range(50):
            os.pread(reader, 20, 5000)
            text = b"%020d" % number
            os.pwrite(writer, text, 5000)
            os.fstat(reader)
            self.assertEqual(os.pread(reader, 20, 5000), text)
        os.close(reader)
        os.close(writer)

    def test_attributes_are_seen(self):
        """Size, mode, owner, times, link count."""
        one, two = self.pair("f")
        write(one, b"x")
        os.stat(two)
        for action in (lambda: os.truncate(one, 100), lambda: os.chmod(one, 0o600), lambda: os.chown(one, 12, 34),
                       lambda: os.utime(one, (1, 2)), lambda: os.link(one, one + "2"), lambda: os.unlink(one + "2")):
            action()
            mine, other = os.stat(one), os.stat(two)
            for field in ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_ctime_ns"):
                self.assertEqual(getattr(mine, field), getattr(other, field), field)
            self.assertEqual(mine.st_mtime_ns, other.st_mtime_ns)

    def test_names_come_and_go(self):
        """Entries looked up before, missing ones as well, and listings."""
        one, two = self.pair("f")
        for number in range(30):
            self.assertFalse(os.path.exists(two))
            write(one, b"%d" % number)
            self.assertTrue(os.path.exists(two))
            self.assertEqual(os.listdir(self.there), ["f"])
            os.rename(two, two + "2")
            self.assertEqual(attempt(os.stat, one), "ENOENT")
            self.assertEqual(read(one + "2"), b"%d" % number)
            os.unlink(one + "2")
            self.assertEqual(os.listdir(self.there), [])

    def test_a_name_that_stands_for_something_else_now_is_seen(self):
        """A file becomes a directory, a link, another file."""
        one, two = self.pair("x")
        write(one, b"file")
        self.assertEqual(read(two), b"file")
        os.unlink(one)
        os.mkdir(one)
        self.assertEqual(os.listdir(two), [])
        os.rmdir(one)
        os.symlink("f", one)
        self.assertEqual(os.readlink(two), "f")
        os.unlink(one)
        os.symlink("g", one)
        self.assertEqual(os.readlink(two), "g")
        write(one + "new", b"replaced")
        os.rename(one + "new", one)
        self.assertEqual(read(two), b"replaced")

    def test_a_time_of_change_is_the_same_for_all(self):
        """Also of a file that is held open and was written back, from when another mount has looked at it."""
        one, two = self.pair("f")
        descriptor = os.open(one, os.O_CREAT | os.O_RDWR)
        for action in (lambda: os.write(descriptor, b"1"), lambda: os.fchmod(descriptor, 0o600),
                       lambda: os.utime(one, (1, 2)), lambda: os.setxattr(one, "user.x", b"1")):
            os.write(descriptor, b"0")
            os.fsync(descriptor)
            action()
            os.stat(one)
            os.fsync(descriptor)
            other = os.stat(two)
            self.assertEqual(os.stat(one).st_ctime_ns, other.st_ctime_ns)
        os.close(descriptor)

    def test_the_end_of_a_file_is_where_others_put_it(self):
        """Without a stat in between: by all calls that go by the size, on files that are opened then, and by those
        that ask for it on files that were open before."""
        old, sizes = 5000, {"longer": 20000, "shorter": 100}

        def sent(file):
            with open(os.path.join(self.local, "copy"), "wb") as out:
                os.lseek(file, 0, os.SEEK_SET)
                return sum(iter(lambda: os.sendfile(out.fileno(), file, None, 1 << 20), 0))

        def copied(file):
            with open(self.there + "/copy", "wb") as out:
                os.lseek(file, 0, os.SEEK_SET)
                return sum(iter(lambda: os.copy_file_range(file, out.fileno(), 1 << 20), 0))

        ends = {"seek": lambda file: os.lseek(file, 0, os.SEEK_END), "read": lambda file: len(os.pread(file, 30000, 0)),
                "hole": lambda file: os.lseek(file, 0, os.SEEK_HOLE), "sendfile": sent, "copy": copied}
        self.local = scratch("local")
        for change, size in sizes.items():
            for way, end in ends.items():
                for before in (True, False):
                    if before and change == "longer" and way in ("sendfile", "copy"):
                        continue  # the kernel goes by the size that it knows: pohmelfs(8)
                    one, two = self.pair("-".join((change, way, str(before))))
                    write(one, b"x" * old)
                    self.assertEqual(len(read(two)), old)
                    file = os.open(two, os.O_RDONLY) if before else None
                    if size > old:
                        write(one, b"x" * (size - old), flags=os.O_APPEND)
                    else:
                        os.truncate(one, size)
                    if file is None:
                        file = os.open(two, os.O_RDONLY)
                    self.assertEqual(end(file), size, (change, way, before))
                    os.close(file)

    def test_a_file_that_is_closed_keeps_its_times(self):
        """Once another mount has looked at it: written here, replaced, and written back or not by then."""
        one, two = self.pair("f")
        for replaced in (False, True):
            for flushed in (False, True):
                write(one + ("new" if replaced else ""), b"1")
                if replaced:
                    os.rename(one + "new", one)
                os.stat(one)
                if flushed:
                    flush(one)
                seen = [os.stat(path) for path in (two, one, two)]
                flush(one)
                time.sleep(0.1)
                seen += [os.stat(path) for path in (one, two)]
                times = [(state.st_mtime_ns, state.st_ctime_ns) for state in seen]
                self.assertEqual(times, times[:1] * len(times), (replaced, flushed))

    def test_a_removed_directory_tells_so_wherever_it_is_held(self):
        """Without links, and by no error: open or only held; known to the server or not; shared or not."""
        os.mkdir(self.here + "/shared")
        os.mkdir(self.here + "/own")
        os.listdir(self.there + "/shared")
        cases = [(parent, how, asked, synced) for parent in ("shared", "own") for how in (os.O_RDONLY, os.O_PATH)
                 for asked in (False, True) for synced in (False, True)]
        for case in cases:
            parent, how, asked, synced = case
            path = os.path.join(self.here, parent, "d")
            os.mkdir(path)
            if synced:
                flush(self.here)
            descriptor = os.open(path, how)
            if asked:
                os.fstat(descriptor)
            os.rmdir(path)
            self.assertEqual([os.fstat(descriptor).st_nlink for _ in range(2)], [0, 0], case)
            os.close(descriptor)

    def test_moved_directories_are_seen(self):
        """From inside and outside."""
        one, two = self.pair("d")
        os.makedirs(one + "/sub")
        write(one + "/sub/f", b"x")
        self.assertEqual(read(two + "/sub/f"), b"x")
        descriptor = os.open(two + "/sub", os.O_RDONLY)
        os.rename(one, one + "2")
        self.assertEqual(attempt(os.stat, two + "/sub/f"), "ENOENT")
        self.assertEqual(read(two + "2/sub/f"), b"x")
        self.assertEqual(os.listdir(descriptor), ["f"])
        os.close(descriptor)

    def test_extended_attributes_are_seen(self):
        """Set, changed, removed."""
        one, two = self.pair("f")
        write(one, b"x")
        for value in (b"1", b"22"):
            os.setxattr(one, "user.a", value)
            self.assertEqual(os.getxattr(two, "user.a"), value)
        os.removexattr(two, "user.a")
        self.assertEqual(os.listxattr(one), [])

    def test_what_is_done_in_the_exported_directory_is_seen(self):
        """By programs on the server; it is heard of a moment later."""
        one, below = os.path.join(self.here, "f"), os.path.join(self.below, "f")

        def soon(what, function, *args):
            wait_for(lambda: attempt(function, *args) == what, "%r" % (what,))

        write(below, b"first")
        soon(b"first", read, one)
        write(below, b"2nd, longer")
        soon(b"2nd, longer", read, one)
        os.rename(below, below + "2")
        wait_for(lambda: attempt(os.stat, one) == "ENOENT", "the old name is gone")
        soon(b"2nd, longer", read, one + "2")
        os.unlink(below + "2")
        os.mkdir(below)
        soon(["f"], os.listdir, self.here)
        soon([], os.listdir, one)
        write(one + "/g", b"up")
        flush(one + "/g")
        self.assertEqual(read(below + "/g"), b"up")

    def test_inode_numbers_agree(self):
        """Both mounts show the same ones."""
        one, two = self.pair("f")
        write(one)
        os.mkdir(one + "d")
        for name in ("", "d"):
            self.assertEqual(os.stat(one + name).st_ino, os.stat(two + name).st_ino)

    def test_a_mapping_shows_the_others_writes_once_asked_for(self):
        """After fstat on the descriptor."""
        one, two = self.pair("f")
        write(one, b"a" * 8192)
        descriptor = os.open(two, os.O_RDONLY)
        mapping = mmap.mmap(descriptor, 8192, prot=mmap.PROT_READ)
        self.assertEqual(mapping[4096:4100], b"aaaa")
        with open(one, "r+b") as file:
            file.seek(4096)
            file.write(b"news")
        os.fstat(descriptor)
        self.assertEqual(os.pread(descriptor, 4, 4096), b"news")
        self.assertEqual(mapping[4096:4100], b"news")
        mapping.close()
        os.close(descriptor)


class TwoWriters(MountCase):
    """Both mounts at work in one place."""

    mounts = 2

    def test_appends_of_two_mounts_lose_nothing(self):
        """O_APPEND decides at the server."""
        code = ("import os,sys\nd=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\n"
                "for n in range(%d): os.write(d,(sys.argv[2]*%d).encode())\n" % (APPENDS, PIECE))
        writers = [subprocess.Popen([sys.executable, "-c", code, where + "/log", letter])
                   for where, letter in ((self.here, "a"), (self.there, "b"), (self.here, "c"), (self.there, "d"))]
        for writer in writers:
            self.assertEqual(writer.wait(), 0)
        flush(self.here, self.there)
        data = read(os.path.join(self.below, "log"))
        pieces = [data[at:at + PIECE] for at in range(0, len(data), PIECE)]
        self.assertEqual(len(pieces), 4 * APPENDS)
        self.assertTrue(all(len(set(piece)) == 1 for piece in pieces))
        self.assertEqual({letter: pieces.count(letter * PIECE) for letter in (b"a", b"b", b"c", b"d")},
                         {letter: APPENDS for letter in (b"a", b"b", b"c", b"d")})
        self.assertEqual(read(os.path.join(self.here, "log")), data)
        self.assertEqual(read(os.path.join(self.there, "log")), data)

    def test_of_many_who_create_one_name_exactly_one_wins(self):
        """O_EXCL and mkdir."""
        for number in range(40):
            answers = []
            threads = [threading.Thread(target=lambda w=where, n=number: answers.append(
                attempt(write, "%s/x%d" % (w, n), b"x", 0o600, os.O_EXCL) == 1))
                       for where in (self.here, self.there, self.here, self.there)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(answers), [False, False, False, True])

    def test_a_file_removed_by_the_other_stays_readable_while_open(self):
        """Open in one mount, removed through the other or on the server."""
        for remove in (lambda: os.unlink(self.there + "/f"),
                       lambda: (flush(self.here + "/f"), os.unlink(self.below + "/f"))):
            write(self.here + "/f", b"still here")
            descriptor = os.open(self.here + "/f", os.O_RDWR)
            remove()
            self.assertEqual(os.pread(descriptor, 99, 0), b"still here")
            os.pwrite(descriptor, b"more", 10)
            self.assertEqual(os.fstat(descriptor).st_size, 14)
            wait_for(lambda: os.fstat(descriptor).st_nlink == 0, "a file without names")
            # What is done on the server itself is heard of a moment later.
            wait_for(lambda: attempt(os.stat, self.here + "/f") == "ENOENT", "the removal")
            os.close(descriptor)

    def test_a_file_replaced_by_the_other_keeps_its_data_while_open(self):
        """rename over it, as editors do."""
        write(self.here + "/f", b"old")
        descriptor = os.open(self.here + "/f", os.O_RDONLY)
        write(self.there + "/new", b"new")
        os.rename(self.there + "/new", self.there + "/f")
        self.assertEqual(os.pread(descriptor, 9, 0), b"old")
        self.assertEqual(read(self.here + "/f"), b"new")
        os.close(descriptor)

    def test_two_mounts_that_hammer_one_directory_end_in_the_same_state(self):
        """Creating, renaming, removing in a crowd."""
        code = ("import os,sys,random\nr=random.Random(int(sys.argv[2]))\nos.chdir(sys.argv[1])\n"
                "for n in range(400):\n"
                "  a,b='n%d'%r.randrange(20),'n%d'%r.randrange(20)\n"
                "  try:\n"
                "    r.choice([lambda:open(a,'w').write('x'*r.randrange(5000)),lambda:os.rename(a,b),"
                "lambda:os.unlink(a),lambda:os.link(a,b),lambda:os.listdir('.'),lambda:os.stat(a)])()\n"
                "  except (FileNotFoundError,FileExistsError): pass\n")
        workers = [subprocess.Popen([sys.executable, "-c", code, where, str(seed)])
                   for seed, where in enumerate((self.here, self.there, self.here, self.there))]
        for worker in workers:
            self.assertEqual(worker.wait(), 0)
        states = []
        flush(self.here, self.there)
        for where in (self.here, self.there, self.below):
            states.append({name: read(os.path.join(where, name)) for name in os.listdir(where)})
        self.assertEqual(states[0], states[2])
        self.assertEqual(states[1], states[2])


class Leaving(Case):
    """One of two mounts goes away."""

    def test_a_mount_ends_in_order_while_another_changes_what_it_keeps(self):
        """Leases are asked back from a mount that is just being taken away."""
        server = self.server()
        writer = self.mount(server)
        paths = [writer.join("f%d" % i) for i in range(20)]
        for path in paths:
            write(path, b"0" * 100000)
        stop = threading.Event()

        def change():
            while not stop.is_set():
                for path in paths:
                    write(path, b"x")

        changing = threading.Thread(target=change, daemon=True)
        changing.start()
        try:
            for _ in range(5):
                reader = self.mount(server)
                for path in paths * 2:
                    read(reader.join(os.path.basename(path)))
                self.assertEqual(reader.unmount(), 0, reader.log)
        finally:
            stop.set()
            changing.join()

    def test_nobody_waits_for_a_mount_that_was_killed(self):
        """Its guard tells the server, which need not wait until the leases have ended."""
        server = self.server()
        writer = self.mount(server)
        killed = self.mount(server, options=("allow_other", "flush_age=3600s"))
        write(killed.join("f"), b"old")
        flush(killed.path)
        self.assertEqual(read(writer.join("f")), b"old")
        write(killed.join("mine"), b"never sent")
        killed.program.end(signal.SIGKILL)
        began = time.monotonic()
        write(writer.join("f"), b"new")
        write(writer.join("other"), b"new")
        self.assertEqual(read(writer.join("mine")), b"")
        self.assertLess(time.monotonic() - began, 3 * SLOWER)
        self.assertEqual(read(writer.join("f")), b"new")
        self.assertRaises(OSError, os.stat, killed.join("f"))

    def test_nobody_waits_for_a_mount_whose_end_was_not_heard(self):
        """Its connection broke while it ended: its guard tells the server, long before its leases have ended."""
        server = self.server(options=["--lease-time", "300"])
        relay = Relay(server)
        self.addCleanup(relay.end)
        writer, ending = self.mount(server), self.mount(relay)
        write(ending.join("f"), b"old")
        flush(ending.path)  # the kernel has closed it by then
        hold = relay.hold(UP, message(wire.REQUEST, SESSION_CLOSE))
        ending.program.send(signal.SIGTERM)
        wait_for(hold.caught.is_set, "the end of the session")
        relay.reset()
        relay.release()
        self.assertEqual(ending.program.end(0), 0)
        write(writer.join("f"), b"new")
        self.assertEqual(read(writer.join("f")), b"new")

    def test_a_mount_that_stands_still_is_not_dead(self):
        """A daemon that is stopped holds what it holds: its guard says nothing."""
        server = self.server()
        writer, stopped = self.mount(server), self.mount(server)
        write(stopped.join("f"), b"never sent")
        stopped.program.send(signal.SIGSTOP)
        looker = threading.Thread(target=lambda: read(writer.join("f")), daemon=True)
        looker.start()
        looker.join(4)
        self.assertTrue(looker.is_alive())
        stopped.program.send(signal.SIGCONT)
        looker.join(10 * SLOWER)
        self.assertFalse(looker.is_alive())
        self.assertEqual(read(writer.join("f")), b"never sent")

    def test_no_guard_is_left_behind(self):
        """Not by a mount that ends in order, nor by one that is killed when the server is away."""
        server = self.server()
        mount, killed = self.mount(server), self.mount(server)
        self.assertEqual((len(guards(mount)), len(guards(killed))), (1, 1))
        mount.unmount()
        self.assertEqual(guards(mount), [])
        server.kill()
        killed.program.end(signal.SIGKILL)
        wait_for(lambda: not guards(killed), "the end of the guard", 40 * SLOWER)

    def test_a_mount_that_was_killed_with_its_guard_holds_for_the_time_of_a_lease(self):
        """It might come back, and uses its leases until then: they end when their time is over."""
        server = self.server(options=["--lease-time", "4"])
        writer = self.mount(server)
        write(writer.join("f"), b"old")
        reader = self.mount(server)
        self.assertEqual(read(reader.join("f")), b"old")
        os.kill(guards(reader)[0], signal.SIGKILL)
        reader.program.send(signal.SIGKILL)
        began = time.monotonic()
        write(writer.join("f"), b"new")
        self.assertLess(time.monotonic() - began, 10 * SLOWER)
        self.assertEqual(read(writer.join("f")), b"new")
