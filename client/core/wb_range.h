/* Files that others write as well: bytes that are written here under an EXCLUSIVE lease on a range of them.
 * docs/protocol.md, section 9.
 *
 * Not a state of struct wb_object, which stands for what is ours alone: of the file nothing is known here but
 * bytes, and the least that it has of them. Part of wb_private.h. */
#ifndef PH_CLIENT_CORE_WB_RANGE_H
#define PH_CLIENT_CORE_WB_RANGE_H

#include "client/core/wb_private.h"

#define WB_RANGE_TO_END UINT64_MAX

struct wb_range {
    struct ph_lru_entry lru;       /* object */
    struct ph_lru_entry lease_lru; /* lease, while it is held */
    struct ph_cached_attr attr;    /* as granted; the size is the least that the file has, for us */
    uint64_t start, end;           /* first byte, and that behind the last one; WB_RANGE_TO_END */
    uint64_t there;                /* size that the server has, at the least */
    uint64_t first, last;          /* all that was written under it lies there */
    uint64_t latest;               /* where it was written last */
    uint64_t used_until_ms;
    uint64_t handle; /* at the server, where OPENED */
    struct ph_wb_data *data;
    unsigned ops;      /* that are in the log */
    unsigned absorbed; /* writes that were answered here, since it was granted or cut down */
    unsigned outside;  /* writes in a row that were not */
    bool held;
    bool going;   /* on its way back: nothing more is written under it */
    bool was_cut; /* part of it was recalled */
    bool opened;
};

/* That of OBJECT, held or with something that was not sent yet; NULL for none. */
struct wb_range *wb_range_find(const struct ph_wb *wb, uint64_t object);
/* That which is held under LEASE, or NULL. */
struct wb_range *wb_range_of_lease(const struct ph_wb *wb, uint64_t lease);

/* True when CALL was answered here, or waits. */
bool wb_range_write(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions);
bool wb_range_read(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions);
bool wb_range_acquire(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions);

/* CALL, a WRITE, goes to the server. True: no lease on the whole file is worth asking for. */
bool wb_range_want(struct ph_wb *wb, const struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions);
/* CALL, which concerns O, has nothing to do with what was written here under a range. */
bool wb_range_is_apart(const struct ph_wb *wb, const struct wb_object *o, const struct ph_wb_call *call);
/* OBJECT is changed at the server otherwise than by a WRITE. */
void wb_range_disturbed(struct ph_wb *wb, uint64_t object, struct ph_wb_actions *actions);

/* What an acquire of ours brought: nothing, at NOW_MS. */
void wb_range_refused(struct ph_wb *wb, uint64_t object, uint64_t now_ms);
/* What it brought. */
void wb_range_granted(struct ph_wb *wb, const Pohmel__LeaseGrant *grant, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions);
/* ATTR, which the server told, is brought up to what was written here. */
void wb_range_patch(const struct ph_wb *wb, Pohmel__Attr *attr);
/* A reply names LEASE on the whole of OBJECT; true: there is a range, and it is not to be used. */
bool wb_range_replaced(struct ph_wb *wb, uint64_t object, uint64_t lease, struct ph_wb_actions *actions);

/* It is on its way back: what is dirty goes first, and CALL (NULL: none) waits for that. */
void wb_range_hurry(struct ph_wb *wb, struct wb_range *range, struct ph_wb_call *call);
/* LEASE_RELEASE names RANGE as cut down: CALL waits until what is dirty was sent. */
void wb_range_wait(struct ph_wb *wb, struct wb_range *range, struct ph_wb_call *call);
/* The lease was recalled, at NOW_MS. */
void wb_range_recalled(struct ph_wb *wb, struct wb_range *range, uint64_t now_ms);
/* Nothing of it is dirty, and the release goes: it is not held any more. */
void wb_range_let_go(struct ph_wb *wb, struct wb_range *range, struct ph_wb_actions *actions);
/* Nobody writes OBJECT any more. */
void wb_range_closed(struct ph_wb *wb, uint64_t object);

/* The session is over, or its leases on ranges are: what is dirty is not sent any more. */
void wb_ranges_lost(struct ph_wb *wb, bool session);
void wb_ranges_free(struct ph_wb *wb);
/* No operation of it is left, and it is not held: it is forgotten. */
void wb_range_settle(struct ph_wb *wb, struct wb_range *range);

/* wb_range_flush.c: operations WB_RANGE, of objects[0]. */
struct wb_op *wb_range_op(struct ph_wb *wb, struct wb_range *range, const Pohmel__Caller *caller,
                          uint64_t now_ms);
void wb_range_start(struct ph_wb *wb, struct wb_op *op, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions);
void wb_range_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                       const struct ph_wb_now *now, struct ph_wb_actions *actions);
/* The answers to what was sent of OP will not come: what did not arrive is dirty again. */
void wb_range_begin_again(struct ph_wb *wb, struct wb_op *op);
/* OP is over. */
void wb_range_op_done(struct ph_wb *wb, const struct wb_op *op);
/* What of DATA changed in size is accounted for: BEFORE bytes were held. */
void wb_range_account(struct ph_wb *wb, const struct wb_range *range, uint64_t before);

#endif
