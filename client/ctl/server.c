/* Asking a server on this machine, through the socket in its state directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/ctl/commands.h"
#include "runtime/base/control_socket.h"

/* The socket at PATH, or in the directory PATH, into ADDRESS: through a descriptor of its directory
 * (*DIRECTORY, -1 for none), as paths of sockets must be short. */
static gboolean find_socket(const char *path, struct sockaddr_un *address, int *directory)
{
    struct stat found;
    gboolean is_directory = stat(path, &found) == 0 && S_ISDIR(found.st_mode);
    g_autofree char *above = is_directory ? g_strdup(path) : g_path_get_dirname(path);
    g_autofree char *name = is_directory ? g_strdup(PH_CONTROL_SOCKET_NAME) : g_path_get_basename(path);
    *directory = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*directory < 0)
        return FALSE;
    int len = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", *directory, name);
    if (len > 0 && (size_t) len < sizeof(address->sun_path))
        return TRUE;
    errno = ENAMETOOLONG;
    return FALSE;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int directory = -1, fd = -1;
    if (find_socket(path, &address, &directory))
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0) {
        int error = errno;
        close(fd);
        fd = -1;
        errno = error;
    }
    int error = errno;
    if (directory >= 0)
        close(directory);
    errno = error;
    return fd;
}

static int no_server(const char *path)
{
    if (errno == ECONNREFUSED || errno == ENOENT)
        return ctl_complain("%s: no server answers there; give the --state-dir of one that runs", path);
    return ctl_complain("cannot reach a server at %s: %s", path, g_strerror(errno));
}

/* Prints the answer. */
static int print_answer(FILE *in, const char *path)
{
    char *line = NULL;
    size_t size = 0;
    gboolean ended = FALSE;
    int code = CTL_OK;
    for (ssize_t len; !ended && (len = getline(&line, &size, in)) > 0;) {
        if (line[0] == PH_CONTROL_LINE)
            fwrite(line + 1, 1, (size_t) len - 1, stdout);
        else if (line[0] == PH_CONTROL_TROUBLE)
            code = ctl_complain("%s: %s", path, g_strchomp(line + 1));
        ended = line[0] == PH_CONTROL_END;
    }
    free(line);
    if (!ended && code == CTL_OK)
        code = ctl_complain("%s: the server ended the conversation early", path);
    return code;
}

int ctl_ask_server(const char *path, const char *command)
{
    int fd = connect_to(path);
    if (fd < 0)
        return no_server(path);
    g_autofree char *line = g_strconcat(command, "\n", NULL);
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t) strlen(line)) {
        close(fd);
        return ctl_complain("%s: the server did not listen", path);
    }
    FILE *in = fdopen(fd, "r");
    if (!in) {
        close(fd);
        return ctl_complain("%s: %s", path, g_strerror(errno));
    }
    int code = print_answer(in, path);
    fclose(in);
    return code;
}
