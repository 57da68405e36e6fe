"""pohmelctl txn: what a command changes shows at once when it is done, or never."""

import os
import random
import signal
import subprocess
import threading
import time

from calls import read, write
from harness import POHMELCTL, SLOWER, Case, MountCase, mounted, scratch, wait_for

FAILED, UNKNOWN = 125, 124


def begin(where, *command, **options):
    """A transaction under way."""
    return subprocess.Popen([POHMELCTL, "txn", "--", *command], cwd=where, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, **options)


def end(process):
    """(exit code, what it said)."""
    said = process.communicate(timeout=50 * SLOWER)[0]
    return process.returncode, said


def txn(where, *command):
    """The same for one that is not interfered with."""
    return end(begin(where, *command))


def shell(where, script):
    """A transaction of a shell script."""
    return txn(where, "sh", "-ec", script)


def picture(top):
    """Names, kinds, modes and contents below TOP."""
    out = {}
    for place, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(place, name)
            found = os.lstat(path)
            body = os.readlink(path) if os.path.islink(path) else read(path) if os.path.isfile(path) else None
            out[os.path.relpath(path, top)] = (found.st_mode, body)
    return out


class Watch(threading.Thread):
    """Looks again and again, until it is stopped."""

    def __init__(self, look):
        super().__init__(daemon=True)
        self.look, self.seen, self.error, self.over = look, [], None, threading.Event()
        self.start()

    def run(self):
        try:
            last = False
            while not last:
                last = self.over.is_set()  # one look begins after all that went before stop()
                seen = self.look()
                if not self.seen or self.seen[-1] != seen:
                    self.seen.append(seen)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def stop(self):
        """What it saw, in order, each once."""
        self.over.set()
        self.join(30 * SLOWER)
        if self.error is not None:
            raise self.error
        return self.seen


class Transactions(MountCase):
    """Another mount looks on."""

    mounts = 2

    def done(self, script):
        """The script is published."""
        code, said = shell(self.here, script)
        self.assertEqual(code, 0, said)

    def test_many_new_files_show_at_once(self):
        """None of 200, then all of them."""
        os.mkdir(self.here + "/dir")
        watch = Watch(lambda: len(os.listdir(self.there + "/dir")))
        self.done("for i in $(seq 200); do echo $i > dir/f$i; done; sleep 0.3; ls dir | wc -l | grep -q 200")
        self.assertEqual(len(os.listdir(self.there + "/dir")), 200)
        self.assertEqual(watch.stop(), [0, 200])
        self.assertEqual(read(self.there + "/dir/f77"), b"77\n")
        self.assertEqual(read(self.here + "/dir/f177"), b"177\n")

    def test_a_tree_of_thousands_is_published(self):
        """More than fits into one message."""
        watch = Watch(lambda: os.path.exists(self.there + "/tree"))
        self.done("for d in 1 2 3 4 5 6; do mkdir -p tree/d$d; for i in $(seq 200); do : > tree/d$d/f$i; done; done")
        self.assertEqual(sum(len(files) for _, _, files in os.walk(self.there)), 1200)
        self.assertEqual(watch.stop(), [False, True])

    def test_a_tree_is_replaced_by_rename(self):
        """Who opened the directory sees one version of it, whole."""
        for name, version in (("tree", "old"), ("tree.new", "new")):
            os.makedirs(os.path.join(self.here, name, "sub"))
            for at in ("a", "sub/b"):
                write(os.path.join(self.here, name, at), version.encode())

        def look():
            top = os.open(self.there + "/tree", os.O_RDONLY)
            try:
                found = []
                for at in ("a", "sub/b"):
                    file = os.open(at, os.O_RDONLY, dir_fd=top)
                    found.append(os.read(file, 9))
                    os.close(file)
                return found
            except FileNotFoundError:  # the old one was just removed
                return None
            finally:
                os.close(top)
        watch = Watch(look)
        self.done("mv tree tree.old; mv tree.new tree; rm -r tree.old; sleep 0.2")
        self.assertEqual(look(), [b"new", b"new"])
        seen = [found for found in watch.stop() if found is not None]
        self.assertEqual(seen, [[b"old", b"old"], [b"new", b"new"]])
        self.assertEqual(os.listdir(self.there), ["tree"])

    def test_files_are_removed_at_once(self):
        """All of 100, or none."""
        for number in range(100):
            write(self.here + "/f%d" % number, b"x")
        watch = Watch(lambda: len(os.listdir(self.there)))
        self.done("rm f*; sleep 0.2")
        self.assertEqual(os.listdir(self.there), [])
        self.assertEqual(watch.stop(), [100, 0])

    def test_rewritten_contents_are_of_one_version(self):
        """Who reads between two looks at the same version sees nothing but that."""
        names = ["f%d" % number for number in range(10)]
        for name in names:
            write(os.path.join(self.here, name), b"0")

        def look():
            first = read(self.there + "/f0")
            found = {read(os.path.join(self.there, name)) for name in names}
            if first == read(self.there + "/f0") and found != {first}:
                raise AssertionError("between two looks at %r: %r" % (first, found))
            return first
        watch = Watch(look)
        for version in range(1, 6):
            self.done("for f in f*; do echo -n %d > $f; sleep 0.01; done" % version)
        self.assertEqual(look(), b"5")
        self.assertEqual(watch.stop()[-1], b"5")

    def test_all_kinds_of_changes(self):
        """The same as if the command had run without a transaction."""
        before = """mkdir -p t/a/b t/c; echo 1 > t/f1; echo 2 > t/f2; echo 3 > t/a/f3; echo 4 > t/a/b/f4; echo 5 > t/c/f5
            ln -s f1 t/l1; ln t/f2 t/h2; chmod 640 t/f1"""
        change = """cd t; echo more >> f1; rm h2; chmod 600 f2; mv a moved; echo x > moved/x; mv moved/b c/deeper
            mkdir -p n/m; echo q > n/m/q; ln n/m/q n/m/q2; ln -sfn f2 l1; mkfifo fifo; rm -r c/f5; mkdir c/f5
            truncate -s 100000 n/hole; chmod 2770 n; touch -d 2001-02-03 n; echo e > .e"""
        subprocess.run(["sh", "-ec", before], cwd=self.here, check=True)
        local = scratch("local")
        subprocess.run(["sh", "-ec", before + "\n" + change], cwd=local, check=True)
        self.done(change)
        self.assertEqual(picture(self.there), picture(local))
        self.assertEqual(picture(self.here), picture(local))
        self.assertEqual(os.stat(self.there + "/t/n").st_mtime, os.stat(local + "/t/n").st_mtime)
        self.assertEqual(os.stat(self.there + "/t/n/m/q").st_ino, os.stat(self.there + "/t/n/m/q2").st_ino)

    def test_directories_change_places(self):
        """Renamed in a circle, one into another."""
        for name in "abc":
            os.makedirs(os.path.join(self.here, name, "in"))
            write(os.path.join(self.here, name, "in", "f"), name.encode())
        self.done("mv a x; mv b a; mv c b; mv x c; mv a/in b/in2; echo new > c/in/new")
        self.assertEqual(read(self.there + "/b/in2/f"), b"b")
        self.assertEqual(read(self.there + "/b/in/f"), b"c")
        self.assertEqual(read(self.there + "/c/in/f"), b"a")
        self.assertEqual(sorted(os.listdir(self.there)), ["a", "b", "c"])

    def test_a_command_that_fails_changes_nothing(self):
        """By its exit code, by a signal, and when it cannot be started."""
        write(self.here + "/f", b"old")
        before = picture(self.there)
        for script, code in (("echo new > f; mkdir d; exit 3", 3), ("rm f; kill -9 $$", 128 + signal.SIGKILL)):
            self.assertEqual(shell(self.here, script)[0], code)
            self.assertEqual(picture(self.there), before)
        self.assertEqual(txn(self.here, "/nonexistent")[0], 127)
        self.assertEqual(picture(self.here), before)

    def test_nothing_when_pohmelctl_is_killed(self):
        """And the command ends with it."""
        process = begin(self.here, "sh", "-c", "echo x > f; echo ready; exec sleep 50")
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.kill()
        said = process.communicate(timeout=20 * SLOWER)[0]  # the command held the other end
        self.assertEqual(said, "")
        self.assertEqual(os.listdir(self.there), [])

    def test_what_somebody_else_wrote_meanwhile_stays(self):
        """Then nothing is published."""
        write(self.here + "/f", b"old")
        process = begin(self.here, "sh", "-c", "cat f; echo mine >> f; echo x > g; echo; echo ready; read line",
                        stdin=subprocess.PIPE)
        wait_for(lambda: process.stdout.readline() == "ready\n", "the command")
        write(self.there + "/f", b"theirs")
        process.stdin.write("go\n")
        process.stdin.close()
        process.stdin = None
        code, said = end(process)
        self.assertEqual(code, FAILED, said)
        self.assertIn("somebody else", said)
        self.assertEqual(os.listdir(self.there), ["f"])
        self.assertEqual(read(self.here + "/f"), b"theirs")

    def test_what_others_do_meanwhile_shows_and_stays(self):
        """Names made elsewhere by others disturb nobody."""
        os.mkdir(self.here + "/d")
        write(self.here + "/d/f", b"1")
        process = begin(self.here, "sh", "-ec", "for i in $(seq 100); do cat d/f; ls d; echo x > d/g$i; done")
        for number in range(50):
            write(self.there + "/d/other%d" % number, b"x")
        code, said = end(process)
        self.assertEqual(code, 0, said[-500:])
        self.assertEqual(len(os.listdir(self.there + "/d")), 151)

    def test_what_is_unmounted_elsewhere_meanwhile_is_gone(self):
        """Where mounts are shared, as systems have them: it is not kept for the command."""
        shared = scratch("shared")
        subprocess.run(["mount", "--bind", shared, shared], check=True)
        self.addCleanup(subprocess.run, ["umount", "--recursive", "--lazy", shared], check=False)
        subprocess.run(["mount", "--make-shared", shared], check=True)
        other = os.path.join(shared, "other")
        os.mkdir(other)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", other], check=True)
        process = begin(self.here, "sh", "-c", "echo x > f; echo ready; read line; cat /proc/self/mountinfo",
                        stdin=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        subprocess.run(["umount", other], check=True)
        said = process.communicate("go\n", timeout=50 * SLOWER)[0]
        self.assertEqual(process.returncode, 0, said)
        self.assertIn(shared, said)
        self.assertNotIn(other, said)
        self.assertEqual(os.listdir(self.there), ["f"])

    def test_an_ordinary_user_publishes(self):
        """What they may change; all of it is refused for one thing that they may not."""
        bob = ["setpriv", "--reuid", "4002", "--regid", "4002", "--clear-groups"]
        if subprocess.run([*bob, "unshare", "-Um", "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("this system gives ordinary users no namespaces")

        def publish(script):
            done = subprocess.run([*bob, POHMELCTL, "txn", self.here, "--", "sh", "-ec", script], cwd="/", text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=50 * SLOWER, check=False)
            return done.returncode, done.stdout
        os.mkdir(self.here + "/own")
        os.chown(self.here + "/own", 4002, 4002)
        change = "cd %s; mkdir own/d; echo 1 > own/d/f; chmod 600 own/d/f; ln -s f own/d/l" % self.here
        self.assertEqual(publish(change), (0, ""))
        self.assertEqual(read(self.there + "/own/d/f"), b"1\n")
        self.assertEqual(os.stat(self.there + "/own/d/f").st_uid, 4002)
        code, said = publish("cd %s; echo 2 > own/d/f; mv own/d own/e; echo x > own/g; rm -f keep" % self.here)
        self.assertEqual((code, said), (0, ""))
        self.assertEqual(sorted(os.listdir(self.there + "/own")), ["e", "g"])
        code, said = publish("cd %s; echo 3 > own/e/f; echo x > not-theirs" % self.here)
        self.assertNotEqual(code, 0, said)
        self.assertEqual(read(self.there + "/own/e/f"), b"2\n")
        self.assertEqual(os.listdir(self.there), ["own"])

    def test_it_is_refused_elsewhere(self):
        """Where there is no Pohmel mount, and inside of another one."""
        code, said = txn(scratch("local"), "true")
        self.assertEqual((code, "not on a Pohmel mount" in said), (FAILED, True), said)
        code, said = txn(self.here, POHMELCTL, "txn", "--", "true")
        self.assertEqual((code, "not on a Pohmel mount" in said), (FAILED, True), said)


class Trouble(Case):
    """Programs are killed in the middle."""

    limit_s = 180 * SLOWER

    def test_nothing_when_the_mount_is_killed(self):
        """Before the command ends."""
        server = self.server()
        one, other = self.mount(server), self.mount(server)
        write(one.join("f"), b"old")
        process = begin(one.path, "sh", "-c", "echo new > f; echo x > g; echo ready; sleep 1")
        self.assertEqual(process.stdout.readline(), "ready\n")
        one.program.end(signal.SIGKILL)
        self.assertEqual(end(process)[0], FAILED)
        self.assertEqual(read(other.join("f")), b"old")
        self.assertEqual(os.listdir(other.path), ["f"])

    def test_all_or_nothing_when_the_server_is_killed(self):
        """At any moment of the commit; what is said of it is true."""
        server = self.server()
        one = self.mount(server)
        chance = random.Random(17)
        published = 0
        for turn in range(8):
            top = one.join("t%d" % turn)
            os.mkdir(top)
            process = begin(top, "sh", "-ec", "for i in $(seq 60); do echo $i > f$i; done; echo ready")
            self.assertEqual(process.stdout.readline(), "ready\n")
            time.sleep(chance.uniform(0, 0.15))
            server.kill()
            server.start()
            code, said = end(process)
            there = len(os.listdir(os.path.join(server.export, "t%d" % turn)))
            self.assertIn((code, there), ((0, 60), (FAILED, 0), (UNKNOWN, 60), (UNKNOWN, 0)), said)
            self.assertEqual(len(os.listdir(top)), there)
            published += code == 0
        self.assertGreater(published, 0)

    def test_what_became_of_it_is_known_when_the_session_is_lost(self):
        """As when the server's machine lost power: sessions end with it, and the transaction was executed or never
        will be."""
        server = self.server()
        one = self.mount(server)
        chance = random.Random(18)
        for turn in range(5):
            top = one.join("t%d" % turn)
            os.mkdir(top)
            process = begin(top, "sh", "-ec", "for i in $(seq 60); do echo $i > f$i; done; echo ready")
            self.assertEqual(process.stdout.readline(), "ready\n")
            time.sleep(chance.uniform(0, 0.15))
            server.kill()
            os.unlink(os.path.join(server.state, "journal"))  # no session is taken up again without
            server.start()
            code, said = end(process)
            there = len(os.listdir(os.path.join(server.export, "t%d" % turn)))
            self.assertIn((code, there), ((0, 60), (FAILED, 0)), said)

    def test_a_full_disk_changes_nothing(self):
        """What does not fit is said; what it took is free again."""
        export = scratch("export")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", export], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", export], check=True)
        server = self.server(export=export)
        one, other = self.mount(server), self.mount(server)
        write(one.join("f"), b"old")
        code, said = shell(one.path, "echo new > f; head -c 40000000 /dev/zero > big; mkdir d; echo x > d/x")
        self.assertEqual(code, FAILED, said)
        self.assertIn("space", said)
        self.assertEqual(os.listdir(other.path), ["f"])
        self.assertEqual(read(other.join("f")), b"old")
        code, said = shell(one.path, "echo new > f; head -c 10000000 /dev/zero > big")
        self.assertEqual(code, 0, said)
        self.assertEqual((read(other.join("f")), os.stat(other.join("big")).st_size), (b"new\n", 10000000))

    def test_nothing_is_left_behind(self):
        """No mount, no directory, no process."""
        server = self.server()
        one = self.mount(server)
        before = set(os.listdir("/tmp"))
        self.assertEqual(txn(one.path, "touch", "f")[0], 0)
        left = [name for name in set(os.listdir("/tmp")) - before if name.startswith("pohmel-txn")]
        self.assertEqual(left, [])
        self.assertTrue(mounted(one.path))
        self.assertEqual(os.listdir(one.path), ["f"])
