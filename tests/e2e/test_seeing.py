"""What people and programs can see of mounts and servers: status, leases, states of files, a live view."""

import json
import os
import stat
import subprocess
import time

from calls import read, write
from harness import POHMELCTL, SLOWER, Case, MountCase, scratch, wait_for

BOB = 4002


def ctl(*words, user=None):
    """Runs pohmelctl; (exit code, output, errors)."""
    command = [POHMELCTL, *words]
    if user is not None:
        command = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"] + command
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60 * SLOWER, check=False)
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "replace")


def lines_of(*words):
    """What a command that prints one JSON object in each line says."""
    code, out, errors = ctl(*words)
    assert code == 0, errors
    return [json.loads(line) for line in out.splitlines()]


def state_of(path):
    """"clean", "dirty" or "stable"."""
    return lines_of("state", "--json", path)[0]["state"]


class Seeing(MountCase):
    """Two mounts of one export."""

    mounts = 2

    def refused(self, *words, says="", user=None):
        """The command fails with one line that contains SAYS."""
        code, out, errors = ctl(*words, user=user)
        self.assertGreater(code, 0, out)
        self.assertEqual(len(errors.strip().splitlines()), 1, errors)
        self.assertIn(says, errors)

    def tree(self):
        """Files and directories, known to the first mount; their paths in it."""
        os.makedirs(self.here + "/a/b")
        for number in range(5):
            write(self.here + "/a/b/f%d" % number, b"x" * number)
        subprocess.run(["ls", "-lR", self.here], check=True, stdout=subprocess.DEVNULL)
        return ["/" + self.name + tail for tail in ("", "/a", "/a/b", *("/a/b/f%d" % number for number in range(5)))]

    def leases(self, path):
        """Leases by path."""
        found = lines_of("leases", "--json", path)
        objects = [lease["object"] for lease in found]
        self.assertEqual(len(set(objects)), len(objects))
        return {lease["path"]: lease for lease in found if "path" in lease}

    def test_status_for_programs(self):
        """Numbers are numbers, one mount is an object, several are a list."""
        self.tree()
        code, out, errors = ctl("status", "--json", self.here)
        self.assertEqual(code, 0, errors)
        status = json.loads(out)
        self.assertEqual(status["session"], "open")
        self.assertEqual(status["server"], "127.0.0.1:%d" % self.shared.port)
        self.assertEqual(status["caching"], "under leases")
        for key in ("dirty-bytes", "dirty-operations", "oldest-dirty-ms", "cache-hits", "round-trips-saved", "recalls",
                    "leases-directories-shared", "leases-files-exclusive", "requests"):
            self.assertIsInstance(status[key], int, key)
        self.assertGreater(status["requests"], 0)
        code, out, errors = ctl("status", "--json", self.here, scratch("other"))
        self.assertEqual(code, 1)
        self.assertIn("not on a Pohmel mount", errors)
        good, bad = json.loads(out)
        self.assertEqual(good["session"], "open")
        self.assertIn("not on a Pohmel mount", bad["error"])
        code, out, errors = ctl("status", "--json")
        self.assertLessEqual({mount.path for mount in self.mounted}, {one["mount"] for one in json.loads(out)})

    def test_leases_are_listed_with_their_paths(self):
        """All of a mount, those below a directory, that of one file; and no others."""
        paths = self.tree()

        def held():
            """All of a mount; on a busy machine one may just have been given back."""
            subprocess.run(["ls", "-lR", self.here], check=True, stdout=subprocess.DEVNULL)
            found = self.leases(self.mounted[0].path)
            return found if all(found.get(path, {}).get("state") == "held" for path in paths) else None

        all_of_them = wait_for(held, "leases on all that was looked at")
        self.assertIn("/", all_of_them)
        self.assertEqual(all_of_them[paths[1]]["kind"], "directory")
        self.assertEqual(all_of_them[paths[3]]["kind"], "file")
        self.assertEqual(set(self.leases(self.here + "/a")), set(paths[1:]))
        self.assertEqual(set(self.leases(self.here + "/a/b/f3")), {paths[6]})
        one = self.leases(self.here + "/a/b/f3")[paths[6]]
        self.assertEqual(one["object"], os.stat(self.here + "/a/b/f3").st_ino)
        code, out, _ = ctl("leases", self.here)
        self.assertEqual(code, 0)
        self.assertRegex(out, r"\d+ +(shared|exclusive) +file +held +\d+s %s" % paths[6])

    def test_the_list_follows_what_others_do(self):
        """A lease that was recalled is not held any more."""
        paths = self.tree()
        before = self.leases(self.here)[paths[3]]["lease"]
        write(self.there + "/a/b/f0", b"changed")
        after = self.leases(self.here).get(paths[3])
        self.assertTrue(after is None or after["lease"] > before, after)

    def test_thousands_of_leases_are_listed(self):
        """Page by page, with long names."""
        names = {"f%04d%s" % (number, "x" * (number % 200)) for number in range(2000)}
        for name in names:
            write(os.path.join(self.there, name), b"")
        subprocess.run(["ls", "-l", self.here], check=True, stdout=subprocess.DEVNULL)
        found = {os.path.basename(path) for path in self.leases(self.here)} - {self.name}
        self.assertLessEqual(found, names)
        self.assertGreater(len(found), 1900)  # now and then one comes without: changes of others shared its hash
        status = json.loads(ctl("status", "--json", self.here)[1])
        held = sum(value for key, value in status.items() if key.startswith("leases-") and
                   (key.endswith("-shared") or key.endswith("-exclusive")))
        self.assertEqual(len(lines_of("leases", "--json", self.mounted[0].path)), held)

    def test_names_of_any_bytes_are_listed(self):
        """JSON brings them back; on a terminal they do nothing."""
        name = b"a\n\x1b[2J\"\\\xff\xc3\xa4"
        os.mkdir(os.fsencode(self.here) + b"/" + name)
        subprocess.run(["ls", "-l", self.here], check=True, stdout=subprocess.DEVNULL)
        names = {os.fsencode(os.path.basename(path)) for path in self.leases(self.here)}
        self.assertIn(name, names)
        code, out, _ = ctl("leases", self.here)
        self.assertEqual(code, 0)
        self.assertNotIn("\x1b", out)
        self.assertIn("a\\n\\033[2J\"\\\\\\377ä", out)

    def test_who_may_list_leases(self):
        """Paths are not for everybody."""
        self.tree()
        os.chmod(self.mounted[0].path, 0o755)
        self.refused("leases", self.here, says="only root and the owner of the mount", user=BOB)
        self.refused("leases", scratch("other"), says="not on a Pohmel mount")
        self.refused("leases", self.here + "/missing", says="missing")

    def becomes_stable(self, path, sync):
        """SYNC makes PATH stable; again where there was no lease on it meanwhile."""
        def tried():
            os.stat(path)
            sync(path)
            return state_of(path) == "stable"
        wait_for(tried, path + " to be stable", step_s=0.3)

    def flush(self, path):
        """pohmelctl flush."""
        self.assertEqual(ctl("flush", path), (0, "", ""))

    def fsync(self, path):
        """fsync of a descriptor that reads."""
        with open(path, "rb") as file:
            file.read()
            os.fsync(file.fileno())

    def test_a_file_is_stable_until_it_is_changed(self):
        """Here or elsewhere."""
        self.tree()
        file, other, directory = self.here + "/a/b/f1", self.here + "/a/b/f2", self.here + "/a"
        self.assertNotEqual(state_of(file), "stable")
        for path in (directory, file, other):
            self.becomes_stable(path, self.flush)
        write(file, b"new")
        self.assertIn(state_of(file), ("clean", "dirty"))
        write(self.there + "/a/b/f2", b"theirs")
        self.assertEqual(state_of(other), "clean")

    def test_a_file_is_stable_after_fsync(self):
        """But not for data alone, and not the others."""
        self.tree()
        file, other = self.here + "/a/b/f1", self.here + "/a/b/f2"
        with open(file, "rb") as again:
            os.fdatasync(again.fileno())
        self.assertNotEqual(state_of(file), "stable")
        self.becomes_stable(file, self.fsync)
        self.assertNotEqual(state_of(other), "stable")
        os.chmod(file, 0o600)
        self.assertNotEqual(state_of(file), "stable")

    def test_flush_leaves_nothing_dirty(self):
        """Whatever was written just before."""
        for number in range(50):
            write(self.here + "/f%d" % number, b"x" * 5000)
        self.assertEqual(ctl("flush", "-v", self.here), (0, self.here + ": flushed\n", ""))
        self.assertNotIn("dirty", {state_of(self.here + "/f%d" % number) for number in range(50)})
        self.assertEqual(json.loads(ctl("status", "--json", self.here)[1])["dirty-bytes"], 0)
        self.assertEqual(len(os.listdir(self.below)), 50)

    def test_the_state_of_what_cannot_be_opened(self):
        """Links that lead nowhere, fifos, files of others; several at once."""
        os.symlink("nowhere", self.here + "/link")
        os.mkfifo(self.here + "/fifo")
        write(self.here + "/secret", b"x")
        os.chmod(self.here + "/secret", 0)
        paths = [self.here + "/" + name for name in ("link", "fifo", "secret")]
        code, out, errors = ctl("state", "-v", *paths, user=BOB)
        self.assertEqual((code, errors), (0, ""))
        for line, path in zip(out.splitlines(), paths):
            self.assertRegex(line, r"^(clean|dirty|stable) +lease: .*%s$" % path)
        code, out, errors = ctl("state", self.here, self.here + "/missing", "/proc")
        self.assertEqual((code, len(out.splitlines()), len(errors.splitlines())), (1, 1, 2), errors)

    def test_a_live_view(self):
        """As often as asked for, without escape codes into a pipe."""
        code, out, errors = ctl("top", "-n", "3", "-d", "0.1", self.here)
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(out.count("session open"), 3)
        self.assertEqual(out.count("requests/s"), 2)
        self.assertNotIn("\033", out)
        code, out, errors = ctl("top", "-n", "1")
        for mount in self.mounted:
            self.assertIn(mount.path + ": session open", out)
        for words in (("-n", "0"), ("-d", "nan"), ("-d", "-1"), ("-d", "1x"), ("-q",)):
            self.assertEqual(ctl("top", *words)[0], 2, words)


class SeeingServers(Case):
    """Through the socket in the state directory."""

    def leases(self, server):
        """Sessions, and leases by path."""
        found = lines_of("leases", "--json", "--server", server.state)
        return ([one for one in found if "session" in one],
                {one["path"]: one for one in found if "object" in one and "path" in one})

    def test_sessions_and_leases(self):
        """Who holds what, on which path."""
        server = self.server()
        one, two = self.mount(server), self.mount(server)
        os.mkdir(one.join("d"))
        write(one.join("d", "f"), b"x")

        def told():
            """Sessions and leases; on a busy machine one may just have been given back."""
            subprocess.run(["ls", "-lR", one.path], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["ls", "-l", two.path], check=True, stdout=subprocess.DEVNULL)
            found = self.leases(server)
            return found if "/d/f" in found[1] else None

        sessions, leases = wait_for(told, "a lease on the file")
        self.assertEqual(len(sessions), 2)
        self.assertTrue(all(session["connected"] and session["caches"] for session in sessions), sessions)
        self.assertEqual(leases["/d/f"]["object"], os.stat(one.join("d", "f")).st_ino)
        self.assertIn(leases["/d/f"]["holder"], {session["session"] for session in sessions})
        self.assertEqual(stat.S_IMODE(os.stat(server.state + "/control").st_mode), 0o600)
        code, out, errors = ctl("leases", "--server", server.state + "/control")
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(sum(line.startswith("session ") for line in out.splitlines()), 2)
        self.assertIn(" /d/f\n", out)

    def test_who_went_away_is_named(self):
        """With the number of leases left behind."""
        server = self.server()
        mount = self.mount(server)
        os.listdir(mount.path)
        self.assertEqual(len(self.leases(server)[0]), 1)
        mount.program.end(9)
        sessions = wait_for(lambda: [one for one in self.leases(server)[0] if not one["connected"]]
                            or not self.leases(server)[0], "the end of the session")
        if sessions is not True:
            self.assertGreater(sessions[0]["leases"], 0)

    def test_flushing_by_hand(self):
        """All that clients had not written back is in the exported directory."""
        server = self.server()
        mount = self.mount(server)
        for number in range(100):
            write(mount.join("f%d" % number), b"%d" % number)
        code, out, errors = ctl("flush", "-v", "--server", server.state)
        self.assertEqual((code, errors), (0, ""))
        self.assertIn("flushed", out)
        for number in range(100):
            self.assertEqual(read(os.path.join(server.export, "f%d" % number)), b"%d" % number)
        write(mount.join("after"), b"goes on")
        self.assertEqual(read(mount.join("after")), b"goes on")

    def test_only_for_those_who_look_after_it(self):
        """Others are refused; where no server runs that is said."""
        server = self.server()
        code, _, errors = ctl("leases", "--server", server.state, user=BOB)
        self.assertEqual(code, 1)
        self.assertIn("Permission denied", errors)
        os.chmod(server.state, 0o755)
        os.chmod(server.state + "/control", 0o666)
        os.chmod(os.path.dirname(server.state), 0o755)
        code, out, errors = ctl("leases", "--server", server.state, user=BOB)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("only root and the user that the server runs as", errors)
        server.stop()
        self.assertNotIn("control", os.listdir(server.state))
        code, _, errors = ctl("flush", "--server", server.state)
        self.assertEqual(code, 1)
        self.assertIn("no server answers there", errors)
        self.assertEqual(len(errors.splitlines()), 1)

    def test_a_socket_that_was_left_behind(self):
        """By a server that was killed; the next one is heard."""
        server = self.server()
        server.kill()
        self.assertIn("control", os.listdir(server.state))
        server.start()
        self.assertEqual(ctl("leases", "--server", server.state)[0], 0)

    def test_status_without_a_server(self):
        """Says what is the matter."""
        server = self.server()
        mount = self.mount(server)
        os.listdir(mount.path)
        server.kill()
        wait_for(lambda: json.loads(ctl("status", "--json", mount.path)[1])["session"] == "lost", "the loss")
        began = time.monotonic()
        code, out, errors = ctl("status", "--json", mount.path)
        self.assertLess(time.monotonic() - began, 2 * SLOWER)
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(json.loads(out)["caching"], "under leases")  # as long as they last
        self.assertIn("trouble", json.loads(out))
        self.assertIn("session lost", ctl("top", "-n", "1", mount.path)[1])
        server.start()
        wait_for(lambda: json.loads(ctl("status", "--json", mount.path)[1]).get("session") == "open", "a new session")

    def test_caching_that_is_off(self):
        """Is called so."""
        server = self.server()
        mount = self.mount(server, options=("allow_other", "nocache"))
        os.listdir(mount.path)
        status = json.loads(ctl("status", "--json", mount.path)[1])
        self.assertEqual(status["caching"], "off")
        self.assertIs(status["names-in-kernel"], False)
        self.assertEqual(lines_of("leases", "--json", mount.path), [])


class SeeingWriteBack(Case):
    """A mount that writes back, but not by itself for as long as the test lasts."""

    def start(self):
        """Server and mount."""
        server = self.server()
        return server, self.mount(server, options=("allow_other", "writeback", "flush_age=300s"))

    def fill(self, mount, depth=6):
        """Directories in each other with files in them; the number of files."""
        path = mount.path
        for level in range(depth):
            path = os.path.join(path, "d%d" % level)
            os.mkdir(path)
            for number in range(3):
                write(os.path.join(path, "f%d" % number), b"%d" % level)
        return 3 * depth

    def files(self, path):
        """Contents of all files below PATH, by name."""
        return {os.path.join(where, name): read(os.path.join(where, name)) for where, _, names in os.walk(path)
                for name in names}

    def status(self, mount):
        """As JSON says it."""
        return json.loads(ctl("status", "--json", mount.path)[1])

    def test_what_is_dirty_is_told_until_it_is_flushed(self):
        """By status, by state, in the list of leases; then it is stable."""
        server, mount = self.start()
        write(mount.join("first"), b"x")
        self.assertEqual(ctl("flush", mount.path)[0], 0)
        self.fill(mount, 1)
        file = mount.join("d0", "f1")
        status = self.status(mount)
        self.assertEqual(status["write-back"], "on")
        self.assertEqual(status["dirty-bytes"], 3)
        self.assertGreaterEqual(status["dirty-operations"], 4)
        self.assertGreater(status["round-trips-saved"], 0)
        self.assertEqual(state_of(file), "dirty")
        dirty = {lease["path"] for lease in lines_of("leases", "--json", mount.path) if lease["dirty"]}
        self.assertLessEqual({"/d0", "/d0/f0", "/d0/f1", "/d0/f2"}, dirty)
        self.assertNotIn("/first", dirty)
        self.assertIn("3 B, ", ctl("top", "-n", "1", mount.path)[1])
        self.assertGreater(wait_for(lambda: self.status(mount)["oldest-dirty-ms"], "time to pass"), 0)
        self.assertEqual(ctl("flush", mount.join("d0"))[0], 0)
        self.assertEqual(self.files(os.path.join(server.export, "d0")),
                         {os.path.join(server.export, "d0", "f%d" % number): b"0" for number in range(3)})
        self.assertEqual(ctl("flush", mount.path)[0], 0)
        status = self.status(mount)
        self.assertEqual([status[key] for key in ("dirty-bytes", "dirty-operations", "oldest-dirty-ms")], [0, 0, 0])
        self.assertNotEqual(state_of(file), "dirty")

    def test_flushing_from_the_server(self):
        """Trees as well that it does not know yet."""
        server, mount = self.start()
        count = self.fill(mount)
        self.assertLess(len(self.files(server.export)), count)
        code, out, errors = ctl("flush", "-v", "--server", server.state)
        self.assertEqual((code, errors), (0, ""))
        self.assertRegex(out, r"clients were asked for \d+ leases")
        found = self.files(server.export)
        self.assertEqual(len(found), count)
        for path, data in found.items():
            self.assertEqual(data, os.path.basename(os.path.dirname(path))[1:].encode(), path)
        self.assertEqual(self.status(mount)["dirty-operations"], 0)

    def test_flushing_from_the_server_while_somebody_works(self):
        """It comes to an end, and what was there before is on the disk."""
        server, mount = self.start()
        count = self.fill(mount)
        script = ("import os,sys,time\nn=0\nuntil=time.monotonic()+20\nos.mkdir(sys.argv[1])\n"
                  "while time.monotonic()<until:\n open(sys.argv[1]+'/w%d'%(n%50),'w').write('x'*100);n+=1\n")
        work = subprocess.Popen(["python3", "-c", script, mount.join("busy")])
        try:
            wait_for(lambda: os.path.exists(mount.join("busy", "w9")), "work")
            code, _, errors = ctl("flush", "--server", server.state)
            self.assertEqual((code, errors), (0, ""))
            self.assertIsNone(work.poll())
            found = {path for path in self.files(server.export) if "/d0" in path}
            self.assertEqual(len(found), count)
        finally:
            work.kill()
            work.wait()
