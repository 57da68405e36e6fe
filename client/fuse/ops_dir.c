#include <errno.h>

#include "client/fuse/coherence.h"
#include "client/fuse/listing.h"
#include "client/fuse/ops.h"
#include "client/fuse/request.h"
#include "ph_commands.h"
#include "ph_stubs.h"

enum {
    /* How much is asked of the server at once, whatever the kernel has room for; the
     * kernel's calls are served from that until it is used up. */
    AHEAD_NAMES = 1024,
    AHEAD_BYTES = 64 * 1024,
    REPLY_MAX_BYTES = 64 * 1024,
};

/* What a reply to READDIRPLUS tells of entries; recalls of them wait until it is written. */
struct telling {
    struct ph_coherence *coherence;
    uint64_t directory;
    GArray *told; /* struct ph_told */
};

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* An entry with its attributes where they are known; the kernel asks for the others. */
static size_t add_plus(void *data, fuse_req_t req, char *out, size_t room, const char *name,
                       const struct stat *stat, off_t cookie)
{
    struct telling *telling = data;
    struct fuse_entry_param entry = {.attr = *stat};
    struct ph_told told;
    size_t needed = fuse_add_direntry_plus(req, NULL, 0, name, NULL, 0);
    if (needed > room)
        return needed;
    if (!is_dots(name)) {
        enum ph_cache_found found = ph_coherence_lookup(telling->coherence, telling->directory, name, &told);
        if (found == PH_CACHE_FOUND)
            ph_told_entry(&told, &entry);
        /* The kernel looks at the epoch only when it takes the entry in, some time after the answer. */
        entry.entry_timeout = 0;
        if (found != PH_CACHE_MISS)
            g_array_append_val(telling->told, told);
    }
    return fuse_add_direntry_plus(req, out, room, name, &entry, cookie);
}

/* Answers with what the open directory has from COOKIE on; false when it does not have that. */
static bool answer(struct ph_mount *mount, struct ph_open *open, fuse_req_t req, uint64_t cookie, size_t size,
                   bool plus)
{
    struct telling telling = {.coherence = mount->coherence, .directory = open->object};
    g_autofree char *out = NULL;
    ssize_t used = -1;
    telling.told = g_array_new(FALSE, FALSE, sizeof(struct ph_told));
    pthread_mutex_lock(&open->mutex);
    if (open->listing != NULL) {
        out = g_malloc(size);
        used = ph_listing_pack(open->listing, req, cookie, out, size, plus ? add_plus : NULL, &telling);
    }
    pthread_mutex_unlock(&open->mutex);
    bool failed = used >= 0 && fuse_reply_buf(req, out, (size_t) used) != 0;
    for (guint i = 0; i < telling.told->len; i++)
        ph_coherence_told(mount->coherence, &g_array_index(telling.told, struct ph_told, i),
                          failed || used < 0);
    g_array_unref(telling.told);
    return used >= 0;
}

static void set_listing(struct ph_open *open, struct ph_listing *listing)
{
    pthread_mutex_lock(&open->mutex);
    ph_listing_free(open->listing);
    open->listing = listing;
    pthread_mutex_unlock(&open->mutex);
}

static void readdir_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct ph_open *open = request->open;
    const Pohmel__ReaddirReply *part = ph_reply_readdir(reply);
    /* A part without entries that is not the end would have the kernel ask for ever. */
    if (part == NULL || (part->n_entries == 0 && !part->end)) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    if (request->mount->caching) {
        pthread_mutex_lock(&open->mutex);
        ph_coherence_learn_listing(request->mount->coherence, &request->ask, open->object, request->offset,
                                   part, &open->whole);
        pthread_mutex_unlock(&open->mutex);
    }
    set_listing(open, ph_listing_new(request->offset, part));
    ph_request_settle(request);
    if (!answer(request->mount, open, request->req, request->offset, request->size, request->flags != 0))
        fuse_reply_buf(request->req, NULL, 0);
    ph_request_end(request);
}

static void read_entries(fuse_req_t req, uint64_t object, size_t size, off_t offset,
                         struct fuse_file_info *info, bool plus)
{
    struct ph_open *open = ph_open_of(info);
    struct ph_mount *mount = ph_mount_of(req);
    if (!ph_open_alive(mount, open)) {
        fuse_reply_err(req, EIO);
        return;
    }
    size = MIN(size, (size_t) REPLY_MAX_BYTES);
    if (offset == 0)
        set_listing(open, NULL); /* whoever starts over wants to see what is there now */
    if (answer(mount, open, req, (uint64_t) offset, size, plus))
        return;
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->open = ph_open_ref(open);
    request->offset = (uint64_t) offset;
    request->size = size;
    request->flags = plus;
    Pohmel__ReaddirRequest message = POHMEL__READDIR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.handle = open->handle;
    message.cookie = (uint64_t) offset;
    message.count = AHEAD_NAMES;
    message.bytes_max = AHEAD_BYTES;
    message.attributes = plus;
    ph_request_sent(request, ph_send_readdir(mount->stub, &message, NULL, readdir_done, request));
}

void ph_op_readdir(fuse_req_t req, fuse_ino_t object, size_t size, off_t offset, struct fuse_file_info *info)
{
    read_entries(req, object, size, offset, info, false);
}

void ph_op_readdirplus(fuse_req_t req, fuse_ino_t object, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    read_entries(req, object, size, offset, info, true);
}
