"""The server is killed at random moments while four clients work: nobody sees an error, nothing is lost or done twice.

POHMEL_KILL_ROUNDS=200 tests/e2e/run.py test_kills: the long run (./check does ten rounds); POHMEL_KILL_SEED: another
course of things.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

from harness import SERVER, SLOWER, Case, flush, tail, wait_for

ROUNDS = int(os.environ.get("POHMEL_KILL_ROUNDS", "10"))
SEED = int(os.environ.get("POHMEL_KILL_SEED", "0")) or time.time_ns() % 1000000
CLIENTS = 4
ROUND_S = 15
VERIFY_EVERY = 5
KILL_AFTER_S = (0.02, 0.8)
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kill_worker.py")


class Work:
    """A worker process, read as it goes."""

    def __init__(self, mount, number):
        own, common = mount.join("own%d" % number), mount.join("common")
        os.makedirs(own, exist_ok=True)
        os.makedirs(common, exist_ok=True)
        self.own = "own%d" % number
        self.errors = mount.log + ".worker"
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen([sys.executable, "-B", WORKER, own, common, str(number), str(SEED + number)],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = b""
        self.done = 0
        self.told = None

    def look(self):
        """Reads what it has said; AssertionError when it has failed."""
        while True:
            data = self.process.stdout.read()
            if not data:
                break
            self.text += data
        lines = self.text.split(b"\n")
        self.text = lines.pop()
        for line in lines:
            if line.startswith(b"{"):
                self.told = json.loads(line)
            else:
                self.done = int(line)
        if self.process.poll() not in (None, 0):
            raise AssertionError("a program failed: " + "\n".join(tail(self.errors)))

    def order(self, word):
        """Tells it something."""
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def has_told(self):
        """What has to be there, once it has said so."""
        self.look()
        return self.told

    def goes_on_after(self, done):
        """Whether it has done anything since."""
        self.look()
        return self.done > done


def tree_of(root):
    """What is below ROOT: files with sizes and sums, and folders."""
    files, folders = {}, []
    for where, _, names in os.walk(root):
        below = os.path.relpath(where, root)
        below = "" if below == "." else below
        folders.append(below)
        for name in names:
            with open(os.path.join(where, name), "rb") as file:
                data = file.read()
            files[os.path.join(below, name)] = [len(data), hashlib.sha256(data).hexdigest()]
    return files, sorted(folders)


class Kills(Case):
    """Four mounts, one server that does not live long."""

    limit_s = (60 + ROUNDS * ROUND_S) * SLOWER

    def setUp(self):
        """A server and four mounts, with a worker on each."""
        self.rng = random.Random(SEED)
        self.one = self.server()
        self.at = [self.mount(self.one, options=("allow_other", "flush_age=300ms")) for _ in range(CLIENTS)]
        self.work = [Work(mount, number) for number, mount in enumerate(self.at)]
        self.addCleanup(self.end_workers)
        self.stalls = []

    def end_workers(self):
        """Whatever became of them."""
        for work in self.work:
            if work.process.poll() is None:
                work.process.send_signal(signal.SIGKILL)
            work.process.wait()
            work.process.stdin.close()
            work.process.stdout.close()

    def look_at_everything(self):
        """What the workers did is on the server's disk, all of it once."""
        for work in self.work:
            work.told = None
            work.order("verify")
        for work in self.work:
            wait_for(work.has_told, "a worker that has looked at its files", 60 * SLOWER)
        flush(*(mount.path for mount in self.at))
        for work in self.work:
            files, folders = tree_of(os.path.join(self.one.export, work.own))
            self.assertEqual(folders, work.told["folders"], SEED)
            self.assertEqual(files, work.told["files"], SEED)
        with open(os.path.join(self.one.export, "common", "log"), "rb") as log:
            records = [line.split() for line in log.read().splitlines()]
        for number, work in enumerate(self.work):
            mine = [int(record[1]) for record in records if int(record[0]) == number]
            self.assertEqual(mine, list(range(work.told["records"])), "records of client %d, seed %d" % (number, SEED))

    def test_a_server_that_is_killed_again_and_again(self):
        """At any moment, also while it starts: every program goes on within seconds, and everything happened once."""
        for number in range(ROUNDS):
            time.sleep(self.rng.uniform(*KILL_AFTER_S))
            self.one.kill()
            started = time.monotonic()
            before = [work.done for work in self.work if work.look() is None]
            self.one.start()
            for work, done in zip(self.work, before):
                wait_for(lambda work=work, done=done: work.goes_on_after(done), "work after round %d, seed %d" % (number, SEED),
                         ROUND_S * SLOWER)
            self.stalls.append(time.monotonic() - started)
            if number % VERIFY_EVERY == VERIFY_EVERY - 1:
                self.look_at_everything()
                for work in self.work:
                    work.order("on")
        for work in self.work:
            work.told = None
            work.order("end")
        for work in self.work:
            wait_for(work.has_told, "the end of a worker", 60 * SLOWER)
            self.assertEqual(work.process.wait(60), 0)
        for mount in self.at:
            self.assertEqual(mount.unmount(), 0)
        self.one.stop()
        checked = subprocess.run([SERVER, "--check", "--export", "data=" + self.one.export, "--state-dir", self.one.state],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        print("# %d rounds, seed %d: stall of all clients %.2f s in the median, %.2f s at most; %d things done" % (
            ROUNDS, SEED, sorted(self.stalls)[len(self.stalls) // 2], max(self.stalls), sum(w.done for w in self.work)))
