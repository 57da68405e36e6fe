"""The style checker finds what it is there to find."""

import unittest

import rules
from csource import functions, prototypes


def complaints(rule, path, source):
    """What RULE says of SOURCE at PATH."""
    return list(rule(path, source))


class Rules(unittest.TestCase):
    """A bad sample fails, a good one does not."""

    def bad(self, rule, path, source):
        """SOURCE breaks RULE once."""
        self.assertEqual(len(complaints(rule, path, source)), 1, source)

    def good(self, rule, path, source):
        """SOURCE keeps RULE."""
        self.assertEqual(complaints(rule, path, source), [], source)

    def test_an_arrow_upward_is_found(self):
        """The folders stand one above the other."""
        self.bad(rules.arrows, "runtime/base/a.c", '#include "runtime/wire/frame.h"\n')
        self.bad(rules.arrows, "runtime/wire/a.c", '#include "runtime/io/channel.h"\n')
        self.bad(rules.arrows, "runtime/core/a.h", '#include "server/core/x.h"\n')
        self.bad(rules.arrows, "client/fuse/a.c", '#include "server/store/store.h"\n')
        self.bad(rules.arrows, "server/a.c", '#include "client/link.h"\n')
        self.bad(rules.arrows, "server/store/a.c", '#include "server/core/x.h"\n')
        self.bad(rules.arrows, "server/core/a.c", '#include "runtime/io/channel.h"\n')
        self.bad(rules.arrows, "client/core/a.c", '  #  include "client/link.h"\n')
        self.bad(rules.arrows, "runtime/base/a.c", '#include "ph_commands.h"\n')
        self.bad(rules.arrows, "server/a.c", '#include "local.h"\n')
        self.bad(rules.arrows, "elsewhere/a.c", '#include "runtime/base/arena.h"\n')

    def test_arrows_downward_are_fine(self):
        """What the architecture allows."""
        self.good(rules.arrows, "client/fuse/a.c", '#include "client/link.h"\n#include "runtime/io/channel.h"\n')
        self.good(rules.arrows, "server/store/a.c", '#include "ph_dispatch.h"\n#include <glib.h>\n')
        self.good(rules.arrows, "conformance/a.c", '#include "client/core/x.h"\n#include "server/core/y.h"\n')

    def test_impure_code_is_found(self):
        """No GLib, socket, clock or thread where code is pure."""
        self.bad(rules.pure_folders, "server/core/a.c", "#include <glib.h>\n")
        self.bad(rules.pure_folders, "runtime/wire/a.h", "#include <sys/socket.h>\n")
        self.bad(rules.pure_folders, "runtime/core/a.c", "#include <time.h>\nlong f(void)\n{\n    return time(0);\n}\n")
        self.bad(rules.pure_folders, "client/core/a.c", "#include <pthread.h>\n")
        self.bad(rules.pure_folders, "client/core/a.c", "int f(void)\n{\n    return rand();\n}\n")
        self.good(rules.pure_folders, "runtime/base/a.c", "#include <pthread.h>\n#include <string.h>\n")
        self.good(rules.pure_folders, "runtime/core/tests/test_a.c", "#include <glib.h>\n")
        self.good(rules.pure_folders, "server/a.c", "#include <glib.h>\n")

    def test_banned_calls_are_found(self):
        """In code, not in comments, strings or longer names."""
        self.bad(rules.banned_calls, "server/a.c", "void f(char *a)\n{\n    strcpy (a, g());\n}\n")
        self.bad(rules.banned_calls, "server/a.c", "int f(char *a)\n{\n    return atoi(a);\n}\n")
        self.good(rules.banned_calls, "server/a.c", "/* system() is banned */\nint my_system(int);\n"
                  'const char *s = "sprintf(";\nint g(void)\n{\n    return p->system(1) + snprintf(0, 0, "");\n}\n')

    def test_leftover_marks_are_found(self):
        """In any text."""
        self.bad(rules.leftover_marks, "docs/a.md", "TO" + "DO: later\n")
        self.bad(rules.leftover_marks, "server/a.c", "/* FIX" + "ME */\n")
        self.good(rules.leftover_marks, "server/a.c", "/* mktemp wants XXXXXX */\n")

    def test_long_files_and_functions_are_found(self):
        """One line too much is too much."""
        body = "    x++;\n" * (rules.FUNCTION_LINES_MAX - 2)
        self.bad(rules.function_length, "server/a.c", "static int f(void)\n{\n" + body + "}\n")
        self.good(rules.function_length, "server/a.c", "static int f(void)\n{\n" + body[9:] + "}\n")
        self.bad(rules.function_length, "gen/a.py", "def f():\n" + "    x = 1\n" * rules.FUNCTION_LINES_MAX)
        self.bad(rules.file_length, "server/a.c", "\n" * (rules.FILE_LINES_MAX + 1))
        self.good(rules.file_length, "server/a.c", "\n" * rules.FILE_LINES_MAX)

    def test_undocumented_prototypes_are_found(self):
        """In headers, also between documented ones."""
        self.bad(rules.documented_headers, "server/a.h", "/* Does. */\nint f(void);\n\nint g(int a,\n      int b);\n")
        self.good(rules.documented_headers, "server/a.h", "/* Does. */\nint f(void);\nint g(int a);\n"
                  "struct ops {\n    int (*open)(void *self);\n};\ntypedef int (*fn)(int);\n")

    def test_paths_of_a_machine_are_found(self):
        """The project stands alone."""
        self.bad(rules.this_place, "docs/a.md", "see /wo" + "rk/main\n")

    def test_every_rule_looks_at_the_files_it_is_about(self):
        """The file list does not leave them out."""
        for path in ("a/b.c", "a/b.h", "a/b.py", "README.md", "meson.build", "check", "quickstart", "idl/x.proto"):
            self.assertTrue(rules.concerns(path), path)


class Reading(unittest.TestCase):
    """The reading of C that the rules stand on."""

    SAMPLE = """
#define LONG(x) do { \\
        x; \\
    } while (0)
static const struct ops table = {
    .open = f,
};
struct point {
    int x;
};
/* One. */
static int
one(int a, void (*fn)(int))
{
    if (a) {
        return '{';
    }
    return 0;
}
int two(void) __attribute__((format(printf, 1, 2)));
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Thing, thing_free)
enum { A = 1 };
void three(void) { one(1, 0); }
"""

    def test_functions_are_found_with_their_lines(self):
        """Neither macros nor tables are taken for functions."""
        found = list(functions(self.SAMPLE))
        self.assertEqual([name for name, _, _ in found], ["one", "three"])
        self.assertEqual(found[0][1:], (12, 19))

    def test_prototypes_are_found(self):
        """With attributes behind them."""
        self.assertEqual([name for name, _ in prototypes(self.SAMPLE)], ["two"])


if __name__ == "__main__":
    unittest.main()
