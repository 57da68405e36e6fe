/* READDIR. Cookies are the positions that the filesystem below gives; it keeps
 * them good while the directory changes, whatever their order. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

enum {
    BUFFER_BYTES = 64 * 1024,
    RECORD_BYTES = 24, /* of a directory record besides its name, padding included */
    /* Most that an entry may take in the encoded reply, besides its name. */
    ENTRY_WIRE_BYTES = 40,
    ATTR_WIRE_BYTES = 170,
    REPLY_WIRE_BYTES = PH_MESSAGE_MAX_BYTES - 64,
};

/* Record of getdents64(2). */
struct record {
    uint64_t ino;
    int64_t next;
    uint16_t len;
    uint8_t type;
    char name[];
};

struct listing {
    struct ph_posix_store *store;
    struct ph_call *call;
    const Pohmel__ReaddirRequest *request;
    Pohmel__ReaddirReply *reply;
    struct ph_object *directory;
    int fd;
    uint64_t dev; /* device of the directory */
    size_t names_bytes, wire_bytes;
    bool full;
};

static uint64_t parent_id(struct listing *listing)
{
    pthread_mutex_lock(&listing->store->lock);
    struct ph_object *parent = listing->directory->parent;
    uint64_t id = parent != NULL ? parent->id : listing->directory->id;
    pthread_mutex_unlock(&listing->store->lock);
    return id;
}

/* Looks the entry up as the caller and fills in what that shows. Only what makes
 * the listing useless is a failure: an entry that vanished stays a name. */
static uint32_t entry_look(struct listing *listing, const char *name, bool attributes,
                           Pohmel__DirEntry *entry)
{
    struct statx stx;
    uint32_t status = ph_store_become(listing->store, listing->request->caller);
    if (status != PH_ST_OK || ph_statx(listing->fd, name, &stx) != 0)
        return status;
    struct ph_object *object = ph_object_found(listing->store, listing->directory, name, &stx);
    if (object == NULL)
        return PH_ST_OK;
    entry->object = object->id;
    entry->type = stx.stx_mode & S_IFMT;
    if (attributes)
        status = ph_attr_new(listing->store, listing->call, object, &stx, false, &entry->attr);
    ph_object_unref(listing->store, object);
    return status;
}

static uint32_t entry_fill(struct listing *listing, const struct record *record, Pohmel__DirEntry *entry)
{
    const char *name = record->name;
    size_t len = strlen(name);
    pohmel__dir_entry__init(entry);
    entry->name.len = len;
    entry->name.data = ph_arena_copy(listing->call->arena, name, len);
    if (entry->name.data == NULL)
        return PH_ST_NO_MEMORY;
    entry->type = DTTOIF(record->type);
    entry->cookie = (uint64_t) record->next;
    if (strcmp(name, ".") == 0) {
        entry->object = listing->directory->id;
        return PH_ST_OK;
    }
    if (strcmp(name, "..") == 0) {
        entry->object = parent_id(listing);
        return PH_ST_OK;
    }
    if (!listing->request->attributes)
        entry->object = ph_object_id_of_entry(listing->store, listing->dev, record->ino);
    uint32_t status = PH_ST_OK;
    if (entry->object == 0)
        status = entry_look(listing, name, listing->request->attributes, entry);
    if (entry->object == 0) /* vanished, or not for this caller to see: only its number is known */
        entry->object =
            MAX(ph_object_id_of_entry(listing->store, listing->dev, record->ino), PH_OBJECT_ROOT + 1);
    return status;
}

/* Adds the record to the reply, or finds that there is no room for it. */
static uint32_t entry_add(struct listing *listing, const struct record *record)
{
    size_t len = strlen(record->name);
    size_t wire = len + ENTRY_WIRE_BYTES + (listing->request->attributes ? ATTR_WIRE_BYTES : 0);
    if (len > PH_NAME_MAX_BYTES || ph_store_hidden(listing->store, listing->directory, record->name))
        return PH_ST_OK;
    bool first = listing->reply->n_entries == 0;
    if (!first && (listing->reply->n_entries >= listing->request->count ||
                   listing->names_bytes + len > listing->request->bytes_max ||
                   listing->wire_bytes + wire > REPLY_WIRE_BYTES)) {
        listing->full = true;
        return PH_ST_OK;
    }
    Pohmel__DirEntry *entry = ph_arena_alloc(listing->call->arena, sizeof *entry);
    uint32_t status = entry != NULL ? entry_fill(listing, record, entry) : PH_ST_NO_MEMORY;
    if (status == PH_ST_NO_MEMORY && !first) {
        listing->call->fault = (struct ph_fault){0};
        listing->full = true; /* the rest is for the next command */
        return PH_ST_OK;
    }
    if (status != PH_ST_OK)
        return status;
    listing->reply->entries[listing->reply->n_entries++] = entry;
    listing->names_bytes += len;
    listing->wire_bytes += wire;
    return PH_ST_OK;
}

static uint32_t listing_fill(struct listing *listing)
{
    const Pohmel__ReaddirRequest *request = listing->request;
    size_t wanted =
        MIN((size_t) request->count * RECORD_BYTES + MIN(request->bytes_max, request->count * 32u),
            (size_t) BUFFER_BYTES);
    size_t size = MAX(wanted, (size_t) PH_NAME_MAX_BYTES + 2 * RECORD_BYTES);
    g_autofree char *buffer = g_malloc(size);
    if (lseek(listing->fd, (off_t) request->cookie, SEEK_SET) < 0)
        return ph_store_errno(listing->call, "go to a position in a directory");
    while (!listing->full && listing->reply->n_entries < request->count) {
        long got = syscall(SYS_getdents64, listing->fd, buffer, size);
        if (got < 0)
            return ph_store_errno(listing->call, "list a directory");
        if (got == 0) {
            listing->reply->end = true;
            break;
        }
        for (long at = 0; at < got && !listing->full;) {
            const struct record *record = (const void *) (buffer + at);
            uint32_t status = entry_add(listing, record);
            if (status != PH_ST_OK)
                return status;
            at += record->len;
        }
    }
    return PH_ST_OK;
}

static uint32_t listing_run(struct listing *listing)
{
    struct statx stx;
    if (ph_statx(listing->fd, "", &stx) != 0)
        return ph_store_errno(listing->call, "look at a directory");
    listing->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    listing->reply->version = ph_object_version(listing->store, listing->directory, &stx, false);
    listing->reply->entries =
        ph_arena_alloc(listing->call->arena, listing->request->count * sizeof *listing->reply->entries);
    if (listing->reply->entries == NULL)
        return ph_fault_set(&listing->call->fault, PH_ST_NO_MEMORY, "no room left for a listing");
    return listing_fill(listing);
}

/* Without a handle the directory is opened for this one command, as the caller. */
static uint32_t listing_open(struct listing *listing)
{
    struct ph_fd *reach = NULL;
    char path[32];
    uint32_t status = ph_dir_fd(listing->store, listing->directory, &reach);
    if (status == PH_ST_OK)
        status = ph_store_become(listing->store, listing->request->caller);
    if (status == PH_ST_OK) {
        ph_proc_path(reach->fd, path);
        listing->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (listing->fd < 0)
            status = ph_store_errno(listing->call, "open a directory");
    }
    ph_fd_unref(reach);
    if (status == PH_ST_OK)
        status = listing_run(listing);
    if (listing->fd >= 0)
        close(listing->fd);
    return status;
}

uint32_t ph_posix_readdir(void *self, struct ph_call *call, const Pohmel__ReaddirRequest *request,
                          Pohmel__ReaddirReply *reply)
{
    struct ph_posix_store *store = self;
    struct ph_handle *handle = NULL;
    struct listing listing = {.store = store, .call = call, .request = request, .reply = reply, .fd = -1};
    uint32_t status;
    if (request->handle != 0) {
        status = ph_store_handle_get(store, call, request->handle, request->object, 0, &handle);
        if (status != PH_ST_OK)
            return status;
        listing.directory = handle->object;
        listing.fd = handle->fd->fd;
        pthread_mutex_lock(&handle->position_lock);
        status = S_ISDIR(handle->object->type) ? listing_run(&listing) : PH_ST_NOT_DIRECTORY;
        pthread_mutex_unlock(&handle->position_lock);
        ph_store_handle_unref(store, handle);
        return status;
    }
    listing.directory = ph_object_by_id(store, request->object);
    if (listing.directory == NULL)
        return ph_store_stale(call, request->object);
    status = listing_open(&listing);
    ph_object_unref(store, listing.directory);
    return status;
}
