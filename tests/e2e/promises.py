"""What programs were told about files and records while something went wrong, and whether it was kept. A change is tried,
then accepted (its system call returned), then sure (it was synced)."""

import collections
import os

TRIED, ACCEPTED, SURE = "tried", "accepted", "sure"
LOG = "log"


def shown(content):
    """For people."""
    return "none" if content is None else "%d bytes (%r)" % (len(content), content[:10])


def picture(top):
    """name -> content (None for a directory) of all that is below TOP."""
    out = {}
    for where, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name != ".pohmel"]
        for name in folders:
            out[os.path.relpath(os.path.join(where, name), top) + "/"] = None
        for name in files:
            with open(os.path.join(where, name), "rb") as file:
                out[os.path.relpath(os.path.join(where, name), top)] = file.read()
    return out


class Promises:
    """Of a few files, of records in one log, and of groups of files that change together."""

    def __init__(self):
        self.may = collections.defaultdict(lambda: {None})  # name -> contents
        self.accepted = {}  # name -> (who, content)
        self.records = {}  # record -> [who, how]
        self.groups = []  # [{name: content}, ...]: the files are as one of these says

    def try_file(self, name, content):
        """It is being changed."""
        self.may[name].add(content)
        self.accepted.pop(name, None)

    def accept_file(self, name, who, content):
        """WHO was told that it was changed."""
        self.accepted[name] = (who, content)

    def sure_file(self, name, content):
        """It is so, and not as before."""
        self.may[name] = {content}
        self.accepted.pop(name, None)

    def accepted_of(self, who):
        """(files, records) that WHO was told are so, and has not synced."""
        return ([(name, content) for name, (by, content) in self.accepted.items() if by == who],
                [line for line, (by, how) in self.records.items() if (by, how) == (who, ACCEPTED)])

    def sure(self, names, files, records):
        """What was accepted before a sync of NAMES is sure."""
        for name, content in files:
            if name in names:
                self.sure_file(name, content)
        for line in records if LOG in names else ():
            self.records[line][1] = SURE

    def doubt(self, who):
        """WHO was told that something of what was accepted is lost."""
        files, records = self.accepted_of(who)
        for name, _ in files:
            del self.accepted[name]
        for line in records:
            self.records[line][1] = TRIED

    def broken(self, found, keeps, holes):
        """What was not kept in the picture FOUND. KEEPS(who): nothing is lost that was accepted from them. HOLES: there may
        be gaps in what was appended."""
        out = []
        for name, may in self.may.items():
            who, content = self.accepted.get(name, (None, None))
            may = {content} if who is not None and keeps(who) else may
            if found.get(name) not in may:
                out.append("%s: %s; promised: %s" % (name, shown(found.get(name)),
                                                     ", ".join(sorted(shown(one) for one in may))))
        for group in self.groups:
            if not any(all(found.get(name) == content for name, content in way.items()) for way in group):
                out.append("a half: %s" % {name: shown(found.get(name)) for name in group[0]})
        return out + self._broken_records(found.get(LOG) or b"", keeps, holes)

    def _broken_records(self, log, keeps, holes):
        lines = [line.lstrip(b"\0") if holes else line for line in log.split(b"\n")]
        counts = collections.Counter(line for line in lines if line)
        out = ["%r is in the log %d times" % (line[:40], count) for line, count in counts.items()
               if count > 1 or line not in self.records]
        for line, (who, how) in self.records.items():
            if line not in counts and (how == SURE or (how == ACCEPTED and keeps(who))):
                out.append("%r was %s, and is not in the log" % (line, how))
        return out
