"""Mounting and unmounting: from the command line, by mount(8), and all that can go wrong."""

import os
import re
import signal
import socket
import stat
import subprocess
import time

from calls import attempt, read, write
from harness import (BASE, BUILD, POHMELFS, SERVER, Case, Program, mounted, scratch, tail, wait_for)


def is_guard(pid):
    """Whether it is the second process of a mount, which outlives the first when that is killed."""
    with open("/proc/%s/comm" % pid, "rb") as name:
        return name.read() == b"pohmelfs-guard\n"


def daemons(path):
    """Process ids of the pohmelfs processes that were started for PATH."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if os.fsencode(path) in words and words[0].endswith(b"pohmelfs") and not is_guard(pid):
            found.append(int(pid))
    return found


class Mounting(Case):
    """pohmelfs as a person uses it."""

    def setUp(self):
        """A server with one file."""
        self.one = self.server()
        write(os.path.join(self.one.export, "f"), b"x")
        self.source = "127.0.0.1:%d:/data" % self.one.port
        self.point = scratch("mnt")
        self.addCleanup(self.clear)

    def clear(self):
        """No mount or daemon stays."""
        if mounted(self.point):
            subprocess.run(["umount", "-l", self.point], check=False)
        for pid in daemons(self.point):
            wait_for(lambda p=pid: p not in daemons(self.point), "the end of a daemon")

    def run_command(self, *words, env=None):
        """Runs a command; (exit code, what it said)."""
        with open(os.path.join(BASE, "pids"), "a", encoding="ascii"):
            done = subprocess.run(list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30,
                                  env=env, check=False)
        return done.returncode, done.stdout

    def refused(self, *words, says=""):
        """The command fails with one line, which contains SAYS, and mounts nothing."""
        code, out = self.run_command(*words)
        self.assertNotEqual(code, 0, out)
        self.assertGreater(code, 0, "ended by a signal")
        lines = out.strip().splitlines()
        self.assertEqual(len(lines), 1, out)
        self.assertRegex(lines[0], re.compile(says, re.IGNORECASE))
        self.assertFalse(mounted(self.point))
        return lines[0]

    def test_it_returns_only_once_the_mount_works(self):
        """And stays in the background."""
        code, out = self.run_command(POHMELFS, self.source, self.point)
        self.assertEqual((code, out), (0, ""))
        self.assertTrue(mounted(self.point))
        self.assertEqual(read(os.path.join(self.point, "f")), b"x")
        subprocess.run(["umount", self.point], check=True)
        wait_for(lambda: not daemons(self.point), "the end of the daemon")

    def test_the_only_export_needs_no_name(self):
        """HOST:PORT:/ and IPv6-like forms of localhost."""
        code, out = self.run_command(POHMELFS, "localhost:%d:/" % self.one.port, self.point)
        self.assertEqual((code, out), (0, ""))
        self.assertEqual(os.listdir(self.point), ["f"])

    def test_nobody_there_is_one_line(self):
        """Refused, unknown host, unknown export, wrong peer."""
        free = socket.socket()
        free.bind(("127.0.0.1", 0))
        self.refused(POHMELFS, "127.0.0.1:%d:/data" % free.getsockname()[1], self.point, says="refused")
        free.close()
        self.refused(POHMELFS, "no-such-host.invalid:/data", self.point, says="no-such-host")
        self.refused(POHMELFS, "127.0.0.1:%d:/nope" % self.one.port, self.point, says="export")

    def test_a_peer_that_is_no_pohmel_server_is_one_line(self):
        """It talks nonsense, or nothing at all."""
        for answer, says in ((b"SSH-2.0-OpenSSH_9.2\r\n" * 3, "pohmel|protocol|magic|malformed"),
                             (b"POHMEL\r\n" + bytes([9, 0, 12, 0, 0, 0, 0, 0]), "version|incompatible|protocol")):
            listener = socket.create_server(("127.0.0.1", 0))
            pid = os.fork()
            if pid == 0:
                peer, _ = listener.accept()
                peer.sendall(answer)
                time.sleep(20)
                os._exit(0)
            try:
                self.refused(POHMELFS, "127.0.0.1:%d:/data" % listener.getsockname()[1], self.point, says=says)
            finally:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                listener.close()

    def test_a_wrong_mount_point_is_one_line(self):
        """Missing, a file, mounted on already."""
        self.refused(POHMELFS, self.source, self.point + "/missing", says="missing")
        write(self.point + "-file", b"")
        self.refused(POHMELFS, self.source, self.point + "-file", says="directory|file")
        code, out = self.run_command(POHMELFS, self.source, self.point)
        self.assertEqual((code, out), (0, ""))
        code, out = self.run_command(POHMELFS, self.source, self.point)
        self.assertNotEqual(code, 0)
        self.assertRegex(out, "mounted|busy")
        subprocess.run(["umount", self.point], check=True)

    def test_wrong_arguments_are_one_line(self):
        """Options, sources, too few words."""
        self.refused(POHMELFS, self.source, self.point, "-o", "nonsense=1", says="nonsense")
        self.refused(POHMELFS, "no-colon-at-all", self.point, says="no-colon-at-all|HOST")
        self.refused(POHMELFS, "127.0.0.1:99999:/data", self.point, says="99999|port")
        self.refused(POHMELFS, self.source, says="usage|mount point|MOUNTPOINT")
        self.refused(POHMELFS, says="usage|HOST")
        self.refused(POHMELFS, "--nonsense", says="nonsense")

    def test_help_and_version_are_told(self):
        """By all three programs."""
        for program in ("server/pohmel-server", "client/pohmelfs", "client/pohmelctl"):
            for option in ("--help", "--version"):
                code, out = self.run_command(os.path.join(BUILD, program), option)
                self.assertEqual(code, 0, (program, option, out))
                self.assertIn("pohmel", out.lower())

    def test_a_read_only_mount_answers_erofs(self):
        """-o ro."""
        code, out = self.run_command(POHMELFS, self.source, self.point, "-o", "ro")
        self.assertEqual((code, out), (0, ""))
        self.assertEqual(read(os.path.join(self.point, "f")), b"x")
        self.assertEqual(attempt(write, os.path.join(self.point, "g"), b"x"), "EROFS")
        self.assertEqual(attempt(os.unlink, os.path.join(self.point, "f")), "EROFS")

    def installed(self, script):
        """Runs a shell script as on a machine where Pohmel is installed: in a mount namespace of
        its own, with the installed files laid over /usr, and a /dev/fuse that all may open."""
        stage, work = scratch("stage"), scratch("work")
        code, out = self.run_command("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", stage)
        self.assertEqual(code, 0, out)
        os.mknod(stage + "/fuse", stat.S_IFCHR | 0o666, os.stat("/dev/fuse").st_rdev)
        os.chmod(stage + "/fuse", 0o666)
        setup = ("set -e\nmount --bind %s/fuse /dev/fuse\n" % stage +
                 "for d in bin sbin local; do if [ -d %s/usr/$d ]; then mkdir %s/$d; mount -t overlay over -o "
                 "lowerdir=/usr/$d,upperdir=%s/usr/$d,workdir=%s/$d /usr/$d; fi; done\n" % (stage, work, stage, work) +
                 "if [ -d %s/sbin ]; then mkdir %s/s; mount -t overlay over -o "
                 "lowerdir=/usr/sbin,upperdir=%s/sbin,workdir=%s/s /usr/sbin; fi\n" % (stage, work, stage, work))
        return self.run_command("unshare", "--mount", "sh", "-c", setup + "cd /\n" + script)

    def test_mount_8_and_umount_8_find_their_helpers(self):
        """mount -t fuse.pohmelfs with options, and umount, which leaves it to the helper."""
        code, out = self.installed("""
            mount -t fuse.pohmelfs %(source)s %(point)s -o noatime,nosuid,_netdev
            cat %(point)s/f
            grep ' %(point)s ' /proc/self/mountinfo
            umount %(point)s
            ! grep -q ' %(point)s ' /proc/self/mountinfo
            """ % {"source": self.source, "point": self.point})
        self.assertEqual(code, 0, out)
        self.assertEqual(out[:1], "x")
        for word in ("fuse.pohmelfs", "nosuid", "noatime", self.source):
            self.assertIn(word, out)

    def test_the_umount_helper_says_when_it_cannot(self):
        """Busy, and not mounted."""
        helper = os.path.join(BUILD, "client", "umount.fuse.pohmelfs")
        self.run_command(POHMELFS, self.source, self.point)
        holder = os.open(os.path.join(self.point, "f"), os.O_RDONLY)
        code, out = self.run_command(helper, self.point)
        self.assertNotEqual(code, 0)
        self.assertRegex(out, "busy")
        self.assertTrue(mounted(self.point))
        os.close(holder)
        self.assertEqual(self.run_command(helper, self.point)[0], 0)
        self.assertFalse(mounted(self.point))
        code, out = self.run_command(helper, self.point)
        self.assertNotEqual(code, 0)
        self.assertEqual(len(out.strip().splitlines()), 1, out)

    def test_meson_install_puts_everything_in_its_place(self):
        """Programs, helpers, manual pages."""
        stage = scratch("stage")
        code, out = self.run_command("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", stage)
        self.assertEqual(code, 0, out)
        names = {name for _, _, files in os.walk(stage) for name in files}
        for name in ("pohmel-server", "pohmelfs", "pohmelctl", "mount.fuse.pohmelfs", "umount.fuse.pohmelfs"):
            self.assertIn(name, names)
        pages = {re.sub(r"\.gz$", "", name) for name in names}
        for name in ("pohmel-server.8", "pohmelfs.8", "pohmelctl.1"):
            self.assertIn(name, pages)

    def test_an_ordinary_user_can_mount(self):
        """Through fusermount3; others, root too, see nothing of it."""
        user = 65534 # fusermount3 wants one with a name
        os.chown(self.point, user, user)
        os.chmod(self.one.export, 0o777)
        code, out = self.installed("""
            as() { setpriv --reuid %(user)d --regid %(user)d --clear-groups "$@"; }
            as %(program)s %(source)s %(point)s
            as cat %(point)s/f
            as sh -c 'echo mine > %(point)s/mine'
            ! ls %(point)s 2>/dev/null || exit 7
            as fusermount3 -u %(point)s
            """ % {"user": user, "program": POHMELFS, "source": self.source, "point": self.point})
        self.assertEqual((code, out), (0, "x"))
        self.assertEqual(os.stat(self.one.export + "/mine").st_uid, user)

    def test_the_daemon_holds_nothing_of_its_own_mount(self):
        """No descriptor, no working directory."""
        self.run_command(POHMELFS, self.source, self.point)
        (pid,) = daemons(self.point)
        held = [os.readlink("/proc/%d/fd/%s" % (pid, name)) for name in os.listdir("/proc/%d/fd" % pid)]
        held.append(os.readlink("/proc/%d/cwd" % pid))
        self.assertEqual([path for path in held if path.startswith(self.point)], [])

    def test_a_daemon_told_to_end_unmounts(self):
        """SIGTERM to pohmelfs in the foreground."""
        mount = self.mount(self.one)
        self.assertEqual(mount.program.end(signal.SIGTERM), 0)
        self.assertFalse(mounted(mount.path))


class Listening(Case):
    """Where a server can be reached."""

    def test_unix_sockets_and_ipv6_work(self):
        """Several --listen."""
        path = os.path.join(scratch("run"), "socket")
        probe = socket.socket(socket.AF_INET6)
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            self.skipTest("no IPv6 here: %s" % error)
        finally:
            probe.close()
        server = self.server(options=["--listen", "unix:" + path, "--listen", "[::1]:0"])
        write(os.path.join(server.export, "f"), b"x")
        port = re.search(r"\[::1\]:(\d+)", "\n".join(tail(server.log))).group(1)
        for source in ("unix:%s:/data" % path, "[::1]:%s:/data" % port):
            point = scratch("mnt")
            done = subprocess.run([POHMELFS, source, point], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=30, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, ""), source)
            self.assertEqual(read(os.path.join(point, "f")), b"x")
            subprocess.run(["umount", point], check=True)

    def test_a_taken_port_is_one_line(self):
        """It names the address."""
        server = self.server()
        state = scratch("state", 0o700)
        done = subprocess.run([SERVER, "--listen", "127.0.0.1:%d" % server.port, "--state-dir", state, "--export",
                               "x=" + scratch("export")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=20, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(len(done.stdout.strip().splitlines()), 1, done.stdout)
        self.assertIn(str(server.port), done.stdout)

    def test_systemd_is_told(self):
        """READY=1 on the notify socket."""
        where = os.path.join(scratch("run"), "notify")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(where)
        listener.settimeout(20)
        program = Program([SERVER, "--listen", "127.0.0.1:0", "--state-dir", scratch("state", 0o700), "--export",
                           "x=" + scratch("export")], os.path.join(BASE, "notify.log"),
                          env=dict(os.environ, NOTIFY_SOCKET=where))
        self.addCleanup(program.end)
        self.assertIn(b"READY=1", listener.recv(4096))
        listener.close()
