/* The link in words, for pohmelctl. */
#include <inttypes.h>
#include <string.h>

#include "client/link_private.h"
#include "runtime/wire/command.h"

static void add(GString *text, const char *key, uint64_t value)
{
    g_string_append_printf(text, "%s: %" PRIu64 "\n", key, value);
}

static void add_session(GString *text, struct ph_link *link)
{
    const struct ph_client_opened *opened = ph_client_opened(link->core);
    g_string_append_printf(text, "server: %s\n", link->info.server_name);
    g_string_append_printf(text, "session: %s\n", ph_client_is_open(link->core) ? "open" : "lost");
    if (!ph_client_is_open(link->core))
        g_string_append_printf(text, "trouble: %s\n", ph_client_last_trouble(link->core));
    g_string_append(text, "volume: ");
    for (size_t i = 0; i < sizeof(opened->volume); i++)
        g_string_append_printf(text, "%02x", opened->volume[i]);
    g_string_append_c(text, '\n');
    g_string_append_printf(
        text, "export: %s%s%s%s\n", opened->read_only ? "read-only" : "read-write",
        opened->xattrs ? ", extended attributes" : "", opened->acls ? ", access lists" : "",
        opened->acts_as_caller ? ", acts as the caller" : ", everything belongs to one user");
    add(text, "sessions-opened", opened->generation);
    add(text, "sessions-resumed", ph_client_counters(link->core)->resumes);
    add(text, "sessions-recovered", ph_client_counters(link->core)->recoveries);
    add(text, "handles-lost", ph_client_counters(link->core)->not_reopened);
    add(text, "server-epoch", opened->epoch);
}

/* What was sent, by command: "commands-lookup". Those that were never sent are left out. */
static void add_sent(GString *text, const struct ph_client_counters *counters)
{
    for (uint16_t kind = 0; kind < PH_CLIENT_KINDS; kind++) {
        const struct ph_command_info *info = counters->sent[kind] > 0 ? ph_command_info(kind) : NULL;
        if (info == NULL)
            continue;
        g_autofree char *name = g_ascii_strdown(info->name, -1);
        g_strdelimit(name, "_", '-');
        g_string_append_printf(text, "commands-%s: %" PRIu64 "\n", name, counters->sent[kind]);
    }
}

static void add_flow(GString *text, struct ph_link *link)
{
    const struct ph_client_opened *opened = ph_client_opened(link->core);
    const struct ph_client_counters *counters = ph_client_counters(link->core);
    add(text, "requests-in-flight", ph_client_in_flight(link->core));
    add(text, "requests-in-flight-peak", counters->in_flight_peak);
    add(text, "requests-queued", ph_client_queued(link->core));
    add(text, "requests-queued-peak", counters->queued_peak);
    g_string_append_printf(text, "credits: %u of %u free\n", ph_client_credits_free(link->core),
                           opened->credits);
    add(text, "slots", opened->slots);
    add(text, "object-ids-left", ph_client_ids_left(link->core));
    add(text, "requests", counters->requests);
    add(text, "transactions", counters->transactions);
    add(text, "replies", counters->replies);
    add(text, "failures", counters->failures);
    add(text, "cancelled", counters->cancels);
    add(text, "path-walks", counters->walks);
    add_sent(text, counters);
    add(text, "payload-sent-bytes", counters->payload_out_bytes);
    add(text, "payload-received-bytes", counters->payload_in_bytes);
}

bool ph_link_path(struct ph_link *link, uint64_t object, uint64_t above, char *out, size_t size, bool *below)
{
    uint64_t at = object;
    size_t start = size - 1; /* the path is written from its end */
    bool whole = true;
    *below = above == 0 || object == above;
    out[size - 1] = '\0';
    pthread_mutex_lock(&link->hints_mutex);
    for (unsigned depth = 0; whole && at != link->info.root; depth++) {
        struct ph_hint_step step;
        whole =
            depth < PH_HINT_DEPTH_MAX && ph_hints_place(link->hints, at, &at, &step) && start >= step.len + 1;
        if (whole) {
            start -= step.len;
            memcpy(out + start, step.name, step.len);
            out[--start] = '/';
            *below = *below || at == above;
        }
    }
    pthread_mutex_unlock(&link->hints_mutex);
    if (whole && object == link->info.root)
        out[--start] = '/';
    memmove(out, out + start, size - start);
    if (!whole)
        out[0] = '\0';
    return whole;
}

char *ph_link_status_text(struct ph_link *link)
{
    GString *text = g_string_new(NULL);
    pthread_mutex_lock(&link->mutex);
    add_session(text, link);
    add_flow(text, link);
    pthread_mutex_unlock(&link->mutex);
    pthread_mutex_lock(&link->hints_mutex);
    add(text, "paths-remembered", ph_hints_count(link->hints));
    pthread_mutex_unlock(&link->hints_mutex);
    return g_string_free(text, FALSE);
}
