"""Who may do what, as several users: compared with a local directory."""

import os
import struct

from calls import as_user, attempt, facts, read, write
from harness import MountCase, scratch

ALICE, BOB, CAROL = 4001, 4002, 4003
TEAM, MANY = 4100, list(range(5000, 5060))


class Permissions(MountCase):
    """The server decides, as a local kernel would."""

    def same(self, function):
        """FUNCTION(directory) returns the same here and locally."""
        expected = function(scratch("local"))
        self.assertEqual(function(self.here), expected)

    def test_mode_bits_decide_for_owner_group_and_others(self):
        """Every mode of files, for each kind of user."""
        def deed(where):
            os.chmod(where, 0o755)
            out = []
            for mode in (0o000, 0o400, 0o040, 0o004, 0o600, 0o060, 0o006, 0o644, 0o464, 0o446, 0o755):
                path = os.path.join(where, "m%o" % mode)
                write(path, b"x")
                os.chown(path, ALICE, TEAM)
                os.chmod(path, mode)

                def inner(name=path):
                    return [attempt(read, name), attempt(write, name, b"x", 0, os.O_APPEND),
                            [os.access(name, bit) for bit in (os.R_OK, os.W_OK, os.X_OK)],
                            attempt(os.truncate, name, 1), attempt(os.chmod, name, mode)]
                for uid, gid, groups in ((ALICE, ALICE, []), (BOB, TEAM, []), (BOB, BOB, [TEAM]), (CAROL, CAROL, [])):
                    out.append((oct(mode), uid, gid, as_user(uid, gid, groups, inner)))
                out.append((oct(mode), "root", inner()))
            return out
        self.same(deed)

    def test_directories_need_search_and_write(self):
        """Listing, entering, making and removing."""
        def deed(where):
            os.chmod(where, 0o755)
            out = []
            for mode in (0o700, 0o500, 0o300, 0o100, 0o770, 0o750, 0o730, 0o711, 0o744, 0o733):
                path = os.path.join(where, "d%o" % mode)
                os.mkdir(path)
                write(os.path.join(path, "f"), b"x")
                os.chown(path, ALICE, TEAM)
                os.chmod(path, mode)

                def inner(name=path):
                    return [attempt(os.listdir, name), attempt(read, name + "/f"), attempt(os.mkdir, name + "/n"),
                            attempt(os.rename, name + "/f", name + "/g"), attempt(os.stat, name + "/no"),
                            attempt(os.rename, name + "/g", name + "/f"), attempt(os.rmdir, name + "/n")]
                for uid, gid, groups in ((ALICE, ALICE, []), (BOB, BOB, [TEAM]), (CAROL, CAROL, [])):
                    out.append((oct(mode), uid, as_user(uid, gid, groups, inner)))
            return out
        self.same(deed)

    def test_many_supplementary_groups_count(self):
        """Not only the first sixteen."""
        def deed(where):
            os.chmod(where, 0o755)
            path = os.path.join(where, "f")
            write(path, b"x")
            os.chown(path, 0, MANY[-1])
            os.chmod(path, 0o060)
            return [as_user(BOB, BOB, groups, lambda: attempt(read, path)) for groups in (MANY, MANY[:-1], [])]
        self.same(deed)

    def test_new_objects_belong_to_their_maker(self):
        """And to the directory's group where that is set-gid."""
        def deed(where):
            os.chown(where, 0, TEAM)
            os.chmod(where, 0o2777)
            plain = os.path.join(where, "plain")
            os.mkdir(plain)
            os.chown(plain, 0, 0)
            os.chmod(plain, 0o777)

            def inner():
                out = []
                for folder in (where, plain):
                    write(folder + "/f", b"x", 0o2775)
                    os.mkdir(folder + "/d", 0o755)
                    os.symlink("x", folder + "/l")
                    os.mkfifo(folder + "/p")
                    out += [facts(folder + "/" + name) for name in "fdlp"]
                return out
            return as_user(ALICE, ALICE, [], inner)
        self.same(deed)

    def test_sticky_directories_protect_what_others_own(self):
        """Removing and renaming."""
        def deed(where):
            os.chmod(where, 0o1777)
            for name in ("a", "b"):
                write(os.path.join(where, name), b"x", 0o666)
                os.chown(os.path.join(where, name), ALICE, ALICE)

            def inner():
                write(os.path.join(where, "mine"), b"x")
                return [attempt(os.unlink, where + "/a"), attempt(os.rename, where + "/a", where + "/c"),
                        attempt(os.rename, where + "/mine", where + "/b"), attempt(os.unlink, where + "/mine")]
            return [as_user(BOB, BOB, [], inner), as_user(ALICE, ALICE, [], inner), sorted(os.listdir(where))]
        self.same(deed)

    def test_only_owners_change_modes_and_only_root_owners(self):
        """chmod, chown, chgrp, utime."""
        def deed(where):
            os.chmod(where, 0o755)
            path = os.path.join(where, "f")
            write(path, b"x", 0o666)
            os.chown(path, ALICE, ALICE)
            os.chmod(path, 0o666)

            def inner():
                return [attempt(os.chmod, path, 0o2666), facts(path), attempt(os.chown, path, BOB, -1),
                        attempt(os.chown, path, -1, TEAM), facts(path), attempt(os.chown, path, -1, 4999),
                        attempt(os.utime, path), attempt(os.utime, path, (1, 1))]
            return [as_user(ALICE, ALICE, [TEAM], inner), as_user(BOB, BOB, [], inner)]
        self.same(deed)

    def test_set_id_bits_fall_with_a_write(self):
        """Write, truncate, chown, by the owner, by others and by root."""
        def deed(where):
            os.chmod(where, 0o755)
            path = os.path.join(where, "f")
            deeds = {"write": lambda: write(path, b"y", 0, os.O_APPEND), "cut": lambda: os.truncate(path, 0),
                     "open with O_TRUNC": lambda: write(path, b"z"), "chown": lambda: os.chown(path, -1, TEAM),
                     "read": lambda: read(path), "chmod": lambda: os.chmod(path, 0o6711),
                     "nothing written": lambda: os.close(os.open(path, os.O_WRONLY))}
            out = []
            for name, action in deeds.items():
                for mode in (0o6777, 0o2767, 0o4755, 0o2745):
                    for uid in (0, ALICE, BOB):
                        write(path, b"some")
                        os.chown(path, ALICE, TEAM)
                        os.chmod(path, mode)
                        answer = as_user(uid, uid, [TEAM] if uid == ALICE else [], lambda a=action: attempt(a))
                        out.append((name, oct(mode), uid, answer, oct(os.stat(path).st_mode)))
            return out
        self.same(deed)

    def test_capabilities_of_a_file_fall_with_a_write(self):
        """security.capability."""
        def deed(where):
            path = os.path.join(where, "f")
            write(path, b"x", 0o755)
            os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0))
            before = sorted(os.listxattr(path))
            write(path, b"y", 0, os.O_APPEND)
            return [before, sorted(os.listxattr(path))]
        self.same(deed)

    def test_a_descriptor_keeps_what_it_was_opened_for(self):
        """Permissions taken away later do not matter to it."""
        def deed(where):
            os.chmod(where, 0o777)

            def inner():
                path = os.path.join(where, "f")
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                os.chmod(path, 0)
                out = [attempt(os.write, descriptor, b"abc"), attempt(os.pread, descriptor, 9, 0),
                       attempt(os.ftruncate, descriptor, 1), attempt(os.open, path, os.O_RDONLY)]
                os.close(descriptor)
                return out
            return as_user(ALICE, ALICE, [], inner)
        self.same(deed)

    def test_the_way_to_a_file_needs_search_on_each_directory(self):
        """A closed one in the middle closes all below."""
        def deed(where):
            os.makedirs(os.path.join(where, "a/b/c"))
            os.chmod(where, 0o755)
            write(os.path.join(where, "a/b/c/f"), b"x", 0o666)
            inner = os.path.join(where, "a/b/c/f")
            out = [as_user(BOB, BOB, [], lambda: attempt(read, inner))]
            os.chmod(os.path.join(where, "a/b"), 0o700)
            out += [as_user(BOB, BOB, [], lambda: [attempt(read, inner), attempt(os.stat, inner)]), read(inner)]
            return out
        self.same(deed)
