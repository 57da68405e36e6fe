#include "server/store/tests/killed_run.h"

#include <sys/xattr.h>

#include "ph_commands.h"

enum { SESSION_NUMBER = 5, SLOT = 3 };

static const uint8_t client[16] = "a client of test";

void scene_find(struct scene *scene)
{
    struct fixture *fx = &scene->fx;
    fx_ok(fx, fx_lookup(fx, PH_OBJECT_ROOT, "dir"));
    if (scene->dir == 0)
        scene->dir = fx->attr->object;
    g_assert_cmpuint(fx->attr->object, ==, scene->dir);
    if (fx_lookup(fx, scene->dir, "file") == PH_ST_OK && scene->file == 0)
        scene->file = fx->attr->object;
}

void scene_begin(struct scene *scene, scene_fn request)
{
    struct fixture *fx = &scene->fx;
    memset(scene, 0, sizeof *scene);
    fx_setup(fx);
    fx->call.client = client;
    fx->call.session_number = SESSION_NUMBER;
    struct ph_store_session session = {.number = SESSION_NUMBER};
    struct ph_fault fault = {0};
    memcpy(session.client, client, sizeof client);
    fx_ok(fx, fx->store->enter_session(fx->store->self, &session, &fault));
    g_autofree char *dir = fx_path(fx, "dir");
    g_assert_cmpint(mkdir(dir, 0755), ==, 0);
    fx_put(fx, "dir/file", "content");
    fx_put(fx, "dir/other", "other content");
    g_autofree char *file = fx_path(fx, "dir/file"), *empty = fx_path(fx, "dir/empty"),
                    *below = fx_path(fx, "dir/tree/below");
    g_assert_cmpint(mkdir(empty, 0755), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(below, 0755), ==, 0);
    fx_put(fx, "dir/tree/below/leaf", "x");
    setxattr(file, "user.old", "x", 1, 0);
    scene->id = fx_id(fx);
    for (int i = 0; i < 2; i++) /* MKPATH takes three */
        fx_id(fx);
    pohmel__change__init(&scene->change);
    scene_find(scene);
    fx_close(fx);
    request(scene);
}

void scene_open(struct scene *scene)
{
    struct fixture *fx = &scene->fx;
    fx->call.in_slot = false;
    if (scene->opens && scene->file != 0)
        fx_open_object(fx, scene->file, KILLED_HANDLE, 3);
}

uint32_t scene_send(struct scene *scene, uint32_t sequence)
{
    struct fixture *fx = &scene->fx;
    Pohmel__Change *changes[1] = {&scene->change};
    Pohmel__TransactRequest request = POHMEL__TRANSACT_REQUEST__INIT;
    request.changes = changes;
    request.n_changes = 1;
    fx_begin(fx);
    fx->call.payload_in = scene->payload;
    fx->call.slot = SLOT;
    fx->call.in_slot = true;
    fx->call.sequence = sequence;
    fx->call.request_crc = 4711;
    pohmel__transact_reply__init(&scene->reply);
    scene->replayed = fx->store->recorded(fx->store->self, &fx->call, &request, &scene->reply);
    uint32_t status =
        scene->replayed ? PH_ST_OK : fx->store->transact(fx->store->self, &fx->call, &request, &scene->reply);
    fx->call.in_slot = false;
    fx->call.payload_in = NULL;
    return status;
}
