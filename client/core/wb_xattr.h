/* Extended attributes of an object, as far as they are known here: those that were set or taken away here,
 * and, of what was made here, all. Shared by client/core/wb_*.c. */
#ifndef PH_CLIENT_CORE_WB_XATTR_H
#define PH_CLIENT_CORE_WB_XATTR_H

#include "client/core/wb_private.h"

/* Namespaces of attributes. */
enum wb_xattr_space {
    WB_XATTR_USER = 1,
    WB_XATTR_TRUSTED = 2,
    WB_XATTR_SECURITY = 4,
    WB_XATTR_ACCESS_LIST = 8,
    WB_XATTR_OTHER = 16,
};
/* That in which NAME is. */
enum wb_xattr_space wb_xattr_space_of(const ProtobufCBinaryData *name);

/* SETXATTR and REMOVEXATTR, GETXATTR and LISTXATTR: true when CALL was answered here. */
bool wb_local_setxattr(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                       struct ph_wb_actions *actions);
bool wb_local_getxattr(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                       struct ph_wb_actions *actions);

/* Whether what is to be set on O may still be set by who set it when O has MODE, UID and GID. */
bool wb_xattrs_allow(const struct wb_object *o, uint32_t mode, uint32_t uid, uint32_t gid);
/* What is known of O's attributes is so no more, but for what is on its way to the server. */
void wb_xattrs_forget(struct wb_object *o);
/* All of it goes. */
void wb_xattrs_free(struct wb_object *o);
/* Whether a change of an attribute of O is on its way to the server, or to be. */
bool wb_xattrs_dirty(const struct wb_object *o);

/* The operation OP on an attribute goes out; was answered so; is over, whatever became of it. */
void wb_xattr_send(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions);
uint32_t wb_xattr_answered(struct wb_op *op, const struct ph_reply *reply);
void wb_xattr_done(struct ph_wb *wb, struct wb_op *op, uint32_t status);

/* CALL, a GETXATTR, LISTXATTR, SETXATTR or REMOVEXATTR that was sent on, goes out; was answered by REPLY. */
void wb_xattr_forwarded(struct ph_wb *wb, const struct ph_wb_call *call);
void wb_xattr_learn(struct ph_wb *wb, const struct ph_wb_call *call, const struct ph_reply *reply);

#endif
