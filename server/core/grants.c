/* Leases that go out with attributes; and attributes that must not go out, because
 * somebody else may have newer ones. docs/decisions/0006-leases-on-attributes.md. */
#include "server/core/peek.h"
#include "server/core/private.h"

/* Attributes that are looked at while the guard is held once. */
enum { BATCH = 64 };

/* Where attributes of a reply stand, and what speaks for giving a session that writes back all of the object:
 * it has all of the DIRECTORY in which that was found (0: unknown), or it is about to change it (ALONE). */
struct place {
    Pohmel__Attr **at;
    uint64_t directory;
    bool alone;
    bool told; /* by who has the object exclusively: no lease goes with it */
};

struct places {
    struct place place[BATCH];
    size_t count;
};

static void add(struct places *places, Pohmel__Attr **at, uint64_t directory)
{
    places->place[places->count++] = (struct place){.at = at, .directory = directory};
}

/* In grace who shares an object goes on sharing it: others who did may come back, and read it until then. */
static bool may_have_alone(const struct ph_server_call *call, const struct place *place)
{
    return !call->server->grace || call->frame->header.command == PH_CMD_TRANSACT ||
           ph_leases_holds_alone(call->server->leases, call->session->lease, (*place->at)->object);
}

/* Whether CALL's session is to have the object at PLACE alone. Guard held. */
static bool wants_alone(const struct ph_server_call *call, const struct place *place)
{
    const struct ph_session *session = call->session;

    return session->writes_back && may_have_alone(call, place) &&
           (place->alone || (place->directory != 0 &&
                             ph_leases_holds_alone(call->server->leases, session->lease, place->directory)));
}

static void grant_one(struct ph_server_call *call, const struct place *place)
{
    struct ph_leases *leases = call->server->leases;
    Pohmel__Attr *attr = *place->at;
    enum ph_lease_mode mode;

    if (wants_alone(call, place))
        attr->lease = ph_leases_grant_alone(leases, call->session->lease, &call->claim, attr->object,
                                            call->since, &mode);
    else
        attr->lease =
            ph_leases_grant(leases, call->session->lease, &call->claim, attr->object, call->since, &mode);
    attr->lease_mode = (uint32_t) mode;
}

static bool is_taken(const struct ph_server_call *call, const Pohmel__Attr *attr)
{
    const struct ph_session *session = call->session;

    return ph_leases_taken(call->server->leases, session->lease, session->entry->index, attr->object);
}

/* Whether what was read may be from before somebody, who had the object until a moment ago, sent what he
 * changed. */
static bool is_old(const struct ph_server_call *call, const Pohmel__Attr *attr)
{
    return ph_leases_yielded(call->server->leases, call->session->entry->index, attr->object, call->since);
}

/* Whether the last one of PLACES, which is what was asked for, is to be waited for; *ASKED: for what its
 * holder says of it. */
static bool must_wait(struct ph_server_call *call, struct place *place, bool last, bool *asked)
{
    enum ph_glimpse_state glimpse = PH_GLIMPSE_REFUSED;

    if (!is_taken(call, *place->at))
        return false;
    if (last && !call->session->ended && !ph_server_is_stray(call))
        glimpse = ph_server_glimpse(call, *place->at);
    *asked = glimpse == PH_GLIMPSE_ASKED;
    place->told = glimpse == PH_GLIMPSE_TOLD;
    return glimpse == PH_GLIMPSE_REFUSED;
}

/* Parks CALL until what others hold exclusively of PLACES is theirs to share, or until its holder has said
 * what it is like, or until what they have given up since it was read is read again. Guard held. False when
 * there is nothing to wait for. */
static bool wait_for(struct ph_server_call *call, struct places *places)
{
    struct ph_lease_want wants[PH_LEASE_CLAIM_KEYS] = {{0}};
    size_t count = 0;
    bool old = false, asked = false;

    if (ph_server_reopens(call))
        return false;
    for (size_t i = 0; i < places->count && count < PH_LEASE_CLAIM_KEYS; i++) {
        struct place *place = &places->place[i];

        /* What is claimed comes first: while it is waited for the answer would grow old. */
        if (must_wait(call, place, i + 1 == places->count && count == 0, &asked))
            wants[count++].object = (*place->at)->object;
        old = old || (!place->told && is_old(call, *place->at));
    }
    if ((count == 0 && !old && !asked) || call->session->ended || ph_server_is_stray(call))
        return false;
    if (count > 0) {
        ph_leases_claim_end(call->server->leases, &call->claim);
        ph_leases_claim(call->server->leases, &call->claim, call->session->lease, call->session->entry->index,
                        wants, count);
    }
    call->status = ph_server_park(call);
    return true;
}

/* Whether CALL's session may be granted a lease on the object at PLACE. In grace only what it holds, and what
 * it made just now: other sessions may claim the rest. Guard held. */
static bool may_grant(const struct ph_server_call *call, const struct place *place)
{
    return !call->server->grace || (place->alone && call->frame->header.command == PH_CMD_TRANSACT) ||
           ph_leases_holds(call->server->leases, call->session->lease, (*place->at)->object);
}

/* Whether others may have written what ATTR does not show: the command did not have to wait for ranges, or
 * for anybody. Guard held. */
static bool is_vague(const struct ph_server_call *call, const Pohmel__Attr *attr)
{
    switch (call->frame->header.command) {
    case PH_CMD_OPEN:
    case PH_CMD_TRANSACT:
        return is_taken(call, attr) ||
               (((call->claim.count > 0 && call->claim.key[0].part) || ph_server_reopens(call)) &&
                is_old(call, attr));
    default:
        return false;
    }
}

/* LISTED: what somebody else has exclusively, or had while it was read, is left out, and its holder is asked
 * to share it: whoever listed it is about to look at it. */
static void grant(struct ph_server_call *call, const struct places *places, bool listed)
{
    ph_server_enter(call->server, &call->actions);
    for (size_t i = 0; i < places->count; i++) {
        const struct place *place = &places->place[i];
        bool taken = listed && is_taken(call, *place->at);

        if (taken)
            ph_server_glimpse_hint(call->server, call->session, (*place->at)->object);
        if (taken || (listed && is_old(call, *place->at)))
            *place->at = NULL;
        else if (!place->told && is_vague(call, *place->at))
            (*place->at)->version = 0;
        else if (call->session->lease != NULL && !place->told && may_grant(call, place))
            grant_one(call, place);
    }
    ph_server_leave(call->server);
}

/* The directory that the request names. */
static uint64_t asked_directory(const struct ph_server_call *call)
{
    const struct ph_frame *frame = call->frame;

    return ph_peek_read_object(frame->header.command, frame->message, frame->header.message_len);
}

/* As wait_for, for one who does not hold the guard. */
static bool must_park(struct ph_server_call *call, struct places *places)
{
    bool parked;

    ph_server_enter(call->server, &call->actions);
    parked = wait_for(call, places);
    ph_server_leave(call->server);
    return parked;
}

/* Data that no lease protects are of no use to who looks a name up. */
static void drop_data(struct ph_server_call *call)
{
    ph_blob_unref(call->call.payload_out);
    call->call.payload_out = NULL;
}

static bool grant_lookup(struct ph_server_call *call, Pohmel__LookupReply *reply)
{
    struct places places = {0};
    uint64_t directory = asked_directory(call);

    for (size_t i = 0; i < reply->n_found && places.count < BATCH; i++) {
        add(&places, &reply->found[i], directory);
        directory = reply->found[i]->object;
    }
    if (must_park(call, &places))
        return false;
    grant(call, &places, false);
    places = (struct places){0};
    if (reply->directory != NULL)
        add(&places, &reply->directory, 0);
    grant(call, &places, false);
    if (reply->n_found == 0 || reply->found[reply->n_found - 1]->lease == 0)
        drop_data(call);
    return true;
}

/* Whether the entry is in the directory, which itself and the one above are not. */
static bool is_child(const Pohmel__DirEntry *entry)
{
    const ProtobufCBinaryData *name = &entry->name;

    return name->data[0] != '.' || name->len > 2 || (name->len == 2 && name->data[1] != '.');
}

static void grant_listing(struct ph_server_call *call, Pohmel__ReaddirReply *reply)
{
    struct places places = {0};
    uint64_t directory = asked_directory(call);

    for (size_t i = 0; i < reply->n_entries; i++) {
        Pohmel__DirEntry *entry = reply->entries[i];

        if (entry->attr != NULL)
            add(&places, &entry->attr, is_child(entry) ? directory : 0);
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

/* Nobody can have a lease on what was made just now, and who made it will change it; what CREATE found is one
 * of the directory that the command claimed first. */
static struct place place_of(const struct ph_server_call *call, const Pohmel__ChangeResult *result,
                             Pohmel__Attr **at, bool only)
{
    struct place place = {.at = at};

    switch ((int) result->result_case) {
    case PH_CMD_CREATE:
        place.alone = result->create->created;
        place.directory = only && call->claim.state == PH_LEASE_RUNNING ? call->claim.key[0].object : 0;
        break;
    case PH_CMD_MKDIR:
    case PH_CMD_SYMLINK:
    case PH_CMD_MKNOD:
        place.alone = true;
        break;
    default:
        break;
    }
    return place;
}

/* Whether a later one of the results of several commands tells of the same object: only what is so after all
 * of them is protected by a lease. */
static bool is_told_later(const Pohmel__TransactReply *reply, size_t index, uint64_t object)
{
    for (size_t i = index + 1; i < reply->n_results; i++) {
        Pohmel__Attr **attr = attr_of(reply->results[i]);

        if (attr != NULL && *attr != NULL && (*attr)->object == object)
            return true;
    }
    return false;
}

static void grant_results(struct ph_server_call *call, Pohmel__TransactReply *reply)
{
    struct places places = {0};

    for (size_t i = 0; i < reply->n_results; i++) {
        Pohmel__Attr **attr = reply->results[i]->status == PH_ST_OK ? attr_of(reply->results[i]) : NULL;

        if (attr == NULL || *attr == NULL || is_told_later(reply, i, (*attr)->object))
            continue;
        places.place[places.count++] = place_of(call, reply->results[i], attr, reply->n_results == 1);
        if (places.count < BATCH)
            continue;
        grant(call, &places, false);
        places.count = 0;
    }
    if (places.count > 0)
        grant(call, &places, false);
}

static void grant_single(struct ph_server_call *call, Pohmel__Attr **attr)
{
    const struct ph_frame *frame = call->frame;
    struct places one = {.count = 1};

    one.place[0].at = attr;
    one.place[0].alone =
        ph_peek_opens_to_write(frame->header.command, frame->message, frame->header.message_len);
    grant(call, &one, false);
}

static bool grant_looked_at(struct ph_server_call *call, Pohmel__GetattrReply *reply)
{
    struct places one = {.count = 1};

    one.place[0].at = &reply->attr;
    if (must_park(call, &one))
        return false;
    grant(call, &one, false);
    return true;
}

bool ph_server_grant(struct ph_server_call *call, ProtobufCMessage *reply)
{
    if (call->session == NULL || call->status != PH_ST_OK ||
        (!call->session->caches && !ph_leases_hide(call->server->leases, call->since)))
        return true;
    switch (call->frame->header.command) {
    case PH_CMD_LOOKUP:
        return grant_lookup(call, (Pohmel__LookupReply *) reply);
    case PH_CMD_READDIR:
        grant_listing(call, (Pohmel__ReaddirReply *) reply);
        break;
    case PH_CMD_GETATTR:
        return grant_looked_at(call, (Pohmel__GetattrReply *) reply);
    case PH_CMD_OPEN:
        grant_single(call, &((Pohmel__OpenReply *) reply)->attr);
        break;
    case PH_CMD_TRANSACT:
        grant_results(call, (Pohmel__TransactReply *) reply);
        break;
    default:
        break;
    }
    return true;
}
