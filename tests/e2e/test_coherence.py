"""Several mounts are one filesystem: short runs of tests/coherence. Its README tells of long ones."""

import os
import subprocess

from harness import BUILD, SLOWER, MountCase

COHERENCE = os.path.join(BUILD, "tests", "coherence", "coherence")
HANG_S = 20


class OneFilesystem(MountCase):
    """Three mounts of one export."""

    mounts = 3
    limit_s = 120 * SLOWER

    def run_mode(self, mode, *options, mounts=3):
        """Runs a mode in the directory of this test; (exit code, what was printed)."""
        places = [mount.join(self.name) for mount in self.mounted[:mounts]]
        done = subprocess.run([COHERENCE, mode, *options, "--hang", str(int(HANG_S * SLOWER)), *places],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100 * SLOWER,
                              check=False)
        return done.returncode, done.stdout[-6000:]

    def check_mode(self, *args, **named):
        """A run without violations, which leaves nothing behind."""
        code, said = self.run_mode(*args, **named)
        self.assertEqual(code, 0, said)
        self.assertEqual(os.listdir(self.below), [], said)

    def test_every_kind_of_change_is_seen_by_all_others_at_once(self):
        """From each mount to the two others."""
        self.check_mode("handoff", "-t", "0")

    def test_random_calls_of_three_mounts_are_linearizable(self):
        """One worker on each mount."""
        self.check_mode("race", "-t", "3", "-w", "1", "--only", "data,attributes,replaced,log",
                        "--allow-stale")

    def test_random_calls_of_several_workers_on_each_mount_are_linearizable(self):
        """Attributes, sizes and appends."""
        self.check_mode("race", "-t", "3", "-w", "2", "--only", "attributes,replaced,log", "--allow-stale", mounts=2)

    def test_work_on_the_same_page_and_directory_neither_hangs_nor_loses_anything(self):
        """All as fast as they can."""
        self.check_mode("hammer", "-t", "3", "-w", "1")

    def test_a_stale_read_is_found(self):
        """One read is made to look as if a cache had answered it."""
        code, said = self.run_mode("race", "-t", "1", "--plant", "--only", "attributes", mounts=2)
        self.assertEqual(code, 1, said)
        self.assertRegex(said, "planted: worker")
        self.assertRegex(said, "VIOLATION of .*: nothing explains")
