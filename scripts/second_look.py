"""A second look at the few tests that failed: alone, when the machine has nothing else to do.

Most tests run beside others on a machine of unknown speed, and some wait for what takes time. What fails
there and not alone is told, and counted as passed. Nothing is looked at twice that judges what became of
somebody's data, where a sanitizer complained or a program crashed, or where more than a few failed.
"""

import re

MOST = 2
# Modules of the end-to-end tests and test programs whose verdict is final.
FINAL = {"coherence", "kills", "power", "power_txn", "quotas", "transactions", "txn", "nameless", "survival", "oracle",
         "simulator", "simulator mutants"}
COMPLAINT = re.compile(r"Sanitizer|runtime error:|SIGSEGV|SIGBUS|signal 11|signal 7\b")
TEST = re.compile(r"^FAIL (?:(?P<kind>e2e) (?P<program>\w+) (?P<name>\S+\.\S+)|(?!e2e)(?P<build>\w+) (?P<unit>[^:(]+?)(?::| \())")


class Failure:
    """A test that failed: KIND of build or e2e, its module or PROGRAM, its NAME, and what it said."""

    def __init__(self, line):
        found = TEST.match(line)
        self.line = line
        self.kind = (found["kind"] or found["build"]) if found else None
        self.program = (found["program"] or found["unit"]) if found else None
        self.name = found["name"] if found else None
        self.said = []

    def is_final(self):
        """Whether the first verdict stands."""
        return self.kind in (None, "style", "build") or self.program in FINAL or \
            any(COMPLAINT.search(line) for line in [self.line] + self.said)


class Failures:
    """Those of a run, as its lines tell them."""

    def __init__(self):
        self.all = []

    def line(self, text):
        """A line that was printed."""
        if text.startswith("FAIL "):
            self.all.append(Failure(text))
        elif self.all and text.startswith("    "):
            self.all[-1].said.append(text)

    def doubtful(self):
        """Those to look at again; none where one of them is final or there are many."""
        programs = {(failure.kind, failure.program, failure.name) for failure in self.all}
        if len(programs) > MOST or any(failure.is_final() for failure in self.all):
            return []
        return self.all
