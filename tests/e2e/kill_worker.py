"""What one client does while the server is killed again and again: trees, renames, appends, fsync, removals.

    kill_worker.py DIR COMMON NUMBER SEED

DIR is its own; COMMON holds a log to which all append. Nobody sees an error, and after each order ("verify" on
standard input; "end" ends it) what is there is what was done, all of it once. It prints the number of things done,
and after "verify" a line of JSON: what has to be there.
"""

import hashlib
import json
import os
import random
import select
import sys

LOG_RECORDS_AT_ONCE = 3
FILES_MAX = 120
SIZES = (0, 10, 4096, 30000, 200000)


def content(name, generation, size):
    """Bytes that nothing else has."""
    seed = hashlib.sha256(("%s/%d" % (name, generation)).encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


class Worker:
    """Does one thing after the other, and knows what has to be there."""

    def __init__(self, where, common, number, seed):
        self.where, self.common, self.number = where, common, number
        self.rng = random.Random(seed)
        self.files = {}  # path below WHERE -> bytes
        self.folders = [""]
        self.generation = 0
        self.records = 0
        self.own_log = b""

    def at(self, path):
        """The path of PATH, which is below its directory."""
        return os.path.join(self.where, path)

    def fresh(self, folder, prefix):
        """A name that was never used."""
        self.generation += 1
        return os.path.join(folder, "%s%d" % (prefix, self.generation))

    def put(self, path, sync):
        """Makes or replaces a file."""
        data = content(path, self.generation, self.rng.choice(SIZES))
        with open(self.at(path), "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        self.files[path] = data

    def unpack(self):
        """A folder with files."""
        folder = self.fresh(self.rng.choice(self.folders), "d")
        if folder.count("/") > 4:
            return
        os.mkdir(self.at(folder))
        self.folders.append(folder)
        for _ in range(self.rng.randrange(12)):
            self.put(self.fresh(folder, "f"), False)

    def replace(self):
        """Writes a new one and renames it over one that is there."""
        if not self.files:
            return
        path = self.rng.choice(sorted(self.files))
        new = self.fresh(os.path.dirname(path), "n")
        self.put(new, self.rng.random() < 0.5)
        os.rename(self.at(new), self.at(path))
        self.files[path] = self.files.pop(new)

    def rename(self):
        """To a new name, perhaps elsewhere."""
        if not self.files:
            return
        path = self.rng.choice(sorted(self.files))
        new = self.fresh(self.rng.choice(self.folders), "r")
        os.rename(self.at(path), self.at(new))
        self.files[new] = self.files.pop(path)

    def append(self):
        """To a file of its own, perhaps synced; and to the log of all."""
        if self.files:
            path = self.rng.choice(sorted(self.files))
            data = content(path, self.generation, 100)
            with open(self.at(path), "ab") as file:
                file.write(data)
                if self.rng.random() < 0.3:
                    file.flush()
                    os.fsync(file.fileno())
            self.files[path] += data
        log = os.open(os.path.join(self.common, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for _ in range(LOG_RECORDS_AT_ONCE):
            line = b"%d %08d\n" % (self.number, self.records)
            assert os.write(log, line) == len(line)
            self.records += 1
        os.close(log)

    def overwrite(self):
        """Some bytes in the middle; or cuts it."""
        if not self.files:
            return
        path = self.rng.choice(sorted(self.files))
        data = bytearray(self.files[path])
        if len(data) < 20:
            return
        start = self.rng.randrange(len(data) - 10)
        with open(self.at(path), "r+b") as file:
            if self.rng.random() < 0.3:
                file.truncate(start)
                data = data[:start]
            else:
                file.seek(start)
                file.write(b"0123456789")
                data[start:start + 10] = b"0123456789"
        self.files[path] = bytes(data)

    def remove(self):
        """A file, or a folder that is empty."""
        if len(self.files) > FILES_MAX or (self.files and self.rng.random() < 0.7):
            for path in self.rng.sample(sorted(self.files), min(len(self.files), 5)):
                os.unlink(self.at(path))
                del self.files[path]
            return
        for folder in self.folders[1:]:
            if not any(path.startswith(folder + "/") for path in list(self.files) + self.folders):
                os.rmdir(self.at(folder))
                self.folders.remove(folder)
                return

    def verify(self):
        """Through the mount, now."""
        seen = {}
        for root, folders, files in os.walk(self.where):
            below = os.path.relpath(root, self.where)
            below = "" if below == "." else below
            assert below in self.folders, "a folder that was not made: %s" % below
            for name in files:
                path = os.path.join(below, name)
                with open(os.path.join(root, name), "rb") as file:
                    seen[path] = file.read()
        assert sorted(seen) == sorted(self.files), sorted(set(seen) ^ set(self.files))
        for path, data in seen.items():
            assert data == self.files[path], "%s: %d bytes for %d" % (path, len(data), len(self.files[path]))

    def told(self):
        """What has to be there."""
        return {"files": {path: [len(data), hashlib.sha256(data).hexdigest()] for path, data in self.files.items()},
                "folders": sorted(self.folders), "records": self.records}


def main():
    """Until it is told to end."""
    worker = Worker(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    deeds = [worker.unpack, worker.replace, worker.rename, worker.append, worker.append, worker.overwrite, worker.remove]
    done = 0
    orders = open(0, "rb", buffering=0)  # nothing is read that select would then not see
    while True:
        worker.rng.choice(deeds)()
        done += 1
        print(done, flush=True)
        if not select.select([orders], [], [], 0)[0]:
            continue
        order = orders.readline().strip()
        worker.verify()
        print(json.dumps(worker.told()), flush=True)
        if order != b"verify":
            return
        orders.readline()  # goes on when it is told so


if __name__ == "__main__":
    main()
