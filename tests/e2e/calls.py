"""System calls that Python does not offer, and ways to compare what they do."""

import ctypes
import errno
import os
import pickle
import struct
import traceback

_libc = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 1, 2, 16
AT_FDCWD = -100
STATX_BTIME = 0x800
NR_STATX = {"x86_64": 332, "aarch64": 291}.get(os.uname().machine)


def _check(result, *names):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), *names)
    return result


def renameat2(old, new, flags):
    """rename(2) with flags."""
    return _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags), old)


def fallocate(descriptor, mode, offset, length):
    """fallocate(2) with a mode."""
    return _check(_libc.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def link_open(descriptor, path):
    """Gives the file that is open under DESCRIPTOR the name PATH."""
    follow = 0x400
    return _check(_libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % descriptor, AT_FDCWD, os.fsencode(path), follow))


def birth_time(path):
    """Creation time in seconds, None where the filesystem does not tell."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.syscall(NR_STATX, AT_FDCWD, os.fsencode(path), 0, STATX_BTIME, buffer))
    mask = struct.unpack_from("<I", buffer, 0)[0]
    seconds, nanoseconds = struct.unpack_from("<qI", buffer, 80)
    return seconds + nanoseconds / 1e9 if mask & STATX_BTIME else None


def attempt(function, *args, **named):
    """What FUNCTION returns, or the name of the errno that it fails with."""
    try:
        return function(*args, **named)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def as_user(uid, gid, groups, function, *args):
    """Result of FUNCTION(*ARGS) run in a child process with these ids."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            answer = (True, function(*args))
        except BaseException:
            answer = (False, traceback.format_exc())
        try:
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    if not data:
        raise AssertionError("the child process died")
    good, value = pickle.loads(data)
    if not good:
        raise AssertionError(value)
    return value


def write(path, data=b"", mode=0o644, flags=0):
    """Writes a file in one go; the number of bytes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (flags or os.O_TRUNC), mode)
    try:
        return os.write(descriptor, data) if data else 0
    finally:
        os.close(descriptor)


def read(path):
    """All of a file."""
    with open(path, "rb") as file:
        return file.read()


def facts(path):
    """What can be compared of lstat(2): neither ids nor times."""
    status = os.lstat(path)
    size = status.st_size if not os.path.isdir(path) or os.path.islink(path) else None
    return (oct(status.st_mode), status.st_nlink, status.st_uid, status.st_gid, size, status.st_rdev)
