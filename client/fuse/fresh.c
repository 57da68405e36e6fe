#include "client/fuse/fresh.h"

#include <glib.h>

#include "client/fuse/attr.h"

enum {
    THREADS = 256,     /* threads remembered; two that fall on one place forget each other */
    KEPT_FOR_US = 100, /* the kernel asks within the same system call, so this is long */
    DIRECTORY = 0,
    FOUND = 1,
};

struct slot {
    pid_t thread; /* 0: nothing here */
    uint64_t told_us;
    struct stat stat[2]; /* st_ino 0: none, or given out already */
};

struct ph_fresh {
    pthread_mutex_t mutex;
    struct slot slots[THREADS];
};

struct ph_fresh *ph_fresh_new(void)
{
    struct ph_fresh *fresh = g_new0(struct ph_fresh, 1);
    pthread_mutex_init(&fresh->mutex, NULL);
    return fresh;
}

void ph_fresh_free(struct ph_fresh *fresh)
{
    if (fresh == NULL)
        return;
    pthread_mutex_destroy(&fresh->mutex);
    g_free(fresh);
}

static struct slot *slot_of(struct ph_fresh *fresh, pid_t thread)
{
    return &fresh->slots[(unsigned) thread % THREADS];
}

static void keep(struct stat *stat, const Pohmel__Attr *attr)
{
    stat->st_ino = 0;
    if (attr != NULL)
        ph_attr_to_stat(attr, stat);
}

void ph_fresh_learn(struct ph_fresh *fresh, pid_t thread, const Pohmel__Attr *directory,
                    const Pohmel__Attr *found, uint64_t now_us)
{
    pthread_mutex_lock(&fresh->mutex);
    struct slot *slot = slot_of(fresh, thread);
    slot->thread = thread;
    slot->told_us = now_us;
    keep(&slot->stat[DIRECTORY], directory);
    keep(&slot->stat[FOUND], found);
    pthread_mutex_unlock(&fresh->mutex);
}

bool ph_fresh_take(struct ph_fresh *fresh, pid_t thread, uint64_t object, uint64_t now_us, struct stat *stat)
{
    bool known = false;
    pthread_mutex_lock(&fresh->mutex);
    struct slot *slot = slot_of(fresh, thread);
    for (int i = 0; i < 2 && slot->thread == thread && now_us - slot->told_us <= KEPT_FOR_US && !known; i++) {
        known = slot->stat[i].st_ino == object;
        if (known) {
            *stat = slot->stat[i];
            slot->stat[i].st_ino = 0;
        }
    }
    pthread_mutex_unlock(&fresh->mutex);
    return known;
}

void ph_fresh_forget(struct ph_fresh *fresh, pid_t thread)
{
    pthread_mutex_lock(&fresh->mutex);
    struct slot *slot = slot_of(fresh, thread);
    if (slot->thread == thread)
        slot->thread = 0;
    pthread_mutex_unlock(&fresh->mutex);
}
