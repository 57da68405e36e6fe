#include "server/store/state_sql.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/random.h>

#include "server/store/state_recent.h"
#include "server/store/trouble.h"

enum { SCHEMA_VERSION = 1, BUSY_TIMEOUT_MS = 10000 };

enum statement {
    PUT,
    REMOVE,
    BY_ID,
    BY_INODE,
    COUNTER_SET,
    COUNTER_GET,
    BLOB_SET,
    BLOB_GET,
    HAS_ROWS,
    BEGIN,
    COMMIT,
    ROLLBACK,
    STATEMENTS
};

static const char *const texts[STATEMENTS] = {
    [PUT] = "INSERT OR REPLACE INTO objects(id, dev, ino, btime, parent, name) VALUES(?, ?, ?, ?, ?, ?)",
    [REMOVE] = "DELETE FROM objects WHERE id = ?",
    [BY_ID] = "SELECT id, dev, ino, btime, parent, name FROM objects WHERE id = ?",
    [BY_INODE] = "SELECT id, dev, ino, btime, parent, name FROM objects WHERE dev = ? AND ino = ?",
    [COUNTER_SET] = "INSERT OR REPLACE INTO counters(name, value) VALUES(?, ?)",
    [COUNTER_GET] = "SELECT value FROM counters WHERE name = ?",
    [BLOB_SET] = "INSERT OR REPLACE INTO facts(name, value) VALUES(?, ?)",
    [BLOB_GET] = "SELECT value FROM facts WHERE name = ?",
    [HAS_ROWS] = "SELECT 1 FROM objects LIMIT 1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS objects(id INTEGER PRIMARY KEY, dev INTEGER NOT NULL, ino INTEGER NOT NULL,"
    " btime INTEGER NOT NULL, parent INTEGER NOT NULL, name BLOB NOT NULL);"
    "CREATE UNIQUE INDEX IF NOT EXISTS objects_inode ON objects(dev, ino);"
    "CREATE TABLE IF NOT EXISTS counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";

/* Many small commits write the same pages again and again: with the usual 1000 pages
 * of log the disk would be synced several times a second. */
#define CHECKPOINT " PRAGMA wal_autocheckpoint = 8192;"

struct ph_state_sql {
    sqlite3 *connection;
    sqlite3_stmt *statements[STATEMENTS];
    bool durable_mode;
};

static void complain(struct ph_state_sql *sql, const char *doing)
{
    g_warning("state database: cannot %s: %s", doing, sqlite3_errmsg(sql->connection));
}

static bool run(struct ph_state_sql *sql, enum statement which, const char *doing)
{
    sqlite3_stmt *statement = sql->statements[which];
    bool good = sqlite3_step(statement) == SQLITE_DONE;
    if (!good)
        complain(sql, doing);
    sqlite3_reset(statement);
    return good;
}

static bool execute(struct ph_state_sql *sql, const char *text, const char *path, GError **error)
{
    if (sqlite3_exec(sql->connection, text, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "state database %s: %s", path,
                sqlite3_errmsg(sql->connection));
    return false;
}

static bool prepare(struct ph_state_sql *sql, const char *path, GError **error)
{
    for (int i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v3(sql->connection, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &sql->statements[i],
                               NULL) == SQLITE_OK)
            continue;
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "state database %s: %s; was it made by another program?", path,
                    sqlite3_errmsg(sql->connection));
        return false;
    }
    return true;
}

static bool version_check(struct ph_state_sql *sql, const char *path, GError **error)
{
    sqlite3_stmt *statement = NULL;
    bool known =
        sqlite3_prepare_v2(sql->connection, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW;
    int version = known ? sqlite3_column_int(statement, 0) : 0;
    if (!known)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "state database %s cannot be read: %s", path,
                    sqlite3_errmsg(sql->connection));
    sqlite3_finalize(statement);
    if (!known)
        return false;
    if (version == SCHEMA_VERSION)
        return true;
    if (version != 0) {
        g_set_error(
            error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
            "state database %s has version %d, this program knows %d; use the pohmel-server that made it, "
            "or another --state-dir",
            path, version, SCHEMA_VERSION);
        return false;
    }
    g_autofree char *text = g_strdup_printf("%s PRAGMA user_version = %d", schema, SCHEMA_VERSION);
    return execute(sql, text, path, error);
}

struct ph_state_sql *ph_state_sql_open(const char *directory, bool create, GError **error)
{
    g_autofree char *path = g_build_filename(directory, "pohmel.db", NULL);
    struct ph_state_sql *sql = g_new0(struct ph_state_sql, 1);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(path, &sql->connection, flags, NULL) != SQLITE_OK) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot open the state database %s: %s", path,
                    sql->connection != NULL ? sqlite3_errmsg(sql->connection) : "out of memory");
        ph_state_sql_close(sql);
        return NULL;
    }
    sqlite3_busy_timeout(sql->connection, BUSY_TIMEOUT_MS);
    if (!execute(sql, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" CHECKPOINT, path, error) ||
        (create && !version_check(sql, path, error)) || !prepare(sql, path, error)) {
        ph_state_sql_close(sql);
        return NULL;
    }
    /* The first read opens the files of the log: it must not be one under foreign ids. */
    sqlite3_step(sql->statements[HAS_ROWS]);
    sqlite3_reset(sql->statements[HAS_ROWS]);
    return sql;
}

void ph_state_sql_close(struct ph_state_sql *sql)
{
    if (sql == NULL)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(sql->statements[i]);
    sqlite3_close(sql->connection);
    g_free(sql);
}

bool ph_state_sql_begin(struct ph_state_sql *sql, bool durable)
{
    if (durable != sql->durable_mode) {
        const char *mode = durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
        if (sqlite3_exec(sql->connection, mode, NULL, NULL, NULL) != SQLITE_OK) {
            complain(sql, "change how it is made durable");
            return false;
        }
        sql->durable_mode = durable;
    }
    return run(sql, BEGIN, "begin");
}

bool ph_state_sql_end(struct ph_state_sql *sql, bool good, bool durable)
{
    /* A commit that writes nothing syncs nothing: earlier commits would stay at risk. */
    if (good && durable)
        good =
            sqlite3_exec(
                sql->connection,
                "INSERT INTO counters VALUES('syncs', 1) ON CONFLICT(name) DO UPDATE SET value = value + 1",
                NULL, NULL, NULL) == SQLITE_OK;
    if (good && run(sql, COMMIT, "commit"))
        return true;
    if (!sqlite3_get_autocommit(sql->connection))
        run(sql, ROLLBACK, "roll back");
    return false;
}

bool ph_state_sql_put(struct ph_state_sql *sql, const struct ph_state_row *row)
{
    sqlite3_stmt *statement = sql->statements[PUT];
    sqlite3_bind_int64(statement, 1, (int64_t) row->id);
    sqlite3_bind_int64(statement, 2, (int64_t) row->dev);
    sqlite3_bind_int64(statement, 3, (int64_t) row->ino);
    sqlite3_bind_int64(statement, 4, (int64_t) row->btime_ns);
    sqlite3_bind_int64(statement, 5, (int64_t) row->parent);
    sqlite3_bind_blob(statement, 6, row->name, (int) strlen(row->name), SQLITE_STATIC);
    bool good = run(sql, PUT, "remember an object");
    sqlite3_clear_bindings(statement);
    return good;
}

bool ph_state_sql_remove(struct ph_state_sql *sql, uint64_t id)
{
    sqlite3_bind_int64(sql->statements[REMOVE], 1, (int64_t) id);
    return run(sql, REMOVE, "forget an object");
}

bool ph_state_sql_counter_set(struct ph_state_sql *sql, const char *name, uint64_t value)
{
    sqlite3_bind_text(sql->statements[COUNTER_SET], 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(sql->statements[COUNTER_SET], 2, (int64_t) value);
    return run(sql, COUNTER_SET, "set a counter");
}

static bool fetch(struct ph_state_sql *sql, enum statement which, struct ph_state_row *row)
{
    sqlite3_stmt *statement = sql->statements[which];
    int step = sqlite3_step(statement);
    if (step == SQLITE_ROW) {
        row->id = (uint64_t) sqlite3_column_int64(statement, 0);
        row->dev = (uint64_t) sqlite3_column_int64(statement, 1);
        row->ino = (uint64_t) sqlite3_column_int64(statement, 2);
        row->btime_ns = (uint64_t) sqlite3_column_int64(statement, 3);
        row->parent = (uint64_t) sqlite3_column_int64(statement, 4);
        const void *name = sqlite3_column_blob(statement, 5);
        int len = MIN(sqlite3_column_bytes(statement, 5), PH_NAME_MAX_BYTES);
        if (name != NULL)
            memcpy(row->name, name, (size_t) len);
        row->name[name != NULL ? len : 0] = '\0';
    } else if (step != SQLITE_DONE) {
        complain(sql, "look up an object");
        ph_trouble_note(EIO);
    }
    sqlite3_reset(statement);
    return step == SQLITE_ROW;
}

bool ph_state_sql_by_id(struct ph_state_sql *sql, uint64_t id, struct ph_state_row *row)
{
    sqlite3_bind_int64(sql->statements[BY_ID], 1, (int64_t) id);
    return fetch(sql, BY_ID, row);
}

bool ph_state_sql_by_inode(struct ph_state_sql *sql, uint64_t dev, uint64_t ino, struct ph_state_row *row)
{
    sqlite3_bind_int64(sql->statements[BY_INODE], 1, (int64_t) dev);
    sqlite3_bind_int64(sql->statements[BY_INODE], 2, (int64_t) ino);
    return fetch(sql, BY_INODE, row);
}

uint64_t ph_state_sql_counter_get(struct ph_state_sql *sql, const char *name, uint64_t missing)
{
    sqlite3_stmt *statement = sql->statements[COUNTER_GET];
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    uint64_t value =
        sqlite3_step(statement) == SQLITE_ROW ? (uint64_t) sqlite3_column_int64(statement, 0) : missing;
    sqlite3_reset(statement);
    return value;
}

/* Reads the fact NAME into OUT; its length, 0 where there is none. */
static size_t fact_get(struct ph_state_sql *sql, const char *name, void *out, size_t size)
{
    sqlite3_stmt *statement = sql->statements[BLOB_GET];
    size_t len = 0;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        const void *value = sqlite3_column_blob(statement, 0);
        len = MIN((size_t) sqlite3_column_bytes(statement, 0), size);
        if (value != NULL && len > 0)
            memcpy(out, value, len);
    }
    sqlite3_reset(statement);
    return len;
}

static bool fact_set(struct ph_state_sql *sql, const char *name, const void *value, size_t len)
{
    sqlite3_stmt *statement = sql->statements[BLOB_SET];
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, value, (int) len, SQLITE_STATIC);
    bool good = run(sql, BLOB_SET, "note a fact");
    sqlite3_clear_bindings(statement);
    return good;
}

static bool volume_choose(struct ph_state_sql *sql, uint8_t volume[16])
{
    return getrandom(volume, 16, 0) == 16 && fact_set(sql, "volume", volume, 16);
}

/* The first start chooses the volume's identity. A state directory that was used
 * for another directory makes a new volume: the ids it remembers are of no use. */
static bool volume_note(struct ph_state_sql *sql, const struct ph_state_root *root,
                        struct ph_state_start *start)
{
    char path[4096] = "";
    uint64_t before[2] = {0}, now[2] = {root->ino, root->btime_ns};
    bool known = fact_get(sql, "volume", start->volume, sizeof start->volume) == sizeof start->volume;
    bool other =
        fact_get(sql, "root", before, sizeof before) == sizeof before && memcmp(before, now, sizeof now) != 0;
    if (known && other) {
        path[fact_get(sql, "path", path, sizeof path - 1)] = '\0';
        g_warning(
            "the state directory was used for %s, which was another directory than %s is now; it starts anew",
            path[0] != '\0' ? path : "another export", root->path);
        start->recent = ph_state_recent_first(start->epoch); /* the other export's are not wanted */
        if (sqlite3_exec(sql->connection, "DELETE FROM objects", NULL, NULL, NULL) != SQLITE_OK ||
            !ph_state_sql_counter_set(sql, "recent", start->recent))
            return false;
    }
    if ((!known || other) && !volume_choose(sql, start->volume))
        return false;
    return fact_set(sql, "root", now, sizeof now) && fact_set(sql, "path", root->path, strlen(root->path));
}

bool ph_state_sql_start(struct ph_state_sql *sql, const struct ph_state_root *root,
                        struct ph_state_start *start, GError **error)
{
    memset(start, 0, sizeof *start);
    bool good = ph_state_sql_begin(sql, true);
    if (good) {
        start->epoch = ph_state_sql_counter_get(sql, "epoch", 0) + 1;
        start->next_id = ph_state_sql_counter_get(sql, "next_id", PH_OBJECT_GIVEN_FIRST);
        start->recent = ph_state_sql_counter_get(sql, "recent", 0);
        good = ph_state_sql_counter_set(sql, "epoch", start->epoch) && volume_note(sql, root, start);
        start->has_rows = sqlite3_step(sql->statements[HAS_ROWS]) == SQLITE_ROW;
        sqlite3_reset(sql->statements[HAS_ROWS]);
        good = ph_state_sql_end(sql, good, true);
    }
    if (!good)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot write the state database: %s",
                    sqlite3_errmsg(sql->connection));
    return good;
}
