#include "server/store/state_sessions.h"

#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

enum { BUSY_TIMEOUT_MS = 10000, VOLUME_BYTES = 16, READ_ONLY = 1, LEASES = 2, WRITE_BACK = 4 };

enum statement { PUT, REMOVE, ALL, CLEAR, STATEMENTS };

/* Numbers are kept as eight bytes, highest first, so that they are compared as what they are. */
static const char *const texts[STATEMENTS] = {
    [PUT] =
        "INSERT INTO sessions(client, number, flags, host, volume) VALUES(?, ?, ?, ?, ?) ON CONFLICT(client) "
        "DO UPDATE SET number = excluded.number, flags = excluded.flags, host = excluded.host "
        "WHERE excluded.number > number",
    [REMOVE] = "DELETE FROM sessions WHERE client = ? AND number = ?",
    [ALL] = "SELECT client, number, flags, host FROM sessions LIMIT ?",
    [CLEAR] = "DELETE FROM sessions",
};

static const char schema[] = "PRAGMA synchronous = NORMAL;"
                             "CREATE TABLE IF NOT EXISTS sessions(client BLOB PRIMARY KEY, number BLOB NOT "
                             "NULL, flags INTEGER NOT NULL,"
                             " host BLOB NOT NULL, volume BLOB NOT NULL) WITHOUT ROWID";

struct ph_state_sessions {
    sqlite3 *connection;
    sqlite3_stmt *statements[STATEMENTS];
    uint8_t volume[VOLUME_BYTES];
    pthread_mutex_t lock;
};

static void complain(struct ph_state_sessions *list, const char *doing)
{
    g_warning("state database: cannot %s a session: %s", doing, sqlite3_errmsg(list->connection));
}

static bool forget_others(struct ph_state_sessions *list)
{
    sqlite3_stmt *statement = NULL;
    bool good = sqlite3_prepare_v2(list->connection, "DELETE FROM sessions WHERE volume <> ?", -1, &statement,
                                   NULL) == SQLITE_OK;
    if (good) {
        sqlite3_bind_blob(statement, 1, list->volume, VOLUME_BYTES, SQLITE_STATIC);
        good = sqlite3_step(statement) == SQLITE_DONE;
    }
    sqlite3_finalize(statement);
    return good;
}

static bool prepare(struct ph_state_sessions *list)
{
    bool good = sqlite3_exec(list->connection, schema, NULL, NULL, NULL) == SQLITE_OK && forget_others(list);
    for (int i = 0; i < STATEMENTS && good; i++)
        good = sqlite3_prepare_v3(list->connection, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &list->statements[i], NULL) == SQLITE_OK;
    return good;
}

struct ph_state_sessions *ph_state_sessions_open(const char *directory, const uint8_t *volume, GError **error)
{
    g_autofree char *path = g_build_filename(directory, "pohmel.db", NULL);
    struct ph_state_sessions *list = g_new0(struct ph_state_sessions, 1);
    pthread_mutex_init(&list->lock, NULL);
    memcpy(list->volume, volume, VOLUME_BYTES);
    bool good = sqlite3_open_v2(path, &list->connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
                SQLITE_OK;
    if (good) {
        sqlite3_busy_timeout(list->connection, BUSY_TIMEOUT_MS);
        good = prepare(list);
    }
    if (good)
        return list;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot use the list of sessions in %s: %s", path,
                list->connection != NULL ? sqlite3_errmsg(list->connection) : "out of memory");
    ph_state_sessions_close(list);
    return NULL;
}

void ph_state_sessions_close(struct ph_state_sessions *list)
{
    if (list == NULL)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(list->statements[i]);
    sqlite3_close(list->connection);
    pthread_mutex_destroy(&list->lock);
    g_free(list);
}

static void bind_key(sqlite3_stmt *statement, const uint8_t *client, uint64_t *number)
{
    *number = GUINT64_TO_BE(*number);
    sqlite3_bind_blob(statement, 1, client, PH_CLIENT_ID_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, number, sizeof *number, SQLITE_STATIC);
}

static bool run(struct ph_state_sessions *list, enum statement which, const char *doing)
{
    sqlite3_stmt *statement = list->statements[which];
    bool good = sqlite3_step(statement) == SQLITE_DONE;
    if (!good)
        complain(list, doing);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return good;
}

bool ph_state_sessions_put(struct ph_state_sessions *list, const struct ph_store_session *session)
{
    uint64_t number = session->number;
    int flags = (session->read_only ? READ_ONLY : 0) | (session->leases ? LEASES : 0) |
                (session->write_back ? WRITE_BACK : 0);
    pthread_mutex_lock(&list->lock);
    sqlite3_stmt *statement = list->statements[PUT];
    bind_key(statement, session->client, &number);
    sqlite3_bind_int(statement, 3, flags);
    sqlite3_bind_blob(statement, 4, session->host, (int) strlen(session->host), SQLITE_STATIC);
    sqlite3_bind_blob(statement, 5, list->volume, VOLUME_BYTES, SQLITE_STATIC);
    bool good = run(list, PUT, "remember");
    pthread_mutex_unlock(&list->lock);
    return good;
}

void ph_state_sessions_remove(struct ph_state_sessions *list, const uint8_t client[PH_CLIENT_ID_BYTES],
                              uint64_t number)
{
    pthread_mutex_lock(&list->lock);
    bind_key(list->statements[REMOVE], client, &number);
    run(list, REMOVE, "forget");
    pthread_mutex_unlock(&list->lock);
}

void ph_state_sessions_clear(struct ph_state_sessions *list)
{
    pthread_mutex_lock(&list->lock);
    run(list, CLEAR, "forget");
    pthread_mutex_unlock(&list->lock);
}

/* A row into OUT. False where it is not what was put in. */
static bool take_row(sqlite3_stmt *statement, struct ph_store_session *out)
{
    const void *host = sqlite3_column_blob(statement, 3);
    size_t host_len = MIN((size_t) sqlite3_column_bytes(statement, 3), sizeof out->host - 1);
    int flags = sqlite3_column_int(statement, 2);
    if (sqlite3_column_bytes(statement, 0) != PH_CLIENT_ID_BYTES ||
        sqlite3_column_bytes(statement, 1) != sizeof out->number)
        return false;
    *out = (struct ph_store_session){.read_only = (flags & READ_ONLY) != 0,
                                     .leases = (flags & LEASES) != 0,
                                     .write_back = (flags & WRITE_BACK) != 0};
    memcpy(out->client, sqlite3_column_blob(statement, 0), PH_CLIENT_ID_BYTES);
    memcpy(&out->number, sqlite3_column_blob(statement, 1), sizeof out->number);
    out->number = GUINT64_FROM_BE(out->number);
    if (host != NULL)
        memcpy(out->host, host, host_len);
    return true;
}

size_t ph_state_sessions_read(struct ph_state_sessions *list, struct ph_store_session *out, size_t max)
{
    size_t count = 0;
    int step = SQLITE_ROW;
    pthread_mutex_lock(&list->lock);
    sqlite3_stmt *statement = list->statements[ALL];
    sqlite3_bind_int64(statement, 1, (int64_t) max);
    while (count < max && (step = sqlite3_step(statement)) == SQLITE_ROW)
        count += take_row(statement, &out[count]);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        complain(list, "look up");
    sqlite3_reset(statement);
    pthread_mutex_unlock(&list->lock);
    return count;
}
