/* Commands of a transaction that do not meet: what undoes them can be found out before the first of them is
 * executed, and made stable at once. None has a name in it that another one gives or takes, but for new names
 * in the place of files that were removed; none has to do with an object that another one makes. That two of
 * them change the same object does no harm: what is kept of it is what it was before both. */
#include "ph_commands.h"
#include "server/store/posix_undo.h"

enum { NAMES_MAX = 2, IDS_MAX = 4 };

/* What a command has to do with. */
struct refs {
    size_t names, ids;
    struct {
        uint64_t parent;
        const ProtobufCBinaryData *name;
    } name[NAMES_MAX];
    uint64_t id[IDS_MAX]; /* directories, and objects that are there */
    uint64_t makes;       /* 0: nothing */
};

struct run {
    GHashTable *names; /* GBytes, a directory's id and a name in it -> what becomes of that */
    GHashTable *made;  /* ids */
};

static void put_name(struct refs *refs, uint64_t parent, const ProtobufCBinaryData *name)
{
    refs->name[refs->names].parent = parent;
    refs->name[refs->names++].name = name;
    refs->id[refs->ids++] = parent;
}

static bool put_made(struct refs *refs, uint64_t parent, const ProtobufCBinaryData *name, uint64_t id)
{
    put_name(refs, parent, name);
    refs->makes = id;
    return true;
}

static bool put_object(struct refs *refs, uint64_t id)
{
    refs->id[refs->ids++] = id;
    return true;
}

static bool names_of(const Pohmel__Change *change, struct refs *refs)
{
    switch ((int) change->command_case) {
    case PH_CMD_CREATE:
        return put_made(refs, change->create->parent, &change->create->name, change->create->object);
    case PH_CMD_MKDIR:
        return put_made(refs, change->mkdir->parent, &change->mkdir->name, change->mkdir->object);
    case PH_CMD_SYMLINK:
        return put_made(refs, change->symlink->parent, &change->symlink->name, change->symlink->object);
    case PH_CMD_MKNOD:
        return put_made(refs, change->mknod->parent, &change->mknod->name, change->mknod->object);
    case PH_CMD_LINK:
        put_name(refs, change->link->parent, &change->link->name);
        return put_object(refs, change->link->object);
    case PH_CMD_REMOVE:
        put_name(refs, change->remove->parent, &change->remove->name);
        return true;
    case PH_CMD_RENAME:
        put_name(refs, change->rename->old_parent, &change->rename->old_name);
        put_name(refs, change->rename->new_parent, &change->rename->new_name);
        return true;
    default:
        return false;
    }
}

/* False for what is on its own: trees, of which nobody knows what is in them, and what will be refused. */
static bool refs_of(const Pohmel__Change *change, struct refs *refs)
{
    *refs = (struct refs){0};
    switch ((int) change->command_case) {
    case PH_CMD_SETATTR:
        return put_object(refs, change->setattr->object);
    case PH_CMD_WRITE:
        return put_object(refs, change->write->object);
    case PH_CMD_ALLOCATE:
        return put_object(refs, change->allocate->object);
    case PH_CMD_COPY:
        return put_object(refs, change->copy->source) && put_object(refs, change->copy->target);
    case PH_CMD_SETXATTR:
        return put_object(refs, change->setxattr->object);
    case PH_CMD_REMOVEXATTR:
        return put_object(refs, change->removexattr->object);
    default:
        return names_of(change, refs);
    }
}

static GBytes *key_of(const struct refs *refs, size_t which)
{
    const ProtobufCBinaryData *name = refs->name[which].name;
    GByteArray *key = g_byte_array_new();
    g_byte_array_append(key, (const guint8 *) &refs->name[which].parent, sizeof refs->name[which].parent);
    g_byte_array_append(key, name->data, (guint) name->len);
    return g_byte_array_free_to_bytes(key);
}

/* What becomes of a name in the run. */
enum { FREED = 1, OTHERWISE };

/* *FREED: an earlier command took the name away. */
static bool join_name(struct run *run, const Pohmel__Change *change, const struct refs *refs, size_t which,
                      bool *freed)
{
    GBytes *key = key_of(refs, which);
    int before = GPOINTER_TO_INT(g_hash_table_lookup(run->names, key));
    int after = change->command_case == POHMEL__CHANGE__COMMAND_REMOVE ? FREED : OTHERWISE;
    bool gives = refs->makes != 0 || change->command_case == POHMEL__CHANGE__COMMAND_LINK;
    *freed = before == FREED;
    g_hash_table_insert(run->names, key, GINT_TO_POINTER(after));
    return before == 0 || (before == FREED && gives);
}

/* Whether CHANGE, with REFS, does not meet those of RUN; it is one of them then. */
static bool join(struct run *run, const Pohmel__Change *change, const struct refs *refs,
                 struct ph_undo_step *step)
{
    bool apart = true;
    for (size_t i = 0; i < refs->ids; i++)
        apart = apart && !g_hash_table_contains(run->made, &refs->id[i]);
    for (size_t i = 0; i < refs->names && apart; i++)
        apart = join_name(run, change, refs, i, &step->freed);
    if (refs->makes != 0)
        g_hash_table_add(run->made, g_memdup2(&refs->makes, sizeof refs->makes));
    return apart;
}

size_t ph_undo_run(Pohmel__Change *const *changes, size_t count, struct ph_undo_step *steps)
{
    struct run run = {
        .names = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL),
        .made = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
    };
    struct refs refs;
    size_t len = 0;
    for (; len < count; len++) {
        steps[len] = (struct ph_undo_step){0};
        if (!refs_of(changes[len], &refs) || !join(&run, changes[len], &refs, &steps[len]))
            break;
    }
    g_hash_table_unref(run.names);
    g_hash_table_unref(run.made);
    if (len == 0)
        steps[0] = (struct ph_undo_step){0};
    return MAX(len, (size_t) 1);
}
