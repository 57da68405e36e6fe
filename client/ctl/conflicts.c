/* pohmelctl conflicts: changes that could not be written back, as the mounts entered them. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl/ask.h"
#include "client/ctl/commands.h"
#include "client/ctl/mounts.h"
#include "client/fuse/conflicts.h"

/* The value of KEY in lines of "key: value"; NULL where there is none. To be freed. */
static char *value_of(const char *text, const char *key)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *head = g_strconcat(key, ": ", NULL);
    for (size_t i = 0; lines[i] != NULL; i++)
        if (g_str_has_prefix(lines[i], head))
            return g_strdup(lines[i] + strlen(head));
    return NULL;
}

/* The text of member KEY of LINE, an object without objects in it; "" where there is none. To be freed. */
static char *member_of(const char *line, const char *key)
{
    g_autofree char *head = g_strdup_printf("\"%s\": \"", key);
    GString *out = g_string_new(NULL);
    const char *at = strstr(line, head);
    for (at = at != NULL ? at + strlen(head) : ""; *at != '\0' && *at != '"'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        g_string_append_c(out, *at);
    }
    return g_string_free(out, FALSE);
}

static void print_line(const char *directory, const char *line)
{
    g_autofree char *when = member_of(line, "time"), *path = member_of(line, "path");
    g_autofree char *what = member_of(line, "what"), *why = member_of(line, "why");
    g_autofree char *file = member_of(line, "file");
    printf("%s  %s\n    %s: %s\n", when, path[0] != '\0' ? path : "(its path is not known)", what, why);
    if (file[0] != '\0')
        printf("    kept as %s/%s\n", directory, file);
}

/* What is entered in DIRECTORY; FIRST is whether nothing was printed of the list yet. */
static int print_index(const char *directory, gboolean json, gboolean *first)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *index = g_build_filename(directory, PH_CONFLICTS_INDEX, NULL);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(index, &text, NULL, &error)) {
        if (g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return CTL_OK;
        return ctl_complain("%s", error->message);
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (size_t i = 0; lines[i] != NULL; i++) {
        if (lines[i][0] != '{')
            continue;
        if (json)
            printf("%s%s", *first ? "" : ",\n ", lines[i]);
        else
            print_line(directory, lines[i]);
        *first = FALSE;
    }
    return CTL_OK;
}

static int print_mount(const char *path, gboolean json, gboolean *first)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    if (!ctl_ask_status(path, text, &error))
        return ctl_complain("%s", error->message);
    g_autofree char *directory = value_of(text->str, "conflicts-directory");
    return directory != NULL ? print_index(directory, json, first) : CTL_OK;
}

static int print_mounts(gboolean json, gboolean *first)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) mounts = ph_mounts_read(&error);
    int code = CTL_OK;
    if (!mounts)
        return ctl_complain("%s", error->message);
    for (guint i = 0; i < mounts->len; i++) {
        const struct ph_mount_entry *mount = mounts->pdata[i];
        if (ph_mount_is_pohmel(mount) && print_mount(mount->path, json, first) != CTL_OK)
            code = CTL_FAILED;
    }
    return code;
}

int ctl_conflicts(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    gboolean json = FALSE, first = TRUE;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option != 'j')
            return ctl_usage("conflicts");
        json = TRUE;
    }
    int code = CTL_OK;
    if (json)
        putchar('[');
    if (optind == argc)
        code = print_mounts(json, &first);
    for (int i = optind; i < argc; i++)
        if (print_mount(argv[i], json, &first) != CTL_OK)
            code = CTL_FAILED;
    if (json)
        puts("]");
    else if (first && code == CTL_OK)
        puts("all changes were written back");
    return code;
}
