"""Clients that hold leases and do not play by the rules: they are fenced or refused, and the others go on. Named after
the sentences of docs/protocol.md, section 9."""

import os
import threading
import time

import wire
from calls import read, write
from harness import SLOWER, Case
from wire import Closed, Peer, block, fields, frame, number

ACQUIRE, RELEASE, GLIMPSE_ANSWER, RECALL, GLIMPSE, FENCED = 80, 81, 82, 90, 92, 93
EXCLUSIVE = 2
# Who does not answer a recall is waited for for 20 s; the rest is for a busy machine.
PATIENCE_S = 60 * SLOWER


class Villain(Peer):
    """A client with leases, which answers nothing by itself."""

    def __init__(self, port):
        super().__init__(port, greet=False)
        self.send(wire.banner(wire.hello(features=15)))
        self.peer_hello()
        self.recalled = []
        message = block(1, os.urandom(16)) + number(2, 1) + block(3, b"data")
        message += number(7, 1) + number(8, 1) + number(10, 1)
        assert self.ask(wire.SESSION_OPEN, message).status == wire.OK

    def find(self, name):
        """The object of a name in the root."""
        reply = self.ask(wire.LOOKUP, wire.CALLER + number(2, 1) + block(3, name))
        assert reply.status == wire.OK
        attrs = [fields(attr) for values in fields(reply.message).values() for attr in values
                 if isinstance(attr, bytes)]
        for attr in attrs:  # leases come with attributes
            if attr.get(15):
                self.ask(RELEASE, number(1, attr[15][0]))
        return fields(fields(reply.message)[1][0])[1][0]

    def receive(self):
        """The next frame; recalls are remembered."""
        got = super().receive()
        if got.kind == wire.EVENT and got.command == RECALL:
            self.recalled.append(fields(got.message)[2][0])
        return got

    def grab(self, target):
        """Its lease, EXCLUSIVE; waits until the others have given theirs back."""
        reply = self.ask(ACQUIRE, number(1, target) + number(2, EXCLUSIVE))
        assert reply.status == wire.OK, reply.status
        return fields(fields(reply.message)[1][0])[1][0]

    def post(self, command, message):
        """Sends a request; nobody waits for the answer."""
        self.ident += 1
        self.send(frame(command, message, ident=self.ident))

    def obey(self):
        """Gives back what it is asked for by now."""
        self.socket.settimeout(0.05)
        try:
            while not self.recalled:
                self.receive()
        except TimeoutError:
            pass
        self.socket.settimeout(20)
        while self.recalled:
            self.post(RELEASE, number(1, self.recalled.pop()))

    def event(self, command):
        """The next event of that kind, as fields."""
        while command != RECALL or not self.recalled:
            got = self.receive()
            if got.kind == wire.EVENT and got.command == command:
                return fields(got.message)
        return {}

    def ended(self):
        """Whether it is told that it is fenced, or cut off."""
        fenced = False
        try:
            while True:
                got = self.receive()
                fenced = fenced or (got.kind == wire.EVENT and got.command == FENCED)
        except (Closed, OSError):
            return True
        return fenced


class Leases(Case):
    """Two honest mounts, and a villain in between."""

    limit_s = 180 * SLOWER

    def setUp(self):
        """One server, two honest mounts."""
        self.one = self.server()
        self.honest = [self.mount(self.one) for _ in range(2)]

    def villains(self, *names):
        """With a file each, which both mounts know."""
        for name in names:
            write(self.honest[0].join(name), b"before")
            self.assertEqual(read(self.honest[1].join(name)), b"before")
        made = []
        for name in names:
            made.append(Villain(self.one.port))
            self.addCleanup(made[-1].close)
            made[-1].object = made[-1].find(name.encode())
        return made

    def go_on(self, name, took):
        """Both mounts work with the file, and see each other's changes; TOOK: how long that was."""
        began = time.monotonic()
        write(self.honest[0].join(name), b"after")
        if read(self.honest[1].join(name)) == b"after":
            took[name] = time.monotonic() - began

    def all_go_on(self, names):
        """With all these files at once: whoever is in the way is waited for once only."""
        took = {}
        threads = [threading.Thread(target=self.go_on, args=(name, took)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.assertEqual(set(took), set(names))
        self.assertLess(max(took.values()), PATIENCE_S)
        self.assertTrue(self.one.program.running())

    def lie(self, villain):
        """Answers a glimpse with another mode, another owner, and a size beyond all."""
        question = villain.event(GLIMPSE)
        now = number(1, 1 << 40)
        attr = (number(1, villain.object) + number(2, 0o104777) + number(3, 1) + number(4, 4242) + number(5, 4242)
                + number(6, (1 << 63) + 5) + block(10, now) + block(11, now) + block(12, now))
        villain.post(GLIMPSE_ANSWER, number(1, question[3][0]) + number(2, villain.lease) + block(3, attr))

    def answer_wrongly(self, villain, done):
        """Says that it keeps what it has not, and gives back what others have, until it is stopped."""
        lease = villain.lease
        try:
            villain.event(RECALL)
            while not done.wait(0.2):
                parts = block(4, number(1, lease + 7) + block(2, number(1, 0) + number(2, 10)))
                for message in (number(1, lease + 1), number(3, lease + 1), parts, number(1, 1) + number(1, 2)):
                    villain.post(RELEASE, message)
        except (Closed, OSError):
            pass

    def stop_reading(self, villain):
        """Asks until its socket is full of answers that it does not take."""
        villain.socket.settimeout(0.5)
        try:
            for _ in range(20000):
                villain.ident += 1
                villain.socket.sendall(frame(wire.GETATTR, wire.CALLER + number(2, 1), ident=villain.ident))
        except OSError:
            pass

    def test_r_9_7_who_does_not_give_back_what_others_want_is_fenced(self):
        """Who ignores recalls, answers them with other leases, lies, or reads no more; all at once."""
        silent, wrong, liar, deaf = self.villains("silent", "wrong", "liar", "deaf")
        for villain in (silent, wrong, liar, deaf):
            villain.lease = villain.grab(villain.object)
        seen, done = [], threading.Event()
        helpers = [threading.Thread(target=lambda: seen.append(os.stat(self.honest[0].join("liar")))),
                   threading.Thread(target=self.answer_wrongly, args=(wrong, done))]
        for helper in helpers:
            helper.start()
        try:
            self.lie(liar)  # R-9.5-8
            self.stop_reading(deaf)
            self.all_go_on(("silent", "wrong", "liar", "deaf"))
        finally:
            done.set()
            for helper in helpers:
                helper.join(PATIENCE_S)
        self.assertIn((seen[0].st_mode, seen[0].st_uid), [(0o100644, 0)])
        self.assertIn(seen[0].st_size, (5, 6))  # of one of the honest
        for villain in (silent, wrong, liar):
            self.assertTrue(villain.ended())

    def test_r_9_2_leases_of_others_are_not_given_back(self):
        """Ids by the thousand; those who hold them notice nothing, and their caches stay right."""
        villain = self.villains("shared")[0]
        for first in range(1, 3000, 1000):
            villain.post(RELEASE, b"".join(number(1, lease) for lease in range(first, first + 1000)))
        for turn in range(20):
            data = b"turn %d" % turn
            self.assertEqual(write(self.honest[turn % 2].join("shared"), data), len(data))
            self.assertEqual(read(self.honest[1 - turn % 2].join("shared")), data)
            villain.obey()

    def test_r_3_6_who_floods_leases_keeps_nobody_from_work(self):
        """Acquired and given back without end while the others work."""
        villain = self.villains("wanted")[0]
        done = threading.Event()

        def flood():
            try:
                while not done.is_set():
                    villain.ask(RELEASE, number(1, villain.grab(villain.object)))
                    villain.obey()
            except (Closed, OSError, AssertionError):
                pass
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for _ in range(5):
                self.all_go_on(("wanted",))
        finally:
            done.set()
            thread.join(PATIENCE_S)
        self.assertFalse(thread.is_alive())
