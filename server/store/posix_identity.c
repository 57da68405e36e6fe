/* What an object is on disk. */
#include "server/store/posix_internal.h"

guint ph_identity_hash(gconstpointer key)
{
    const struct ph_identity *identity = key;
    uint64_t mixed = (identity->ino ^ (identity->dev << 40)) * UINT64_C(0x9e3779b97f4a7c15);
    return (guint) (mixed >> 32);
}

gboolean ph_identity_equal(gconstpointer a, gconstpointer b)
{
    const struct ph_identity *left = a, *right = b;
    return left->ino == right->ino && left->dev == right->dev;
}

struct ph_identity ph_identity_of(const struct statx *stx)
{
    struct ph_identity identity = {
        .dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
        .ino = stx->stx_ino,
    };
    if (stx->stx_mask & STATX_BTIME)
        identity.btime_ns = (uint64_t) stx->stx_btime.tv_sec * 1000000000u + stx->stx_btime.tv_nsec;
    return identity;
}

bool ph_identity_same(const struct ph_identity *a, const struct ph_identity *b)
{
    return ph_identity_equal(a, b) && (a->btime_ns == b->btime_ns || a->btime_ns == 0 || b->btime_ns == 0);
}
