"""A server and two mounts that a fault strikes, and what programs do on them meanwhile."""

import errno
import os
import random
import signal
import subprocess
import threading

from harness import POHMELCTL, SLOWER, Program, Server, scratch, tail, wait_for
from power import Machine
from promises import ACCEPTED, LOG, SURE, TRIED, Promises, shown
from relay import Relay
from strike import LIBRARY, Strike
from trees import status

A, B, SERVER = "a", "b", "server"
LONG_S, SHORT_S = 20, 5  # leases, where nobody is to lose them; where the end of some is waited for
PATIENCE_S = 60 * SLOWER
FULL_MIB = 64
FILE_BYTES = 3000  # in one page: it is written in one piece, whatever interrupts that
TXN_FAILED, TXN_UNKNOWN = 125, 124
PUBLISHED = ("pub/x", "pub/y", "pub/z")


def content(word):
    """Of a file."""
    return (word.encode() + b" ") * (FILE_BYTES // (len(word) + 1))


class Deed(threading.Thread):
    """Something that a program does on the mount of WHO; it may wait as long as it takes."""

    def __init__(self, who, what):
        super().__init__(daemon=True)
        self.who, self.what, self.error, self.wrong = who, what, None, None
        self.start()

    def run(self):
        try:
            self.what()
        except OSError as error:
            self.error = errno.errorcode.get(error.errno, str(error.errno))
        except Exception as error:  # pylint: disable=broad-except
            self.wrong = repr(error)


class World:
    """Two mounts A and B of one server, each behind a relay; FAULT says what it needs (faults.py). NUMBER: where a phase or
    a fault has several forms, which one."""

    def __init__(self, case, fault, number, seed):
        self.case, self.fault, self.number, self.chance = case, fault, number, random.Random(seed)
        self.promises, self.deeds, self.count = Promises(), [], 0
        self.lost = set()  # of A and B: their daemon, or their session
        self.victims = set(fault.fails)  # programs on them may see errors
        self.orderly = set()  # whose daemon is ending as it was told to
        self.strikes = {who: None for who in (A, B, SERVER)}
        self.machine = None
        self.lease_s = (SHORT_S if fault.short else LONG_S) * SLOWER
        self.server = self._server()
        self.relays, self.mounts = {}, {}
        for who in (A, B):
            self.relays[who] = Relay(self.server)
            case.addCleanup(self.relays[who].end)
            self.strikes[who] = self._strike()
            self.mount(who)
        self._tree()

    def _strike(self, top=None):
        return Strike(top) if os.path.exists(LIBRARY) else None

    def _environment(self, who):
        return self.strikes[who].environment if self.strikes[who] else None

    def _server(self):
        options = ["--verbose", "--lease-time", str(int(self.lease_s))]
        if self.fault.disk == "ext4":
            self.strikes[SERVER] = self._strike()
            self.machine = Machine("ext4", options=options, env=self._environment(SERVER))
            self.case.addCleanup(self.machine.end)
            return self.machine.server
        disk = scratch("disk")
        if self.fault.disk == "tmpfs":
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % FULL_MIB, "tmpfs", disk], check=True)
            self.case.addCleanup(subprocess.run, ["umount", "-l", disk], check=True)
        export, state = os.path.join(disk, "export"), os.path.join(disk, os.path.basename(disk) + ".state")
        os.mkdir(export, 0o755)
        os.mkdir(state, 0o700)
        self.strikes[SERVER] = self._strike(export if self.number % 2 == 0 else None)
        return self.case.server(export=export, state=state, options=options, env=self._environment(SERVER))

    def mount(self, who):
        """A mount of WHO. Nothing is sent only because it is old."""
        options = ("allow_other", "flush_age=3600s", "conflicts=" + scratch("kept"))
        self.mounts[who] = self.case.mount(self.relays[who], options=options, env=self._environment(who))

    def _tree(self):
        """What is there before anything happens, all of it synced."""
        for name in ("left", "right", "pub"):
            os.mkdir(self.at(B, name))
        for name in ("cold", "shared", "right/final", "left/draft") + PUBLISHED[:2]:
            self.put(B, name, "old " + name)
        self.put(A, "kept", "a was here")
        self.record(B)
        self.record(A)

    def at(self, who, name=""):
        """A path on the mount of WHO."""
        return self.mounts[who].join(name)

    # What programs do.

    def put(self, who, name, word, sync=True):
        """Writes all of a file, which may be new."""
        body = content(word)
        if None in self.promises.may[name]:
            self.promises.try_file(name, b"")  # made, and not written yet
        self.promises.try_file(name, body)
        fd = os.open(self.at(who, name), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            assert os.pwrite(fd, body, 0) == len(body)
            self.promises.accept_file(name, who, body)
            if sync:
                os.fsync(fd)
                self.promises.sure_file(name, body)
        except OSError:
            self.promises.doubt(who)
            raise
        finally:
            os.close(fd)

    def record(self, who, sync=True):
        """Appends a record to the log of all."""
        self.count += 1
        line = b"%s %06d" % (who.encode(), self.count)
        self.promises.records[line] = [who, TRIED]
        fd = os.open(self.at(who, LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            assert os.write(fd, line + b"\n") == len(line) + 1
            self.promises.records[line][1] = ACCEPTED
            if sync:
                os.fsync(fd)
                self.promises.records[line][1] = SURE
        except OSError:
            self.promises.doubt(who)
            raise
        finally:
            os.close(fd)

    def dirty(self):
        """A has changes that are not at the server."""
        self.put(A, "shared", "new shared", sync=False)
        self.record(A, sync=False)

    def sync(self, who, *names):
        """fsync of files that were changed before."""
        for name in names:
            before = self.promises.accepted_of(who)
            fd = os.open(self.at(who, name), os.O_RDWR)
            try:
                os.fsync(fd)
            except OSError:
                self.promises.doubt(who)
                raise
            finally:
                os.close(fd)
            self.promises.sure([name], *before)

    def sync_directories(self, who, *names):
        """What names there are in them is stable."""
        for name in names:
            fd = os.open(self.at(who, name), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def look(self, who, name):
        """What a program reads is something that it may be."""
        with open(self.at(who, name), "rb") as file:
            found = file.read()
        if found not in self.promises.may[name]:
            raise AssertionError("%s read %s of %s" % (who, shown(found), name))

    def want(self, who):
        """A record behind those of the other one, and a look at what the other one may have changed."""
        self.record(who)
        self.look(who, "shared")

    def meet(self, who):
        """A file that this mount does not know is read and written."""
        self.look(who, "cold")
        self.put(who, "cold", "%s's cold" % who)

    def move(self, who):
        """A file over another one, in another directory; both directories are synced."""
        draft, final = content("old left/draft"), content("old right/final")
        self.promises.groups.append([{"left/draft": draft, "right/final": final},
                                     {"left/draft": None, "right/final": draft}])
        self.promises.try_file("left/draft", None)
        self.promises.try_file("right/final", draft)
        os.rename(self.at(who, "left/draft"), self.at(who, "right/final"))
        self.sync_directories(who, "right", "left")
        self.promises.sure_file("left/draft", None)
        self.promises.sure_file("right/final", draft)

    def publish(self, who):
        """Three files in one transaction of several commands: two are replaced, one is new."""
        body, ways = content("public"), [{}, {}]
        for name in PUBLISHED:
            ways[0][name] = next(iter(self.promises.may[name]))
            ways[1][name] = body
            self.promises.try_file(name, body)
        self.promises.groups.append(ways)
        source = os.path.join(scratch("source"), "public")
        with open(source, "wb") as file:
            file.write(body)
        each = "for name in x y z; do cp %s new && mv new $name; done" % source
        program = Program(["sh", "-c", 'cd "$1" && exec "$0" txn -- sh -ec "$2"', POHMELCTL, self.at(who, "pub"), each],
                          source + ".log")
        code = program.end(0, PATIENCE_S)
        if code in (TXN_FAILED, TXN_UNKNOWN):
            raise OSError(errno.EIO, "\n".join(tail(program.log)))
        if code != 0:
            raise AssertionError("pohmelctl txn: %s, %s" % (code, tail(program.log)))
        for name in PUBLISHED:
            self.promises.sure_file(name, body)

    def deed(self, who, what, *arguments):
        """Something that happens meanwhile."""
        self.deeds.append(Deed(who, lambda: what(*arguments)))

    # Phases.

    def hold(self, who, direction, fits):
        """Holds a message until the phase is over."""
        return self.relays[who].hold(direction, fits)

    def caught(self, hold):
        """Waits until it is under way."""
        wait_for(hold.caught.is_set, "the message that makes the phase", PATIENCE_S)

    def lift(self):
        """Nothing is held any more."""
        for who in (A, B):
            self.relays[who].down = False
            self.relays[who].release()
        if self.strikes[SERVER]:
            self.strikes[SERVER].let_rename_go()

    # What becomes of the mounts.

    def told(self, who):
        """By the mount itself."""
        return status(self.mounts[who].path)

    def kill(self, who):
        """The daemon."""
        self.mounts[who].program.process.kill()
        self.lost.add(who)

    def end(self, who):
        """In order: what was accepted is at the server afterwards. (After umount(8) the kernel tells the daemon when the last
        namespace has no such mount any more, and other tests make namespaces.) Its exit code."""
        self.orderly.add(who)
        return self.mounts[who].program.end(signal.SIGTERM, PATIENCE_S)

    def ended(self):
        """Clears away mounts whose daemons have ended, whoever still waits for them, and tells who needs another one."""
        for who in (A, B):
            old = self.mounts[who]
            if who in self.orderly:
                code = old.program.process.returncode
                if code != 0 and who not in self.lost and self.fault.keeps:
                    raise AssertionError("the unmounted pohmelfs ended with %s" % code)
            elif who not in self.lost and old.program.running():
                continue
            else:
                self.lost.add(who)
            old.unmount()
            self.orderly.discard(who)
            yield who

    def keeps(self, who):
        """Whether nothing may be lost that was accepted from WHO."""
        return self.fault.keeps and who not in self.lost
