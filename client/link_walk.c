/* Finding objects again that the server forgot. A server knows the objects that
 * it found on its disk by the path on which they were looked up; after a restart it
 * answers STALE until somebody looks there again. All on the link thread. */
#include <stdlib.h>
#include <string.h>

#include "client/link_private.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum { WALK_OBJECTS_MAX = 8, WALK_NAMES_MAX = 64 /* of one LOOKUP */ };

struct walk {
    struct ph_link *link;
    struct ph_client_request *request; /* one reference */
    struct ph_arena *arena;            /* of the decoded request, to which CALLER belongs */
    const Pohmel__Caller *caller;

    uint64_t objects[WALK_OBJECTS_MAX];
    size_t object_count, at_object;
    bool found; /* one at least */

    struct ph_hint_step *steps; /* the way to the object at hand; names copied into NAMES */
    uint8_t *names;
    size_t step_count, at_step, chunk;
    uint64_t parent; /* where the next LOOKUP starts */
};

static void walk_end(struct walk *walk)
{
    struct ph_link *link = walk->link;
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    ph_client_resume(link->core, walk->request, walk->found, ph_link_now_ms(), &actions);
    ph_link_finish(link, &actions);

    ph_request_unref(walk->request);
    ph_arena_free(walk->arena);
    free(walk->steps);
    free(walk->names);
    free(walk);
}

static void walk_reply(void *data, const struct ph_reply *reply);

/* Asks for the next names of the way. */
static void walk_step(struct walk *walk)
{
    ProtobufCBinaryData names[WALK_NAMES_MAX];
    size_t left = walk->step_count - walk->at_step;
    walk->chunk = left < WALK_NAMES_MAX ? left : WALK_NAMES_MAX;
    for (size_t i = 0; i < walk->chunk; i++) {
        const struct ph_hint_step *step = &walk->steps[walk->at_step + i];
        names[i] = (ProtobufCBinaryData){.data = (uint8_t *) step->name, .len = step->len};
    }
    Pohmel__LookupRequest message = POHMEL__LOOKUP_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) walk->caller;
    message.parent = walk->parent;
    message.n_names = walk->chunk;
    message.names = names;
    struct ph_client_request *lookup = ph_request_encode(PH_CMD_LOOKUP, &message.base, NULL);
    lookup->retried = true; /* never walked for itself */
    lookup->fn = walk_reply;
    lookup->data = walk;
    if (walk->request->generation != 0)
        ph_request_for_flush(lookup, walk->request->generation);
    ph_link_submit(walk->link, lookup);
}

/* The table of hints may change while we walk: the names are copied. */
static bool find_way(struct walk *walk, uint64_t object)
{
    struct ph_link *link = walk->link;
    size_t bytes = 0;
    pthread_mutex_lock(&link->hints_mutex);
    walk->step_count = ph_hints_path(link->hints, link->info.root, object, walk->steps, PH_HINT_DEPTH_MAX);
    for (size_t i = 0; i < walk->step_count; i++) {
        uint8_t *copy = walk->names + bytes;
        memcpy(copy, walk->steps[i].name, walk->steps[i].len);
        walk->steps[i].name = copy;
        bytes += walk->steps[i].len;
    }
    pthread_mutex_unlock(&link->hints_mutex);
    walk->at_step = 0;
    walk->parent = link->info.root;
    return walk->step_count > 0;
}

/* Starts on the next object whose way is known, or ends. */
static void walk_next_object(struct walk *walk)
{
    while (walk->at_object < walk->object_count) {
        if (find_way(walk, walk->objects[walk->at_object++])) {
            walk_step(walk);
            return;
        }
    }
    walk_end(walk);
}

static void walk_reply(void *data, const struct ph_reply *reply)
{
    struct walk *walk = data;
    const Pohmel__LookupReply *found = ph_reply_lookup(reply);
    if (!found || found->failure != PH_ST_OK || found->n_found != walk->chunk) {
        walk_next_object(walk);
        return;
    }
    walk->at_step += walk->chunk;
    walk->parent = found->found[walk->chunk - 1]->object;
    if (walk->at_step < walk->step_count) {
        walk_step(walk);
        return;
    }
    /* Something else may stand there by now; then nothing was found again. */
    if (walk->parent == walk->steps[walk->step_count - 1].object)
        walk->found = true;
    walk_next_object(walk);
}

void ph_link_walk(struct ph_link *link, struct ph_client_request *request)
{
    struct walk *walk = calloc(1, sizeof(*walk));
    struct ph_hint_step *steps = calloc(PH_HINT_DEPTH_MAX, sizeof(*steps));
    uint8_t *names = malloc((size_t) PH_HINT_DEPTH_MAX * PH_NAME_MAX_BYTES);
    if (!walk || !steps || !names)
        abort();
    walk->link = link;
    walk->request = ph_request_ref(request);
    walk->arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    walk->steps = steps;
    walk->names = names;
    walk->object_count =
        ph_request_objects(request, walk->arena, walk->objects, WALK_OBJECTS_MAX, &walk->caller);
    if (!walk->caller)
        walk->object_count = 0; /* nobody in whose name to look */
    walk_next_object(walk);
}

void ph_link_learn(struct ph_link *link, uint64_t object, uint64_t parent, const void *name, size_t len)
{
    pthread_mutex_lock(&link->hints_mutex);
    ph_hints_learn(link->hints, object, parent, name, len);
    pthread_mutex_unlock(&link->hints_mutex);
}

static bool is_dots(const ProtobufCBinaryData *name)
{
    return (name->len == 1 || name->len == 2) && memcmp(name->data, "..", name->len) == 0;
}

void ph_link_learn_listing(struct ph_link *link, uint64_t directory, const Pohmel__ReaddirReply *reply)
{
    pthread_mutex_lock(&link->hints_mutex);
    /* However much is listed: the way to the directory is not what is forgotten for it. */
    ph_hints_touch(link->hints, link->info.root, directory);
    for (size_t i = 0; i < reply->n_entries; i++) {
        const Pohmel__DirEntry *entry = reply->entries[i];
        if (entry->attr != NULL && !is_dots(&entry->name))
            ph_hints_learn(link->hints, entry->object, directory, entry->name.data, entry->name.len);
    }
    pthread_mutex_unlock(&link->hints_mutex);
}
