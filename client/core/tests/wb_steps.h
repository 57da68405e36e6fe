/* What the tests of write-back do, in short: one user, a root that is held, and what the server was sent. */
#ifndef PH_CLIENT_CORE_TESTS_WB_STEPS_H
#define PH_CLIENT_CORE_TESTS_WB_STEPS_H

#include "client/core/tests/wb_world.h"

enum { WB_ROOT = 1 };

/* A world whose root is held and known whole, and HISTORY of what the server executed: names of commands. */
struct wb_steps {
    struct wb_world world;
    GString *history;
};

void wb_steps_begin(struct wb_steps *steps, uint64_t dirty_limit_bytes);
/* The same with file 10, "f", that is open as handle 1 and dirty: "new" over "old". */
void wb_steps_begin_written(struct wb_steps *steps, uint64_t dirty_limit_bytes);
/* The same, where what is not stable is kept. */
void wb_steps_begin_owned(struct wb_steps *steps, uint64_t dirty_limit_bytes, uint64_t owned_limit_bytes);
void wb_steps_end(struct wb_steps *steps);

/* Each submits; the answer is dropped, but for what is returned: its status, or UINT32_MAX when it is not
 * answered yet. */
uint32_t wb_create(struct wb_steps *steps, uint64_t parent, const char *name, uint64_t id, uint64_t handle);
uint32_t wb_mkdir(struct wb_steps *steps, uint64_t parent, const char *name, uint64_t id);
uint32_t wb_link(struct wb_steps *steps, uint64_t object, uint64_t parent, const char *name);
uint32_t wb_remove(struct wb_steps *steps, uint64_t parent, const char *name);
uint32_t wb_rmdir(struct wb_steps *steps, uint64_t parent, const char *name);
uint32_t wb_rename(struct wb_steps *steps, uint64_t parent, const char *from, const char *to);
uint32_t wb_write(struct wb_steps *steps, uint64_t id, uint64_t handle, uint64_t offset, const char *text);
uint32_t wb_chmod(struct wb_steps *steps, uint64_t id, uint32_t mode);
uint32_t wb_cut(struct wb_steps *steps, uint64_t id, uint64_t handle, uint64_t size);
uint32_t wb_open(struct wb_steps *steps, uint64_t id, uint64_t handle);
uint32_t wb_close_handle(struct wb_steps *steps, uint64_t id, uint64_t handle);
/* These may wait: the question, to be dropped with wb_world_drop. */
struct wb_asked *wb_sync(struct wb_steps *steps, uint64_t id);
struct wb_asked *wb_release(struct wb_steps *steps, uint64_t lease);
struct wb_asked *wb_write_later(struct wb_steps *steps, uint64_t id, uint64_t handle, uint64_t offset,
                                size_t len);

/* A file that the server knows, with TEXT, held and clean. */
void wb_steps_file(struct wb_steps *steps, const char *name, uint64_t id, const char *text);

/* Everything is written back. */
void wb_steps_flush(struct wb_steps *steps);

/* Somebody else makes TEXT of the file ID at the server, a while later. */
void wb_steps_other_writes(struct wb_steps *steps, uint64_t id, const char *text);

/* The text of the server's file. Owned. */
char *wb_steps_text(const struct wb_steps *steps, uint64_t id);

/* What waits to be executed, as names of commands. Owned. */
char *wb_steps_sent(const struct wb_steps *steps);

#endif
