"""Phases of the fault matrix: each brings a World into it and keeps it there, until World.lift() lets it end."""

import json
import subprocess

import wire
from fault_world import A, B, PATIENCE_S, SERVER
from harness import POHMELCTL, wait_for
from promises import LOG
from relay import DOWN, UP, message, several
from strike import AFTER, BEFORE, RENAME_HELD, RENAME_HOLD

SESSION_CLOSE, OPEN, READ, LEASE_ACQUIRE, LEASE_RELEASE = 2, 21, 23, 80, 81
RECLAIM, RECLAIM_DONE, RECALL, GLIMPSE = 83, 84, 90, 92
LOOKS = (wire.LOOKUP, wire.GETATTR, wire.READDIR, OPEN, READ, LEASE_ACQUIRE)


def idle(world):
    """Nothing is under way."""
    world.record(A)


def lease_wanted(world):
    """B waits for what A has changed and not written back; A has not heard of it yet."""
    world.dirty()
    hold = world.hold(A, DOWN, message(wire.EVENT, RECALL, GLIMPSE))
    world.deed(B, world.want, B)
    world.caught(hold)


def grant_under_way(world):
    """A has been granted a lease that it does not know of. In the second form B wants it back at once."""
    hold = world.hold(A, DOWN, message(wire.REPLY, *LOOKS))
    world.deed(A, world.meet, A)
    world.caught(hold)
    if world.number % 2:
        world.deed(B, world.record, B)


def recall_out(world):
    """A was asked for a lease, and has written back; its answer is under way."""
    world.dirty()
    hold = world.hold(A, UP, message(wire.REQUEST, LEASE_RELEASE))
    world.deed(B, world.want, B)
    world.caught(hold)


def flush_under_way(world):
    """A writes back, and the server has not got it yet. In the second form it is a transaction of several commands."""
    if world.number % 2 and world.fault.atomic:
        hold = world.hold(A, UP, several)
        world.deed(A, world.publish, A)
    else:
        world.dirty()
        hold = world.hold(A, UP, lambda frame: bool(frame.changes()))
        world.deed(A, world.sync, A, LOG, "shared")
    world.caught(hold)


def applied_unanswered(world):
    """The server has done what A wrote back, and A does not know."""
    if world.number % 2 and world.fault.atomic:
        sent = world.hold(A, UP, several)
        world.deed(A, world.publish, A)
        world.caught(sent)
        hold = world.hold(A, DOWN, message(wire.REPLY, wire.TRANSACT))
        sent.gone.set()
    else:
        world.dirty()
        hold = world.hold(A, DOWN, message(wire.REPLY, wire.TRANSACT))
        world.deed(A, world.sync, A, LOG, "shared")
    world.caught(hold)


def rename_half_done(world):
    """The server is in the middle of a rename of A's: before the system call, or right after it."""
    strike = world.strikes[SERVER]
    strike[RENAME_HOLD] = BEFORE if world.number % 2 else AFTER
    world.deed(A, world.move, A)
    wait_for(lambda: strike[RENAME_HELD] > 0, "the rename", PATIENCE_S)


def reclaim(world):
    """The server was killed and started again, and A claims what it had; its claim, or (in the second form) that it has
    no more of them, is under way, or the answer to it."""
    world.dirty()
    world.server.kill()
    direction, kind = ((UP, wire.REQUEST), (DOWN, wire.REPLY))[world.number // 2 % 2]
    hold = world.hold(A, direction, message(kind, RECLAIM_DONE if world.number % 2 else RECLAIM))
    world.server.start()
    world.deed(A, world.sync, A, LOG, "shared")
    world.caught(hold)
    world.deed(B, world.want, B)


def grace(world):
    """The server was killed and started again; B is back and waits for A, which finds no way to it."""
    world.dirty()
    world.relays[A].down = True
    world.server.kill()
    world.server.start()
    world.deed(B, world.want, B)
    wait_for(lambda: awaited(world) == 1, "grace", PATIENCE_S)


def awaited(world):
    """Sessions that a server in grace waits for."""
    done = subprocess.run([POHMELCTL, "leases", "--json", "--server", world.server.state], check=False,
                          capture_output=True, timeout=PATIENCE_S)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return next((line["awaited"] for line in told if "grace" in line), 0)


def shutdown(world):
    """A is being unmounted: it has written back, and the end of its session is under way, or (in the second form) the
    answer to that."""
    world.dirty()
    direction, kind = ((UP, wire.REQUEST), (DOWN, wire.REPLY))[world.number % 2]
    hold = world.hold(A, direction, message(kind, SESSION_CLOSE))
    world.deed(A, world.end, A)
    world.caught(hold)


PHASES = {"idle": idle, "lease wanted": lease_wanted, "grant under way": grant_under_way, "recall out": recall_out,
          "flush under way": flush_under_way, "applied, unanswered": applied_unanswered,
          "rename half done": rename_half_done, "reclaim": reclaim, "grace": grace, "shutdown": shutdown}
