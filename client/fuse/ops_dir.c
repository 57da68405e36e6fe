#include <errno.h>

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

/* Packs what the open directory has from COOKIE on into *OUT (to be freed);
 * -1 when it does not have that. */
static ssize_t pack(struct ph_open *open, fuse_req_t req, uint64_t cookie, size_t size, char **out)
{
    ssize_t used = -1;
    pthread_mutex_lock(&open->mutex);
    if (open->listing != NULL) {
        *out = g_malloc(size);
        used = ph_listing_pack(open->listing, req, cookie, *out, size);
    }
    pthread_mutex_unlock(&open->mutex);
    return used;
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
    const Pohmel__ReaddirReply *part = ph_reply_readdir(reply);
    /* A part without entries that is not the end would have the kernel ask for ever. */
    if (part == NULL || (part->n_entries == 0 && !part->end)) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    set_listing(request->open, ph_listing_new(request->offset, part));
    g_autofree char *out = NULL;
    ssize_t used = pack(request->open, request->req, request->offset, request->size, &out);
    ph_request_settle(request);
    fuse_reply_buf(request->req, out, used > 0 ? (size_t) used : 0);
    ph_request_end(request);
}

void ph_op_readdir(fuse_req_t req, fuse_ino_t object, size_t size, off_t offset, struct fuse_file_info *info)
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
    g_autofree char *out = NULL;
    ssize_t used = pack(open, req, (uint64_t) offset, size, &out);
    if (used >= 0) {
        fuse_reply_buf(req, out, (size_t) used);
        return;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->open = ph_open_ref(open);
    request->offset = (uint64_t) offset;
    request->size = size;
    Pohmel__ReaddirRequest message = POHMEL__READDIR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.handle = open->handle;
    message.cookie = (uint64_t) offset;
    message.count = AHEAD_NAMES;
    message.bytes_max = AHEAD_BYTES;
    ph_request_sent(request, ph_send_readdir(mount->stub, &message, NULL, readdir_done, request));
}
