/* Quotas: what is promised of them, and that nobody else takes it. The kernel has the last word; this only
 * makes sure that it is said while whoever writes can still hear it. */
#include "server/store/kernel_quota.h"
#include "server/store/posix_internal.h"

static bool is_asked_for(const void *data, enum ph_quota_of of, uint32_t id)
{
    const Pohmel__StatfsRequest *request = data;
    for (size_t i = 0; i < request->n_quotas; i++)
        if (request->quotas[i]->of == of && request->quotas[i]->id == id)
            return true;
    return false;
}

static uint32_t share(struct ph_posix_store *store, struct ph_call *call, const Pohmel__QuotaWish *wish,
                      Pohmel__QuotaShare **out)
{
    struct ph_quota_amount left, has = {0};
    Pohmel__QuotaShare *given = ph_arena_alloc(call->arena, sizeof *given);
    if (given == NULL)
        return PH_ST_NO_MEMORY;
    pohmel__quota_share__init(given);
    given->of = wish->of;
    given->id = wish->id;
    given->limited = ph_kernel_quota_left(store->root_fd, wish->of, wish->id, &left);
    if (given->limited) {
        struct ph_quota_amount needed = {.bytes = wish->needed, .objects = wish->objects_needed};
        struct ph_quota_amount more = {.bytes = wish->more, .objects = wish->objects_more};
        pthread_mutex_lock(&store->reserves_lock);
        has = ph_quotas_set(&store->quotas, call->session, wish->of, wish->id, needed, more, left);
        pthread_mutex_unlock(&store->reserves_lock);
    }
    given->bytes = has.bytes;
    given->objects = has.objects;
    *out = given;
    return PH_ST_OK;
}

uint32_t ph_quota_reserve(struct ph_posix_store *store, struct ph_call *call,
                          const Pohmel__StatfsRequest *request, Pohmel__StatfsReply *reply)
{
    uint32_t status = PH_ST_OK;
    ph_creds_server();
    reply->quotas_of = ph_kernel_quota_kinds(store->root_fd);
    pthread_mutex_lock(&store->reserves_lock);
    ph_quotas_end(&store->quotas, call->session, is_asked_for, request);
    pthread_mutex_unlock(&store->reserves_lock);
    if (reply->quotas_of == 0 || request->n_quotas == 0)
        return PH_ST_OK;
    reply->quotas = ph_arena_alloc(call->arena, request->n_quotas * sizeof(*reply->quotas));
    if (reply->quotas == NULL)
        return PH_ST_NO_MEMORY;
    for (size_t i = 0; i < request->n_quotas && status == PH_ST_OK; i++)
        if (request->quotas[i]->of & reply->quotas_of) {
            status = share(store, call, request->quotas[i], &reply->quotas[reply->n_quotas]);
            reply->n_quotas += status == PH_ST_OK;
        }
    return status;
}

static bool fits(uint64_t beyond, uint64_t left, uint64_t others)
{
    return beyond == 0 || others == 0 || (left > others && beyond <= left - others);
}

static uint32_t check(struct ph_posix_store *store, struct ph_call *call, enum ph_quota_of of, uint32_t id,
                      struct ph_quota_amount what)
{
    struct ph_quota_amount beyond, others, left;
    pthread_mutex_lock(&store->reserves_lock);
    bool shared = ph_quotas_use(&store->quotas, call->session, of, id, what, &beyond, &others);
    pthread_mutex_unlock(&store->reserves_lock);
    if (!shared || (beyond.bytes == 0 && beyond.objects == 0))
        return PH_ST_OK;
    bool lent = ph_creds_lend();
    bool limited = ph_kernel_quota_left(store->root_fd, of, id, &left);
    ph_creds_return(lent);
    if (!limited ||
        (fits(beyond.bytes, left.bytes, others.bytes) && fits(beyond.objects, left.objects, others.objects)))
        return PH_ST_OK;
    return ph_fault_set(&call->fault, PH_ST_QUOTA,
                        "what is left of the quota of %s %u is reserved for what other clients have written",
                        of == PH_QUOTA_OF_USER ? "user" : "group", (unsigned) id);
}

uint32_t ph_quota_check(struct ph_posix_store *store, struct ph_call *call, uint32_t uid, uint32_t gid,
                        uint64_t bytes, uint64_t objects)
{
    struct ph_quota_amount what = {.bytes = bytes, .objects = objects};
    uint32_t status = check(store, call, PH_QUOTA_OF_USER, uid, what);
    return status == PH_ST_OK ? check(store, call, PH_QUOTA_OF_GROUP, gid, what) : status;
}

void ph_quota_end_session(struct ph_posix_store *store, uint64_t session)
{
    pthread_mutex_lock(&store->reserves_lock);
    ph_quotas_end(&store->quotas, session, NULL, NULL);
    pthread_mutex_unlock(&store->reserves_lock);
}
