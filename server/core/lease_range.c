/* Leases on ranges of bytes: who is in whose way, what is granted, and what is kept of it.
 * docs/decisions/0008-glimpses-and-ranges.md; docs/protocol.md, section 9.16.
 *
 * Either all leases on an object are on the whole of it, or all are on ranges that do not overlap. Under a
 * range only bytes are kept. The size is nobody's meanwhile: each holder may write past the end in what it
 * has. So whatever depends on the size, but for reading below what is known to be there, is in the way of all
 * ranges of others. */
#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"
#include "server/core/lease_private.h"
#include "server/core/memory.h"

static bool is_empty(const struct ph_lease_bytes *bytes)
{
    return bytes->start >= bytes->end;
}

static bool overlap(const struct ph_lease_bytes *one, const struct ph_lease_bytes *other)
{
    return !is_empty(one) && !is_empty(other) && one->start < other->end && other->start < one->end;
}

static bool contains(const struct ph_lease_bytes *outer, const struct ph_lease_bytes *inner)
{
    return outer->start <= inner->start && inner->end <= outer->end;
}

bool ph_lease_has_ranges(const struct ph_lease_object *object)
{
    const struct ph_lease *lease = object == NULL ? NULL : LIST_FIRST(&object->holders);

    return lease != NULL && lease->span != NULL;
}

/* Whether what is read up to END shows the size, or how far others have written. */
static bool passes_known_size(const struct ph_lease *lease, const struct ph_lease_key *key)
{
    uint64_t known = lease->object->known_size;

    return key->purpose == PH_LEASE_TO_READ && key->bytes.end > known && lease->span->end > known &&
           !PH_MUTANT(SIZE_OF_THE_STORE);
}

bool ph_lease_is_apart(const struct ph_lease *lease, const struct ph_lease_key *key)
{
    if (lease->span == NULL || !key->part)
        return false;
    if (PH_MUTANT(RANGES_OVERLAP) && key->purpose == PH_LEASE_TO_HOLD)
        return true;
    return !overlap(lease->span, &key->bytes) && !passes_known_size(lease, key);
}

bool ph_lease_range_is_alone(const struct ph_lease *own, const struct ph_lease_key *key)
{
    if (own->span == NULL || !key->part || !contains(own->span, &key->bytes))
        return false;
    return key->purpose == PH_LEASE_TO_CHANGE || key->bytes.end <= own->object->known_size;
}

/* What KEY wants of LEASE, which is in its way; NULL for all of it. */
static const struct ph_lease_bytes *wanted_of(const struct ph_lease *lease, const struct ph_lease_key *key)
{
    bool changes = key->purpose != PH_LEASE_TO_READ;

    if (!key->part || !lease->session->ranges || lease->mode != PH_LEASE_EXCLUSIVE)
        return NULL;
    if (lease->span == NULL ? !changes || is_empty(&key->bytes) : !overlap(lease->span, &key->bytes))
        return NULL;
    return &key->bytes;
}

/* Ranges of an object were recalled so often that nobody gets anything done under one. */
static void count_fight(struct ph_leases *leases, const struct ph_lease *lease)
{
    struct ph_lease_slot *slot = ph_lease_slot(leases, lease->object->space, lease->object->object);

    if (leases->now_ms - slot->range_fights_ms >= PH_RANGE_FIGHTS_MS) {
        slot->range_fights_ms = leases->now_ms;
        slot->range_fights = 0;
    }
    slot->range_fights++;
}

static bool is_thrashed(const struct ph_leases *leases, size_t space, uint64_t object)
{
    const struct ph_lease_slot *slot = ph_lease_slot(leases, space, object);

    return slot->range_fights >= PH_RANGE_FIGHTS_MAX &&
           leases->now_ms - slot->range_fights_ms < PH_RANGE_FIGHTS_MS;
}

void ph_lease_recall_for(struct ph_leases *leases, struct ph_lease *lease, const struct ph_lease_key *key,
                         enum ph_lease_mode keep)
{
    struct ph_lease_session *session = lease->session;
    const struct ph_lease_bytes *bytes = wanted_of(lease, key);

    if (lease->span != NULL)
        keep = PH_LEASE_NONE;
    if (!ph_lease_mark_recalled(leases, lease, keep))
        return;
    if (lease->span != NULL)
        count_fight(leases, lease);
    if (!session->lost)
        leases->hooks.recall(leases->hooks.data, session, lease->object->object, lease->id, keep, bytes);
}

/* ---- Asking for a range ---- */

bool ph_lease_range_refused(const struct ph_leases *leases, const struct ph_lease_session *session,
                            const struct ph_lease *own, uint64_t object, const struct ph_lease_bytes *bytes)
{
    if (own != NULL && own->span != NULL)
        return bytes == NULL || !contains(own->span, bytes);
    return own == NULL && bytes != NULL && is_thrashed(leases, session->space, object);
}

/* Whether KEY, which runs, writes what its session has a range of: no other session gets that. */
static bool is_covered(const struct ph_lease_object *object, const struct ph_lease_key *key)
{
    const struct ph_lease *own = key->claim->own == NULL ? NULL : ph_lease_of(object, key->claim->own);

    return own != NULL && own->span != NULL && contains(own->span, &key->bytes);
}

size_t ph_lease_range_covered(const struct ph_leases *leases, size_t space, const struct ph_lease_key *key)
{
    const struct ph_lease_object *object = ph_lease_object_find(leases, space, key->object);
    const struct ph_lease_key *running;
    size_t count = 0;

    if (!key->part || !ph_lease_has_ranges(object))
        return 0;
    TAILQ_FOREACH(running, &leases->writing, of_queue)
    {
        if (running->object == key->object && running->claim->space == space &&
            running->claim->own != key->claim->own)
            count += is_covered(object, running);
    }
    return count;
}

/* Of a gap of COUNT bytes to what somebody else has, the part that is given out: half of it, or all where
 * that is not much. */
static uint64_t share_of(uint64_t count)
{
    return count <= 2 * PH_RANGE_GAP_MIN_BYTES ? count : count / 2;
}

/* The bytes around those of KEY that nobody else has or waits for. */
static struct ph_lease_bytes free_around(const struct ph_lease_object *object, const struct ph_lease_key *key)
{
    struct ph_lease_bytes bytes = {0, PH_LEASE_BYTES_END};
    const struct ph_lease *lease;
    const struct ph_lease_key *waiting;

    LIST_FOREACH(lease, &object->holders, of_object)
    {
        if (lease->session == key->claim->own || lease->span == NULL)
            continue;
        if (lease->span->end <= key->bytes.start && lease->span->end > bytes.start)
            bytes.start = lease->span->end;
        if (lease->span->start >= key->bytes.end && lease->span->start < bytes.end)
            bytes.end = lease->span->start;
    }
    if (object->queue == NULL)
        return bytes;
    TAILQ_FOREACH(waiting, &object->queue->keys, of_queue)
    {
        if (waiting->claim->own == key->claim->own || !waiting->part || is_empty(&waiting->bytes))
            continue;
        if (waiting->bytes.end <= key->bytes.start && waiting->bytes.end > bytes.start)
            bytes.start = waiting->bytes.end;
        if (waiting->bytes.start >= key->bytes.end && waiting->bytes.start < bytes.end)
            bytes.end = waiting->bytes.start;
    }
    return bytes;
}

static void set_span(struct ph_lease *lease, struct ph_lease_bytes bytes)
{
    if (lease->span == NULL) {
        lease->span = PH_CORE_NEW(struct ph_lease_bytes);
        /* Where it is the only one, nothing is known yet. */
        if (LIST_FIRST(&lease->object->holders) == lease && LIST_NEXT(lease, of_object) == NULL)
            lease->object->known_size = 0;
    }
    *lease->span = bytes;
}

void ph_lease_range_grant(struct ph_lease *lease, const struct ph_lease_key *key)
{
    struct ph_lease_bytes around = free_around(lease->object, key);
    struct ph_lease_bytes bytes = key->bytes;

    if (PH_MUTANT(RANGES_OVERLAP)) {
        set_span(lease, (struct ph_lease_bytes){0, PH_LEASE_BYTES_END});
        return;
    }
    bytes.start = around.start == 0 ? 0 : bytes.start - share_of(bytes.start - around.start);
    bytes.end = around.end == PH_LEASE_BYTES_END ? around.end : bytes.end + share_of(around.end - bytes.end);
    set_span(lease, bytes);
}

/* ---- Asked by the server ---- */

void ph_lease_session_takes_ranges(struct ph_lease_session *session)
{
    session->ranges = true;
}

static bool is_in_the_way(const struct ph_lease *lease, const struct ph_lease_key *key)
{
    return lease->session != key->claim->own && lease->mode == PH_LEASE_EXCLUSIVE &&
           !ph_lease_is_apart(lease, key);
}

bool ph_leases_reading_conflicts(const struct ph_leases *leases, const struct ph_lease_session *own,
                                 size_t space, const struct ph_lease_want *want)
{
    const struct ph_lease_object *object = ph_lease_object_find(leases, space, want->object);
    struct ph_lease_claim claim = {.own = (struct ph_lease_session *) own};
    const struct ph_lease_key key = {.object = want->object,
                                     .purpose = PH_LEASE_TO_READ,
                                     .part = want->part,
                                     .bytes = want->bytes,
                                     .claim = &claim};
    const struct ph_lease *lease;

    if (object == NULL || PH_MUTANT(READ_AT_ONCE))
        return false;
    LIST_FOREACH(lease, &object->holders, of_object)
    {
        if (is_in_the_way(lease, &key))
            return true;
    }
    return false;
}

bool ph_leases_holds_range(const struct ph_leases *leases, const struct ph_lease_session *session,
                           uint64_t object)
{
    const struct ph_lease_object *entry = ph_lease_object_find(leases, session->space, object);
    const struct ph_lease *lease = entry == NULL ? NULL : ph_lease_of(entry, session);

    return lease != NULL && lease->span != NULL;
}

bool ph_leases_range(const struct ph_leases *leases, const struct ph_lease_session *session, uint64_t id,
                     struct ph_lease_bytes *bytes)
{
    const struct ph_lease *lease = ph_lease_find(leases, session, id);

    if (lease == NULL || lease->span == NULL)
        return false;
    *bytes = *lease->span;
    return true;
}

void ph_leases_size_known(struct ph_leases *leases, const struct ph_lease_session *session, uint64_t id,
                          uint64_t size)
{
    struct ph_lease *lease = ph_lease_find(leases, session, id);

    if (lease == NULL || lease->span == NULL || ph_lease_is_recalled(lease))
        return;
    if (size > lease->object->known_size)
        lease->object->known_size = size;
}

bool ph_leases_keep_part(struct ph_leases *leases, struct ph_lease_session *session, uint64_t id,
                         const struct ph_lease_bytes *bytes)
{
    struct ph_lease *lease = ph_lease_find(leases, session, id);

    if (lease == NULL)
        return false;
    if (!session->ranges || lease->mode != PH_LEASE_EXCLUSIVE || is_empty(bytes) ||
        bytes->end > PH_LEASE_BYTES_END || (lease->span != NULL && !contains(lease->span, bytes)))
        return ph_leases_release(leases, session, id);
    ph_lease_narrow(leases, lease);
    set_span(lease, *bytes);
    ph_lease_touch(leases, lease->object);
    ph_lease_recall_more(leases, session);
    ph_lease_settle(leases);
    return true;
}
