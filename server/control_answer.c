#include "server/control_answer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/control_socket.h"
#include "runtime/base/limits.h"
#include "server/core/look.h"
#include "server/store/posix.h"

enum {
    SESSIONS_MORE = 16,  /* sessions that may come while they are counted */
    LEASES_AT_ONCE = 64, /* with the core's guard */
    SWEEP_PAUSE_MS = 10, /* between two looks at what has come back */
    ROUNDS_MAX = 100,    /* directories that were made in each other and not written back */
};

/* ---- Text ---- */

/* LEN bytes as a JSON string, quotes included; bytes that are not ASCII stay where they are UTF-8, else they
 * become lone surrogates. */
static void add_string(GString *out, const char *text)
{
    g_string_append_c(out, '"');
    while (*text != '\0') {
        gunichar c = g_utf8_get_char_validated(text, -1);
        bool good = c != (gunichar) -1 && c != (gunichar) -2;

        if (!good)
            g_string_append_printf(out, "\\udc%02x", (unsigned) (guchar) *text);
        else if (c < 0x20 || c == 0x7f || c == '"' || c == '\\')
            g_string_append_printf(out, "\\u%04x", (unsigned) c);
        else
            g_string_append_unichar(out, c);
        text = good ? g_utf8_next_char(text) : text + 1;
    }
    g_string_append_c(out, '"');
}

/* For a terminal: nothing that it would act upon. */
static void add_shown(GString *out, const char *text)
{
    while (*text != '\0') {
        gunichar c = g_utf8_get_char_validated(text, -1);
        bool good = c != (gunichar) -1 && c != (gunichar) -2 && g_unichar_isprint(c) && c != '\\';

        if (good)
            g_string_append_unichar(out, c);
        else
            g_string_append_printf(out, "\\%03o", (unsigned) (guchar) *text);
        text = good ? g_utf8_next_char(text) : text + 1;
    }
}

static bool send_text(struct ph_control_client *client, GString *out)
{
    bool sent = out->len == 0 || client->send(client->data, out->str, out->len);

    g_string_truncate(out, 0);
    return sent;
}

static const char *truth(bool is)
{
    return is ? "true" : "false";
}

/* ---- Sessions ---- */

static void add_session(GString *out, const struct ph_session_view *view, bool json)
{
    g_string_append_c(out, PH_CONTROL_LINE);
    if (json) {
        g_string_append(out, "{\"session\": ");
        add_string(out, view->who);
        g_string_append_printf(out,
                               ", \"number\": %" G_GUINT64_FORMAT
                               ", \"connected\": %s, \"caches\": %s, \"read-only\": %s, \"leases\": %zu, "
                               "\"recalled\": %zu, \"commands\": %zu, \"credits\": %u}\n",
                               view->number, truth(!view->away), truth(view->caches), truth(view->read_only),
                               view->leases, view->recalled, view->running, view->credits);
        return;
    }
    g_string_append(out, "session ");
    add_shown(out, view->who);
    g_string_append_printf(
        out,
        ": number %" G_GUINT64_FORMAT "%s%s%s, %zu leases, %zu of them recalled, %zu commands "
        "under way\n",
        view->number, view->away ? ", connection lost" : "", view->caches ? "" : ", does not cache",
        view->read_only ? ", read-only" : "", view->leases, view->recalled, view->running);
}

static void add_left(GString *out, const struct ph_lease_left *left, bool json)
{
    g_string_append_c(out, PH_CONTROL_LINE);
    if (json) {
        g_string_append(out, "{\"session\": ");
        add_string(out, left->who);
        g_string_append_printf(
            out, ", \"connected\": false, \"lost-ms\": %" G_GUINT64_FORMAT ", \"leases\": %zu}\n",
            left->lost_ms, left->leases);
        return;
    }
    g_string_append(out, "gone ");
    add_shown(out, left->who);
    g_string_append_printf(out, ": left %zu leases behind %.1f s ago\n", left->leases,
                           (double) left->lost_ms / 1000);
}

static void add_grace(GString *out, size_t awaited, bool json)
{
    if (awaited == 0)
        return;
    g_string_append_c(out, PH_CONTROL_LINE);
    if (json)
        g_string_append_printf(out, "{\"grace\": true, \"awaited\": %zu}\n", awaited);
    else
        g_string_append_printf(out,
                               "grace: started a moment ago; %zu sessions of before may still come back, "
                               "others wait for them\n",
                               awaited);
}

static void add_sessions(struct ph_control_client *client, GString *out, bool json)
{
    struct ph_server *core = client->all->core;
    size_t max = ph_server_look_sessions(core, client->export_index, NULL, 0) + SESSIONS_MORE;
    g_autofree struct ph_session_view *views = g_new0(struct ph_session_view, max);
    size_t count = ph_server_look_sessions(core, client->export_index, views, max);
    size_t max_left = ph_server_look_left(core, client->export_index, NULL, 0) + SESSIONS_MORE;
    g_autofree struct ph_lease_left *left = g_new0(struct ph_lease_left, max_left);
    size_t count_left = ph_server_look_left(core, client->export_index, left, max_left);

    add_grace(out, ph_server_look_grace(core), json);
    for (size_t i = 0; i < MIN(count, max); i++)
        add_session(out, &views[i], json);
    for (size_t i = 0; i < MIN(count_left, max_left); i++)
        add_left(out, &left[i], json);
}

/* ---- Leases ---- */

static const char *mode_name(const struct ph_lease_view *view)
{
    return view->mode == PH_LEASE_EXCLUSIVE ? "exclusive" : "shared";
}

static const char *state_name(const struct ph_lease_view *view)
{
    if (view->lost)
        return "left";
    return view->recalled ? "recalled" : "held";
}

static void add_lease(GString *out, const struct ph_lease_view *view, const char *path, bool json)
{
    g_string_append_c(out, PH_CONTROL_LINE);
    if (json) {
        g_string_append_printf(out,
                               "{\"object\": %" G_GUINT64_FORMAT ", \"lease\": %" G_GUINT64_FORMAT
                               ", \"mode\": \"%s\", \"state\": \"%s\", ",
                               view->object, view->id, mode_name(view), state_name(view));
        if (view->recalled)
            g_string_append_printf(out, "\"recalled-ms\": %" G_GUINT64_FORMAT ", ", view->recalled_ms);
        g_string_append(out, "\"holder\": ");
        add_string(out, view->who);
        if (path[0] != '\0') {
            g_string_append(out, ", \"path\": ");
            add_string(out, path);
        }
        g_string_append(out, "}\n");
        return;
    }
    g_string_append_printf(out, "%-20" G_GUINT64_FORMAT " %-9s %-8s ", view->object, mode_name(view),
                           state_name(view));
    add_shown(out, view->who);
    g_string_append_c(out, ' ');
    add_shown(out, path[0] != '\0' ? path : "-");
    g_string_append_c(out, '\n');
}

static bool send_leases(struct ph_control_client *client, GString *out, bool json)
{
    g_autofree struct ph_lease_view *views = g_new(struct ph_lease_view, LEASES_AT_ONCE);
    g_autofree char *path = g_malloc(PATH_MAX);
    struct ph_table_cursor cursor = {0};

    if (!json)
        g_string_append_printf(out, "%c%-20s %-9s %-8s %s %s\n", PH_CONTROL_LINE, "OBJECT", "MODE", "STATE",
                               "HOLDER", "PATH");
    while (!cursor.end) {
        size_t count =
            ph_server_look_leases(client->all->core, client->export_index, &cursor, views, LEASES_AT_ONCE);

        for (size_t i = 0; i < count; i++) {
            ph_posix_path(client->store, views[i].object, path, PATH_MAX);
            add_lease(out, &views[i], path, json);
        }
        if (!send_text(client, out))
            return false;
    }
    return true;
}

/* ---- Flushing ---- */

/* One look at all leases. False when the client is gone. */
static bool sweep_once(struct ph_control_client *client, uint64_t newest, struct ph_lease_sweep *sweep)
{
    *sweep = (struct ph_lease_sweep){0};
    while (!sweep->cursor.end) {
        struct ph_actions actions = {0};

        ph_server_sweep(client->all->core, client->export_index, newest, sweep, &actions);
        ph_perform(client->all, &actions, TRUE);
    }
    return sweep->waiting == 0 || client->pause(client->data, SWEEP_PAUSE_MS);
}

static bool sync_export(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && syncfs(fd) == 0;
    int error = errno;

    if (fd >= 0)
        close(fd);
    errno = error;
    return synced;
}

/* Waits until all exclusive leases that there are now have been given back. *ASKED: for how many that had to
 * be asked. False when the client is gone. */
static bool call_in(struct ph_control_client *client, struct ph_lease_sweep *sweep, size_t *asked)
{
    uint64_t newest = ph_server_newest_lease(client->all->core, client->export_index);

    *asked = 0;
    do {
        if (!sweep_once(client, newest, sweep))
            return false;
        *asked = MAX(*asked, sweep->waiting);
    } while (sweep->waiting > 0);
    return true;
}

/* Whoever holds an exclusive lease may have changes that are not here. Giving back that on a directory brings
 * the new ones in it, each with a lease of its own and what is in there still to come: so there are as many
 * rounds as directories were made in each other. It would have no end where somebody goes on working, hence
 * the limit. */
static bool flush(struct ph_control_client *client, GString *out, bool verbose)
{
    struct ph_lease_sweep sweep;
    size_t asked = 0, total = 0;

    for (unsigned round = 0; round < ROUNDS_MAX && (round == 0 || asked > 0); round++) {
        if (!call_in(client, &sweep, &asked))
            return false;
        total += asked;
    }
    if (!sync_export(client->directory))
        g_string_append_printf(out, "%ccannot make %s stable: %s\n", PH_CONTROL_TROUBLE, client->directory,
                               g_strerror(errno));
    if (sweep.lost > 0)
        g_string_append_printf(out,
                               "%c%zu leases are held by clients that are not connected; what these have not "
                               "written back is not here\n",
                               PH_CONTROL_TROUBLE, sweep.lost);
    if (verbose)
        g_string_append_printf(out, "%cflushed; clients were asked for %zu leases\n", PH_CONTROL_LINE, total);
    return true;
}

/* ---- Commands ---- */

void ph_control_answer(struct ph_control_client *client, const char *command)
{
    g_auto(GStrv) words = g_strsplit(command, " ", 2);
    const char *verb = words[0] != NULL ? words[0] : "";
    bool json = verb[0] != '\0' && g_strcmp0(words[1], "json") == 0;
    g_autoptr(GString) out = g_string_new(NULL);
    bool whole = true;

    if (strcmp(verb, "sessions") == 0) {
        add_sessions(client, out, json);
    } else if (strcmp(verb, "leases") == 0) {
        add_sessions(client, out, json);
        whole = send_leases(client, out, json);
    } else if (strcmp(verb, "flush") == 0) {
        whole = flush(client, out, g_strcmp0(words[1], "verbose") == 0);
    } else {
        g_string_append_printf(out, "%cthis server knows sessions, leases and flush only\n",
                               PH_CONTROL_TROUBLE);
    }
    if (!whole)
        return;
    g_string_append_printf(out, "%c\n", PH_CONTROL_END);
    send_text(client, out);
}
