#include "server/core/range_lock.h"

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/call.h"
#include "server/core/memory.h"
#include "server/core/range_lock_private.h"

struct ph_locks *ph_locks_new(uint64_t seed, ph_lock_answer_fn answer, void *data)
{
    struct ph_locks *locks = PH_CORE_NEW(struct ph_locks);

    locks->seed = seed;
    locks->answer = answer;
    locks->data = data;
    return locks;
}

void ph_locks_free(struct ph_locks *locks)
{
    if (locks == NULL)
        return;
    ph_table_clear(&locks->files);
    ph_table_clear(&locks->parties);
    ph_table_clear(&locks->owners);
    free(locks);
}

void ph_lock_session_init(struct ph_lock_session *session, uint64_t id)
{
    *session = (struct ph_lock_session){.id = id};
    TAILQ_INIT(&session->parties);
    TAILQ_INIT(&session->waiters);
}

bool ph_lock_range(uint64_t offset, uint64_t length, uint64_t *start, uint64_t *end)
{
    if (length == 0 || offset >= PH_LOCK_TO_END)
        return false;
    *start = offset;
    *end = length >= PH_LOCK_TO_END - 1 - offset ? PH_LOCK_TO_END : offset + length;
    return true;
}

/* Locks of an owner that a change of a range concerns, and what becomes of them. */
struct change {
    const struct ph_lock_want *want;
    bool take;           /* else the range is given back */
    uint64_t start, end; /* what is inserted, grown by what it is joined with */
    struct ph_lock *concerned;
    size_t removed, remnants;
};

/* Two locks that touch are one when nothing tells them apart. */
static bool joins(const struct change *change, const struct ph_lock *lock)
{
    return change->take && lock->of_owner.exclusive == !change->want->shared &&
           lock->handle == change->want->handle;
}

static bool gather(struct ph_interval *node, void *data)
{
    struct change *change = data;
    struct ph_lock *lock = ph_lock_of_owner(node);
    bool overlaps = node->start < change->want->end && node->end > change->want->start;

    if (joins(change, lock)) {
        change->start = node->start < change->start ? node->start : change->start;
        change->end = node->end > change->end ? node->end : change->end;
    } else if (overlaps) {
        change->remnants += node->start < change->want->start;
        change->remnants += node->end > change->want->end;
    } else {
        return false;
    }
    lock->next = change->concerned;
    change->concerned = lock;
    change->removed++;
    return false;
}

/* Puts back what stands out of the range on either side, then drops LOCK. */
static void cut(struct ph_locks *locks, const struct change *change, struct ph_lock *lock)
{
    uint64_t start = lock->of_owner.start, end = lock->of_owner.end;

    if (!joins(change, lock) && start < change->want->start)
        ph_lock_insert(locks, lock->owner, lock, start, change->want->start, lock->of_owner.exclusive);
    if (!joins(change, lock) && end > change->want->end)
        ph_lock_insert(locks, lock->owner, lock, change->want->end, end, lock->of_owner.exclusive);
    ph_lock_drop(lock);
}

/* Sets the owner's range to what is wanted, or to nothing. */
static uint32_t change_range(struct ph_locks *locks, struct ph_lock_owner *owner,
                             const struct ph_lock_want *want, bool take, struct ph_fault *fault)
{
    struct change change = {.want = want, .take = take, .start = want->start, .end = want->end};
    struct ph_lock_session *session = owner->party->session;
    const struct ph_lock like = {.handle = want->handle, .process = want->process};

    ph_interval_walk(owner->locks, want->start - (want->start > 0), want->end + 1, false, gather, &change);
    if (change.remnants + take > change.removed &&
        session->locks + change.remnants + take - change.removed > PH_SESSION_LOCKS_MAX)
        return ph_fault_set(fault, PH_ST_NO_LOCKS, "a session may hold %d locks", PH_SESSION_LOCKS_MAX);
    while (change.concerned != NULL) {
        struct ph_lock *lock = change.concerned;

        change.concerned = lock->next;
        cut(locks, &change, lock);
    }
    if (take)
        ph_lock_insert(locks, owner, &like, change.start, change.end, !want->shared);
    return PH_ST_OK;
}

uint32_t ph_lock_hold(struct ph_locks *locks, struct ph_lock_file *file, struct ph_lock_party *party,
                      const struct ph_lock_want *want, struct ph_fault *fault)
{
    struct ph_lock_owner *owner = ph_lock_owner_get(locks, file, party, true);
    uint32_t status = change_range(locks, owner, want, true, fault);

    ph_lock_owner_trim(locks, owner);
    return status;
}

/* WANT with the range that a whole-file lock has. */
static struct ph_lock_want normal(const struct ph_lock_want *want)
{
    struct ph_lock_want copy = *want;

    if (copy.whole_file) {
        copy.start = 0;
        copy.end = PH_LOCK_TO_END;
    }
    return copy;
}

/* flock(2): a lock that is converted is given up first, so that two who both
 * want to raise theirs do not wait for each other. True when one was. */
static bool give_up_for_conversion(struct ph_locks *locks, struct ph_lock_file *file,
                                   struct ph_lock_party *party, const struct ph_lock_want *want)
{
    struct ph_lock_owner *owner = ph_lock_owner_get(locks, file, party, false);

    if (!want->whole_file || owner == NULL || owner->locks == NULL ||
        owner->locks->exclusive == !want->shared)
        return false;
    while (owner->locks != NULL)
        ph_lock_drop(ph_lock_of_owner(owner->locks));
    ph_lock_owner_trim(locks, owner);
    return true;
}

/* Nothing could be granted: waits, or says why not. */
static uint32_t wait_or_refuse(struct ph_locks *locks, struct ph_lock_file *file, struct ph_lock_party *party,
                               const struct ph_lock_want *want, bool wait, uint64_t request,
                               struct ph_fault *fault)
{
    if (!wait)
        return PH_ST_WOULD_BLOCK;
    if (party->session->waits >= PH_SESSION_LOCK_WAITS_MAX)
        return ph_fault_set(fault, PH_ST_LIMIT, "a session may wait for %d locks at a time",
                            PH_SESSION_LOCK_WAITS_MAX);
    if (!want->whole_file && ph_lock_circle(locks, file, party, want))
        return PH_ST_DEADLOCK;
    ph_lock_wait_add(file, party, want, request);
    return PH_PENDING;
}

uint32_t ph_locks_take(struct ph_locks *locks, struct ph_lock_session *session,
                       const struct ph_lock_want *want, bool wait, uint64_t request, struct ph_fault *fault)
{
    struct ph_lock_want full = normal(want);
    struct ph_lock_file *file = ph_lock_file_get(locks, &full, true);
    struct ph_lock_party *party = ph_lock_party_get(locks, session, full.owner, true);
    bool freed = give_up_for_conversion(locks, file, party, &full);
    uint32_t status;

    if (ph_lock_conflict(file, party, &full) == NULL) {
        status = ph_lock_hold(locks, file, party, &full, fault);
        freed = freed || full.shared; /* an exclusive one may have been weakened */
    } else {
        status = wait_or_refuse(locks, file, party, &full, wait, request, fault);
    }
    party->pins++;
    if (freed)
        ph_lock_wake(locks, file);
    party->pins--;
    ph_lock_file_trim(locks, file);
    ph_lock_party_trim(locks, party);
    return status;
}

uint32_t ph_locks_give(struct ph_locks *locks, struct ph_lock_session *session,
                       const struct ph_lock_want *want, struct ph_fault *fault)
{
    struct ph_lock_want full = normal(want);
    struct ph_lock_file *file = ph_lock_file_get(locks, &full, false);
    struct ph_lock_party *party = ph_lock_party_get(locks, session, full.owner, false);
    struct ph_lock_owner *owner;
    uint32_t status;

    owner = file == NULL || party == NULL ? NULL : ph_lock_owner_get(locks, file, party, false);
    if (owner == NULL)
        return PH_ST_OK;
    status = change_range(locks, owner, &full, false, fault);
    ph_lock_owner_trim(locks, owner);
    party->pins++;
    ph_lock_wake(locks, file);
    party->pins--;
    ph_lock_file_trim(locks, file);
    ph_lock_party_trim(locks, party);
    return status;
}

bool ph_locks_test(struct ph_locks *locks, struct ph_lock_session *session, const struct ph_lock_want *want,
                   struct ph_lock_found *found)
{
    struct ph_lock_want full = normal(want);
    struct ph_lock_file *file = ph_lock_file_get(locks, &full, false);
    struct ph_lock *lock = NULL;

    if (file != NULL)
        lock = ph_lock_conflict(file, ph_lock_party_get(locks, session, full.owner, false), &full);
    if (lock == NULL)
        return false;
    *found = (struct ph_lock_found){
        .start = lock->of_file.start,
        .end = lock->of_file.end,
        .shared = !lock->of_file.exclusive,
        .process = lock->owner->party->session == session ? lock->process : 0,
    };
    return true;
}

struct ph_lock_session *ph_locks_in_the_way(struct ph_locks *locks, struct ph_lock_session *session,
                                            const struct ph_lock_want *want)
{
    struct ph_lock_want full = normal(want);
    struct ph_lock_file *file = ph_lock_file_get(locks, &full, false);
    struct ph_lock *lock = NULL;

    if (file != NULL)
        lock = ph_lock_conflict(file, ph_lock_party_get(locks, session, full.owner, false), &full);
    return lock == NULL ? NULL : lock->owner->party->session;
}

/* What is to be dropped when a handle ends. */
struct ending {
    const struct ph_lock_session *session;
    uint64_t handle;
    struct ph_lock *list;
};

static bool gather_ending(struct ph_interval *node, void *data)
{
    struct ending *ending = data;
    struct ph_lock *lock = ph_lock_of_file(node);

    if (lock->handle == ending->handle && lock->owner->party->session == ending->session) {
        lock->next = ending->list;
        ending->list = lock;
    }
    return false;
}

/* Drops LOCK, and its owner and party with the last one. */
static void drop_and_trim(struct ph_locks *locks, struct ph_lock *lock)
{
    struct ph_lock_owner *owner = lock->owner;
    struct ph_lock_party *party = owner->party;

    ph_lock_drop(lock);
    ph_lock_owner_trim(locks, owner);
    ph_lock_party_trim(locks, party);
}

/* Answers CANCELLED what SESSION waits for in FILE through HANDLE. */
static void end_waits(struct ph_locks *locks, struct ph_lock_session *session, struct ph_lock_file *file,
                      uint64_t handle)
{
    struct ph_lock_waiter *next;

    for (struct ph_lock_waiter *waiter = TAILQ_FIRST(&file->waiters); waiter != NULL; waiter = next) {
        struct ph_lock_party *party = waiter->party;

        next = TAILQ_NEXT(waiter, of_file);
        if (party->session != session || waiter->want.handle != handle)
            continue;
        locks->answer(locks->data, session, waiter->request, PH_ST_CANCELLED);
        ph_lock_wait_drop(waiter);
        ph_lock_party_trim(locks, party);
    }
}

void ph_locks_end_handle(struct ph_locks *locks, struct ph_lock_session *session, uint64_t space,
                         uint64_t object, uint64_t handle)
{
    for (int whole_file = 0; whole_file < 2; whole_file++) {
        const struct ph_lock_want key = {.space = space, .object = object, .whole_file = whole_file == 1};
        struct ph_lock_file *file = ph_lock_file_get(locks, &key, false);
        struct ending ending = {.session = session, .handle = handle};

        if (file == NULL)
            continue;
        end_waits(locks, session, file, handle);
        ph_interval_walk(file->locks, 0, PH_LOCK_TO_END, false, gather_ending, &ending);
        while (ending.list != NULL) {
            struct ph_lock *lock = ending.list;

            ending.list = lock->next;
            drop_and_trim(locks, lock);
        }
        ph_lock_wake(locks, file);
        ph_lock_file_trim(locks, file);
    }
}

void ph_locks_end_waits(struct ph_locks *locks, struct ph_lock_session *session)
{
    while (!TAILQ_EMPTY(&session->waiters)) {
        struct ph_lock_waiter *waiter = TAILQ_FIRST(&session->waiters);
        struct ph_lock_file *file = waiter->file;
        struct ph_lock_party *party = waiter->party;

        ph_lock_wait_drop(waiter);
        ph_lock_file_trim(locks, file);
        ph_lock_party_trim(locks, party);
    }
}

void ph_locks_end_session(struct ph_locks *locks, struct ph_lock_session *session)
{
    struct ph_lock_party *party;

    /* Waits first: none of this session may be granted while its locks go. */
    ph_locks_end_waits(locks, session);
    while ((party = TAILQ_FIRST(&session->parties)) != NULL) {
        struct ph_lock_owner *owner = TAILQ_FIRST(&party->owners);
        struct ph_lock_file *file = owner->file;
        bool last = owner->locks->left == NULL && owner->locks->right == NULL;

        drop_and_trim(locks, ph_lock_of_owner(owner->locks));
        if (last) {
            ph_lock_wake(locks, file);
            ph_lock_file_trim(locks, file);
        }
    }
}
