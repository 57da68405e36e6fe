"""Real work on a real mount: what people do all day, and it comes out the same."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading

from calls import read, write
from harness import ROOT, SLOWER, MountCase, scratch

ENV = dict(os.environ, GIT_AUTHOR_NAME="T", GIT_AUTHOR_EMAIL="t@example.org", GIT_COMMITTER_NAME="T",
           GIT_COMMITTER_EMAIL="t@example.org", GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null",
           PYTHONDONTWRITEBYTECODE="", LC_ALL="C")


def run(*words, cwd=None, **more):
    """Runs a command that must succeed; what it printed."""
    done = subprocess.run(list(words), cwd=cwd, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=300 * SLOWER, check=False, **more)
    if done.returncode:
        raise AssertionError("%s: %d\n%s" % (" ".join(words), done.returncode, done.stdout[-3000:]))
    return done.stdout


def source_tree(where):
    """A small C project of 200 files and a Makefile, and a tree of documents."""
    os.makedirs(where + "/src")
    for number in range(60):
        write("%s/src/part%d.c" % (where, number),
              b'#include "all.h"\nint part%d(int x)\n{\n    return x + %d;\n}\n' % (number, number))
    write(where + "/src/all.h", b"".join(b"int part%d(int);\n" % number for number in range(60)))
    calls = b"".join(b"    sum += part%d(1);\n" % number for number in range(60))
    write(where + "/src/main.c", b'#include <stdio.h>\n#include "all.h"\nint main(void)\n{\n    int sum = 0;\n' + calls +
          b'    printf("%d\\n", sum);\n    return 0;\n}\n')
    write(where + "/Makefile", b"OBJ := $(patsubst %.c,%.o,$(wildcard src/*.c))\nprog: $(OBJ)\n\t$(CC) -o $@ $^\n"
          b"%.o: %.c src/all.h\n\t$(CC) -O0 -c -o $@ $<\nclean:\n\trm -f prog src/*.o\n")
    for number in range(150):
        folder = "%s/doc/%d/%d" % (where, number % 7, number % 11)
        os.makedirs(folder, exist_ok=True)
        write("%s/page %d.txt" % (folder, number), os.urandom(number * 37))
    os.symlink("../src/all.h", where + "/doc/header")
    os.link(where + "/Makefile", where + "/doc/Makefile.too")
    write(where + "/run.sh", b"#!/bin/sh\nexec ./prog\n", 0o755)
    return where


class Work(MountCase):
    """One mount, or two."""

    mounts = 2
    limit_s = 400 * SLOWER

    def test_a_source_tree_is_unpacked_built_committed_searched_and_copied_back(self):
        """And found identical."""
        local = source_tree(scratch("tree") + "/t")
        run("tar", "-C", local, "-cf", local + ".tar", ".")
        tree = self.here + "/t"
        os.mkdir(tree)
        run("tar", "-C", tree, "-xf", local + ".tar")
        run("diff", "-r", "--no-dereference", local, tree)
        self.assertEqual(os.stat(tree + "/Makefile").st_ino, os.stat(tree + "/doc/Makefile.too").st_ino)
        run("make", "-j2", "-C", tree)
        self.assertEqual(run(tree + "/run.sh", cwd=tree), "1830\n")
        self.assertIn("is up to date", run("make", "-C", tree))
        run("touch", tree + "/src/part3.c")
        self.assertEqual(run("make", "-C", tree).count(" -c "), 1)
        self.assertEqual(len(run("grep", "-rl", "part17", tree + "/src").split()), 5)
        run("make", "-C", tree, "clean")
        run("git", "init", "-q", tree)
        run("git", "-C", tree, "add", "-A")
        run("git", "-C", tree, "commit", "-qm", "all")
        self.assertEqual(run("git", "-C", tree, "status", "--porcelain"), "")
        run("git", "-C", self.there + "/t", "fsck", "--full", "--strict")
        shutil.rmtree(tree + "/.git")
        back = scratch("back")
        run("cp", "-a", tree + "/.", back)
        run("diff", "-r", "--no-dereference", local, back)
        run("rm", "-r", tree)
        self.assertEqual(os.listdir(self.there), [])

    def test_git_clones_commits_rebases_and_collects(self):
        """Of the project's own history, or of a made one."""
        origin = self.here + "/origin.git"
        if subprocess.run(["git", "-C", ROOT, "rev-parse"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            run("git", "clone", "-q", "--bare", "--no-local", ROOT, origin)
        else:
            local = source_tree(scratch("tree") + "/t")
            run("git", "init", "-q", local)
            run("git", "-C", local, "add", "-A")
            run("git", "-C", local, "commit", "-qm", "all")
            run("git", "clone", "-q", "--bare", "--no-local", local, origin)
        run("git", "clone", "-q", origin, self.here + "/one")
        run("git", "clone", "-q", self.there + "/origin.git", self.there + "/two")
        for number in range(5):
            for clone in (self.here + "/one", self.there + "/two"):
                write("%s/note-%s-%d" % (clone, os.path.basename(clone), number), b"note\n" * number)
                run("git", "-C", clone, "add", "-A")
                run("git", "-C", clone, "commit", "-qm", "note %d" % number)
                run("git", "-C", clone, "pull", "-q", "--rebase")
                run("git", "-C", clone, "push", "-q")
        run("git", "-C", origin, "gc", "-q", "--prune=now")
        run("git", "-C", origin, "fsck", "--full")
        run("git", "-C", self.here + "/one", "pull", "-q", "--rebase")
        run("git", "-C", self.here + "/one", "stash", "list")
        self.assertEqual(len([name for name in os.listdir(self.here + "/one") if name.startswith("note-")]), 10)

    def test_rsync_there_and_back_is_identical(self):
        """With times, links and attributes, twice; the second time nothing is sent."""
        local = source_tree(scratch("tree") + "/t")
        os.setxattr(local + "/Makefile", "user.origin", b"here")
        run("rsync", "-aHAX", local + "/", self.here + "/copy/")
        again = run("rsync", "-aHAXi", local + "/", self.here + "/copy/")
        self.assertEqual(again, "")
        run("rsync", "-aHAX", "--delete", self.there + "/copy/", local + "-back/")
        self.assertEqual(run("rsync", "-aHAXin", "--delete", local + "/", local + "-back/"), "")
        run("diff", "-r", "--no-dereference", local, local + "-back")

    def test_a_database_keeps_its_integrity_under_several_writers(self):
        """SQLite with rollback journal through both mounts, and in WAL mode on one."""
        for mode, paths in (("delete", (self.here + "/a.db", self.there + "/a.db")), ("wal", (self.here + "/b.db",) * 2)):
            base = sqlite3.connect(paths[0], timeout=60)
            self.assertEqual(base.execute("pragma journal_mode=" + mode).fetchone()[0], mode)
            base.execute("create table t (who int, n int)")
            base.commit()
            base.close()
            code = ("import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],timeout=120,isolation_level=None)\n"
                    "for n in range(60):\n  c.execute('begin immediate')\n"
                    "  c.execute('insert into t values (?,?)',(int(sys.argv[2]),n))\n  c.execute('commit')\n")
            writers = [subprocess.Popen([sys.executable, "-c", code, path, str(who)], stderr=subprocess.PIPE, text=True)
                       for who, path in enumerate(paths * 2)]
            for writer in writers:
                _, said = writer.communicate()
                self.assertEqual(writer.returncode, 0, said)
            base = sqlite3.connect(paths[1])
            self.assertEqual(base.execute("pragma integrity_check").fetchone()[0], "ok")
            self.assertEqual(base.execute("select count(*), count(distinct who) from t").fetchone(), (240, 4))
            base.close()

    def test_python_compiles_and_runs_from_the_mount(self):
        """Packages, caches, many small files."""
        package = self.here + "/package"
        os.mkdir(package)
        for number in range(120):
            write("%s/m%d.py" % (package, number), b"VALUE = %d\n" % number)
        write(package + "/__init__.py", b"from . import " + b", ".join(b"m%d" % number for number in range(120)))
        out = run(sys.executable, "-c", "import package.m119 as m; print(m.VALUE)", cwd=self.here)
        self.assertEqual(out, "119\n")
        self.assertEqual(len([name for name in os.listdir(package + "/__pycache__")]), 121)
        self.assertEqual(run(sys.executable, "-c", "import package.m119 as m; print(m.VALUE)", cwd=self.there), "119\n")

    def test_editors_save_as_they_do(self):
        """Write beside and rename over; back up by link; truncate and write in place."""
        path = self.here + "/text"
        for number in range(30):
            text = b"line %d\n" % number * 50
            write(path + ".new", text)
            descriptor = os.open(path + ".new", os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            if os.path.exists(path + "~"):
                os.unlink(path + "~")
            if number:
                os.link(path, path + "~")
            os.rename(path + ".new", path)
            self.assertEqual(read(self.there + "/text"), text)
            write(path, text.upper())
            self.assertEqual(read(self.there + "/text"), text.upper())

    def test_parallel_builders_and_searchers_do_not_disturb_each_other(self):
        """A build through one mount while the other is searched."""
        tree = source_tree(self.here + "/t")
        other = self.there + "/t"
        stop, failed = threading.Event(), []

        def search():
            while not stop.is_set():
                done = subprocess.run(["grep", "-rlw", "part17", other + "/src", "--include=*.[ch]"], check=False,
                                      stdout=subprocess.PIPE)
                if done.stdout.count(b"\n") != 3:
                    failed.append(done.stdout)
        searcher = threading.Thread(target=search)
        searcher.start()
        try:
            for _ in range(3):
                run("make", "-j3", "-C", tree)
                run("make", "-C", tree, "clean")
        finally:
            stop.set()
            searcher.join()
        self.assertEqual(failed, [])
