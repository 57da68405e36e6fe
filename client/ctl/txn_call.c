/* Steps of a transaction, as ioctls. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/txn.h"

static void free_moved(void *data)
{
    struct ctl_moved *moved = data;
    g_free(moved->temporary);
    g_free(moved);
}

/* STEP went through FD with RESULT. */
static bool outcome(int result, struct ph_ioc_txn *step, const char *path, GError **error)
{
    step->text[PH_IOC_TEXT_BYTES - 1] = '\0';
    if (result != 0)
        g_set_error(error, PH_CALL_ERROR, errno, "%s: %s", path,
                    errno == ENOTTY ? "it is not on a Pohmel mount, or on one that knows no transactions"
                                    : g_strerror(errno));
    else if (step->error != 0)
        g_set_error(error, PH_CALL_ERROR, step->error, "%s: %s", path,
                    step->text[0] != '\0' ? step->text : g_strerror(step->error));
    return result == 0 && step->error == 0;
}

bool ctl_txn_begin(struct ctl_txn *txn, const struct ctl_view *view, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    *txn = (struct ctl_txn){.view = view};
    txn->directory = openat(view->lower, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (txn->directory < 0) {
        g_set_error(error, PH_CALL_ERROR, errno, "cannot open %s: %s", view->path, g_strerror(errno));
        return false;
    }
    txn->files = g_array_new(FALSE, FALSE, sizeof(int));
    txn->paths = g_ptr_array_new_with_free_func(g_free);
    txn->linked = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    txn->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    txn->moved = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_moved);
    g_hash_table_insert(txn->known, g_strdup(""), GUINT_TO_POINTER(1));
    step->action = PH_IOC_TXN_BEGIN;
    bool begun = ph_call_is_pohmel(txn->directory, view->path, error) &&
                 outcome(ioctl(txn->directory, PH_IOC_TXN, step), step, view->path, error);
    txn->number = step->txn;
    if (!begun)
        ctl_txn_end(txn);
    return begun;
}

void ctl_txn_end(struct ctl_txn *txn)
{
    for (guint i = 0; i < txn->files->len; i++)
        close(g_array_index(txn->files, int, i));
    g_array_unref(txn->files);
    g_ptr_array_unref(txn->paths);
    g_hash_table_unref(txn->linked);
    g_hash_table_unref(txn->known);
    g_hash_table_unref(txn->moved);
    close(txn->directory);
}

bool ctl_txn_step(struct ctl_txn *txn, struct ph_ioc_txn *step, const char *path, GError **error)
{
    step->txn = txn->number;
    if (!outcome(ioctl(txn->directory, PH_IOC_TXN, step), step, path, error))
        return false;
    g_ptr_array_add(txn->paths, g_strdup(path));
    return true;
}

uint32_t ctl_txn_object(struct ctl_txn *txn, int fd, const char *path, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    step->action = PH_IOC_TXN_OBJECT;
    step->txn = txn->number;
    return outcome(ioctl(fd, PH_IOC_TXN, step), step, path, error) ? step->subject : 0;
}

void ctl_txn_name(struct ph_ioc_txn *step, uint32_t action, uint32_t place, const char *name)
{
    size_t len = strlen(name);
    step->action = action;
    step->place = place;
    step->name_bytes = (uint32_t) MIN(len, sizeof(step->name));
    memcpy(step->name, name, step->name_bytes);
}

void ctl_txn_value(struct ph_ioc_txn *step, const void *value, size_t len)
{
    step->value_bytes = (uint32_t) MIN(len, sizeof(step->value));
    memcpy(step->value, value, step->value_bytes);
}

void ctl_txn_attributes(struct ph_ioc_txn *step, uint32_t which, const struct stat *found)
{
    step->which = which;
    step->mode = found->st_mode & ALLPERMS;
    step->uid = found->st_uid;
    step->gid = found->st_gid;
    step->accessed_s = found->st_atim.tv_sec;
    step->accessed_ns = (uint32_t) found->st_atim.tv_nsec;
    step->modified_s = found->st_mtim.tv_sec;
    step->modified_ns = (uint32_t) found->st_mtim.tv_nsec;
}

/* What was written to the files is on the server, or could not be written. */
static bool settle(struct ctl_txn *txn, GError **error)
{
    g_autofree struct ph_ioc_flush *flush = g_new0(struct ph_ioc_flush, 1);
    if (!ph_call_flush(txn->directory, txn->view->path, flush, error))
        return false;
    for (guint i = 0; i < txn->files->len; i++) {
        /* The close of a descriptor tells what became of what was written. */
        int copy = fcntl(g_array_index(txn->files, int, i), F_DUPFD_CLOEXEC, 0);
        if (copy < 0 || close(copy) != 0) {
            g_set_error(error, PH_CALL_ERROR, errno, "%s: a file could not be written: %s", txn->view->path,
                        g_strerror(errno));
            return false;
        }
    }
    return true;
}

bool ctl_txn_commit(struct ctl_txn *txn, bool *unknown, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    g_autofree struct ph_ioc_flush *flush = g_new0(struct ph_ioc_flush, 1);
    *unknown = false;
    if (!settle(txn, error))
        return false;
    step->action = PH_IOC_TXN_COMMIT;
    step->txn = txn->number;
    int result = ioctl(txn->directory, PH_IOC_TXN, step);
    *unknown = result != 0 || step->unknown;
    const char *path = step->failed >= 1 && step->failed <= txn->paths->len
                           ? txn->paths->pdata[step->failed - 1]
                           : txn->view->path;
    if (!outcome(result, step, path, error))
        return false;
    if (!ph_call_flush(txn->directory, txn->view->path, flush, NULL))
        g_printerr("pohmelctl: %s: published, but not known to be on the server's disk yet\n",
                   txn->view->path);
    return true;
}
