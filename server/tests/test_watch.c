/* What other programs change shows; what this one does, and what is elsewhere, does not. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/store/tests/fixture.h"
#include "server/watch.h"
#include "server/watch_event.h"

enum {
    LIMIT_MS = 30000,
    SETTLED_US = 60 * 1000, /* for what must come */
    QUIET_MS = 700,         /* for what must not: longer than a second look takes */
    NOBODY = 65534,
};

/* What the watch told. HELD: its thread waits in the call. */
static struct told {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    GHashTable *objects; /* set of ids, as guint64 */
    gint64 last_us;      /* when it told last */
    bool held;
} told = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void on_changed(void *data, size_t export_index, uint64_t object)
{
    g_assert_true(data == &told);
    g_assert_cmpuint(export_index, ==, 0);
    pthread_mutex_lock(&told.mutex);
    g_hash_table_add(told.objects, g_memdup2(&object, sizeof object));
    told.last_us = g_get_monotonic_time();
    while (told.held)
        pthread_cond_wait(&told.wake, &told.mutex);
    pthread_mutex_unlock(&told.mutex);
}

static void forget(void)
{
    pthread_mutex_lock(&told.mutex);
    g_hash_table_remove_all(told.objects);
    pthread_mutex_unlock(&told.mutex);
}

static void hold(bool held)
{
    pthread_mutex_lock(&told.mutex);
    told.held = held;
    pthread_cond_broadcast(&told.wake);
    pthread_mutex_unlock(&told.mutex);
}

static bool was_told(uint64_t object)
{
    pthread_mutex_lock(&told.mutex);
    bool found = g_hash_table_contains(told.objects, &object);
    pthread_mutex_unlock(&told.mutex);
    return found;
}

static guint told_count(void)
{
    pthread_mutex_lock(&told.mutex);
    guint count = g_hash_table_size(told.objects);
    pthread_mutex_unlock(&told.mutex);
    return count;
}

static void untell(uint64_t object)
{
    pthread_mutex_lock(&told.mutex);
    g_hash_table_remove(told.objects, &object);
    pthread_mutex_unlock(&told.mutex);
}

static void expect(uint64_t object, const char *what)
{
    for (int waited = 0; !was_told(object); waited++) {
        if (waited > LIMIT_MS)
            g_error("%s: object %llu was not told of", what, (unsigned long long) object);
        g_usleep(1000);
    }
}

/* Waits until nothing was told for a while: what is told twice comes late where the disk is busy. */
static void settle(void)
{
    bool quiet = false;
    while (!quiet) {
        g_usleep(10 * 1000);
        pthread_mutex_lock(&told.mutex);
        quiet = g_get_monotonic_time() - told.last_us > SETTLED_US;
        pthread_mutex_unlock(&told.mutex);
    }
}

/* Another program, in the export. */
static void outside(const struct fixture *fx, const char *script)
{
    g_autofree char *command = g_strdup_printf("cd '%s' && { %s; }", fx->directory, script);
    const char *argv[] = {"sh", "-c", command, NULL};
    g_autoptr(GError) error = NULL;
    int status = 0;

    g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
}

static uint64_t id_of(struct fixture *fx, uint64_t parent, const char *name)
{
    fx_ok(fx, fx_lookup(fx, parent, name));
    return fx->attr->object;
}

/* NULL, and the test skipped, where this machine lets nobody watch. */
static struct ph_watch *watch_begin(struct fixture *fx)
{
    struct ph_watch_export export = {"test", fx->directory, fx->store};
    struct ph_watch *watch = ph_watch_new(&export, 1, on_changed, &told);

    if (!ph_watch_active(watch, 0)) {
        g_test_skip("changes cannot be watched here");
        g_clear_pointer(&watch, ph_watch_free);
    } else {
        ph_watch_start(watch);
    }
    return watch;
}

/* A name of the fixture, as told by its letter. */
struct change {
    const char *script,
        *concerns;    /* r: the root; d, e: directories; f: a file; g: another; l: a second name of f */
    const char *gone; /* what has no name after it; NULL for the same as before */
};

static const struct change changes[] = {
    {"echo more >> f", "f"},
    {": > f", "f"},
    {"truncate -s 100 f", "f"},
    {"chmod 600 f", "f"},
    {"chown 1:1 f", "f"},
    {"touch f", "f"},
    {"touch -d '2001-01-01' d", "d"},
    {"chmod 700 d", "d"},
    {"chmod 711 .", "r"},
    {"setfattr -n user.a -v b f || chmod 601 f", "f"},
    {"echo new > new", "r"},
    {"ln f hard", "rf"},
    {"ln -s f soft", "r"},
    {"mkdir sub", "r"},
    {"echo new > d/new", "d"},
    {"mv g d/g", "rdg"},
    {"mv d/g g2", "rdg"},
    {"mv g2 g", "rg"},
    {"mv d e/d", "rde"},
    {"mv e/d d", "rde"},
    {"echo x > over && mv over f2 && rm f2", "r"},
    {"rm hard", "rf"},
    {"mv g f", "rfg", "f"},
    {"rm f", "rg", "fg"},
    {"rm -r d", "rd", "fgd"},
    {"rmdir e", "re", "fgde"},
    {"rm -r new soft sub", "r"},
};

static void test_changes_are_told(void)
{
    struct fixture fx;
    uint64_t id[128] = {['r'] = PH_OBJECT_ROOT};
    const char *gone = "";

    fx_setup(&fx);
    fx_put(&fx, "f", "f");
    outside(&fx, "echo g > g; mkdir e");
    fx_ok(&fx, fx_mkdir(&fx, PH_OBJECT_ROOT, "d", 0755));
    for (const char *name = "fgde"; *name != '\0'; name++)
        id[(int) *name] = id_of(&fx, PH_OBJECT_ROOT, (char[]){*name, '\0'});
    struct ph_watch *watch = watch_begin(&fx);
    for (size_t i = 0; watch != NULL && i < G_N_ELEMENTS(changes); i++) {
        forget();
        outside(&fx, changes[i].script);
        for (const char *letter = changes[i].concerns; *letter != '\0'; letter++)
            expect(id[(int) *letter], changes[i].script);
        settle();
        /* What has no name any more is told again when the store, which keeps it for a while, lets it go. */
        for (const char *letter = gone; *letter != '\0'; letter++)
            untell(id[(int) *letter]);
        g_assert_cmpuint(told_count(), ==, strlen(changes[i].concerns));
        gone = changes[i].gone != NULL ? changes[i].gone : gone;
    }
    ph_watch_free(watch);
    fx_teardown(&fx);
}

/* The event of the deletion may come when the file is no longer there to be looked at. */
static void test_removed_files_are_told(void)
{
    struct fixture fx;

    fx_setup(&fx);
    fx_put(&fx, "f", "f");
    uint64_t file = id_of(&fx, PH_OBJECT_ROOT, "f");
    fx_ok(&fx, fx_create(&fx, PH_OBJECT_ROOT, "open", 0644, ++fx.next_handle, 3));
    uint64_t open = fx.attr->object, handle = fx.next_handle;
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL) {
        forget();
        outside(&fx, "rm f open; sync -f .");
        expect(PH_OBJECT_ROOT, "rm");
        expect(file, "rm f");
        expect(open, "rm of what is open");
    }
    fx_close_handle(&fx, handle);
    ph_watch_free(watch);
    fx_teardown(&fx);
}

static void test_own_changes_are_not_told(void)
{
    struct fixture fx;

    fx_setup(&fx);
    fx_put(&fx, "f", "f");
    uint64_t file = id_of(&fx, PH_OBJECT_ROOT, "f");
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL) {
        forget();
        fx_ok(&fx, fx_create(&fx, PH_OBJECT_ROOT, "made", 0644, ++fx.next_handle, 3));
        uint64_t made = fx.attr->object, handle = fx.next_handle;
        fx_ok(&fx, fx_write(&fx, made, handle, 0, "abc", 3, false, false));
        fx_ok(&fx, fx_setattr(&fx, file, 0, 1, 0600));
        fx_close_handle(&fx, handle);
        fx_ok(&fx, fx_rename(&fx, PH_OBJECT_ROOT, "made", PH_OBJECT_ROOT, "f", 0));
        fx_ok(&fx, fx_remove(&fx, PH_OBJECT_ROOT, "f", made));
        g_usleep(QUIET_MS * 1000);
        g_assert_cmpuint(told_count(), ==, 0);
    }
    ph_watch_free(watch);
    fx_teardown(&fx);
}

static void test_elsewhere_is_not_told(void)
{
    struct fixture fx;

    fx_setup(&fx);
    outside(
        &fx,
        "mkdir ../other; echo x > ../other/known; ln ../other/known known; mkdir unseen; echo x > unseen/f");
    uint64_t known = id_of(&fx, PH_OBJECT_ROOT, "known");
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL) {
        forget();
        outside(
            &fx,
            "echo y > ../other/new; mv ../other/new ../other/f; rm ../other/f; rmdir ../other 2>&- || true");
        outside(&fx, "echo y > unseen/f; rm unseen/f; echo z > unseen/g");
        g_usleep(QUIET_MS * 1000);
        g_assert_cmpuint(told_count(), ==, 0);
        outside(&fx, "echo y >> ../other/known"); /* by a name outside, but the same file */
        expect(known, "a second name outside of the export");
        g_assert_cmpuint(told_count(), ==, 1);
    }
    ph_watch_free(watch);
    fx_teardown(&fx);
}

static void test_what_was_just_being_looked_up_is_told(void)
{
    struct fixture fx;

    fx_setup(&fx);
    fx_put(&fx, "f", "f");
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL) {
        forget();
        outside(&fx, "echo y > f");
        g_usleep(20000); /* the event has been read, and the store did not know the file */
        g_assert_cmpuint(told_count(), ==, 0);
        expect(id_of(&fx, PH_OBJECT_ROOT, "f"), "a file that became known after the event");
    }
    ph_watch_free(watch);
    fx_teardown(&fx);
}

static void test_what_left_memory_is_told(void)
{
    struct fixture fx;
    uint64_t ids[20];
    char name[16];

    fx_setup(&fx);
    fx_close(&fx);
    fx.options.objects_max = 4;
    fx_open(&fx);
    outside(&fx, "for i in $(seq 0 19); do echo $i > f$i; done");
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_snprintf(name, sizeof name, "f%u", i);
        ids[i] = id_of(&fx, PH_OBJECT_ROOT, name);
    }
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL) {
        forget();
        outside(&fx, "for i in $(seq 0 19); do echo x > f$i; done");
        for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++)
            expect(ids[i], "a file that had no room in memory");
    }
    ph_watch_free(watch);
    fx_teardown(&fx);
}

/* More than the queue of an ordinary watcher holds. */
static void test_nothing_is_lost_in_a_crowd(void)
{
    struct fixture fx;

    fx_setup(&fx);
    fx_put(&fx, "f", "f");
    fx_put(&fx, "g", "g");
    uint64_t f = id_of(&fx, PH_OBJECT_ROOT, "f"), g = id_of(&fx, PH_OBJECT_ROOT, "g");
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL) {
        forget();
        hold(true);
        outside(&fx, "echo x > f");
        expect(f, "echo");
        outside(&fx, "mkdir many; cd many; seq 1 20000 | xargs touch; cd ..; rm -r many; echo x > g");
        hold(false);
        expect(g, "the last of many changes");
        g_assert_false(was_told(0));
    }
    ph_watch_free(watch);
    fx_teardown(&fx);
}

static void test_mounts_below_are_watched(void)
{
    struct fixture fx;

    fx_setup(&fx);
    outside(&fx, "mkdir below");
    g_autofree char *below = fx_path(&fx, "below");
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL && mount("test", below, "tmpfs", 0, NULL) != 0) {
        g_test_skip("mounting is not allowed here");
    } else if (watch != NULL) {
        expect(0, "a mount");
        outside(&fx, "echo x > below/f");
        uint64_t directory = id_of(&fx, PH_OBJECT_ROOT, "below"), file = id_of(&fx, directory, "f");
        forget();
        outside(&fx, "echo y > below/f; touch below/g");
        expect(file, "a file below a mount");
        expect(directory, "the root of a mount");
        g_assert_true(ph_watch_active(watch, 0));
        forget();
        g_assert_cmpint(mount("test", below, "proc", 0, NULL), ==, 0);
        expect(0, "a mount that cannot be watched");
        g_assert_false(ph_watch_active(watch, 0));
        g_assert_cmpint(umount2(below, MNT_DETACH), ==, 0);
        forget();
        g_assert_cmpint(umount2(below, MNT_DETACH), ==, 0);
        expect(0, "unmounting");
        g_assert_true(ph_watch_active(watch, 0));
    }
    ph_watch_free(watch);
    fx_teardown(&fx);
}

static void test_without_root_it_says_so(void)
{
    if (g_test_subprocess()) {
        struct fixture fx;

        fx_setup(&fx);
        g_assert_cmpint(setresuid(NOBODY, NOBODY, NOBODY), ==, 0);
        struct ph_watch_export export = {"test", fx.directory, fx.store};
        struct ph_watch *watch = ph_watch_new(&export, 1, on_changed, &told);
        ph_watch_start(watch);
        g_assert_false(ph_watch_active(watch, 0));
        ph_watch_free(watch);
        g_assert_false(ph_watch_active(NULL, 0));
        _exit(0);
    }
    if (geteuid() != 0) {
        g_test_skip("only root can become somebody else");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr(
        "*export test: what other programs change * shows late in mounts: that needs root*");
}

static void test_events_are_taken_apart_within_bounds(void)
{
    struct {
        struct fanotify_event_metadata head;
        struct fanotify_event_info_header info;
        int32_t fsid[2];
        uint32_t handle_bytes;
        int32_t handle_type;
        uint32_t handle[3];
    } one = {
        .head = {.event_len = sizeof one,
                 .vers = FANOTIFY_METADATA_VERSION,
                 .metadata_len = sizeof one.head,
                 .mask = FAN_MODIFY,
                 .pid = 5},
        .info = {.info_type = FAN_EVENT_INFO_TYPE_FID, .len = sizeof one - sizeof one.head},
        .fsid = {1, 2},
        .handle_bytes = sizeof one.handle,
        .handle_type = 1,
        .handle = {7, 77, 0},
    };
    const uint8_t *bytes = (const uint8_t *) &one;
    struct ph_watch_event event;
    size_t at = 0;

    g_assert_true(ph_watch_event_next(bytes, sizeof one, &at, &event));
    g_assert_cmpuint(at, ==, sizeof one);
    g_assert_true(event.has_object && !event.has_directory && event.pid == 5 && event.mask == FAN_MODIFY);
    g_assert_true(event.object.fsid[1] == 2 && event.object.handle_bytes == sizeof one.handle);
    g_assert_cmpmem(event.object.handle, event.object.handle_bytes, one.handle, sizeof one.handle);
    g_assert_false(ph_watch_event_next(bytes, sizeof one, &at, &event));
    for (size_t len = 0; len < sizeof one; len++) {
        g_autofree uint8_t *cut = g_memdup2(bytes, len);

        at = 0;
        g_assert_false(ph_watch_event_next(cut, len, &at, &event));
        g_assert_cmpuint(at, ==, 0);
    }
    one.handle_bytes = sizeof one.handle + 1;
    g_assert_false(ph_watch_event_next(bytes, sizeof one, &at, &event));
    one.handle_bytes = sizeof one.handle;
    one.info.len = 0;
    g_assert_false(ph_watch_event_next(bytes, sizeof one, &at, &event));
    one.info.len = UINT16_MAX;
    g_assert_false(ph_watch_event_next(bytes, sizeof one, &at, &event));
}

static void test_mounts_are_read(void)
{
    g_autoptr(GPtrArray) mounts = ph_mounts_parse(
        "23 1 254:0 / / rw,relatime - ext4 /dev/vda rw\nnonsense\n\n1 2 3 4 5 6 7\n"
        "44 27 0:39 /a /mnt/with\\040blank rw shared:7 master:1 - btrfs /dev/loop1 rw,subvol=/\n");
    const struct ph_mount *second;

    g_assert_cmpuint(mounts->len, ==, 2);
    second = mounts->pdata[1];
    g_assert_cmpuint(second->id, ==, 44);
    g_assert_cmpstr(second->point, ==, "/mnt/with blank");
    g_assert_cmpstr(second->type, ==, "btrfs");
}

/* Appends to PATH whenever it is asked to, and says when it had done so. */
static void appender(const char *path, int asked, int said)
{
    int file = open(path, O_WRONLY | O_APPEND);
    char byte;

    while (read(asked, &byte, 1) == 1) {
        gint64 now = 0;

        if (write(file, "x", 1) == 1)
            now = g_get_monotonic_time();
        if (write(said, &now, sizeof now) != sizeof now)
            break;
    }
    _exit(0);
}

static gint compare_times(gconstpointer a, gconstpointer b)
{
    return *(const gint64 *) a < *(const gint64 *) b ? -1 : 1;
}

static void measure_delays(uint64_t object, int ask, int answers)
{
    gint64 delays[101], done_us;

    for (size_t i = 0; i < G_N_ELEMENTS(delays); i++) {
        g_usleep(2000 + 97 * (gulong) i);
        forget();
        g_assert_cmpint(write(ask, "x", 1), ==, 1);
        g_assert_cmpint(read(answers, &done_us, sizeof done_us), ==, sizeof done_us);
        g_assert_cmpint(done_us, >, 0);
        expect(object, "an append");
        pthread_mutex_lock(&told.mutex);
        delays[i] = told.last_us - done_us;
        pthread_mutex_unlock(&told.mutex);
    }
    qsort(delays, G_N_ELEMENTS(delays), sizeof delays[0], compare_times);
    g_test_message("delay: median %d us, 99 %%: %d us", (int) delays[50], (int) delays[99]);
    g_assert_cmpint(delays[50], <, LIMIT_MS * 1000);
}

static void test_changes_are_told_soon(void)
{
    struct fixture fx;
    int ask[2], answers[2];

    fx_setup(&fx);
    fx_put(&fx, "f", "f");
    g_autofree char *path = fx_path(&fx, "f");
    uint64_t file = id_of(&fx, PH_OBJECT_ROOT, "f");
    g_assert_true(pipe2(ask, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0);
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        close(ask[1]);
        appender(path, ask[0], answers[1]);
    }
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL)
        measure_delays(file, ask[1], answers[0]);
    close(ask[1]);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    close(ask[0]);
    close(answers[0]);
    close(answers[1]);
    ph_watch_free(watch);
    fx_teardown(&fx);
}

static void test_ends_at_once_under_load(void)
{
    struct fixture fx;

    fx_setup(&fx);
    struct ph_watch *watch = watch_begin(&fx);
    if (watch != NULL) {
        outside(&fx, "for i in 1 2 3 4 5 6 7 8; do echo $i > f$i; done");
        gint64 begin = g_get_monotonic_time();
        ph_watch_free(watch);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, LIMIT_MS * 1000);
    }
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    told.objects = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_test_add_func("/watch/changes-of-others-are-told", test_changes_are_told);
    g_test_add_func("/watch/removed-files-are-told", test_removed_files_are_told);
    g_test_add_func("/watch/own-changes-are-not-told", test_own_changes_are_not_told);
    g_test_add_func("/watch/elsewhere-is-not-told", test_elsewhere_is_not_told);
    g_test_add_func("/watch/what-was-just-being-looked-up-is-told",
                    test_what_was_just_being_looked_up_is_told);
    g_test_add_func("/watch/what-left-memory-is-told", test_what_left_memory_is_told);
    g_test_add_func("/watch/nothing-is-lost-in-a-crowd", test_nothing_is_lost_in_a_crowd);
    g_test_add_func("/watch/mounts-below-are-watched", test_mounts_below_are_watched);
    g_test_add_func("/watch/without-root-it-says-so", test_without_root_it_says_so);
    g_test_add_func("/watch/events-are-taken-apart-within-bounds", test_events_are_taken_apart_within_bounds);
    g_test_add_func("/watch/mounts-are-read", test_mounts_are_read);
    g_test_add_func("/watch/changes-are-told-soon", test_changes_are_told_soon);
    g_test_add_func("/watch/ends-at-once-under-load", test_ends_at_once_under_load);
    int result = g_test_run();
    g_hash_table_unref(told.objects);
    return result;
}
