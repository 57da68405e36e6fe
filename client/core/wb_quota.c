/* Quotas. What is answered here is charged at the server to the owners of what it is about: users and groups,
 * whose quotas may leave less than the disk does. As with space (wb_space.c) a part of each is reserved, and
 * what does not fit into it is sent on, so that EDQUOT is told to whoever writes. On an export without quotas
 * none of this is counted. */
#include "client/core/wb_private.h"
#include "ph_commands.h"

/* What is kept reserved of a quota when nothing is done. */
#define IDLE_BYTES (UINT64_C(1) << 20)

enum { OF_USER = 1, OF_GROUP = 2, KINDS = 2 };

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static struct wb_account *find(const struct ph_wb *wb, uint32_t of, uint32_t id)
{
    for (size_t i = 0; i < wb->account_count; i++)
        if (wb->accounts[i].of == of && wb->accounts[i].id == id)
            return &wb->accounts[i];
    return NULL;
}

/* Of DUE, the account of a kind; NULL: the server keeps none, or it is not known. */
static struct wb_account *account_of(const struct ph_wb *wb, const struct wb_due *due, unsigned kind)
{
    uint32_t of = kind == 0 ? OF_USER : OF_GROUP;
    return wb->quotas_of & of ? find(wb, of, of == OF_USER ? due->uid : due->gid) : NULL;
}

static bool is_idle(const struct wb_account *account)
{
    return account->charged_bytes == 0 && account->charged_objects == 0;
}

/* A new one, in the place of that which was not used for longest; NULL: all are in use. */
static struct wb_account *add(struct ph_wb *wb, uint32_t of, uint32_t id)
{
    struct wb_account *account = NULL;
    if (wb->accounts == NULL)
        wb->accounts = wb_alloc(WB_ACCOUNTS * sizeof(*wb->accounts));
    if (wb->account_count < WB_ACCOUNTS)
        account = &wb->accounts[wb->account_count++];
    for (size_t i = 0; account == NULL && i < wb->account_count; i++)
        if (is_idle(&wb->accounts[i]))
            account = &wb->accounts[i];
    for (size_t i = 0; account != NULL && wb->account_count == WB_ACCOUNTS && i < WB_ACCOUNTS; i++)
        if (is_idle(&wb->accounts[i]) && wb->accounts[i].used_ms < account->used_ms)
            account = &wb->accounts[i];
    if (account != NULL)
        *account = (struct wb_account){.of = of, .id = id};
    return account;
}

static uint64_t free_bytes(const struct wb_account *account)
{
    return less(account->bytes, account->charged_bytes);
}

static uint64_t free_objects(const struct wb_account *account)
{
    return less(account->objects, account->charged_objects);
}

/* DUE of one account fits; *LOW: it is time to ask again. */
static bool fits(struct ph_wb *wb, uint32_t of, uint32_t id, const struct wb_due *due, uint64_t now_ms,
                 bool *low)
{
    struct wb_account *account = find(wb, of, id);
    if (account == NULL)
        account = add(wb, of, id);
    if (account != NULL)
        account->used_ms = now_ms;
    if (account == NULL || !account->known) {
        *low = true;
        return false;
    }
    if (!account->limited) {
        *low = *low || now_ms >= account->known_ms + WB_QUOTA_AGAIN_MS;
        return true;
    }
    bool enough = due->bytes <= free_bytes(account) && due->objects <= free_objects(account);
    wb->quota_short = wb->quota_short || !enough;
    *low = *low || !enough || free_bytes(account) < account->first_bytes / 2 ||
           free_objects(account) < account->first_objects / 2;
    return enough;
}

bool wb_quota(struct ph_wb *wb, const struct wb_due *dues, size_t count, const struct ph_wb_now *now,
              struct ph_wb_actions *actions)
{
    bool enough = true, low = false;
    wb->quota_short = false;
    if (wb->quotas_of == 0)
        return true;
    for (size_t i = 0; i < count; i++) {
        struct wb_due sum = dues[i];
        /* Both may come out of the same quota. */
        if (i > 0) {
            sum.bytes += dues[0].bytes;
            sum.objects += dues[0].objects;
        }
        const struct wb_due *user = i > 0 && dues[0].uid == sum.uid ? &sum : &dues[i];
        const struct wb_due *group = i > 0 && dues[0].gid == sum.gid ? &sum : &dues[i];
        if (wb->quotas_of & OF_USER && !fits(wb, OF_USER, sum.uid, user, now->ms, &low))
            enough = false;
        if (wb->quotas_of & OF_GROUP && !fits(wb, OF_GROUP, sum.gid, group, now->ms, &low))
            enough = false;
    }
    if (low)
        wb_space_ask(wb, now, actions);
    return enough;
}

bool wb_quota_of(struct ph_wb *wb, const struct ph_cached_attr *owner, uint64_t bytes, uint64_t objects,
                 const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_due due = {.uid = owner->uid, .gid = owner->gid, .bytes = bytes, .objects = objects};
    return wb_quota(wb, &due, 1, now, actions);
}

/* The entry of OP for the owner of DUE; NULL: it has two others. */
static struct wb_due *entry_for(struct wb_op *op, const struct wb_due *due)
{
    for (int i = 0; i < WB_DUES; i++) {
        struct wb_due *entry = &op->dues[i];
        if ((entry->bytes == 0 && entry->objects == 0) ||
            (entry->uid == due->uid && entry->gid == due->gid)) {
            entry->uid = due->uid;
            entry->gid = due->gid;
            return entry;
        }
    }
    return NULL;
}

void wb_owe(struct ph_wb *wb, struct wb_op *op, const struct wb_due *due)
{
    struct wb_due *entry = wb->quotas_of != 0 ? entry_for(op, due) : NULL;
    if (entry == NULL)
        return;
    entry->bytes += due->bytes;
    entry->objects += due->objects;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct wb_account *account = account_of(wb, due, kind);
        if (account == NULL)
            continue;
        account->charged_bytes += due->bytes;
        account->charged_objects += due->objects;
    }
}

void wb_owe_of(struct ph_wb *wb, struct wb_op *op, const struct ph_cached_attr *owner, uint64_t bytes,
               uint64_t objects)
{
    struct wb_due due = {.uid = owner->uid, .gid = owner->gid, .bytes = bytes, .objects = objects};
    wb_owe(wb, op, &due);
}

/* --- What is sent on --- */

static struct wb_due due_of_new(const Pohmel__Caller *caller, uint64_t len)
{
    return (struct wb_due){
        .uid = caller->uid, .gid = caller->gid, .bytes = WB_OBJECT_BYTES + len, .objects = 1};
}

static struct wb_due due_of_written(const struct ph_wb *wb, const Pohmel__WriteRequest *request)
{
    const struct wb_object *o = wb_find(wb, request->object);
    if (o == NULL || !o->known)
        return (struct wb_due){0};
    return (struct wb_due){.uid = o->attr.uid, .gid = o->attr.gid, .bytes = request->length};
}

/* What CALL takes at the server, and whose that is. */
static struct wb_due due_of(const struct ph_wb *wb, const struct ph_wb_call *call)
{
    const void *message = call->message;
    if (wb->quotas_of == 0 || call->outer != PH_CMD_TRANSACT)
        return (struct wb_due){0};
    switch (call->command) {
    case PH_CMD_WRITE:
        return due_of_written(wb, message);
    case PH_CMD_CREATE:
        return due_of_new(((const Pohmel__CreateRequest *) message)->caller,
                          ((const Pohmel__CreateRequest *) message)->length);
    case PH_CMD_MKDIR:
        return due_of_new(((const Pohmel__MkdirRequest *) message)->caller, 0);
    case PH_CMD_SYMLINK:
        return due_of_new(((const Pohmel__SymlinkRequest *) message)->caller, 0);
    case PH_CMD_MKNOD:
        return due_of_new(((const Pohmel__MknodRequest *) message)->caller, 0);
    case PH_CMD_TMPFILE:
        return due_of_new(((const Pohmel__TmpfileRequest *) message)->caller, 0);
    default:
        return (struct wb_due){0};
    }
}

bool wb_quota_crowds(const struct ph_wb *wb, const struct ph_wb_call *call)
{
    struct wb_due due = due_of(wb, call);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        const struct wb_account *account = account_of(wb, &due, kind);
        if (account != NULL && account->limited && !is_idle(account) &&
            (due.bytes > free_bytes(account) || due.objects > free_objects(account)))
            return true;
    }
    return wb->quota_short;
}

/* What is under way counts as what is dirty does: whether the server has taken it, when it is asked what is
 * reserved, is not known. */
static void charge_call(struct ph_wb *wb, struct ph_wb_call *call)
{
    wb_quota_answered(wb, call);
    call->due = due_of(wb, call);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct wb_account *account = account_of(wb, &call->due, kind);
        if (account == NULL)
            continue;
        account->charged_bytes += call->due.bytes;
        account->charged_objects += call->due.objects;
    }
}

/* DUE is not charged any more; it was taken, if it was SENT in this session. */
static void discharge(struct ph_wb *wb, const struct wb_due *due, bool sent)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct wb_account *account = account_of(wb, due, kind);
        if (account == NULL)
            continue;
        account->charged_bytes = less(account->charged_bytes, due->bytes);
        account->charged_objects = less(account->charged_objects, due->objects);
        if (!sent)
            continue;
        account->bytes = less(account->bytes, due->bytes);
        account->objects = less(account->objects, due->objects);
        account->spent_bytes += due->bytes;
        account->spent_objects += due->objects;
    }
}

void wb_quota_discharge(struct ph_wb *wb, const struct wb_op *op)
{
    for (int i = 0; i < WB_DUES; i++)
        discharge(wb, &op->dues[i], op->sent);
}

void wb_quota_answered(struct ph_wb *wb, struct ph_wb_call *call)
{
    discharge(wb, &call->due, call->sent && call->session == wb->session);
    call->due = (struct wb_due){0};
}

/* What is said of an account; what is spent counts from now on. */
static void wish(struct ph_wb *wb, struct wb_account *account, uint64_t now_ms, Pohmel__QuotaWish *out)
{
    bool used = now_ms < account->used_ms + WB_SPACE_IDLE_MS;
    pohmel__quota_wish__init(out);
    out->of = account->of;
    out->id = account->id;
    out->needed = account->charged_bytes;
    out->more = used ? wb->config.dirty_limit_bytes : IDLE_BYTES;
    out->objects_needed = account->charged_objects;
    out->objects_more = used ? WB_QUOTA_OBJECTS : WB_QUOTA_IDLE_OBJECTS;
    account->spent_bytes = account->spent_objects = 0;
    /* Less than was asked for is not used from now on, whatever there was. */
    account->bytes = least(account->bytes, out->needed + out->more);
    account->objects = least(account->objects, out->objects_needed + out->objects_more);
}

static void ask(struct ph_wb *wb, struct ph_wb_call *call, uint64_t now_ms)
{
    Pohmel__QuotaWish wishes[WB_ACCOUNTS], *pointers[WB_ACCOUNTS];
    Pohmel__StatfsRequest message = *(const Pohmel__StatfsRequest *) call->message;
    size_t count = 0;
    for (size_t i = wb->account_count; i-- > 0;)
        if (is_idle(&wb->accounts[i]) && now_ms >= wb->accounts[i].used_ms + WB_QUOTA_FORGET_MS)
            wb->accounts[i] = wb->accounts[--wb->account_count];
    for (; count < wb->account_count; count++) {
        wish(wb, &wb->accounts[count], now_ms, &wishes[count]);
        pointers[count] = &wishes[count];
    }
    message.n_quotas = count;
    message.quotas = pointers;
    if (count > 0)
        wb_replace_message(call, &message.base);
}

void wb_quota_forwarded(struct ph_wb *wb, struct ph_wb_call *call, uint64_t now_ms)
{
    if (call->command == PH_CMD_STATFS && ((const Pohmel__StatfsRequest *) call->message)->reserve)
        ask(wb, call, now_ms);
    charge_call(wb, call);
}

/* --- What the server says --- */

void wb_quota_learn(struct ph_wb *wb, const Pohmel__StatfsReply *reply, uint64_t now_ms)
{
    wb->quotas_of = reply->quotas_of;
    for (size_t i = 0; i < reply->n_quotas; i++) {
        const Pohmel__QuotaShare *share = reply->quotas[i];
        struct wb_account *account = find(wb, share->of, share->id);
        if (account == NULL)
            continue;
        account->known = true;
        account->known_ms = now_ms;
        account->limited = share->limited;
        /* What was sent since may have taken its part of it. */
        account->bytes = less(share->bytes, account->spent_bytes);
        account->objects = less(share->objects, account->spent_objects);
        account->first_bytes = free_bytes(account);
        account->first_objects = free_objects(account);
    }
}

void wb_quota_lost(struct ph_wb *wb)
{
    for (size_t i = 0; i < wb->account_count; i++) {
        struct wb_account *account = &wb->accounts[i];
        account->known = account->limited = false;
        account->bytes = account->objects = account->spent_bytes = account->spent_objects = 0;
    }
}

bool wb_quota_held(const struct ph_wb *wb)
{
    for (size_t i = 0; i < wb->account_count; i++)
        if (wb->accounts[i].limited &&
            (wb->accounts[i].bytes > IDLE_BYTES || wb->accounts[i].objects > WB_QUOTA_IDLE_OBJECTS))
            return true;
    return false;
}
