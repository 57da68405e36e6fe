"""Processes that work at the same time."""

import os
import signal
import sys
import time
from contextlib import contextmanager

FILES_IN_DIRECTORY = 50
FILE_BYTES = 4096


def both_write(paths, offsets, size, block):
    """Two processes write SIZE bytes each, BLOCK at once, from OFFSETS on in PATHS, and make
    them stable: seconds from a common start to the end of the later one. The first writes "A", the other "B"."""
    children, ready, go = [], os.pipe(), os.pipe()
    for path, offset, letter in zip(paths, offsets, b"AB"):
        child = os.fork()
        if child == 0:
            _write_and_exit(path, offset, size, bytes([letter]) * block, ready[1], go)
        children.append(child)
    for _ in children:
        os.read(ready[0], 1)
    started = time.perf_counter()
    os.close(go[1])
    failed = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    took = time.perf_counter() - started
    for descriptor in (*ready, go[0]):
        os.close(descriptor)
    if any(failed):
        sys.exit("bench: writing %s failed" % " and ".join(paths))
    return took


def _write_and_exit(path, offset, size, data, ready, go):
    code = 1
    try:
        descriptor = os.open(path, os.O_WRONLY)
        os.close(go[1])
        os.write(ready, b"r")
        os.read(go[0], 1) # ends when the parent lets go
        for start in range(0, size, len(data)):
            os.pwrite(descriptor, data, offset + start)
        os.fsync(descriptor)
        code = 0
    except OSError as error:
        print("bench: %s: %s" % (path, error.strerror), file=sys.stderr)
    finally:
        os._exit(code)


class Reader:
    """Walks a tree again and again: lists, stats, and reads each file."""

    def __init__(self, top):
        self.top = top
        self.seen = 0

    @staticmethod
    def make(top, files):
        """A tree of FILES files at TOP; how many there are."""
        os.mkdir(top)
        for number in range(files):
            directory = os.path.join(top, "d%d" % (number // FILES_IN_DIRECTORY))
            if number % FILES_IN_DIRECTORY == 0:
                os.mkdir(directory)
            with open(os.path.join(directory, "f%d" % number), "wb", buffering=0) as file:
                file.write(b"%08d" % number * (FILE_BYTES // 8))
        return files

    def walk(self):
        """Once through all of it."""
        self.seen = 0
        for folder, _, files in os.walk(self.top):
            for name in files:
                path = os.path.join(folder, name)
                os.stat(path)
                with open(path, "rb", buffering=0) as file:
                    self.seen += len(file.read(FILE_BYTES)) == FILE_BYTES
        return self.seen

    def once(self):
        """Files a second of one walk."""
        started = time.perf_counter()
        return self.walk() / (time.perf_counter() - started)

    def rate_and_rounds(self, seconds):
        """Files a second of as many walks as end after SECONDS, and how many those were."""
        started, files, rounds = time.perf_counter(), 0, 0
        while (took := time.perf_counter() - started) < seconds:
            files += self.walk()
            rounds += 1
        return files / took, rounds

    def rate(self, seconds):
        """Files a second."""
        return self.rate_and_rounds(seconds)[0]

    @contextmanager
    def going(self):
        """Another process walks while the body runs."""
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                while True:
                    self.walk()
            finally:
                os._exit(1)
        try:
            yield
        finally:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
