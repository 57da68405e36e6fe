/* Which files are open here and not at the server, as long as their leases are held. */
#ifndef PH_CLIENT_FUSE_COHERENCE_OPEN_H
#define PH_CLIENT_FUSE_COHERENCE_OPEN_H

#include "client/fuse/coherence.h"
#include "client/fuse/open_file.h"

/* CALLER opens the file of OPEN to read it, or (EXECUTE) to execute it, which the lease on it allows to be
 * done here: OPEN is listed, and the kernel may go on with the pages that it has. False: the server is to be
 * asked. */
bool ph_coherence_open_begin(struct ph_coherence *coherence, const Pohmel__Caller *caller,
                             struct ph_open *open, bool execute);

/* OPEN is closed, or open at the server, or can never be: it is not listed any more. Nothing happens where it
 * was not. */
void ph_coherence_open_end(struct ph_coherence *coherence, struct ph_open *open);

/* One that is listed, of OBJECT (0: any): a reference, or NULL. */
struct ph_open *ph_coherence_open_any(struct ph_coherence *coherence, uint64_t object);

/* All that are listed, of OBJECT (0: all): references. */
GPtrArray *ph_coherence_open_all(struct ph_coherence *coherence, uint64_t object);

/* Whether a lease on OBJECT is held in session *GENERATION: to open it for reading waits for no other client
 * then. */
bool ph_coherence_open_at_once(struct ph_coherence *coherence, uint64_t object, uint64_t *generation);

#endif
