#!/usr/bin/python3
"""Does the same random work on a local directory and on a mount, as several
users, and reports the first operation that ends differently.

    oracle.py LOCAL MOUNT [SECOND_MOUNT] [--seed N] [--steps N] [--runs N]

LOCAL must be on the same kind of filesystem as the export. With a second mount
of the same export each operation goes to one of the two: together they must
behave as one local directory. The seed is printed; the same seed does the same
work. Run as root for all identities."""

import argparse
import os
import pickle
import random
import shutil
import struct
import sys

from worker import Worker, moved, stamps

IDENTITIES = [(0, 0, []), (1101, 1101, []), (1102, 1102, [1103, 1101]), (1104, 1103, [1105])]
NAMES = ["a", "b", "c", "d", "\udcff\udc80 x", "n" * 255]
# Not (-1, -1): the kernel tells the filesystem nothing that could be told from a write.
OWNERS = [(-1, 0), (-1, 1103), (0, -1), (1102, -1), (0, 0), (0, 1101), (1101, 1101), (1102, 1103)]
TIMED = {"mkdir", "rmdir", "unlink", "symlink", "link", "chmod", "chown", "truncate", "rename", "open",
         "mknod", "setxattr", "removexattr"}


class Side:
    """All identities at work on one directory, one process for each of its entrances."""

    def __init__(self, entrances):
        self.workers = []
        identities = IDENTITIES if os.geteuid() == 0 else IDENTITIES[:1]
        for root in entrances:
            self.workers.append([self.start(root, identity) for identity in identities])

    def start(self, root, identity):
        ask_read, ask_write = os.pipe()
        tell_read, tell_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ask_write)
            os.close(tell_read)
            self.serve(root, identity, os.fdopen(ask_read, "rb"), os.fdopen(tell_write, "wb"))
            os._exit(0)
        os.close(ask_read)
        os.close(tell_write)
        return (pid, os.fdopen(ask_write, "wb"), os.fdopen(tell_read, "rb"))

    def serve(self, root, identity, ask, tell):
        # A process ends when its pipe does, so nobody else may hold the other end of it.
        for held in range(3, 256):
            if held not in (ask.fileno(), tell.fileno()):
                try:
                    os.close(held)
                except OSError:
                    pass
        uid, gid, groups = identity
        if os.geteuid() == 0:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        worker = Worker(root)
        while True:
            try:
                umask, op, args, watched = pickle.load(ask)
            except EOFError:
                return
            os.umask(umask)
            before = stamps(worker.path(watched)) if watched else None
            answer = worker.run(op, args)
            if watched:
                answer += (moved(before, stamps(worker.path(watched))),)
            pickle.dump(answer, tell)
            tell.flush()

    def run(self, entrance, who, umask, op, args, watched):
        workers = self.workers[entrance]
        _, ask, tell = workers[who % len(workers)]
        pickle.dump((umask, op, args, watched), ask)
        ask.flush()
        return pickle.load(tell)

    def end(self):
        for pid, ask, tell in [worker for workers in self.workers for worker in workers]:
            ask.close()
            tell.close()
            os.waitpid(pid, 0)


class Plan:
    """Chooses the next operation; knows nothing of what came of the earlier ones."""

    def __init__(self, seed, entrances=1):
        self.random = random.Random(seed)
        # A fifo connects the processes of one machine, so not those of two mounts.
        self.kinds = ("fifo", "sock", "char", "file") if entrances == 1 else ("sock", "char", "file")

    def name(self):
        depth = self.random.choice((1, 1, 1, 2, 2, 3))
        return "/".join(self.random.choice(NAMES) for _ in range(depth))

    def slot(self):
        return self.random.randrange(4)

    def mode(self):
        return self.random.choice((0o777, 0o755, 0o644, 0o600, 0o700, 0o1777, 0o2775, 0o4755, 0o6755, 0o2644,
                                   0o444, 0o555, 0o000, 0o711, 0o222, 0o7777))

    def offset(self):
        return self.random.choice((0, 1, 100, 4095, 4096, 4097, 10000, 65536, 131071, 1 << 20))

    def data(self):
        length = self.random.choice((0, 1, 10, 100, 4096, 5000, 70000))
        return bytes([self.random.randrange(256)]) * length

    def flags(self):
        flags = self.random.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR))
        for extra in (os.O_CREAT, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_NOFOLLOW, os.O_DIRECTORY):
            if self.random.random() < 0.3:
                flags |= extra
        return flags | os.O_NONBLOCK

    def acl(self):
        entries = [(1, self.random.randrange(8), 0xffffffff), (2, self.random.randrange(8), 1101),
                   (4, self.random.randrange(8), 0xffffffff), (8, self.random.randrange(8), 1103),
                   (16, self.random.randrange(8), 0xffffffff), (32, self.random.randrange(8), 0xffffffff)]
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

    def key(self):
        return self.random.choice(("user.one", "user.two", "user.two", "trusted.three", "nonsense"))

    def choose(self):
        r = self.random
        table = {
            "mkdir": lambda: (self.name(), self.mode()), "rmdir": lambda: (self.name(),),
            "unlink": lambda: (self.name(),),
            "symlink": lambda: (r.choice((self.name(), "../" + self.name(), "nowhere", "t" * 4000)), self.name()),
            "readlink": lambda: (self.name(),), "link": lambda: (self.name(), self.name()),
            "rename": lambda: (self.name(), self.name(), r.choice((0, 0, 0, 1, 2))),
            "mknod": lambda: (self.name(), r.choice(self.kinds), self.mode()),
            "listdir": lambda: (self.name(),), "scandir": lambda: (".",), "stat": lambda: (self.name(),),
            "lstat": lambda: (self.name(),), "chmod": lambda: (self.name(), self.mode()),
            "chown": lambda: (self.name(), *r.choice(OWNERS)),
            "utime": lambda: (self.name(), r.choice((1, 10 ** 18 + 7, -10 ** 9 + 3)), 10 ** 18 + r.randrange(10 ** 9),
                              r.random() < 0.7),
            "touch": lambda: (self.name(),), "access": lambda: (self.name(), r.randrange(8)),
            "truncate": lambda: (self.name(), self.offset()), "chdir": lambda: (self.name(),),
            "open": lambda: (self.slot(), self.name(), self.flags(), self.mode()),
            "tmpfile": lambda: (self.slot(), r.choice((".", self.name())), self.mode()),
            "linkfd": lambda: (self.slot(), self.name()), "close": lambda: (self.slot(),),
            "fstat": lambda: (self.slot(),), "write": lambda: (self.slot(), self.data()),
            "pwrite": lambda: (self.slot(), self.data(), self.offset()),
            "read": lambda: (self.slot(), r.choice((0, 10, 5000, 200000))),
            "pread": lambda: (self.slot(), r.choice((10, 5000, 200000)), self.offset()),
            "seek": lambda: (self.slot(), self.offset(), r.choice((0, 1, 2, 3, 4))),
            "ftruncate": lambda: (self.slot(), self.offset()), "fchmod": lambda: (self.slot(), self.mode()),
            "fsync": lambda: (self.slot(),),
            "fallocate": lambda: (self.slot(), r.choice((0, 1, 3, 16, 17)), self.offset(), 1 + self.offset()),
            "copy_range": lambda: (self.slot(), self.slot(), self.offset(), self.offset(), self.offset()),
            "mmap_store": lambda: (self.slot(), self.offset(), self.data() or b"x"),
            "mmap_load": lambda: (self.slot(),),
            "lock": lambda: (self.slot(), r.randrange(3), self.offset(), self.offset()),
            "flock": lambda: (self.slot(), r.choice((1, 2, 8))),
            "setxattr": lambda: (self.name(), self.key(), self.data()[:3000], r.choice((0, 0, 1, 2))),
            "getxattr": lambda: (self.name(), self.key()), "listxattr": lambda: (self.name(),),
            "removexattr": lambda: (self.name(), self.key()),
        }
        if r.random() < 0.03:
            kind = r.choice(("system.posix_acl_access", "system.posix_acl_default"))
            return "setxattr", (self.name(), kind, self.acl(), 0)
        heavy = ("open", "open", "open", "write", "pwrite", "mkdir", "rename", "lstat", "chmod", "link")
        op = r.choice(list(table) + list(heavy))
        return op, table[op]()


def watched_path(op, args):
    if op not in TIMED:
        return None
    index = {"symlink": 1, "link": 1, "rename": 1, "open": 1}.get(op, 0)
    return args[index]


def same(local, mount):
    """Whether both answers are the same. Where a mount keeps changes back, its times of change are the server's: one
    that did not move locally may, because an earlier change came to be at the server."""
    if len(local) < 3 or len(mount) < 3 or len(local) != len(mount) or local[:-1] != mount[:-1]:
        return local == mount
    for here, there in zip(local[-1], mount[-1]):
        if here != there and (here is None or there is None or here[0] != there[0] or not there[1]):
            return False
    return True


def one_run(local, mounts, seed, steps):
    """Returns a description of the first difference, or None."""
    roots = [os.path.join(place, f"oracle-{seed}") for place in (local, mounts[0])]
    for root in roots:
        shutil.rmtree(root, ignore_errors=True)
        os.mkdir(root)
        os.chmod(root, 0o777)
    entrances = [[roots[0]] * len(mounts), [os.path.join(mount, f"oracle-{seed}") for mount in mounts]]
    sides = [Side(each) for each in entrances]
    plan = Plan(seed, len(mounts))
    history = []
    try:
        for step in range(steps):
            op, args = plan.choose()
            who = plan.random.randrange(len(IDENTITIES))
            umask = plan.random.choice((0o022, 0o022, 0o077, 0, 0o027))
            watched = watched_path(op, args)
            entrance = plan.random.randrange(len(mounts))
            answers = [side.run(entrance, who, umask, op, args, watched) for side in sides]
            history.append((entrance, who, oct(umask), op, args, answers[0]))
            if not same(*answers):
                tail = "\n".join("   " + repr(line)[:300] for line in history[-12:])
                return (f"seed {seed} step {step}: {op}{args!r} as {IDENTITIES[who]} at {entrance} umask {umask:o}\n"
                        f"  local: {answers[0]!r}\n  mount: {answers[1]!r}\n  before it:\n{tail}")[:6000]
    finally:
        for side in sides:
            side.end()
    for root in roots:
        shutil.rmtree(root)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("local")
    parser.add_argument("mounts", nargs="+", metavar="MOUNT")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    differences = 0
    for seed in range(options.seed, options.seed + options.runs):
        difference = one_run(options.local, options.mounts, seed, options.steps)
        print(f"seed {seed}: {'the same' if difference is None else 'DIFFERENT'}", flush=True)
        if difference:
            differences += 1
            print(difference, flush=True)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
