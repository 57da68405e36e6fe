/* Finding, making and freeing of files, parties and owners; conflicts. */
#include "server/core/memory.h"
#include "server/core/range_lock_private.h"

struct ph_lock *ph_lock_of_file(struct ph_interval *node)
{
    return PH_TABLE_ENTRY(node, struct ph_lock, of_file);
}

struct ph_lock *ph_lock_of_owner(struct ph_interval *node)
{
    return PH_TABLE_ENTRY(node, struct ph_lock, of_owner);
}

struct ph_lock_file *ph_lock_file_get(struct ph_locks *locks, const struct ph_lock_want *want, bool make)
{
    uint64_t hash =
        ph_table_hash(ph_table_hash(locks->seed, want->space), want->object * 2 + want->whole_file);
    struct ph_lock_file *file;

    for (struct ph_table_node *node = ph_table_first(&locks->files, hash); node != NULL;
         node = ph_table_next(node)) {
        file = PH_TABLE_ENTRY(node, struct ph_lock_file, node);
        if (file->space == want->space && file->object == want->object &&
            file->whole_file == want->whole_file)
            return file;
    }
    if (!make)
        return NULL;
    file = PH_CORE_NEW(struct ph_lock_file);
    file->space = want->space;
    file->object = want->object;
    file->whole_file = want->whole_file;
    TAILQ_INIT(&file->waiters);
    ph_table_add(&locks->files, &file->node, hash);
    return file;
}

struct ph_lock_party *ph_lock_party_get(struct ph_locks *locks, struct ph_lock_session *session,
                                        uint64_t owner, bool make)
{
    uint64_t hash = ph_table_hash(ph_table_hash(locks->seed, session->id), owner);
    struct ph_lock_party *party;

    for (struct ph_table_node *node = ph_table_first(&locks->parties, hash); node != NULL;
         node = ph_table_next(node)) {
        party = PH_TABLE_ENTRY(node, struct ph_lock_party, node);
        if (party->session == session && party->owner == owner)
            return party;
    }
    if (!make)
        return NULL;
    party = PH_CORE_NEW(struct ph_lock_party);
    party->session = session;
    party->owner = owner;
    TAILQ_INIT(&party->owners);
    TAILQ_INIT(&party->waits);
    TAILQ_INSERT_TAIL(&session->parties, party, of_session);
    ph_table_add(&locks->parties, &party->node, hash);
    return party;
}

struct ph_lock_owner *ph_lock_owner_get(struct ph_locks *locks, struct ph_lock_file *file,
                                        struct ph_lock_party *party, bool make)
{
    uint64_t hash = ph_table_hash(file->node.hash, party->node.hash);
    struct ph_lock_owner *owner;

    for (struct ph_table_node *node = ph_table_first(&locks->owners, hash); node != NULL;
         node = ph_table_next(node)) {
        owner = PH_TABLE_ENTRY(node, struct ph_lock_owner, node);
        if (owner->file == file && owner->party == party)
            return owner;
    }
    if (!make)
        return NULL;
    owner = PH_CORE_NEW(struct ph_lock_owner);
    owner->file = file;
    owner->party = party;
    file->owners++;
    TAILQ_INSERT_TAIL(&party->owners, owner, of_party);
    ph_table_add(&locks->owners, &owner->node, hash);
    return owner;
}

void ph_lock_file_trim(struct ph_locks *locks, struct ph_lock_file *file)
{
    if (file->owners > 0 || !TAILQ_EMPTY(&file->waiters))
        return;
    ph_table_remove(&locks->files, &file->node);
    free(file);
}

void ph_lock_party_trim(struct ph_locks *locks, struct ph_lock_party *party)
{
    if (party->pins > 0 || !TAILQ_EMPTY(&party->owners) || !TAILQ_EMPTY(&party->waits))
        return;
    TAILQ_REMOVE(&party->session->parties, party, of_session);
    ph_table_remove(&locks->parties, &party->node);
    free(party);
}

void ph_lock_owner_trim(struct ph_locks *locks, struct ph_lock_owner *owner)
{
    if (owner->locks != NULL)
        return;
    owner->file->owners--;
    TAILQ_REMOVE(&owner->party->owners, owner, of_party);
    ph_table_remove(&locks->owners, &owner->node);
    free(owner);
}

void ph_lock_insert(struct ph_locks *locks, struct ph_lock_owner *owner, const struct ph_lock *like,
                    uint64_t start, uint64_t end, bool exclusive)
{
    struct ph_lock *lock = PH_CORE_NEW(struct ph_lock);

    lock->owner = owner;
    lock->handle = like->handle;
    lock->process = like->process;
    lock->of_file.start = lock->of_owner.start = start;
    lock->of_file.end = lock->of_owner.end = end;
    lock->of_file.exclusive = lock->of_owner.exclusive = exclusive;
    lock->of_file.order = lock->of_owner.order = ++locks->order;
    ph_interval_insert(&owner->file->locks, &lock->of_file, ph_table_hash(locks->seed, locks->order));
    ph_interval_insert(&owner->locks, &lock->of_owner, ph_table_hash(~locks->seed, locks->order));
    owner->party->session->locks++;
}

void ph_lock_drop(struct ph_lock *lock)
{
    struct ph_lock_owner *owner = lock->owner;

    ph_interval_remove(&owner->file->locks, &lock->of_file);
    ph_interval_remove(&owner->locks, &lock->of_owner);
    owner->party->session->locks--;
    free(lock);
}

static bool belongs_to_other(struct ph_interval *node, void *data)
{
    const struct ph_lock_party *party = data;

    return ph_lock_of_file(node)->owner->party != party;
}

struct ph_lock *ph_lock_conflict(struct ph_lock_file *file, const struct ph_lock_party *party,
                                 const struct ph_lock_want *want)
{
    return ph_lock_of_file(ph_interval_walk(file->locks, want->start, want->end, want->shared,
                                            belongs_to_other, (void *) party));
}
