/* Controls that only look (client/control.h): leases and states of objects. Answered by the daemon alone, at
 * once. */
#ifndef PH_CLIENT_FUSE_CONTROL_LOOK_H
#define PH_CLIENT_FUSE_CONTROL_LOOK_H

#include "client/control.h"
#include "client/fuse/mount.h"

/* Fills in what PH_IOC_LEASES answers USER; CONTROL holds what was asked. */
void ph_control_leases(struct ph_mount *mount, uid_t user, struct ph_ioc_leases *control);

/* The same for PH_IOC_STATE, OBJECT being the open one. */
void ph_control_state(struct ph_mount *mount, uint64_t object, struct ph_ioc_state *control);

/* Status as "key: value" lines, for PH_IOC_STATUS. */
void ph_control_status(struct ph_mount *mount, struct ph_ioc_status *control);

/* Answers a GETXATTR of PH_STATUS_XATTR, for SIZE bytes (0: how many there are). */
void ph_control_status_xattr(fuse_req_t req, size_t size);

#endif
