#include "server/store/quotas.h"

#include <stdlib.h>

static struct ph_quota *find(const struct ph_quotas *quotas, enum ph_quota_of of, uint32_t id)
{
    for (size_t i = 0; i < quotas->count; i++)
        if (quotas->items[i].of == of && quotas->items[i].id == id)
            return &quotas->items[i];
    return NULL;
}

static struct ph_quota *add(struct ph_quotas *quotas, enum ph_quota_of of, uint32_t id)
{
    if (quotas->count == quotas->capacity) {
        quotas->capacity = quotas->capacity > 0 ? 2 * quotas->capacity : 8;
        quotas->items = realloc(quotas->items, quotas->capacity * sizeof(*quotas->items));
        if (quotas->items == NULL)
            abort();
    }
    struct ph_quota *quota = &quotas->items[quotas->count++];
    *quota = (struct ph_quota){.of = of, .id = id};
    return quota;
}

static void drop_if_unused(struct ph_quotas *quotas, struct ph_quota *quota)
{
    if (quota->bytes.count > 0 || quota->objects.count > 0)
        return;
    ph_reserves_clear(&quota->bytes);
    ph_reserves_clear(&quota->objects);
    *quota = quotas->items[--quotas->count];
}

void ph_quotas_clear(struct ph_quotas *quotas)
{
    for (size_t i = 0; i < quotas->count; i++) {
        ph_reserves_clear(&quotas->items[i].bytes);
        ph_reserves_clear(&quotas->items[i].objects);
    }
    free(quotas->items);
    *quotas = (struct ph_quotas){0};
}

struct ph_quota_amount ph_quotas_set(struct ph_quotas *quotas, uint64_t session, enum ph_quota_of of,
                                     uint32_t id, struct ph_quota_amount needed, struct ph_quota_amount more,
                                     struct ph_quota_amount left)
{
    struct ph_quota *quota = find(quotas, of, id);
    if (quota == NULL)
        quota = add(quotas, of, id);
    struct ph_quota_amount has = {
        .bytes = ph_reserves_set(&quota->bytes, session, needed.bytes, more.bytes, left.bytes),
        .objects = ph_reserves_set(&quota->objects, session, needed.objects, more.objects, left.objects),
    };
    drop_if_unused(quotas, quota);
    return has;
}

bool ph_quotas_use(struct ph_quotas *quotas, uint64_t session, enum ph_quota_of of, uint32_t id,
                   struct ph_quota_amount what, struct ph_quota_amount *beyond,
                   struct ph_quota_amount *others)
{
    struct ph_quota *quota = find(quotas, of, id);
    *beyond = what;
    *others = (struct ph_quota_amount){0};
    if (quota == NULL)
        return false;
    beyond->bytes = ph_reserves_use(&quota->bytes, session, what.bytes);
    beyond->objects = ph_reserves_use(&quota->objects, session, what.objects);
    others->bytes = ph_reserves_of_others(&quota->bytes, session);
    others->objects = ph_reserves_of_others(&quota->objects, session);
    drop_if_unused(quotas, quota);
    return others->bytes > 0 || others->objects > 0;
}

void ph_quotas_end(struct ph_quotas *quotas, uint64_t session,
                   bool (*keep)(const void *data, enum ph_quota_of of, uint32_t id), const void *data)
{
    for (size_t i = quotas->count; i-- > 0;) {
        struct ph_quota *quota = &quotas->items[i];
        if (keep != NULL && keep(data, quota->of, quota->id))
            continue;
        ph_reserves_end(&quota->bytes, session);
        ph_reserves_end(&quota->objects, session);
        drop_if_unused(quotas, quota);
    }
}
