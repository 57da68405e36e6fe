#include "client/fuse/conflicts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "client/fuse/log.h"

enum { NAME_KEPT_BYTES = 120, DIRECTORY_MODE = 0700, FILE_MODE = 0600, TRIES_MAX = 1000 };

struct open_file {
    int fd;
    char *name;
};

struct ph_conflicts {
    char *directory;
    pthread_mutex_t mutex; /* guards what follows */
    GHashTable *files;     /* object -> struct open_file: data came, and the line in the index did not yet */
    guint64 entries;       /* of this mount */
    gboolean complained;
};

static void file_free(gpointer data)
{
    struct open_file *file = data;
    close(file->fd);
    g_free(file->name);
    g_free(file);
}

/* As systemd names units after paths: "/mnt/data" is "mnt-data". */
static char *escape(const char *path)
{
    while (*path == '/')
        path++;
    char *out = g_strdup(*path != '\0' ? path : "-");
    return g_strdelimit(out, "/", '-');
}

struct ph_conflicts *ph_conflicts_new(const char *directory, const char *mount_point)
{
    struct ph_conflicts *conflicts = g_new0(struct ph_conflicts, 1);
    g_autofree char *name = escape(mount_point);
    if (directory != NULL)
        conflicts->directory = g_strdup(directory);
    else if (geteuid() == 0)
        conflicts->directory = g_build_filename("/var/lib/pohmel/conflicts", name, NULL);
    else
        conflicts->directory = g_build_filename(g_get_user_state_dir(), "pohmel", "conflicts", name, NULL);
    conflicts->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, file_free);
    pthread_mutex_init(&conflicts->mutex, NULL);
    return conflicts;
}

void ph_conflicts_free(struct ph_conflicts *conflicts)
{
    if (conflicts == NULL)
        return;
    g_hash_table_unref(conflicts->files);
    pthread_mutex_destroy(&conflicts->mutex);
    g_free(conflicts->directory);
    g_free(conflicts);
}

static void complain(struct ph_conflicts *conflicts, const char *name)
{
    if (!conflicts->complained)
        ph_log(LOG_ERR, "what could not be written back cannot be kept as %s/%s either: %s",
               conflicts->directory, name, g_strerror(errno));
    conflicts->complained = TRUE;
}

/* A new file for the data of OBJECT; NULL, having complained, when there can be none. */
static struct open_file *new_file(struct ph_conflicts *conflicts, uint64_t object, const char *path)
{
    g_autofree char *base = *path != '\0' ? g_path_get_basename(path) : g_strdup("unnamed");
    g_mkdir_with_parents(conflicts->directory, DIRECTORY_MODE);
    for (int i = 0; i < TRIES_MAX; i++) {
        g_autofree char *name = g_strdup_printf("%" G_GINT64_FORMAT "-%" G_GUINT64_FORMAT ".%d-%.*s",
                                                (gint64) time(NULL), object, i, (int) NAME_KEPT_BYTES, base);
        g_autofree char *whole = g_build_filename(conflicts->directory, name, NULL);
        int fd = open(whole, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0) {
            complain(conflicts, name);
            return NULL;
        }
        struct open_file *file = g_new(struct open_file, 1);
        *file = (struct open_file){.fd = fd, .name = g_steal_pointer(&name)};
        g_hash_table_insert(conflicts->files, g_memdup2(&object, sizeof object), file);
        return file;
    }
    return NULL;
}

void ph_conflicts_data(struct ph_conflicts *conflicts, uint64_t object, const char *path, uint64_t offset,
                       const struct ph_blob *data)
{
    pthread_mutex_lock(&conflicts->mutex);
    struct open_file *file = g_hash_table_lookup(conflicts->files, &object);
    if (file == NULL)
        file = new_file(conflicts, object, path);
    for (size_t done = 0; file != NULL && done < data->len;) {
        ssize_t put = pwrite(file->fd, data->data + done, data->len - done, (off_t) (offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            complain(conflicts, file->name);
            break;
        }
        done += (size_t) put;
    }
    pthread_mutex_unlock(&conflicts->mutex);
}

/* TEXT as a member of a JSON object; what is no UTF-8 is shown by a sign for it. */
static void member(GString *line, const char *key, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    g_string_append_printf(line, "%s\"%s\": \"", line->len > 1 ? ", " : "", key);
    for (const char *at = valid; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            g_string_append_printf(line, "\\%c", *at);
        else if ((unsigned char) *at < ' ')
            g_string_append_printf(line, "\\u%04x", (unsigned) *at);
        else
            g_string_append_c(line, *at);
    }
    g_string_append_c(line, '"');
}

/* One line at the end of the index, in one write: other mounts may use it too. */
static void append(struct ph_conflicts *conflicts, const GString *line)
{
    g_autofree char *index = g_build_filename(conflicts->directory, PH_CONFLICTS_INDEX, NULL);
    g_mkdir_with_parents(conflicts->directory, DIRECTORY_MODE);
    int fd = open(index, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0 || write(fd, line->str, line->len) != (ssize_t) line->len)
        complain(conflicts, PH_CONFLICTS_INDEX);
    if (fd >= 0)
        close(fd);
}

char *ph_conflicts_enter(struct ph_conflicts *conflicts, uint64_t object, const char *path, const char *what,
                         const char *why)
{
    char number[24], when[32] = "";
    struct tm utc;
    time_t now = time(NULL);
    if (gmtime_r(&now, &utc) != NULL)
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(number, sizeof number, "%" G_GUINT64_FORMAT, object);
    g_autoptr(GString) line = g_string_new("{");
    pthread_mutex_lock(&conflicts->mutex);
    struct open_file *file = g_hash_table_lookup(conflicts->files, &object);
    char *name = file != NULL ? g_strdup(file->name) : NULL;
    g_hash_table_remove(conflicts->files, &object);
    member(line, "time", when);
    member(line, "path", path);
    member(line, "object", number);
    member(line, "what", what);
    member(line, "why", why);
    member(line, "file", name != NULL ? name : "");
    g_string_append(line, "}\n");
    append(conflicts, line);
    conflicts->entries++;
    pthread_mutex_unlock(&conflicts->mutex);
    return name;
}

void ph_conflicts_status(struct ph_conflicts *conflicts, GString *out)
{
    pthread_mutex_lock(&conflicts->mutex);
    g_string_append_printf(out, "conflicts: %" G_GUINT64_FORMAT "\nconflicts-directory: %s\n",
                           conflicts->entries, conflicts->directory);
    pthread_mutex_unlock(&conflicts->mutex);
}
