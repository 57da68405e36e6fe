#include "client/fuse/listing.h"

#include <string.h>

struct entry {
    uint64_t object, cookie;
    mode_t type;
    const char *name;
};

struct ph_listing {
    uint64_t start; /* position before the first entry */
    bool end;       /* nothing comes behind the last entry */
    size_t count;
    size_t next; /* where the last call ended: where the next one most often begins */
    struct entry entries[];
};

struct ph_listing *ph_listing_new(uint64_t cookie, const Pohmel__ReaddirReply *reply)
{
    size_t names = 0;
    for (size_t i = 0; i < reply->n_entries; i++)
        names += reply->entries[i]->name.len + 1;
    struct ph_listing *listing =
        g_malloc(sizeof *listing + reply->n_entries * sizeof listing->entries[0] + names);
    listing->start = cookie;
    listing->end = reply->end;
    listing->count = reply->n_entries;
    listing->next = 0;
    char *at = (char *) &listing->entries[reply->n_entries];
    for (size_t i = 0; i < reply->n_entries; i++) {
        const Pohmel__DirEntry *from = reply->entries[i];
        memcpy(at, from->name.data, from->name.len);
        at[from->name.len] = '\0';
        listing->entries[i] = (struct entry){from->object, from->cookie, from->type, at};
        at += from->name.len + 1;
    }
    return listing;
}

void ph_listing_free(struct ph_listing *listing)
{
    g_free(listing);
}

/* Whether the entry at INDEX is the first one behind COOKIE. */
static bool begins(const struct ph_listing *listing, size_t index, uint64_t cookie)
{
    return cookie == (index == 0 ? listing->start : listing->entries[index - 1].cookie);
}

static bool find(const struct ph_listing *listing, uint64_t cookie, size_t *index)
{
    if (begins(listing, listing->next, cookie)) {
        *index = listing->next;
        return true;
    }
    for (size_t i = 0; i <= listing->count; i++) {
        if (begins(listing, i, cookie)) {
            *index = i;
            return true;
        }
    }
    return false;
}

static size_t add_plain(void *data, fuse_req_t req, char *out, size_t room, const char *name,
                        const struct stat *stat, off_t cookie)
{
    return fuse_add_direntry(req, out, room, name, stat, cookie);
}

ssize_t ph_listing_pack(struct ph_listing *listing, fuse_req_t req, uint64_t cookie, char *out, size_t size,
                        ph_listing_add_fn add, void *data)
{
    size_t index;
    if (!find(listing, cookie, &index) || (index == listing->count && !listing->end))
        return -1;
    size_t used = 0;
    for (; index < listing->count; index++) {
        const struct entry *entry = &listing->entries[index];
        const struct stat stat = {.st_ino = entry->object, .st_mode = entry->type};
        size_t needed = (add != NULL ? add : add_plain)(data, req, out + used, size - used, entry->name,
                                                        &stat, (off_t) entry->cookie);
        if (needed > size - used)
            break;
        used += needed;
    }
    listing->next = index;
    return (ssize_t) used;
}
