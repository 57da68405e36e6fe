#include "client/fuse/listing.h"

#include <string.h>

enum {
    FIRST_COOKIE = 16, /* of names in a snapshot; "." and ".." come before them */
};

#define FNV_BASIS UINT64_C(14695981039346656037)
#define FNV_PRIME UINT64_C(1099511628211)

struct entry {
    uint64_t object, cookie;
    mode_t type;
    size_t name; /* where it is in NAMES */
};

struct ph_listing {
    uint64_t start; /* position before the first entry */
    bool end;       /* nothing comes behind the last entry */
    bool snapshot;
    size_t next; /* where the last call ended: where the next one most often begins */
    GArray *entries;
    GByteArray *names; /* each ends with NUL */
};

static struct ph_listing *make(size_t entries, size_t names)
{
    struct ph_listing *listing = g_new0(struct ph_listing, 1);
    listing->entries = g_array_sized_new(FALSE, FALSE, sizeof(struct entry), (guint) entries);
    listing->names = g_byte_array_sized_new((guint) names);
    return listing;
}

static void add(struct ph_listing *listing, const void *name, size_t len, uint64_t object, uint32_t type,
                uint64_t cookie)
{
    const struct entry entry = {object, cookie, type, listing->names->len};
    g_byte_array_append(listing->names, name, (guint) len);
    g_byte_array_append(listing->names, (const guint8 *) "", 1);
    g_array_append_val(listing->entries, entry);
}

struct ph_listing *ph_listing_new(uint64_t cookie, const Pohmel__ReaddirReply *reply)
{
    size_t names = 0;
    for (size_t i = 0; i < reply->n_entries; i++)
        names += reply->entries[i]->name.len + 1;
    struct ph_listing *listing = make(reply->n_entries, names);
    listing->start = cookie;
    listing->end = reply->end;
    for (size_t i = 0; i < reply->n_entries; i++) {
        const Pohmel__DirEntry *from = reply->entries[i];
        add(listing, from->name.data, from->name.len, from->object, from->type, from->cookie);
    }
    return listing;
}

struct ph_listing *ph_listing_new_snapshot(void)
{
    struct ph_listing *listing = make(0, 0);
    listing->end = listing->snapshot = true;
    return listing;
}

/* Positive as an off_t, with room to count up where two are equal. */
static uint64_t position_of(const void *name, size_t len)
{
    const guint8 *bytes = name;
    uint64_t hash = FNV_BASIS;
    if (bytes[0] == '.' && (len == 1 || (len == 2 && bytes[1] == '.')))
        return len;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * FNV_PRIME;
    return FIRST_COOKIE + (hash >> 2);
}

void ph_listing_add(struct ph_listing *listing, const void *name, size_t len, uint64_t object, uint32_t type)
{
    add(listing, name, len, object, type, position_of(name, len));
}

void ph_listing_add_reply(struct ph_listing *listing, const Pohmel__ReaddirReply *reply)
{
    for (size_t i = 0; i < reply->n_entries; i++) {
        const Pohmel__DirEntry *from = reply->entries[i];
        ph_listing_add(listing, from->name.data, from->name.len, from->object, from->type);
    }
}

static int by_position(const void *one, const void *other, void *data)
{
    const struct entry *a = one, *b = other;
    const char *names = data;
    if (a->cookie != b->cookie)
        return a->cookie < b->cookie ? -1 : 1;
    return strcmp(names + a->name, names + b->name);
}

void ph_listing_seal(struct ph_listing *listing)
{
    struct entry *entries = (struct entry *) (void *) listing->entries->data;
    g_array_sort_with_data(listing->entries, by_position, listing->names->data);
    for (guint i = 1; i < listing->entries->len; i++)
        entries[i].cookie = MAX(entries[i].cookie, entries[i - 1].cookie + 1);
}

void ph_listing_free(struct ph_listing *listing)
{
    if (listing == NULL)
        return;
    g_array_unref(listing->entries);
    g_byte_array_unref(listing->names);
    g_free(listing);
}

static const struct entry *at(const struct ph_listing *listing, size_t index)
{
    return &g_array_index(listing->entries, struct entry, index);
}

/* Whether the entry at INDEX is the first one behind COOKIE. */
static bool begins(const struct ph_listing *listing, size_t index, uint64_t cookie)
{
    return cookie == (index == 0 ? listing->start : at(listing, index - 1)->cookie);
}

/* The name at COOKIE may be gone from this snapshot, while it was in another one. */
static size_t first_behind(const struct ph_listing *listing, uint64_t cookie)
{
    size_t from = 0, to = listing->entries->len;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (at(listing, middle)->cookie <= cookie)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool find(const struct ph_listing *listing, uint64_t cookie, size_t *index)
{
    *index = listing->next;
    if (begins(listing, listing->next, cookie))
        return true;
    if (listing->snapshot) {
        *index = first_behind(listing, cookie);
        return true;
    }
    for (*index = 0; *index <= listing->entries->len; (*index)++) {
        if (begins(listing, *index, cookie))
            return true;
    }
    return false;
}

ssize_t ph_listing_pack(struct ph_listing *listing, fuse_req_t req, uint64_t cookie, char *out, size_t size)
{
    size_t index;
    if (!find(listing, cookie, &index) || (index == listing->entries->len && !listing->end))
        return -1;
    size_t used = 0;
    for (; index < listing->entries->len; index++) {
        const struct entry *entry = at(listing, index);
        const struct stat stat = {.st_ino = entry->object, .st_mode = entry->type};
        const char *name = (const char *) listing->names->data + entry->name;
        size_t needed = fuse_add_direntry(req, out + used, size - used, name, &stat, (off_t) entry->cookie);
        if (needed > size - used)
            break;
        used += needed;
    }
    listing->next = index;
    return (ssize_t) used;
}
