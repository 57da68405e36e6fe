/* Transactions of several commands: all or nothing, also when the server is killed.
 * docs/decisions/0016-several-commands.md. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ph_commands.h"
#include "runtime/wire/frame.h"
#include "server/store/posix_recover.h"
#include "server/store/posix_undo.h"

enum {
    SCRATCH_BYTES = 64 * 1024, /* for the result of a command that nobody is told */
};

void ph_undo_begin(struct ph_undo *undo, struct ph_posix_store *store, struct ph_call *call)
{
    *undo = (struct ph_undo){
        .store = store,
        .call = call,
        .log = store->undo,
        .made = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
        .seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
        .sizes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free),
        .others = g_array_new(FALSE, FALSE, sizeof(struct ph_undo_other)),
    };
}

void ph_undo_end(struct ph_undo *undo)
{
    for (guint i = 0; i < undo->others->len; i++)
        close(g_array_index(undo->others, struct ph_undo_other, i).fd);
    g_array_unref(undo->others);
    g_hash_table_unref(undo->made);
    g_hash_table_unref(undo->seen);
    g_hash_table_unref(undo->sizes);
}

/* ---- Executing ---- */

struct several {
    struct ph_undo undo;
    const struct ph_store_ops *ops;
    struct ph_call *call;
    struct ph_undo_name name;
    struct ph_journal_record *record; /* NULL where nothing is recorded */
    GArray *handles;                  /* uint64_t, that it opened */
    uint32_t done;                    /* commands */
    bool begun;
};

static void name_put(const struct ph_call *call, uint64_t key, struct ph_undo_name *name)
{
    if (!call->in_slot || call->client == NULL)
        return;
    name->key = key;
    memcpy(name->client, call->client, sizeof name->client);
    name->session = call->session_number;
    name->slot = call->slot;
    name->sequence = call->sequence;
    name->request_crc = call->request_crc;
}

/* What was there before is stable, and the list knows of which transaction it is. */
static uint32_t begin(struct several *several)
{
    struct ph_undo_entry entry = {.fixed = {.kind = PH_UNDO_BEGIN, .data_len = sizeof several->name},
                                  .data = (const uint8_t *) &several->name};
    uint32_t status = ph_undo_settle(&several->undo);
    if (status != PH_ST_OK)
        return status;
    if (!ph_undo_log_begin(several->undo.log))
        return ph_store_errno(several->call, "make room for what undoes the transaction");
    several->begun = true;
    return ph_undo_note(&several->undo, &entry);
}

/* All that was done is stable, and then the mark that it is. */
static uint32_t end(struct several *several)
{
    uint32_t status = ph_undo_settle(&several->undo);
    if (status == PH_ST_OK && !ph_undo_mark(several->undo.store, PH_UNDO_DONE, &several->name))
        status = ph_fault_set(&several->call->fault, PH_ST_IO_ERROR,
                              "the server cannot write down that the transaction is done");
    return status;
}

static void opened_put(struct several *several, const Pohmel__Change *change)
{
    if (change->command_case == POHMEL__CHANGE__COMMAND_CREATE && change->create->handle != 0)
        g_array_append_val(several->handles, change->create->handle);
}

/* The words of a command that failed say which one it was. */
static uint32_t name_failed(struct several *several, uint32_t status, const Pohmel__Change *change)
{
    struct ph_fault *fault = &several->call->fault, before = *fault;
    const struct ph_command_info *info = ph_command_info((uint16_t) change->command_case);
    *fault = (struct ph_fault){0};
    return ph_fault_set(fault, status, "command %u of the transaction (%s): %s", several->done + 1,
                        info != NULL ? info->name : "?",
                        before.text[0] != '\0' ? before.text : ph_status_text(status));
}

static uint32_t execute_one(struct several *several, Pohmel__Change *change, const struct ph_undo_step *step,
                            Pohmel__ChangeResult *result)
{
    pohmel__change_result__init(result);
    uint32_t status = step->status != PH_ST_OK
                          ? step->status
                          : ph_undo_act(&several->undo, several->ops, change, step, result);
    result->status = status;
    if (status != PH_ST_OK) {
        result->result_case = POHMEL__CHANGE_RESULT__RESULT__NOT_SET;
        return name_failed(several, status, change);
    }
    opened_put(several, change);
    several->done++;
    return status;
}

/* Of the COUNT commands at CHANGES as many as can be are prepared; *MANY of them, at least one unless that
 * cannot be executed. What undoes them is stable afterwards, and files are kept aside. */
static uint32_t prepare(struct several *several, Pohmel__Change **changes, size_t count,
                        struct ph_undo_step *steps, size_t *many)
{
    struct ph_undo *undo = &several->undo;
    uint32_t status = PH_ST_OK;
    count = ph_undo_run(changes, count, steps);
    for (*many = 0; *many < count && status == PH_ST_OK; *many += status == PH_ST_OK)
        status = ph_undo_prepare(undo, changes[*many], &steps[*many]);
    if (*many == 0)
        return status;
    several->call->fault = (struct ph_fault){0}; /* it is met again, when those before it are done */
    status = ph_undo_secure(undo);
    bool aside = false;
    for (size_t i = 0; i < *many && status == PH_ST_OK; i++) {
        steps[i].status = ph_undo_set_aside(undo, changes[i], &steps[i]);
        aside |= steps[i].aside[0] != '\0' && !steps[i].directory;
    }
    if (status == PH_ST_OK && aside && !undo->store->syncs_in_order)
        status = ph_undo_settle(undo);
    return status;
}

/* REPLY: where the results go; NULL: nobody is told them, and the arena is for one command. */
static uint32_t execute_list(struct several *several, Pohmel__Change **changes, size_t count,
                             Pohmel__TransactReply *reply)
{
    g_autofree struct ph_undo_step *steps = g_new(struct ph_undo_step, MAX(count, (size_t) 1));
    Pohmel__ChangeResult scratch;
    uint32_t status = PH_ST_OK;
    for (size_t i = 0, many; i < count && status == PH_ST_OK; i += many) {
        status = prepare(several, changes + i, count - i, steps, &many);
        if (status != PH_ST_OK)
            return name_failed(several, status, changes[i]);
        for (size_t k = 0; k < many && status == PH_ST_OK; k++) {
            if (reply == NULL)
                ph_arena_reset(several->call->arena, SCRATCH_BYTES);
            status = execute_one(several, changes[i + k], &steps[k],
                                 reply != NULL ? reply->results[i + k] : &scratch);
        }
    }
    return status;
}

/* Those that were staged. */
static uint32_t execute_staged(struct several *several, const struct ph_staged *staged)
{
    struct ph_call *call = several->call;
    struct ph_arena *own = call->arena;
    struct ph_blob *payload = call->payload_in;
    uint32_t status = PH_ST_OK;
    call->arena = ph_arena_new(SCRATCH_BYTES);
    for (size_t i = 0; i < staged->count && status == PH_ST_OK; i++) {
        const struct ph_staged_part *part = &staged->part[i];
        call->payload_in = part->payload;
        call->payload_used = 0;
        status = execute_list(several, part->request->changes, part->request->n_changes, NULL);
    }
    ph_arena_free(call->arena);
    call->arena = own;
    call->payload_in = payload;
    call->payload_used = 0;
    return status;
}

static uint32_t execute_all(struct several *several, const Pohmel__TransactRequest *request,
                            Pohmel__TransactReply *reply)
{
    const struct ph_staged *staged = several->call->staged;
    uint32_t status = begin(several);
    if (status == PH_ST_OK && staged != NULL)
        status = execute_staged(several, staged);
    if (status == PH_ST_OK)
        status = execute_list(several, request->changes, request->n_changes, reply);
    return status == PH_ST_OK ? end(several) : status;
}

/* What was done cannot be taken back now, and the gate is about to open: the next start, which finds the
 * list, undoes the rest before anybody is served. */
static void end_server(int failed)
{
    g_error("a transaction that failed cannot be undone: %s; the server ends, so that nobody sees a part of "
            "it, and the next start undoes it",
            g_strerror(failed));
}

/* Nothing has happened. The results of all commands but of the one that failed say that they were not run. */
static void take_all_back(struct several *several, uint32_t status, Pohmel__TransactReply *reply)
{
    size_t staged = several->call->staged != NULL ? several->call->staged->commands : 0;
    for (guint i = 0; i < several->handles->len; i++)
        ph_posix_close(several->undo.store, several->call->session,
                       g_array_index(several->handles, uint64_t, i));
    int failed = several->begun ? ph_undo_back(several->undo.store, &several->name) : 0;
    if (failed != 0)
        end_server(failed);
    reply->failed = several->done + 1;
    for (size_t i = 0; i < reply->n_results; i++) {
        pohmel__change_result__init(reply->results[i]);
        reply->results[i]->status = staged + i == several->done ? status : PH_ST_ABORTED;
    }
}

/* ---- The record ---- */

static struct ph_journal_record *record_begin(struct ph_posix_store *store, struct ph_call *call)
{
    struct ph_journal_intent intent = {
        .command = PH_CMD_TRANSACT, .sequence = call->sequence, .request_crc = call->request_crc};
    if (store->journal == NULL || !call->in_slot || call->client == NULL)
        return NULL;
    struct ph_journal_record *record =
        ph_journal_record(store->journal, call->session, call->client, call->session_number, call->slot);
    if (record != NULL)
        ph_journal_begin(store->journal, record, &intent);
    return record;
}

/* Results that take too much room are left out: that it was done is what counts. */
static void record_end(struct ph_posix_store *store, struct ph_journal_record *record, uint32_t status,
                       const Pohmel__TransactReply *reply)
{
    uint8_t bytes[PH_JOURNAL_ANSWER_MAX_BYTES];
    size_t len = ph_encoded_size(&reply->base);
    if (record == NULL)
        return;
    if (status != PH_ST_OK) {
        ph_journal_drop(store->journal, record);
        return;
    }
    if (len <= sizeof bytes)
        ph_encode(&reply->base, bytes);
    ph_journal_answer(store->journal, record, bytes, len <= sizeof bytes ? len : 0);
}

static uint32_t results_new(struct ph_call *call, size_t count, Pohmel__TransactReply *reply)
{
    Pohmel__ChangeResult *results = ph_arena_alloc0(call->arena, count, sizeof *results);
    reply->results = ph_arena_alloc0(call->arena, count, sizeof *reply->results);
    if (results == NULL || reply->results == NULL)
        return PH_ST_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        pohmel__change_result__init(&results[i]);
        reply->results[i] = &results[i];
    }
    reply->n_results = count;
    return PH_ST_OK;
}

/* What is made and removed in a transaction that is undone may come again with the same ids. */
static void pause_gone_ids(struct ph_posix_store *store, bool paused)
{
    pthread_mutex_lock(&store->lock);
    store->gone_ids.paused = paused;
    pthread_mutex_unlock(&store->lock);
}

uint32_t ph_several_clear_away(struct ph_posix_store *store, struct ph_call *call)
{
    int failed = ph_undo_log_count(store->undo) > 0 ? ph_undo_finish(store) : 0;
    return failed == 0 ? PH_ST_OK
                       : ph_fault_set(&call->fault, ph_store_status(failed),
                                      "the server cannot clear away what an earlier transaction left: %s",
                                      g_strerror(failed));
}

uint32_t ph_posix_several(struct ph_posix_store *store, const struct ph_store_ops *ops, struct ph_call *call,
                          const Pohmel__TransactRequest *request, Pohmel__TransactReply *reply)
{
    struct several several = {.ops = ops, .call = call};
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK && store->undo == NULL)
        status = ph_fault_set(&call->fault, PH_ST_UNSUPPORTED,
                              "the server cannot write down how transactions of several commands are undone");
    if (status == PH_ST_OK)
        status = results_new(call, request->n_changes, reply);
    if (status != PH_ST_OK)
        return status;
    pthread_mutex_lock(&store->several_lock);
    bool settled = ph_outcome_is_settled(store, call, request, &status);
    if (!settled)
        status = ph_several_clear_away(store, call);
    if (settled || status != PH_ST_OK) {
        reply->n_results = settled ? 0 : reply->n_results;
        pthread_mutex_unlock(&store->several_lock);
        return status;
    }
    pause_gone_ids(store, true);
    ph_undo_begin(&several.undo, store, call);
    name_put(call, request->key, &several.name);
    several.handles = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    several.record = record_begin(store, call);
    call->record = NULL; /* the commands record nothing for themselves */
    status = execute_all(&several, request, reply);
    if (status != PH_ST_OK)
        take_all_back(&several, status, reply);
    else
        reply->stable = call->sequence;
    record_end(store, several.record, status, reply);
    if (status == PH_ST_OK)
        ph_undo_finish(store);
    g_array_unref(several.handles);
    ph_undo_end(&several.undo);
    pause_gone_ids(store, false);
    pthread_mutex_unlock(&store->several_lock);
    return status;
}

uint32_t ph_posix_settle(void *self, struct ph_call *call)
{
    struct ph_posix_store *store = self;
    return store->read_only || store->undo == NULL || ph_undo_sync_export(store)
               ? PH_ST_OK
               : ph_store_errno(call, "make the export stable");
}

/* ---- Parts that were staged ---- */

uint32_t ph_posix_stage(void *self, struct ph_call *call, const Pohmel__StageRequest *request,
                        const uint8_t *message, size_t len)
{
    struct ph_posix_store *store = self;
    ph_creds_server();
    return store->staged != NULL
               ? ph_stage_put(store->staged, call, request, message, len)
               : ph_fault_set(&call->fault, PH_ST_UNSUPPORTED, "the server keeps no parts of transactions");
}

uint32_t ph_posix_staged(void *self, struct ph_call *call, uint64_t transaction, uint32_t count,
                         struct ph_staged **staged)
{
    struct ph_posix_store *store = self;
    ph_creds_server();
    return store->staged != NULL
               ? ph_stage_get(store->staged, call, transaction, count, staged)
               : ph_fault_set(&call->fault, PH_ST_STALE, "nothing of the transaction was staged");
}

void ph_posix_drop_staged(void *self, struct ph_call *call, uint64_t transaction)
{
    struct ph_posix_store *store = self;
    ph_creds_server();
    if (store->staged != NULL)
        ph_stage_drop(store->staged, call, transaction);
}

void ph_several_open(struct ph_posix_store *store, const char *state_dir)
{
    g_autofree struct ph_store_session *known = g_new0(struct ph_store_session, PH_SESSIONS_MAX);
    g_autoptr(GError) error = NULL;
    size_t count = ph_posix_sessions(store, known, PH_SESSIONS_MAX);
    store->staged = ph_stage_open(state_dir, known, count, &error);
    if (error != NULL)
        g_warning("%s", error->message);
}

/* ---- After a kill ---- */

/* It had come to its end: when it is sent again it is answered so. */
static void answer_done(struct ph_posix_store *store, const struct ph_undo_name *name)
{
    struct ph_journal_intent intent;
    const uint8_t *bytes;
    size_t len;
    if (store->journal == NULL || !ph_journal_continued(store->journal))
        return;
    struct ph_journal_record *record =
        ph_journal_find(store->journal, name->client, name->session, name->slot);
    if (record == NULL || !ph_journal_intent(record, &intent) || intent.command != PH_CMD_TRANSACT ||
        intent.sequence != name->sequence || intent.request_crc != name->request_crc ||
        ph_journal_answered(record, &bytes, &len))
        return;
    ph_journal_answer(store->journal, record, (const uint8_t *) "", 0);
}

static bool cannot_recover(GError **error, int failed)
{
    g_set_error(
        error, G_FILE_ERROR, g_file_error_from_errno(failed),
        "a transaction of several commands that the last server was in the middle of cannot be undone: "
        "%s; nobody may see a part of it: start again when that is mended",
        g_strerror(failed));
    return false;
}

bool ph_several_recover(struct ph_posix_store *store, GError **error)
{
    struct ph_undo_entry begin;
    struct ph_undo_name name = {0};
    if (ph_undo_log_count(store->undo) == 0)
        return true;
    if (!ph_undo_log_get(store->undo, 0, &begin))
        return cannot_recover(error, EIO);
    if (begin.fixed.data_len == sizeof name || begin.fixed.data_len == PH_UNDO_KEYLESS_NAME_BYTES)
        memcpy(&name, begin.data, begin.fixed.data_len);
    bool done = ph_undo_log_is_done(store->undo);
    if (done) {
        answer_done(store, &name);
        ph_undo_finish(store); /* what stays goes with the next one */
    }
    int failed = done ? 0 : ph_undo_back(store, &name);
    if (failed != 0)
        return cannot_recover(error, failed);
    g_message("the last server did not end by itself: a transaction of several commands was %s",
              done ? "finished" : "undone; it is executed when it is sent again");
    return true;
}
