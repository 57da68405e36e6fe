"""A unittest runner that prints one line for each test, as ./check counts them."""

import sys
import time
import traceback
import unittest


class LineResult(unittest.TestResult):
    """Prints each verdict as it falls."""

    def __init__(self, prefix, stream=None):
        super().__init__()
        self.prefix = prefix
        self.out = stream or sys.stdout
        self.started = 0.0
        self.told = False

    def startTest(self, test):
        """A test begins."""
        super().startTest(test)
        self.started = time.monotonic()
        self.told = False

    def _say(self, verdict, test, more=""):
        taken = time.monotonic() - self.started if self.started else 0.0
        name = test.id().split(".", 1)[-1] if "." in test.id() else test.id()
        slow = " (%.0f s)" % taken if taken >= 5 and verdict == "ok" else ""
        self.out.write("%s %s %s%s%s\n" % (verdict, self.prefix, name, slow, more))
        self.out.flush()

    def _fail(self, test, error):
        self._say("FAIL", test)
        self.told = True
        for line in "".join(traceback.format_exception(*error)).splitlines()[-60:]:
            self.out.write("    " + line + "\n")
        notes = getattr(test, "notes", None)
        for line in (notes() if callable(notes) else []):
            self.out.write("    | " + line + "\n")
        self.out.flush()

    def addSuccess(self, test):
        """It held."""
        super().addSuccess(test)
        self._say("ok", test)

    def addError(self, test, err):
        """It ended in an exception, or its fixture did."""
        super().addError(test, err)
        self._fail(test, err)

    def addFailure(self, test, err):
        """It did not hold."""
        super().addFailure(test, err)
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        """Only failing parts are told by themselves."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._fail(subtest, err)

    def addSkip(self, test, reason):
        """It cannot be run here."""
        super().addSkip(test, reason)
        self._say("skip", test, ": " + reason)


def run_suite(suite, prefix):
    """Runs SUITE; whether all of it held."""
    result = LineResult(prefix)
    suite.run(result)
    return result.wasSuccessful()
