"""A server of Pohmel with mounts of it, below a directory of its own that is gone afterwards."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from places import BUILD, drop_caches, ROOT

READY_S = 20
ENDS_S = 20
POLL_S = 0.05
READY = re.compile(r": ready.* on 127\.0\.0\.1:(\d+)")


class Rig:
    """Use it with `with`. Programs run in the foreground, so that their process ids are known."""

    def __init__(self, directory="/var/tmp", mount_options="", server_options=()):
        if not ROOT:
            sys.exit("bench: needs root, to mount and to drop caches")
        for program in ("server/pohmel-server", "client/pohmelfs"):
            if not os.access(os.path.join(BUILD, program), os.X_OK):
                sys.exit("bench: %s is not built in %s; run ./quickstart --build first" % (program, BUILD))
        self.directory = directory
        self.mount_options = mount_options
        self.server_options = list(server_options)
        self.base = self.server = self.port = None
        self.clients = {}

    def __enter__(self):
        # A signal ends it as an error would, with everything taken down.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        self.base = tempfile.mkdtemp(prefix="pohmel-bench.", dir=self.directory)
        os.chmod(self.base, 0o755)
        for name in ("export", "state", "local"):
            os.mkdir(self.at(name))
        return self

    def __exit__(self, *exception):
        for point, client in self.clients.items():
            if subprocess.run(["umount", point], stderr=subprocess.DEVNULL, check=False).returncode != 0:
                subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)
            self._end(client)
        if self.server is not None:
            self._end(self.server)
        shutil.rmtree(self.base, ignore_errors=True)

    @staticmethod
    def _end(process):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def at(self, *names):
        """A path below its directory; "export" and "local" are there."""
        return os.path.join(self.base, *names)

    def _log(self, name):
        with open(self.at(name), encoding="utf-8", errors="replace") as log:
            return log.read()

    def _wait(self, process, log, ready):
        until = time.monotonic() + READY_S
        while not (answer := ready()):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit("bench: %s is not ready: %s" % (log, self._log(log).strip()))
            time.sleep(POLL_S)
        return answer

    def serve(self):
        """Starts the server."""
        with open(self.at("server.log"), "w", encoding="utf-8") as log:
            self.server = subprocess.Popen(
                [os.path.join(BUILD, "server", "pohmel-server"), "--export", "data=" + self.at("export"),
                 "--listen", "127.0.0.1:0", "--state-dir", self.at("state"), *self.server_options],
                stdout=log, stderr=log)
        self.port = self._wait(self.server, "server.log", lambda: READY.search(self._log("server.log"))).group(1)

    def mount(self, name):
        """One more mount of the export: its path. Its daemon is clients[path]."""
        point = self.at(name)
        os.mkdir(point)
        words = [os.path.join(BUILD, "client", "pohmelfs"), "127.0.0.1:%s:/data" % self.port, point, "-f"]
        if self.mount_options:
            words += ["-o", self.mount_options]
        with open(self.at(name + ".log"), "w", encoding="utf-8") as log:
            self.clients[point] = subprocess.Popen(words, stdout=log, stderr=log)
        self._wait(self.clients[point], name + ".log", lambda: os.path.ismount(point))
        return point


def cpu_s(pid):
    """Seconds of processor time that process PID used so far."""
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    """Memory of process PID that is its own, in KiB."""
    with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    sys.exit("bench: process %d is gone" % pid)


__all__ = ["Rig", "cpu_s", "drop_caches", "memory_kib"]
