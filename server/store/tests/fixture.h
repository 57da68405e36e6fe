/* A store on a directory made for one test, and its commands as plain calls.
 * Every call returns the command's status and leaves the answer in the fixture. */
#ifndef PH_SERVER_STORE_TESTS_FIXTURE_H
#define PH_SERVER_STORE_TESTS_FIXTURE_H

#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/limits.h"
#include "server/store/posix.h"

struct fixture {
    char *top, *directory, *state;
    struct ph_posix_options options;
    struct ph_store *store;
    struct ph_call call;
    Pohmel__Caller caller;
    uint32_t groups[8];
    uint64_t next_id, ids_end, next_handle;
    uint32_t umask;
    uint64_t survivor; /* of what is made */
    /* Answers of the last call. */
    Pohmel__Attr *attr;
    bool created, end;
    uint64_t number; /* written, copied, removed, made, offset ... */
    Pohmel__ReaddirReply *list;
    char text[256]; /* payload as a string */
    size_t text_len;
};

void fx_open(struct fixture *fx);  /* with fx->options as they stand */
void fx_setup(struct fixture *fx); /* fresh directories, store open, caller 0:0 */
void fx_close(struct fixture *fx); /* the store only */
void fx_teardown(struct fixture *fx);
void fx_begin(struct fixture *fx); /* a new command */
void fx_as(struct fixture *fx, uint32_t uid, uint32_t gid);
void fx_group(struct fixture *fx, uint32_t gid);           /* one more group of the caller */
uint64_t fx_id(struct fixture *fx);                        /* the next id of the session's range */
char *fx_path(const struct fixture *fx, const char *name); /* on the disk; g_free */
void fx_put(const struct fixture *fx, const char *name, const char *content);

uint32_t fx_lookup(struct fixture *fx, uint64_t parent, const char *name);
uint32_t fx_lookup_data(struct fixture *fx, uint64_t parent, const char *name, uint32_t data_max);
uint32_t fx_getattr(struct fixture *fx, uint64_t object);
uint32_t fx_create(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode, uint64_t handle,
                   uint32_t access);
uint32_t fx_create_exclusive(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode);
uint32_t fx_mkdir(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode);
uint32_t fx_symlink(struct fixture *fx, uint64_t parent, const char *name, const char *target);
uint32_t fx_mknod(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode, uint64_t device);
uint32_t fx_tmpfile(struct fixture *fx, uint64_t parent, uint64_t handle, bool exclusive);
uint32_t fx_link(struct fixture *fx, uint64_t object, uint64_t parent, const char *name);
uint32_t fx_remove(struct fixture *fx, uint64_t parent, const char *name, uint64_t expected);
uint32_t fx_rmdir(struct fixture *fx, uint64_t parent, const char *name);
uint32_t fx_rename(struct fixture *fx, uint64_t from, const char *name, uint64_t to, const char *new_name,
                   uint32_t flags);
uint32_t fx_open_object(struct fixture *fx, uint64_t object, uint64_t handle, uint32_t access);
bool fx_open_briefly(struct fixture *fx, uint64_t object, uint64_t handle, uint32_t data_max); /* closed? */
uint32_t fx_execute(struct fixture *fx, uint64_t object, uint64_t handle);
uint32_t fx_read(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t offset, uint32_t length);
uint32_t fx_write(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t offset, const void *bytes,
                  uint32_t length, bool append, bool kill);
uint32_t fx_setattr(struct fixture *fx, uint64_t object, uint64_t handle, uint32_t which, uint64_t value);
uint32_t fx_access(struct fixture *fx, uint64_t object, uint32_t mask);
uint32_t fx_readdir(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t cookie, uint32_t count,
                    bool attributes);
uint32_t fx_readlink(struct fixture *fx, uint64_t object);
uint32_t fx_setxattr(struct fixture *fx, uint64_t object, const char *name, const void *value, uint32_t len,
                     uint32_t flags);
uint32_t fx_getxattr(struct fixture *fx, uint64_t object, const char *name);
uint32_t fx_listxattr(struct fixture *fx, uint64_t object);
uint32_t fx_sync(struct fixture *fx, uint64_t object, uint64_t handle, bool tree);
uint32_t fx_allocate(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t offset, uint64_t length,
                     uint32_t mode);
uint32_t fx_seek(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t offset, bool hole);
uint32_t fx_mkpath(struct fixture *fx, uint64_t parent, const char *path, uint32_t mode);
uint32_t fx_rmtree(struct fixture *fx, uint64_t parent, const char *name);
void fx_close_handle(struct fixture *fx, uint64_t handle);

/* Fails the test with the words of the fault. */
#define fx_ok(fx, call_)                                                                                     \
    G_STMT_START                                                                                             \
    {                                                                                                        \
        uint32_t status_ = (call_);                                                                          \
        if (status_ != PH_ST_OK)                                                                             \
            g_error("%s:%d: %s: %s %s", __FILE__, __LINE__, #call_, ph_status_name(status_),                 \
                    (fx)->call.fault.text);                                                                  \
    }                                                                                                        \
    G_STMT_END
#define fx_is(call_, expected_) g_assert_cmpstr(ph_status_name(call_), ==, ph_status_name(expected_))

#endif
