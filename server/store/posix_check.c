#include "server/store/posix_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/openat2.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/store/posix_internal.h"
#include "server/store/state_recent.h"

enum { DEPTH_MAX = PH_STORE_DEPTH_MAX, PATH_MAX_BYTES = 4096 };

struct row {
    struct ph_state_row row;
    bool gone; /* not on the disk any more */
};

struct looking {
    struct ph_posix_check *check;
    sqlite3 *database;
    GHashTable *rows; /* id -> struct row, owned */
    uint64_t next_id, recent;
    uint8_t volume[16];
    dev_t dev;
    int root;
    GHashTable *inodes; /* uint64_t: of all that is on the root's device */
    unsigned uncommitted, lost, moved;
};

G_GNUC_PRINTF(2, 3) static void say(struct looking *looking, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *line = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    looking->check->say(looking->check->data, line);
}

static bool cannot(GError **error, int code, const char *format, const char *what, const char *why)
{
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(code), format, what, why);
    return false;
}

/* ---- The database ---- */

/* The first value that TEXT selects; NULL for none. Free it. */
static char *select_text(struct looking *looking, const char *text)
{
    sqlite3_stmt *statement = NULL;
    char *value = NULL;
    if (sqlite3_prepare_v2(looking->database, text, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        value = g_strdup((const char *) sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return value;
}

static uint64_t select_number(struct looking *looking, const char *text)
{
    g_autofree char *value = select_text(looking, text);
    return value != NULL ? g_ascii_strtoull(value, NULL, 10) : 0;
}

static bool select_blob(struct looking *looking, const char *text, void *out, size_t len)
{
    sqlite3_stmt *statement = NULL;
    bool good = sqlite3_prepare_v2(looking->database, text, -1, &statement, NULL) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW && (size_t) sqlite3_column_bytes(statement, 0) == len;
    if (good)
        memcpy(out, sqlite3_column_blob(statement, 0), len);
    sqlite3_finalize(statement);
    return good;
}

static bool execute(struct looking *looking, const char *text)
{
    return sqlite3_exec(looking->database, text, NULL, NULL, NULL) == SQLITE_OK;
}

static bool database_open(struct looking *looking, GError **error)
{
    g_autofree char *path = g_build_filename(looking->check->state_dir, "pohmel.db", NULL);
    if (sqlite3_open_v2(path, &looking->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return cannot(error, ENOENT, "cannot open the state database %s: %s", path,
                      sqlite3_errmsg(looking->database));
    g_autofree char *verdict = select_text(looking, "PRAGMA integrity_check(1)");
    if (g_strcmp0(verdict, "ok") == 0)
        return true;
    looking->check->wrong++;
    say(looking,
        "the state database %s is damaged: %s. Move it away to start anew; objects made through the server "
        "then get "
        "other ids",
        path, verdict != NULL ? verdict : sqlite3_errmsg(looking->database));
    return true;
}

static struct row *row_enter(struct looking *looking, const struct ph_state_row *from)
{
    struct row *row = g_new0(struct row, 1);
    row->row = *from;
    g_hash_table_replace(looking->rows, &row->row.id, row);
    return row;
}

static void rows_read(struct looking *looking)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(looking->database, "SELECT id, dev, ino, btime, parent, name FROM objects", -1,
                           &statement, NULL) != SQLITE_OK)
        return;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        struct ph_state_row row = {
            .id = (uint64_t) sqlite3_column_int64(statement, 0),
            .dev = (uint64_t) sqlite3_column_int64(statement, 1),
            .ino = (uint64_t) sqlite3_column_int64(statement, 2),
            .btime_ns = (uint64_t) sqlite3_column_int64(statement, 3),
            .parent = (uint64_t) sqlite3_column_int64(statement, 4),
        };
        const void *name = sqlite3_column_blob(statement, 5);
        int len = MIN(sqlite3_column_bytes(statement, 5), PH_NAME_MAX_BYTES);
        if (name != NULL)
            memcpy(row.name, name, (size_t) len);
        row_enter(looking, &row);
    }
    sqlite3_finalize(statement);
}

static bool take_recent(const struct ph_state_change *change, void *data)
{
    struct looking *looking = data;
    looking->uncommitted++;
    if (change->removed)
        g_hash_table_remove(looking->rows, &change->row.id);
    else
        row_enter(looking, &change->row);
    return true;
}

/* ---- Ids ---- */

static void inodes_read(struct looking *looking)
{
    char *roots[] = {(char *) looking->check->directory, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
    for (FTSENT *entry; walk != NULL && (entry = fts_read(walk)) != NULL;) {
        uint64_t inode = entry->fts_statp != NULL ? entry->fts_statp->st_ino : 0;
        if (entry->fts_info == FTS_DP || entry->fts_info == FTS_NS)
            continue;
        g_hash_table_add(looking->inodes, g_memdup2(&inode, sizeof inode));
        if (entry->fts_level == 1 && strcmp(entry->fts_name, PH_HIDDEN_NAME) == 0)
            fts_set(walk, entry, FTS_SKIP);
    }
    if (walk != NULL)
        fts_close(walk);
}

/* Its directories form a ring. */
static bool is_ring(struct looking *looking, const struct row *row)
{
    int depth = 0;
    while (row != NULL && row->row.parent != PH_OBJECT_ROOT && depth++ <= DEPTH_MAX)
        row = g_hash_table_lookup(looking->rows, &row->row.parent);
    return depth > DEPTH_MAX;
}

/* The path of ROW below the root; false: a directory on the way is not known, or it is very long. */
static bool path_of(struct looking *looking, const struct row *row, char path[PATH_MAX_BYTES])
{
    size_t at = PATH_MAX_BYTES - 1;
    uint64_t id = row->row.id;
    path[at] = '\0';
    while (id != PH_OBJECT_ROOT) {
        const struct row *above = g_hash_table_lookup(looking->rows, &id);
        size_t len = above != NULL ? strlen(above->row.name) : 0;
        if (len == 0 || len + 1 > at)
            return false;
        if (path[at] != '\0')
            path[--at] = '/';
        at -= len;
        memcpy(path + at, above->row.name, len);
        id = above->row.parent;
    }
    memmove(path, path + at, PATH_MAX_BYTES - at);
    return true;
}

static bool is_there(struct looking *looking, const struct row *row, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    struct statx stx;
    int fd = (int) syscall(SYS_openat2, looking->root, path, &how, sizeof how);
    bool there = fd >= 0 && statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, PH_STATX_MASK, &stx) == 0;
    if (fd >= 0)
        close(fd);
    if (!there)
        return false;
    uint64_t dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    uint64_t born = stx.stx_mask & STATX_BTIME
                        ? (uint64_t) stx.stx_btime.tv_sec * 1000000000u + stx.stx_btime.tv_nsec
                        : 0;
    return (dev == looking->dev ? 0 : dev) == row->row.dev && stx.stx_ino == row->row.ino &&
           (born == row->row.btime_ns || born == 0 || row->row.btime_ns == 0);
}

static void rows_check(struct looking *looking)
{
    GHashTableIter iter;
    gpointer value;
    char path[PATH_MAX_BYTES];
    unsigned rings = 0, all = g_hash_table_size(looking->rows);
    uint64_t highest = 0;
    g_hash_table_iter_init(&iter, looking->rows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct row *row = value;
        if (row->row.id >= PH_OBJECT_GIVEN_FIRST)
            highest = MAX(highest, row->row.id);
        bool ring = is_ring(looking, row);
        bool found = !ring && path_of(looking, row, path) && is_there(looking, row, path);
        bool elsewhere = row->row.dev != 0 || g_hash_table_contains(looking->inodes, &row->row.ino);
        row->gone = !found && (!elsewhere || ring);
        looking->lost += row->gone;
        looking->moved += !found && !row->gone;
        rings += ring;
    }
    say(looking, "%u objects are known by id; other programs moved %u and removed %u of these", all,
        looking->moved, looking->lost);
    if (rings > 0) {
        looking->check->wrong++;
        say(looking, "%u objects lie below themselves", rings);
    }
    if (highest >= looking->next_id) {
        looking->check->wrong++;
        say(looking,
            "ids up to %" G_GUINT64_FORMAT " are in use, but the next to be given is %" G_GUINT64_FORMAT,
            highest, looking->next_id);
        g_autofree char *text = g_strdup_printf(
            "INSERT OR REPLACE INTO counters(name, value) VALUES('next_id', %" G_GUINT64_FORMAT ")",
            highest + 1);
        if (looking->check->repair && execute(looking, text)) {
            looking->check->repaired++;
            say(looking, "repaired: the next one is %" G_GUINT64_FORMAT, highest + 1);
        }
    }
    if (looking->check->repair && rings > 0)
        looking->check->repaired++; /* with what is not there */
}

/* Ids of what is not there are of no use; what was only moved is found again by its inode. */
static void rows_drop(struct looking *looking)
{
    GHashTableIter iter;
    gpointer value;
    unsigned dropped = 0;
    if (!looking->check->repair || looking->lost == 0 || !execute(looking, "BEGIN IMMEDIATE"))
        return;
    g_hash_table_iter_init(&iter, looking->rows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct row *row = value;
        g_autofree char *text =
            g_strdup_printf("DELETE FROM objects WHERE id = %" G_GUINT64_FORMAT, row->row.id);
        dropped += row->gone && execute(looking, text);
    }
    if (execute(looking, "COMMIT"))
        say(looking, "repaired: %u ids of what is not there were forgotten", dropped);
}

/* ---- The rest ---- */

struct journal_count {
    unsigned sessions, unfinished, answered;
};

static void count_session(void *data, const uint8_t *client, uint64_t number)
{
    ((struct journal_count *) data)->sessions++;
}

static void count_record(void *data, struct ph_journal_record *record)
{
    struct journal_count *count = data;
    const uint8_t *bytes;
    size_t len;
    if (ph_journal_answered(record, &bytes, &len))
        count->answered++;
    else
        count->unfinished++;
}

static void journal_check(struct looking *looking)
{
    struct journal_count count = {0};
    g_autofree char *path = g_build_filename(looking->check->state_dir, "journal", NULL);
    if (access(path, F_OK) != 0) {
        say(looking, "there is no journal: clients of before open new sessions");
        return;
    }
    struct ph_journal *journal = ph_journal_open(looking->check->state_dir, looking->volume, true, NULL);
    if (journal == NULL || !ph_journal_continued(journal)) {
        say(looking,
            "the journal is not believed: it was written before the machine ended without the server being "
            "stopped, or is damaged; clients of before open new sessions");
    } else {
        ph_journal_walk(journal, count_session, count_record, &count);
        say(looking, "the journal has %u sessions, %u answers, %u changes to be settled at the next start",
            count.sessions, count.answered, count.unfinished);
    }
    ph_journal_close(journal, false);
}

static void sessions_check(struct looking *looking)
{
    say(looking, "%" G_GUINT64_FORMAT " sessions of clients can be taken up again if the journal is believed",
        select_number(looking, "SELECT COUNT(*) FROM sessions"));
}

static unsigned entries_of(int hidden, const char *name)
{
    int fd = openat(hidden, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    unsigned count = 0;
    for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (stream != NULL)
        closedir(stream);
    return count;
}

static void hidden_check(struct looking *looking)
{
    int hidden = openat(looking->root, PH_HIDDEN_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (hidden < 0)
        return;
    say(looking,
        "%u files without a name, of which those are deleted at the next start that no session of before "
        "opens again, and "
        "%u removed trees, which are",
        entries_of(hidden, "orphans"), entries_of(hidden, "trash"));
    unsigned aside = entries_of(hidden, "undo");
    if (aside > 0)
        say(looking, "%u things are kept aside by a transaction that is undone or finished at the next start",
            aside);
    close(hidden);
}

static void root_check(struct looking *looking)
{
    uint64_t known[2], now[2] = {0};
    struct statx stx;
    if (statx(looking->root, "", AT_EMPTY_PATH, PH_STATX_MASK, &stx) != 0)
        return;
    looking->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    now[0] = stx.stx_ino;
    if (stx.stx_mask & STATX_BTIME)
        now[1] = (uint64_t) stx.stx_btime.tv_sec * 1000000000u + stx.stx_btime.tv_nsec;
    if (select_blob(looking, "SELECT value FROM facts WHERE name = 'root'", known, sizeof known) &&
        memcmp(known, now, sizeof now) != 0) {
        looking->check->wrong++;
        g_autofree char *path = select_text(looking, "SELECT value FROM facts WHERE name = 'path'");
        say(looking, "the state directory is that of another export (%s); a server would start anew with it",
            path != NULL ? path : "its name is not known");
    }
}

static void look(struct looking *looking)
{
    root_check(looking);
    if (looking->check->wrong > 0) /* nothing in there is about this directory, or can be read */
        return;
    select_blob(looking, "SELECT value FROM facts WHERE name = 'volume'", looking->volume,
                sizeof looking->volume);
    looking->next_id = select_number(looking, "SELECT value FROM counters WHERE name = 'next_id'");
    looking->next_id = MAX(looking->next_id, PH_OBJECT_GIVEN_FIRST);
    looking->recent = select_number(looking, "SELECT value FROM counters WHERE name = 'recent'");
    rows_read(looking);
    ph_state_recent_read(looking->check->state_dir, looking->volume, looking->recent, take_recent, looking);
    if (looking->uncommitted > 0)
        say(looking, "the server was killed: %u changes of ids are taken from its log at the next start",
            looking->uncommitted);
    inodes_read(looking);
    rows_check(looking);
    rows_drop(looking);
    sessions_check(looking);
    journal_check(looking);
    hidden_check(looking);
}

/* Nobody else may be at it. The descriptor of the lock, or -1. */
static int lock_state(const struct ph_posix_check *check, GError **error)
{
    g_autofree char *path = g_build_filename(check->state_dir, "lock", NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        cannot(error, errno, "there is no state of a server in %s: %s", check->state_dir, g_strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        cannot(error, errno, "the state directory %s is in use%s", check->state_dir,
               "; stop its pohmel-server first");
        close(fd);
        fd = -1;
    }
    return fd;
}

bool ph_posix_check(struct ph_posix_check *check, GError **error)
{
    struct looking looking = {.check = check, .root = -1};
    int lock = lock_state(check, error);
    if (lock < 0)
        return false;
    looking.rows = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    looking.inodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    looking.root = open(check->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = looking.root >= 0 ||
                cannot(error, errno, "cannot look at the export %s: %s", check->directory, g_strerror(errno));
    good = good && database_open(&looking, error);
    if (good)
        look(&looking);
    if (good && check->wrong == 0)
        say(&looking, "all is well");
    sqlite3_close(looking.database);
    g_hash_table_unref(looking.rows);
    g_hash_table_unref(looking.inodes);
    if (looking.root >= 0)
        close(looking.root);
    close(lock);
    return good;
}
