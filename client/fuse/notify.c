#include "client/fuse/notify.h"

#include <unistd.h>

#include "client/fuse/kernel_abi.h"

struct ph_notifier {
    struct fuse_session *session;
    struct ph_workers *workers;
};

struct drop {
    struct ph_notifier *notifier;
    uint64_t object, offset, len;
    void (*then)(void *data); /* NULL for none */
    void *data;
};

/* libfuse 3.14 has no function for it: a header whose error is the kind of notification. */
static void raise_epoch(struct fuse_session *session)
{
    const struct fuse_out_header header = {.len = sizeof header, .error = FUSE_NOTIFY_INC_EPOCH};
    ssize_t written = write(fuse_session_fd(session), &header, sizeof header);
    (void) written;
}

struct ph_notifier *ph_notifier_new(struct fuse_session *session, struct ph_workers *workers)
{
    struct ph_notifier *notifier = g_new0(struct ph_notifier, 1);
    notifier->session = session;
    notifier->workers = workers;
    return notifier;
}

void ph_notifier_free(struct ph_notifier *notifier)
{
    g_free(notifier);
}

void ph_notify_epoch(struct ph_notifier *notifier)
{
    /* A kernel that does not know it was never told to keep a name. */
    raise_epoch(notifier->session);
}

int ph_notify_attr(struct ph_notifier *notifier, uint64_t object)
{
    return fuse_lowlevel_notify_inval_inode(notifier->session, object, -1, 0);
}

int ph_notify_data(struct ph_notifier *notifier, uint64_t object, uint64_t offset, uint64_t len)
{
    return fuse_lowlevel_notify_inval_inode(notifier->session, object, (off_t) offset, (off_t) len);
}

static void do_drop(void *data)
{
    struct drop *drop = data;
    /* An inode that the kernel dropped meanwhile is no error. */
    ph_notify_data(drop->notifier, drop->object, drop->offset, drop->len);
    if (drop->then != NULL)
        drop->then(drop->data);
    g_free(drop);
}

static void enqueue(struct ph_notifier *notifier, const struct drop *wanted)
{
    struct drop *drop = g_memdup2(wanted, sizeof *wanted);
    drop->notifier = notifier;
    ph_workers_run(notifier->workers, do_drop, drop);
}

void ph_notifier_drop_range(struct ph_notifier *notifier, uint64_t object, uint64_t offset, uint64_t len)
{
    enqueue(notifier, &(struct drop){.object = object, .offset = offset, .len = len});
}

void ph_notifier_drop_range_then(struct ph_notifier *notifier, uint64_t object, uint64_t offset, uint64_t len,
                                 void (*then)(void *data), void *data)
{
    enqueue(notifier,
            &(struct drop){.object = object, .offset = offset, .len = len, .then = then, .data = data});
}

void ph_notifier_drop_then(struct ph_notifier *notifier, uint64_t object, void (*then)(void *data),
                           void *data)
{
    enqueue(notifier, &(struct drop){.object = object, .then = then, .data = data});
}
