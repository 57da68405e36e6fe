#include "client/fuse/groups.h"

#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/limits.h"

enum {
    CACHE_SLOTS = 256, /* a power of two; each process hashes to one */
    FRESH_MS = 1000,
    STATUS_BYTES = 16384, /* 1024 groups of up to 11 digits, and the lines above them */
};

struct slot {
    pid_t pid;
    uid_t uid;
    gid_t gid;
    uint64_t until_ms; /* 0: empty */
    struct ph_groups *groups;
};

struct ph_groups_cache {
    pthread_mutex_t mutex;
    struct slot slots[CACHE_SLOTS];
};

struct ph_groups_cache *ph_groups_cache_new(void)
{
    struct ph_groups_cache *cache = g_new0(struct ph_groups_cache, 1);
    pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

void ph_groups_cache_free(struct ph_groups_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        ph_groups_unref(cache->slots[i].groups);
    pthread_mutex_destroy(&cache->mutex);
    g_free(cache);
}

void ph_groups_unref(struct ph_groups *groups)
{
    if (groups != NULL && atomic_fetch_sub(&groups->refs, 1) == 1)
        g_free(groups);
}

static struct ph_groups *groups_ref(struct ph_groups *groups)
{
    if (groups != NULL)
        atomic_fetch_add(&groups->refs, 1);
    return groups;
}

struct ph_groups *ph_groups_parse(const char *status)
{
    static const char label[] = "\nGroups:";
    const char *at = strstr(status, label);
    if (at == NULL)
        return NULL;
    at += sizeof label - 1;

    uint32_t ids[PH_GROUPS_MAX];
    uint32_t count = 0;
    while (count < PH_GROUPS_MAX) {
        while (*at == ' ' || *at == '\t')
            at++;
        if (*at < '0' || *at > '9')
            break;
        char *end;
        ids[count++] = (uint32_t) strtoul(at, &end, 10);
        at = end;
    }
    if (count == 0)
        return NULL;
    struct ph_groups *groups = g_malloc(sizeof *groups + count * sizeof ids[0]);
    atomic_init(&groups->refs, 1);
    groups->count = count;
    memcpy(groups->ids, ids, count * sizeof ids[0]);
    return groups;
}

static struct ph_groups *groups_read(pid_t pid)
{
    char path[64], text[STATUS_BYTES];
    snprintf(path, sizeof path, "/proc/%d/status", (int) pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return NULL;
    text[got] = '\0';
    return ph_groups_parse(text);
}

static bool slot_fits(const struct slot *slot, pid_t pid, uid_t uid, gid_t gid, uint64_t now_ms)
{
    return slot->pid == pid && slot->uid == uid && slot->gid == gid && now_ms < slot->until_ms;
}

struct ph_groups *ph_groups_cache_get(struct ph_groups_cache *cache, pid_t pid, uid_t uid, gid_t gid,
                                      uint64_t now_ms)
{
    if (uid == 0 || pid == 0)
        return NULL;
    struct slot *slot = &cache->slots[((uint32_t) pid * UINT32_C(2654435761)) >> 24 & (CACHE_SLOTS - 1)];
    pthread_mutex_lock(&cache->mutex);
    if (slot_fits(slot, pid, uid, gid, now_ms)) {
        struct ph_groups *groups = groups_ref(slot->groups);
        pthread_mutex_unlock(&cache->mutex);
        return groups;
    }
    pthread_mutex_unlock(&cache->mutex);

    struct ph_groups *fresh = groups_read(pid);
    pthread_mutex_lock(&cache->mutex);
    struct ph_groups *old = slot->groups;
    *slot = (struct slot){pid, uid, gid, now_ms + FRESH_MS, groups_ref(fresh)};
    pthread_mutex_unlock(&cache->mutex);
    ph_groups_unref(old);
    return fresh;
}
