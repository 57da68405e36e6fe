/* Listings: complete, each entry once, while the directory changes. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "server/store/tests/fixture.h"

#define ROOT PH_OBJECT_ROOT

enum { ENTRIES = 100000, PAGE = 1000 };

/* Others create and remove files of their own meanwhile, beside the store. */
struct disturber {
    char *directory;
    atomic_bool stop;
};

static void *disturb(void *data)
{
    struct disturber *disturber = data;
    for (unsigned i = 0; !atomic_load(&disturber->stop); i++) {
        g_autofree char *path = g_strdup_printf("%s/other-%u", disturber->directory, i % 500);
        if (i % 1000 < 500)
            g_file_set_contents_full(path, "", 0, G_FILE_SET_CONTENTS_NONE, 0644, NULL);
        else
            unlink(path);
    }
    return NULL;
}

static void count_entries(struct fixture *fx, uint8_t *seen, uint64_t *dots)
{
    for (size_t i = 0; i < fx->list->n_entries; i++) {
        const Pohmel__DirEntry *entry = fx->list->entries[i];
        g_autofree char *name = g_strndup((char *) entry->name.data, entry->name.len);
        unsigned number;
        g_assert_cmpuint(entry->object, >, 0);
        if (sscanf(name, "entry-%u", &number) == 1) {
            g_assert_cmpuint(number, <, ENTRIES);
            seen[number]++;
        } else if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            (*dots)++;
        } else {
            g_assert_true(g_str_has_prefix(name, "other-"));
        }
    }
}

static void list_all(struct fixture *fx, uint64_t directory, uint64_t handle, bool attributes)
{
    g_autofree uint8_t *seen = g_new0(uint8_t, ENTRIES);
    uint64_t cookie = 0, dots = 0;
    do {
        fx_ok(fx, fx_readdir(fx, directory, handle, cookie, PAGE, attributes));
        g_assert_true(fx->end || fx->list->n_entries > 0);
        count_entries(fx, seen, &dots);
        if (fx->list->n_entries > 0)
            cookie = fx->list->entries[fx->list->n_entries - 1]->cookie;
    } while (!fx->end);
    g_assert_cmpuint(dots, ==, 2);
    for (unsigned i = 0; i < ENTRIES; i++)
        g_assert_cmpuint(seen[i], ==, 1);
}

static void test_hundred_thousand_entries_under_change(void)
{
    struct fixture fx;
    struct disturber disturber = {0};
    pthread_t thread;
    fx_setup(&fx);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0777));
    uint64_t d = fx.attr->object;
    g_autofree char *directory = fx_path(&fx, "d");
    for (unsigned i = 0; i < ENTRIES; i++) {
        g_autofree char *path = g_strdup_printf("%s/entry-%u", directory, i);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        g_assert_cmpint(fd, >=, 0);
        close(fd);
    }
    disturber.directory = directory;
    g_assert_cmpint(pthread_create(&thread, NULL, disturb, &disturber), ==, 0);
    fx_ok(&fx, fx_open_object(&fx, d, 1, 1));
    list_all(&fx, d, 1, false);
    list_all(&fx, d, 1, true);
    atomic_store(&disturber.stop, true);
    pthread_join(thread, NULL);
    fx_teardown(&fx);
}

static void test_pages_of_any_size_agree(void)
{
    struct fixture fx;
    fx_setup(&fx);
    for (int i = 0; i < 50; i++) {
        g_autofree char *name = g_strdup_printf("file-%02d-%0*d", i, 1 + 4 * i, i);
        fx_ok(&fx, fx_create(&fx, ROOT, name, 0644, 0, 0));
    }
    for (uint32_t count = 1; count < 60; count += 7) {
        g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        uint64_t cookie = 0;
        do {
            fx_ok(&fx, fx_readdir(&fx, ROOT, 0, cookie, count, true));
            g_assert_cmpuint(fx.list->n_entries, <=, count);
            for (size_t i = 0; i < fx.list->n_entries; i++) {
                const Pohmel__DirEntry *entry = fx.list->entries[i];
                g_assert_true(g_hash_table_add(names, g_strndup((char *) entry->name.data, entry->name.len)));
                if (entry->attr != NULL)
                    g_assert_cmpuint(entry->attr->object, ==, entry->object);
                cookie = entry->cookie;
            }
        } while (!fx.end);
        g_assert_cmpuint(g_hash_table_size(names), ==, 52);
    }
    fx_teardown(&fx);
}

static void test_short_of_memory_means_shorter_pages(void)
{
    struct fixture fx;
    fx_setup(&fx);
    for (int i = 0; i < 300; i++) {
        g_autofree char *name = g_strdup_printf("file-%d", i);
        fx_ok(&fx, fx_create(&fx, ROOT, name, 0644, 0, 0));
    }
    uint64_t cookie = 0;
    size_t entries = 0, pages = 0;
    Pohmel__ReaddirRequest request = POHMEL__READDIR_REQUEST__INIT;
    Pohmel__ReaddirReply reply = POHMEL__READDIR_REPLY__INIT;
    request.caller = &fx.caller;
    request.object = ROOT;
    request.count = 512;
    request.bytes_max = 65536;
    request.attributes = true;
    for (bool end = false; !end; pages++) {
        pohmel__readdir_reply__init(&reply);
        ph_arena_reset(fx.call.arena, PH_ARENA_BASE_BYTES);
        request.cookie = cookie;
        fx_ok(&fx, fx.store->ops->readdir(fx.store->self, &fx.call, &request, &reply));
        entries += reply.n_entries;
        end = reply.end;
        if (!end)
            cookie = reply.entries[reply.n_entries - 1]->cookie;
    }
    g_assert_cmpuint(entries, ==, 302);
    g_assert_cmpuint(pages, >, 1);
    fx_teardown(&fx);
}

static void test_parent_of_the_root_is_the_root(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    uint64_t d = fx.attr->object;
    const uint64_t directories[] = {ROOT, d};
    for (size_t i = 0; i < G_N_ELEMENTS(directories); i++) {
        fx_ok(&fx, fx_readdir(&fx, directories[i], 0, 0, 100, false));
        for (size_t j = 0; j < fx.list->n_entries; j++) {
            const Pohmel__DirEntry *entry = fx.list->entries[j];
            if (entry->name.len == 2 && memcmp(entry->name.data, "..", 2) == 0)
                g_assert_cmpuint(entry->object, ==, ROOT);
        }
    }
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 1));
    fx_is(fx_readdir(&fx, fx.attr->object, 1, 0, 10, false), PH_ST_NOT_DIRECTORY);
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/listing/hundred-thousand-entries-under-change",
                    test_hundred_thousand_entries_under_change);
    g_test_add_func("/store/listing/pages-of-any-size-agree", test_pages_of_any_size_agree);
    g_test_add_func("/store/listing/short-of-memory-means-shorter-pages",
                    test_short_of_memory_means_shorter_pages);
    g_test_add_func("/store/listing/parent-of-the-root-is-the-root", test_parent_of_the_root_is_the_root);
    return g_test_run();
}
