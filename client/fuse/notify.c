#include "client/fuse/notify.h"

#include <stdint.h>

struct drop {
    struct drop *next;
    uint64_t object, offset, len;
    void (*then)(void *data); /* NULL for none */
    void *data;
};

/* Whoever waits for it goes on. */
static void end_drop(struct drop *drop)
{
    if (drop->then != NULL)
        drop->then(drop->data);
    g_free(drop);
}

struct ph_notifier {
    struct fuse_session *session;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop;
    struct drop *first, **last;
};

static struct drop *wait_for_drop(struct ph_notifier *notifier)
{
    pthread_mutex_lock(&notifier->mutex);
    while (notifier->first == NULL && !notifier->stop)
        pthread_cond_wait(&notifier->wake, &notifier->mutex);
    struct drop *drop = notifier->stop ? NULL : notifier->first;
    if (drop != NULL) {
        notifier->first = drop->next;
        if (notifier->first == NULL)
            notifier->last = &notifier->first;
    }
    pthread_mutex_unlock(&notifier->mutex);
    return drop;
}

static void *run(void *data)
{
    struct ph_notifier *notifier = data;
    struct drop *drop;
    while ((drop = wait_for_drop(notifier)) != NULL) {
        /* An inode that the kernel dropped meanwhile is no error. */
        fuse_lowlevel_notify_inval_inode(notifier->session, drop->object, (off_t) drop->offset,
                                         (off_t) drop->len);
        end_drop(drop);
    }
    return NULL;
}

struct ph_notifier *ph_notifier_new(struct fuse_session *session)
{
    struct ph_notifier *notifier = g_new0(struct ph_notifier, 1);
    notifier->session = session;
    notifier->last = &notifier->first;
    pthread_mutex_init(&notifier->mutex, NULL);
    pthread_cond_init(&notifier->wake, NULL);
    int error = pthread_create(&notifier->thread, NULL, run, notifier);
    if (error != 0)
        g_error("cannot start a thread: %s", g_strerror(error));
    return notifier;
}

void ph_notifier_free(struct ph_notifier *notifier)
{
    if (notifier == NULL)
        return;
    pthread_mutex_lock(&notifier->mutex);
    notifier->stop = true;
    pthread_cond_signal(&notifier->wake);
    pthread_mutex_unlock(&notifier->mutex);
    pthread_join(notifier->thread, NULL);
    for (struct drop *drop = notifier->first, *next; drop != NULL; drop = next) {
        next = drop->next;
        end_drop(drop);
    }
    pthread_cond_destroy(&notifier->wake);
    pthread_mutex_destroy(&notifier->mutex);
    g_free(notifier);
}

static void enqueue(struct ph_notifier *notifier, const struct drop *wanted)
{
    struct drop *drop = g_memdup2(wanted, sizeof *wanted);
    pthread_mutex_lock(&notifier->mutex);
    *notifier->last = drop;
    notifier->last = &drop->next;
    pthread_cond_signal(&notifier->wake);
    pthread_mutex_unlock(&notifier->mutex);
}

void ph_notifier_drop_range(struct ph_notifier *notifier, uint64_t object, uint64_t offset, uint64_t len)
{
    enqueue(notifier, &(struct drop){.object = object, .offset = offset, .len = len});
}

void ph_notifier_drop_then(struct ph_notifier *notifier, uint64_t object, void (*then)(void *data),
                           void *data)
{
    enqueue(notifier, &(struct drop){.object = object, .then = then, .data = data});
}
