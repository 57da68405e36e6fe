"""A server's machine that loses power (scripts/disks.py). The server is stopped before that and killed after it, so
that nothing is answered by a machine that is dead; and it sees another start of the machine afterwards.
"""

import os
import signal
import subprocess
import sys
import uuid

from harness import BASE, ROOT, SERVER, Server, scratch, wait_for

sys.path.insert(0, os.path.join(ROOT, "scripts"))

from disks import Disk, why_not  # noqa: E402

# With mounts of its own; what others unmount goes there, too, or their disks could not be used again.
APART = ["unshare", "--mount", "--propagation", "slave"]


def boot_of(state):
    """The file with the name of the machine's start, of the server with that state directory."""
    return os.path.join(BASE, os.path.basename(state) + ".boot")


class PoweredServer(Server):
    """A server on a machine of its own, as far as it can tell by the kernel's name for its start. What other tests have
    mounted meanwhile it must not keep mounted: their disks would not be unmounted, and their mounts not end."""

    BOOT_ID = "/proc/sys/kernel/random/boot_id"
    AS_BOOTED = """mount --bind "$0" %s || exit 1
disk=$1
shift
for point in $(cut -d ' ' -f 5 /proc/self/mountinfo); do
    case $point in "$disk") ;; */pohmel-e2e.*) umount -i -l "$point" ;; esac
done
exec "$@"
""" % BOOT_ID

    def command(self):
        """The command line."""
        boot = boot_of(self.state)
        if not os.path.exists(boot):
            with open(boot, "w", encoding="ascii") as file:
                file.write("%s\n" % uuid.uuid4())
        return [*APART, "sh", "-c", self.AS_BOOTED, boot,
                os.path.dirname(self.export)] + super().command()


def is_stopped(pid):
    """Whether no thread of the process runs any more: each is stopped, or will be before it leaves the kernel; or dead."""
    states = set()
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, thread), encoding="utf-8", errors="replace") as stat:
                states.add(stat.read().rsplit(")", 1)[1].split()[0])
    except (FileNotFoundError, ProcessLookupError):  # one has just ended
        return False
    return bool(states & set("TZX")) and states <= set("TZXD")


class Machine:
    """A server whose export and state directory are on one disk, and which can lose power."""

    def __init__(self, kind, options=(), env=None):
        self.path = scratch("disk")
        self.disk = Disk(kind, self.path)
        try:
            self.export = os.path.join(self.path, "export")
            state = os.path.join(self.path, os.path.basename(self.path) + ".state")
            os.mkdir(self.export, 0o755)
            os.mkdir(state, 0o700)
            os.sync()
            self.server = PoweredServer(export=self.export, state=state, options=options, env=env)
        except BaseException:
            self.disk.end()
            raise

    def lose_power(self, before_death=lambda: None):
        """The machine is dead; BEFORE_DEATH() is called when it answers nobody any more."""
        self.server.program.send(signal.SIGSTOP)
        # It takes a while on a busy machine. Who goes on is told by ext4 that all is stable when nothing is.
        wait_for(lambda: is_stopped(self.server.program.process.pid), "the server to stop", step_s=0.001)
        before_death()
        self.disk.cut()
        self.server.program.end(signal.SIGKILL)
        self.disk.unmount()

    def start(self):
        """Power is back: recovers the disk, checks what is on it, and starts the server. What the check found that
        is not as it should be, or ""."""
        self.disk.mount()
        boot = boot_of(self.server.state)
        if os.path.exists(boot):
            os.unlink(boot)
        done = subprocess.run([SERVER, "--check", "--state-dir", self.server.state, "--export",
                               "data=" + self.export], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60, check=False)
        self.server.start()
        return "" if done.returncode == 0 else done.stdout

    def end(self):
        """Nothing is left of it."""
        try:
            self.server.stop()
        finally:
            self.disk.end()


__all__ = ["Machine", "why_not"]
