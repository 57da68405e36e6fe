/* What is to happen, in order of time; chance; broken promises. */
#include <stdarg.h>

#include "conformance/sim/world.h"

struct sim_event {
    uint64_t at_us, serial;
    sim_event_fn fn;
    void *data;
    GDestroyNotify free_data;
    struct sim_client *client; /* to whom it happens, or NULL */
};

GArray *sim_events_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(struct sim_event));
}

static struct sim_event *event_at(struct world *world, guint index)
{
    return &g_array_index(world->events, struct sim_event, index);
}

/* Two events at the same moment happen in the order in which they were planned. */
static gboolean before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->serial < b->serial;
}

static void swap(struct world *world, guint a, guint b)
{
    struct sim_event keep = *event_at(world, a);
    *event_at(world, a) = *event_at(world, b);
    *event_at(world, b) = keep;
}

static void plan(struct world *world, struct sim_event event, uint64_t at_us)
{
    event.at_us = at_us;
    event.serial = world->next_serial++;
    g_array_append_val(world->events, event);
    for (guint at = world->events->len - 1; at > 0; at = (at - 1) / 2) {
        if (!before(event_at(world, at), event_at(world, (at - 1) / 2)))
            break;
        swap(world, at, (at - 1) / 2);
    }
}

void sim_after(struct world *world, uint64_t delay_us, sim_event_fn fn, void *data, GDestroyNotify free_data)
{
    struct sim_event event = {.fn = fn, .data = data, .free_data = free_data};
    plan(world, event, world->now_us + delay_us);
}

void sim_after_at(struct sim_client *client, uint64_t delay_us, sim_event_fn fn, void *data,
                  GDestroyNotify free_data)
{
    struct sim_event event = {.fn = fn, .data = data, .free_data = free_data, .client = client};
    plan(client->world, event, client->world->now_us + delay_us);
}

static struct sim_event take_first(struct world *world)
{
    struct sim_event first = *event_at(world, 0);
    guint last = world->events->len - 1;
    swap(world, 0, last);
    g_array_set_size(world->events, last);
    for (guint at = 0;;) {
        guint least = at;
        for (guint child = 2 * at + 1; child <= 2 * at + 2 && child < last; child++) {
            if (before(event_at(world, child), event_at(world, least)))
                least = child;
        }
        if (least == at)
            return first;
        swap(world, at, least);
        at = least;
    }
}

uint64_t sim_next_us(const struct world *world)
{
    return world->events->len > 0 ? g_array_index(world->events, struct sim_event, 0).at_us : UINT64_MAX;
}

gboolean sim_step(struct world *world)
{
    if (world->events->len == 0)
        return FALSE;
    struct sim_event event = take_first(world);
    world->now_us = event.at_us;
    if (event.client && event.client->dead) {
        if (event.free_data)
            event.free_data(event.data);
        return TRUE;
    }
    if (event.client && world->now_us < event.client->paused_until_us) {
        plan(world, event, event.client->paused_until_us);
        return TRUE;
    }
    world->result->events++;
    event.fn(world, event.data);
    return TRUE;
}

void sim_drop_events(struct world *world)
{
    for (guint i = 0; i < world->events->len; i++) {
        struct sim_event *event = event_at(world, i);
        if (event->free_data)
            event->free_data(event->data);
    }
    g_array_set_size(world->events, 0);
}

uint64_t sim_below(struct world *world, uint64_t bound)
{
    return ph_random_below(&world->random, bound);
}

gboolean sim_chance(struct world *world, unsigned per_mille)
{
    return ph_random_chance(&world->random, per_mille);
}

void sim_violate(struct world *world, const char *format, ...)
{
    if (world->result->violation)
        return;
    va_list arguments;
    va_start(arguments, format);
    world->result->violation = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    sim_trace_line(&world->result->trace, world->now_us, "world", "BROKEN: %s", world->result->violation);
}
