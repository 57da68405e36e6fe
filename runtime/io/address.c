#include "runtime/io/address.h"

#include <arpa/inet.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/un.h>

static const char unix_prefix[] = "unix:";

static gboolean refuse(const char *text, GError **error, const char *why)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "\"%s\" is not an address: %s (HOST, HOST:PORT, [IPV6]:PORT, :PORT or unix:/PATH)", text,
                why);
    return FALSE;
}

static gboolean parse_unix(const char *text, struct ph_address *out, GError **error)
{
    const char *path = text + strlen(unix_prefix);
    if (path[0] != '/')
        return refuse(text, error, "the path of a unix socket begins with /");
    if (strlen(path) >= sizeof((struct sockaddr_un *) NULL)->sun_path)
        return refuse(text, error, "the path of a unix socket may have 107 bytes at most");
    out->path = g_strdup(path);
    return TRUE;
}

static gboolean parse_port(const char *text, const char *digits, guint16 *port, GError **error)
{
    guint64 value;
    if (!g_ascii_string_to_unsigned(digits, 10, 0, G_MAXUINT16, &value, NULL))
        return refuse(text, error, "the port is a number from 0 to 65535");
    *port = (guint16) value;
    return TRUE;
}

/* Whether TEXT is an IPv6 address as it stands, perhaps with a zone ("fe80::1%eth0"). */
static gboolean is_bare_ipv6(const char *text)
{
    struct in6_addr ignored;
    g_autofree char *without_zone = g_strndup(text, strcspn(text, "%"));
    return inet_pton(AF_INET6, without_zone, &ignored) == 1;
}

static gboolean parse_bracketed(const char *text, struct ph_address *out, GError **error)
{
    const char *close = strchr(text, ']');
    if (close == NULL)
        return refuse(text, error, "the closing bracket is missing");
    g_autofree char *host = g_strndup(text + 1, (gsize) (close - text - 1));
    if (!is_bare_ipv6(host))
        return refuse(text, error, "no IPv6 address stands between the brackets");
    if (close[1] != '\0' && close[1] != ':')
        return refuse(text, error, "only :PORT may follow the bracket");
    if (close[1] == ':' && !parse_port(text, close + 2, &out->port, error))
        return FALSE;
    out->host = g_steal_pointer(&host);
    return TRUE;
}

gboolean ph_address_parse(const char *text, guint16 port, struct ph_address *out, GError **error)
{
    *out = (struct ph_address){.port = port};
    if (g_str_has_prefix(text, unix_prefix))
        return parse_unix(text, out, error);
    if (text[0] == '\0')
        return refuse(text, error, "it is empty");
    if (text[0] == '[')
        return parse_bracketed(text, out, error);
    if (is_bare_ipv6(text)) {
        out->host = g_strdup(text);
        return TRUE;
    }
    const char *colon = strchr(text, ':');
    if (colon == NULL) {
        out->host = g_strdup(text);
        return TRUE;
    }
    if (strchr(colon + 1, ':') != NULL)
        return refuse(text, error, "an IPv6 address stands in brackets when a port follows");
    if (!parse_port(text, colon + 1, &out->port, error))
        return FALSE;
    if (colon > text)
        out->host = g_strndup(text, (gsize) (colon - text));
    return TRUE;
}

void ph_address_clear(struct ph_address *address)
{
    g_clear_pointer(&address->host, g_free);
    g_clear_pointer(&address->path, g_free);
    address->port = 0;
}

char *ph_address_text(const struct ph_address *address)
{
    if (address->path != NULL)
        return g_strconcat(unix_prefix, address->path, NULL);
    if (address->host == NULL)
        return g_strdup_printf(":%u", address->port);
    if (strchr(address->host, ':') != NULL)
        return g_strdup_printf("[%s]:%u", address->host, address->port);
    return g_strdup_printf("%s:%u", address->host, address->port);
}
