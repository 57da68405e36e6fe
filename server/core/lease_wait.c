/* Claims and acquires: what goes at once, and what waits for whom. */
#include <stdlib.h>

#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"
#include "server/core/lease_private.h"
#include "server/core/memory.h"

/* Whether LEASE must be gone, or weaker, before KEY can have what it wants. */
static bool in_the_way(const struct ph_lease *lease, const struct ph_lease_key *key)
{
    const struct ph_lease_claim *claim = key->claim;
    bool alone = key->purpose == PH_LEASE_TO_CHANGE ||
                 (key->purpose == PH_LEASE_TO_HOLD && claim->mode == PH_LEASE_EXCLUSIVE);

    if (lease->session == claim->own || ph_lease_is_apart(lease, key))
        return false;
    return alone || lease->mode == PH_LEASE_EXCLUSIVE;
}

/* Whether the command's own session has OBJECT exclusively. It never waits for it then, not even in a queue:
 * the lease comes back only when its changes have got through. R-9.11-12. */
static bool is_alone(const struct ph_lease_object *object, const struct ph_lease_key *key)
{
    const struct ph_lease *own =
        key->purpose == PH_LEASE_TO_HOLD ? NULL : ph_lease_of(object, key->claim->own);

    if (own == NULL || own->mode != PH_LEASE_EXCLUSIVE)
        return false;
    return own->span == NULL || ph_lease_range_is_alone(own, key);
}

static enum ph_lease_mode may_keep(const struct ph_lease_key *key)
{
    bool alone = key->purpose == PH_LEASE_TO_CHANGE ||
                 (key->purpose == PH_LEASE_TO_HOLD && key->claim->mode == PH_LEASE_EXCLUSIVE);

    return alone ? PH_LEASE_NONE : PH_LEASE_SHARED;
}

/* Whether a lease on OBJECT is in the way of KEY; those that are, are recalled if so wanted. */
static bool is_blocked(struct ph_leases *leases, struct ph_lease_object *object,
                       const struct ph_lease_key *key, bool recall)
{
    struct ph_lease *lease;
    bool blocked = false;

    LIST_FOREACH(lease, &object->holders, of_object)
    {
        if (!in_the_way(lease, key))
            continue;
        blocked = true;
        if (!recall)
            break;
        ph_lease_recall_for(leases, lease, key, may_keep(key));
    }
    return blocked;
}

/* An acquire also waits for the changes that are being made. */
static bool is_changing(const struct ph_leases *leases, size_t space, const struct ph_lease_key *key)
{
    return ph_lease_slot(leases, space, key->object)->running > ph_lease_range_covered(leases, space, key) ||
           leases->space[space].running > 0 || !TAILQ_EMPTY(&leases->space[space].waiting);
}

void ph_lease_touch(struct ph_leases *leases, struct ph_lease_object *object)
{
    if (object->queue == NULL || object->queue->touched)
        return;
    object->queue->touched = true;
    object->queue->next_touched = leases->touched;
    leases->touched = object;
}

/* Something that acquires wait for has ended. */
static void touch_acquires(struct ph_leases *leases, size_t space, uint64_t object)
{
    struct ph_lease_claim *acquire;

    TAILQ_FOREACH(acquire, &leases->acquires, of_acquires)
    {
        const struct ph_lease_key *key = &acquire->key[0];

        if (acquire->space != space)
            continue;
        if (object == PH_LEASE_ALL ||
            ph_lease_slot(leases, space, key->object) == ph_lease_slot(leases, space, object))
            ph_lease_touch(leases, key->at);
    }
}

/* ---- Running ---- */

/* What is written may be of a range. All else that is changed may make the object smaller than it was known
 * to be: by who has a range of it and ought to have given it back. */
static void begin_writing(struct ph_leases *leases, struct ph_lease_key *key)
{
    struct ph_lease_object *object;

    if (key->purpose != PH_LEASE_TO_CHANGE)
        return;
    if (key->part) {
        TAILQ_INSERT_TAIL(&leases->writing, key, of_queue);
        return;
    }
    object = ph_lease_object_find(leases, key->claim->space, key->object);
    if (object != NULL)
        object->known_size = 0;
}

/* The command may go: from here on nobody else is granted what it changes. */
static void run(struct ph_leases *leases, struct ph_lease_claim *claim)
{
    struct ph_lease_space *space = &leases->space[claim->space];

    claim->state = PH_LEASE_RUNNING;
    for (unsigned i = 0; i < claim->count; i++) {
        const struct ph_lease_key *key = &claim->key[i];
        struct ph_lease_slot *slot = ph_lease_slot(leases, claim->space, key->object);
        size_t *running = key->object == PH_LEASE_ALL ? &space->running : &slot->running;
        uint64_t *changed = key->object == PH_LEASE_ALL ? &space->changed : &slot->changed;

        (*running)++;
        if (key->purpose == PH_LEASE_TO_CHANGE)
            *changed = ph_lease_clock_move(leases);
        begin_writing(leases, &claim->key[i]);
    }
}

static void end_running(struct ph_leases *leases, struct ph_lease_claim *claim)
{
    struct ph_lease_space *space = &leases->space[claim->space];

    claim->state = PH_LEASE_IDLE;
    for (unsigned i = 0; i < claim->count; i++) {
        const struct ph_lease_key *key = &claim->key[i];
        struct ph_lease_slot *slot = ph_lease_slot(leases, claim->space, key->object);
        size_t *running = key->object == PH_LEASE_ALL ? &space->running : &slot->running;
        uint64_t *changed = key->object == PH_LEASE_ALL ? &space->changed : &slot->changed;

        (*running)--;
        if (key->purpose == PH_LEASE_TO_CHANGE)
            *changed = ph_lease_clock_move(leases);
        if (key->purpose == PH_LEASE_TO_CHANGE && key->part)
            TAILQ_REMOVE(&leases->writing, &claim->key[i], of_queue);
        touch_acquires(leases, claim->space, key->object);
    }
}

/* An acquire got what it wanted: its session holds the lease, unless that is one too many. */
static void hold(struct ph_leases *leases, struct ph_lease_claim *claim)
{
    const struct ph_lease_key *key = &claim->key[0];
    struct ph_lease_object *object = ph_lease_object_find(leases, claim->space, key->object);
    struct ph_lease *lease = object == NULL ? NULL : ph_lease_of(object, claim->own);

    claim->state = PH_LEASE_IDLE;
    if (lease == NULL) {
        lease = ph_lease_add(leases, claim->own, claim->space, key->object, (enum ph_lease_mode) claim->mode);
        if (lease != NULL && key->part)
            ph_lease_range_grant(lease, key);
    } else if (lease->mode < claim->mode) {
        ph_lease_renew(leases, lease, (enum ph_lease_mode) claim->mode);
    }
    claim->lease = lease == NULL ? 0 : lease->id;
}

/* ---- Waiting ---- */

static void unqueue(struct ph_leases *leases, struct ph_lease_claim *claim)
{
    for (unsigned i = 0; i < claim->count; i++) {
        struct ph_lease_key *key = &claim->key[i];

        if (key->at == NULL) {
            TAILQ_REMOVE(&leases->space[claim->space].waiting, key, of_queue);
            touch_acquires(leases, claim->space, PH_LEASE_ALL);
        } else {
            TAILQ_REMOVE(&key->at->queue->keys, key, of_queue);
            ph_lease_touch(leases, key->at);
        }
        if (key->purpose == PH_LEASE_TO_HOLD)
            TAILQ_REMOVE(&leases->acquires, claim, of_acquires);
        key->at = NULL;
    }
}

/* Nothing is in its way any more. */
static void go(struct ph_leases *leases, struct ph_lease_claim *claim)
{
    unqueue(leases, claim);
    if (claim->key[0].purpose == PH_LEASE_TO_HOLD)
        hold(leases, claim);
    else
        run(leases, claim);
    if (claim == &leases->space[claim->space].outside)
        end_running(leases, claim); /* what it stands for is over already */
    else
        leases->hooks.go(leases->hooks.data, claim);
}

/* Whether the session of an acquire is asked for the lease that it has: it may be unable to give that back
 * before what it acquires for has gone on without. R-9.1-5. Or has a range, and asks for something else. */
static bool is_refused(const struct ph_leases *leases, const struct ph_lease_object *object,
                       const struct ph_lease_key *key)
{
    const struct ph_lease *own =
        key->purpose == PH_LEASE_TO_HOLD ? ph_lease_of(object, key->claim->own) : NULL;

    return own != NULL &&
           (ph_lease_is_recalled(own) || ph_lease_range_refused(leases, key->claim->own, own, key->object,
                                                                key->part ? &key->bytes : NULL));
}

static void refuse(struct ph_leases *leases, struct ph_lease_claim *claim)
{
    unqueue(leases, claim);
    claim->state = PH_LEASE_IDLE;
    claim->refused = true;
    leases->hooks.go(leases->hooks.data, claim);
}

/* KEY is, or is not, in its turn. True when its claim went. */
static bool look_at_key(struct ph_leases *leases, struct ph_lease_key *key, bool blocked)
{
    struct ph_lease_claim *claim = key->claim;

    if (blocked == key->blocked)
        return false;
    key->blocked = blocked;
    claim->blocked += blocked ? 1 : -1;
    if (claim->blocked > 0)
        return false;
    go(leases, claim);
    return true;
}

/* Looks at those who wait for OBJECT. True when one went: the others are to be looked at again. */
static bool look_at_object(struct ph_leases *leases, struct ph_lease_object *object)
{
    bool first = true, behind = false; /* BEHIND: an acquire that came earlier still waits */
    struct ph_lease_key *key;

    TAILQ_FOREACH(key, &object->queue->keys, of_queue)
    {
        bool holds = key->purpose == PH_LEASE_TO_HOLD;
        bool in_turn = !behind && (first || !holds);
        bool blocked;

        if (is_refused(leases, object, key)) {
            refuse(leases, key->claim);
            return true;
        }
        blocked = !is_alone(object, key) && (!in_turn || is_blocked(leases, object, key, true) ||
                                             (holds && is_changing(leases, object->space, key)));
        if (look_at_key(leases, key, blocked))
            return true;
        behind = behind || holds;
        first = false;
    }
    return false;
}

static bool all_blocked(const struct ph_lease_space *space, const struct ph_lease_key *key)
{
    const struct ph_lease_session *own = key->claim->own;

    return space->leases > (own == NULL ? 0 : own->count);
}

static bool look_at_space(struct ph_leases *leases, struct ph_lease_space *space)
{
    struct ph_lease_key *key;

    TAILQ_FOREACH(key, &space->waiting, of_queue)
    {
        if (look_at_key(leases, key, all_blocked(space, key)))
            return true;
    }
    return false;
}

static void settle_spaces(struct ph_leases *leases)
{
    for (size_t i = 0; i < leases->space_count; i++) {
        struct ph_lease_space *space = &leases->space[i];

        while (space->touched) {
            space->touched = false;
            while (look_at_space(leases, space))
                continue;
        }
    }
}

void ph_lease_settle(struct ph_leases *leases)
{
    do {
        while (leases->touched != NULL) {
            struct ph_lease_object *object = leases->touched;

            leases->touched = object->queue->next_touched;
            object->queue->touched = false;
            while (look_at_object(leases, object))
                continue;
            ph_lease_object_trim(leases, object);
        }
        settle_spaces(leases);
    } while (leases->touched != NULL);
}

void ph_lease_recall_more(struct ph_leases *leases, struct ph_lease_session *session)
{
    const struct ph_lease_space *space = &leases->space[session->space];
    struct ph_lease_key *key;
    bool wanted = false;

    TAILQ_FOREACH(key, &space->waiting, of_queue)
    {
        wanted = wanted || key->claim->own != session;
    }
    while (wanted && session->recalled_count < PH_RECALLS_AT_ONCE && !TAILQ_EMPTY(&session->held))
        ph_lease_recall(leases, TAILQ_FIRST(&session->held), PH_LEASE_NONE);
}

static void queue_all(struct ph_leases *leases, struct ph_lease_claim *claim, struct ph_lease_key *key)
{
    struct ph_lease_space *space = &leases->space[claim->space];
    struct ph_lease_session *session;

    TAILQ_INSERT_TAIL(&space->waiting, key, of_queue);
    space->touched = true;
    LIST_FOREACH(session, &space->all, of_space)
    {
        ph_lease_recall_more(leases, session);
    }
}

/* All keys are blocked at first; looking at the queues finds those that are not. */
static bool begin_waiting(struct ph_leases *leases, struct ph_lease_claim *claim)
{
    claim->state = PH_LEASE_WAITING;
    claim->blocked = claim->count;
    for (unsigned i = 0; i < claim->count; i++) {
        struct ph_lease_key *key = &claim->key[i];

        key->blocked = true;
        if (key->object == PH_LEASE_ALL) {
            queue_all(leases, claim, key);
            continue;
        }
        key->at = ph_lease_object_queue(leases, claim->space, key->object);
        TAILQ_INSERT_TAIL(&key->at->queue->keys, key, of_queue);
        ph_lease_touch(leases, key->at);
    }
    ph_lease_settle(leases);
    return false;
}

/* ---- Claims ---- */

static bool goes_at_once(struct ph_leases *leases, struct ph_lease_key *key, size_t space)
{
    struct ph_lease_object *object;
    struct ph_lease_key *earlier;

    if (key->object == PH_LEASE_ALL)
        return !all_blocked(&leases->space[space], key);
    object = ph_lease_object_find(leases, space, key->object);
    if (object == NULL || is_alone(object, key))
        return true;
    if (object->queue != NULL) {
        TAILQ_FOREACH(earlier, &object->queue->keys, of_queue)
        {
            if (earlier->purpose == PH_LEASE_TO_HOLD && earlier->claim->own != key->claim->own)
                return false;
        }
    }
    return !is_blocked(leases, object, key, false);
}

/* Room for COUNT keys. */
static void make_room(struct ph_lease_claim *claim, size_t count)
{
    claim->key = claim->few;
    if (count > PH_LEASE_CLAIM_KEYS)
        claim->key = ph_core_new0(count * sizeof(*claim->key));
    claim->count = (unsigned) count;
}

bool ph_leases_claim(struct ph_leases *leases, struct ph_lease_claim *claim, struct ph_lease_session *own,
                     size_t space, const struct ph_lease_want *wants, size_t count)
{
    bool at_once = true;

    claim->own = own;
    claim->space = space;
    make_room(claim, count);
    for (size_t i = 0; i < count; i++) {
        claim->key[i] = (struct ph_lease_key){
            .object = wants[i].object,
            .purpose = wants[i].change ? PH_LEASE_TO_CHANGE : PH_LEASE_TO_READ,
            .part = wants[i].part,
            .bytes = wants[i].bytes,
            .claim = claim,
        };
        at_once = at_once && goes_at_once(leases, &claim->key[i], space);
    }
    if (!at_once && !PH_MUTANT(CHANGE_AT_ONCE))
        return begin_waiting(leases, claim);
    run(leases, claim);
    return true;
}

void ph_leases_claim_at_once(struct ph_leases *leases, struct ph_lease_claim *claim,
                             struct ph_lease_session *own, const struct ph_lease_want *want)
{
    struct ph_lease_object *entry = ph_lease_object_find(leases, own->space, want->object);

    claim->own = own;
    claim->space = own->space;
    make_room(claim, 1);
    claim->key[0] = (struct ph_lease_key){.object = want->object,
                                          .purpose = PH_LEASE_TO_CHANGE,
                                          .part = want->part,
                                          .bytes = want->bytes,
                                          .claim = claim};
    if (entry != NULL)
        is_blocked(leases, entry, &claim->key[0], true);
    run(leases, claim);
    ph_lease_settle(leases);
}

/* Whether KEY is for what WANT says, or for more. */
static bool covers(const struct ph_lease_key *key, const struct ph_lease_want *want)
{
    if (key->object == PH_LEASE_ALL || !key->part)
        return true;
    return want->part && key->bytes.start <= want->bytes.start && want->bytes.end <= key->bytes.end;
}

static bool has_key(const struct ph_lease_key *key, const struct ph_lease_want *want)
{
    return (key->object == want->object || key->object == PH_LEASE_ALL) &&
           (key->purpose == PH_LEASE_TO_CHANGE || !want->change) && covers(key, want);
}

/* Whether CLAIM, whose many keys are sorted, has WANT. */
static bool has_among_many(const struct ph_lease_claim *claim, const struct ph_lease_want *want)
{
    size_t from = 0, to = claim->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (claim->key[middle].object < want->object)
            from = middle + 1;
        else
            to = middle;
    }
    return from < claim->count && has_key(&claim->key[from], want);
}

bool ph_lease_claim_covers(const struct ph_lease_claim *claim, const struct ph_lease_want *wants,
                           size_t count)
{
    if (claim->state != PH_LEASE_RUNNING)
        return false;
    for (size_t i = 0; i < count; i++) {
        bool found = claim->count > PH_LEASE_CLAIM_KEYS && has_among_many(claim, &wants[i]);

        for (unsigned j = 0; claim->count <= PH_LEASE_CLAIM_KEYS && j < claim->count && !found; j++)
            found = has_key(&claim->key[j], &wants[i]);
        if (!found)
            return false;
    }
    return true;
}

void ph_leases_claim_end(struct ph_leases *leases, struct ph_lease_claim *claim)
{
    if (claim->state == PH_LEASE_IDLE)
        return;
    if (claim->state == PH_LEASE_RUNNING) {
        end_running(leases, claim);
    } else {
        claim->state = PH_LEASE_IDLE;
        unqueue(leases, claim);
    }
    if (claim->key != claim->few)
        free(claim->key);
    claim->key = claim->few;
    ph_lease_settle(leases);
}

bool ph_leases_acquire(struct ph_leases *leases, struct ph_lease_claim *claim,
                       struct ph_lease_session *session, uint64_t object, enum ph_lease_mode mode,
                       const struct ph_lease_bytes *bytes)
{
    struct ph_lease_object *entry = ph_lease_object_find(leases, session->space, object);
    struct ph_lease *lease = entry == NULL ? NULL : ph_lease_of(entry, session);

    if (!session->ranges || mode != PH_LEASE_EXCLUSIVE || (lease != NULL && lease->span == NULL) ||
        (bytes != NULL && bytes->start >= bytes->end))
        bytes = NULL;
    claim->lease = 0;
    claim->refused = (lease != NULL && ph_lease_is_recalled(lease)) ||
                     ph_lease_range_refused(leases, session, lease, object, bytes);
    if (claim->refused)
        return false;
    if (lease != NULL && lease->mode >= mode) {
        claim->lease = lease->id;
        return true;
    }
    if (lease == NULL && (session->count >= PH_SESSION_LEASES_MAX || leases->count >= PH_SERVER_LEASES_MAX))
        return false;
    claim->own = session;
    claim->space = session->space;
    claim->mode = mode;
    make_room(claim, 1);
    claim->key[0] = (struct ph_lease_key){.object = object, .purpose = PH_LEASE_TO_HOLD, .claim = claim};
    claim->key[0].part = bytes != NULL;
    if (bytes != NULL)
        claim->key[0].bytes = *bytes;
    if ((entry == NULL || (entry->queue == NULL && !is_blocked(leases, entry, &claim->key[0], false))) &&
        !is_changing(leases, session->space, &claim->key[0])) {
        hold(leases, claim);
        ph_lease_settle(leases);
        return true;
    }
    TAILQ_INSERT_TAIL(&leases->acquires, claim, of_acquires);
    return begin_waiting(leases, claim);
}
