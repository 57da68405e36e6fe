/* Many threads at once: nothing is lost, nothing answers what it may not. Meant
 * to be run under the thread sanitizer as well. */
#include <pthread.h>

#include "server/store/posix_internal.h"
#include "server/store/tests/fixture.h"

#define ROOT PH_OBJECT_ROOT

enum { THREADS = 4, ROUNDS = 300, APPENDS = 200 };

struct worker {
    struct fixture fx; /* a copy: its own call and caller, the store shared */
    uint64_t shared;
    int number;
    pthread_t thread;
};

static void workers_run(struct fixture *fx, struct worker *workers, void *(*work)(void *), uint64_t shared)
{
    for (int i = 0; i < THREADS; i++) {
        struct worker *worker = &workers[i];
        worker->fx = *fx;
        worker->fx.call = (struct ph_call){.session = fx->call.session, .arena = ph_arena_new(4 << 20)};
        worker->fx.caller.groups = worker->fx.groups;
        worker->fx.next_id = fx->next_id + (uint64_t) (i + 1) * 10000;
        worker->shared = shared;
        worker->number = i;
        g_assert_cmpint(pthread_create(&worker->thread, NULL, work, worker), ==, 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        ph_blob_unref(workers[i].fx.call.payload_out);
        ph_arena_free(workers[i].fx.call.arena);
    }
}

static void *churn(void *data)
{
    struct worker *worker = data;
    struct fixture *fx = &worker->fx;
    fx_as(fx, 41000 + (uint32_t) worker->number, 41000);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t handle = 1000 * (uint64_t) (worker->number + 1) + (uint64_t) i;
        g_autofree char *name = g_strdup_printf("w%d-%d", worker->number, i % 10);
        g_autofree char *moved = g_strdup_printf("m%d", i % 5);
        fx_ok(fx, fx_create(fx, worker->shared, name, 0644, handle, 3));
        uint64_t id = fx->attr->object;
        g_assert_cmpuint(fx->attr->uid, ==, 41000 + (uint32_t) worker->number);
        g_assert_cmpuint(fx->attr->mode & 0777, ==, 0644);
        fx_ok(fx, fx_write(fx, id, handle, 0, name, (uint32_t) strlen(name), false, true));
        fx_ok(fx, fx_rename(fx, worker->shared, name, worker->shared, moved, 0)); /* replaces the others' */
        fx_ok(fx, fx_read(fx, id, handle, 0, 100));
        g_assert_cmpstr(fx->text, ==, name);
        fx_ok(fx, fx_getattr(fx, id)); /* open: reachable with or without a name */
        uint32_t status = fx_lookup(fx, worker->shared, moved);
        g_assert_true(status == PH_ST_OK || status == PH_ST_NOT_FOUND);
        if (i % 20 == 0)
            fx_ok(fx, fx_readdir(fx, worker->shared, 0, 0, 100, true));
        fx_close_handle(fx, handle);
        status = fx_getattr(fx, id);
        g_assert_true(status == PH_ST_OK || status == PH_ST_STALE);
    }
    return NULL;
}

static void test_threads_that_take_each_others_names(void)
{
    struct fixture fx;
    struct worker workers[THREADS];
    fx_setup(&fx);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0777));
    uint64_t d = fx.attr->object;
    fx_ok(&fx, fx_setattr(&fx, d, 0, 1, 0777));
    workers_run(&fx, workers, churn, d);
    fx_ok(&fx, fx_readdir(&fx, d, 0, 0, 100, true));
    g_assert_cmpuint(fx.list->n_entries, ==, 2 + 5);
    fx_teardown(&fx);
}

static void *append(void *data)
{
    struct worker *worker = data;
    struct fixture *fx = &worker->fx;
    for (int i = 0; i < APPENDS; i++) {
        char record[9];
        g_snprintf(record, sizeof record, "%02d%06d", worker->number, i);
        fx_ok(fx, fx_write(fx, worker->shared, 1, 0, record, 8, true, true));
        uint64_t where = fx->number;
        fx_ok(fx, fx_read(fx, worker->shared, 1, where, 8));
        g_assert_cmpstr(fx->text, ==, record);
    }
    return NULL;
}

static void test_appends_tell_where_they_went(void)
{
    struct fixture fx;
    struct worker workers[THREADS];
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "log", 0666, 1, 3));
    uint64_t log = fx.attr->object;
    workers_run(&fx, workers, append, log);
    fx_ok(&fx, fx_getattr(&fx, log));
    g_assert_cmpuint(fx.attr->size, ==, THREADS * APPENDS * 8);
    fx_teardown(&fx);
}

/* What a version of the log was seen with, and whether nothing changed it then. */
struct seen {
    uint64_t version, size;
    bool quiet;
};

static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static GArray *seen;

static void note_seen(const Pohmel__Attr *attr, bool quiet)
{
    struct seen one = {attr->version, attr->size, quiet};
    pthread_mutex_lock(&seen_lock);
    g_array_append_val(seen, one);
    pthread_mutex_unlock(&seen_lock);
}

/* One appends, the others look meanwhile. */
static void *append_or_look(void *data)
{
    struct worker *worker = data;
    struct fixture *fx = &worker->fx;
    for (int i = 0; i < ROUNDS * 20; i++) {
        if (worker->number == 0)
            fx_ok(fx, fx_write(fx, worker->shared, 1, 0, "record", 6, true, true));
        fx_ok(fx, fx_getattr(fx, worker->shared));
        note_seen(fx->attr, worker->number == 0);
    }
    return NULL;
}

/* Looked at in the middle of a change, when its time has moved and nothing else has, and told afterwards. */
static void late_looks(struct fixture *fx, uint64_t log)
{
    struct ph_posix_store *store = fx->store->self;
    struct ph_object *object = ph_object_by_id(store, log);
    struct statx before, after;
    struct ph_fd *fd = NULL;
    Pohmel__Attr *late;
    g_assert_cmpuint(ph_object_fd(store, object, &fd), ==, PH_ST_OK);
    fx_ok(fx, fx_write(fx, log, 1, 0, "record", 6, true, true));
    g_assert_cmpint(ph_statx(fd->fd, "", &before), ==, 0);
    fx_ok(fx, fx_write(fx, log, 1, 0, "record", 6, true, true));
    g_assert_cmpint(ph_statx(fd->fd, "", &after), ==, 0);
    before.stx_ctime = after.stx_ctime;
    for (int changed = 0; changed <= 1; changed++) {
        fx_ok(fx, ph_attr_new(store, &fx->call, object, &before, changed != 0, &late));
        uint64_t told = late->version;
        g_assert_cmpuint(late->size, <, after.stx_size);
        fx_ok(fx, fx_getattr(fx, log));
        g_assert_cmpuint(fx->attr->size, ==, after.stx_size);
        g_assert_cmpuint(fx->attr->version, >, told);
    }
    ph_fd_unref(fd);
    ph_object_unref(store, object);
}

static int seen_cmp(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    return x->version != y->version ? (x->version > y->version) - (x->version < y->version)
                                    : y->quiet - x->quiet;
}

/* The promise: what is seen while another changes it never bears the version that it has afterwards, by which
 * who is given a lease then tells whether what it knows still holds. */
static void test_one_version_is_one_state(void)
{
    struct fixture fx;
    struct worker workers[THREADS];
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "log", 0666, 1, 3));
    late_looks(&fx, fx.attr->object);
    seen = g_array_new(FALSE, FALSE, sizeof(struct seen));
    workers_run(&fx, workers, append_or_look, fx.attr->object);
    g_array_sort(seen, seen_cmp);
    struct seen quiet = {0};
    for (guint i = 0; i < seen->len; i++) {
        const struct seen *at = &g_array_index(seen, struct seen, i);
        if (at->quiet) {
            g_assert_cmpuint(at->version, >, quiet.version);
            g_assert_cmpuint(at->size, >, quiet.size);
            quiet = *at;
        } else if (at->version == quiet.version) {
            g_assert_cmpuint(at->size, ==, quiet.size);
        }
    }
    g_array_unref(seen);
    fx_teardown(&fx);
}

/* A file that appears through us is never known by anything but its maker's id. */
static void *watch(void *data)
{
    struct worker *worker = data;
    struct fixture *fx = &worker->fx;
    for (int i = 0; i < ROUNDS; i++) {
        g_autofree char *name = g_strdup_printf("n%d", i);
        if (worker->number == 0) {
            fx_ok(fx, fx_mkdir(fx, worker->shared, name, 0755));
            continue;
        }
        for (int attempt = 0; attempt < 100; attempt++) {
            uint32_t status = fx_lookup(fx, worker->shared, name);
            if (status == PH_ST_OK) {
                g_assert_cmpuint(fx->attr->object, >=, PH_OBJECT_GIVEN_FIRST);
                break;
            }
            g_assert_cmpuint(status, ==, PH_ST_NOT_FOUND);
        }
    }
    return NULL;
}

static void test_new_objects_are_known_by_one_id(void)
{
    struct fixture fx;
    struct worker workers[THREADS];
    fx_setup(&fx);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0777));
    workers_run(&fx, workers, watch, fx.attr->object);
    fx_teardown(&fx);
}

static void *look(void *data)
{
    struct fixture *fx = data;
    fx_ok(fx, fx_getattr(fx, fx->number));
    return NULL;
}

static void test_threads_do_not_inherit_a_caller(void)
{
    struct fixture fx;
    pthread_t thread;
    fx_setup(&fx);
    fx_as(&fx, 41000, 41000);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "private", 0700));
    uint64_t private = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, private, "f", 0600, 0, 0));
    uint64_t f = fx.attr->object;
    fx_as(&fx, 41001, 41001);
    fx_is(fx_lookup(&fx, private, "f"), PH_ST_ACCESS_DENIED);
    fx.number = f;
    g_assert_cmpint(pthread_create(&thread, NULL, look, &fx), ==, 0);
    pthread_join(thread, NULL);
    fx_teardown(&fx);
}

static pthread_barrier_t together;

static void *unlink_one(void *data)
{
    struct worker *worker = data;
    struct fixture *fx = &worker->fx;
    for (int i = 0; i < ROUNDS; i++) {
        g_autofree char *name = g_strdup_printf("link%d", worker->number);
        uint64_t file = 0;
        if (worker->number == 0) {
            fx_ok(fx, fx_create(fx, ROOT, name, 0644, 0, 0));
            file = fx->attr->object;
            for (int n = 1; n < THREADS; n++) {
                g_autofree char *other = g_strdup_printf("link%d", n);
                fx_ok(fx, fx_link(fx, file, ROOT, other));
            }
        }
        pthread_barrier_wait(&together);
        fx_ok(fx, fx_remove(fx, ROOT, name, 0));
        pthread_barrier_wait(&together);
        if (worker->number == 0)
            fx_is(fx_getattr(fx, file), PH_ST_STALE); /* nothing keeps it, nor its space */
    }
    return NULL;
}

static void test_last_names_taken_at_once_leave_nothing(void)
{
    struct fixture fx;
    struct worker workers[THREADS];
    fx_setup(&fx);
    pthread_barrier_init(&together, NULL, THREADS);
    workers_run(&fx, workers, unlink_one, 0);
    pthread_barrier_destroy(&together);
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP acting as other users needs root\n");
        return 0;
    }
    g_test_add_func("/store/threads/that-take-each-others-names", test_threads_that_take_each_others_names);
    g_test_add_func("/store/threads/appends-tell-where-they-went", test_appends_tell_where_they_went);
    g_test_add_func("/store/threads/one-version-is-one-state", test_one_version_is_one_state);
    g_test_add_func("/store/threads/new-objects-are-known-by-one-id", test_new_objects_are_known_by_one_id);
    g_test_add_func("/store/threads/last-names-taken-at-once-leave-nothing",
                    test_last_names_taken_at_once_leave_nothing);
    g_test_add_func("/store/threads/do-not-inherit-a-caller", test_threads_do_not_inherit_a_caller);
    return g_test_run();
}
