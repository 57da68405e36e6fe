/* pohmelctl txn: a command runs over a view of a mount of its own (txn_view.c); what it changed there is
 * put into one transaction (txn_gather.c, txn_file.c), which is committed (txn.c). */
#ifndef PH_CLIENT_CTL_TXN_H
#define PH_CLIENT_CTL_TXN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "client/control.h"

/* --- txn_view.c: the view --- */

struct ctl_view {
    char *root;            /* where the mount is, absolute */
    char *path;            /* the directory on which the view lies: for who has privileges the same */
    int lower;             /* that as everybody sees it */
    int upper;             /* what was changed; as overlayfs keeps it */
    struct stat first;     /* attributes of the upper directory when nothing was changed */
    const char *attribute; /* how names of overlayfs's extended attributes begin */
    bool keeps_attributes; /* extended attributes of users are kept in UPPER */
    struct timespec begun;
    char *kept;       /* directory on a disk that is to be removed in the end, or NULL */
    pid_t server;     /* of the mount below the view; -1: none */
    bool made, bound; /* the view; what lies below it in place of the mount */
};

/* Makes a view of the mount that PATH lies in for this process and its children, in a mount namespace of
 * their own. What is changed is kept in memory, or in a new directory below SCRATCH. False with ERROR. */
bool ctl_view_make(struct ctl_view *view, const char *path, const char *scratch, GError **error);

/* Nobody changes anything in VIEW any more. False with ERROR: somebody is still writing. */
bool ctl_view_end(const struct ctl_view *view, GError **error);

/* Forgets what was changed. */
void ctl_view_clear(struct ctl_view *view);

/* How overlayfs marks FD, a directory of UPPER: the value of its attribute NAME ("redirect", "opaque"), or
 * NULL. To be freed. */
char *ctl_view_mark(const struct ctl_view *view, int fd, const char *name);

/* --- txn_call.c: steps --- */

struct ctl_txn {
    const struct ctl_view *view;
    int directory; /* through which it was begun */
    uint64_t number;
    GArray *files;      /* int: unnamed ones, open until the end */
    GHashTable *linked; /* upper inode number -> object number + 1, of files with several names */
    GHashTable *known;  /* path of a directory in LOWER -> object number */
    GHashTable *moved;  /* path of a directory in LOWER that gets another place -> struct ctl_moved */
    GPtrArray *paths;   /* of each step, in words */
};

struct ctl_moved {
    char *temporary; /* name in the directory of the transaction that it has in between */
    uint32_t number;
};

/* Begins a transaction on VIEW's directory. False with ERROR. */
bool ctl_txn_begin(struct ctl_txn *txn, const struct ctl_view *view, GError **error);

/* Drops it if it was not committed. */
void ctl_txn_end(struct ctl_txn *txn);

/* Adds STEP, about PATH in words. False with ERROR. */
bool ctl_txn_step(struct ctl_txn *txn, struct ph_ioc_txn *step, const char *path, GError **error);

/* FD, PATH in words, gets a number. 0 with ERROR. */
uint32_t ctl_txn_object(struct ctl_txn *txn, int fd, const char *path, GError **error);

/* Name of something in PLACE in STEP. */
void ctl_txn_name(struct ph_ioc_txn *step, uint32_t action, uint32_t place, const char *name);

/* NAME as VALUE of STEP. */
void ctl_txn_value(struct ph_ioc_txn *step, const void *value, size_t len);

/* WHICH of FOUND are set by STEP. */
void ctl_txn_attributes(struct ph_ioc_txn *step, uint32_t which, const struct stat *found);

/* All that was gathered shows from now on, or ERROR. *UNKNOWN: nobody can tell whether. */
bool ctl_txn_commit(struct ctl_txn *txn, bool *unknown, GError **error);

/* --- txn_gather.c: what was changed becomes steps --- */

/* False with ERROR, of the domain PH_CALL_ERROR. */
bool ctl_txn_gather(struct ctl_txn *txn, GError **error);

/* --- txn_file.c: files and extended attributes --- */

/* Copies FROM, a file with attributes FOUND, to a file without a name on the mount, made in directory PLACE
 * (a descriptor), whose descriptor is returned. -1 with ERROR, which names PATH. */
int ctl_txn_copy(const struct ctl_view *view, int place, int from, const struct stat *found, const char *path,
                 GError **error);

/* Whether files A and B, of the same size, hold the same bytes; *DIFFER. False with ERROR. */
bool ctl_txn_differ(int a, int b, const char *path, bool *differ, GError **error);

/* Adds steps that give SUBJECT the extended attributes of FROM, overlayfs's own left out; TO has
 * those that it has now (-1: it has none). WITHDRAW: those that FROM has not go. False with ERROR. */
bool ctl_txn_xattrs(struct ctl_txn *txn, uint32_t subject, int from, int to, bool withdraw, const char *path,
                    GError **error);

/* Gives TO the extended attributes of FROM. False with ERROR, some being set. */
bool ctl_txn_copy_xattrs(const struct ctl_view *view, int to, int from, const char *path, GError **error);

#endif
