"""One identity working below one directory: executes operations that arrive
as lines and answers what came of them in a form that can be compared."""

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100


def checked(result):
    """Turns a C library's -1 into the exception that Python's own calls raise."""
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def renameat2(old, new, flags):
    checked(LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def fallocate(fd, mode, offset, length):
    checked(LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def shown(st):
    """What of a stat must be the same on both sides."""
    size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
    links = st.st_nlink
    return (oct(st.st_mode), links, st.st_uid, st.st_gid, size, st.st_rdev)


def stamps(path):
    """Times of an object and of its directory, or None."""
    found = []
    for name in (path, os.path.dirname(path)):
        try:
            st = os.lstat(name)
            found.append((st.st_ino, st.st_mtime_ns, st.st_ctime_ns))
        except OSError:
            found.append(None)
    return found


def moved(before, after):
    """Which times moved; only for objects that are the same before and after."""
    answer = []
    for old, new in zip(before, after):
        if old is None or new is None or old[0] != new[0]:
            answer.append(None)
        else:
            answer.append((new[1] != old[1], new[2] != old[2]))
    return answer


class Worker:
    """Keeps open files by slot number, so that they outlive their names."""

    def __init__(self, root):
        self.root = root
        self.files = {}

    def path(self, name):
        return os.path.join(self.root, name)

    def run(self, op, args):
        try:
            return ("ok", getattr(self, "op_" + op)(*args))
        except OSError as error:
            return ("error", errno.errorcode.get(error.errno, error.errno))
        except KeyError:
            return ("error", "no such slot")

    # -- names ---------------------------------------------------------

    def op_mkdir(self, name, mode):
        os.mkdir(self.path(name), mode)

    def op_rmdir(self, name):
        os.rmdir(self.path(name))

    def op_unlink(self, name):
        os.unlink(self.path(name))

    def op_symlink(self, target, name):
        os.symlink(target, self.path(name))

    def op_readlink(self, name):
        return os.readlink(self.path(name))

    def op_link(self, old, new):
        os.link(self.path(old), self.path(new), follow_symlinks=False)

    def op_rename(self, old, new, flags):
        renameat2(self.path(old), self.path(new), flags)

    def op_mknod(self, name, kind, mode):
        kinds = {"fifo": stat.S_IFIFO, "sock": stat.S_IFSOCK, "char": stat.S_IFCHR, "file": stat.S_IFREG}
        device = os.makedev(1, 3) if kind == "char" else 0
        os.mknod(self.path(name), kinds[kind] | mode, device)

    def op_listdir(self, name):
        return sorted(os.listdir(self.path(name)))

    def op_scandir(self, name):
        with os.scandir(self.path(name)) as entries:
            return sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in entries)

    # -- attributes ----------------------------------------------------

    def op_stat(self, name):
        return shown(os.stat(self.path(name)))

    def op_lstat(self, name):
        return shown(os.lstat(self.path(name)))

    def op_chmod(self, name, mode):
        os.chmod(self.path(name), mode)
        return shown(os.stat(self.path(name)))

    def op_chown(self, name, uid, gid):
        os.chown(self.path(name), uid, gid, follow_symlinks=False)
        return shown(os.lstat(self.path(name)))

    def op_utime(self, name, atime, mtime, follow):
        os.utime(self.path(name), ns=(atime, mtime), follow_symlinks=follow)
        st = os.stat(self.path(name), follow_symlinks=follow)
        return (st.st_atime_ns, st.st_mtime_ns)

    def op_touch(self, name):
        os.utime(self.path(name))

    def op_access(self, name, mode):
        return os.access(self.path(name), mode, effective_ids=True)

    def op_truncate(self, name, size):
        os.truncate(self.path(name), size)

    def op_chdir(self, name):
        here = os.getcwd()
        try:
            os.chdir(self.path(name))
        finally:
            os.chdir(here)

    # -- open files ----------------------------------------------------

    def op_open(self, slot, name, flags, mode):
        self.op_close(slot)
        self.files[slot] = os.open(self.path(name), flags, mode)
        return shown(os.fstat(self.files[slot]))

    def op_tmpfile(self, slot, name, mode):
        self.op_close(slot)
        self.files[slot] = os.open(self.path(name), os.O_TMPFILE | os.O_RDWR, mode)
        return shown(os.fstat(self.files[slot]))

    def op_linkfd(self, slot, name):
        source = f"/proc/self/fd/{self.files[slot]}"
        target = os.fsencode(self.path(name))
        checked(LIBC.linkat(AT_FDCWD, os.fsencode(source), AT_FDCWD, target, 0x400))

    def op_close(self, slot):
        if slot in self.files:
            os.close(self.files.pop(slot))

    def op_fstat(self, slot):
        return shown(os.fstat(self.files[slot]))

    def op_write(self, slot, data):
        written = os.write(self.files[slot], data)
        return (written, shown(os.fstat(self.files[slot])))

    def op_pwrite(self, slot, data, offset):
        return os.pwrite(self.files[slot], data, offset)

    def op_read(self, slot, count):
        return os.read(self.files[slot], count)

    def op_pread(self, slot, count, offset):
        return os.pread(self.files[slot], count, offset)

    def op_seek(self, slot, offset, whence):
        if not stat.S_ISREG(os.fstat(self.files[slot]).st_mode):
            return "positions are a thing of files"
        return os.lseek(self.files[slot], offset, whence)

    def op_ftruncate(self, slot, size):
        os.ftruncate(self.files[slot], size)

    def op_fchmod(self, slot, mode):
        os.fchmod(self.files[slot], mode)

    def op_fsync(self, slot):
        os.fsync(self.files[slot])

    def op_fallocate(self, slot, mode, offset, length):
        fallocate(self.files[slot], mode, offset, length)
        return shown(os.fstat(self.files[slot]))

    def op_copy_range(self, source, target, count, from_offset, to_offset):
        left, copied = count, 0
        while left:
            step = os.copy_file_range(self.files[source], self.files[target], left,
                                      from_offset + copied, to_offset + copied)
            if not step:
                break
            left, copied = left - step, copied + step
        return copied

    def op_mmap_store(self, slot, offset, data):
        size = os.fstat(self.files[slot]).st_size
        if offset + len(data) > size:
            return "beyond the end"
        with mmap.mmap(self.files[slot], size) as view:
            view[offset:offset + len(data)] = data
            view.flush()
        return os.pread(self.files[slot], len(data), offset)

    def op_mmap_load(self, slot):
        size = os.fstat(self.files[slot]).st_size
        if not size or size > 1 << 22:
            return None
        with mmap.mmap(self.files[slot], size, prot=mmap.PROT_READ) as view:
            return bytes(view)

    def op_lock(self, slot, kind, start, length):
        request = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
        fcntl.fcntl(self.files[slot], fcntl.F_SETLK, request)

    def op_flock(self, slot, how):
        fcntl.flock(self.files[slot], how | fcntl.LOCK_NB)

    # -- extended attributes --------------------------------------------

    def op_setxattr(self, name, key, value, flags):
        os.setxattr(self.path(name), key, value, flags, follow_symlinks=False)

    def op_getxattr(self, name, key):
        return os.getxattr(self.path(name), key, follow_symlinks=False)

    def op_listxattr(self, name):
        return sorted(x for x in os.listxattr(self.path(name), follow_symlinks=False)
                      if not x.startswith("security.selinux"))

    def op_removexattr(self, name, key):
        os.removexattr(self.path(name), key, follow_symlinks=False)
