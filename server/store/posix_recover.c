/* What a killed server left: commands that were begun and not answered. Whether one was executed shows on the
 * disk, by what its intent says and what it found. docs/decisions/0013-exactly-once-across-a-kill.md. */
#include "server/store/posix_recover.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ph_commands.h"
#include "runtime/wire/frame.h"

enum {
    ARENA_BYTES = 256 * 1024,
    /* A command that was being executed when the server was killed had its effect within this time after the
     * last one that was begun or done. What is younger is somebody else's. */
    GRACE_NS = 2000000000,
};

enum verdict {
    AGAIN = 1, /* not executed, or as good as: it is executed when it is sent again */
    DONE,      /* executed: the answer is in `result` */
    LATER,     /* a directory on the way to it is not known (yet) */
};

struct recovery {
    struct ph_posix_store *store;
    struct ph_call call;
    GPtrArray *open; /* of struct unfinished */
    unsigned done, again;
    uint64_t until_ns; /* what is younger was not done by the server that was killed */
};

struct unfinished {
    struct ph_journal_record *record;
    struct ph_journal_intent intent;
    struct ph_journal_before before;
    bool found; /* BEFORE counts */
    Pohmel__ChangeResult result;
};

static uint64_t stamp_ns(const struct statx_timestamp *stamp)
{
    return (uint64_t) stamp->tv_sec * 1000000000u + stamp->tv_nsec;
}

/* It was changed while the command was under way, by it or by others. */
static bool touched(const struct recovery *recovery, const struct unfinished *unfinished,
                    const struct statx *stx)
{
    uint64_t changed = stamp_ns(&stx->stx_ctime);
    return changed >= unfinished->intent.time_ns && changed <= recovery->until_ns;
}

/* ---- Places ---- */

struct place {
    struct ph_object *parent;
    struct ph_fd *dir;
    struct statx stx;
    struct ph_identity identity;
    bool there;
};

static void place_end(struct ph_posix_store *store, struct place *place)
{
    ph_fd_unref(place->dir);
    ph_object_unref(store, place->parent);
}

/* NAME below PARENT; false where the directory is not known. To be ended in any case. */
static bool place_begin(struct ph_posix_store *store, uint64_t parent, const char *name, struct place *place)
{
    memset(place, 0, sizeof *place);
    place->parent = ph_object_by_id(store, parent);
    if (place->parent == NULL || ph_dir_fd(store, place->parent, &place->dir) != PH_ST_OK)
        return false;
    place->there = ph_statx(place->dir->fd, name, &place->stx) == 0;
    if (place->there)
        place->identity = ph_identity_of(&place->stx);
    return true;
}

static bool is(const struct place *place, const struct ph_journal_named *named)
{
    struct ph_identity then = {named->dev, named->ino, named->btime_ns};
    return place->there && named->id != 0 && ph_identity_same(&place->identity, &then);
}

/* What NAMED was has lost its last name with that one. */
static void lost_name(struct ph_posix_store *store, const struct ph_journal_named *named)
{
    if (named->id != 0 && (S_ISDIR(named->type) || named->links <= 1))
        ph_state_db_remove(store->db, named->id);
}

/* ---- Answers ---- */

static bool attr_put(struct recovery *recovery, struct ph_object *object, Pohmel__Attr **attr)
{
    return object != NULL && ph_attr_of(recovery->store, &recovery->call, object, false, attr) == PH_ST_OK;
}

static enum verdict answer_attr(struct recovery *recovery, struct unfinished *unfinished,
                                struct ph_object *object)
{
    Pohmel__AttrResult *result = PH_ARENA_NEW(recovery->call.arena, Pohmel__AttrResult);
    pohmel__attr_result__init(result);
    unfinished->result.result_case = (Pohmel__ChangeResult__ResultCase) unfinished->intent.command;
    unfinished->result.mkdir = result; /* all members of the union are pointers */
    return attr_put(recovery, object, &result->attr) ? DONE : AGAIN;
}

static enum verdict answer_name(struct recovery *recovery, struct unfinished *unfinished,
                                const struct place *directory)
{
    Pohmel__NameResult *result = PH_ARENA_NEW(recovery->call.arena, Pohmel__NameResult);
    pohmel__name_result__init(result);
    result->directory_version = ph_dir_changed(recovery->store, directory->parent, directory->dir->fd);
    unfinished->result.result_case = (Pohmel__ChangeResult__ResultCase) unfinished->intent.command;
    unfinished->result.remove = result;
    return DONE;
}

static enum verdict answer_create(struct recovery *recovery, struct unfinished *unfinished,
                                  struct ph_object *object)
{
    Pohmel__CreateResult *result = PH_ARENA_NEW(recovery->call.arena, Pohmel__CreateResult);
    pohmel__create_result__init(result);
    result->created = true;
    unfinished->result.result_case = POHMEL__CHANGE_RESULT__RESULT_CREATE;
    unfinished->result.create = result;
    return attr_put(recovery, object, &result->attr) ? DONE : AGAIN;
}

/* ---- CREATE, MKDIR, SYMLINK, MKNOD ---- */

/* The object is the one that the command made: it has that id, or none and was born meanwhile. */
static bool made_by(struct recovery *recovery, const struct unfinished *unfinished, const struct place *place)
{
    const struct ph_journal_intent *intent = &unfinished->intent;
    struct ph_posix_store *store = recovery->store;
    struct ph_state_row row;
    uint64_t dev = place->identity.dev == store->dev ? 0 : place->identity.dev;
    if ((place->stx.stx_mode & S_IFMT) != (intent->mode & S_IFMT))
        return false;
    if (ph_state_db_by_inode(store->db, dev, place->identity.ino, &row)) {
        struct ph_identity then = {place->identity.dev, place->identity.ino, row.btime_ns};
        if (ph_identity_same(&then, &place->identity))
            return row.id == intent->object;
    }
    /* Owners are the callers where nothing else can be meant by them. */
    if (store->acts_as_caller && store->plain_filesystem && !(intent->flags & PH_RECOVER_CONTENT) &&
        place->stx.stx_uid != intent->uid)
        return false;
    uint64_t born =
        place->identity.btime_ns != 0 ? place->identity.btime_ns : stamp_ns(&place->stx.stx_ctime);
    return born >= intent->time_ns && born <= recovery->until_ns;
}

/* Its data may be there in part: it is made anew, unless somebody else had to do with it. */
static bool undo_create(struct recovery *recovery, const struct unfinished *unfinished,
                        const struct place *place)
{
    if (place->stx.stx_nlink != 1 || !touched(recovery, unfinished, &place->stx) ||
        unlinkat(place->dir->fd, unfinished->intent.name, 0) != 0)
        return false;
    ph_state_db_remove(recovery->store->db, unfinished->intent.object);
    return true;
}

static enum verdict recover_made(struct recovery *recovery, struct unfinished *unfinished)
{
    const struct ph_journal_intent *intent = &unfinished->intent;
    struct ph_posix_store *store = recovery->store;
    struct place place;
    struct ph_object *object = NULL;
    enum verdict verdict = LATER;
    if (place_begin(store, intent->parent, intent->name, &place)) {
        verdict = AGAIN;
        if (place.there && made_by(recovery, unfinished, &place) &&
            !((intent->flags & PH_RECOVER_CONTENT) && undo_create(recovery, unfinished, &place))) {
            object = ph_object_by_id(store, intent->object);
            if (object == NULL)
                object = ph_object_made(store, place.parent, intent->name, &place.stx, intent->object);
            verdict = intent->command == PH_CMD_CREATE ? answer_create(recovery, unfinished, object)
                                                       : answer_attr(recovery, unfinished, object);
        }
    }
    ph_object_unref(store, object);
    place_end(store, &place);
    return verdict;
}

/* ---- Names ---- */

static enum verdict recover_link(struct recovery *recovery, struct unfinished *unfinished)
{
    const struct ph_journal_intent *intent = &unfinished->intent;
    struct ph_posix_store *store = recovery->store;
    struct place place;
    struct ph_object *object = ph_object_by_id(store, intent->object);
    enum verdict verdict = LATER;
    if (place_begin(store, intent->parent, intent->name, &place) && object != NULL) {
        verdict = AGAIN;
        if (place.there && ph_identity_same(&place.identity, &object->identity) &&
            touched(recovery, unfinished, &place.stx)) {
            ph_object_rename(store, object, place.parent, intent->name, true);
            verdict = answer_attr(recovery, unfinished, object);
        }
    }
    ph_object_unref(store, object);
    place_end(store, &place);
    return verdict;
}

static enum verdict recover_removed(struct recovery *recovery, struct unfinished *unfinished)
{
    const struct ph_journal_intent *intent = &unfinished->intent;
    struct place place;
    enum verdict verdict = LATER;
    if (!unfinished->found)
        return AGAIN;
    if (place_begin(recovery->store, intent->parent, intent->name, &place)) {
        verdict = is(&place, &unfinished->before.object) ? AGAIN : answer_name(recovery, unfinished, &place);
        if (verdict == DONE)
            lost_name(recovery->store, &unfinished->before.object);
    }
    if (verdict == DONE && intent->command == PH_CMD_RMTREE) {
        Pohmel__RmtreeResult *result = PH_ARENA_NEW(recovery->call.arena, Pohmel__RmtreeResult);
        pohmel__rmtree_result__init(result);
        result->removed = unfinished->before.number;
        unfinished->result.rmtree = result;
    }
    place_end(recovery->store, &place);
    return verdict;
}

/* The table, and so the database, follows what the disk says. */
static void follow(struct ph_posix_store *store, const struct place *place, const char *name)
{
    if (place->there)
        ph_object_unref(store, ph_object_found(store, place->parent, name, &place->stx));
}

static enum verdict recover_rename(struct recovery *recovery, struct unfinished *unfinished)
{
    const struct ph_journal_intent *intent = &unfinished->intent;
    const struct ph_journal_before *before = &unfinished->before;
    struct ph_posix_store *store = recovery->store;
    struct place from, to = {0};
    enum verdict verdict = LATER;
    if (!unfinished->found)
        return AGAIN;
    if (place_begin(store, intent->parent, intent->name, &from) &&
        place_begin(store, intent->to_parent, intent->to_name, &to)) {
        /* Two names of one file: nothing happens, now as then. */
        bool moved = is(&to, &before->object) && !is(&from, &before->object);
        verdict = moved ? answer_name(recovery, unfinished, &to) : AGAIN;
        if (moved) {
            ph_dir_changed(store, from.parent, from.dir->fd);
            if (!is(&from, &before->replaced))
                lost_name(store, &before->replaced);
            follow(store, &to, intent->to_name);
            follow(store, &from, intent->name);
        }
    }
    place_end(store, &from);
    place_end(store, &to);
    return verdict;
}

/* ---- Objects ---- */

static bool time_holds(const struct statx_timestamp *stamp, int64_t seconds, uint32_t nanoseconds)
{
    return stamp->tv_sec == seconds && stamp->tv_nsec == nanoseconds;
}

/* Everything that was to be set is so. What is not set to a value of its own says nothing. */
static bool attributes_hold(const struct ph_journal_intent *intent, const struct statx *stx)
{
    uint32_t which = intent->flags;
    return (!(which & PH_SET_MODE) || (stx->stx_mode & 07777) == intent->mode) &&
           (!(which & PH_SET_UID) || stx->stx_uid == intent->uid) &&
           (!(which & PH_SET_GID) || stx->stx_gid == intent->gid) &&
           (!(which & PH_SET_SIZE) || stx->stx_size == intent->size) &&
           (!(which & PH_SET_ACCESSED) ||
            time_holds(&stx->stx_atime, intent->accessed_s, intent->accessed_ns)) &&
           (!(which & PH_SET_MODIFIED) ||
            time_holds(&stx->stx_mtime, intent->modified_s, intent->modified_ns)) &&
           (!(which & PH_SET_KILL_PRIVILEGES) || !(stx->stx_mode & (S_ISUID | S_ISGID)));
}

static enum verdict recover_setattr(struct recovery *recovery, struct unfinished *unfinished,
                                    struct ph_object *object, const struct statx *stx)
{
    return touched(recovery, unfinished, stx) && attributes_hold(&unfinished->intent, stx)
               ? answer_attr(recovery, unfinished, object)
               : AGAIN;
}

/* What was set is so; CREATE and REPLACE would fail the second time. */
static enum verdict recover_xattr(struct recovery *recovery, struct unfinished *unfinished,
                                  struct ph_object *object, const struct statx *stx, const char *path)
{
    const struct ph_journal_intent *intent = &unfinished->intent;
    g_autofree uint8_t *value = g_malloc(PH_XATTR_MAX_BYTES);
    bool set = intent->command == PH_CMD_SETXATTR;
    ssize_t len = getxattr(path, intent->name, value, PH_XATTR_MAX_BYTES);
    bool holds =
        set ? len == (ssize_t) intent->bytes_len && ph_crc32c(0, value, (size_t) len) == intent->bytes_crc
            : len < 0 && errno == ENODATA;
    return holds && touched(recovery, unfinished, stx) ? answer_attr(recovery, unfinished, object) : AGAIN;
}

static bool appended_as_told(const struct unfinished *unfinished, int fd)
{
    size_t len = MIN(unfinished->intent.bytes_len, (uint32_t) PH_RECOVER_CHECK_BYTES);
    g_autofree uint8_t *bytes = g_malloc(PH_RECOVER_CHECK_BYTES);
    return pread(fd, bytes, len, (off_t) unfinished->before.number) == (ssize_t) len &&
           ph_crc32c(0, bytes, len) == unfinished->intent.bytes_crc;
}

/* What came with the bytes. */
static void append_finish(const struct unfinished *unfinished, int fd)
{
    const struct ph_journal_intent *intent = &unfinished->intent;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = intent->modified_s, .tv_nsec = intent->modified_ns}};
    if ((intent->flags & PH_RECOVER_MODIFIED) && futimens(fd, times) != 0)
        g_debug("the time of an append stays that of the server");
    if ((intent->flags & PH_RECOVER_STABLE) && fsync(fd) != 0)
        g_warning("cannot make what was appended stable: %s", g_strerror(errno));
}

/* The end of the file tells. A part of the bytes is taken away again. */
static enum verdict recover_append(struct recovery *recovery, struct unfinished *unfinished,
                                   struct ph_object *object, const struct statx *stx, const char *path)
{
    uint64_t size = unfinished->before.number, len = unfinished->intent.bytes_len;
    enum verdict verdict = AGAIN;
    if (!unfinished->found || stx->stx_size <= size || !touched(recovery, unfinished, stx))
        return AGAIN;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && stx->stx_size - size < len) {
        if (ftruncate(fd, (off_t) size) != 0)
            g_warning("cannot take back a part of an append: %s", g_strerror(errno));
    } else if (fd >= 0 && appended_as_told(unfinished, fd)) {
        Pohmel__WriteResult *result = PH_ARENA_NEW(recovery->call.arena, Pohmel__WriteResult);
        pohmel__write_result__init(result);
        append_finish(unfinished, fd);
        result->written = (uint32_t) len;
        result->offset = size;
        unfinished->result.result_case = POHMEL__CHANGE_RESULT__RESULT_WRITE;
        unfinished->result.write = result;
        verdict = attr_put(recovery, object, &result->attr) ? DONE : AGAIN;
    }
    if (fd >= 0)
        close(fd);
    return verdict;
}

static enum verdict recover_changed(struct recovery *recovery, struct unfinished *unfinished)
{
    struct ph_posix_store *store = recovery->store;
    struct ph_object *object = ph_object_by_id(store, unfinished->intent.object);
    struct ph_fd *fd = NULL;
    struct statx stx;
    char path[32];
    enum verdict verdict = AGAIN;
    if (object == NULL)
        return LATER;
    if (ph_object_fd(store, object, &fd) == PH_ST_OK && ph_statx(fd->fd, "", &stx) == 0) {
        ph_proc_path(fd->fd, path);
        switch (unfinished->intent.command) {
        case PH_CMD_SETATTR:
            verdict = recover_setattr(recovery, unfinished, object, &stx);
            break;
        case PH_CMD_WRITE:
            if (unfinished->intent.flags & PH_RECOVER_APPEND)
                verdict = recover_append(recovery, unfinished, object, &stx, path);
            break;
        default:
            verdict = recover_xattr(recovery, unfinished, object, &stx, path);
            break;
        }
    }
    ph_fd_unref(fd);
    ph_object_unref(store, object);
    return verdict;
}

/* It was made where it was given the link in the hidden directory by which it was taken up. */
static enum verdict recover_unnamed(struct recovery *recovery, struct unfinished *unfinished)
{
    struct ph_object *object = ph_object_by_id(recovery->store, unfinished->intent.object);
    enum verdict verdict = object != NULL ? answer_attr(recovery, unfinished, object) : AGAIN;
    ph_object_unref(recovery->store, object);
    return verdict;
}

/* ---- All of them ---- */

static enum verdict recover(struct recovery *recovery, struct unfinished *unfinished)
{
    switch (unfinished->intent.command) {
    case PH_CMD_CREATE:
    case PH_CMD_MKDIR:
    case PH_CMD_SYMLINK:
    case PH_CMD_MKNOD:
        return recover_made(recovery, unfinished);
    case PH_CMD_TMPFILE:
        return recover_unnamed(recovery, unfinished);
    case PH_CMD_LINK:
        return recover_link(recovery, unfinished);
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
    case PH_CMD_RMTREE:
        return recover_removed(recovery, unfinished);
    case PH_CMD_RENAME:
        return recover_rename(recovery, unfinished);
    case PH_CMD_SETATTR:
    case PH_CMD_WRITE:
    case PH_CMD_SETXATTR:
    case PH_CMD_REMOVEXATTR:
        return recover_changed(recovery, unfinished);
    default: /* ALLOCATE, COPY, MKPATH: once more does the same */
        return AGAIN;
    }
}

static void enter_answer(struct recovery *recovery, struct unfinished *unfinished)
{
    Pohmel__ChangeResult *results[1] = {&unfinished->result};
    Pohmel__TransactReply reply = POHMEL__TRANSACT_REPLY__INIT;
    uint8_t bytes[PH_JOURNAL_ANSWER_MAX_BYTES];
    reply.results = results;
    reply.n_results = 1;
    size_t len = ph_encoded_size(&reply.base);
    if (len <= sizeof bytes)
        ph_encode(&reply.base, bytes);
    ph_journal_answer(recovery->store->journal, unfinished->record, bytes, len);
}

/* True when it is settled. */
static bool settle(struct recovery *recovery, struct unfinished *unfinished)
{
    ph_arena_reset(recovery->call.arena, ARENA_BYTES);
    pohmel__change_result__init(&unfinished->result);
    ph_creds_server();
    enum verdict verdict = recover(recovery, unfinished);
    if (verdict == LATER)
        return false;
    if (verdict == DONE)
        enter_answer(recovery, unfinished);
    else
        ph_journal_drop(recovery->store->journal, unfinished->record);
    recovery->done += verdict == DONE;
    recovery->again += verdict == AGAIN;
    return true;
}

static void take_unfinished(void *data, struct ph_journal_record *record)
{
    struct recovery *recovery = data;
    const uint8_t *bytes;
    size_t len;
    if (ph_journal_answered(record, &bytes, &len))
        return;
    struct unfinished *unfinished = g_new0(struct unfinished, 1);
    unfinished->record = record;
    ph_journal_intent(record, &unfinished->intent);
    unfinished->found = ph_journal_before(record, &unfinished->before);
    g_ptr_array_add(recovery->open, unfinished);
}

static gint by_number(gconstpointer a, gconstpointer b)
{
    const struct unfinished *left = *(struct unfinished *const *) a, *right = *(struct unfinished *const *) b;
    return left->intent.number < right->intent.number ? -1 : left->intent.number > right->intent.number;
}

void ph_store_recover(struct ph_posix_store *store)
{
    struct recovery recovery = {.store = store};
    if (store->journal == NULL || !ph_journal_continued(store->journal))
        return;
    recovery.until_ns = ph_journal_alive_ns(store->journal) + GRACE_NS;
    recovery.call.arena = ph_arena_new(ARENA_BYTES);
    recovery.call.write_back = true;
    recovery.open = g_ptr_array_new_with_free_func(g_free);
    ph_journal_walk(store->journal, NULL, take_unfinished, &recovery);
    g_ptr_array_sort(recovery.open, by_number);
    /* One may lie below what another one made or moved: as long as that goes on, those that wait are tried
     * again. */
    for (guint before = 0; before != recovery.open->len;) {
        before = recovery.open->len;
        for (guint i = 0; i < recovery.open->len;)
            if (settle(&recovery, recovery.open->pdata[i]))
                g_ptr_array_remove_index(recovery.open, i);
            else
                i++;
    }
    for (guint i = 0; i < recovery.open->len; i++)
        ph_journal_drop(store->journal, ((struct unfinished *) recovery.open->pdata[i])->record);
    if (recovery.done + recovery.again + recovery.open->len > 0)
        g_message("the last server did not end by itself: of the changes that it was making, %u had been "
                  "made, %u are made "
                  "when they are sent again, %u concern what is gone",
                  recovery.done, recovery.again, recovery.open->len);
    g_ptr_array_unref(recovery.open);
    ph_arena_free(recovery.call.arena);
}
