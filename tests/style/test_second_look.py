"""Which failures ./check looks at again, and which not."""

import unittest

from second_look import MOST, Failures

LATE = "FAIL e2e write_back Large.test_a_gigabyte_arrives_whole"


def doubtful(*lines):
    """The tests that would be looked at again after LINES."""
    failures = Failures()
    for line in lines:
        failures.line(line)
    return [(failure.kind, failure.program, failure.name) for failure in failures.doubtful()]


class SecondLook(unittest.TestCase):
    """What ./check prints is all that it knows of a failure."""

    def test_a_single_failure_is_looked_at_again(self):
        """End-to-end, of a test program, and of one that took too long."""
        self.assertEqual(doubtful("ok e2e a B.c", LATE, "    AssertionError: not within 20 s", "ok e2e a B.d"),
                         [("e2e", "write_back", "Large.test_a_gigabyte_arrives_whole")])
        self.assertEqual(doubtful("FAIL asan server serving: serving/two-at-once"), [("asan", "server serving", None)])
        self.assertEqual(doubtful("FAIL check link (timeout)"), [("check", "link", None)])

    def test_what_became_of_data_is_final(self):
        """And with it everything else."""
        self.assertEqual(doubtful("FAIL e2e coherence Coherence.test_race"), [])
        self.assertEqual(doubtful(LATE, "FAIL check simulator mutants: mutants/aba"), [])

    def test_what_a_sanitizer_says_is_final(self):
        """So is a crash."""
        self.assertEqual(doubtful(LATE, "    ERROR: AddressSanitizer: heap-use-after-free"), [])
        self.assertEqual(doubtful("FAIL check link (fail)", "    killed by signal 11 SIGSEGV"), [])

    def test_many_failures_are_failures(self):
        """More than now and then one."""
        self.assertEqual(doubtful(*["FAIL e2e a B.c%d" % number for number in range(MOST + 1)]), [])

    def test_what_does_not_build_is_final(self):
        """As are the house rules."""
        self.assertEqual(doubtful("FAIL build check: ninja"), [])
        self.assertEqual(doubtful("FAIL e2e write_back: not done within 420 s"), [])
        self.assertEqual(doubtful("FAIL style: Includes go one way"), [])
