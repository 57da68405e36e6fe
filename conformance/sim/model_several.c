/* Transactions of several commands in the model store: a list of what undoes them, which outlives the server
 * (docs/decisions/0016-several-commands.md). Between its commands others may come: the server has to keep
 * them out, and it may die there. */
#include <string.h>

#include "conformance/sim/model_private.h"
#include "runtime/base/mutant.h"

static void free_objects(void *objects)
{
    g_hash_table_unref(objects);
}

void model_several_init(struct model_store *store)
{
    store->undo.before = g_ptr_array_new_with_free_func(free_objects);
    store->undo.made = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    store->undo.opened = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    store->outcomes = g_array_new(FALSE, FALSE, sizeof(struct model_outcome));
}

void model_several_clear(struct model_store *store)
{
    g_ptr_array_unref(store->undo.before);
    g_array_unref(store->undo.made);
    g_array_unref(store->undo.opened);
    g_array_unref(store->outcomes);
}

void model_store_between(struct model_store *store, void (*between)(void *data), void *data)
{
    store->between = between;
    store->between_data = data;
}

/* Time passes, and others have their turn. FALSE: the server has died. */
static gboolean pass(struct model_store *store)
{
    if (store->between)
        store->between(store->between_data);
    return !store->dead;
}

/* Nothing is to be undone any more. */
static void forget(struct model_undo *undo)
{
    g_ptr_array_set_size(undo->before, 0);
    g_array_set_size(undo->made, 0);
    g_array_set_size(undo->opened, 0);
    undo->done = undo->running = FALSE;
}

static const struct model_outcome *outcome_of(const struct model_store *store, const uint8_t *client,
                                              uint64_t key)
{
    for (guint i = 0; i < store->outcomes->len; i++) {
        const struct model_outcome *outcome = &g_array_index(store->outcomes, struct model_outcome, i);
        if (outcome->key == key && memcmp(outcome->client, client, sizeof(outcome->client)) == 0)
            return outcome;
    }
    return NULL;
}

static void outcome_put(struct model_store *store, const uint8_t *client, uint64_t key, gboolean done)
{
    struct model_outcome outcome = {.key = key, .done = done};
    memcpy(outcome.client, client, sizeof(outcome.client));
    if (key != 0)
        g_array_append_val(store->outcomes, outcome);
}

uint32_t model_several_outcome(void *self, struct ph_call *call, const Pohmel__OutcomeRequest *request,
                               Pohmel__OutcomeReply *reply)
{
    struct model_store *store = self;
    if (store->undo.running && store->undo.key == request->key &&
        memcmp(store->undo.of.client, call->client, sizeof(store->undo.of.client)) == 0)
        return PH_ST_IO_ERROR;
    const struct model_outcome *outcome = outcome_of(store, call->client, request->key);
    if (!outcome)
        outcome_put(store, call->client, request->key, FALSE);
    reply->done = outcome && outcome->done;
    return PH_ST_OK;
}

static void begin(struct model_store *store, const struct ph_call *call, uint64_t key)
{
    struct model_undo *undo = &store->undo;
    forget(undo);
    undo->running = TRUE;
    undo->moments = store->moments->len;
    undo->of = (struct model_record){.session = call->session_number,
                                     .epoch = store->epoch,
                                     .slot = call->slot,
                                     .sequence = call->sequence,
                                     .crc = call->request_crc};
    undo->in_slot = call->in_slot;
    undo->key = call->in_slot ? key : 0;
    if (call->in_slot)
        memcpy(undo->of.client, call->client, sizeof(undo->of.client));
}

/* As it was before the last command of the list; what that touched is not of the version that it was of. */
static void undo_last(struct model_store *store)
{
    GPtrArray *before = store->undo.before;
    GHashTable *now = store->objects;
    GHashTableIter iter;
    gpointer value;
    store->objects = g_ptr_array_steal_index(before, before->len - 1);
    g_hash_table_iter_init(&iter, store->objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct model_object *object = value;
        const struct model_object *was = g_hash_table_lookup(now, &object->id);
        if (!was || was->version != object->version)
            model_touch(store, object);
    }
    g_hash_table_unref(now);
    model_drop_unused(store);
}

/* Ids of what was made may come again. */
static void undone(struct model_store *store)
{
    struct model_undo *undo = &store->undo;
    for (guint i = 0; i < undo->made->len; i++)
        g_hash_table_remove(store->used, &g_array_index(undo->made, uint64_t, i));
    g_array_set_size(store->moments, undo->moments);
    forget(undo);
}

static uint32_t execute_one(struct model_store *store, struct ph_call *call, Pohmel__Change *change,
                            Pohmel__ChangeResult *result)
{
    struct model_undo *undo = &store->undo;
    if (store->fail_changes > 0) {
        store->fail_changes--;
        return store->fail_status;
    }
    g_ptr_array_add(undo->before, model_copy_objects(store->objects));
    uint32_t status = ph_dispatch_change(&model_ops, store, call, change, result);
    if (status == PH_ST_OK && change->command_case == POHMEL__CHANGE__COMMAND_CREATE &&
        change->create->handle != 0)
        g_array_append_val(undo->opened, change->create->handle);
    return status;
}

/* Nothing has happened; command number FAILED says why. PENDING: the server died over it. */
static uint32_t take_back(struct model_store *store, const struct ph_call *call, uint32_t status,
                          size_t failed, Pohmel__TransactReply *reply)
{
    struct model_undo *undo = &store->undo;
    for (guint i = 0; i < undo->opened->len; i++)
        store->interface.close(store, call->session, g_array_index(undo->opened, uint64_t, i));
    while (undo->before->len > (PH_MUTANT(NOT_ALL_BACK) ? 1U : 0U)) {
        undo_last(store);
        if (!pass(store))
            return PH_ST_IO_ERROR;
    }
    undone(store);
    reply->failed = (uint32_t) failed + 1;
    for (size_t i = 0; i < reply->n_results; i++) {
        pohmel__change_result__init(reply->results[i]);
        reply->results[i]->status = i == failed ? status : PH_ST_ABORTED;
    }
    return status;
}

/* All commands were executed: it is recorded, and nothing is left to be undone. */
static uint32_t finish(struct model_store *store, const struct ph_call *call, Pohmel__TransactReply *reply)
{
    struct model_undo *undo = &store->undo;
    undo->done = TRUE;
    outcome_put(store, undo->of.client, undo->key, TRUE);
    if (!pass(store))
        return PH_ST_IO_ERROR;
    reply->stable = call->sequence;
    model_record_keep(store, call, reply);
    if (!pass(store))
        return PH_ST_IO_ERROR;
    model_power_all_stable(store);
    forget(undo);
    return PH_ST_OK;
}

uint32_t model_several(struct model_store *store, struct ph_call *call,
                       const Pohmel__TransactRequest *request, Pohmel__TransactReply *reply)
{
    uint32_t status = PH_ST_OK;
    size_t done = 0;
    if (store->undo.running)
        model_violate(store, "two transactions of several commands were executed at the same time");
    if (store->undo.running)
        return PH_ST_IO_ERROR;
    const struct model_outcome *outcome =
        request->key != 0 && call->in_slot ? outcome_of(store, call->client, request->key) : NULL;
    if (outcome && !PH_MUTANT(DONE_AGAIN)) {
        reply->n_results = 0;
        return outcome->done ? PH_ST_OK : PH_ST_STALE;
    }
    begin(store, call, request->key);
    model_power_all_stable(store);
    for (; done < request->n_changes && status == PH_ST_OK; done += status == PH_ST_OK) {
        status = execute_one(store, call, request->changes[done], reply->results[done]);
        if (!pass(store))
            return PH_ST_IO_ERROR;
    }
    return status == PH_ST_OK ? finish(store, call, reply) : take_back(store, call, status, done, reply);
}

void model_several_lose_power(struct model_store *store, gboolean stable)
{
    struct model_undo *undo = &store->undo;
    gboolean lost = undo->before->len > 0 && !stable;
    if (stable)
        model_power_all_stable(store);
    if (lost) {
        g_hash_table_unref(store->objects);
        store->objects = g_ptr_array_steal_index(undo->before, 0);
    }
    if (lost && undo->done && undo->key != 0) /* with its mark, which nobody was told of */
        g_array_set_size(store->outcomes, store->outcomes->len - 1);
    g_ptr_array_set_size(undo->before, 0);
    undo->in_slot = FALSE;
}

void model_several_recover(struct model_store *store)
{
    struct model_undo *undo = &store->undo;
    if (undo->done) /* before its mark was written */
        model_power_all_stable(store);
    if (undo->done && undo->in_slot && !PH_MUTANT(DONE_AGAIN))
        model_record_done(store, &undo->of);
    while (!undo->done && !PH_MUTANT(NOT_UNDONE) && undo->before->len > 0)
        undo_last(store);
    if (undo->running && !undo->done)
        undone(store);
    forget(undo);
}
