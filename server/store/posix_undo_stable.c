/* What a transaction of several commands makes stable, so that the loss of power leaves all of it or nothing:
 * first what was there before, then what undoes each effect, then what was done. */
#include <unistd.h>

#include "ph_commands.h"
#include "server/store/posix_undo.h"

bool ph_undo_sync_export(struct ph_posix_store *store)
{
    return syncfs(store->several_fd) == 0;
}

/* Of another filesystem: what was there before is stable from now on. */
static bool settle_other(struct ph_undo *undo, struct ph_undo_other *other, int fd)
{
    struct statx stx;
    char path[32];
    if (ph_statx(fd, "", &stx) != 0 || !(S_ISREG(stx.stx_mode) || S_ISDIR(stx.stx_mode)))
        return true; /* opening it might do more than that; what leads to it is met as well */
    ph_proc_path(fd, path);
    other->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (other->fd < 0)
        return false;
    g_array_append_val(undo->others, *other);
    return syncfs(other->fd) == 0;
}

void ph_undo_concerns(struct ph_undo *undo, dev_t dev, int fd)
{
    struct ph_undo_other other = {.dev = dev};
    if (dev == undo->store->dev)
        return;
    for (guint i = 0; i < undo->others->len; i++)
        if (g_array_index(undo->others, struct ph_undo_other, i).dev == dev)
            return;
    undo->unsettled |= !settle_other(undo, &other, fd);
}

uint32_t ph_undo_settle(struct ph_undo *undo)
{
    bool good = ph_undo_sync_export(undo->store);
    for (guint i = 0; i < undo->others->len && good; i++)
        good = syncfs(g_array_index(undo->others, struct ph_undo_other, i).fd) == 0;
    return good ? PH_ST_OK : ph_store_errno(undo->call, "make the export stable");
}

static uint32_t no_state(struct ph_undo *undo)
{
    return ph_fault_set(&undo->call->fault, PH_ST_IO_ERROR, "the server cannot write its state database");
}

/* Rows of the state database too: entries name objects by their ids. Where the disk's cache is written out by
 * the same system call they need no other. */
uint32_t ph_undo_secure(struct ph_undo *undo)
{
    struct ph_state_db *db = undo->store->db;
    bool rides;
    if (undo->unsettled)
        return ph_fault_set(&undo->call->fault, PH_ST_IO_ERROR,
                            "the server cannot make a filesystem below the export stable");
    if (!undo->unsafe)
        return PH_ST_OK;
    uint64_t ticket = ph_state_db_sync_begin(db, ph_undo_log_flushes(undo->log), &rides);
    if (!ph_undo_log_sync(undo->log))
        return ph_store_errno(undo->call, "make stable how the transaction is undone");
    if (rides)
        ph_state_db_sync_rode(db, ticket);
    if (!ph_state_db_sync_wait(db, ticket))
        return no_state(undo);
    undo->unsafe = false;
    return PH_ST_OK;
}

bool ph_undo_mark(struct ph_posix_store *store, enum ph_undo_verdict verdict, const struct ph_undo_name *name)
{
    bool rides;
    uint64_t ticket = ph_state_db_sync_begin(store->db, ph_undo_log_flushes(store->undo), &rides);
    if (!rides && !ph_state_db_sync_wait(store->db, ticket))
        return false;
    if (!ph_undo_log_mark(store->undo, verdict, name))
        return false;
    if (rides)
        ph_state_db_sync_rode(store->db, ticket);
    return true;
}
