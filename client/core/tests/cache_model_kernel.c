/* The kernel of the model: keeps what it was told for as long as it was told, and drops what it
 * is told to drop; checks that what it keeps is true. */
#include <glib.h>

#include "client/core/tests/cache_model.h"

static const char *const names[NAMES] = {"a", "b", "c", "d"};

bool truth_is(const struct model *m, const struct truth *truth, uint64_t value)
{
    if (truth->value == value)
        return true;
    if (m->watched)
        return false;
    /* Without a watch it may be behind by the timeout, on the slow clock of the client. */
    uint64_t late_ms = PH_UNWATCHED_TIMEOUT_MS * UINT64_C(1000) / PH_LEASE_RATE_PER_MILLE + 2;
    for (unsigned i = 0; i < PASTS && i < truth->pasts; i++) {
        if (truth->past[i].value == value && truth->past[i].until_ms + late_ms >= m->server_ms)
            return true;
    }
    return false;
}

void kernel_reply(struct model *m, int dir, int name, int object, uint64_t version, uint64_t entry_ms,
                  uint64_t attr_ms)
{
    struct kernel *k = &m->kernel;
    if ((dir == NOBODY ? !k->refs[object] : !k->refs[dir]) || (!entry_ms && !attr_ms))
        return;
    for (int i = 0; i < WRITINGS; i++) {
        struct writing *w = &k->writings[i];
        if (w->used)
            continue;
        uint64_t now_ms = model_client_ms(m);
        *w = (struct writing){.used = true, .dir = dir, .name = name, .object = object, .version = version};
        w->entry_until_ms = entry_ms ? now_ms + entry_ms : 0;
        w->attr_until_ms = attr_ms ? now_ms + attr_ms : 0;
        w->epoch = k->epoch;
        if (dir != NOBODY) {
            w->name_stamp = k->name_stamp[dir][name];
            ph_cache_reply_begin(m->cache, model_id(dir));
        }
        if (object != NOBODY) {
            w->attr_stamp = k->attr_stamp[object];
            ph_cache_reply_begin(m->cache, model_id(object));
            ph_cache_kernel_add(m->cache, model_id(object), dir != NOBODY);
            k->refs[object] += dir != NOBODY;
        }
        return;
    }
}

void kernel_written(struct model *m, struct writing *w)
{
    struct kernel *k = &m->kernel;
    if (w->dir != NOBODY) {
        if (w->entry_until_ms && w->epoch == k->epoch && w->name_stamp == k->name_stamp[w->dir][w->name])
            k->name[w->dir][w->name] = (struct kept){true, model_id(w->object), w->entry_until_ms};
        ph_cache_reply_end(m->cache, model_id(w->dir));
    }
    if (w->object != NOBODY) {
        if (w->attr_until_ms && w->attr_stamp == k->attr_stamp[w->object])
            k->attr[w->object] = (struct kept){true, w->version, w->attr_until_ms};
        ph_cache_reply_end(m->cache, model_id(w->object));
    }
    w->used = false;
}

void kernel_lookup(struct model *m, int dir, int name)
{
    struct ph_cached_attr attr;
    uint64_t entry_ms, attr_ms;
    enum ph_cache_found found = ph_cache_lookup(m->cache, model_id(dir), names[name], 1, model_client_ms(m),
                                                &attr, &entry_ms, &attr_ms);
    if (found == PH_CACHE_MISS)
        return;
    m->answers++;
    int object = found == PH_CACHE_FOUND ? model_index(attr.object) : NOBODY;
    g_assert_true(truth_is(m, &m->server.name[dir][name], model_id(object)));
    if (object != NOBODY)
        g_assert_true(truth_is(m, &m->server.attr[object], attr.version));
    kernel_reply(m, dir, name, object, attr.version, entry_ms, attr_ms);
}

static void take_listed(void *data, const struct ph_cache_listed *listed)
{
    uint64_t *objects = data;
    if (*(const char *) listed->name == '.')
        return;
    g_assert_cmpuint(listed->len, ==, 1);
    uint64_t *object = &objects[*(const char *) listed->name - 'a'];
    g_assert_cmpuint(*object, ==, 0); /* each name once */
    *object = listed->object;
}

void kernel_list(struct model *m, int dir)
{
    uint64_t objects[NAMES] = {0};
    if (!ph_cache_list(m->cache, model_id(dir), model_client_ms(m), take_listed, objects))
        return;
    m->answers++;
    m->listings++;
    for (int name = 0; name < NAMES; name++)
        g_assert_true(truth_is(m, &m->server.name[dir][name], objects[name]));
}

void kernel_getattr(struct model *m, int object)
{
    struct ph_cached_attr attr;
    uint64_t valid_ms;
    if (!ph_cache_getattr(m->cache, model_id(object), model_client_ms(m), &attr, &valid_ms))
        return;
    m->answers++;
    g_assert_true(truth_is(m, &m->server.attr[object], attr.version));
    kernel_reply(m, NOBODY, 0, object, attr.version, 0, valid_ms);
}

static void raise_epoch(struct model *m)
{
    m->kernel.epoch++;
    memset(m->kernel.name, 0, sizeof(m->kernel.name));
}

void kernel_change_done(struct model *m, const struct call *call, bool kept)
{
    struct kernel *k = &m->kernel;
    for (size_t i = 0; i < G_N_ELEMENTS(call->affected); i++) {
        if (call->affected[i] == NOBODY)
            continue;
        k->attr_stamp[call->affected[i]]++;
        k->attr[call->affected[i]].there = false;
    }
    if (call->kind == SETATTR)
        return;
    struct kept *from = &k->name[call->dir][call->name];
    k->name_stamp[call->dir][call->name]++;
    if (call->kind == RENAME) {
        k->name_stamp[call->dir2][call->name2]++;
        k->name[call->dir2][call->name2] = *from;
    }
    from->there = false; /* gone; or made, and known from the reply only */
    if (!call->alone || (call->kind == RENAME && !kept))
        raise_epoch(m);
}

/* Where it is said that the kernel was told of no name, it has none. */
void kernel_drop(struct model *m, int object, uint64_t lease, bool none_told)
{
    struct kernel *k = &m->kernel;
    k->attr[object].there = false;
    if (object < DIRS) {
        if (m->dir_running[object])
            raise_epoch(m);
        for (int name = 0; name < NAMES; name++) {
            struct kept *kept = &k->name[object][name];
            g_assert_false(none_told && kept->there && kept->until_ms > model_client_ms(m));
            kept->there = false;
        }
    }
    ph_cache_dropped(m->cache, model_id(object), lease);
}

void kernel_forget(struct model *m, int object)
{
    struct kernel *k = &m->kernel;
    for (int i = 0; i < WRITINGS; i++) {
        if (k->writings[i].used)
            return;
    }
    if (!k->refs[object]) {
        k->refs[object] = object < DIRS;
        ph_cache_kernel_add(m->cache, model_id(object), k->refs[object]);
        return;
    }
    if (object == 0 || (object < DIRS && m->dir_running[object]))
        return;
    for (int dir = 0; dir < DIRS; dir++) {
        for (int name = 0; name < NAMES; name++) {
            if (dir == object || k->name[dir][name].value == model_id(object))
                k->name[dir][name].there = false;
        }
    }
    k->attr[object].there = false;
    ph_cache_kernel_forget(m->cache, model_id(object), k->refs[object]);
    k->refs[object] = 0;
}

void kernel_check(struct model *m)
{
    uint64_t now_ms = model_client_ms(m);
    for (int object = 0; object < OBJECTS; object++) {
        struct kept *kept = &m->kernel.attr[object];
        if (kept->there && kept->until_ms > now_ms && !m->attr_running[object])
            g_assert_true(truth_is(m, &m->server.attr[object], kept->value));
    }
    for (int dir = 0; dir < DIRS; dir++) {
        for (int name = 0; name < NAMES; name++) {
            struct kept *kept = &m->kernel.name[dir][name];
            if (kept->there && kept->until_ms > now_ms && !m->name_running[dir][name])
                g_assert_true(truth_is(m, &m->server.name[dir][name], kept->value));
        }
    }
}

static void held(void *data, const struct ph_cache_held *held)
{
    struct model *m = data;
    m->kernel.attr[model_index(held->object)].there = false;
}

void kernel_lost(struct model *m)
{
    raise_epoch(m);
    for (int object = 0; object < OBJECTS; object++)
        m->kernel.attr_stamp[object]++; /* replies on their way are told again */
    ph_cache_each_kernel(m->cache, held, m);
}
