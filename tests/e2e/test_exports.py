"""What a server exports: limits, configuration, mistakes, servers of ordinary users."""

import os
import re
import subprocess

from calls import as_user, attempt, facts, read, write
from harness import SERVER, Case, scratch

MIB = 1 << 20
ALICE = 4001


class Exports(Case):
    """Options of pohmel-server, seen through a mount."""

    def test_a_read_only_export_answers_erofs(self):
        """To every change, by root too; reading works."""
        server = self.server(options=["--read-only"])
        write(os.path.join(server.export, "f"), b"x")
        at = self.mount(server)
        path = at.join("f")
        self.assertEqual(read(path), b"x")
        changes = [lambda: write(at.join("g"), b"x"), lambda: write(path, b"y"), lambda: os.unlink(path),
                   lambda: os.mkdir(at.join("d")), lambda: os.rename(path, at.join("g")), lambda: os.chmod(path, 0),
                   lambda: os.truncate(path, 0), lambda: os.symlink("x", at.join("l")), lambda: os.utime(path),
                   lambda: os.setxattr(path, "user.a", b"x"), lambda: os.mkfifo(at.join("p")),
                   lambda: os.link(path, at.join("l"))]
        self.assertEqual([attempt(change) for change in changes], ["EROFS"] * len(changes))
        self.assertEqual(read(os.path.join(server.export, "f")), b"x")
        self.assertFalse(os.access(path, os.W_OK))

    def test_a_size_limit_answers_enospc_and_shows_in_df(self):
        """And what is removed can be used again."""
        server = self.server(options=["--size-limit", "20M"])
        at = self.mount(server)
        space = os.statvfs(at.path)
        self.assertEqual(space.f_blocks * space.f_frsize, 20 * MIB)
        written = 0
        answer = None
        while answer != "ENOSPC" and written < 40 * MIB:
            answer = attempt(write, at.join("f%d" % (written // MIB)), b"x" * MIB)
            written += MIB
        self.assertEqual(answer, "ENOSPC")
        self.assertGreaterEqual(written, 18 * MIB)
        self.assertLess(os.statvfs(at.path).f_bavail * space.f_frsize, 2 * MIB)
        for name in os.listdir(at.path):
            os.unlink(at.join(name))
        self.assertEqual(write(at.join("again"), b"x" * MIB), MIB)

    def test_several_exports_are_apart(self):
        """Each by its name; none without one."""
        first, second = scratch("export"), scratch("export")
        write(os.path.join(first, "one"), b"1")
        write(os.path.join(second, "two"), b"2")
        server = self.server(exports={"first": first, "second": second})
        one, two = self.mount(server, export="first"), self.mount(server, export="second")
        self.assertEqual((os.listdir(one.path), os.listdir(two.path)), (["one"], ["two"]))
        self.assertEqual(attempt(os.rename, one.join("one"), two.join("x")), "EXDEV")
        with self.assertRaisesRegex(AssertionError, "export"):
            self.mount(server, export="")

    def test_nothing_outside_of_an_export_can_be_reached(self):
        """By links on the server, and by '..'."""
        outside = scratch("outside")
        write(os.path.join(outside, "secret"), b"s")
        server = self.server()
        os.symlink(outside, os.path.join(server.export, "link"))
        at = self.mount(server)
        self.assertEqual(os.readlink(at.join("link")), outside)
        self.assertEqual(os.stat(at.join("..")).st_ino, os.stat(os.path.dirname(at.path)).st_ino)
        self.assertEqual(os.stat(at.path + "/../" + os.path.basename(at.path)).st_ino, 1)

    def test_a_server_of_an_ordinary_user_works(self):
        """Everything belongs to that user, whoever asks."""
        export = scratch("export")
        os.chown(export, ALICE, ALICE)
        server = self.server(user=ALICE, export=export)
        at = self.mount(server)
        write(at.join("f"), b"by root", 0o600)
        os.mkdir(at.join("d"))
        self.assertEqual(os.stat(os.path.join(export, "f")).st_uid, ALICE)
        self.assertEqual(facts(at.join("f"))[2:4], (ALICE, ALICE))
        self.assertEqual(as_user(ALICE, ALICE, [], lambda: attempt(read, at.join("f"))), b"by root")
        self.assertIn(attempt(os.chown, at.join("f"), 0, 0), ("EPERM", None))
        self.assertEqual(os.stat(os.path.join(export, "f")).st_uid, ALICE)
        os.rename(at.join("f"), at.join("d/g"))
        self.assertEqual(read(os.path.join(export, "d/g")), b"by root")


class Configuration(Case):
    """--config, and what is wrong with it."""

    def attempt_start(self, *words):
        """Starts a server that is expected to refuse; what it said."""
        done = subprocess.run([SERVER, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=20, check=False)
        self.assertGreater(done.returncode, 0, done.stdout)
        lines = done.stdout.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stdout)
        return lines[0]

    def config(self, text):
        """Path of a configuration file."""
        path = os.path.join(scratch("config"), "pohmel.conf")
        write(path, text.encode())
        return path

    def test_a_configuration_file_does_what_the_options_do(self):
        """Several exports with options of their own."""
        first, second = scratch("export"), scratch("export")
        write(os.path.join(first, "f"), b"1")
        path = self.config("[server]\nworkers=2\n\n[export first]\ndirectory=%s\nread-only=true\n\n"
                           "[export second]\ndirectory=%s\nsize-limit=10M\n" % (first, second))
        server = self.server(exports={}, options=["--config", path])
        one, two = self.mount_named(server, "first"), self.mount_named(server, "second")
        self.assertEqual(attempt(write, one.join("g"), b"x"), "EROFS")
        self.assertEqual(write(two.join("g"), b"x"), 1)
        space = os.statvfs(two.path)
        self.assertEqual(space.f_blocks * space.f_frsize, 10 * MIB)

    def mount_named(self, server, name):
        """A mount of an export from the file."""
        return self.mount(server, export=name)

    def test_mistakes_in_it_name_file_group_and_key(self):
        """And what was expected."""
        export = scratch("export")
        for text, words in (("[server]\nworkerz=2\n[export x]\ndirectory=%s\n" % export, ["server", "workerz"]),
                            ("[server]\nworkers=many\n[export x]\ndirectory=%s\n" % export, ["server", "workers", "many"]),
                            ("[export x]\ndirectory=/no/such/dir\n", ["export x", "directory", "/no/such/dir"]),
                            ("[export x]\n", ["export x", "directory"]),
                            ("[nonsense]\na=b\n[export x]\ndirectory=%s\n" % export, ["nonsense"]),
                            ("[export x]\ndirectory=%s\nsize-limit=10Q\n" % export, ["export x", "size-limit", "10Q"]),
                            ("[export x]\ndirectory=%s\nread-only=perhaps\n" % export, ["export x", "read-only"]),
                            ("no key file at all\n", [])):
            path = self.config(text)
            line = self.attempt_start("--config", path, "--listen", "127.0.0.1:0", "--state-dir",
                                      scratch("state", 0o700))
            for word in [path] + words:
                self.assertIn(word, line, text)
        line = self.attempt_start("--config", "/no/such/file")
        self.assertIn("/no/such/file", line)

    def test_wrong_options_are_one_line(self):
        """It says what to do."""
        export = scratch("export")
        state = ["--state-dir", scratch("state", 0o700), "--listen", "127.0.0.1:0"]
        for words, says in ((["--export", "/no/such/dir"], "/no/such/dir"), (["--nonsense"], "nonsense"), ([], "export"),
                            (["--export", export, "--listen", "nowhere:port"], "nowhere|port"),
                            (["--export", export, "--size-limit", "lots"], "lots"),
                            (["--export", export, "--workers", "1000"], "workers"),
                            (["--export", "a=" + export, "--export", "a=" + export], "a"),
                            (["--export", export, "--state-dir", "/proc/nope"], "/proc/nope")):
            self.assertRegex(self.attempt_start(*(state + words)), re.compile(says), words)

    def test_one_state_directory_and_one_export_serve_one_server(self):
        """The second is refused while the first runs."""
        server = self.server()
        for export, state in ((server.export, scratch("state", 0o700)), (scratch("export"), server.state)):
            line = self.attempt_start("--export", "data=" + export, "--listen", "127.0.0.1:0", "--state-dir", state)
            self.assertIn(server.export if export == server.export else server.state, line)
