/* Listings: from memory where all names are known, else from the server, which tells attributes as well. */
#include <errno.h>

#include "client/fuse/coherence_listing.h"
#include "client/fuse/gone_dirs.h"
#include "client/fuse/open_here.h"
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
    if (used == 0 && open->kept_since != 0) {
        struct ph_coherence *coherence = open->mount->coherence;
        struct ph_told told;
        ph_coherence_dir_end(coherence, open, &told);
        fuse_reply_buf(req, NULL, 0); /* then the kernel may close it */
        ph_coherence_told(coherence, &told, false);
    } else if (used >= 0) {
        fuse_reply_buf(req, out, (size_t) used);
    }
    return used >= 0;
}

static void set_listing(struct ph_open *open, struct ph_listing *listing)
{
    pthread_mutex_lock(&open->mutex);
    ph_listing_free(open->listing);
    open->listing = listing;
    pthread_mutex_unlock(&open->mutex);
}

static void send_readdir(struct ph_request *request);

/* PART is there, and was learned. Whether the listing can be answered from now. */
static bool take_part(struct ph_request *request, const Pohmel__ReaddirReply *part)
{
    struct ph_open *open = request->open;
    struct ph_listing *listing = NULL;
    if (!open->snapshots) {
        set_listing(open, ph_listing_new(request->offset, part));
        return true;
    }
    pthread_mutex_lock(&open->mutex);
    if (open->gathered == NULL)
        open->gathered = ph_listing_new_snapshot();
    ph_listing_add_reply(open->gathered, part);
    if (part->end) {
        listing = open->gathered;
        open->gathered = NULL;
        ph_listing_seal(listing);
    }
    pthread_mutex_unlock(&open->mutex);
    if (listing != NULL)
        set_listing(open, listing);
    else
        request->position = part->entries[part->n_entries - 1]->cookie;
    return listing != NULL;
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
        ph_coherence_learn_listing(request->mount->coherence, &request->ask, open->object, request->position,
                                   part, &open->whole);
        pthread_mutex_unlock(&open->mutex);
    }
    if (!take_part(request, part)) {
        ph_request_again(request);
        send_readdir(request);
        return;
    }
    ph_request_settle(request);
    if (!answer(open, request->req, request->offset, request->size))
        fuse_reply_err(request->req, EIO); /* the server's part does not begin where it was asked for */
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
    message.cookie = request->position;
    message.count = AHEAD_NAMES;
    message.bytes_max = AHEAD_BYTES;
    message.attributes = request->mount->caching;
    ph_request_sent(request, ph_send_readdir(request->mount->stub, &message, NULL, readdir_done, request));
}

/* Whoever starts over wants to see what is there now. Positions of the server and of snapshots do not
 * mix: what a directory was begun with it stays with. */
static void start_over(struct ph_mount *mount, struct ph_open *open)
{
    bool wanted = mount->caching && (!open->begun || open->snapshots);
    struct ph_listing *snapshot = wanted ? ph_coherence_list(mount->coherence, open->object) : NULL;
    set_listing(open, snapshot);
    if (!open->begun)
        open->snapshots = snapshot != NULL || open->handle == 0;
    open->begun = true;
}

void ph_op_readdir(fuse_req_t req, fuse_ino_t object, size_t size, off_t offset, struct fuse_file_info *info)
{
    struct ph_open *open = ph_open_of(info);
    struct ph_mount *mount = ph_mount_of(req);
    size = MIN(size, (size_t) REPLY_MAX_BYTES);
    if (ph_gone_dirs_find(mount->gone_dirs, object, NULL)) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    if (offset == 0)
        start_over(mount, open);
    if (open->kept_since != 0)
        ph_coherence_dir_read(mount->coherence, open);
    if (answer(open, req, (uint64_t) offset, size))
        return;
    if (!ph_open_alive(mount, open)) {
        fuse_reply_err(req, EIO);
        return;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->open = ph_open_ref(open);
    request->offset = (uint64_t) offset;
    request->position = open->snapshots ? 0 : (uint64_t) offset;
    request->size = size;
    if (open->snapshots) { /* one that was given up half way */
        pthread_mutex_lock(&open->mutex);
        g_clear_pointer(&open->gathered, ph_listing_free);
        pthread_mutex_unlock(&open->mutex);
    }
    ph_open_there(request, send_readdir);
}
