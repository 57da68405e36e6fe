/* What happens to leases because time passes. */
#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"
#include "server/core/lease_private.h"

/* When what SESSION, which is lost, left behind is over. The tick may be a moment behind the loss. */
static uint64_t expiry_ms(const struct ph_leases *leases, const struct ph_lease_session *session)
{
    uint64_t end_ms = session->answered_ms + ph_lease_kept_ms(leases->time_ms);
    uint64_t left_ms = session->lost_ms + PH_LEASE_LEFT_MS;

    if (PH_MUTANT(FENCED_EARLY))
        return session->lost_ms;

    return session->left && left_ms < end_ms ? left_ms : end_ms;
}

/* When the holder was asked for the lease that is recalled longest; UINT64_MAX for never. */
static uint64_t oldest_recall_ms(const struct ph_lease_session *session)
{
    const struct ph_lease *lease = TAILQ_FIRST(&session->recalled);

    return lease == NULL ? UINT64_MAX : lease->recalled_ms;
}

static bool is_mute(const struct ph_leases *leases, const struct ph_lease_session *session, uint64_t now_ms)
{
    uint64_t oldest_ms = oldest_recall_ms(session);

    /* Who cannot be asked has all of the time of its leases, and no more. */
    if (session->away)
        return oldest_ms != UINT64_MAX && now_ms >= expiry_ms(leases, session);
    if (PH_MUTANT(FENCED_EARLY) && !session->lost && oldest_ms <= now_ms)
        return now_ms - oldest_ms >= PH_RECALL_TIMEOUT_MS / 8;
    return !session->lost && oldest_ms <= now_ms && now_ms - oldest_ms >= PH_RECALL_TIMEOUT_MS;
}

/* Who was asked in vain. The hook may end the session, and with its last lease free it. */
static void fence_mute(struct ph_leases *leases, struct ph_lease_session *session, uint64_t now_ms)
{
    if (session->answered) {
        session->answered = false;
        session->answered_ms = now_ms;
    }
    if (is_mute(leases, session, now_ms))
        leases->hooks.fence(leases->hooks.data, session);
}

/* The leases of who is lost stay until it knows by its own clock that it has lost them. */
static void end_expired(struct ph_leases *leases, struct ph_lease_session *session, uint64_t now_ms)
{
    if (!session->lost || session->listed != 0 || now_ms < expiry_ms(leases, session))
        return;
    leases->hooks.expired(leases->hooks.data, session);
    ph_lease_session_end(leases, session);
}

/* Calls DEED for all sessions; it may free the one that it is called for. */
static void for_each(struct ph_leases *leases, uint64_t now_ms,
                     void (*deed)(struct ph_leases *, struct ph_lease_session *, uint64_t))
{
    for (size_t i = 0; i < leases->space_count; i++) {
        struct ph_lease_session *next;

        for (struct ph_lease_session *session = LIST_FIRST(&leases->space[i].all); session != NULL;
             session = next) {
            next = LIST_NEXT(session, of_space);
            deed(leases, session, now_ms);
        }
    }
}

void ph_leases_last(struct ph_leases *leases, uint32_t time_ms)
{
    leases->time_ms = time_ms;
}

void ph_leases_tick(struct ph_leases *leases, uint64_t now_ms)
{
    leases->now_ms = now_ms;
    for_each(leases, now_ms, fence_mute);
    for_each(leases, now_ms, end_expired);
}
