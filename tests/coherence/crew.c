#include "tests/coherence/crew.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 100, END_WAIT_MS = 2000, LINE_BYTES = 700, WCHAN_BYTES = 64 };

uint64_t ph_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * UINT64_C(1000000000) + (uint64_t) now.tv_nsec;
}

uint32_t ph_random(struct ph_worker *worker, uint32_t limit)
{
    worker->random = worker->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t) ((worker->random >> 33) % limit);
}

void ph_call(struct ph_worker *worker, const char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(worker->call, sizeof worker->call, format, args);
    va_end(args);
    worker->call_name = name;
    worker->begin_ns = ph_now_ns();
    atomic_store(&worker->call_since_ns, worker->begin_ns);
}

void ph_called(struct ph_worker *worker)
{
    worker->end_ns = ph_now_ns();
    atomic_store(&worker->call_since_ns, 0);
    atomic_fetch_add(&worker->crew->calls, 1);
}

void ph_record_event(struct ph_worker *worker, struct ph_event event)
{
    event.begin_ns = worker->begin_ns;
    event.end_ns = worker->end_ns;
    event.call = worker->call_name;
    event.worker = (uint8_t) worker->index;
    event.mount = (uint8_t) worker->mount;
    if (worker->count < worker->room)
        worker->events[worker->count++] = event;
    else
        ph_violation(worker, "the history has no room for more than %zu events: give fewer --ops",
                     worker->room);
}

void ph_record(struct ph_worker *worker, unsigned object, enum ph_deed deed, uint64_t value)
{
    ph_record_event(worker,
                    (struct ph_event){.object = (uint16_t) object, .deed = (uint8_t) deed, .value = value});
}

void ph_violation(struct ph_worker *worker, const char *format, ...)
{
    char line[LINE_BYTES];
    int len = snprintf(line, sizeof line, "VIOLATION: worker %u, mount %u: ", worker->index, worker->mount);
    va_list args;

    va_start(args, format);
    len += vsnprintf(line + len, sizeof line - (size_t) len, format, args);
    va_end(args);
    if (len > (int) sizeof line - 2)
        len = (int) sizeof line - 2;
    line[len++] = '\n';
    /* One write: lines of several workers do not mix. */
    if (write(STDERR_FILENO, line, (size_t) len) < 0)
        perror("coherence: stderr");
    atomic_fetch_add(&worker->crew->violations, 1);
}

void ph_unexpected(struct ph_worker *worker, int error)
{
    if (error == ESTALE && worker->crew->allow_stale)
        atomic_fetch_add(&worker->crew->stale, 1);
    else
        ph_violation(worker, "%s (%s) failed: %s", worker->call_name, worker->call, strerror(error));
}

static void work(struct ph_worker *worker, ph_worker_fn fn)
{
    struct ph_order order;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(worker->worker_end, &order, sizeof order) == (ssize_t) sizeof order) {
        struct ph_answer answer = {0};

        answer.result = fn(worker, &order, answer.text);
        if (write(worker->worker_end, &answer, sizeof answer) != (ssize_t) sizeof answer)
            break;
    }
    _exit(0);
}

static void *shared(size_t len)
{
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static bool start_worker(struct ph_crew *crew, unsigned index, size_t room, ph_worker_fn fn)
{
    struct ph_worker *worker = &crew->worker[index];
    int ends[2];
    pid_t pid;

    *worker = (struct ph_worker){.crew = crew, .index = index, .mount = index % crew->mounts, .room = room};
    worker->root = crew->root[worker->mount];
    worker->events = shared(room * sizeof *worker->events);
    worker->shared_bytes = shared(PH_SHARED_BYTES);
    if (!worker->events || !worker->shared_bytes ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        perror("coherence: starting a worker");
        return false;
    }
    worker->leader_end = ends[0];
    worker->worker_end = ends[1];
    pid = fork();
    if (pid == 0) {
        for (unsigned i = 0; i <= index; i++)
            close(crew->worker[i].leader_end);
        work(worker, fn);
    }
    close(worker->worker_end);
    /* Only here: the memory is shared, and the child knows itself as 0. */
    worker->pid = pid;
    if (pid < 0)
        perror("coherence: fork");
    return pid > 0;
}

struct ph_crew *ph_crew_start(char *const *root, unsigned count, unsigned per_mount, size_t room,
                              unsigned hang_s, ph_worker_fn fn)
{
    struct ph_crew *crew = shared(sizeof *crew);

    if (!crew)
        return NULL;
    *crew = (struct ph_crew){
        .workers = count * per_mount, .mounts = count, .hang_ns = hang_s * UINT64_C(1000000000)};
    for (unsigned i = 0; i < count; i++)
        crew->root[i] = root[i];
    crew->worker = shared(crew->workers * sizeof *crew->worker);
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; crew->worker && i < crew->workers; i++) {
        if (!start_worker(crew, i, room, fn))
            return NULL;
    }
    return crew->worker ? crew : NULL;
}

static void kill_all(struct ph_crew *crew)
{
    for (unsigned i = 0; i < crew->workers; i++) {
        if (crew->worker[i].pid > 0)
            kill(crew->worker[i].pid, SIGKILL);
    }
    /* One that waits in the kernel may not end before its mount does: not waited for longer than this. */
    for (unsigned waited = 0; waited < END_WAIT_MS / POLL_MS; waited++) {
        bool all = true;

        for (unsigned i = 0; i < crew->workers; i++)
            all = (crew->worker[i].pid <= 0 || waitpid(crew->worker[i].pid, NULL, WNOHANG) != 0) && all;
        if (all)
            break;
        poll(NULL, 0, POLL_MS);
    }
}

static void where_in_kernel(pid_t pid, char *text, size_t size)
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/wchan", (int) pid);
    text[0] = '\0';
    file = fopen(path, "r");
    if (file) {
        size_t len = fread(text, 1, size - 1, file);

        text[len] = '\0';
        fclose(file);
    }
}

static void report_calls(const struct ph_crew *crew, uint64_t now)
{
    for (unsigned i = 0; i < crew->workers; i++) {
        const struct ph_worker *worker = &crew->worker[i];
        uint64_t since = atomic_load(&worker->call_since_ns);
        char where[WCHAN_BYTES];

        where_in_kernel(worker->pid, where, sizeof where);
        if (since)
            fprintf(stderr, "  worker %u, mount %u (%s, process %d): in %s for %.3f s; kernel: %s\n", i,
                    worker->mount, worker->root, (int) worker->pid, worker->call,
                    (double) (now - since) / 1e9, where);
        else
            fprintf(stderr, "  worker %u, mount %u (%s, process %d): in no call\n", i, worker->mount,
                    worker->root, (int) worker->pid);
    }
}

static void watch(struct ph_crew *crew)
{
    uint64_t now = ph_now_ns();

    for (unsigned i = 0; i < crew->workers; i++) {
        uint64_t since = atomic_load(&crew->worker[i].call_since_ns);

        if (!since || now < since + crew->hang_ns)
            continue;
        fprintf(stderr, "HANG: worker %u on mount %u has been in %s for %.1f s. All workers:\n", i,
                crew->worker[i].mount, crew->worker[i].call, (double) (now - since) / 1e9);
        report_calls(crew, now);
        kill_all(crew);
        _exit(PH_EXIT_HANG);
    }
}

static bool take_answer(struct ph_crew *crew, unsigned index, struct ph_answer *answer)
{
    ssize_t len = recv(crew->worker[index].leader_end, answer, sizeof *answer, 0);

    if (len == (ssize_t) sizeof *answer)
        return true;
    fprintf(stderr, "coherence: worker %u died; its last call was %s\n", index, crew->worker[index].call);
    kill_all(crew);
    _exit(PH_EXIT_TROUBLE);
}

bool ph_crew_order(struct ph_crew *crew, unsigned first, unsigned count, const struct ph_order *order,
                   struct ph_answer *answer)
{
    struct pollfd ends[PH_WORKERS_MAX];
    unsigned left = count;
    bool good = true;

    for (unsigned i = 0; i < count; i++) {
        ends[i] = (struct pollfd){.fd = crew->worker[first + i].leader_end, .events = POLLIN};
        if (send(ends[i].fd, order, sizeof *order, 0) != (ssize_t) sizeof *order)
            perror("coherence: telling a worker");
    }
    while (left > 0) {
        poll(ends, count, POLL_MS);
        watch(crew);
        for (unsigned i = 0; i < count; i++) {
            struct ph_answer mine;

            if (ends[i].fd < 0 || !ends[i].revents)
                continue;
            take_answer(crew, first + i, &mine);
            good = good && mine.result == 0;
            if (answer)
                answer[i] = mine;
            ends[i].fd = -1;
            left--;
        }
    }
    return good;
}

void ph_crew_stop(struct ph_crew *crew)
{
    for (unsigned i = 0; i < crew->workers; i++)
        close(crew->worker[i].leader_end);
    kill_all(crew);
}
