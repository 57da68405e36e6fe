"""What may go wrong with a program from a chosen moment on (tests/faults/strike.c, which is loaded into it)."""

import mmap
import os
import struct
import time

from harness import BUILD, scratch

LIBRARY = os.environ.get("STRIKE_SO", os.path.join(BUILD, "tests", "faults", "libstrike.so"))
ERROR, CHANGES, SYNCS, STARVE, RATE_PPM, RATE_SINCE, RENAME_HOLD, RENAME_HELD, HITS, WORDS = range(10)
BEFORE, AFTER = 1, 2  # where a rename is held


class Strike:
    """The faults of one program; TOP: only changes below that directory fail."""

    def __init__(self, top=None):
        path = os.path.join(scratch("strike"), "control")
        with open(path, "w+b") as file:
            file.truncate(8 * WORDS)
            self.words = mmap.mmap(file.fileno(), 8 * WORDS)
        self.environment = {"LD_PRELOAD": LIBRARY, "STRIKE_CONTROL": path}
        if top:
            self.environment["STRIKE_TOP"] = top

    def __getitem__(self, word):
        return struct.unpack_from("<q", self.words, 8 * word)[0]

    def __setitem__(self, word, value):
        struct.pack_into("<q", self.words, 8 * word, value)

    def fail(self, error, count):
        """The next COUNT changes."""
        self[ERROR], self[CHANGES] = error, count

    def turn_clock(self, ppm):
        """From now on it is too fast by PPM, or too slow."""
        self[RATE_SINCE] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self[RATE_PPM] = ppm

    def end(self):
        """Nothing fails any more. Clocks stay as they are."""
        for word in (CHANGES, SYNCS, STARVE):
            self[word] = 0

    def let_rename_go(self):
        """Those that were held."""
        self[RENAME_HOLD] = 0
