/* pohmelctl top: what mounts are doing, again and again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/ask.h"
#include "client/ctl/commands.h"
#include "client/ctl/mounts.h"
#include "client/ctl/sample.h"

#define CURSOR_HOME "\033[H"
#define CLEAR_ALL "\033[2J"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\033[J"

enum { DELAY_S_MAX = 3600, CLOCK_BYTES = 32 };
#define DELAY_S_DEFAULT 2.0

/* One that is shown. */
struct watched {
    char *path, *heading;
    struct ctl_sample samples[2]; /* before, now */
};

struct top {
    GPtrArray *mounts; /* struct watched */
    gboolean all;      /* the table of mounts is looked at again each time */
    gboolean terminal;
    gboolean failed; /* a mount could not be asked, the last time */
};

static void watched_free(void *data)
{
    struct watched *watched = data;
    ctl_sample_clear(&watched->samples[0]);
    ctl_sample_clear(&watched->samples[1]);
    g_free(watched->path);
    g_free(watched->heading);
    g_free(watched);
}

static struct watched *find(const struct top *top, const char *path)
{
    for (guint i = 0; i < top->mounts->len; i++) {
        struct watched *watched = top->mounts->pdata[i];
        if (g_str_equal(watched->path, path))
            return watched;
    }
    return NULL;
}

static struct watched *watched_new(const char *path, char *heading)
{
    struct watched *watched = g_new0(struct watched, 1);
    watched->path = g_strdup(path);
    watched->heading = heading;
    return watched;
}

/* Mounts come and go. */
static void look_for_mounts(struct top *top)
{
    g_autoptr(GPtrArray) table = ph_mounts_read(NULL);
    GPtrArray *mounts = g_ptr_array_new_with_free_func(watched_free);
    for (guint i = 0; table && i < table->len; i++) {
        const struct ph_mount_entry *entry = table->pdata[i];
        struct watched *known = find(top, entry->path);
        if (!ph_mount_is_pohmel(entry))
            continue;
        guint index = 0;
        if (known && g_ptr_array_find(top->mounts, known, &index))
            g_ptr_array_steal_index(top->mounts, index);
        else
            known = watched_new(entry->path, g_strdup_printf("%s on %s", entry->source, entry->path));
        g_ptr_array_add(mounts, known);
    }
    g_ptr_array_unref(top->mounts);
    top->mounts = mounts;
}

static guint columns_of(const struct top *top)
{
    struct winsize size;
    return top->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void show_one(struct top *top, struct watched *watched, GString *out)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    struct ctl_sample *before = &watched->samples[0], *now = &watched->samples[1];
    if (!ctl_ask_status(watched->path, text, &error)) {
        top->failed = TRUE;
        g_string_append_printf(out, "%s\n", error->message);
        return;
    }
    ctl_sample_clear(before);
    *before = *now;
    *now = (struct ctl_sample){0};
    ctl_sample_take(now, text->str, g_get_monotonic_time());
    ctl_sample_block(out, watched->heading, before, now, columns_of(top));
}

/* Each line over the one that was there: nothing flickers. */
static void draw(const struct top *top, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    if (!top->terminal) {
        fputs(text, stdout);
        putchar('\n');
    } else {
        fputs(CURSOR_HOME, stdout);
        for (char **line = lines; *line; line++)
            printf("%s" CLEAR_LINE "%s", *line, line[1] ? "\n" : "");
        fputs(CLEAR_BELOW, stdout);
    }
    fflush(stdout);
}

static void show(struct top *top)
{
    char clock[CLOCK_BYTES] = "";
    time_t now = time(NULL);
    struct tm local;
    g_autoptr(GString) out = g_string_new(NULL);
    if (top->all)
        look_for_mounts(top);
    top->failed = FALSE;
    if (localtime_r(&now, &local))
        strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", &local);
    g_string_append_printf(out, "%s\n", clock);
    for (guint i = 0; i < top->mounts->len; i++)
        show_one(top, top->mounts->pdata[i], out);
    if (top->mounts->len == 0)
        g_string_append(out, "nothing is mounted\n");
    draw(top, out->str);
}

static gboolean parse_delay(const char *text, double *delay_s)
{
    char *end;
    *delay_s = g_ascii_strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*delay_s) && *delay_s > 0 && *delay_s <= DELAY_S_MAX;
}

/* 0: for ever. */
static int run(struct top *top, double delay_s, guint64 count)
{
    top->terminal = isatty(STDOUT_FILENO);
    if (top->terminal)
        fputs(CLEAR_ALL, stdout);
    for (guint64 i = 0; count == 0 || i < count; i++) {
        if (i > 0)
            g_usleep((gulong) (delay_s * G_USEC_PER_SEC));
        show(top);
        if (ferror(stdout))
            return CTL_FAILED; /* nobody reads it any more */
    }
    return top->failed ? CTL_FAILED : CTL_OK;
}

int ctl_top(int argc, char **argv)
{
    double delay_s = DELAY_S_DEFAULT;
    guint64 count = 0;
    struct top top = {.mounts = g_ptr_array_new_with_free_func(watched_free)};
    for (int option; (option = getopt(argc, argv, "d:n:")) != -1;) {
        gboolean good = option == 'd' ? parse_delay(optarg, &delay_s)
                                      : option == 'n' && g_ascii_string_to_unsigned(optarg, 10, 1, G_MAXINT64,
                                                                                    &count, NULL);
        if (!good) {
            g_ptr_array_unref(top.mounts);
            return ctl_usage("top");
        }
    }
    top.all = optind == argc;
    for (int i = optind; i < argc; i++)
        g_ptr_array_add(top.mounts, watched_new(argv[i], g_strdup(argv[i])));
    int code = run(&top, delay_s, count);
    g_ptr_array_unref(top.mounts);
    return code;
}
