"""Faults of the fault matrix: what each does to a World, and what heals it. simulated as well: conformance/sim/strike.c."""

import errno
import os
import signal
import time

from fault_world import A, B, FULL_MIB, SERVER
from harness import SLOWER
from relay import DOWN, UP
from strike import STARVE, SYNCS

CLOCK_PPM = 19900  # just below what is allowed
FAILURES = 3  # one after the other, at most
ALLOCATIONS = 200  # one of so many that follow
MIB = 1 << 20


class Fault:
    """What strikes. SHORT: leases are short, for the end of some is waited for. KEEPS: nothing is lost that was accepted from
    a mount that lives and keeps its session. ATOMIC: of transactions all is there or nothing. HOLES: what is refused
    after it was accepted leaves gaps in what was appended. FAILS: on whose mount
    programs may see errors. MORTAL: programs may end by it. LOADED: it
    needs the library that is loaded into them. NEW_SESSION: nobody keeps the one before, and nothing is lost by that."""

    short, keeps, atomic, holes, fails, disk = False, True, True, False, (), None
    mortal = loaded = new_session = False

    def strike(self, world):
        """It happens."""

    def heal(self, world):
        """It is over, as far as it does not end by itself."""


class ClientKilled(Fault):
    """The daemon of A."""

    short, fails = True, (A,)

    def strike(self, world):
        world.kill(A)


class ServerKilled(Fault):
    """And started again."""

    def strike(self, world):
        world.server.kill()

    def heal(self, world):
        world.server.start()


class BothKilled(ClientKilled):
    """At the same time."""

    def strike(self, world):
        world.server.kill()
        world.kill(A)

    def heal(self, world):
        world.server.start()


def struck(world):
    """Whose connection it is: in grace A has none."""
    return B if world.relays[A].down else A


class ConnectionReset(Fault):
    """With all that is under way on it."""

    def strike(self, world):
        world.relays[struck(world)].reset()


class Partition(Fault):
    """What is sent in one direction is lost, until both ends have given the connection up."""

    short = True

    def strike(self, world):
        world.victims.add(struck(world))
        world.relays[struck(world)].lose(DOWN if world.number % 2 else UP)


class Paused(Fault):
    """A's daemon stands still for longer than its leases last."""

    short, fails = True, (A,)

    def strike(self, world):
        world.mounts[A].program.send(signal.SIGSTOP)

    def heal(self, world):
        time.sleep(2 * world.lease_s)
        world.mounts[A].program.send(signal.SIGCONT)


class ClocksOff(Fault):
    """The server's clock is too fast, and A's too slow, or the other way round: leases that last and are renewed."""

    short = loaded = True

    def strike(self, world):
        ppm = -CLOCK_PPM if world.number % 2 else CLOCK_PPM
        world.strikes[SERVER].turn_clock(ppm)
        world.strikes[A].turn_clock(-ppm)
        world.strikes[B].turn_clock(-ppm)

    def heal(self, world):
        time.sleep(1.5 * world.lease_s)


class Refusal(Fault):
    """Of the server's disk or memory: what was accepted may be refused when it is written back."""

    keeps, holes, fails = False, True, (A, B)


class DiskFull(Refusal):
    """Export and state of the server are on a filesystem that somebody else has filled."""

    disk = "tmpfs"

    def strike(self, world):
        with open(self.ballast(world), "wb", buffering=0) as file:
            try:
                for _ in range(FULL_MIB):
                    file.write(bytes(MIB))
            except OSError as error:
                assert error.errno == errno.ENOSPC
            try:
                while True:
                    file.write(b"x")
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def heal(self, world):
        time.sleep(0.5 * SLOWER)
        os.unlink(self.ballast(world))

    @staticmethod
    def ballast(world):
        """What fills it."""
        return os.path.join(os.path.dirname(world.server.export), "ballast")


class DiskError(Refusal):
    """A few changes fail, of files in the export (in the second form also of those of the server's own)."""

    loaded = True

    def strike(self, world):
        world.strikes[SERVER].fail(errno.EIO, world.chance.randint(1, FAILURES))

    def heal(self, world):
        time.sleep(0.5 * SLOWER)
        world.strikes[SERVER].end()


class FailedSync(DiskError):
    """fsync(2) and its like fail."""

    def strike(self, world):
        world.strikes[SERVER][SYNCS] = world.chance.randint(1, FAILURES)


class FailedAllocation(Refusal):
    """Of the server, or (in the second form) of A's daemon. Either may end by it."""

    mortal = loaded = True

    def strike(self, world):
        who = A if world.number % 2 else SERVER
        world.strikes[who][STARVE] = world.chance.randint(1, ALLOCATIONS)

    def heal(self, world):
        time.sleep(0.5 * SLOWER)
        for strike in world.strikes.values():
            strike.end()


class PowerLoss(Fault):
    """Of the server's machine. Files that are open have to be opened again. No transaction of several commands is under way:
    the namespace of pohmelctl txn would keep the disk mounted."""

    disk, atomic, new_session, fails = "ext4", False, True, (A, B)

    def strike(self, world):
        world.lost |= world.orderly  # who does not live on makes nothing again
        world.machine.lose_power()

    def heal(self, world):
        found = world.machine.start()
        if found:
            raise AssertionError("pohmel-server --check: " + found)


FAULTS = {"client killed": ClientKilled(), "server killed": ServerKilled(), "both killed": BothKilled(),
          "connection reset": ConnectionReset(), "one-way partition": Partition(), "paused beyond its lease": Paused(),
          "clock rates off": ClocksOff(), "disk full": DiskFull(), "I/O error": DiskError(),
          "failed fsync": FailedSync(), "failed allocation": FailedAllocation(), "power loss": PowerLoss()}
