/* Directories that are open here and not at the server, as long as nothing has to go there. Their handle is
 * 0. */
#ifndef PH_CLIENT_FUSE_OPEN_DIR_H
#define PH_CLIENT_FUSE_OPEN_DIR_H

#include "client/fuse/request.h"

/* Answers OPENDIR of OBJECT from memory; false when the server has to be asked. */
bool ph_open_dir_here(fuse_req_t req, uint64_t object);

/* Calls GO once request->open is open at the server, which is now where it is already; a request that the
 * server refuses ends with its answer. As with ph_request_acquire, GO is to send it. */
void ph_open_dir_there(struct ph_request *request, void (*go)(struct ph_request *request));

#endif
