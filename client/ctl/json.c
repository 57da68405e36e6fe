#include "client/ctl/json.h"

#include <string.h>

enum { DIGITS_MAX = 19 /* of what any reader takes for an integer of 64 bits */ };

static void add_unicode(GString *out, gunichar c)
{
    switch (c) {
    case '"':
        g_string_append(out, "\\\"");
        return;
    case '\\':
        g_string_append(out, "\\\\");
        return;
    case '\n':
        g_string_append(out, "\\n");
        return;
    case '\t':
        g_string_append(out, "\\t");
        return;
    default:
        break;
    }
    if (c < 0x20 || c == 0x7f)
        g_string_append_printf(out, "\\u%04x", (unsigned) c);
    else
        g_string_append_unichar(out, c);
}

/* The character at TEXT, and in *USED its bytes; (gunichar) -1 for a byte that is none. */
static gunichar take(const char *text, gsize len, gsize *used)
{
    gunichar c = *text == '\0' ? 0 : g_utf8_get_char_validated(text, (gssize) len);
    if (c == (gunichar) -1 || c == (gunichar) -2) {
        *used = 1;
        return (gunichar) -1;
    }
    *used = c == 0 ? 1 : (gsize) g_unichar_to_utf8(c, NULL);
    return c;
}

void ctl_json_string(GString *out, const char *text, gsize len)
{
    g_string_append_c(out, '"');
    for (gsize used; len > 0; text += used, len -= used) {
        gunichar c = take(text, len, &used);
        if (c == (gunichar) -1)
            g_string_append_printf(out, "\\udc%02x", (unsigned) (guchar) *text);
        else
            add_unicode(out, c);
    }
    g_string_append_c(out, '"');
}

static gboolean is_number(const char *value)
{
    gsize len = strspn(value, "0123456789");
    return len > 0 && len <= DIGITS_MAX && value[len] == '\0' && (value[0] != '0' || len == 1);
}

void ctl_json_value(GString *out, const char *value)
{
    if (is_number(value))
        g_string_append(out, value);
    else if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0)
        g_string_append(out, value[0] == 'y' ? "true" : "false");
    else
        ctl_json_string(out, value, strlen(value));
}

void ctl_json_members(GString *out, const char *lines)
{
    g_auto(GStrv) all = g_strsplit(lines, "\n", -1);
    gboolean first = TRUE;
    for (char **line = all; *line; line++) {
        char *colon = strstr(*line, ": ");
        if (!colon)
            continue;
        g_string_append(out, first ? "" : ", ");
        ctl_json_string(out, *line, (gsize) (colon - *line));
        g_string_append(out, ": ");
        ctl_json_value(out, colon + 2);
        first = FALSE;
    }
}

void ctl_shown(GString *out, const char *text, gsize len)
{
    for (gsize used; len > 0; text += used, len -= used) {
        gunichar c = take(text, len, &used);
        if (c == '\\')
            g_string_append(out, "\\\\");
        else if (c == '\n')
            g_string_append(out, "\\n");
        else if (c == '\t')
            g_string_append(out, "\\t");
        else if (c != (gunichar) -1 && g_unichar_isprint(c))
            g_string_append_len(out, text, (gssize) used);
        else
            for (gsize i = 0; i < used; i++)
                g_string_append_printf(out, "\\%03o", (unsigned) (guchar) text[i]);
    }
}
