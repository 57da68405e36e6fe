/* Files and directories that are open here and not at the server, as long as nothing has to go there. Their
 * handle is 0. A lease keeps the file as it was when it was opened: so it is opened at the server before that
 * is given back, and before a change by this mount that could remove or forbid it (docs/decisions/0009). */
#ifndef PH_CLIENT_FUSE_OPEN_HERE_H
#define PH_CLIENT_FUSE_OPEN_HERE_H

#include "client/fuse/request.h"

/* Answers OPEN of OBJECT with FLAGS, or OPENDIR, from memory; false when the server has to be asked. */
bool ph_open_here(fuse_req_t req, uint64_t object, int flags);
bool ph_open_dir_here(fuse_req_t req, uint64_t object);

/* Calls GO once request->open is open at the server, which is now where it is already; a request that the
 * server refuses ends by its `fail` (NULL: ph_request_finish). As with ph_request_acquire, GO is to send it.
 * The data of a small file comes along, as request->brought. */
void ph_open_there(struct ph_request *request, void (*go)(struct ph_request *request));

/* The same for each file of OBJECT (0: of any) that is open here only, for a change that could remove it or
 * forbid to open it. To be called when the change was announced, so that no other is opened here. Uses
 * request->open. */
void ph_open_there_first(struct ph_request *request, uint64_t object, void (*go)(struct ph_request *request));

/* The lease of OPEN, a file that is open here only, is to go back, or went with its session: opens it at the
 * server, without waiting for that. */
void ph_open_there_soon(struct ph_open *open);

/* The kernel has closed OPEN. */
void ph_open_here_closed(struct ph_open *open);

#endif
