#include "client/fuse/hook.h"

#include <errno.h>
#include <glib.h>
#include <stdatomic.h>
#include <unistd.h>

#include "client/fuse/kernel_abi.h"

enum { TRIES = 50, PAUSE_US = 10 * 1000 };

static _Thread_local struct ph_hook_note own_note;

/* The INIT under way; there is one session in a process, and one INIT in it. */
static _Atomic uint64_t init_unique;
static _Atomic uint64_t init_offered;

const struct ph_hook_note *ph_hook_note(void)
{
    return &own_note;
}

bool ph_hook_maps_direct(void)
{
    return (atomic_load_explicit(&init_offered, memory_order_relaxed) & FUSE_DIRECT_IO_ALLOW_MMAP) != 0;
}

uint64_t ph_hook_request(void *request, size_t len, struct ph_hook_note *note)
{
    *note = (struct ph_hook_note){0};
    struct fuse_in_header *header = request;
    if (len < sizeof *header)
        return 0;
    const void *body = header + 1;
    size_t body_len = len - sizeof *header;

    switch (header->opcode) {
    case FUSE_INIT:
        return header->unique;
    case FUSE_WRITE:
        if (body_len >= sizeof(struct fuse_write_in))
            note->kill_privileges =
                (((const struct fuse_write_in *) body)->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
        break;
    case FUSE_READ: /* only those that come from a system call of a process name an owner */
        if (body_len >= sizeof(struct fuse_read_in))
            note->direct = (((const struct fuse_read_in *) body)->read_flags & FUSE_READ_LOCKOWNER) != 0;
        break;
    case FUSE_SETATTR:
        if (body_len >= sizeof(struct fuse_setattr_in))
            note->kill_privileges =
                (((const struct fuse_setattr_in *) body)->valid & FATTR_KILL_SUIDGID) != 0;
        break;
    case FUSE_TMPFILE: /* same body as CREATE, answered with the same */
        note->tmpfile = true;
        header->opcode = FUSE_CREATE;
        break;
    case FUSE_STATX: /* begins with the body of GETATTR; answered otherwise */
        note->statx = true;
        header->opcode = FUSE_GETATTR;
        break;
    }
    return 0;
}

uint64_t ph_hook_init_offered(const void *request, size_t len)
{
    const struct fuse_in_header *header = request;
    const struct fuse_init_in *init = (const void *) (header + 1);
    if (len < sizeof *header + offsetof(struct fuse_init_in, flags) + sizeof init->flags)
        return 0;
    uint64_t flags = init->flags;
    if ((flags & FUSE_INIT_EXT) != 0 &&
        len >= sizeof *header + offsetof(struct fuse_init_in, flags2) + sizeof init->flags2)
        flags |= (uint64_t) init->flags2 << 32;
    return flags;
}

void ph_hook_init_reply(void *body, size_t len, uint64_t offered)
{
    struct fuse_init_out *out = body;
    if (len >= offsetof(struct fuse_init_out, flags) + sizeof out->flags)
        out->flags |= (uint32_t) offered & FUSE_HANDLE_KILLPRIV_V2;
    /* Files open for appending, and under leases all that are written, go past the page cache, and may be
     * mapped all the same. */
    if (len >= offsetof(struct fuse_init_out, flags2) + sizeof out->flags2 &&
        (offered & FUSE_DIRECT_IO_ALLOW_MMAP) != 0) {
        out->flags |= FUSE_INIT_EXT;
        out->flags2 |= FUSE_DIRECT_IO_ALLOW_MMAP >> 32;
    }
}

/* What passes: the same call may succeed in a moment. */
static bool passes(int error)
{
    return error == EINTR || error == EAGAIN || error == ENOMEM || error == ENOBUFS || error == EIO;
}

/* Whether it is to be tried again; pauses. */
static bool try_again(int error, unsigned tries)
{
    if (!passes(error) || tries >= TRIES)
        return false;
    if (error != EINTR)
        g_usleep(PAUSE_US);
    return true;
}

/* Without an answer whoever asked would wait for ever. */
static void answer_failed(int fd, const struct fuse_out_header *header, ph_hook_put_fn *put)
{
    struct fuse_out_header instead = {.len = sizeof instead, .error = -EIO, .unique = header->unique};
    struct iovec part = {.iov_base = &instead, .iov_len = sizeof instead};
    for (unsigned tries = 0; put(fd, &part, 1) < 0; tries++) {
        if (errno == ENOENT || errno == ENODEV)
            return;
        if (!try_again(errno, tries))
            g_error("the kernel cannot be answered: %s", g_strerror(errno));
    }
}

ssize_t ph_hook_answer(int fd, const struct iovec *parts, int count, ph_hook_put_fn *put)
{
    const struct fuse_out_header *header = parts[0].iov_base;
    ssize_t done;
    for (unsigned tries = 0; (done = put(fd, parts, count)) < 0 && try_again(errno, tries); tries++)
        continue;
    int error = errno;
    if (done < 0 && header->unique != 0 && error != ENOENT && error != ENODEV)
        answer_failed(fd, header, put);
    errno = error;
    return done;
}

static ssize_t hook_read(int fd, void *buffer, size_t size, void *data)
{
    ssize_t got;
    for (unsigned tries = 0; (got = read(fd, buffer, size)) < 0 && errno != EINTR && errno != EAGAIN; tries++)
        if (!try_again(errno, tries))
            break;
    if (got <= 0)
        return got;
    uint64_t unique = ph_hook_request(buffer, (size_t) got, &own_note);
    if (unique != 0) {
        atomic_store(&init_offered, ph_hook_init_offered(buffer, (size_t) got));
        atomic_store(&init_unique, unique);
    }
    return got;
}

static ssize_t hook_writev(int fd, struct iovec *iov, int count, void *data)
{
    const struct fuse_out_header *header = iov[0].iov_base;
    uint64_t unique = atomic_load(&init_unique);
    if (unique != 0 && count == 2 && iov[0].iov_len == sizeof *header && header->unique == unique &&
        header->error == 0) {
        ph_hook_init_reply(iov[1].iov_base, iov[1].iov_len, atomic_load(&init_offered));
        atomic_store(&init_unique, 0);
    }
    return ph_hook_answer(fd, iov, count, writev);
}

int ph_hook_install(struct fuse_session *session)
{
    const struct fuse_custom_io io = {.read = hook_read, .writev = hook_writev};
    return -fuse_session_custom_io(session, &io, fuse_session_fd(session));
}
