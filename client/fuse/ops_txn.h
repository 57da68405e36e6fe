/* Transactions of several commands, which programs gather step by step and commit (client/control.h). */
#ifndef PH_CLIENT_FUSE_OPS_TXN_H
#define PH_CLIENT_FUSE_OPS_TXN_H

#include "client/control.h"
#include "client/fuse/mount.h"

struct ph_open;
struct ph_txns;

/* None yet. Never NULL. */
struct ph_txns *ph_txns_new(void);

/* Frees it with all that are open; NULL is fine. */
void ph_txns_free(struct ph_txns *txns);

/* OPEN was closed: what was begun through it is dropped. */
void ph_txns_closed(struct ph_txns *txns, const struct ph_open *open);

/* Does what STEP asks for, which came through INFO of OBJECT, and answers REQ. */
void ph_op_txn(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info, const struct ph_ioc_txn *step);

#endif
