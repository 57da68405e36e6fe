#include "client/fuse/busy.h"

#include <glib.h>
#include <stdlib.h>

struct ph_busy {
    GHashTable *files; /* object -> struct ph_busy_file */
};

struct ph_busy *ph_busy_new(void)
{
    struct ph_busy *busy = g_new0(struct ph_busy, 1);
    busy->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    return busy;
}

void ph_busy_free(struct ph_busy *busy)
{
    if (busy == NULL)
        return;
    g_hash_table_unref(busy->files);
    g_free(busy);
}

static struct ph_busy_file *get(struct ph_busy *busy, uint64_t object)
{
    struct ph_busy_file *file = g_hash_table_lookup(busy->files, &object);
    if (file != NULL)
        return file;
    file = g_new0(struct ph_busy_file, 1);
    file->object = object;
    g_hash_table_insert(busy->files, &file->object, file);
    return file;
}

static void trim(struct ph_busy *busy, struct ph_busy_file *file)
{
    if (file->reads == 0 && file->writes == NULL && file->pins == 0)
        g_hash_table_remove(busy->files, &file->object);
}

void ph_busy_read_begin(struct ph_busy *busy, uint64_t object)
{
    get(busy, object)->reads++;
}

bool ph_busy_read_cover(struct ph_busy *busy, uint64_t object)
{
    struct ph_busy_file *file = get(busy, object);
    if (file->draining)
        return false;
    file->covered++;
    return true;
}

void ph_busy_read_end(struct ph_busy *busy, uint64_t object, bool covered)
{
    struct ph_busy_file *file = get(busy, object);
    file->reads--;
    if (covered) {
        file->covered--;
        file->answered++;
    }
    trim(busy, file);
}

void ph_busy_read_answering(struct ph_busy *busy, uint64_t object)
{
    get(busy, object)->seen++;
}

bool ph_busy_write_spoiled(struct ph_busy *busy, uint64_t object, const struct ph_busy_write *write)
{
    const struct ph_busy_file *file = get(busy, object);
    return (write->drops != file->drops || !write->covered) && write->seen != file->seen;
}

void ph_busy_write_begin(struct ph_busy *busy, uint64_t object, struct ph_busy_write *write)
{
    struct ph_busy_file *file = get(busy, object);
    write->drops = file->drops;
    write->seen = file->seen;
    write->next = file->writes;
    file->writes = write;
}

bool ph_busy_write_end(struct ph_busy *busy, uint64_t object, struct ph_busy_write *write)
{
    struct ph_busy_file *file = get(busy, object);
    struct ph_busy_write **at = &file->writes;
    bool dropped = write->drops != file->drops;
    while (*at != NULL && *at != write)
        at = &(*at)->next;
    if (*at != NULL)
        *at = write->next;
    trim(busy, file);
    return dropped;
}

struct ph_busy_file *ph_busy_pin(struct ph_busy *busy, uint64_t object)
{
    struct ph_busy_file *file = get(busy, object);
    file->pins++;
    return file;
}

void ph_busy_unpin(struct ph_busy *busy, struct ph_busy_file *file)
{
    file->pins--;
    trim(busy, file);
}

static int by_offset(const void *a, const void *b)
{
    const struct ph_busy_range *left = a, *right = b;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* Sorts; pages that are there twice stay once. */
static size_t tidy(struct ph_busy_range *ranges, size_t count)
{
    size_t kept = 0;
    qsort(ranges, count, sizeof *ranges, by_offset);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || ranges[kept - 1].offset != ranges[i].offset)
            ranges[kept++] = ranges[i];
    }
    return kept;
}

size_t ph_busy_partial_pages(const struct ph_busy_file *file, uint64_t page, struct ph_busy_range *ranges,
                             size_t max)
{
    size_t count = 0;
    for (const struct ph_busy_write *write = file->writes; write != NULL; write = write->next) {
        uint64_t end = write->offset + write->size;
        if (count + 2 > max)
            return max + 1;
        if (write->offset % page != 0)
            ranges[count++] = (struct ph_busy_range){write->offset / page * page, page};
        if (end % page != 0)
            ranges[count++] = (struct ph_busy_range){end / page * page, page};
    }
    return tidy(ranges, count);
}

size_t ph_busy_around(const struct ph_busy_range *ranges, size_t count, struct ph_busy_range *out)
{
    size_t used = 0;
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].offset > at)
            out[used++] = (struct ph_busy_range){at, ranges[i].offset - at};
        at = ranges[i].offset + ranges[i].len;
    }
    out[used++] = (struct ph_busy_range){at, 0};
    return used;
}
