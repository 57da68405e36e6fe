/* Listings: from memory where all names are known, else from the server, which tells attributes as well. */
#include <errno.h>

#include "client/fuse/coherence_listing.h"
#include "client/fuse/open_dir.h"
#include "client/fuse/ops.h"
#include "ph_commands.h"
#include "ph_stubs.h"

enum {
    /* How much is asked of the server at once, whatever the kernel has room for; the
     * kernel's calls are served from that until it is used up. */
    AHEAD_NAMES = 1024,
    AHEAD_BYTES = 64 * 1024,
    REPLY_MAX_BYTES = 64 * 1024,
};

/* Answers with what the open directory has from COOKIE on; false when it does not have that. */
static bool answer(struct ph_open *open, fuse_req_t req, uint64_t cookie, size_t size)
{
    g_autofree char *out = NULL;
    ssize_t used = -1;
    pthread_mutex_lock(&open->mutex);
    if (open->listing != NULL) {
        out = g_malloc(size);
        used = ph_listing_pack(open->listing, req, cookie, out, size);
    }
    pthread_mutex_unlock(&open->mutex);
    if (used >= 0)
        fuse_reply_buf(req, out, (size_t) used);
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
    if (!answer(open, request->req, request->offset, request->size))
        fuse_reply_buf(request->req, NULL, 0);
    ph_request_end(request);
}

static void send_readdir(struct ph_request *request)
{
    /* What is learned now was asked for now: opening may have waited for others. */
    request->ask = ph_coherence_ask(request->mount->coherence);
    Pohmel__ReaddirRequest message = POHMEL__READDIR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->open->object;
    message.handle = request->open->handle;
    message.cookie = request->offset;
    message.count = AHEAD_NAMES;
    message.bytes_max = AHEAD_BYTES;
    message.attributes = request->mount->caching;
    ph_request_sent(request, ph_send_readdir(request->mount->stub, &message, NULL, readdir_done, request));
}

void ph_op_readdir(fuse_req_t req, fuse_ino_t object, size_t size, off_t offset, struct fuse_file_info *info)
{
    struct ph_open *open = ph_open_of(info);
    struct ph_mount *mount = ph_mount_of(req);
    size = MIN(size, (size_t) REPLY_MAX_BYTES);
    if (offset == 0) /* whoever starts over wants to see what is there now */
        set_listing(open, mount->caching ? ph_coherence_list(mount->coherence, object) : NULL);
    if (answer(open, req, (uint64_t) offset, size))
        return;
    if (!ph_open_alive(mount, open)) {
        fuse_reply_err(req, EIO);
        return;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->open = ph_open_ref(open);
    request->offset = (uint64_t) offset;
    request->size = size;
    ph_open_dir_there(request, send_readdir);
}
