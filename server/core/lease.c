/* The table of leases as a whole, its sessions, and what is granted and given back. */
#include "server/core/lease.h"

#include <string.h>

#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"
#include "server/core/lease_private.h"
#include "server/core/memory.h"

struct ph_leases *ph_leases_new(const uint64_t *epochs, size_t spaces, uint64_t seed,
                                const struct ph_lease_hooks *hooks)
{
    struct ph_leases *leases = ph_core_new0(sizeof(*leases) + spaces * sizeof(leases->space[0]));

    leases->hooks = *hooks;
    leases->seed = seed;
    leases->time_ms = PH_LEASE_TTL_MS;
    leases->slots = ph_core_new0(PH_LEASE_SLOTS * sizeof(*leases->slots));
    leases->space_count = spaces;
    TAILQ_INIT(&leases->acquires);
    TAILQ_INIT(&leases->writing);
    for (size_t i = 0; i < spaces; i++) {
        leases->space[i].epoch = epochs[i];
        TAILQ_INIT(&leases->space[i].waiting);
        LIST_INIT(&leases->space[i].all);
    }
    return leases;
}

void ph_leases_free(struct ph_leases *leases)
{
    if (leases == NULL)
        return;
    for (size_t i = 0; i < leases->space_count; i++) {
        struct ph_lease_space *space = &leases->space[i];

        ph_leases_claim_end(leases, &space->outside);
        while (!LIST_EMPTY(&space->all))
            ph_lease_session_end(leases, LIST_FIRST(&space->all));
    }
    ph_table_clear(&leases->objects);
    ph_table_clear(&leases->ids);
    free(leases->slots);
    free(leases);
}

/* ---- Sessions --------------------------------------------------------------- */

static void count_sessions(struct ph_leases *leases, int more)
{
    __atomic_store_n(&leases->sessions, leases->sessions + (size_t) more, __ATOMIC_RELEASE);
}

struct ph_lease_session *ph_lease_session_new(struct ph_leases *leases, size_t space, const uint8_t *client,
                                              void *owner, const char *who)
{
    struct ph_lease_session *session;

    ph_leases_client_is_back(leases, client);
    if (leases->lost >= PH_LEFT_BEHIND_MAX)
        return NULL;
    session = PH_CORE_NEW(struct ph_lease_session);
    session->space = space;
    session->owner = owner;
    memcpy(session->client, client, PH_LEASE_CLIENT_BYTES);
    memcpy(session->who, who, strnlen(who, PH_LEASE_WHO_BYTES - 1));
    session->answered = true;
    TAILQ_INIT(&session->held);
    TAILQ_INIT(&session->recalled);
    LIST_INSERT_HEAD(&leases->space[space].all, session, of_space);
    count_sessions(leases, 1);
    return session;
}

void *ph_lease_session_owner(const struct ph_lease_session *session)
{
    return session->owner;
}

const char *ph_lease_session_who(const struct ph_lease_session *session)
{
    return session->who;
}

size_t ph_lease_session_count(const struct ph_lease_session *session)
{
    return session->count;
}

size_t ph_lease_session_recalled(const struct ph_lease_session *session)
{
    return session->recalled_count;
}

void ph_lease_session_answered(struct ph_lease_session *session)
{
    session->answered = true;
}

void ph_lease_session_end(struct ph_leases *leases, struct ph_lease_session *session)
{
    while (!TAILQ_EMPTY(&session->held))
        ph_lease_drop(leases, TAILQ_FIRST(&session->held));
    while (!TAILQ_EMPTY(&session->recalled))
        ph_lease_drop(leases, TAILQ_FIRST(&session->recalled));
    LIST_REMOVE(session, of_space);
    if (session->lost)
        leases->lost--;
    count_sessions(leases, -1);
    free(session);
    ph_lease_settle(leases);
}

void ph_lease_session_lost(struct ph_leases *leases, struct ph_lease_session *session, bool left)
{
    if (session->count == 0 || PH_MUTANT(LOST_AT_ONCE)) {
        ph_lease_session_end(leases, session);
        return;
    }
    session->lost = true;
    session->away = false;
    session->left = left;
    session->lost_ms = leases->now_ms;
    session->owner = NULL;
    leases->lost++;
}

void ph_lease_session_hold(struct ph_lease_session *session, uint64_t listed)
{
    session->listed = listed;
}

void ph_lease_sessions_left(struct ph_leases *leases, uint64_t listed)
{
    struct ph_lease_session *session;

    for (size_t i = 0; leases->lost > 0 && i < leases->space_count; i++) {
        LIST_FOREACH(session, &leases->space[i].all, of_space)
        {
            if (session->listed == listed)
                session->listed = 0;
        }
    }
}

void ph_lease_session_away(struct ph_lease_session *session)
{
    session->away = true;
}

void ph_lease_session_back(struct ph_leases *leases, struct ph_lease_session *session)
{
    struct ph_lease *lease;

    session->away = false;
    TAILQ_FOREACH(lease, &session->recalled, of_session)
    {
        lease->recalled_ms = leases->now_ms;
        leases->hooks.recall(leases->hooks.data, session, lease->object->object, lease->id,
                             (enum ph_lease_mode) lease->keep, NULL);
    }
}

void ph_leases_client_is_back(struct ph_leases *leases, const uint8_t *client)
{
    for (size_t i = 0; leases->lost > 0 && i < leases->space_count; i++) {
        struct ph_lease_session *next;

        for (struct ph_lease_session *session = LIST_FIRST(&leases->space[i].all); session != NULL;
             session = next) {
            next = LIST_NEXT(session, of_space);
            if (session->lost && memcmp(session->client, client, PH_LEASE_CLIENT_BYTES) == 0)
                ph_lease_session_end(leases, session);
        }
    }
}

/* ---- Reading and granting --------------------------------------------------- */

uint64_t ph_leases_clock(const struct ph_leases *leases)
{
    return __atomic_load_n(&leases->clock, __ATOMIC_ACQUIRE);
}

bool ph_leases_exclusive(const struct ph_leases *leases)
{
    return __atomic_load_n(&leases->exclusives, __ATOMIC_ACQUIRE) > 0;
}

bool ph_leases_hide(const struct ph_leases *leases, uint64_t since)
{
    /* In this order: who gives up the last one says so first. */
    return ph_leases_exclusive(leases) || __atomic_load_n(&leases->yielded, __ATOMIC_ACQUIRE) > since;
}

bool ph_leases_yielded(const struct ph_leases *leases, size_t space, uint64_t object, uint64_t since)
{
    return ph_lease_slot(leases, space, object)->yielded > since;
}

bool ph_leases_cached(const struct ph_leases *leases)
{
    return __atomic_load_n(&leases->sessions, __ATOMIC_ACQUIRE) > 0;
}

bool ph_leases_taken(const struct ph_leases *leases, const struct ph_lease_session *own, size_t space,
                     uint64_t object)
{
    const struct ph_lease_object *entry = ph_lease_object_find(leases, space, object);
    const struct ph_lease *lease = entry == NULL ? NULL : LIST_FIRST(&entry->holders);

    if (PH_MUTANT(READ_AT_ONCE) || (PH_MUTANT(SIZE_OF_THE_STORE) && ph_lease_has_ranges(entry)))
        return false;
    /* Who has all of it exclusively is the only holder. */
    if (lease != NULL && lease->session == own && lease->span != NULL)
        lease = LIST_NEXT(lease, of_object);
    return lease != NULL && lease->mode == PH_LEASE_EXCLUSIVE && lease->session != own;
}

bool ph_leases_holds(const struct ph_leases *leases, const struct ph_lease_session *session, uint64_t object)
{
    const struct ph_lease_object *entry = ph_lease_object_find(leases, session->space, object);

    return entry != NULL && ph_lease_of(entry, session) != NULL;
}

bool ph_leases_holds_alone(const struct ph_leases *leases, const struct ph_lease_session *session,
                           uint64_t object)
{
    const struct ph_lease_object *entry = ph_lease_object_find(leases, session->space, object);
    const struct ph_lease *lease = entry == NULL ? NULL : ph_lease_of(entry, session);

    return lease != NULL && lease->mode == PH_LEASE_EXCLUSIVE && lease->span == NULL;
}

void ph_leases_ask_to_share(struct ph_leases *leases, const struct ph_lease_session *own, size_t space,
                            uint64_t object)
{
    struct ph_lease_object *entry = ph_lease_object_find(leases, space, object);
    struct ph_lease *lease = entry == NULL ? NULL : LIST_FIRST(&entry->holders);

    if (lease == NULL || lease->mode != PH_LEASE_EXCLUSIVE || lease->span != NULL || lease->session == own ||
        lease->session->recalled_count >= PH_RECALLS_AT_ONCE)
        return;
    ph_lease_recall(leases, lease, PH_LEASE_SHARED);
    ph_lease_settle(leases);
}

/* Claims that run, other than CLAIM itself. */
struct others {
    size_t slot, space;
};

static struct others running_others(const struct ph_leases *leases, const struct ph_lease_claim *claim,
                                    size_t space, const struct ph_lease_slot *slot)
{
    struct others others = {.slot = slot->running, .space = leases->space[space].running};

    if (claim == NULL || claim->state != PH_LEASE_RUNNING)
        return others;
    for (unsigned i = 0; i < claim->count; i++) {
        uint64_t object = claim->key[i].object;

        if (object == PH_LEASE_ALL)
            others.space--;
        else if (ph_lease_slot(leases, space, object) == slot)
            others.slot--;
    }
    return others;
}

/* Whether attributes of the object that were read at SINCE may be out of date, or will be at once. */
static bool is_unsettled(const struct ph_leases *leases, const struct ph_lease_claim *claim, size_t space,
                         uint64_t object, uint64_t since)
{
    const struct ph_lease_slot *slot = ph_lease_slot(leases, space, object);
    struct others others = running_others(leases, claim, space, slot);

    if (PH_MUTANT(GRANT_OLD_READING))
        return false;
    return slot->changed > since || leases->space[space].changed > since || others.slot > 0 ||
           others.space > 0 || !TAILQ_EMPTY(&leases->space[space].waiting);
}

/* Makes LEASE, which is not recalled, EXCLUSIVE where no other session holds its object. */
static void strengthen(struct ph_leases *leases, struct ph_lease *lease)
{
    const struct ph_lease *first = LIST_FIRST(&lease->object->holders);

    if (lease->mode == PH_LEASE_SHARED && first == lease && LIST_NEXT(first, of_object) == NULL)
        ph_lease_renew(leases, lease, PH_LEASE_EXCLUSIVE);
}

/* Whether CLAIM, which runs, changes OBJECT, that others wanted lately. */
static bool is_fought(const struct ph_leases *leases, const struct ph_lease_claim *claim, size_t space,
                      uint64_t object)
{
    if (claim == NULL || claim->state != PH_LEASE_RUNNING ||
        leases->now_ms >= ph_lease_slot(leases, space, object)->fought_until_ms)
        return false;
    for (unsigned i = 0; i < claim->count; i++)
        if (claim->key[i].object == object && claim->key[i].purpose == PH_LEASE_TO_CHANGE)
            return true;
    return false;
}

static uint64_t grant(struct ph_leases *leases, struct ph_lease_session *session,
                      const struct ph_lease_claim *claim, uint64_t object, uint64_t since, bool alone,
                      enum ph_lease_mode *mode)
{
    struct ph_lease_object *entry;
    struct ph_lease *lease;

    *mode = PH_LEASE_NONE;
    if (is_unsettled(leases, claim, session->space, object, since))
        return 0;
    entry = ph_lease_object_find(leases, session->space, object);
    if (entry != NULL &&
        ((entry->queue != NULL && !PH_MUTANT(GRANT_WHILE_WAITING)) || ph_lease_has_ranges(entry) ||
         ph_leases_taken(leases, session, session->space, object)))
        return 0;
    if (PH_MUTANT(UNRECALLABLE) && entry == NULL) {
        *mode = PH_LEASE_SHARED;
        return (leases->space[session->space].epoch << PH_LEASE_ID_COUNT_BITS) | ++leases->last_id;
    }
    lease = entry == NULL ? NULL : ph_lease_of(entry, session);
    if (lease != NULL && ph_lease_is_recalled(lease))
        return 0;
    if (lease == NULL && is_fought(leases, claim, session->space, object))
        return 0;
    if (lease == NULL) {
        alone = alone && entry == NULL;
        lease = ph_lease_add(leases, session, session->space, object,
                             alone ? PH_LEASE_EXCLUSIVE : PH_LEASE_SHARED);
    } else {
        if (alone)
            strengthen(leases, lease);
        TAILQ_REMOVE(&session->held, lease, of_session);
        TAILQ_INSERT_TAIL(&session->held, lease, of_session);
    }
    if (lease == NULL)
        return 0;
    *mode = (enum ph_lease_mode) lease->mode;
    return lease->id;
}

uint64_t ph_leases_grant(struct ph_leases *leases, struct ph_lease_session *session,
                         const struct ph_lease_claim *claim, uint64_t object, uint64_t since,
                         enum ph_lease_mode *mode)
{
    return grant(leases, session, claim, object, since, false, mode);
}

uint64_t ph_leases_grant_alone(struct ph_leases *leases, struct ph_lease_session *session,
                               const struct ph_lease_claim *claim, uint64_t object, uint64_t since,
                               enum ph_lease_mode *mode)
{
    return grant(leases, session, claim, object, since, true, mode);
}

size_t ph_leases_count(const struct ph_leases *leases)
{
    return leases->count;
}

/* ---- Giving back ------------------------------------------------------------ */

enum ph_lease_mode ph_leases_mode(const struct ph_leases *leases, const struct ph_lease_session *session,
                                  uint64_t id)
{
    const struct ph_lease *lease = ph_lease_find(leases, session, id);

    return lease == NULL ? PH_LEASE_NONE : (enum ph_lease_mode) lease->mode;
}

bool ph_leases_release(struct ph_leases *leases, struct ph_lease_session *session, uint64_t id)
{
    struct ph_lease *lease = ph_lease_find(leases, session, id);

    if (lease == NULL && PH_MUTANT(RELEASE_ANY))
        lease = TAILQ_FIRST(&session->held);
    if (lease == NULL)
        return false;
    ph_lease_drop(leases, lease);
    /* Not for each: half of what may be asked for at a time. */
    if (session->recalled_count <= PH_RECALLS_AT_ONCE / 2)
        ph_lease_recall_more(leases, session);
    ph_lease_settle(leases);
    return true;
}

bool ph_leases_keep_shared(struct ph_leases *leases, struct ph_lease_session *session, uint64_t id)
{
    struct ph_lease *lease = ph_lease_find(leases, session, id);

    if (lease == NULL)
        return false;
    if (lease->span != NULL)
        return ph_leases_release(leases, session, id);
    if (lease->mode == PH_LEASE_EXCLUSIVE)
        ph_lease_weaken(leases, lease);
    ph_lease_recall_more(leases, session); /* it may be wanted altogether by now */
    ph_lease_settle(leases);
    return true;
}

uint64_t ph_leases_reclaim(struct ph_leases *leases, struct ph_lease_session *session, uint64_t object,
                           enum ph_lease_mode mode, bool *fresh)
{
    struct ph_lease_object *entry = ph_lease_object_find(leases, session->space, object);
    struct ph_lease *lease, *own = NULL;

    *fresh = false;
    if (entry != NULL) {
        LIST_FOREACH(lease, &entry->holders, of_object)
        {
            if (lease->session != session &&
                (lease->mode == PH_LEASE_EXCLUSIVE || mode == PH_LEASE_EXCLUSIVE))
                return 0;
            own = lease->session == session ? lease : own;
        }
    }
    if (own != NULL && own->span != NULL)
        return 0;
    if (own != NULL && own->mode >= mode)
        return own->id;
    *fresh = true;
    if (own == NULL)
        own = ph_lease_add(leases, session, session->space, object, mode);
    else if (!ph_lease_is_recalled(own))
        ph_lease_renew(leases, own, mode);
    else
        own = NULL;
    return own == NULL ? 0 : own->id;
}

uint64_t ph_leases_confirm(const struct ph_leases *leases, const struct ph_lease_session *session,
                           uint64_t object, enum ph_lease_mode mode, uint64_t id)
{
    const struct ph_lease_object *entry = ph_lease_object_find(leases, session->space, object);
    const struct ph_lease *lease;

    if (entry == NULL)
        return 0;
    LIST_FOREACH(lease, &entry->holders, of_object)
    {
        if (lease->session == session)
            return lease->id == id && lease->span == NULL && lease->mode >= mode ? id : 0;
    }
    return 0;
}

bool ph_leases_is_earlier(const struct ph_leases *leases, size_t space, uint64_t id)
{
    return id >> PH_LEASE_ID_COUNT_BITS < leases->space[space].epoch;
}

void ph_leases_changed_outside(struct ph_leases *leases, size_t space, uint64_t object)
{
    static const struct ph_lease_want everything = {.object = PH_LEASE_ALL, .change = true};
    struct ph_lease_space *entry = &leases->space[space];
    struct ph_lease_object *found;
    struct ph_lease *lease;

    if (object == PH_LEASE_ALL) {
        entry->changed = ph_lease_clock_move(leases);
        /* Where it still waits nothing was granted since: all that there is, is recalled. */
        if (entry->outside.state == PH_LEASE_IDLE &&
            ph_leases_claim(leases, &entry->outside, NULL, space, &everything, 1))
            ph_leases_claim_end(leases, &entry->outside);
        return;
    }
    ph_lease_slot(leases, space, object)->changed = ph_lease_clock_move(leases);
    found = ph_lease_object_find(leases, space, object);
    if (found == NULL)
        return;
    found->known_size = 0;
    LIST_FOREACH(lease, &found->holders, of_object)
    {
        ph_lease_recall(leases, lease, PH_LEASE_NONE);
    }
    ph_lease_settle(leases);
}
