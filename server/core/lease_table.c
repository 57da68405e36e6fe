/* Objects with leases, and the leases themselves. */
#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"
#include "server/core/lease_private.h"
#include "server/core/memory.h"

static uint64_t object_hash(const struct ph_leases *leases, size_t space, uint64_t object)
{
    return ph_table_hash(ph_table_hash(leases->seed, space), object);
}

struct ph_lease_object *ph_lease_object_find(const struct ph_leases *leases, size_t space, uint64_t object)
{
    struct ph_table_node *node = leases->objects.count == 0
                                     ? NULL
                                     : ph_table_first(&leases->objects, object_hash(leases, space, object));

    for (; node != NULL; node = ph_table_next(node)) {
        struct ph_lease_object *entry = PH_TABLE_ENTRY(node, struct ph_lease_object, node);

        if (entry->object == object && entry->space == space)
            return entry;
    }
    return NULL;
}

static struct ph_lease_object *object_get(struct ph_leases *leases, size_t space, uint64_t object)
{
    struct ph_lease_object *entry = ph_lease_object_find(leases, space, object);

    if (entry != NULL)
        return entry;
    entry = PH_CORE_NEW(struct ph_lease_object);
    entry->object = object;
    entry->space = space;
    LIST_INIT(&entry->holders);
    ph_table_add(&leases->objects, &entry->node, object_hash(leases, space, object));
    return entry;
}

struct ph_lease_object *ph_lease_object_queue(struct ph_leases *leases, size_t space, uint64_t object)
{
    struct ph_lease_object *entry = object_get(leases, space, object);

    if (entry->queue == NULL) {
        entry->queue = PH_CORE_NEW(struct ph_lease_queue);
        TAILQ_INIT(&entry->queue->keys);
    }
    return entry;
}

void ph_lease_object_trim(struct ph_leases *leases, struct ph_lease_object *object)
{
    if (object->queue != NULL && TAILQ_EMPTY(&object->queue->keys) && !object->queue->touched) {
        free(object->queue);
        object->queue = NULL;
    }
    if (object->queue != NULL || !LIST_EMPTY(&object->holders))
        return;
    ph_table_remove(&leases->objects, &object->node);
    free(object);
}

struct ph_lease_slot *ph_lease_slot(const struct ph_leases *leases, size_t space, uint64_t object)
{
    return &leases->slots[object_hash(leases, space, object) % PH_LEASE_SLOTS];
}

struct ph_lease *ph_lease_of(const struct ph_lease_object *object, const struct ph_lease_session *session)
{
    struct ph_lease *lease;

    LIST_FOREACH(lease, &object->holders, of_object)
    {
        if (lease->session == session)
            return lease;
    }
    return NULL;
}

uint64_t ph_lease_clock_move(struct ph_leases *leases)
{
    uint64_t now = leases->clock + 1;

    __atomic_store_n(&leases->clock, now, __ATOMIC_RELEASE);
    return now;
}

/* Gives LEASE an id that was never used. */
static void name_lease(struct ph_leases *leases, struct ph_lease *lease)
{
    lease->id = (leases->space[lease->object->space].epoch << PH_LEASE_ID_COUNT_BITS) | ++leases->last_id;
    if (PH_MUTANT(LEASE_ID_AGAIN))
        lease->id = (leases->space[lease->object->space].epoch << PH_LEASE_ID_COUNT_BITS) |
                    (lease->object->object % UINT16_MAX * (UINT8_MAX + 1) + lease->session->client[0]);
    ph_table_add(&leases->ids, &lease->node, ph_table_hash(leases->seed, lease->id));
}

static void count_exclusive(struct ph_leases *leases, enum ph_lease_mode before, enum ph_lease_mode after)
{
    size_t count = leases->exclusives + (after == PH_LEASE_EXCLUSIVE) - (before == PH_LEASE_EXCLUSIVE);

    __atomic_store_n(&leases->exclusives, count, __ATOMIC_RELEASE);
}

/* What was under LEASE may have been read too early by others. Before it is counted as gone. */
static void yield(struct ph_leases *leases, const struct ph_lease *lease)
{
    const struct ph_lease_object *object = lease->object;
    uint64_t now;

    if (lease->mode != PH_LEASE_EXCLUSIVE)
        return;
    now = ph_lease_clock_move(leases);
    ph_lease_slot(leases, object->space, object->object)->yielded = now;
    __atomic_store_n(&leases->yielded, now, __ATOMIC_RELEASE);
}

/* Into the list of its session where it belongs, as the last one. */
static void enlist(struct ph_lease *lease)
{
    struct ph_lease_session *session = lease->session;

    if (ph_lease_is_recalled(lease)) {
        TAILQ_INSERT_TAIL(&session->recalled, lease, of_session);
        session->recalled_count++;
    } else {
        TAILQ_INSERT_TAIL(&session->held, lease, of_session);
    }
}

struct ph_lease *ph_lease_add(struct ph_leases *leases, struct ph_lease_session *session, size_t space,
                              uint64_t object, enum ph_lease_mode mode)
{
    struct ph_lease *lease;

    if (session->count >= PH_SESSION_LEASES_MAX || leases->count >= PH_SERVER_LEASES_MAX)
        return NULL;
    lease = PH_CORE_NEW(struct ph_lease);
    lease->object = object_get(leases, space, object);
    lease->session = session;
    lease->mode = lease->keep = (unsigned) mode & 3;
    name_lease(leases, lease);
    LIST_INSERT_HEAD(&lease->object->holders, lease, of_object);
    enlist(lease);
    session->count++;
    leases->count++;
    leases->space[space].leases++;
    count_exclusive(leases, PH_LEASE_NONE, mode);
    return lease;
}

/* Out of the list of its session. */
static void unlist(struct ph_lease *lease)
{
    struct ph_lease_session *session = lease->session;

    if (ph_lease_is_recalled(lease)) {
        TAILQ_REMOVE(&session->recalled, lease, of_session);
        session->recalled_count--;
    } else {
        TAILQ_REMOVE(&session->held, lease, of_session);
    }
}

void ph_lease_renew(struct ph_leases *leases, struct ph_lease *lease, enum ph_lease_mode mode)
{
    count_exclusive(leases, (enum ph_lease_mode) lease->mode, mode);
    lease->mode = lease->keep = (unsigned) mode & 3;
    lease->hinted = 0;
    ph_table_remove(&leases->ids, &lease->node);
    name_lease(leases, lease);
    ph_lease_touch(leases, lease->object);
}

void ph_lease_weaken(struct ph_leases *leases, struct ph_lease *lease)
{
    unlist(lease);
    yield(leases, lease);
    count_exclusive(leases, (enum ph_lease_mode) lease->mode, PH_LEASE_SHARED);
    lease->mode = PH_LEASE_SHARED;
    if (lease->keep != PH_LEASE_NONE)
        lease->keep = PH_LEASE_SHARED;
    enlist(lease);
    ph_lease_touch(leases, lease->object);
}

void ph_lease_narrow(struct ph_leases *leases, struct ph_lease *lease)
{
    unlist(lease);
    yield(leases, lease);
    lease->keep = lease->mode;
    enlist(lease);
}

void ph_lease_drop(struct ph_leases *leases, struct ph_lease *lease)
{
    struct ph_lease_object *object = lease->object;
    struct ph_lease_space *space = &leases->space[object->space];

    unlist(lease);
    LIST_REMOVE(lease, of_object);
    ph_table_remove(&leases->ids, &lease->node);
    lease->session->count--;
    leases->count--;
    space->leases--;
    yield(leases, lease);
    count_exclusive(leases, (enum ph_lease_mode) lease->mode, PH_LEASE_NONE);
    free(lease->span);
    free(lease);
    if (!TAILQ_EMPTY(&space->waiting))
        space->touched = true;
    ph_lease_touch(leases, object);
    ph_lease_object_trim(leases, object);
}

struct ph_lease *ph_lease_find(const struct ph_leases *leases, const struct ph_lease_session *session,
                               uint64_t id)
{
    struct ph_table_node *node = ph_table_first(&leases->ids, ph_table_hash(leases->seed, id));
    struct ph_lease *lease = PH_TABLE_ENTRY(node, struct ph_lease, node);

    /* The hash is a bijection of the id: equal hashes are equal ids. */
    return lease != NULL && lease->session == session ? lease : NULL;
}

bool ph_lease_mark_recalled(struct ph_leases *leases, struct ph_lease *lease, enum ph_lease_mode keep)
{
    if (keep >= lease->keep)
        return false;
    unlist(lease);
    lease->keep = (unsigned) keep & 3;
    lease->recalled_ms = leases->now_ms;
    ph_lease_slot(leases, lease->object->space, lease->object->object)->fought_until_ms =
        leases->now_ms + PH_LEASE_FOUGHT_MS;
    enlist(lease);
    ph_lease_touch(leases, lease->object);
    return true;
}

void ph_lease_recall(struct ph_leases *leases, struct ph_lease *lease, enum ph_lease_mode keep)
{
    struct ph_lease_session *session = lease->session;

    if (ph_lease_mark_recalled(leases, lease, keep) && !session->lost)
        leases->hooks.recall(leases->hooks.data, session, lease->object->object, lease->id, keep, NULL);
}
