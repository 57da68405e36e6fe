/* Entries of an open directory: a part that was read ahead, or a snapshot of all of them as they were when
 * the listing began; and their packing into what the kernel has room for. The kernel asks for small pieces,
 * may take only a part of one and ask again from the middle, and may start over. */
#ifndef PH_CLIENT_FUSE_LISTING_H
#define PH_CLIENT_FUSE_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/fuse/mount.h"

struct ph_listing;

/* The entries of REPLY, which was asked for from position COOKIE. */
struct ph_listing *ph_listing_new(uint64_t cookie, const Pohmel__ReaddirReply *reply);

/* A snapshot, still empty. Its positions are made of the names, so that they are good in all snapshots of a
 * directory; those of the server are not. */
struct ph_listing *ph_listing_new_snapshot(void);

/* Adds NAME (LEN bytes, copied), which is OBJECT of TYPE (bits as in st_mode), to a snapshot. */
void ph_listing_add(struct ph_listing *listing, const void *name, size_t len, uint64_t object, uint32_t type);

/* Adds the entries of REPLY. */
void ph_listing_add_reply(struct ph_listing *listing, const Pohmel__ReaddirReply *reply);

/* Everything was added: the snapshot can be packed. */
void ph_listing_seal(struct ph_listing *listing);

/* NULL is fine. */
void ph_listing_free(struct ph_listing *listing);

/* Packs entries behind position COOKIE into OUT, SIZE bytes at most; an entry
 * that does not fit whole is left for the next call. Returns the number of bytes, 0 at the end of the
 * directory, or -1 when the listing does not reach there. */
ssize_t ph_listing_pack(struct ph_listing *listing, fuse_req_t req, uint64_t cookie, char *out, size_t size);

#endif
