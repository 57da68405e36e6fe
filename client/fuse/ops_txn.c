#include "client/fuse/ops_txn.h"

#include <errno.h>
#include <sys/random.h>

#include "client/fuse/txn.h"
#include "client/fuse/coherence.h"
#include "client/fuse/open_here.h"
#include "client/fuse/request.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum { ASKED_MAX = 4 }; /* times that the server is lost before it says what became of a transaction */

/* One that was begun and not committed. */
struct begun {
    uint64_t number;
    uid_t uid;
    const struct ph_open *open; /* the same as long as that is not closed */
    struct ph_txn *txn;
};

struct ph_txns {
    pthread_mutex_t mutex;
    uint64_t last;
    GPtrArray *begun; /* few */
};

/* A commit on its way: what the ioctl is answered with, and the transaction until it was sent. All parts but
 * the last are staged first. */
struct commit {
    struct ph_ioc_txn step; /* first: request->extra */
    struct ph_txn *txn;
    size_t parts, next;
    bool may_go;         /* the server was asked what it remembers */
    uint64_t key, since; /* by which it is asked what became of the transaction; key 0: it cannot be */
    int asked;           /* times that it was */
};

static void free_begun(void *data)
{
    struct begun *begun = data;
    ph_txn_free(begun->txn);
    g_free(begun);
}

struct ph_txns *ph_txns_new(void)
{
    struct ph_txns *txns = g_new0(struct ph_txns, 1);
    pthread_mutex_init(&txns->mutex, NULL);
    txns->begun = g_ptr_array_new_with_free_func(free_begun);
    return txns;
}

void ph_txns_free(struct ph_txns *txns)
{
    if (txns == NULL)
        return;
    g_ptr_array_unref(txns->begun);
    pthread_mutex_destroy(&txns->mutex);
    g_free(txns);
}

void ph_txns_closed(struct ph_txns *txns, const struct ph_open *open)
{
    pthread_mutex_lock(&txns->mutex);
    for (guint i = txns->begun->len; i > 0; i--) {
        const struct begun *begun = txns->begun->pdata[i - 1];
        if (begun->open == open)
            g_ptr_array_remove_index_fast(txns->begun, i - 1);
    }
    pthread_mutex_unlock(&txns->mutex);
}

static struct begun *find(struct ph_txns *txns, uint64_t number, uid_t uid)
{
    for (guint i = 0; i < txns->begun->len; i++) {
        struct begun *begun = txns->begun->pdata[i];
        if (begun->number == number && begun->uid == uid)
            return begun;
    }
    return NULL;
}

static void say(struct ph_ioc_txn *step, int error, const char *words)
{
    step->error = error;
    g_strlcpy(step->text, words, sizeof step->text);
}

static void say_status(struct ph_ioc_txn *step, uint32_t status)
{
    if (status == PH_ST_LIMIT)
        say(step, EFBIG, "there are more changes than one transaction may have");
    else if (status != PH_ST_OK)
        say(step, EINVAL, "the transaction has no such object, or its server does not take such a name");
}

/* --- Steps that change nothing yet --- */

static void begin(struct ph_request *request, struct ph_ioc_txn *step)
{
    struct ph_txns *txns = request->mount->txns;
    if (ph_link_info(request->mount->link)->read_only) {
        say(step, EROFS, "the mount or its export is read-only");
        return;
    }
    if (ph_link_info(request->mount->link)->commands_max <= 1) {
        say(step, EOPNOTSUPP, "the server does not execute transactions of several commands");
        return;
    }
    struct begun *begun = g_new0(struct begun, 1);
    *begun = (struct begun){.uid = request->caller.uid, .open = request->open};
    begun->txn = ph_txn_new(&request->caller, request->object);
    pthread_mutex_lock(&txns->mutex);
    if (txns->begun->len < PH_TXNS_MAX) {
        begun->number = step->txn = ++txns->last;
        g_ptr_array_add(txns->begun, begun);
        begun = NULL;
    }
    pthread_mutex_unlock(&txns->mutex);
    if (begun == NULL)
        return;
    free_begun(begun);
    say(step, EBUSY, "too many transactions are under way on this mount");
}

static uint32_t add(const struct ph_request *request, struct begun *begun, struct ph_ioc_txn *step,
                    uint64_t made)
{
    if (step->action == PH_IOC_TXN_OBJECT)
        return ph_txn_object(begun->txn, request->object, &step->subject);
    return begun->open == request->open ? ph_txn_add(begun->txn, step, made) : PH_ST_INVALID;
}

static void gather(struct ph_request *request, struct ph_ioc_txn *step)
{
    struct ph_txns *txns = request->mount->txns;
    /* Not under the mutex: it may wait for the server. */
    uint64_t made = ph_txn_makes(step->action) ? ph_link_new_objects(request->mount->link, 1) : 0;
    if (made == 0 && ph_txn_makes(step->action)) {
        say(step, ENOSPC, "the server gives no ids for new objects");
        return;
    }
    pthread_mutex_lock(&txns->mutex);
    struct begun *begun = find(txns, step->txn, request->caller.uid);
    if (begun != NULL && ph_txn_count(begun->txn) >= ph_link_info(request->mount->link)->commands_max)
        say_status(step, PH_ST_LIMIT);
    else if (begun != NULL)
        say_status(step, add(request, begun, step, made));
    pthread_mutex_unlock(&txns->mutex);
    if (begun == NULL)
        say(step, EBADF, "there is no such transaction of this user");
}

/* --- Commit --- */

/* Nothing was sent for it. */
static void answer_now(struct ph_request *request)
{
    ph_request_settle(request);
    fuse_reply_ioctl(request->req, 0, request->extra, sizeof(struct ph_ioc_txn));
    ph_request_end(request);
    ph_request_sent(request, 0);
}

static void finish(struct ph_request *request)
{
    struct commit *commit = request->extra;
    ph_request_settle(request);
    ph_coherence_names_changed(request->mount->coherence);
    fuse_reply_ioctl(request->req, 0, &commit->step, sizeof commit->step);
    ph_request_end(request);
}

static void say_reply(struct ph_ioc_txn *step, const struct ph_reply *reply)
{
    int error = ph_request_errno(reply->status);
    if (error != 0)
        say(step, error,
            reply->text != NULL && reply->text[0] != '\0' ? reply->text : ph_status_text(reply->status));
}

static void ask(struct ph_request *request, ph_reply_fn answered)
{
    const struct commit *commit = request->extra;
    Pohmel__OutcomeRequest message = POHMEL__OUTCOME_REQUEST__INIT;
    message.key = commit->key;
    message.since = commit->since;
    ph_request_sent(request, ph_send_outcome(request->mount->stub, &message, NULL, answered, request));
}

/* The session is over for good, or the link gave the request up: the server did not answer it. */
static bool is_unanswered(const struct ph_reply *reply)
{
    return reply->status == PH_ST_NO_SESSION || reply->status == PH_ST_FENCED ||
           (reply->status == PH_ST_IO_ERROR && reply->message == NULL);
}

/* It was not executed and never will be. Files without names went with the session: it is to be put together
 * anew. */
static void say_never(struct ph_ioc_txn *step)
{
    say(step, ESTALE, "the session with the server ended before the transaction was executed");
}

/* In a session after that of the transaction. */
static void outcome(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct commit *commit = request->extra;
    const Pohmel__OutcomeReply *told = (const Pohmel__OutcomeReply *) reply->message;
    if (is_unanswered(reply) && commit->asked++ < ASKED_MAX) {
        ph_request_again(request);
        ask(request, outcome);
        return;
    }
    commit->step.unknown = reply->status != PH_ST_OK || told == NULL;
    say_reply(&commit->step, reply);
    if (!commit->step.unknown && told->done)
        say(&commit->step, 0, "");
    else if (!commit->step.unknown)
        say_never(&commit->step);
    finish(request);
}

static void drop(struct ph_request *request);

static void committed(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct commit *commit = request->extra;
    const Pohmel__TransactReply *transact = (const Pohmel__TransactReply *) reply->message;
    say_reply(&commit->step, reply);
    commit->step.failed = transact != NULL ? transact->failed : 0;
    if (is_unanswered(reply) && commit->key != 0) {
        ph_request_again(request);
        ask(request, outcome);
        return;
    }
    if (reply->status == PH_ST_STALE && commit->parts > 1)
        drop(request);
    commit->step.unknown = is_unanswered(reply) || reply->status == PH_ST_CANCELLED;
    finish(request);
}

static void dropped(void *data, const struct ph_reply *reply)
{
    /* What the server could not drop goes with the session. */
}

static void drop(struct ph_request *request)
{
    const struct commit *commit = request->extra;
    Pohmel__StageRequest message = POHMEL__STAGE_REQUEST__INIT;
    message.transaction = commit->step.txn;
    message.drop = true;
    ph_send_stage(request->mount->stub, &message, NULL, dropped, NULL);
}

static void send(struct ph_request *request);

static void staged(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct commit *commit = request->extra;
    if (reply->status == PH_ST_OK) {
        commit->next++;
        ph_request_again(request);
        send(request);
        return;
    }
    say_reply(&commit->step, reply);
    if (is_unanswered(reply))
        say_never(&commit->step);
    ph_txn_free(commit->txn);
    drop(request);
    finish(request);
}

static void may_ask(void *data, const struct ph_reply *reply);

/* The next part; with the last one all of them are executed. */
static void send(struct ph_request *request)
{
    struct commit *commit = request->extra;
    struct ph_txn *txn = commit->txn;
    if (commit->next + 1 == commit->parts && ph_txn_count(txn) > 1 && !commit->may_go) {
        commit->may_go = true;
        ask(request, may_ask);
        return;
    }
    uint64_t ticket;
    size_t count;
    struct ph_blob *payload;
    Pohmel__Change **changes = ph_txn_part(txn, commit->next, &count, &payload);
    if (commit->next + 1 < commit->parts) {
        Pohmel__StageRequest message = POHMEL__STAGE_REQUEST__INIT;
        message.transaction = commit->step.txn;
        message.part = (uint32_t) commit->next + 1;
        message.n_changes = count;
        message.changes = changes;
        ticket = ph_send_stage(request->mount->stub, &message, payload, staged, request);
    } else {
        Pohmel__TransactRequest message = POHMEL__TRANSACT_REQUEST__INIT;
        message.staged = commit->parts > 1 ? commit->step.txn : 0;
        message.parts = (uint32_t) commit->parts - 1;
        message.key = commit->key;
        message.since = commit->since;
        message.n_changes = count;
        message.changes = changes;
        ticket = ph_send_transact(request->mount->stub, &message, payload, committed, request);
        ph_txn_free(txn); /* it was encoded; the request may be gone */
    }
    ph_blob_unref(payload);
    ph_request_sent(request, ticket);
}

/* It gets a key, if the server can be asked for it; where the session ended nothing was sent yet. */
static void may_ask(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct commit *commit = request->extra;
    const Pohmel__OutcomeReply *told = (const Pohmel__OutcomeReply *) reply->message;
    bool can = reply->status == PH_ST_OK && told != NULL,
         cannot = reply->status == PH_ST_UNSUPPORTED || reply->status == PH_ST_UNKNOWN_COMMAND;
    if (can || cannot) {
        if (can && getrandom(&commit->key, sizeof commit->key, 0) != sizeof commit->key)
            commit->key = 0;
        commit->since = commit->key != 0 ? told->now : 0;
        ph_request_again(request);
        send(request);
        return;
    }
    say_reply(&commit->step, reply);
    if (is_unanswered(reply))
        say_never(&commit->step);
    ph_txn_free(commit->txn);
    finish(request);
}

static void commit(struct ph_request *request)
{
    struct ph_txns *txns = request->mount->txns;
    struct commit *commit = request->extra;
    pthread_mutex_lock(&txns->mutex);
    struct begun *begun = find(txns, commit->step.txn, request->caller.uid);
    if (begun != NULL && begun->open == request->open) {
        commit->txn = begun->txn;
        begun->txn = NULL;
        g_ptr_array_remove_fast(txns->begun, begun);
    }
    pthread_mutex_unlock(&txns->mutex);
    if (commit->txn == NULL) {
        say(&commit->step, EBADF, "there is no such transaction of this user");
        answer_now(request);
        return;
    }
    commit->step.changes = (uint32_t) ph_txn_count(commit->txn);
    commit->parts = ph_txn_cut(commit->txn);
    if (commit->parts == 0) {
        ph_txn_free(commit->txn);
        answer_now(request);
        return;
    }
    ph_coherence_change_all(request->mount->coherence, &request->change);
    ph_coherence_change_sent(request->mount->coherence, &request->change);
    ph_open_there_first(request, 0, send);
}

void ph_op_txn(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info, const struct ph_ioc_txn *step)
{
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    struct commit *extra = g_new0(struct commit, 1);
    extra->step = *step;
    extra->step.error = 0;
    extra->step.text[0] = '\0';
    request->object = object;
    request->open = ph_open_ref(ph_open_of(info));
    request->extra = extra;
    if (step->action == PH_IOC_TXN_COMMIT) {
        commit(request);
        return;
    }
    if (step->action == PH_IOC_TXN_BEGIN)
        begin(request, &extra->step);
    else
        gather(request, &extra->step);
    answer_now(request);
}
