/* Promises of addresses and the sockets behind them, over loopback and unix sockets. */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/limits.h"
#include "runtime/io/address.h"
#include "runtime/io/socket.h"

static void check_parse(const char *text, const char *host, const char *path, guint16 port, const char *again)
{
    struct ph_address address;
    g_autoptr(GError) error = NULL;
    g_assert_true(ph_address_parse(text, 1025, &address, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(address.host, ==, host);
    g_assert_cmpstr(address.path, ==, path);
    if (path == NULL)
        g_assert_cmpuint(address.port, ==, port);
    g_autofree char *out = ph_address_text(&address);
    g_assert_cmpstr(out, ==, again);
    ph_address_clear(&address);
    g_assert_null(address.host);
    g_assert_null(address.path);
}

static void every_form_is_understood(void)
{
    check_parse("localhost", "localhost", NULL, 1025, "localhost:1025");
    check_parse("10.0.0.5:7", "10.0.0.5", NULL, 7, "10.0.0.5:7");
    check_parse(":0", NULL, NULL, 0, ":0");
    check_parse("[::1]", "::1", NULL, 1025, "[::1]:1025");
    check_parse("[::1]:65535", "::1", NULL, 65535, "[::1]:65535");
    check_parse("[fe80::1%lo]:9", "fe80::1%lo", NULL, 9, "[fe80::1%lo]:9");
    check_parse("::1", "::1", NULL, 1025, "[::1]:1025");
    check_parse("unix:/run/x", NULL, "/run/x", 0, "unix:/run/x");
}

static void mistakes_are_named(void)
{
    static const struct {
        const char *text, *words;
    } mistakes[] = {
        {"", "empty"},         {"host:", "port"},          {"host:65536", "port"},      {"host:-1", "port"},
        {"host:1x", "port"},   {"[::1", "bracket"},        {"[::1]x", "bracket"},       {"[host]:1", "IPv6"},
        {"a:b:c", "brackets"}, {"unix:", "begins with /"}, {"unix:x", "begins with /"}, {"[::1]:", "port"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(mistakes); i++) {
        struct ph_address address;
        g_autoptr(GError) error = NULL;
        g_assert_false(ph_address_parse(mistakes[i].text, 1025, &address, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
        g_assert_nonnull(strstr(error->message, mistakes[i].words));
        g_assert_null(strchr(error->message, '\n'));
    }
    g_autofree char *deep = g_strnfill(120, 'x');
    g_autofree char *path = g_strconcat("unix:/", deep, NULL);
    struct ph_address address;
    g_assert_false(ph_address_parse(path, 1025, &address, NULL));
}

/* Listening sockets for TEXT; ADDRESS gets what to connect to. */
static GArray *listen_on(const char *text, struct ph_address *address)
{
    g_autoptr(GError) error = NULL;
    GArray *sockets = g_array_new(FALSE, FALSE, sizeof(int));
    g_assert_true(ph_address_parse(text, 0, address, &error));
    g_assert_true(ph_listen(address, sockets, &error));
    g_assert_no_error(error);
    if (address->path == NULL) {
        struct sockaddr_in6 name = {0};
        socklen_t len = sizeof name;
        g_assert_cmpint(getsockname(g_array_index(sockets, int, 0), (struct sockaddr *) &name, &len), ==, 0);
        address->port = ntohs(name.sin6_port); /* at the same place for IPv4 */
    }
    return sockets;
}

static void close_all(GArray *sockets)
{
    for (guint i = 0; i < sockets->len; i++)
        close(g_array_index(sockets, int, i));
    g_array_unref(sockets);
}

static void check_meets(const char *text)
{
    struct ph_address address;
    g_autoptr(GError) error = NULL;
    GArray *sockets = listen_on(text, &address);
    int fd = ph_connect(&address, 2000, &error);
    g_assert_no_error(error);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, !=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
    g_autofree char *seen = ph_socket_peer_text(fd), *expected = ph_address_text(&address);
    g_assert_cmpstr(seen, ==, expected);
    close(fd);
    close_all(sockets);
    if (address.path != NULL)
        unlink(address.path);
    ph_address_clear(&address);
}

static void both_ends_meet(void)
{
    g_autofree char *folder = g_dir_make_tmp("pohmel-address-XXXXXX", NULL);
    g_autofree char *path = g_strconcat("unix:", folder, "/s", NULL);
    check_meets("127.0.0.1:0");
    check_meets(path);
    if (g_file_test("/proc/net/if_inet6", G_FILE_TEST_EXISTS))
        check_meets("[::1]:0");
    g_rmdir(folder);
}

static void every_family_gets_the_same_port(void)
{
    struct ph_address address;
    GArray *sockets = listen_on(":0", &address);
    for (guint i = 0; i < sockets->len; i++) {
        struct sockaddr_in6 name = {0};
        socklen_t len = sizeof name;
        getsockname(g_array_index(sockets, int, i), (struct sockaddr *) &name, &len);
        g_assert_cmpuint(ntohs(name.sin6_port), ==, address.port);
    }
    close_all(sockets);
    ph_address_clear(&address);
}

static void nobody_there_is_said_with_a_hint(void)
{
    struct ph_address address;
    g_autoptr(GError) error = NULL;
    close_all(listen_on("127.0.0.1:0", &address)); /* a port that nobody listens on any more */
    g_assert_cmpint(ph_connect(&address, 2000, &error), ==, -1);
    g_autofree char *where = ph_address_text(&address);
    g_autofree char *words =
        g_strdup_printf("cannot reach %s: connection refused; is pohmel-server running there?", where);
    g_assert_cmpstr(error->message, ==, words);
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);
    ph_address_clear(&address);

    g_autoptr(GError) missing = NULL;
    g_assert_true(ph_address_parse("unix:/nonexistent/socket", 0, &address, NULL));
    g_assert_cmpint(ph_connect(&address, 2000, &missing), ==, -1);
    g_assert_cmpstr(
        missing->message, ==,
        "cannot reach unix:/nonexistent/socket: no such file or directory; is pohmel-server running there?");
    ph_address_clear(&address);
}

static void an_unknown_host_is_said_to_be_one(void)
{
    struct ph_address address;
    g_autoptr(GError) error = NULL;
    g_assert_true(ph_address_parse("no-such-host.invalid", 1025, &address, NULL));
    g_assert_cmpint(ph_connect(&address, 2000, &error), ==, -1);
    g_assert_true(g_str_has_prefix(error->message, "cannot reach no-such-host.invalid:1025: "));
    ph_address_clear(&address);
}

static void no_answer_takes_no_longer_than_asked(void)
{
    struct ph_address address;
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("pohmel-address-XXXXXX", NULL);
    g_autofree char *path = g_strconcat("unix:", folder, "/s", NULL);
    GArray *sockets = listen_on(path, &address);
    g_assert_cmpint(listen(g_array_index(sockets, int, 0), 0), ==, 0);
    int waiting = ph_connect(&address, 1000, NULL); /* fills the queue of newcomers */
    g_assert_cmpint(waiting, >=, 0);
    gint64 start = g_get_monotonic_time();
    g_assert_cmpint(ph_connect(&address, 200, &error), ==, -1);
    gint64 took_ms = (g_get_monotonic_time() - start) / 1000;
    g_assert_cmpint(took_ms, >=, 200);
    g_assert_cmpint(took_ms, <, 30000);
    g_assert_nonnull(strstr(error->message, "no answer within 0.2 s"));
    close(waiting);
    close_all(sockets);
    unlink(address.path);
    g_rmdir(folder);
    ph_address_clear(&address);
}

static void a_taken_port_is_said_to_be_taken(void)
{
    struct ph_address address;
    g_autoptr(GError) error = NULL;
    GArray *sockets = listen_on("127.0.0.1:0", &address), *second = g_array_new(FALSE, FALSE, sizeof(int));
    g_assert_false(ph_listen(&address, second, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
    g_assert_nonnull(strstr(error->message, "address already in use; is another pohmel-server running?"));
    g_assert_cmpuint(second->len, ==, 0);
    close_all(second);
    close_all(sockets);
    ph_address_clear(&address);
}

static void a_live_unix_socket_is_kept_and_a_stale_one_replaced(void)
{
    struct ph_address address;
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("pohmel-address-XXXXXX", NULL);
    g_autofree char *path = g_strconcat("unix:", folder, "/s", NULL);
    GArray *sockets = listen_on(path, &address), *second = g_array_new(FALSE, FALSE, sizeof(int));
    g_assert_false(ph_listen(&address, second, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
    close_all(sockets); /* the name stays behind, as after a crash */
    g_assert_true(ph_listen(&address, second, NULL));
    int fd = ph_connect(&address, 1000, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    close_all(second);
    unlink(address.path);

    /* What is no socket is somebody's file. */
    g_autoptr(GError) no_socket = NULL;
    GArray *third = g_array_new(FALSE, FALSE, sizeof(int));
    g_assert_true(g_file_set_contents(address.path, "precious", -1, NULL));
    g_assert_false(ph_listen(&address, third, &no_socket));
    g_assert_nonnull(strstr(no_socket->message, "file exists"));
    g_assert_true(g_file_test(address.path, G_FILE_TEST_IS_REGULAR));
    close_all(third);
    unlink(address.path);
    g_rmdir(folder);
    ph_address_clear(&address);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/address/every-form-is-understood", every_form_is_understood);
    g_test_add_func("/address/mistakes-are-named", mistakes_are_named);
    g_test_add_func("/address/both-ends-meet", both_ends_meet);
    g_test_add_func("/address/every-family-gets-the-same-port", every_family_gets_the_same_port);
    g_test_add_func("/address/nobody-there-is-said-with-a-hint", nobody_there_is_said_with_a_hint);
    g_test_add_func("/address/an-unknown-host-is-said-to-be-one", an_unknown_host_is_said_to_be_one);
    g_test_add_func("/address/no-answer-takes-no-longer-than-asked", no_answer_takes_no_longer_than_asked);
    g_test_add_func("/address/a-taken-port-is-said-to-be-taken", a_taken_port_is_said_to_be_taken);
    g_test_add_func("/address/a-live-unix-socket-is-kept-and-a-stale-one-replaced",
                    a_live_unix_socket_is_kept_and_a_stale_one_replaced);
    return g_test_run();
}
