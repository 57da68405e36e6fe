/* Loaded before the C library (LD_PRELOAD) of a program under test: the system call with the number FAIL_AT,
 * counted from its start among those below, is not made but fails. FAIL_WAY chooses among the ways in which
 * one of its kind fails in life. FAIL_LOG: the file to which a line goes that says which it was, and, when
 * the program ends in order, how many there were. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEXT(TYPE, NAME) ((TYPE) dlsym(RTLD_NEXT, NAME))

enum { WAYS_MAX = 6 };

typedef int ways[WAYS_MAX];

/* The device: requests are read, answers written; ENOENT would say that nobody waits for it any more. */
static const ways of_requests = {EINTR, EAGAIN, ENOENT, EIO, ENOMEM};
static const ways of_answers = {ENOMEM, EIO, EINTR, EAGAIN};
static const ways of_socket = {ECONNRESET, EINTR, ENOMEM, EPIPE, ETIMEDOUT, EAGAIN};
static const ways of_connect = {ECONNREFUSED, ENETUNREACH, EINTR, EADDRNOTAVAIL};
static const ways of_caller = {EMFILE, ECONNABORTED, ENOMEM, EINTR, ENFILE};
static const ways of_event = {EINTR, EAGAIN};
static const ways of_file = {EIO, EINTR, ENOSPC, ENOMEM};
static const ways of_descriptor = {EMFILE, ENFILE, ENOMEM};
static const ways of_stability = {EIO, ENOSPC, EDQUOT};
static const ways of_waiting = {EINTR, ENOMEM};
static const ways of_thread = {EAGAIN, ENOMEM};
static const ways of_option = {ENOMEM, ENOBUFS};

static atomic_long made;
static long at = -1, way;
static const char *log_path;
static pid_t first_process;

static void put_line(const char *text)
{
    int (*next)(const char *, int, ...) = NEXT(int (*)(const char *, int, ...), "open64");
    int fd = log_path != NULL ? next(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (fd < 0)
        return;
    ssize_t put = NEXT(ssize_t(*)(int, const void *, size_t), "write")(fd, text, strlen(text));
    (void) put; /* it is for whoever reads the log of a failure */
    close(fd);
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("FAIL_AT"), *how = getenv("FAIL_WAY");
    if (text != NULL)
        at = strtol(text, NULL, 10);
    if (how != NULL)
        way = strtol(how, NULL, 10);
    log_path = getenv("FAIL_LOG");
    first_process = getpid();
}

__attribute__((destructor)) static void end(void)
{
    char line[64];
    if (getpid() != first_process)
        return;
    snprintf(line, sizeof line, "calls %ld\n", atomic_load(&made));
    put_line(line);
}

static void tell(const char *call, int fd, int error)
{
    char line[256], path[32], what[128] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = fd >= 0 ? readlink(path, what, sizeof what - 1) : 0;
    what[len > 0 ? len : 0] = '\0';
    snprintf(line, sizeof line, "failed %s %s %s\n", call, what, strerrorname_np(error));
    put_line(line);
}

/* It is this one's turn, with errno set. */
static bool fails(const char *call, int fd, const ways of)
{
    int count = 0;
    if (atomic_fetch_add(&made, 1) + 1 != at)
        return false;
    while (count < WAYS_MAX && of[count] != 0)
        count++;
    int error = of[way % count];
    tell(call, fd, error);
    errno = error;
    return true;
}

/* What a read or write of FD is of. */
static const int *of_fd(int fd, bool writing)
{
    char path[32], what[64] = "";
    if (at < 0 || atomic_load(&made) + 1 != at)
        return of_file;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, what, sizeof what - 1);
    what[len > 0 ? len : 0] = '\0';
    if (strcmp(what, "/dev/fuse") == 0)
        return writing ? of_answers : of_requests;
    if (strncmp(what, "socket:", strlen("socket:")) == 0)
        return of_socket;
    return what[0] == '/' ? of_file : of_event;
}

ssize_t read(int fd, void *bytes, size_t len)
{
    return fails("read", fd, of_fd(fd, false))
               ? -1
               : NEXT(ssize_t(*)(int, void *, size_t), "read")(fd, bytes, len);
}

/* An eventfd takes whatever it is given. */
static bool may_fail(int fd)
{
    char path[32], what[64] = "";
    if (at < 0 || atomic_load(&made) + 1 != at)
        return true;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, what, sizeof what - 1);
    what[len > 0 ? len : 0] = '\0';
    return strstr(what, "eventfd") == NULL;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    return may_fail(fd) && fails("write", fd, of_fd(fd, true))
               ? -1
               : NEXT(ssize_t(*)(int, const void *, size_t), "write")(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return fails("writev", fd, of_fd(fd, true))
               ? -1
               : NEXT(ssize_t(*)(int, const struct iovec *, int), "writev")(fd, parts, count);
}

ssize_t pread64(int fd, void *bytes, size_t len, off_t offset)
{
    return fails("pread", fd, of_file)
               ? -1
               : NEXT(ssize_t(*)(int, void *, size_t, off_t), "pread64")(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset)
{
    return fails("pwrite", fd, of_file)
               ? -1
               : NEXT(ssize_t(*)(int, const void *, size_t, off_t), "pwrite64")(fd, bytes, len, offset);
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
    return fails("recv", fd, of_socket)
               ? -1
               : NEXT(ssize_t(*)(int, void *, size_t, int), "recv")(fd, bytes, len, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return fails("recvmsg", fd, of_socket)
               ? -1
               : NEXT(ssize_t(*)(int, struct msghdr *, int), "recvmsg")(fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return fails("sendmsg", fd, of_socket)
               ? -1
               : NEXT(ssize_t(*)(int, const struct msghdr *, int), "sendmsg")(fd, message, flags);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    return fails("connect", fd, of_connect)
               ? -1
               : NEXT(int (*)(int, const struct sockaddr *, socklen_t), "connect")(fd, address, len);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return fails("accept4", fd, of_caller)
               ? -1
               : NEXT(int (*)(int, struct sockaddr *, socklen_t *, int), "accept4")(fd, address, len, flags);
}

int fsync(int fd)
{
    return fails("fsync", fd, of_stability) ? -1 : NEXT(int (*)(int), "fsync")(fd);
}

int fdatasync(int fd)
{
    return fails("fdatasync", fd, of_stability) ? -1 : NEXT(int (*)(int), "fdatasync")(fd);
}

int syncfs(int fd)
{
    return fails("syncfs", fd, of_stability) ? -1 : NEXT(int (*)(int), "syncfs")(fd);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    return fails("send", fd, of_socket)
               ? -1
               : NEXT(ssize_t(*)(int, const void *, size_t, int), "send")(fd, bytes, len, flags);
}

int socket(int domain, int type, int protocol)
{
    return fails("socket", -1, of_descriptor)
               ? -1
               : NEXT(int (*)(int, int, int), "socket")(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int ends[2])
{
    return fails("socketpair", -1, of_descriptor)
               ? -1
               : NEXT(int (*)(int, int, int, int[2]), "socketpair")(domain, type, protocol, ends);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    return fails("getsockopt", fd, of_option)
               ? -1
               : NEXT(int (*)(int, int, int, void *, socklen_t *), "getsockopt")(fd, level, name, value, len);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    return fails("setsockopt", fd, of_option) ? -1
                                              : NEXT(int (*)(int, int, int, const void *, socklen_t),
                                                     "setsockopt")(fd, level, name, value, len);
}

static int open_next(const char *path, int flags, mode_t mode)
{
    return NEXT(int (*)(const char *, int, ...), "open64")(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails("open", -1, of_descriptor) ? -1 : open_next(path, flags, mode);
}

int eventfd(unsigned value, int flags)
{
    return fails("eventfd", -1, of_descriptor) ? -1 : NEXT(int (*)(unsigned, int), "eventfd")(value, flags);
}

int pipe2(int ends[2], int flags)
{
    return fails("pipe2", -1, of_descriptor) ? -1 : NEXT(int (*)(int[2], int), "pipe2")(ends, flags);
}

int memfd_create(const char *name, unsigned flags)
{
    return fails("memfd_create", -1, of_descriptor)
               ? -1
               : NEXT(int (*)(const char *, unsigned), "memfd_create")(name, flags);
}

int dup(int fd)
{
    return fails("dup", fd, of_descriptor) ? -1 : NEXT(int (*)(int), "dup")(fd);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    return fails("poll", -1, of_waiting)
               ? -1
               : NEXT(int (*)(struct pollfd *, nfds_t, int), "poll")(fds, count, timeout);
}

pid_t fork(void)
{
    return fails("fork", -1, of_thread) ? -1 : NEXT(pid_t(*)(void), "fork")();
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *data)
{
    if (fails("pthread_create", -1, of_thread))
        return errno;
    return NEXT(int (*)(pthread_t *, const pthread_attr_t *, void *(*) (void *), void *),
                "pthread_create")(thread, attributes, start, data);
}
