/* A table of leases with three sessions, and what it has done by others. */
#ifndef PH_SERVER_CORE_TESTS_LEASE_WORLD_H
#define PH_SERVER_CORE_TESTS_LEASE_WORLD_H

#include <glib.h>

#include "runtime/base/limits.h"
#include "server/core/lease.h"

enum { SPACES = 2, FILE_A = 10, FILE_B = 11, DIRECTORY = 12, TICK_MS = 250 };

#define EPOCH UINT64_C(7)

struct recall {
    struct ph_lease_session *session;
    uint64_t object, lease;
    enum ph_lease_mode keep;
    bool part; /* BYTES only are wanted */
    struct ph_lease_bytes bytes;
};

struct world {
    struct ph_leases *leases;
    GArray *recalls;   /* struct recall */
    GPtrArray *gone;   /* claims that went after a wait */
    GPtrArray *fenced; /* sessions */
    unsigned expired;
    bool ends_fenced; /* who is fenced is forgotten at once */
    struct ph_lease_session *one, *two, *three;
};

static inline void on_recall(void *data, struct ph_lease_session *session, uint64_t object, uint64_t lease,
                             enum ph_lease_mode keep, const struct ph_lease_bytes *bytes)
{
    struct world *world = data;
    struct recall recall = {session, object, lease, keep, bytes != NULL, {0, 0}};

    if (bytes != NULL)
        recall.bytes = *bytes;

    g_array_append_val(world->recalls, recall);
}

static inline void on_go(void *data, struct ph_lease_claim *claim)
{
    g_ptr_array_add(((struct world *) data)->gone, claim);
}

static inline void on_fence(void *data, struct ph_lease_session *session)
{
    struct world *world = data;

    g_ptr_array_add(world->fenced, session);
    if (world->ends_fenced)
        ph_lease_session_end(world->leases, session);
    else
        ph_lease_session_lost(world->leases, session, false);
}

static inline void on_expired(void *data, struct ph_lease_session *session)
{
    ((struct world *) data)->expired++;
}

static inline struct ph_lease_session *session_new(struct world *world, uint8_t who)
{
    uint8_t client[PH_LEASE_CLIENT_BYTES] = {who};

    return ph_lease_session_new(world->leases, 0, client, world, "host");
}

static inline void set_up(struct world *world)
{
    static const uint64_t epochs[SPACES] = {EPOCH, EPOCH + 1};
    const struct ph_lease_hooks hooks = {on_recall, on_go, on_fence, on_expired, world};

    *world = (struct world){.leases = ph_leases_new(epochs, SPACES, 4711, &hooks)};
    world->recalls = g_array_new(FALSE, FALSE, sizeof(struct recall));
    world->gone = g_ptr_array_new();
    world->fenced = g_ptr_array_new();
    world->one = session_new(world, 1);
    world->two = session_new(world, 2);
    world->three = session_new(world, 3);
    ph_leases_tick(world->leases, 1000);
}

static inline void tear_down(struct world *world)
{
    ph_leases_free(world->leases);
    g_array_unref(world->recalls);
    g_ptr_array_unref(world->gone);
    g_ptr_array_unref(world->fenced);
}

/* A lease on what was just read. */
static inline uint64_t grant(struct world *world, struct ph_lease_session *session, uint64_t object)
{
    enum ph_lease_mode mode;

    return ph_leases_grant(world->leases, session, NULL, object, ph_leases_clock(world->leases), &mode);
}

static inline bool claim(struct world *world, struct ph_lease_claim *claim, struct ph_lease_session *own,
                         uint64_t object, bool change)
{
    const struct ph_lease_want want = {.object = object, .change = change};

    *claim = (struct ph_lease_claim){0};
    return ph_leases_claim(world->leases, claim, own, 0, &want, 1);
}

static inline uint64_t acquire(struct world *world, struct ph_lease_session *session, uint64_t object,
                               enum ph_lease_mode mode)
{
    struct ph_lease_claim holder = {0};

    g_assert_true(ph_leases_acquire(world->leases, &holder, session, object, mode, NULL));
    g_assert_cmpuint(holder.lease, !=, 0);
    return holder.lease;
}

static inline const struct recall *recalled(const struct world *world, guint index)
{
    g_assert_cmpuint(index, <, world->recalls->len);
    return &g_array_index(world->recalls, struct recall, index);
}

static inline void assert_recalls(const struct world *world, guint count)
{
    g_assert_cmpuint(world->recalls->len, ==, count);
}

static inline bool went(const struct world *world, const struct ph_lease_claim *claim)
{
    return g_ptr_array_find(world->gone, claim, NULL);
}

#endif
