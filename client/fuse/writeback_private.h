/* Shared by the files writeback*.c. */
#ifndef PH_CLIENT_FUSE_WRITEBACK_PRIVATE_H
#define PH_CLIENT_FUSE_WRITEBACK_PRIVATE_H

#include "client/core/wb.h"
#include "client/fuse/writeback.h"

struct ph_conflicts;

struct ph_writeback {
    struct ph_coherence *coherence;
    struct ph_stub stub;
    struct ph_link *_Atomic link; /* NULL until it is given to us; its first session may be told before */
    struct ph_conflicts *conflicts;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    struct ph_wb *wb;
    GHashTable *abandoned; /* ticket -> struct abandoned, while it is being abandoned */
    bool stop, looking;    /* the thread looks again by itself */
    uint64_t patience_ms;  /* 0: for ever */
    uint64_t away_ms;      /* of its thread: since when there is no connection; 0 while there is one */
    bool drained;
    uint32_t drain_status;
};

/* What time it is, and until when leases hold, for a step of the core. */
struct ph_wb_now ph_writeback_now(struct ph_writeback *writeback);

/* Asks for OBJECT exclusively, or lists directory OBJECT; what comes of it is learned on the way. */
void ph_writeback_acquire(struct ph_writeback *writeback, uint64_t object);
void ph_writeback_list(struct ph_writeback *writeback, uint64_t object);

/* Asks for LEN bytes of OBJECT from OFFSET on exclusively. */
void ph_writeback_acquire_range(struct ph_writeback *writeback, uint64_t object, uint64_t offset,
                                uint64_t len);
/* There is a lease on all of it: ph_wb_range_later. */
void ph_writeback_range_later(struct ph_writeback *writeback, uint64_t object);
/* Gives LEASE back, but for LEN bytes from OFFSET on (0: all of it), when what is dirty was sent. */
void ph_writeback_release_range(struct ph_writeback *writeback, uint64_t lease, uint64_t offset,
                                uint64_t len);

/* Asks for space: NEEDED bytes for what is dirty, and MORE. */
void ph_writeback_ask_space(struct ph_writeback *writeback, uint64_t needed, uint64_t more);

#endif
