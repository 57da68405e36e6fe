/* What the cache answers, and what a kernel keeps that believes it, is what the server has: under delays,
 * replies and recalls that overtake each other, lost connections, a slow clock and changes by all sides. */
#include <glib.h>
#include <stdlib.h>

#include "client/core/tests/cache_model.h"

enum { SEEDS = 400, STEPS = 3000 };

static const char *const names[NAMES] = {"a", "b", "c", "d"};

static struct call *pick_call(struct model *m, enum call_state state)
{
    int first = model_pick(m, CALLS);
    for (int i = 0; i < CALLS; i++) {
        struct call *call = &m->calls[(first + i) % CALLS];
        if (call->state == state)
            return call;
    }
    return NULL;
}

static void add_name(struct model *m, struct call *call, int dir, int name, bool target)
{
    ph_cache_change_add_name(m->cache, &call->change, model_id(dir), names[name], 1, target);
    call->alone &= m->dir_running[dir] == 0;
    m->name_running[dir][name]++;
    model_affects(m, call, dir);
}

static void begin_change(struct model *m, struct call *call)
{
    ph_cache_change_begin(&call->change);
    call->alone = true;
    if (call->kind == RENAME && call->dir == call->dir2 && call->name == call->name2)
        call->kind = REMOVE;
    if (call->kind == SETATTR || call->kind == LINK) {
        ph_cache_change_add(m->cache, &call->change, model_id(call->object));
        model_affects(m, call, call->object);
    }
    if (call->kind == RENAME)
        call->moved_id = ph_cache_entry_object(m->cache, model_id(call->dir), names[call->name], 1);
    if (call->kind != SETATTR)
        add_name(m, call, call->dir, call->name, call->kind != LINK);
    if (call->kind == RENAME)
        add_name(m, call, call->dir2, call->name2, true);
    if (call->kind != SETATTR)
        m->dir_running[call->dir]++;
    if (call->kind == RENAME)
        m->dir_running[call->dir2]++;
    ph_cache_change_sent(m->cache, &call->change, model_client_ms(m));
}

static void ask(struct model *m)
{
    struct call *call = pick_call(m, FREE);
    if (!call)
        return;
    bool changes = ph_random_chance(&m->random, m->changes_per_mille);
    int kind = changes ? SETATTR + model_pick(m, RELEASE - SETATTR) : model_pick(m, SETATTR);
    *call = (struct call){.state = SENT, .kind = (enum call_kind) kind};
    call->dir = model_pick(m, DIRS);
    call->dir2 = model_pick(m, DIRS);
    call->name = model_pick(m, NAMES);
    call->name2 = model_pick(m, NAMES);
    call->object = call->kind == LINK ? DIRS + model_pick(m, OBJECTS - DIRS) : model_pick(m, OBJECTS);
    for (size_t i = 0; i < G_N_ELEMENTS(call->affected); i++)
        call->affected[i] = NOBODY;
    if (call->kind >= SETATTR)
        begin_change(m, call);
    else
        call->ask = ph_cache_ask(m->cache, model_client_ms(m));
}

/* One of the attributes of a reply; what may be kept, and what to use. */
static uint64_t learn(struct model *m, const struct call *call, const struct said *said, uint64_t *version)
{
    struct ph_cached_attr out;
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    attr.object = model_id(said->object);
    attr.mode = said->object < DIRS ? 0040755 : 0100644;
    attr.version = said->version;
    attr.lease = said->lease;
    attr.lease_mode = said->lease ? POHMEL__LEASE_MODE__MODE_SHARED : 0;
    uint64_t valid_ms = call->kind >= SETATTR
                            ? ph_cache_changed(m->cache, &call->change, &attr, model_client_ms(m), &out)
                            : ph_cache_learn(m->cache, &call->ask, &attr, model_client_ms(m), &out);
    *version = out.version;
    if (valid_ms)
        g_assert_true(truth_is(m, &m->server.attr[said->object], out.version));
    return valid_ms;
}

static void looked_up(struct model *m, struct call *call)
{
    uint64_t version = 0, attr_ms = 0, now_ms = model_client_ms(m);
    learn(m, call, &call->dir_said, &version);
    if (call->said[0].object != NOBODY)
        attr_ms = learn(m, call, &call->said[0], &version);
    uint64_t entry_ms = ph_cache_learn_entry(m->cache, &call->ask, model_id(call->dir), call->dir_said.lease,
                                             names[call->name], 1, call->entry[0], now_ms);
    if (entry_ms)
        g_assert_true(truth_is(m, &m->server.name[call->dir][call->name], call->entry[0]));
    kernel_reply(m, call->dir, call->name, model_index(call->entry[0]), version, entry_ms, attr_ms);
}

/* Half of a directory; the other half is asked for by the same call. */
static void listed(struct model *m, struct call *call)
{
    uint64_t version, now_ms = model_client_ms(m);
    learn(m, call, &call->dir_said, &version);
    if (call->part == 0)
        ph_cache_listing_begin(m->cache, &call->listing, &call->ask, model_id(call->dir),
                               call->dir_said.lease);
    for (int i = 0; i < NAMES / 2; i++) {
        int name = call->part * NAMES / 2 + i, object = call->said[i].object;
        if (!call->entry[i])
            continue;
        uint64_t attr_ms = learn(m, call, &call->said[i], &version);
        uint64_t entry_ms = ph_cache_listing_add(m->cache, &call->listing, &call->ask, names[name], 1,
                                                 call->entry[i], true, now_ms);
        kernel_reply(m, call->dir, name, object, version, entry_ms, attr_ms);
    }
    if (call->part == 1) {
        ph_cache_listing_end(m->cache, &call->listing);
        return;
    }
    call->part = 1;
    call->ask = ph_cache_ask(m->cache, now_ms);
    call->state = SENT;
}

static uint64_t changed_name(struct model *m, const struct call *call, int dir, int name, uint64_t id)
{
    uint64_t entry_ms =
        ph_cache_changed_name(m->cache, &call->change, model_id(dir), names[name], 1, id, model_client_ms(m));
    if (entry_ms)
        g_assert_true(truth_is(m, &m->server.name[dir][name], id));
    return entry_ms;
}

/* The names after CALL; what may be kept of the one that is there now. */
static uint64_t changed_names(struct model *m, const struct call *call)
{
    if (call->kind == LINK)
        return changed_name(m, call, call->dir, call->name, model_id(call->object));
    if (call->kind != SETATTR)
        changed_name(m, call, call->dir, call->name, 0);
    if (call->kind == RENAME && call->moved_id)
        return changed_name(m, call, call->dir2, call->name2, call->moved_id);
    return 0;
}

static void end_change(struct model *m, struct call *call)
{
    ph_cache_change_end(m->cache, &call->change);
    for (size_t i = 0; i < G_N_ELEMENTS(call->affected); i++) {
        if (call->affected[i] != NOBODY)
            m->attr_running[call->affected[i]]--;
    }
    if (call->kind != SETATTR) {
        m->dir_running[call->dir]--;
        m->name_running[call->dir][call->name]--;
    }
    if (call->kind == RENAME) {
        m->dir_running[call->dir2]--;
        m->name_running[call->dir2][call->name2]--;
    }
}

static void changed(struct model *m, struct call *call)
{
    uint64_t version = 0, attr_ms = 0, entry_ms = 0;
    if (!call->failed) {
        if (call->said[0].object != NOBODY)
            attr_ms = learn(m, call, &call->said[0], &version);
        entry_ms = changed_names(m, call);
        kernel_change_done(m, call, entry_ms > 0);
    }
    end_change(m, call);
    if (call->failed)
        return;
    if (call->kind == SETATTR)
        kernel_reply(m, NOBODY, 0, call->object, version, 0, attr_ms);
    else if (call->kind == LINK)
        kernel_reply(m, call->dir, call->name, call->object, version, entry_ms, 0);
}

static void deliver(struct model *m)
{
    struct call *call = pick_call(m, ANSWERED);
    if (!call)
        return;
    call->state = FREE;
    uint64_t version;
    if (call->kind == GETATTR) {
        uint64_t attr_ms = learn(m, call, &call->said[0], &version);
        kernel_reply(m, NOBODY, 0, call->object, version, 0, attr_ms);
    } else if (call->kind == LOOKUP) {
        looked_up(m, call);
    } else if (call->kind == LIST) {
        listed(m, call);
    } else if (call->kind != RELEASE) {
        changed(m, call);
    }
}

static void work(struct model *m)
{
    int at = 0;
    while (at < DROPS && m->drops[at].used)
        at++;
    struct call *call = pick_call(m, FREE);
    if (at == DROPS || !call || !ph_cache_next_work(m->cache, &m->work))
        return;
    if (m->work.kind == PH_CACHE_DROP) {
        m->drops[at].used = true;
        m->drops[at].object = model_index(m->work.drop.object);
        m->drops[at].lease = m->work.drop.lease;
        m->drops[at].generation = m->work.drop.generation;
        m->drops[at].names = m->work.drop.names;
        return;
    }
    g_assert_cmpuint(m->work.release.count, <=, G_N_ELEMENTS(call->ids));
    *call = (struct call){.state = SENT, .kind = RELEASE, .id_count = m->work.release.count};
    memcpy(call->ids, m->work.release.leases, call->id_count * sizeof(call->ids[0]));
}

static void drop(struct model *m)
{
    int at = model_pick(m, DROPS);
    if (!m->drops[at].used)
        return;
    m->drops[at].used = false;
    /* A drop from before the session was lost says nothing about the names of the next one. */
    bool none_told = m->drops[at].names == 0 && m->drops[at].generation == m->generation;
    kernel_drop(m, m->drops[at].object, m->drops[at].lease, none_told);
}

static void recalled(struct model *m)
{
    int at = model_pick(m, RECALLS);
    if (!m->recalls[at].used)
        return;
    m->recalls[at].used = false;
    ph_cache_recall(m->cache, model_id(m->recalls[at].object), m->recalls[at].lease, 0);
}

/* The connection breaks, or comes back. */
static void reconnect(struct model *m)
{
    if (m->connected) {
        ph_cache_lost(m->cache);
        kernel_lost(m);
        server_connection_lost(m);
    } else {
        ph_cache_session(m->cache, ++m->generation, MODEL_TTL_MS, true, m->watched);
    }
    m->connected = !m->connected;
}

static void at_server(struct model *m)
{
    struct call *call = m->connected ? pick_call(m, SENT) : NULL;
    if (call)
        server_execute(m, call);
}

static void answer(struct model *m)
{
    struct call *call = m->connected ? pick_call(m, EXECUTED) : NULL;
    if (call)
        server_answer(m, call);
}

static void pass_time(struct model *m)
{
    m->server_ms += (uint64_t) model_pick(m, ph_random_chance(&m->random, 20) ? 3000 : 30);
    ph_cache_release_some(m->cache, 1);
}

static void others(struct model *m)
{
    if (!m->watched && ph_random_chance(&m->random, 200))
        server_behind(m);
    else
        server_others(m);
}

static void look(struct model *m)
{
    if (ph_random_chance(&m->random, 500))
        kernel_lookup(m, model_pick(m, DIRS), model_pick(m, NAMES));
    else if (ph_random_chance(&m->random, 300))
        kernel_list(m, model_pick(m, DIRS));
    else
        kernel_getattr(m, model_pick(m, OBJECTS));
}

static void written(struct model *m)
{
    struct writing *writing = &m->kernel.writings[model_pick(m, WRITINGS)];
    if (writing->used)
        kernel_written(m, writing);
}

static void forget(struct model *m)
{
    kernel_forget(m, model_pick(m, OBJECTS));
}

/* What may happen next, and how often at least and at most (drawn for each seed). */
static const struct {
    void (*happen)(struct model *m);
    int least, most;
} happenings[] = {
    {ask, 10, 60},       {deliver, 5, 60},  {at_server, 10, 60}, {answer, 5, 60},
    {recalled, 20, 200}, {work, 5, 60},     {drop, 10, 100},     {others, 2, 40},
    {look, 40, 120},     {written, 10, 80}, {pass_time, 5, 30},  {forget, 0, 4},
};

static void draw_weights(struct model *m)
{
    for (size_t i = 0; i < G_N_ELEMENTS(happenings); i++) {
        int span = happenings[i].most - happenings[i].least;
        /* One in four is starved: it happens as rarely as it may. */
        int extra = ph_random_chance(&m->random, 250) ? 0 : model_pick(m, span + 1);
        m->weight[i] = (uint64_t) (happenings[i].least + extra);
        m->weights += m->weight[i];
    }
}

static void step(struct model *m)
{
    uint64_t at = ph_random_below(&m->random, m->weights);
    size_t i = 0;
    while (at >= m->weight[i])
        at -= m->weight[i++];
    if (ph_random_chance(&m->random, m->connected ? 3 : 100))
        reconnect(m);
    else if (m->connected || i > 3)
        happenings[i].happen(m);
    kernel_check(m);
}

static void run(uint64_t seed, bool watched, uint64_t *answers, uint64_t *listings)
{
    struct model *m = g_new0(struct model, 1);
    ph_random_seed(&m->random, seed);
    m->watched = watched;
    m->server_ms = 100000;
    bool tight = ph_random_chance(&m->random, 300);
    m->cache = ph_cache_new(tight ? 4 : 1000, tight ? 3 : 1000);
    server_init(m);
    draw_weights(m);
    m->changes_per_mille = (unsigned) model_pick(m, 300);
    reconnect(m);
    for (int dir = 0; dir < DIRS; dir++) {
        m->kernel.refs[dir] = 1;
        ph_cache_kernel_add(m->cache, model_id(dir), 1);
    }
    for (int i = 0; i < STEPS; i++)
        step(m);
    *answers += m->answers;
    *listings += m->listings;
    ph_cache_free(m->cache);
    g_free(m);
}

static void run_many(bool watched)
{
    const char *wanted = g_getenv("PH_CACHE_SEEDS"), *only = g_getenv("PH_CACHE_SEED");
    uint64_t seeds = wanted ? strtoull(wanted, NULL, 10) : SEEDS;
    uint64_t answers = 0, listings = 0;
    if (only) {
        run(strtoull(only, NULL, 10), watched, &answers, &listings);
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        if (g_test_verbose())
            g_test_message("seed %" G_GUINT64_FORMAT, seed);
        run(seed, watched, &answers, &listings);
    }
    g_test_message("%" G_GUINT64_FORMAT " answers from the cache, %" G_GUINT64_FORMAT " of them listings",
                   answers, listings);
    g_assert_cmpuint(listings, >, seeds / 10);
    g_assert_cmpuint(answers, >, seeds * 10); /* it does cache */
}

static void test_watched(void)
{
    run_many(true);
}

static void test_unwatched(void)
{
    run_many(false);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cache-model/answers-are-what-the-server-has", test_watched);
    g_test_add_func("/cache-model/unwatched-answers-are-no-older-than-a-second", test_unwatched);
    return g_test_run();
}
