/* Listings from memory: what the cache knows of directories under leases. */
#ifndef PH_CLIENT_FUSE_COHERENCE_LISTING_H
#define PH_CLIENT_FUSE_COHERENCE_LISTING_H

#include "client/fuse/coherence.h"
#include "client/fuse/listing.h"
#include "client/fuse/open_file.h"

/* Whether all names of DIRECTORY are known and CALLER surely may read them, so that it need not be opened at
 * the server. */
bool ph_coherence_may_list(struct ph_coherence *coherence, const Pohmel__Caller *caller, uint64_t directory);

/* --- Listings that the kernel keeps (docs/decisions/0009) --- */

enum ph_dir_keep {
    PH_DIR_ASKED, /* the kernel neither keeps nor uses anything */
    PH_DIR_FILL,  /* it forgets what it has, and keeps what it is told through this opening */
    PH_DIR_KEPT,  /* it goes on with what it has */
};

/* OPEN, a directory, is opened here: what the kernel may do with its listing. */
enum ph_dir_keep ph_coherence_dir_open(struct ph_coherence *coherence, struct ph_open *open);

/* The kernel asks for entries through OPEN. */
void ph_coherence_dir_read(struct ph_coherence *coherence, struct ph_open *open);

/* It is about to be told that these were all, and will use what it was told through OPEN from then on; TOLD
 * is for ph_coherence_told. Where that is out of date the kernel forgets it. */
void ph_coherence_dir_end(struct ph_coherence *coherence, const struct ph_open *open, struct ph_told *told);

/* The kernel has closed OPEN. */
void ph_coherence_dir_close(struct ph_coherence *coherence, struct ph_open *open);

/* DIRECTORY has another parent now, which its listing names. */
void ph_coherence_dir_moved(struct ph_coherence *coherence, uint64_t directory);

/* Nothing is kept of the listing of DIRECTORY. With the mutex held. */
void ph_coherence_dir_gone(struct ph_coherence *coherence, uint64_t directory);

/* All names of DIRECTORY as they are now: a snapshot, owned by the caller; or NULL when they are not known,
 * or when so many of them have no attributes here that the server had better be asked for both. */
struct ph_listing *ph_coherence_list(struct ph_coherence *coherence, uint64_t directory);

#endif
