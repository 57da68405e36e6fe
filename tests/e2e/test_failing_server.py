"""A system call of the server that fails while mounts are at work, the Nth from its start on: it is told, or does not
matter, or the server ends with words and the next start goes on (docs/decisions/0023-what-fails.md). As test_failing_mount, with
the same variables; the store's own calls are tried in each change by `store failed`."""

import os
import random
import re
import threading
import unittest

import test_failing_mount as failing
from harness import LOCAL, SLOWER, Case, Mount, Server, scratch, tail, wait_for

ROUNDS = 4
# A server makes about as many of them until it has answered all.
MOST = 2600


class FailingServer(Server):
    """A server of which one call fails, but not once it was started again."""

    at = way = 0
    failure_log = ""

    def command(self):
        """The command line."""
        if not self.at:
            return super().command()
        return ["env", "LD_PRELOAD=" + failing.FAIL, "FAIL_AT=%d" % self.at, "FAIL_WAY=%d" % self.way,
                "FAIL_LOG=" + self.failure_log] + super().command()


class Round(failing.Round):
    """One server of which one call fails."""

    def __init__(self, case, at, way):
        self.log = os.path.join(scratch("log"), "failed")
        self.over = threading.Event()
        self.at, self.way, self.wrong = at, way, []
        case.one = self.begin()
        self.keeper = threading.Thread(target=self.keep, args=(case.one,), daemon=True)
        self.keeper.start()
        case.addCleanup(self.stop, case.one)
        log = self.log
        case.other = wait_for(lambda: self.another(case.one), "a mount", failing.PATIENCE_S)
        case.addCleanup(case.other.unmount)
        super().__init__(case, at, way, ("allow_other",))
        self.log = log

    def begin(self):
        """A server that is ready; where the call fails before that, one that was started again."""
        FailingServer.at, FailingServer.way, FailingServer.failure_log = self.at, self.way, self.log
        try:
            return FailingServer()
        except AssertionError as error:
            if not re.search(r"ended: .*" + failing.WORDS, str(error), re.DOTALL):
                self.complain("no server and no words: %s" % error)
            FailingServer.at = 0
            return FailingServer()

    def another(self, server):
        """A mount; the server may be about to end."""
        try:
            return Mount(server)
        except AssertionError:
            return None

    def keep(self, server):
        """Starts it again when it has ended."""
        while not self.over.wait(0.05):
            if not server.program.running():
                said = "\n".join(tail(server.log))
                if server.program.process.returncode in (-11, -7) or not re.search(failing.WORDS, said):
                    self.complain("it ended with %s: %s" % (server.program.process.returncode, said))
                server.at = 0
                try:
                    server.start()
                except AssertionError as error:
                    self.complain("it does not start again: %s" % error)
                    return

    def stop(self, server):
        """The server and who keeps it."""
        self.over.set()
        self.keeper.join()
        server.stop()

    def environment(self):
        """Nothing is wrong with the mount."""
        return ""


@unittest.skipIf(LOCAL, "about the programs")
class FailingServers(Case):
    """One call fails."""

    limit_s = (120 + 30 * ROUNDS if not failing.EVERY else 100000) * SLOWER

    def test_a_call_that_fails_is_told_or_does_not_matter(self):
        """The next start goes on."""
        if not os.path.exists(failing.FAIL):
            self.skipTest("not built: " + failing.FAIL)
        rng, wrong = random.Random(), []
        every = failing.EVERY or MOST // ROUNDS
        for number in range(failing.ONLY or rng.randrange(every) + 1, MOST + 1, every):
            way = failing.WAY if failing.WAY >= 0 else rng.randrange(6)
            one = Round(self, number, way)
            wrong += one.run()
            self.doCleanups()
            if failing.EVERY:
                print("# " + one.told() + "".join("\n# BROKEN: " + what for what in one.wrong), flush=True)
            if failing.ONLY:
                break
        self.assertEqual(wrong, [], "\n".join(wrong))
