"""Checks the house rules over the project, and the checker itself on samples.

Prints one line for each rule (`ok style: NAME` or `FAIL style: NAME` with what
breaks it) and for each test of the checker.
"""

import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(ROOT, "scripts"))

import rules  # noqa: E402
from result_lines import run_suite  # noqa: E402


def project_files():
    """Paths, from the root, of all files that are or will be in git."""
    listing = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                             stdout=subprocess.PIPE, check=False)
    if listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
        return sorted({name for name in names if name and os.path.isfile(os.path.join(ROOT, name))})
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith((".", "build", "__pycache__"))]
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in files]
    return sorted(found)


def main():
    """0 when everything holds."""
    sources = {}
    for path in project_files():
        if rules.concerns(path):
            with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
                sources[path] = file.read()
    bad = 0
    for rule in rules.ALL:
        complaints = [text for path, source in sources.items() for text in rule(path, source)]
        print("%s style: %s" % ("FAIL" if complaints else "ok", rule.__doc__.splitlines()[0].rstrip(".")))
        for text in complaints:
            print("    " + text)
        bad += bool(complaints)
    suite = unittest.defaultTestLoader.loadTestsFromNames(["test_rules", "test_second_look"])
    bad += not run_suite(suite, "style")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
