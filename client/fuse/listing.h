/* Entries of a directory read ahead, and their packing into what the kernel has
 * room for. The kernel asks for small pieces, may take only a part of one and
 * ask again from the middle, and may start over. */
#ifndef PH_CLIENT_FUSE_LISTING_H
#define PH_CLIENT_FUSE_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/fuse/mount.h"

struct ph_listing;

/* Packs an entry into the ROOM bytes at OUT; nothing where they do not suffice. Returns how many it takes.
 * STAT has its object and type. */
typedef size_t (*ph_listing_add_fn)(void *data, fuse_req_t req, char *out, size_t room, const char *name,
                                    const struct stat *stat, off_t cookie);

/* The entries of REPLY, which was asked for from position COOKIE. */
struct ph_listing *ph_listing_new(uint64_t cookie, const Pohmel__ReaddirReply *reply);

/* NULL is fine. */
void ph_listing_free(struct ph_listing *listing);

/* Packs entries behind position COOKIE into OUT, SIZE bytes at most; an entry
 * that does not fit whole is left for the next call. ADD packs one (NULL: name and type alone).
 * Returns the number of bytes, 0 at the end of the directory, or -1 when the listing does not reach there. */
ssize_t ph_listing_pack(struct ph_listing *listing, fuse_req_t req, uint64_t cookie, char *out, size_t size,
                        ph_listing_add_fn add, void *data);

#endif
