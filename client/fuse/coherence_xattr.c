/* Extended attributes out of the cache, and into it. */
#include <string.h>

#include "client/fuse/coherence_private.h"
#include "runtime/base/blob.h"

static size_t len_of(const char *name)
{
    return name != NULL ? strlen(name) : 0;
}

enum ph_cache_found ph_coherence_getxattr(struct ph_coherence *coherence, uint64_t object, const char *name,
                                          const Pohmel__Caller *caller, struct ph_blob **value)
{
    pthread_mutex_lock(&coherence->mutex);
    enum ph_cache_found found = ph_cache_getxattr(coherence->cache, object, name != NULL ? name : "",
                                                  len_of(name), caller, ph_coherence_now(coherence), value);
    if (*value != NULL)
        ph_blob_ref(*value);
    pthread_mutex_unlock(&coherence->mutex);
    return found;
}

void ph_coherence_learn_xattr(struct ph_coherence *coherence, const struct ph_cache_ask *ask, uint64_t object,
                              const char *name, const Pohmel__Caller *caller, bool absent,
                              struct ph_blob *value)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_learn_xattr(coherence->cache, ask, object, name != NULL ? name : "", len_of(name), caller,
                         absent, value, ph_coherence_now(coherence));
    pthread_mutex_unlock(&coherence->mutex);
}
