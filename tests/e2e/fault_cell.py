"""A cell of the fault matrix: a fault strikes in a phase, things heal, and what is left is judged, byte by byte."""

import os
import signal
import subprocess
import time

from fault_phases import PHASES
from fault_world import A, B, PATIENCE_S, World
from faults import FAULTS
from harness import SERVER, flush, tail
from promises import picture
from strike import LIBRARY

TRIES = 20
STEP_S = 0.05
SHOWN = 6  # of what is broken


def why_not(fault, phase):
    """Why this cell cannot be made here, or None."""
    if not os.path.exists(LIBRARY) and (phase == "rename half done" or FAULTS[fault].loaded):
        return "not built: " + LIBRARY
    return None


class Cell:
    """One of them."""

    def __init__(self, case, fault, phase, number, seed):
        self.fault, self.phase = FAULTS[fault], phase
        self.world = World(case, self.fault, number, seed)

    def run(self):
        """What is broken afterwards, for people."""
        world = self.world
        PHASES[self.phase](world)
        self.fault.strike(world)
        world.lift()
        self.fault.heal(world)
        broken = self.join()
        for who in world.ended():
            self.mount_again(who)
        for who in (A, B):
            world.deed(who, self.go_on, who)
        broken += self.join()
        return (broken + self.judge() + self.end())[:SHOWN]

    # What programs do.

    def join(self):
        """Nobody waits for ever, and nobody sees an error who should not."""
        world, out = self.world, []
        until = time.monotonic() + PATIENCE_S
        while any(deed.is_alive() for deed in world.deeds):
            self.revive()
            if time.monotonic() > until:
                raise AssertionError("hangs: " + ", ".join(deed.name for deed in world.deeds if deed.is_alive()))
            time.sleep(STEP_S)
        self.find_lost()
        for deed in world.deeds:
            if deed.wrong is not None:
                out.append("%s: %s" % (deed.name, deed.wrong))
            elif deed.error is not None and deed.who not in world.victims | world.lost:
                out.append("%s: %s, which should not fail" % (deed.name, deed.error))
        world.deeds = []
        return out

    def revive(self):
        """A server that ended, where it may."""
        server = self.world.server
        if server.program.running():
            return
        code = server.program.process.returncode
        if not self.fault.mortal or code == -signal.SIGSEGV:
            raise AssertionError("the server ended with %d: %s" % (code, "\n".join(tail(server.log))))
        server.start()

    def mount_again(self, who):
        """Another one in the place of one that ended. A connection that breaks meanwhile is not taken up again: there is no
        mount yet; and its server may be ending as well."""
        for attempt in range(TRIES):
            self.revive()
            try:
                self.world.mount(who)
                return
            except AssertionError as error:
                if attempt == TRIES - 1 or "connection" not in str(error):
                    raise
                time.sleep(STEP_S)

    def find_lost(self):
        """Who began another session has lost the one before."""
        world = self.world
        for who in {A, B} - world.lost - world.orderly:
            if not world.mounts[who].program.running():
                if not self.fault.mortal:
                    raise AssertionError("pohmelfs ended: " + "\n".join(tail(world.mounts[who].log)))
                world.lost.add(who)
            elif world.told(who)["sessions-opened"] > 1 and not self.fault.new_session:
                if not self.fault.short:
                    raise AssertionError("%s lost its session: %s" % (who, "\n".join(tail(world.mounts[who].log))))
                world.lost.add(who)

    def patiently(self, who, what, *arguments):
        """What was lost is told to somebody: again, where that may be."""
        for attempt in range(TRIES):
            try:
                return what(*arguments)
            except (OSError, AssertionError) as error:
                if attempt == TRIES - 1 or who not in self.world.victims | self.world.lost:
                    raise
                failure = error
                time.sleep(STEP_S)
        raise failure

    def go_on(self, who):
        """Everything works as ever."""
        world = self.world
        self.patiently(who, world.record, who)
        self.patiently(who, world.put, who, "after." + who, "after " + who)
        self.patiently(who, world.record, who, False)
        self.patiently(who, os.mkdir, world.at(who, "made." + who))
        self.patiently(who, os.rename, world.at(who, "made." + who), world.at(who, "moved." + who))
        self.patiently(who, world.look, who, "shared")

    # What came of it.

    def judge(self):
        """Promises were kept, and all see the same."""
        world = self.world
        for who in (A, B):
            self.patiently(who, flush, world.at(who))
        self.find_lost()
        there = picture(world.server.export)
        out = world.promises.broken(there, world.keeps, self.fault.holes)
        for name in ("moved.a/", "moved.b/"):
            if name not in there:
                out.append(name + " is not there")
        for who in (A, B):
            seen = picture(world.at(who))
            out += ["%s sees another %s" % (who, name) for name in sorted(set(seen) | set(there))
                    if seen.get(name, 0) != there.get(name, 0)]
        return out

    def end(self):
        """In order, and what the server remembers is sound."""
        world, out = self.world, []
        for who in (A, B):
            code = world.end(who)
            world.mounts[who].unmount()
            if code != 0:
                out.append("the pohmelfs of %s ended with %s" % (who, code))
        code = world.server.stop()
        if code != 0:
            out.append("the server ended with %s" % code)
        done = subprocess.run([SERVER, "--check", "--state-dir", world.server.state, "--export",
                               "data=" + world.server.export], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=PATIENCE_S, check=False)
        if done.returncode != 0:
            out.append("pohmel-server --check: " + done.stdout)
        return out
