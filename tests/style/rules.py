"""The house rules that can be checked by reading: each yields complaints."""

import ast
import re

from csource import comment_before, functions, prototypes, strip

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

# Folder -> folders of the project whose headers it may include. The first
# entry that is a prefix of a path decides. "*" stands for everything.
ARROWS = [
    ("runtime/base/", ["runtime/base/"]),
    ("runtime/wire/", ["runtime/base/", "runtime/wire/"]),
    ("runtime/core/", ["runtime/base/", "runtime/wire/", "runtime/core/"]),
    ("runtime/io/", ["runtime/"]),
    ("client/core/", ["runtime/base/", "runtime/wire/", "runtime/core/", "client/core/"]),
    ("client/", ["runtime/", "client/"]),
    ("server/core/", ["runtime/base/", "runtime/wire/", "runtime/core/", "server/core/",
                      # The interface of the stores, which the core calls through.
                      "server/store/store.h"]),
    ("server/store/", ["runtime/", "server/store/"]),
    ("server/", ["runtime/", "server/"]),
    ("conformance/", ["*"]),
    ("tests/", ["*"]),
    ("bench/", ["*"]),
]
# Generated headers, by the folder that may first use them.
GENERATED = re.compile(r"^(ph_(protocol|commands|dispatch|stubs)\.h|\w+\.pb-c\.h|\w+\.pb\.h)$")

PURE = ("runtime/base/", "runtime/wire/", "runtime/core/", "client/core/", "server/core/")
PURE_HEADERS = {
    "assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "sys/uio.h", "endian.h",
    # Macros of lists only.
    "sys/queue.h",
    # Calendars; reading a clock is found below.
    "time.h",
    # Constants of modes and permissions only.
    "sys/stat.h",
    # The codecs and the processor's checksum instruction.
    "protobuf-c/protobuf-c.h", "pb.h", "pb_decode.h", "pb_encode.h", "nmmintrin.h", "arm_acle.h",
    "cpuid.h", "immintrin.h",
}

BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|alloca|system|popen|atoi|atol|strtok|tmpnam"
                    r"|mktemp)\s*\(")
PURE_BANNED = re.compile(r"(?<![\w.>])(clock_gettime|gettimeofday|time|rand|random|getrandom|pthread_create|sleep"
                         r"|usleep|nanosleep)\s*\(")
MARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")

C_FILE = re.compile(r"\.[ch]$")
TEXT_FILE = re.compile(r"\.([ch]|py|proto|md|build|sh|lua)$|(^|/)(check|quickstart|run)$|meson\.build$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def concerns(path):
    """Whether PATH is a file that any rule looks at: what a generator wrote is not."""
    return bool(TEXT_FILE.search(path)) and "/expected/" not in path


def _line(source, position):
    return source.count("\n", 0, position) + 1


def _is_test(path):
    return "/tests/" in path or path.startswith("tests/")


def arrows(path, source):
    """Includes follow the arrows between the folders."""
    if not C_FILE.search(path):
        return
    allowed = next((targets for folder, targets in ARROWS if path.startswith(folder)), None)
    for match in INCLUDE.finditer(source):
        kind, header = match.groups()
        where = "%s:%d" % (path, _line(source, match.start()))
        if kind == "<" and not header.startswith(("runtime/", "client/", "server/")):
            continue
        if allowed is None:
            yield "%s: no rule says what this folder may include" % where
        elif "/" not in header:
            if GENERATED.match(header) and path.startswith("runtime/base/"):
                yield "%s: base stands below the generated %s" % (where, header)
            elif not GENERATED.match(header):
                yield "%s: write the include of %s from the root of the project" % (where, header)
        elif allowed != ["*"] and not header.startswith(tuple(allowed)):
            yield "%s: may not include %s" % (where, header)


def pure_folders(path, source):
    """Pure folders use no system, clock, thread or GLib."""
    if not path.startswith(PURE) or not C_FILE.search(path) or _is_test(path):
        return
    for match in INCLUDE.finditer(source):
        kind, header = match.groups()
        if kind != "<" or header in PURE_HEADERS:
            continue
        if header == "pthread.h" and path.startswith("runtime/base/"):
            continue
        yield "%s:%d: a pure folder may not include <%s>" % (path, _line(source, match.start()), header)
    bare = strip(source)
    for match in PURE_BANNED.finditer(bare):
        yield "%s:%d: a pure folder may not call %s" % (path, _line(bare, match.start()), match.group(1))


def banned_calls(path, source):
    """No call that cannot be used safely."""
    if not C_FILE.search(path):
        return
    bare = strip(source)
    for match in BANNED.finditer(bare):
        yield "%s:%d: %s" % (path, _line(bare, match.start()), match.group(1))


def leftover_marks(path, source):
    """No leftover marks."""
    for match in MARKS.finditer(source):
        yield "%s:%d: %s" % (path, _line(source, match.start()), match.group(1))


def file_length(path, source):
    """A file is at most 600 lines."""
    if C_FILE.search(path) or path.endswith(".py"):
        lines = source.count("\n")
        if lines > FILE_LINES_MAX:
            yield "%s: %d lines; it is two ideas" % (path, lines)


def function_length(path, source):
    """A function is at most 70 lines."""
    if C_FILE.search(path):
        found = functions(source)
    elif path.endswith(".py"):
        found = _python_functions(path, source)
    else:
        return
    for name, first, last in found:
        if last - first + 1 > FUNCTION_LINES_MAX:
            yield "%s:%d: %s has %d lines" % (path, first, name, last - first + 1)


def _python_functions(path, source):
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno


def documented_headers(path, source):
    """Headers document each function."""
    if not path.endswith(".h") or _is_test(path):
        return
    for name, line in prototypes(source):
        if not comment_before(source, line):
            yield "%s:%d: %s has no comment" % (path, line, name)


def this_place(path, source):
    """Nothing names a path of the machine on which it was written."""
    for match in re.finditer(r"/(work|tmp/briefs)/[a-z]", source):
        yield "%s:%d: %s" % (path, _line(source, match.start()), match.group(0))


ALL = [arrows, pure_folders, banned_calls, leftover_marks, file_length, function_length, documented_headers,
       this_place]
