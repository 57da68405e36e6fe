/* Waiting for locks: who may go on, and who would wait for ever. */
#include "ph_commands.h"
#include "server/core/memory.h"
#include "server/core/range_lock_private.h"

void ph_lock_wait_add(struct ph_lock_file *file, struct ph_lock_party *party, const struct ph_lock_want *want,
                      uint64_t request)
{
    struct ph_lock_waiter *waiter = PH_CORE_NEW(struct ph_lock_waiter);

    waiter->file = file;
    waiter->party = party;
    waiter->want = *want;
    waiter->request = request;
    TAILQ_INSERT_TAIL(&file->waiters, waiter, of_file);
    TAILQ_INSERT_TAIL(&party->waits, waiter, of_party);
    TAILQ_INSERT_TAIL(&party->session->waiters, waiter, of_session);
    party->session->waits++;
}

void ph_lock_wait_drop(struct ph_lock_waiter *waiter)
{
    TAILQ_REMOVE(&waiter->file->waiters, waiter, of_file);
    TAILQ_REMOVE(&waiter->party->waits, waiter, of_party);
    TAILQ_REMOVE(&waiter->party->session->waiters, waiter, of_session);
    waiter->party->session->waits--;
    free(waiter);
}

/* Looks at the waiters once; true when another look may grant more, because a
 * lock that was granted weakened one that its owner held. */
static bool wake_once(struct ph_locks *locks, struct ph_lock_file *file)
{
    bool passed_over = false, again = false;
    struct ph_lock_waiter *next;

    for (struct ph_lock_waiter *waiter = TAILQ_FIRST(&file->waiters); waiter != NULL; waiter = next) {
        struct ph_lock_party *party = waiter->party;
        uint64_t request = waiter->request;
        uint32_t status;

        next = TAILQ_NEXT(waiter, of_file);
        if (ph_lock_conflict(file, party, &waiter->want) != NULL) {
            passed_over = true;
            continue;
        }
        again = again || (passed_over && waiter->want.shared);
        status = ph_lock_hold(locks, file, party, &waiter->want, NULL);
        ph_lock_wait_drop(waiter);
        locks->answer(locks->data, party->session, request, status);
        ph_lock_party_trim(locks, party);
    }
    return again;
}

void ph_lock_wake(struct ph_locks *locks, struct ph_lock_file *file)
{
    while (wake_once(locks, file))
        continue;
}

/* A search along "waits for". Parties still to be looked at stand in a list,
 * so that a long chain does not need a deep stack. */
struct search {
    struct ph_locks *locks;
    const struct ph_lock_party *goal; /* who must not be waited for */
    const struct ph_lock_party *self; /* whose wait is being looked at */
    struct ph_lock_party **todo;
    size_t count, room;
};

/* A lock in the way: its owner is the goal, or one more to be looked at. */
static bool follow(struct ph_interval *node, void *data)
{
    struct search *search = data;
    struct ph_lock_party *party = ph_lock_of_file(node)->owner->party;

    if (party == search->self)
        return false;
    if (party == search->goal)
        return true;
    if (party->mark == search->locks->mark || TAILQ_EMPTY(&party->waits))
        return false;
    party->mark = search->locks->mark;
    if (search->count == search->room) {
        search->room = search->room == 0 ? 16 : 2 * search->room;
        search->todo = realloc(search->todo, search->room * sizeof(struct ph_lock_party *));
        if (search->todo == NULL)
            abort();
    }
    search->todo[search->count++] = party;
    return false;
}

static bool reaches(struct search *search, struct ph_lock_file *file, const struct ph_lock_want *want)
{
    return ph_interval_walk(file->locks, want->start, want->end, want->shared, follow, search) != NULL;
}

bool ph_lock_circle(struct ph_locks *locks, struct ph_lock_file *file, struct ph_lock_party *party,
                    const struct ph_lock_want *want)
{
    struct search search = {.locks = locks, .goal = NULL, .self = party};
    bool found;

    locks->mark++;
    found = reaches(&search, file, want);
    search.goal = party;
    while (!found && search.count > 0) {
        struct ph_lock_party *next = search.todo[--search.count];
        struct ph_lock_waiter *waiter;

        search.self = next;
        TAILQ_FOREACH(waiter, &next->waits, of_party)
        {
            found = !waiter->want.whole_file && reaches(&search, waiter->file, &waiter->want);
            if (found)
                break;
        }
    }
    free(search.todo);
    return found;
}

bool ph_locks_cancel(struct ph_locks *locks, struct ph_lock_session *session, uint64_t request)
{
    struct ph_lock_waiter *waiter;

    TAILQ_FOREACH(waiter, &session->waiters, of_session)
    {
        struct ph_lock_file *file = waiter->file;
        struct ph_lock_party *party = waiter->party;

        if (waiter->request != request)
            continue;
        ph_lock_wait_drop(waiter);
        locks->answer(locks->data, session, request, PH_ST_CANCELLED);
        ph_lock_file_trim(locks, file);
        ph_lock_party_trim(locks, party);
        return true;
    }
    return false;
}
