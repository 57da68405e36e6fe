/* The part of what is reserved that comes out of users' and groups' quotas; part of write-back
 * (wb_private.h). */
#ifndef PH_CLIENT_CORE_WB_QUOTA_H
#define PH_CLIENT_CORE_WB_QUOTA_H

#include "client/core/wb.h"

struct wb_op;

enum {
    WB_DUES = 2,                /* of one operation: the object's owner, the directory's owner */
    WB_ACCOUNTS = 64,           /* quotas that are known at a time */
    WB_QUOTA_OBJECTS = 4096,    /* that are asked for of a quota that is being used */
    WB_QUOTA_IDLE_OBJECTS = 64, /* and of one that is not */
    WB_QUOTA_AGAIN_MS = 10000,  /* after so long it is asked again whether there is a limit */
    WB_QUOTA_FORGET_MS = 60000,
};

/* Who is charged, under quotas, for what an operation takes: the owner of an object. */
struct wb_due {
    uint32_t uid, gid;
    uint64_t bytes, objects;
};

/* The quota of a user or a group. */
struct wb_account {
    uint32_t of, id; /* as in QuotaWish */
    bool known;      /* the server has said LIMITED */
    bool limited;
    uint64_t bytes, objects;                 /* reserved */
    uint64_t first_bytes, first_objects;     /* free when it was said */
    uint64_t charged_bytes, charged_objects; /* what is dirty may take */
    uint64_t spent_bytes, spent_objects;     /* charges of what was sent since it was asked for */
    uint64_t known_ms, used_ms;
};

/* What DUES say fits into what is reserved of quotas. False: the server is to say. */
bool wb_quota(struct ph_wb *wb, const struct wb_due *dues, size_t count, const struct ph_wb_now *now,
              struct ph_wb_actions *actions);
/* The same for BYTES of O alone, which belong to its owner. */
bool wb_quota_of(struct ph_wb *wb, const struct ph_cached_attr *owner, uint64_t bytes, uint64_t objects,
                 const struct ph_wb_now *now, struct ph_wb_actions *actions);
/* OP may take DUE more, which is charged to its owner. */
void wb_owe(struct ph_wb *wb, struct wb_op *op, const struct wb_due *due);
void wb_owe_of(struct ph_wb *wb, struct wb_op *op, const struct ph_cached_attr *owner, uint64_t bytes,
               uint64_t objects);
/* OP is over: as wb_discharge. */
void wb_quota_discharge(struct ph_wb *wb, const struct wb_op *op);
/* CALL takes more than nothing that is dirty may: all of that goes first. */
bool wb_quota_crowds(const struct ph_wb *wb, const struct ph_wb_call *call);
/* CALL is over: what it took is taken. */
void wb_quota_answered(struct ph_wb *wb, struct ph_wb_call *call);
/* CALL is sent on: it is charged until it is over; where it asks for space, it asks for quotas as well. */
void wb_quota_forwarded(struct ph_wb *wb, struct ph_wb_call *call, uint64_t now_ms);
void wb_quota_learn(struct ph_wb *wb, const Pohmel__StatfsReply *reply, uint64_t now_ms);
void wb_quota_lost(struct ph_wb *wb);
/* More is reserved than is kept when nothing is done. */
bool wb_quota_held(const struct ph_wb *wb);

#endif
