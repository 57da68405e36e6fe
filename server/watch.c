/* The thread that reads the events, and what it makes of them. */
#include "server/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include "runtime/io/thread.h"
#include "server/log.h"
#include "server/store/posix.h"
#include "server/watch_event.h"
#include "server/watch_volume.h"

#define MOUNTS "/proc/self/mountinfo"
#define NAME_EVENTS (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)
/* FAN_CLOSE_WRITE is for files that were written to through a mapping. */
#define EVENTS (NAME_EVENTS | FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_ONDIR)

enum {
    BUFFER_BYTES = 64 * 1024,
    /* Between two readings. What this process does makes events as well; collected for
     * a moment they cost one waking of the thread, and the kernel joins those of one file. */
    REST_MS = 1,
    REST_ALONE_MS = 5,    /* when nobody else did anything */
    LOOK_AGAIN_MS = 250,  /* until a second look for what the store did not know */
    MISSED_MAX = 1 << 16, /* files to look at again; where there are more, everything counts as changed */
};

struct watched {
    char *name, *directory;
    struct ph_store *store;
    char *mounts; /* those that show below the directory, as text, to see whether they changed */
    atomic_bool active;
};

/* A file that the store did not know. */
struct missed {
    uint64_t dev, ino;
};

struct ph_watch {
    ph_watch_changed changed;
    void *data;
    struct watched *exports;
    size_t count;
    GPtrArray *volumes;
    GHashTable *missed, *missed_before; /* sets of struct missed; looked at again: the second */
    int group, stop, mounts;            /* descriptors; -1 for none */
    pid_t self;
    bool running;
    pthread_t thread;
    uint8_t buffer[BUFFER_BYTES];
};

/* ---- What is watched ---- */

static bool below(const char *path, const char *directory)
{
    size_t len = strlen(directory);

    return strcmp(directory, "/") == 0 ||
           (strncmp(path, directory, len) == 0 && (path[len] == '\0' || path[len] == '/'));
}

/* The mount on which DIRECTORY lies. */
static const struct ph_mount *mount_of(const GPtrArray *mounts, const char *directory)
{
    const struct ph_mount *best = NULL;

    for (guint i = 0; i < mounts->len; i++) {
        const struct ph_mount *mount = mounts->pdata[i];

        if (below(directory, mount->point) && (best == NULL || strlen(mount->point) >= strlen(best->point)))
            best = mount;
    }
    return best;
}

/* The mounts that matter for DIRECTORY: its own, and those below. */
static GPtrArray *mounts_for(GPtrArray *mounts, const char *directory)
{
    const struct ph_mount *own = mount_of(mounts, directory);
    GPtrArray *out = g_ptr_array_new();

    for (guint i = 0; i < mounts->len; i++) {
        struct ph_mount *mount = mounts->pdata[i];

        if (mount == own || (below(mount->point, directory) && mount_of(mounts, mount->point) == mount))
            g_ptr_array_add(out, mount);
    }
    return out;
}

static char *mounts_text(const GPtrArray *mounts)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < mounts->len; i++) {
        const struct ph_mount *mount = mounts->pdata[i];

        g_string_append_printf(text, "%u %s\n", mount->id, mount->point);
    }
    return g_string_free(text, FALSE);
}

static const char *why_not(int error)
{
    switch (error) {
    case EPERM:
        return "that needs root (CAP_SYS_ADMIN)";
    case EINVAL:
    case ENOSYS:
        return "that needs Linux 5.17 with fanotify";
    case EOPNOTSUPP:
    case ENODEV:
        return "this filesystem does not tell which files change";
    case EXDEV:
        return "a subvolume does not tell which files change";
    default:
        return g_strerror(error);
    }
}

/* Has the filesystem of MOUNT tell its changes; PATH lies on it. NULL, or why that cannot be. */
static const char *volume_watch(struct ph_watch *watch, const struct ph_mount *mount, const char *path)
{
    const char *why = NULL;
    struct ph_volume *volume = ph_volume_new(mount, path, &why);

    if (volume == NULL)
        return why;
    if (fanotify_mark(watch->group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, EVENTS, AT_FDCWD, path) != 0) {
        why = why_not(errno);
        ph_volume_free(volume);
        return why;
    }
    for (guint i = 0; i < watch->volumes->len; i++) {
        if (ph_volume_same(watch->volumes->pdata[i], volume)) {
            ph_volume_free(volume);
            return NULL;
        }
    }
    g_ptr_array_add(watch->volumes, volume);
    return NULL;
}

/* Watches EXPORT as it is mounted now. */
static void export_watch(struct ph_watch *watch, struct watched *export, GPtrArray *mounts)
{
    bool active = mounts->len > 0;

    for (guint i = 0; i < mounts->len && active; i++) {
        const struct ph_mount *mount = mounts->pdata[i];
        const char *path = below(mount->point, export->directory) ? mount->point : export->directory;
        const char *why = volume_watch(watch, mount, path);

        active = why == NULL;
        if (!active)
            ph_log("export %s: what other programs change in %s (%s) shows late in mounts: %s", export->name,
                   path, mount->type, why);
    }
    atomic_store(&export->active, active);
}

/* Looks at what is mounted, and tells when that has changed for an export. */
static void mounts_look(struct ph_watch *watch, bool at_start)
{
    g_autofree char *text = NULL;
    g_autoptr(GPtrArray) mounts = NULL;

    if (!g_file_get_contents(MOUNTS, &text, NULL, NULL))
        text = g_strdup("");
    mounts = ph_mounts_parse(text);
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *export = &watch->exports[i];
        g_autoptr(GPtrArray) mine = NULL;
        g_autofree char *now = NULL;

        if (export->store == NULL)
            continue;
        mine = mounts_for(mounts, export->directory);
        now = mounts_text(mine);
        if (g_strcmp0(now, export->mounts) == 0)
            continue;
        g_free(export->mounts);
        export->mounts = g_steal_pointer(&now);
        export_watch(watch, export, mine);
        if (!at_start)
            watch->changed(watch->data, i, 0);
    }
}

/* ---- What was changed ---- */

static guint missed_hash(gconstpointer key)
{
    const struct missed *missed = key;

    return (guint) (((missed->ino ^ (missed->dev << 40)) * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static gboolean missed_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(struct missed)) == 0;
}

static void tell_all(struct ph_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++)
        if (watch->exports[i].store != NULL)
            watch->changed(watch->data, i, 0);
}

/* Tells those exports whose store knows the file; false when there are none. */
static bool tell(struct ph_watch *watch, uint64_t dev, uint64_t ino)
{
    bool known = false;

    for (size_t i = 0; i < watch->count; i++) {
        uint64_t object =
            watch->exports[i].store == NULL ? 0 : ph_posix_outside(watch->exports[i].store, dev, ino);

        if (object != 0)
            watch->changed(watch->data, i, object);
        known = known || object != 0;
    }
    return known;
}

static void file_changed(struct ph_watch *watch, const struct ph_file_id *file)
{
    struct missed missed;

    for (guint i = 0; i < watch->volumes->len; i++) {
        const struct ph_volume *volume = watch->volumes->pdata[i];

        if (!ph_volume_has(volume, file) || !ph_volume_identify(volume, file, &missed.dev, &missed.ino))
            continue;
        if (tell(watch, missed.dev, missed.ino))
            return;
        if (g_hash_table_size(watch->missed) < MISSED_MAX) {
            g_hash_table_add(watch->missed, g_memdup2(&missed, sizeof missed));
        } else {
            g_hash_table_remove_all(watch->missed);
            tell_all(watch);
        }
        return;
    }
}

/* What was missed a while ago is looked at again, and then forgotten. */
static void look_again(struct ph_watch *watch)
{
    GHashTable *old = watch->missed_before;
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, old);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const struct missed *missed = key;

        tell(watch, missed->dev, missed->ino);
    }
    g_hash_table_remove_all(old);
    watch->missed_before = watch->missed;
    watch->missed = old;
}

/* False for what this process did itself. */
static bool happened(struct ph_watch *watch, const struct ph_watch_event *event)
{
    if (event->mask & FAN_Q_OVERFLOW) {
        ph_log("too much was changed by other programs at once: everything counts as changed");
        tell_all(watch);
        return true;
    }
    if (event->pid == watch->self)
        return false;
    /* Where there is no object, the event is on the directory itself. */
    if (event->has_directory && (!event->has_object || (event->mask & NAME_EVENTS) != 0))
        file_changed(watch, &event->directory);
    if (event->has_object)
        file_changed(watch, &event->object);
    return true;
}

/* ---- The thread ---- */

/* Reads what there is; OTHERS: some of it is not of this process. False: nothing more will ever come. */
static bool read_events(struct ph_watch *watch, bool *others)
{
    ssize_t len = read(watch->group, watch->buffer, sizeof watch->buffer);
    struct ph_watch_event event;
    size_t at = 0;

    if (len < 0)
        return errno == EAGAIN || errno == EINTR;
    while (ph_watch_event_next(watch->buffer, (size_t) len, &at, &event))
        *others = happened(watch, &event) || *others;
    errno = EPROTO;
    return at == (size_t) len;
}

static void end_watching(struct ph_watch *watch, const char *why)
{
    ph_log("what other programs change in the exports shows late in mounts from now on: %s", why);
    for (size_t i = 0; i < watch->count; i++)
        atomic_store(&watch->exports[i].active, false);
    tell_all(watch);
}

static int time_left(const struct ph_watch *watch, gint64 look_again_at)
{
    gint64 left_ms = (look_again_at - g_get_monotonic_time()) / 1000 + 1;

    if (g_hash_table_size(watch->missed) == 0 && g_hash_table_size(watch->missed_before) == 0)
        return -1;
    return (int) CLAMP(left_ms, 0, LOOK_AGAIN_MS);
}

static void *watch_run(void *data)
{
    struct ph_watch *watch = data;
    gint64 look_again_at = g_get_monotonic_time();
    struct pollfd polled[] = {
        {.fd = watch->stop, .events = POLLIN},
        {.fd = watch->mounts, .events = POLLPRI},
        {.fd = watch->group, .events = POLLIN},
    };
    bool well = true;

    while (well) {
        poll(polled, G_N_ELEMENTS(polled), time_left(watch, look_again_at));
        bool others = false;

        if (polled[0].revents != 0)
            return NULL;
        if (polled[1].revents != 0)
            mounts_look(watch, false);
        if (polled[2].revents != 0)
            well = read_events(watch, &others);
        if (g_get_monotonic_time() >= look_again_at) {
            look_again(watch);
            look_again_at = g_get_monotonic_time() + LOOK_AGAIN_MS * G_TIME_SPAN_MILLISECOND;
        }
        poll(polled, 1, others ? REST_MS : REST_ALONE_MS);
    }
    end_watching(watch, g_strerror(errno));
    return NULL;
}

/* ---- Start and end ---- */

/* All of the filesystem is watched, with what lies beside the exports and what this process does. On a busy
 * machine that fills a queue with a limit; then all that clients keep is taken from them, and one that sleeps
 * is fenced for nothing. */
static bool open_descriptors(struct ph_watch *watch)
{
    const unsigned how = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME_TARGET;

    watch->group = fanotify_init(how | FAN_UNLIMITED_QUEUE, 0);
    if (watch->group < 0 && errno == EPERM)
        watch->group = fanotify_init(how, 0);
    if (watch->group < 0)
        return false;
    watch->stop = eventfd(0, EFD_CLOEXEC);
    watch->mounts = open(MOUNTS, O_RDONLY | O_CLOEXEC);
    return watch->stop >= 0 && watch->mounts >= 0;
}

static void copy_exports(struct ph_watch *watch, const struct ph_watch_export *exports, size_t count)
{
    watch->exports = g_new0(struct watched, count);
    watch->count = count;
    for (size_t i = 0; i < count; i++) {
        char *path = realpath(exports[i].directory, NULL);

        watch->exports[i].name = g_strdup(exports[i].name);
        watch->exports[i].directory = g_strdup(path != NULL ? path : exports[i].directory);
        watch->exports[i].store = exports[i].store;
        free(path);
    }
}

void ph_watch_start(struct ph_watch *watch)
{
    bool any = false;

    for (size_t i = 0; i < watch->count; i++)
        any = any || watch->exports[i].active;
    if (!any)
        return;
    watch->running = ph_thread_start(&watch->thread, NULL, watch_run, watch) == 0;
    if (!watch->running)
        end_watching(watch, "no thread could be started");
}

struct ph_watch *ph_watch_new(const struct ph_watch_export *exports, size_t count, ph_watch_changed changed,
                              void *data)
{
    struct ph_watch *watch = g_new0(struct ph_watch, 1);

    watch->changed = changed;
    watch->data = data;
    watch->self = getpid();
    watch->group = watch->stop = watch->mounts = -1;
    watch->volumes = g_ptr_array_new_with_free_func((GDestroyNotify) ph_volume_free);
    watch->missed = g_hash_table_new_full(missed_hash, missed_equal, g_free, NULL);
    watch->missed_before = g_hash_table_new_full(missed_hash, missed_equal, g_free, NULL);
    copy_exports(watch, exports, count);
    if (open_descriptors(watch))
        mounts_look(watch, true);
    else
        ph_log("what other programs change in the exports shows late in mounts: %s", why_not(errno));
    return watch;
}

bool ph_watch_active(const struct ph_watch *watch, size_t export_index)
{
    return watch != NULL && export_index < watch->count && atomic_load(&watch->exports[export_index].active);
}

void ph_watch_free(struct ph_watch *watch)
{
    if (watch == NULL)
        return;
    if (watch->running) {
        eventfd_write(watch->stop, 1);
        pthread_join(watch->thread, NULL);
    }
    for (size_t i = 0; i < watch->count; i++) {
        g_free(watch->exports[i].name);
        g_free(watch->exports[i].directory);
        g_free(watch->exports[i].mounts);
    }
    int fds[] = {watch->group, watch->stop, watch->mounts};
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    g_free(watch->exports);
    g_ptr_array_unref(watch->volumes);
    g_hash_table_unref(watch->missed);
    g_hash_table_unref(watch->missed_before);
    g_free(watch);
}
