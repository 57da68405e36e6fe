"""Servers and mounts for the tests: started, watched, and gone afterwards.

Everything lives below one base directory, E2E_BASE, which run.py makes and
clears. Programs come from the build directory POHMEL_BUILD.
"""

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("POHMEL_BUILD", os.path.join(ROOT, "build"))
SERVER = os.path.join(BUILD, "server", "pohmel-server")
POHMELFS = os.path.join(BUILD, "client", "pohmelfs")
POHMELCTL = os.path.join(BUILD, "client", "pohmelctl")
BASE = os.environ.get("E2E_BASE", "/nonexistent")
# How much slower the programs are than usual (sanitizers): for what takes a share of the time.
PACE = float(os.environ.get("E2E_SLOWER", "1"))
# For limits: a machine that is busy with something else is no failure of what is tested here.
SLOWER = 4 * PACE
# Bind mounts of the export instead of real mounts: shows that a test holds on a local disk.
LOCAL = os.environ.get("E2E_LOCAL") == "1"

READY_S = 15 * SLOWER
END_S = 15 * SLOWER
TEST_LIMIT_S = 45 * SLOWER

_READY = re.compile(r"pohmel-server: ready.* on .*?(?:127\.0\.0\.1|\[::1\]):(\d+)")


def wait_for(condition, what, limit_s=READY_S, step_s=0.02):
    """Returns the first true value of CONDITION(); AssertionError when it takes too long."""
    until = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError("not within %d s: %s" % (limit_s, what))
        time.sleep(step_s)


def wait_said(path, pattern, lines=15):
    """The log PATH has PATTERN in its last lines: programs may have their answers a moment before."""
    return wait_for(lambda: re.search(pattern, "\n".join(tail(path, lines))), f"{pattern} in {path}")


def undisturbed(look, tries=5):
    """What LOOK(number) returns, which counts what was sent or asked. On a busy machine something else may come in
    between, as a lease that is taken away: then once more, with another number."""
    for number in range(tries - 1):
        try:
            return look(number)
        except AssertionError:
            pass
    return look(tries - 1)


def mounted(path):
    """Whether something is mounted on PATH itself; does not touch the mount."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split()[4] == path for line in table)


def scratch(name="", mode=0o755):
    """A fresh directory below the base."""
    path = tempfile.mkdtemp(prefix=(name or "dir") + ".", dir=BASE)
    os.chmod(path, mode)
    return path


def tail(path, lines=15):
    """The last lines of a file, for the report of a failure."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()[-lines:]
    except OSError:
        return []


def flush(*paths):
    """What is below PATHS is on the server's disk when it returns."""
    for path in paths if not LOCAL else ():
        done = subprocess.run([POHMELCTL, "flush", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=TEST_LIMIT_S, check=False)
        if done.returncode != 0:
            raise AssertionError("cannot flush %s: %s" % (path, done.stdout))


def check_sanitizers(log):
    """AssertionError when a sanitizer complained in LOG."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            said = file.read()
    except OSError:
        return
    found = re.search(r"(ERROR|WARNING): \w*Sanitizer|runtime error:", said)
    if found:
        raise AssertionError(said[max(0, found.start() - 200):found.start() + 6000])


class Program:
    """A child process that is known to the watchdog."""

    alive = []

    def __init__(self, command, log, user=None, env=None):
        self.log = log
        if user is not None:
            command = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"] + command
        with open(log, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env,
                                            cwd="/")
        with open(os.path.join(BASE, "pids"), "a", encoding="ascii") as pids:
            pids.write("%d\n" % self.process.pid)
        Program.alive.append(self)

    @property
    def pid(self):
        """Process id."""
        return self.process.pid

    def running(self):
        """Whether it has not ended."""
        return self.process.poll() is None

    def send(self, number):
        """Sends a signal, unless it has ended."""
        if self.running():
            self.process.send_signal(number)

    def end(self, number=signal.SIGTERM, limit_s=END_S):
        """Sends NUMBER and waits; kills what does not end. The exit code."""
        self.send(number)
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = None
        if self in Program.alive:
            Program.alive.remove(self)
        return code


class Server:
    """A pohmel-server on a port of its own."""

    def __init__(self, export=None, options=(), user=None, exports=None, state=None, env=None):
        self.export = export or scratch("export")
        self.env = dict(os.environ, **env) if env else None
        self.state = state or scratch("state", 0o700)
        self.options = list(options)
        self.exports = exports or {"data": self.export}
        self.user = user
        self.port = 0
        self.log = os.path.join(BASE, os.path.basename(self.state) + ".log")
        if user is not None:
            os.chown(self.state, user, user)
        self.program = None
        if not LOCAL:
            self.start()

    def command(self):
        """The command line."""
        out = [SERVER, "--listen", "127.0.0.1:%d" % self.port, "--state-dir", self.state]
        for name, path in self.exports.items():
            out += ["--export", "%s=%s" % (name, path)]
        return out + self.options

    def start(self):
        """Starts it and waits for its ready line."""
        seen = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        self.program = Program(self.command(), self.log, self.user, self.env)

        def ready():
            with open(self.log, "rb") as log:
                log.seek(seen)
                match = _READY.search(log.read().decode("utf-8", "replace"))
            if not match and not self.program.running():
                raise AssertionError("the server ended: " + "\n".join(tail(self.log)))
            return match

        self.port = int(wait_for(ready, "the server's ready line").group(1))

    def stop(self):
        """Ends it in order; its exit code."""
        code = self.program.end() if self.program else 0
        check_sanitizers(self.log)
        return code

    def kill(self):
        """Ends it at once."""
        return self.program.end(signal.SIGKILL)


class Mount:
    """A mount of one export, by a pohmelfs in the foreground."""

    def __init__(self, server, export="data", options=("allow_other",), path=None, user=None, env=None):
        self.server = server
        self.path = path or scratch("mnt")
        self.log = os.path.join(BASE, os.path.basename(self.path) + ".log")
        self.program = None
        if LOCAL:
            subprocess.run(["mount", "--bind", server.exports[export], self.path], check=True)
            return
        command = [POHMELFS, "127.0.0.1:%d:/%s" % (server.port, export), self.path, "-f"]
        if options:
            command += ["-o", ",".join(options)]
        if user is not None:
            os.chown(self.path, user, user)
        self.program = Program(command, self.log, user, dict(os.environ, **env) if env else None)

        def there():
            if not self.program.running():
                raise AssertionError("pohmelfs ended: " + "\n".join(tail(self.log)))
            return mounted(self.path)

        wait_for(there, "the mount")

    def join(self, *names):
        """A path inside the mount."""
        return os.path.join(self.path, *names)

    def unmount(self):
        """Unmounts and waits for the daemon; its exit code."""
        if mounted(self.path):
            subprocess.run(["umount", self.path], check=False, stderr=subprocess.DEVNULL)
        if mounted(self.path):
            subprocess.run(["umount", "-l", self.path], check=False, stderr=subprocess.DEVNULL)
        code = self.program.end(0) if self.program else 0
        check_sanitizers(self.log)
        return code


class Watchdog:
    """Breaks the mounts of a test that takes too long: a thread of a process that
    waits for FUSE cannot be interrupted by anything less."""

    def __init__(self):
        self.timer = None
        self.fired = False

    def watch(self, limit_s):
        """Starts to count."""
        self.fired = False
        self.timer = threading.Timer(limit_s, self._fire)
        self.timer.daemon = True
        self.timer.start()

    def rest(self):
        """The test has ended."""
        if self.timer:
            self.timer.cancel()

    def _fire(self):
        self.fired = True
        for program in list(Program.alive):
            program.send(signal.SIGCONT)
            program.send(signal.SIGKILL)


_watchdog = Watchdog()


class Case(unittest.TestCase):
    """A test with a time limit, which ends whatever it started."""

    limit_s = TEST_LIMIT_S

    def run(self, result=None):
        """Runs the test under the watchdog."""
        _watchdog.watch(self.limit_s)
        try:
            return super().run(result)
        finally:
            _watchdog.rest()

    def _callTestMethod(self, method):
        try:
            super()._callTestMethod(method)
        except Exception as error:
            if _watchdog.fired:
                raise AssertionError("took longer than %d s; its programs were killed" % self.limit_s) from error
            raise
        if _watchdog.fired:
            raise AssertionError("took longer than %d s; its programs were killed" % self.limit_s)

    def server(self, **options):
        """A server that ends with the test."""
        server = Server(**options)
        self.addCleanup(server.stop)
        self._logs = getattr(self, "_logs", []) + [server.log]
        return server

    def mount(self, server, **options):
        """A mount that ends with the test."""
        mount = Mount(server, **options)
        self.addCleanup(mount.unmount)
        self._logs = getattr(self, "_logs", []) + [mount.log]
        return mount

    def notes(self):
        """What the programs said, for the report of a failure."""
        return [line for log in getattr(self, "_logs", []) for line in tail(log)]


class MountCase(Case):
    """One server and two mounts of its export, shared by the tests of a class; each
    test has a fresh directory of it: self.here (first mount), self.there (second),
    self.below (on the server)."""

    mounts = 1
    server_options = ()
    mount_options = ("allow_other",)

    @classmethod
    def setUpClass(cls):
        """Starts server and mounts."""
        cls.shared = Server(options=cls.server_options)
        cls.addClassCleanup(cls.shared.stop)
        os.chmod(cls.shared.export, 0o755)
        cls.mounted = []
        for _ in range(cls.mounts):
            mount = Mount(cls.shared, options=cls.mount_options)
            cls.addClassCleanup(mount.unmount)
            cls.mounted.append(mount)

    def setUp(self):
        """A fresh directory for each test."""
        self.name = self.id().split(".")[-1]
        self.below = os.path.join(self.shared.export, self.name)
        self.here = self.mounted[0].join(self.name)
        self.there = self.mounted[-1].join(self.name)
        os.mkdir(self.below)
        os.chmod(self.below, 0o755)
        self._logs = [self.shared.log] + [mount.log for mount in self.mounted]
