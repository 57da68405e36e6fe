/* Loaded before the C library (LD_PRELOAD) of a program under test: the allocation with the number STARVE_AT,
 * counted from its start, is told that there is no memory. STARVE_LOG: the file to which a line goes that
 * says so, and, when the program ends in order, how many there were. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t size);

static atomic_long left = -1;
static atomic_bool counts; /* from the first one on */
static long first;
static const char *log_path;
static pid_t first_process;

static void put_line(const char *text)
{
    int fd = log_path != NULL ? open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (fd < 0)
        return;
    ssize_t put = write(fd, text, strlen(text));
    (void) put; /* it is for whoever looks for the last one */
    close(fd);
}

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("STARVE_AT");
    log_path = getenv("STARVE_LOG");
    first_process = getpid();
    if (at == NULL)
        return;
    first = strtol(at, NULL, 10);
    atomic_store(&left, first);
    atomic_store(&counts, true);
}

__attribute__((destructor)) static void end(void)
{
    char line[64];
    if (getpid() != first_process)
        return;
    snprintf(line, sizeof line, "calls %ld\n", first - atomic_load(&left));
    put_line(line);
}

/* It is this one's turn. */
static int starves(void)
{
    if (!atomic_load_explicit(&counts, memory_order_relaxed) || atomic_fetch_sub(&left, 1) != 0)
        return 0;
    put_line("failed\n");
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return starves() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return starves() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return starves() ? NULL : __libc_realloc(memory, size);
}
