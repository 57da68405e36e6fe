/* pohmelctl status: how mounts are doing. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl/ask.h"
#include "client/ctl/commands.h"
#include "client/ctl/json.h"
#include "client/ctl/mounts.h"

/* One mount to tell of. */
struct subject {
    const char *path;   /* to ask at */
    const char *source; /* "host:/export" of a mount of the table; NULL for a path that was named */
};

static int print_plain(const struct subject *subject, gboolean heading)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    if (heading && subject->source)
        printf("mount: %s on %s\n", subject->source, subject->path);
    else if (heading)
        printf("mount: %s\n", subject->path);
    if (!ctl_ask_status(subject->path, text, &error))
        return ctl_complain("%s", error->message);
    fwrite(text->str, 1, text->len, stdout);
    return CTL_OK;
}

/* The mount as an object, whose last member "error" tells what went wrong, if anything. */
static int add_json(GString *out, const struct subject *subject)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    gboolean told = ctl_ask_status(subject->path, text, &error);
    g_string_append(out, "{\"mount\": ");
    ctl_json_string(out, subject->path, strlen(subject->path));
    if (subject->source) {
        g_string_append(out, ", \"source\": ");
        ctl_json_string(out, subject->source, strlen(subject->source));
    }
    g_string_append(out, ", ");
    if (told) {
        ctl_json_members(out, text->str);
    } else {
        g_string_append(out, "\"error\": ");
        ctl_json_string(out, error->message, strlen(error->message));
    }
    g_string_append_c(out, '}');
    return told ? CTL_OK : ctl_complain("%s", error->message);
}

static int print_all(GArray *subjects, gboolean headings)
{
    int code = CTL_OK;
    for (guint i = 0; i < subjects->len; i++) {
        if (i > 0 && headings)
            putchar('\n');
        if (print_plain(&g_array_index(subjects, struct subject, i), headings) != CTL_OK)
            code = CTL_FAILED;
    }
    return code;
}

static int print_json(GArray *subjects, gboolean list)
{
    g_autoptr(GString) out = g_string_new(list ? "[" : NULL);
    int code = CTL_OK;
    for (guint i = 0; i < subjects->len; i++) {
        g_string_append(out, i > 0 ? ",\n " : "");
        if (add_json(out, &g_array_index(subjects, struct subject, i)) != CTL_OK)
            code = CTL_FAILED;
    }
    puts(g_string_append(out, list ? "]" : "")->str);
    return code;
}

static void add_mounts(GArray *subjects, GPtrArray *mounts)
{
    for (guint i = 0; i < mounts->len; i++) {
        const struct ph_mount_entry *mount = mounts->pdata[i];
        struct subject subject = {.path = mount->path, .source = mount->source};
        if (ph_mount_is_pohmel(mount))
            g_array_append_val(subjects, subject);
    }
}

static int all_mounts(gboolean json)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) mounts = ph_mounts_read(&error);
    g_autoptr(GArray) subjects = g_array_new(FALSE, TRUE, sizeof(struct subject));
    if (!mounts)
        return ctl_complain("%s", error->message);
    add_mounts(subjects, mounts);
    if (json)
        return print_json(subjects, TRUE);
    if (subjects->len == 0)
        puts("nothing is mounted");
    return print_all(subjects, TRUE);
}

int ctl_status(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    gboolean json = FALSE;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option != 'j')
            return ctl_usage("status");
        json = TRUE;
    }
    if (optind == argc)
        return all_mounts(json);
    g_autoptr(GArray) subjects = g_array_new(FALSE, TRUE, sizeof(struct subject));
    for (int i = optind; i < argc; i++) {
        struct subject subject = {.path = argv[i]};
        g_array_append_val(subjects, subject);
    }
    return json ? print_json(subjects, subjects->len > 1) : print_all(subjects, subjects->len > 1);
}
