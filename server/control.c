#include "server/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/base/control_socket.h"
#include "runtime/io/thread.h"
#include "server/control_answer.h"
#include "server/log.h"

enum {
    BACKLOG = 8,
    CLIENT_WAIT_MS = 5000, /* for a client to say what it wants, or to read on */
    ACCEPT_PAUSE_MS = 100, /* after the system had nothing left to accept with */
};

struct control_export {
    int directory, socket; /* -1 where nothing is listened on */
};

struct ph_control_socket {
    const struct ph_config *config;
    const struct ph_server_export *exports;
    struct ph_switch *all;
    guint count;
    struct control_export *own;
    int stop; /* an eventfd: readable when it is to end */
    pthread_t thread;
    bool started;
    int client; /* the thread's */
};

/* ---- The client at hand ---- */

/* Waits until FD (-1: nothing) has EVENTS or MS have passed. False when the server ends, or the client hangs
 * up. */
static bool wait_for(const struct ph_control_socket *control, int fd, short events, int ms, bool *ready)
{
    struct pollfd fds[] = {{.fd = control->stop, .events = POLLIN}, {.fd = fd, .events = events}};
    int count = poll(fds, G_N_ELEMENTS(fds), ms);

    *ready = count > 0 && (fds[1].revents & events) != 0;
    return (count >= 0 || errno == EINTR) && fds[0].revents == 0 &&
           (*ready || (fds[1].revents & (POLLHUP | POLLERR)) == 0);
}

static bool send_all(void *data, const char *text, size_t len)
{
    const struct ph_control_socket *control = data;

    while (len > 0) {
        bool ready;
        ssize_t sent = send(control->client, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent > 0) {
            text += sent;
            len -= (size_t) sent;
        } else if (errno != EAGAIN && errno != EINTR) {
            return false;
        } else if (!wait_for(control, control->client, POLLOUT, CLIENT_WAIT_MS, &ready) || !ready) {
            return false;
        }
    }
    return true;
}

static bool pause_for(void *data, unsigned ms)
{
    const struct ph_control_socket *control = data;
    bool ready;

    /* POLLHUP comes unasked; what the client may say more is of no interest. */
    return wait_for(control, control->client, 0, (int) ms, &ready);
}

/* A line into COMMAND, without its end. */
static bool read_command(const struct ph_control_socket *control, char command[PH_CONTROL_COMMAND_BYTES])
{
    size_t len = 0;
    bool ready;

    while (len < PH_CONTROL_COMMAND_BYTES - 1 &&
           wait_for(control, control->client, POLLIN, CLIENT_WAIT_MS, &ready) && ready) {
        ssize_t count = recv(control->client, command + len, PH_CONTROL_COMMAND_BYTES - 1 - len, 0);
        char *end;

        if (count <= 0)
            return false;
        len += (size_t) count;
        command[len] = '\0';
        end = strchr(command, '\n');
        if (end != NULL) {
            *end = '\0';
            return true;
        }
    }
    return false;
}

/* Root and the server's own user only, whatever the modes on the way are. */
static bool may_ask(int client)
{
    struct ucred who;
    socklen_t size = sizeof(who);

    return getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

static void refuse(struct ph_control_socket *control)
{
    g_autofree char *text =
        g_strdup_printf("%conly root and the user that the server runs as may ask it\n%c\n",
                        PH_CONTROL_TROUBLE, PH_CONTROL_END);

    send_all(control, text, strlen(text));
}

static void serve_client(struct ph_control_socket *control, guint index)
{
    char command[PH_CONTROL_COMMAND_BYTES];
    struct ph_control_client client = {
        .all = control->all,
        .export_index = index,
        .directory = ((struct ph_export_config *) control->config->exports->pdata[index])->directory,
        .store = control->exports[index].store,
        .send = send_all,
        .pause = pause_for,
        .data = control,
    };

    if (!read_command(control, command))
        return;
    if (may_ask(control->client))
        ph_control_answer(&client, command);
    else
        refuse(control);
}

/* ---- The thread ---- */

/* Somebody, or nobody, waits at the socket of export INDEX. */
static void accept_client(struct ph_control_socket *control, guint index)
{
    bool ready;

    control->client = accept4(control->own[index].socket, NULL, NULL, SOCK_CLOEXEC);
    if (control->client >= 0) {
        serve_client(control, index);
        close(control->client);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        wait_for(control, -1, 0, ACCEPT_PAUSE_MS, &ready);
    }
}

static void *run(void *data)
{
    struct ph_control_socket *control = data;
    g_autofree struct pollfd *fds = g_new0(struct pollfd, control->count + 1);

    pthread_setname_np(pthread_self(), "control");
    for (guint i = 0; i < control->count; i++)
        fds[i] = (struct pollfd){.fd = control->own[i].socket, .events = POLLIN};
    fds[control->count] = (struct pollfd){.fd = control->stop, .events = POLLIN};
    while (poll(fds, control->count + 1, -1) >= 0 || errno == EINTR) {
        if (fds[control->count].revents != 0)
            break;
        for (guint i = 0; i < control->count; i++) {
            if (fds[i].revents != 0)
                accept_client(control, i);
        }
    }
    return NULL;
}

/* ---- Life ---- */

/* Paths of sockets are short: the directory is named by its descriptor. What an earlier server left is
 * replaced; that none runs is sure, as the store has the directory locked. */
static int listen_in(int directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", directory,
             PH_CONTROL_SOCKET_NAME);
    unlinkat(directory, PH_CONTROL_SOCKET_NAME, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0 &&
        fchmodat(directory, PH_CONTROL_SOCKET_NAME, S_IRUSR | S_IWUSR, 0) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    if (fd >= 0) {
        int error = errno;

        close(fd);
        errno = error;
    }
    return -1;
}

static void open_one(struct control_export *own, const struct ph_export_config *export)
{
    own->directory = open(export->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    own->socket = own->directory >= 0 ? listen_in(own->directory) : -1;
    if (own->socket < 0)
        ph_log("pohmelctl cannot ask about the export %s: no socket in %s: %s", export->name,
               export->state_dir, g_strerror(errno));
}

struct ph_control_socket *ph_control_socket_new(const struct ph_config *config,
                                                const struct ph_server_export *exports, struct ph_switch *all)
{
    struct ph_control_socket *control = g_new0(struct ph_control_socket, 1);

    control->config = config;
    control->exports = exports;
    control->all = all;
    control->count = config->exports->len;
    control->own = g_new0(struct control_export, control->count);
    control->stop = eventfd(0, EFD_CLOEXEC);
    for (guint i = 0; i < control->count; i++)
        open_one(&control->own[i], config->exports->pdata[i]);
    control->started = control->stop >= 0 && ph_thread_start(&control->thread, NULL, run, control) == 0;
    if (!control->started)
        ph_log("pohmelctl cannot ask: the system gives no thread for it");
    return control;
}

void ph_control_socket_free(struct ph_control_socket *control)
{
    if (control == NULL)
        return;
    if (control->started) {
        eventfd_write(control->stop, 1);
        pthread_join(control->thread, NULL);
    }
    for (guint i = 0; i < control->count; i++) {
        struct control_export *own = &control->own[i];

        if (own->socket >= 0) {
            unlinkat(own->directory, PH_CONTROL_SOCKET_NAME, 0);
            close(own->socket);
        }
        if (own->directory >= 0)
            close(own->directory);
    }
    if (control->stop >= 0)
        close(control->stop);
    g_free(control->own);
    g_free(control);
}
