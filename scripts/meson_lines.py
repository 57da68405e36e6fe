"""One line for each test, out of meson's log: TAP tests count each by itself."""

import json
import re

RESULT = re.compile(r"^(ok|not ok)\s+\d*\s*-?\s*([^#]*?)\s*(?:#\s*(SKIP)\b\s*(.*))?$", re.IGNORECASE)


def subtests(stdout):
    """(verdict, name, reason) of each TAP line; verdict is ok, FAIL or skip."""
    for line in stdout.splitlines():
        match = RESULT.match(line)
        if not match:
            continue
        verdict, name, directive, reason = match.groups()
        if directive and directive.upper() == "SKIP":
            yield "skip", name, reason or "no reason given"
        else:
            yield "ok" if verdict == "ok" else "FAIL", name, ""


def indented(text, last):
    """The LAST lines of TEXT, set off."""
    return ["    " + line for line in text.splitlines()[-last:]]


def of_entry(entry, kind):
    """Lines of one test program."""
    program = entry["name"].split(" / ")[-1]
    out = []
    failed = False
    for verdict, name, reason in subtests(entry.get("stdout") or ""):
        full = "%s %s: %s" % (kind, program, name.lstrip("/") or "test")
        out.append("%s %s%s" % (verdict, full, ": " + reason if reason else ""))
        failed = failed or verdict == "FAIL"
    good = entry["result"] in ("OK", "EXPECTEDFAIL")
    skipped = entry["result"] == "SKIP"
    if skipped and not out:
        said = (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or "")
        reason = said.strip().splitlines()[-1:] or ["no reason given"]
        out.append("skip %s %s: %s" % (kind, program, reason[0]))
    elif good and not out:
        out.append("ok %s %s" % (kind, program))
    elif not good and not skipped:
        if not failed:
            out.append("FAIL %s %s (%s)" % (kind, program, entry["result"].lower()))
        out += indented(entry.get("stdout") or "", 30) + indented(entry.get("stderr") or "", 60)
    return out


def lines(path, kind):
    """Lines of all tests in the log at PATH, for the build KIND."""
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            entries = [json.loads(line) for line in log if line.strip()]
    except OSError:
        return []
    entries.sort(key=lambda entry: entry["name"])
    return [line for entry in entries for line in of_entry(entry, kind)]
