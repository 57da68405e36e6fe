"""Random work by several users on a local directory and on mounts ends the same."""

import os
import subprocess
import sys

from harness import ROOT, SLOWER, MountCase, scratch

STEPS = 2500


class Oracle(MountCase):
    """tests/oracle, from fixed seeds; E2E_SEED chooses others."""

    mounts = 2
    limit_s = 240 * SLOWER

    def compare(self, *mounts):
        """One run."""
        seed = int(os.environ.get("E2E_SEED", "2026"))
        local = scratch("local")
        os.chmod(local, 0o755)
        done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "tests", "oracle", "oracle.py"), local, *mounts,
                               "--seed", str(seed), "--steps", str(STEPS), "--runs", "2"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=220 * SLOWER, check=False)
        self.assertEqual(done.returncode, 0, "seed %d\n%s" % (seed, done.stdout[-3000:]))

    def test_one_mount_is_as_good_as_a_local_directory(self):
        """All work through one mount."""
        self.compare(self.here)

    def test_two_mounts_together_are_as_good_as_a_local_directory(self):
        """Each step through one of the two."""
        self.compare(self.here, self.there)
