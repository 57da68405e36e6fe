/* limit: a filesystem in memory that answers at once, by the same calls of libfuse and the same
 * understanding with the kernel as pohmelfs: how fast that way can get at all. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/limit/ops.h"
#include "client/fuse/hook.h"
#include "client/fuse/mount_point.h"

enum { READERS = 2, EXIT_USAGE = 2, MEMORY_PART = 2, FSYNC_MAX_MS = 1000, US_IN_MS = 1000 };

static int fail(const char *what, const char *reason)
{
    fprintf(stderr, "limit: %s: %s\n", what, reason);
    return EXIT_FAILURE;
}

/* Requests, one after the other, until the mount is gone; then the main thread is to know. */
static void *read_requests(void *data)
{
    struct fuse_session *session = data;
    struct fuse_buf request = {0};
    while (!fuse_session_exited(session)) {
        int got = fuse_session_receive_buf(session, &request);
        if (got == -EINTR || got == -EAGAIN)
            continue;
        if (got <= 0)
            break;
        fuse_session_process_buf(session, &request);
    }
    free(request.mem);
    kill(getpid(), SIGTERM);
    return NULL;
}

/* Serves until the mount is taken away, or a signal asks for that. */
static int serve(struct fuse_session *session, const char *place)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    pthread_t readers[READERS];
    for (int i = 0; i < READERS; i++) {
        int error = pthread_create(&readers[i], NULL, read_requests, session);
        if (error != 0) {
            fuse_session_unmount(session);
            exit(fail("cannot start a thread", strerror(error)));
        }
    }
    ph_mount_point_set_read_ahead(place); /* once somebody answers */
    int number;
    sigwait(&ends, &number);
    /* Does nothing when it is gone already. libfuse would close the device under the readers. */
    if (!fuse_session_exited(session))
        ph_mount_point_unmount(place, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    fuse_session_unmount(session);
    return EXIT_SUCCESS;
}

static int mount_and_serve(const char *place, struct ph_limit_tree *tree)
{
    /* "limit" stands for the program, whose options these are. */
    char *options[] = {"limit", "-o", "default_permissions,allow_other,fsname=limit,subtype=limit", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, options);
    struct fuse_session *session = fuse_session_new(&args, &ph_limit_ops, sizeof ph_limit_ops, tree);
    if (session == NULL) {
        fuse_opt_free_args(&args);
        return fail("cannot start", "libfuse refused its options");
    }
    int code = EXIT_FAILURE;
    if (fuse_session_mount(session, place) == 0) {
        int error = ph_hook_install(session);
        if (error == 0) {
            code = serve(session, place);
        } else {
            fail("cannot talk to the kernel", strerror(error));
            fuse_session_unmount(session);
        }
    }
    fuse_session_destroy(session);
    fuse_opt_free_args(&args);
    return code;
}

int main(int argc, char **argv)
{
    long fsync_ms = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (argc < 2 || argc > 3 || argv[1][0] == '-' || fsync_ms < 0 || fsync_ms > FSYNC_MAX_MS) {
        fprintf(stderr,
                "usage: limit MOUNTPOINT [MS]\n"
                "A filesystem in memory, until it is unmounted. Needs root. With MS an fsync takes that "
                "long, up to 1000.\n");
        return EXIT_USAGE;
    }
    uint64_t memory = (uint64_t) sysconf(_SC_PHYS_PAGES) * (uint64_t) sysconf(_SC_PAGESIZE);
    char *place = realpath(argv[1], NULL);
    if (place == NULL)
        return fail(argv[1], strerror(errno));
    struct ph_limit_tree *tree = ph_limit_tree_new(memory / MEMORY_PART);
    tree->fsync_us = (unsigned long) fsync_ms * US_IN_MS;
    tree->root->stat.st_uid = getuid();
    tree->root->stat.st_gid = getgid();
    int code = mount_and_serve(place, tree);
    ph_limit_tree_free(tree);
    free(place);
    return code;
}
