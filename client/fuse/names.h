/* Names and entries in operations. */
#ifndef PH_CLIENT_FUSE_NAMES_H
#define PH_CLIENT_FUSE_NAMES_H

#include "client/fuse/request.h"

/* Whether NAME is no longer than the protocol carries; answers ENAMETOOLONG if not. */
bool ph_name_fits(fuse_req_t req, const char *name);

/* An id for a new object in *OBJECT; false when REQUEST was refused instead. */
bool ph_name_new_object(struct ph_request *request, uint64_t *object);

/* Answers with an entry of ATTR, found or made as the request's name in its
 * object, and ends the request. NULL is answered EIO. */
void ph_name_reply_made(struct ph_request *request, const Pohmel__Attr *attr);

/* REQUEST, about to be sent, changes what its name in its object stands for; TARGET: and the object
 * that has the name. */
void ph_name_changes(struct ph_request *request, bool target);

#endif
