/* The server of the model: keeps the rules, and others change things at it. */
#include <glib.h>

#include "client/core/tests/cache_model.h"

enum { FIRST_ID = 100 };

uint64_t model_id(int object)
{
    return object == NOBODY ? 0 : (uint64_t) object + FIRST_ID;
}

int model_index(uint64_t id)
{
    return id ? (int) (id - FIRST_ID) : NOBODY;
}

uint64_t model_client_ms(const struct model *m)
{
    return m->server_ms * PH_LEASE_RATE_PER_MILLE / 1000;
}

int model_pick(struct model *m, int bound)
{
    return (int) ph_random_below(&m->random, (uint64_t) bound);
}

void truth_set(struct truth *truth, uint64_t value, uint64_t now_ms)
{
    truth->past[truth->pasts % PASTS].value = truth->value;
    truth->past[truth->pasts++ % PASTS].until_ms = now_ms;
    truth->value = value;
}

static void touch(struct model *m, int object)
{
    struct server *s = &m->server;
    if (object == NOBODY)
        return;
    s->changed[object] = ++s->clock;
    truth_set(&s->attr[object], ++s->next_version, m->server_ms);
}

static void set_name(struct model *m, int dir, int name, uint64_t id)
{
    touch(m, dir);
    touch(m, model_index(m->server.name[dir][name].value));
    touch(m, model_index(id));
    truth_set(&m->server.name[dir][name], id, m->server_ms);
}

void server_init(struct model *m)
{
    m->server.open = true;
    for (int object = 0; object < OBJECTS; object++)
        touch(m, object);
    for (int dir = 0; dir < DIRS; dir++) {
        for (int name = 0; name < NAMES; name += 1 + model_pick(m, 2))
            set_name(m, dir, name, model_id(DIRS + model_pick(m, OBJECTS - DIRS)));
    }
}

void model_affects(struct model *m, struct call *call, int object)
{
    for (int i = 0; i < (int) G_N_ELEMENTS(call->affected) && object != NOBODY; i++) {
        if (call->affected[i] == object)
            return;
        if (call->affected[i] == NOBODY) {
            call->affected[i] = object;
            m->attr_running[object]++;
            return;
        }
    }
}

static struct said say(struct model *m, int object)
{
    struct said said = {.object = object};
    if (object != NOBODY)
        said.version = m->server.attr[object].value;
    return said;
}

static void execute_change(struct model *m, struct call *call)
{
    struct server *s = &m->server;
    uint64_t moved = call->kind == SETATTR ? 0 : s->name[call->dir][call->name].value;
    call->failed = call->kind != SETATTR && (moved != 0) == (call->kind == LINK);
    if (call->failed)
        return;
    model_affects(m, call, model_index(moved));
    if (call->kind == RENAME)
        model_affects(m, call, model_index(s->name[call->dir2][call->name2].value));
    if (call->kind == SETATTR)
        touch(m, call->object);
    else if (call->kind == LINK)
        set_name(m, call->dir, call->name, model_id(call->object));
    else
        set_name(m, call->dir, call->name, 0);
    if (call->kind == RENAME) {
        set_name(m, call->dir2, call->name2, moved);
    }
}

static void release(struct model *m, const struct call *call)
{
    for (size_t i = 0; i < call->id_count; i++) {
        for (int object = 0; object < OBJECTS; object++) {
            if (m->server.lease[object] == call->ids[i])
                m->server.lease[object] = 0;
        }
    }
}

static void read_names(struct model *m, struct call *call, int first, int count)
{
    call->dir_said = say(m, call->dir);
    for (int i = 0; i < count; i++) {
        call->entry[i] = m->server.name[call->dir][first + i].value;
        call->said[i] = say(m, model_index(call->entry[i]));
    }
}

void server_execute(struct model *m, struct call *call)
{
    struct server *s = &m->server;
    if (!s->open)
        return;
    call->dir_said.object = NOBODY;
    for (int i = 0; i < NAMES; i++)
        call->said[i].object = NOBODY;
    if (call->kind == RELEASE)
        release(m, call);
    else if (call->kind >= SETATTR)
        execute_change(m, call);
    call->since = s->clock;
    if (call->kind == GETATTR || (!call->failed && (call->kind == SETATTR || call->kind == LINK)))
        call->said[0] = say(m, call->object);
    else if (call->kind == LOOKUP)
        read_names(m, call, call->name, 1);
    else if (call->kind == LIST)
        read_names(m, call, call->part * NAMES / 2, NAMES / 2);
    call->state = EXECUTED;
}

static bool wanted_by_others(const struct model *m, int object)
{
    for (int i = 0; i < OTHERS; i++) {
        const struct other *other = &m->server.others[i];
        if (!other->active)
            continue;
        if (other->object == object)
            return true;
        if (other->name_op &&
            (other->dir == object || model_index(m->server.name[other->dir][other->name].value) == object))
            return true;
    }
    return false;
}

/* A lease goes with what nobody changed since it was read, and nobody is about to. */
static void grant(struct model *m, struct said *said, uint64_t since)
{
    struct server *s = &m->server;
    if (said->object == NOBODY || s->changed[said->object] > since)
        return;
    if (s->lease[said->object] == 0 && !wanted_by_others(m, said->object)) {
        s->lease[said->object] = PH_LEASE_OWN_MAX + ++s->next_lease;
        s->recalled[said->object] = false;
    }
    said->lease = s->lease[said->object];
}

void server_answer(struct model *m, struct call *call)
{
    if (!m->server.open)
        return;
    grant(m, &call->dir_said, call->since);
    for (int i = 0; i < NAMES; i++)
        grant(m, &call->said[i], call->since);
    m->server.last_answer_ms = m->server_ms;
    call->state = ANSWERED;
}

static void recall(struct model *m, int object)
{
    struct server *s = &m->server;
    if (s->recalled[object] && !ph_random_chance(&m->random, 50))
        return;
    for (int i = 0; i < RECALLS; i++) {
        if (m->recalls[i].used)
            continue;
        m->recalls[i].used = s->recalled[object] = true;
        m->recalls[i].object = object;
        m->recalls[i].lease = s->lease[object];
        return;
    }
}

/* Whether what OTHER wants is free; else it is recalled, or who holds it fenced. */
static bool is_free(struct model *m, struct other *other)
{
    struct server *s = &m->server;
    bool free = true;
    for (int object = 0; object < OBJECTS; object++) {
        if (!s->lease[object] || !wanted_by_others(m, object))
            continue;
        if (m->server_ms > s->last_answer_ms + MODEL_TTL_MS) {
            memset(s->lease, 0, sizeof(s->lease));
            s->open = false;
            return true;
        }
        free = false;
        recall(m, object);
    }
    return free;
}

static void apply(struct model *m, const struct other *other)
{
    if (other->name_op)
        set_name(m, other->dir, other->name, model_id(other->object));
    else
        touch(m, other->object);
}

static struct other draw(struct model *m)
{
    return (struct other){.active = true,
                          .name_op = ph_random_chance(&m->random, 500),
                          .dir = model_pick(m, DIRS),
                          .name = model_pick(m, NAMES),
                          .object = DIRS + model_pick(m, OBJECTS - DIRS)};
}

void server_others(struct model *m)
{
    struct other *other = &m->server.others[model_pick(m, OTHERS)];
    if (!other->active) {
        if (!ph_random_chance(&m->random, 60))
            return;
        *other = draw(m);
        if (other->name_op && ph_random_chance(&m->random, 400))
            other->object = NOBODY;
        else if (!other->name_op && ph_random_chance(&m->random, 300))
            other->object = model_pick(m, DIRS);
    }
    if (!is_free(m, other))
        return;
    apply(m, other);
    other->active = false;
}

void server_behind(struct model *m)
{
    struct other other = draw(m);
    apply(m, &other);
}

void server_connection_lost(struct model *m)
{
    struct server *s = &m->server;
    bool resumed = s->open && ph_random_chance(&m->random, 500);
    if (!resumed)
        memset(s->lease, 0, sizeof(s->lease));
    memset(s->recalled, 0, sizeof(s->recalled));
    memset(m->recalls, 0, sizeof(m->recalls));
    s->open = true;
    s->last_answer_ms = m->server_ms;
    for (int i = 0; i < CALLS; i++) {
        struct call *call = &m->calls[i];
        if (call->state == FREE || call->state == SENT)
            continue;                                         /* a release may linger on its way, too */
        call->state = call->kind < SETATTR ? SENT : ANSWERED; /* changes get their recorded answer */
    }
}
