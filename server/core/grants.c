/* Leases that go out with attributes; and attributes that must not go out, because
 * somebody else may have newer ones. docs/decisions/0006-leases-on-attributes.md. */
#include "server/core/private.h"

/* Attributes that are looked at while the guard is held once. */
enum { BATCH = 64 };

/* The places of the attributes of a reply. */
struct places {
    Pohmel__Attr **at[BATCH];
    size_t count;
};

static void grant_one(struct ph_server_call *call, Pohmel__Attr *attr)
{
    enum ph_lease_mode mode;

    attr->lease = ph_leases_grant(call->server->leases, call->session->lease, &call->claim, attr->object,
                                  call->since, &mode);
    attr->lease_mode = (uint32_t) mode;
}

static bool is_taken(const struct ph_server_call *call, const Pohmel__Attr *attr)
{
    const struct ph_session *session = call->session;

    return ph_leases_taken(call->server->leases, session->lease, session->entry->index, attr->object);
}

/* Parks CALL until what others hold exclusively of PLACES is theirs to share. Guard held. False when there is
 * nothing to wait for. */
static bool wait_for(struct ph_server_call *call, const struct places *places)
{
    struct ph_lease_want wants[PH_LEASE_CLAIM_KEYS] = {{0}};
    size_t count = 0;

    for (size_t i = 0; i < places->count && count < PH_LEASE_CLAIM_KEYS; i++) {
        if (is_taken(call, *places->at[i]))
            wants[count++].object = (*places->at[i])->object;
    }
    if (count == 0 || call->session->ended)
        return false;
    ph_leases_claim_end(call->server->leases, &call->claim);
    ph_leases_claim(call->server->leases, &call->claim, call->session->lease, call->session->entry->index,
                    wants, count);
    call->status = ph_server_park(call);
    return true;
}

/* DROP: those that somebody else has exclusively are left out. */
static void grant(struct ph_server_call *call, const struct places *places, bool drop)
{
    ph_server_enter(call->server, &call->actions);
    for (size_t i = 0; i < places->count; i++) {
        if (drop && is_taken(call, *places->at[i]))
            *places->at[i] = NULL;
        else if (call->session->lease != NULL)
            grant_one(call, *places->at[i]);
    }
    ph_server_leave(call->server);
}

static bool grant_lookup(struct ph_server_call *call, Pohmel__LookupReply *reply)
{
    struct places places = {0};
    bool parked;

    for (size_t i = 0; i < reply->n_found && places.count < BATCH; i++)
        places.at[places.count++] = &reply->found[i];
    ph_server_enter(call->server, &call->actions);
    parked = wait_for(call, &places);
    ph_server_leave(call->server);
    if (parked)
        return false;
    grant(call, &places, false);
    places = (struct places){0};
    if (reply->directory != NULL)
        places.at[places.count++] = &reply->directory;
    grant(call, &places, false);
    return true;
}

static void grant_listing(struct ph_server_call *call, Pohmel__ReaddirReply *reply)
{
    struct places places = {0};

    for (size_t i = 0; i < reply->n_entries; i++) {
        if (reply->entries[i]->attr != NULL)
            places.at[places.count++] = &reply->entries[i]->attr;
        if (places.count < BATCH)
            continue;
        grant(call, &places, true);
        places.count = 0;
    }
    if (places.count > 0)
        grant(call, &places, true);
}

/* Where the attributes of a result stand; NULL for one without. */
static Pohmel__Attr **attr_of(const Pohmel__ChangeResult *result)
{
    switch ((int) result->result_case) {
    case PH_CMD_CREATE:
        return &result->create->attr;
    case PH_CMD_MKDIR:
        return &result->mkdir->attr;
    case PH_CMD_SYMLINK:
        return &result->symlink->attr;
    case PH_CMD_MKNOD:
        return &result->mknod->attr;
    case PH_CMD_TMPFILE:
        return &result->tmpfile->attr;
    case PH_CMD_LINK:
        return &result->link->attr;
    case PH_CMD_SETATTR:
        return &result->setattr->attr;
    case PH_CMD_WRITE:
        return &result->write->attr;
    case PH_CMD_ALLOCATE:
        return &result->allocate->attr;
    case PH_CMD_COPY:
        return &result->copy->attr;
    case PH_CMD_SETXATTR:
        return &result->setxattr->attr;
    case PH_CMD_REMOVEXATTR:
        return &result->removexattr->attr;
    case PH_CMD_MKPATH:
        return &result->mkpath->attr;
    default:
        return NULL;
    }
}

static void grant_results(struct ph_server_call *call, Pohmel__TransactReply *reply)
{
    struct places places = {0};

    for (size_t i = 0; i < reply->n_results && places.count < BATCH; i++) {
        Pohmel__Attr **attr = reply->results[i]->status == PH_ST_OK ? attr_of(reply->results[i]) : NULL;

        if (attr != NULL && *attr != NULL)
            places.at[places.count++] = attr;
    }
    if (places.count > 0)
        grant(call, &places, false);
}

bool ph_server_grant(struct ph_server_call *call, ProtobufCMessage *reply)
{
    struct places one = {.count = 1};

    if (call->session == NULL || call->status != PH_ST_OK ||
        (!call->session->caches && !ph_leases_exclusive(call->server->leases)))
        return true;
    switch (call->frame->header.command) {
    case PH_CMD_LOOKUP:
        return grant_lookup(call, (Pohmel__LookupReply *) reply);
    case PH_CMD_READDIR:
        grant_listing(call, (Pohmel__ReaddirReply *) reply);
        break;
    case PH_CMD_GETATTR:
        one.at[0] = &((Pohmel__GetattrReply *) reply)->attr;
        grant(call, &one, false);
        break;
    case PH_CMD_OPEN:
        one.at[0] = &((Pohmel__OpenReply *) reply)->attr;
        grant(call, &one, false);
        break;
    case PH_CMD_TRANSACT:
        grant_results(call, (Pohmel__TransactReply *) reply);
        break;
    default:
        break;
    }
    return true;
}
