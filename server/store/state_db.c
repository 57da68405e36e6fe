/* The state database: queue, committing thread, look-ups. The schema and its
 * statements stand in state_sql.c. */
#include "server/store/state_db.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "server/store/state_recent.h"
#include "server/store/state_sql.h"

enum {
    /* A queued row waits this long for others to join it: what a machine that
     * crashes forgets at least, against one commit for each object made. */
    COMMIT_DELAY_MS = 1,
    COMMIT_RETRY_MS = 1000,        /* after a commit failed */
    QUEUE_MAX_ROWS = 256 * 1024,   /* queued rows after which changes wait for the disk */
    RECENT_BYTES = 8 * 1024 * 1024 /* of each file of recent changes; 100,000 rows with short names */
};

/* Rows not committed yet. A removed object stays in `by_id` with `removed` set. */
struct pending_row {
    struct ph_state_row row;
    bool removed;
};

struct pending {
    GHashTable *by_id;    /* id -> struct pending_row, owned */
    GHashTable *by_inode; /* the same rows by dev and ino */
};

struct ph_state_db {
    struct ph_state_sql
        *writer; /* of the committing thread, and of open, reserve and close, under write_lock */
    struct ph_state_sql *reader; /* under read_lock */
    pthread_mutex_t write_lock, read_lock;
    pthread_t thread;
    uint64_t epoch;
    uint8_t volume[16];

    pthread_mutex_t lock; /* guards what follows; never held across a statement */
    pthread_cond_t wake, done;
    struct pending queued, committing;
    struct ph_state_recent *recent; /* the same changes, outside of this process */
    uint64_t durable;               /* all changes up to this number survive the loss of power */
    uint64_t wanted;                /* a SYNC waits for these to become durable */
    uint64_t given;                 /* these are in the cache of the disk, at least */
    bool giving;                    /* somebody is writing more of them there */
    uint64_t next_id;
    bool maybe_rows; /* the table is not known to be empty */
    bool failed;     /* the last commit failed */
    bool stop;
};

static guint inode_hash(gconstpointer key)
{
    const struct ph_state_row *row = key;
    uint64_t mixed = (row->ino ^ (row->dev << 32)) * UINT64_C(0x9e3779b97f4a7c15);
    return (guint) (mixed >> 32);
}

static gboolean inode_equal(gconstpointer a, gconstpointer b)
{
    const struct ph_state_row *left = a, *right = b;
    return left->ino == right->ino && left->dev == right->dev;
}

static void pending_init(struct pending *pending)
{
    pending->by_id = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    pending->by_inode = g_hash_table_new(inode_hash, inode_equal);
}

static void pending_clear(struct pending *pending)
{
    g_clear_pointer(&pending->by_inode, g_hash_table_unref);
    g_clear_pointer(&pending->by_id, g_hash_table_unref);
}

static void pending_drop_inode(struct pending *pending, const struct ph_state_row *row)
{
    if (g_hash_table_lookup(pending->by_inode, row) == row)
        g_hash_table_remove(pending->by_inode, row);
}

static void pending_set(struct pending *pending, const struct ph_state_row *row, bool removed)
{
    struct pending_row *old = g_hash_table_lookup(pending->by_id, &row->id);
    if (old != NULL)
        pending_drop_inode(pending, &old->row);
    struct pending_row *entry = g_new0(struct pending_row, 1);
    entry->row = *row;
    entry->removed = removed;
    g_hash_table_replace(pending->by_id, &entry->row.id, entry);
    if (!removed)
        g_hash_table_replace(pending->by_inode, &entry->row, entry);
}

static void wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long) ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(cond, lock, &until);
}

/* Writes one batch, whose last change is RECENT. Called without the lock; nobody
 * else touches `committing`. */
static bool batch_write(struct ph_state_db *db, uint64_t recent, bool durable)
{
    GHashTableIter iter;
    gpointer value;
    pthread_mutex_lock(&db->write_lock);
    bool good = ph_state_sql_begin(db->writer, durable);
    g_hash_table_iter_init(&iter, db->committing.by_id);
    /* Removals first: a row put later may take over the inode of one removed. */
    while (good && g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct pending_row *entry = value;
        if (entry->removed)
            good = ph_state_sql_remove(db->writer, entry->row.id);
    }
    g_hash_table_iter_init(&iter, db->committing.by_id);
    while (good && g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct pending_row *entry = value;
        if (!entry->removed)
            good = ph_state_sql_put(db->writer, &entry->row);
    }
    if (good && g_hash_table_size(db->committing.by_id) > 0)
        good = ph_state_sql_counter_set(db->writer, "recent", recent);
    good = ph_state_sql_end(db->writer, good, durable);
    pthread_mutex_unlock(&db->write_lock);
    return good;
}

/* One round of the committing thread; called and left with the lock held. */
static void commit_round(struct ph_state_db *db)
{
    bool full;
    uint64_t recent = ph_state_recent_take(db->recent, &full);
    bool durable = db->wanted > db->durable || db->stop || full;
    struct pending batch = db->queued;
    db->queued = db->committing; /* empty */
    db->committing = batch;
    pthread_cond_broadcast(&db->done); /* there is room again */
    pthread_mutex_unlock(&db->lock);
    bool good = false;
    for (int attempt = 0; !good; attempt++) {
        good = batch_write(db, recent, durable);
        pthread_mutex_lock(&db->lock);
        db->failed = !good;
        if (good || (db->stop && attempt > 2))
            break;
        pthread_cond_broadcast(&db->done);
        wait_ms(&db->wake, &db->lock, COMMIT_RETRY_MS);
        pthread_mutex_unlock(&db->lock);
    }
    g_hash_table_remove_all(db->committing.by_inode);
    g_hash_table_remove_all(db->committing.by_id);
    if (durable && good) {
        ph_state_recent_done(db->recent);
        db->durable = MAX(db->durable, recent);
    }
    pthread_cond_broadcast(&db->done);
}

static bool commit_due(const struct ph_state_db *db)
{
    return g_hash_table_size(db->queued.by_id) > 0 || db->wanted > db->durable;
}

static void *commit_thread(void *data)
{
    struct ph_state_db *db = data;
    pthread_mutex_lock(&db->lock);
    while (!db->stop) {
        if (!commit_due(db)) {
            pthread_cond_wait(&db->wake, &db->lock);
            continue;
        }
        if (db->wanted <= db->durable && g_hash_table_size(db->queued.by_id) < QUEUE_MAX_ROWS / 2)
            wait_ms(&db->wake, &db->lock, COMMIT_DELAY_MS);
        commit_round(db);
    }
    /* What the database did not take is given to it at the next start, in its order. */
    if (!db->failed)
        commit_round(db);
    pthread_mutex_unlock(&db->lock);
    return NULL;
}

bool ph_state_db_throttle(struct ph_state_db *db)
{
    pthread_mutex_lock(&db->lock);
    while ((g_hash_table_size(db->queued.by_id) >= QUEUE_MAX_ROWS || ph_state_recent_crowded(db->recent)) &&
           !db->stop && !db->failed) {
        pthread_cond_signal(&db->wake);
        pthread_cond_wait(&db->done, &db->lock);
    }
    bool room = g_hash_table_size(db->queued.by_id) < QUEUE_MAX_ROWS;
    pthread_mutex_unlock(&db->lock);
    return room;
}

static void queue(struct ph_state_db *db, const struct ph_state_row *row, bool removed)
{
    pthread_mutex_lock(&db->lock);
    bool first = g_hash_table_size(db->queued.by_id) == 0;
    ph_state_recent_append(db->recent, row, removed);
    pending_set(&db->queued, row, removed);
    db->maybe_rows = true;
    if (first)
        pthread_cond_signal(&db->wake);
    pthread_mutex_unlock(&db->lock);
}

void ph_state_db_put(struct ph_state_db *db, const struct ph_state_row *row)
{
    queue(db, row, false);
}

void ph_state_db_remove(struct ph_state_db *db, uint64_t id)
{
    struct ph_state_row row = {.id = id};
    queue(db, &row, true);
}

/* What is pending for ID: 1 found, -1 removed, 0 nothing. With the lock held. */
static int pending_by_id(struct ph_state_db *db, uint64_t id, struct ph_state_row *row)
{
    const struct pending_row *entry = g_hash_table_lookup(db->queued.by_id, &id);
    if (entry == NULL)
        entry = g_hash_table_lookup(db->committing.by_id, &id);
    if (entry == NULL)
        return 0;
    if (!entry->removed && row != NULL)
        *row = entry->row;
    return entry->removed ? -1 : 1;
}

bool ph_state_db_by_id(struct ph_state_db *db, uint64_t id, struct ph_state_row *row)
{
    pthread_mutex_lock(&db->lock);
    bool maybe = db->maybe_rows;
    int pending = maybe ? pending_by_id(db, id, row) : 0;
    pthread_mutex_unlock(&db->lock);
    if (!maybe || pending != 0)
        return pending > 0;
    pthread_mutex_lock(&db->read_lock);
    bool found = ph_state_sql_by_id(db->reader, id, row);
    pthread_mutex_unlock(&db->read_lock);
    return found;
}

bool ph_state_db_by_inode(struct ph_state_db *db, uint64_t dev, uint64_t ino, struct ph_state_row *row)
{
    struct ph_state_row key = {.dev = dev, .ino = ino};
    pthread_mutex_lock(&db->lock);
    bool maybe = db->maybe_rows;
    const struct pending_row *entry = g_hash_table_lookup(db->queued.by_inode, &key);
    if (entry == NULL) {
        entry = g_hash_table_lookup(db->committing.by_inode, &key);
        if (entry != NULL && pending_by_id(db, entry->row.id, NULL) < 0)
            entry = NULL;
    }
    if (entry != NULL)
        *row = entry->row;
    pthread_mutex_unlock(&db->lock);
    if (entry != NULL || !maybe)
        return entry != NULL;
    pthread_mutex_lock(&db->read_lock);
    bool found = ph_state_sql_by_inode(db->reader, dev, ino, row);
    pthread_mutex_unlock(&db->read_lock);
    if (!found)
        return false;
    /* The row found may be about to go, or to become another one. */
    struct ph_state_row newer;
    pthread_mutex_lock(&db->lock);
    int pending = pending_by_id(db, row->id, &newer);
    pthread_mutex_unlock(&db->lock);
    return pending == 0 || (pending > 0 && newer.dev == dev && newer.ino == ino);
}

uint64_t ph_state_db_reserve(struct ph_state_db *db, uint64_t count)
{
    pthread_mutex_lock(&db->write_lock);
    uint64_t first = db->next_id;
    bool good = count <= PH_OBJECT_GIVEN_END - first && ph_state_sql_begin(db->writer, true);
    if (good)
        good = ph_state_sql_end(db->writer, ph_state_sql_counter_set(db->writer, "next_id", first + count),
                                true);
    if (good) {
        pthread_mutex_lock(&db->lock);
        db->next_id = first + count;
        pthread_mutex_unlock(&db->lock);
    }
    pthread_mutex_unlock(&db->write_lock);
    return good ? first : 0;
}

uint64_t ph_state_db_unbroken(struct ph_state_db *db, bool continued)
{
    uint64_t unbroken = db->epoch;
    pthread_mutex_lock(&db->write_lock);
    if (ph_state_sql_begin(db->writer, true)) {
        if (continued)
            unbroken = ph_state_sql_counter_get(db->writer, "unbroken", db->epoch);
        ph_state_sql_end(db->writer, ph_state_sql_counter_set(db->writer, "unbroken", unbroken), false);
    }
    pthread_mutex_unlock(&db->write_lock);
    return unbroken;
}

uint64_t ph_state_db_next(struct ph_state_db *db)
{
    pthread_mutex_lock(&db->lock);
    uint64_t next = db->next_id;
    pthread_mutex_unlock(&db->lock);
    return next;
}

/* Sees to it that the disk has all changes up to TICKET, if only in its cache. False: it has to be done by a
 * commit. Many are done by one write. With the lock held, which is given back meanwhile. */
static bool give(struct ph_state_db *db, uint64_t ticket)
{
    struct ph_state_span span;
    while (db->given < ticket) {
        if (db->giving) {
            pthread_cond_wait(&db->done, &db->lock);
            continue;
        }
        if (!ph_state_recent_span(db->recent, db->durable, &span))
            return false;
        db->giving = true;
        pthread_mutex_unlock(&db->lock);
        bool good = ph_state_span_write(&span);
        pthread_mutex_lock(&db->lock);
        db->giving = false;
        pthread_cond_broadcast(&db->done);
        if (!good)
            return false;
        ph_state_recent_written(db->recent, &span);
        db->given = MAX(db->given, span.number);
    }
    return true;
}

/* With the lock held. */
static void want(struct ph_state_db *db, uint64_t ticket)
{
    if (ticket <= db->durable || ticket <= db->wanted)
        return;
    db->wanted = ticket;
    pthread_cond_signal(&db->wake);
}

uint64_t ph_state_db_sync_begin(struct ph_state_db *db, dev_t flushed, bool *rides)
{
    pthread_mutex_lock(&db->lock);
    uint64_t ticket = ph_state_recent_number(db->recent);
    *rides = ticket > db->durable && flushed != 0 && ph_state_recent_is_on(db->recent, flushed) &&
             give(db, ticket);
    if (!*rides)
        want(db, ticket);
    pthread_mutex_unlock(&db->lock);
    return ticket;
}

void ph_state_db_sync_rode(struct ph_state_db *db, uint64_t ticket)
{
    pthread_mutex_lock(&db->lock);
    db->durable = MAX(db->durable, ticket);
    pthread_cond_broadcast(&db->done);
    pthread_mutex_unlock(&db->lock);
}

bool ph_state_db_sync_wait(struct ph_state_db *db, uint64_t ticket)
{
    pthread_mutex_lock(&db->lock);
    want(db, ticket);
    while (db->durable < ticket && !db->failed && !db->stop)
        pthread_cond_wait(&db->done, &db->lock);
    bool good = db->durable >= ticket;
    pthread_mutex_unlock(&db->lock);
    return good;
}

uint64_t ph_state_db_epoch(const struct ph_state_db *db)
{
    return db->epoch;
}

const uint8_t *ph_state_db_volume(const struct ph_state_db *db)
{
    return db->volume;
}

static void locks_init(struct ph_state_db *db)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&db->lock, NULL);
    pthread_mutex_init(&db->write_lock, NULL);
    pthread_mutex_init(&db->read_lock, NULL);
    pthread_cond_init(&db->wake, &monotonic);
    pthread_cond_init(&db->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void state_db_free(struct ph_state_db *db)
{
    ph_state_sql_close(db->reader);
    ph_state_sql_close(db->writer);
    ph_state_recent_close(db->recent);
    pending_clear(&db->queued);
    pending_clear(&db->committing);
    pthread_mutex_destroy(&db->lock);
    pthread_mutex_destroy(&db->write_lock);
    pthread_mutex_destroy(&db->read_lock);
    pthread_cond_destroy(&db->wake);
    pthread_cond_destroy(&db->done);
    g_free(db);
}

struct recovery {
    struct ph_state_sql *sql;
    uint64_t changes;
};

static bool recover_change(const struct ph_state_change *change, void *data)
{
    struct recovery *recovery = data;
    if (recovery->changes++ == 0 && !ph_state_sql_begin(recovery->sql, true))
        return false;
    return change->removed ? ph_state_sql_remove(recovery->sql, change->row.id)
                           : ph_state_sql_put(recovery->sql, &change->row);
}

/* Puts what a killed server had not committed into the database, and begins a new log. */
static bool recent_start(struct ph_state_db *db, const char *directory, const struct ph_state_start *start,
                         GError **error)
{
    struct recovery recovery = {.sql = db->writer};
    bool good = ph_state_recent_read(directory, start->volume, start->recent, recover_change, &recovery);
    if (recovery.changes > 0) {
        good = good && ph_state_sql_counter_set(db->writer, "recent", ph_state_recent_first(start->epoch));
        good = ph_state_sql_end(db->writer, good, true);
    }
    if (!good) {
        g_set_error(
            error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
            "cannot write to the state database in %s what the last server left in recent.0 and recent.1; "
            "the log says why",
            directory);
        return false;
    }
    if (recovery.changes > 0)
        g_message("the last server did not end by itself: %" G_GUINT64_FORMAT
                  " changes of ids were taken from its log",
                  recovery.changes);
    db->maybe_rows = start->has_rows || recovery.changes > 0;
    db->recent = ph_state_recent_open(directory, RECENT_BYTES, start->volume, start->epoch);
    return true;
}

struct ph_state_db *ph_state_db_open(const char *directory, const struct ph_state_root *root, GError **error)
{
    struct ph_state_db *db = g_new0(struct ph_state_db, 1);
    locks_init(db);
    pending_init(&db->queued);
    pending_init(&db->committing);
    struct ph_state_start start;
    db->writer = ph_state_sql_open(directory, true, error);
    if (db->writer != NULL && ph_state_sql_start(db->writer, root, &start, error) &&
        recent_start(db, directory, &start, error))
        db->reader = ph_state_sql_open(directory, false, error);
    if (db->reader == NULL) {
        state_db_free(db);
        return NULL;
    }
    db->epoch = start.epoch;
    memcpy(db->volume, start.volume, sizeof db->volume);
    db->next_id = start.next_id;
    db->durable = db->wanted = db->given = ph_state_recent_number(db->recent);
    int failed = pthread_create(&db->thread, NULL, commit_thread, db);
    if (failed != 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(failed), "cannot start a thread: %s",
                    g_strerror(failed));
        state_db_free(db);
        return NULL;
    }
    return db;
}

void ph_state_db_close(struct ph_state_db *db)
{
    if (db == NULL)
        return;
    pthread_mutex_lock(&db->lock);
    db->stop = true;
    pthread_cond_broadcast(&db->wake);
    pthread_cond_broadcast(&db->done);
    pthread_mutex_unlock(&db->lock);
    pthread_join(db->thread, NULL);
    state_db_free(db);
}
