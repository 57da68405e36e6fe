#include "client/core/tests/wb_power.h"

enum { PLENTY = 1 << 20 };

void wb_power_begin(struct wb_steps *steps, uint64_t owned_limit_bytes)
{
    wb_steps_begin_owned(steps, PLENTY, owned_limit_bytes);
    ph_wb_server(steps->world.wb, 1, 1);
}

/* The server's machine lost power, and everything that it had. */
void wb_power_lose(struct wb_steps *steps)
{
    wb_world_lose(&steps->world);
    wb_model_free(steps->world.server);
    steps->world.server = wb_model_new(true, NULL);
    steps->world.server->now = steps->world.now.real;
    g_string_truncate(steps->history, 0);
}

void wb_power_back(struct wb_steps *steps, uint64_t epoch, uint64_t unbroken)
{
    ph_wb_server(steps->world.wb, epoch, unbroken);
    wb_world_open(&steps->world);
}

void wb_assert_text(const struct wb_steps *steps, uint64_t id, const char *text)
{
    g_assert_nonnull(wb_model_node(steps->world.server, id));
    g_autofree char *found = wb_steps_text(steps, id);
    g_assert_cmpstr(found, ==, text);
}

bool wb_has_name(const struct wb_steps *steps, uint64_t directory, const char *name)
{
    return g_hash_table_contains(wb_model_node(steps->world.server, directory)->names, name);
}

uint64_t wb_unstable_bytes(const struct wb_steps *steps)
{
    struct ph_wb_counters counters;
    ph_wb_count(steps->world.wb, steps->world.now.ms, &counters);
    return counters.unstable_bytes;
}
