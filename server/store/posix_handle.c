/* What sessions hold at the store: open handles, and ranges of ids in which
 * they name new objects. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

enum {
    CLIENT_NAME_BYTES = 16,
    CLIENTS_LEFT_MAX = 1024, /* clients without a session whose ranges are remembered */
};

struct range {
    uint64_t first, end; /* END is the first one behind */
    uint64_t fresh;      /* ids from here on were never used */
};

struct session {
    uint64_t number;
    GHashTable *handles; /* number -> struct ph_handle */
    struct client *client;
};

/* Whoever opens sessions. Its ranges outlive them: a client whose connection broke
 * goes on with the ids that it has. */
struct client {
    uint8_t name[CLIENT_NAME_BYTES];
    GArray *ranges;
    unsigned sessions;
    GList left_link; /* in clients_left, while it has no session */
};

static guint client_hash(gconstpointer key)
{
    uint64_t words[CLIENT_NAME_BYTES / sizeof(uint64_t)];
    memcpy(words, key, sizeof words);
    return (guint) ((words[0] ^ (words[1] * UINT64_C(0x9e3779b97f4a7c15))) >> 16);
}

static gboolean client_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, CLIENT_NAME_BYTES) == 0;
}

static void client_free(gpointer data)
{
    struct client *client = data;
    g_array_unref(client->ranges);
    g_free(client);
}

static void session_free(gpointer data)
{
    struct session *session = data;
    g_hash_table_unref(session->handles);
    g_free(session);
}

void ph_store_handles_init(struct ph_posix_store *store)
{
    pthread_mutex_init(&store->sessions_lock, NULL);
    pthread_mutex_init(&store->reserves_lock, NULL);
    store->sessions = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, session_free);
    store->clients = g_hash_table_new_full(client_hash, client_equal, NULL, client_free);
    g_queue_init(&store->clients_left);
}

void ph_store_handles_clear(struct ph_posix_store *store)
{
    GHashTableIter iter;
    gpointer value;
    for (;;) {
        g_hash_table_iter_init(&iter, store->sessions);
        if (!g_hash_table_iter_next(&iter, NULL, &value))
            break;
        ph_posix_end_session(store, ((struct session *) value)->number);
    }
    g_hash_table_unref(store->sessions);
    g_hash_table_unref(store->clients);
    pthread_mutex_destroy(&store->sessions_lock);
    ph_reserves_clear(&store->reserves);
    ph_quotas_clear(&store->quotas);
    pthread_mutex_destroy(&store->reserves_lock);
}

/* ---- With sessions_lock held. ---- */

/* The client of CALL, with one more session. */
static struct client *client_join(struct ph_posix_store *store, const struct ph_call *call)
{
    uint8_t name[CLIENT_NAME_BYTES] = {0};
    if (call->client != NULL)
        memcpy(name, call->client, sizeof name);
    else
        memcpy(name, &call->session, sizeof call->session); /* as good as its own client */
    struct client *client = g_hash_table_lookup(store->clients, name);
    if (client == NULL) {
        client = g_new0(struct client, 1);
        memcpy(client->name, name, sizeof name);
        client->ranges = g_array_new(FALSE, FALSE, sizeof(struct range));
        g_hash_table_insert(store->clients, client->name, client);
    } else if (client->sessions == 0) {
        g_queue_unlink(&store->clients_left, &client->left_link);
    }
    client->sessions++;
    return client;
}

/* One session less; of clients that have none, those that left last are remembered. */
static void client_leave(struct ph_posix_store *store, struct client *client)
{
    if (--client->sessions > 0)
        return;
    client->left_link.data = client;
    g_queue_push_tail_link(&store->clients_left, &client->left_link);
    if (client->ranges->len > 0 && store->clients_left.length <= CLIENTS_LEFT_MAX)
        return;
    struct client *forgotten = client->ranges->len == 0 ? client : store->clients_left.head->data;
    g_queue_unlink(&store->clients_left, &forgotten->left_link);
    g_hash_table_remove(store->clients, forgotten->name);
}

static struct session *session_get(struct ph_posix_store *store, const struct ph_call *call)
{
    struct session *session = g_hash_table_lookup(store->sessions, &call->session);
    if (session == NULL) {
        session = g_new0(struct session, 1);
        session->number = call->session;
        session->handles = g_hash_table_new(g_int64_hash, g_int64_equal);
        session->client = client_join(store, call);
        g_hash_table_insert(store->sessions, &session->number, session);
    }
    return session;
}

static struct ph_handle *handle_find(struct ph_posix_store *store, uint64_t session_number, uint64_t number)
{
    struct session *session = g_hash_table_lookup(store->sessions, &session_number);
    return session != NULL ? g_hash_table_lookup(session->handles, &number) : NULL;
}

uint32_t ph_store_handle_get(struct ph_posix_store *store, struct ph_call *call, uint64_t number,
                             uint64_t object, uint32_t access, struct ph_handle **handle)
{
    pthread_mutex_lock(&store->sessions_lock);
    struct ph_handle *found = handle_find(store, call->session, number);
    if (found != NULL && ((object != 0 && found->object->id != object) || (found->access & access) != access))
        found = NULL;
    if (found != NULL)
        atomic_fetch_add(&found->refs, 1);
    pthread_mutex_unlock(&store->sessions_lock);
    *handle = found;
    return found != NULL ? PH_ST_OK
                         : ph_fault_set(&call->fault, PH_ST_BAD_HANDLE, "handle %llu is not open for this",
                                        (unsigned long long) number);
}

/* Keeps a small file that was replaced in reach when its last handle is closed: NULL for others. */
static struct ph_fd *pin_for(const struct ph_handle *handle)
{
    struct statx stx;
    bool small = ph_statx(handle->fd->fd, "", &stx) == 0 && stx.stx_size <= PH_STORE_REPLACED_MAX_BYTES;
    return small ? ph_fd_ref(handle->fd) : NULL;
}

bool ph_object_is_open(struct ph_posix_store *store, struct ph_object *object)
{
    pthread_mutex_lock(&store->lock);
    bool open = object->handles != NULL;
    pthread_mutex_unlock(&store->lock);
    return open;
}

/* Takes the handle from its object; the last one of a removed object ends it. */
static void object_release(struct ph_posix_store *store, struct ph_handle *handle)
{
    struct ph_object *object = handle->object;
    pthread_mutex_lock(&store->lock);
    struct ph_handle **link = &object->handles;
    while (*link != NULL && *link != handle)
        link = &(*link)->next;
    if (*link == handle)
        *link = handle->next;
    bool last = object->handles == NULL && object->removed;
    bool orphan = last && object->orphan;
    bool sought = last && object->sought;
    pthread_mutex_unlock(&store->lock);
    if (orphan && !store->closing) /* else its session may come back for it */
        ph_orphan_unlink(store, object->id);
    if (last)
        ph_object_removed(store, object, false, sought ? pin_for(handle) : NULL);
}

void ph_store_handle_unref(struct ph_posix_store *store, struct ph_handle *handle)
{
    if (handle == NULL || atomic_fetch_sub(&handle->refs, 1) != 1)
        return;
    ph_fd_unref(handle->fd);
    ph_object_unref(store, handle->object);
    pthread_mutex_destroy(&handle->position_lock);
    g_free(handle);
}

uint32_t ph_store_handle_check(struct ph_posix_store *store, struct ph_call *call, uint64_t number,
                               uint64_t object, struct ph_handle **open)
{
    uint32_t status = PH_ST_OK;
    pthread_mutex_lock(&store->sessions_lock);
    struct ph_handle *found = handle_find(store, call->session, number);
    struct session *session = g_hash_table_lookup(store->sessions, &call->session);
    if (found != NULL && found->object->id != object) {
        status = ph_fault_set(&call->fault, PH_ST_BAD_HANDLE, "handle %llu is open on another object",
                              (unsigned long long) number);
        found = NULL;
    } else if (found != NULL) {
        atomic_fetch_add(&found->refs, 1);
    } else if (session != NULL && g_hash_table_size(session->handles) >= PH_SESSION_HANDLES_MAX) {
        status = ph_fault_set(&call->fault, PH_ST_TOO_MANY_OPEN,
                              "the session has %d files open, which is all it may", PH_SESSION_HANDLES_MAX);
    } else if (store->n_handles >= store->handles_max) {
        status =
            ph_fault_set(&call->fault, PH_ST_TOO_MANY_OPEN,
                         "the server has %u files open, which is all it may (ulimit -n)", store->n_handles);
    }
    pthread_mutex_unlock(&store->sessions_lock);
    *open = found;
    return status;
}

uint32_t ph_store_handle_open(struct ph_posix_store *store, struct ph_call *call, uint64_t number,
                              struct ph_object *object, int fd, uint32_t access)
{
    struct ph_handle *handle = g_new0(struct ph_handle, 1);
    handle->session = call->session;
    handle->number = number;
    handle->object = ph_object_ref(store, object);
    handle->fd = ph_fd_new(fd);
    handle->access = access;
    atomic_init(&handle->refs, 1);
    pthread_mutex_init(&handle->position_lock, NULL);

    pthread_mutex_lock(&store->sessions_lock);
    struct session *session = session_get(store, call);
    bool taken = g_hash_table_contains(session->handles, &number), gone = false;
    if (!taken) {
        pthread_mutex_lock(&store->lock);
        gone = !object->listed; /* removed while it was opened: its id leads nowhere any more */
        if (!gone) {
            ph_object_remember(store, object); /* its client opens it again after a restart, by its id */
            handle->next = object->handles;
            object->handles = handle;
        }
        pthread_mutex_unlock(&store->lock);
    }
    if (!taken && !gone) {
        g_hash_table_insert(session->handles, &handle->number, handle);
        store->n_handles++;
    }
    pthread_mutex_unlock(&store->sessions_lock);
    if (!taken && !gone)
        return PH_ST_OK;
    ph_store_handle_unref(store, handle);
    if (gone)
        return ph_store_stale(call, object->id);
    return ph_fault_set(&call->fault, PH_ST_BAD_HANDLE, "handle %llu was opened twice at the same time",
                        (unsigned long long) number);
}

uint32_t ph_posix_close(void *self, uint64_t session_number, uint64_t number)
{
    struct ph_posix_store *store = self;
    pthread_mutex_lock(&store->sessions_lock);
    struct session *session = g_hash_table_lookup(store->sessions, &session_number);
    struct ph_handle *handle = session != NULL ? g_hash_table_lookup(session->handles, &number) : NULL;
    if (handle != NULL) {
        g_hash_table_remove(session->handles, &number);
        store->n_handles--;
    }
    pthread_mutex_unlock(&store->sessions_lock);
    if (handle != NULL) {
        object_release(store, handle);
        ph_store_handle_unref(store, handle);
    }
    return PH_ST_OK;
}

void ph_posix_end_session(void *self, uint64_t session_number)
{
    struct ph_posix_store *store = self;
    pthread_mutex_lock(&store->sessions_lock);
    struct session *session = g_hash_table_lookup(store->sessions, &session_number);
    if (session != NULL) {
        g_hash_table_steal(store->sessions, &session_number);
        store->n_handles -= g_hash_table_size(session->handles);
        client_leave(store, session->client);
    }
    bool last = g_hash_table_size(store->sessions) == 0;
    pthread_mutex_unlock(&store->sessions_lock);
    ph_space_end_session(store, session_number);
    if (last)
        ph_objects_forget_removed(store);
    if (session == NULL)
        return;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, session->handles);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        g_hash_table_iter_remove(&iter);
        object_release(store, value);
        ph_store_handle_unref(store, value);
    }
    session_free(session);
}

/* ---- Ranges of ids ---- */

/* With sessions_lock held: COUNT ids in a row from those reserved; 0 where too few are left. */
static uint64_t ids_take(struct ph_posix_store *store, uint64_t count)
{
    if (store->ids_end - store->ids_next < count)
        return 0;
    store->ids_next += count;
    return store->ids_next - count;
}

uint64_t ph_ids_allocate(struct ph_posix_store *store, uint64_t count)
{
    pthread_mutex_lock(&store->sessions_lock);
    uint64_t first = ids_take(store, count);
    if (first == 0) {
        /* Rare: once in a million ids. Others who need ids wait here as they would for the database. */
        ph_creds_server();
        uint64_t ahead = ph_state_db_reserve(store->db, MAX(count, (uint64_t) PH_STORE_IDS_AHEAD));
        if (ahead != 0) {
            store->ids_next = ahead;
            store->ids_end = ahead + MAX(count, (uint64_t) PH_STORE_IDS_AHEAD);
            first = ids_take(store, count);
        }
    }
    pthread_mutex_unlock(&store->sessions_lock);
    return first;
}

uint32_t ph_posix_ids_grant(void *self, struct ph_call *call, const Pohmel__IdsGrantRequest *request,
                            Pohmel__IdsGrantReply *reply)
{
    struct ph_posix_store *store = self;
    if (store->read_only)
        return ph_fault_set(&call->fault, PH_ST_READ_ONLY, "the export is read-only");
    uint32_t count = MIN(request->count, (uint32_t) PH_SESSION_IDS_MAX_PER_GRANT);
    uint64_t first = ph_ids_allocate(store, count);
    if (first == 0)
        return ph_fault_set(&call->fault, PH_ST_NO_OBJECTS,
                            "no ids can be given out: the state database failed");
    struct range range = {.first = first, .end = first + count, .fresh = first};
    pthread_mutex_lock(&store->sessions_lock);
    GArray *ranges = session_get(store, call)->client->ranges;
    bool full = ranges->len >= PH_STORE_RANGES_MAX;
    if (!full)
        g_array_append_val(ranges, range);
    pthread_mutex_unlock(&store->sessions_lock);
    if (full)
        return ph_fault_set(&call->fault, PH_ST_LIMIT, "the client holds %d ranges of ids",
                            PH_STORE_RANGES_MAX);
    reply->first = first;
    reply->count = count;
    return PH_ST_OK;
}

/* The range of RANGES that FIRST to END lies in, newest first, as clients use them up in order. */
static struct range *range_find(GArray *ranges, uint64_t first, uint64_t end)
{
    for (guint i = ranges->len; i-- > 0;) {
        struct range *range = &g_array_index(ranges, struct range, i);
        if (first >= range->first && end <= range->end)
            return range;
    }
    return NULL;
}

static void range_drop(GArray *ranges, struct range *range)
{
    g_array_remove_index(ranges, (guint) (range - (struct range *) (void *) ranges->data));
}

/* Ids of a client that is not known any more, or of one before the server started
 * again, are good for whoever says that they are his: they are used once, like all. */
static bool held_by_other(struct ph_posix_store *store, uint64_t first, uint64_t end)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, store->clients);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        GArray *ranges = ((struct client *) value)->ranges;
        for (guint i = 0; i < ranges->len; i++) {
            struct range *range = &g_array_index(ranges, struct range, i);
            if (first < range->end && end > range->first)
                return true;
        }
    }
    return false;
}

bool ph_id_in_use(struct ph_posix_store *store, uint64_t id)
{
    struct ph_state_row row;
    pthread_mutex_lock(&store->lock);
    bool known = g_hash_table_contains(store->by_id, &id) || ph_gone_ids_has(&store->gone_ids, id);
    pthread_mutex_unlock(&store->lock);
    return known || ph_state_db_by_id(store->db, id, &row);
}

uint32_t ph_ids_check(struct ph_posix_store *store, struct ph_call *call, uint64_t first, uint32_t count,
                      bool again)
{
    uint64_t end = first + count;
    bool allowed = first >= PH_OBJECT_GIVEN_FIRST && end <= PH_OBJECT_GIVEN_END && end > first, fresh = false;
    pthread_mutex_lock(&store->sessions_lock);
    if (allowed) {
        GArray *ranges = session_get(store, call)->client->ranges;
        struct range *range = range_find(ranges, first, end);
        if (range != NULL) {
            fresh = first >= range->fresh;
            range->fresh = MAX(range->fresh, end);
            /* Used up: the number of ranges that a client may hold is not one of all times. */
            if (range->fresh == range->end)
                range_drop(ranges, range);
        } else {
            allowed = end <= ph_state_db_next(store->db) &&
                      (end <= store->ids_next || first >= store->ids_end) &&
                      !held_by_other(store, first, end);
        }
    }
    pthread_mutex_unlock(&store->sessions_lock);
    for (uint64_t id = first; allowed && !fresh && !again && id < end; id++)
        allowed = !ph_id_in_use(store, id);
    if (allowed)
        return PH_ST_OK;
    return ph_fault_set(&call->fault, PH_ST_INVALID,
                        "object id %llu was not given to this client, or is used already",
                        (unsigned long long) first);
}
