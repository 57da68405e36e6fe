#include "client/fuse/busy.h"
#include "runtime/base/zeroed.h"

#include <glib.h>
#include <stdlib.h>

enum { PARKED_MAX = 64 }; /* well below what the kernel sends without being answered */

struct ph_busy {
    GHashTable *files; /* object -> struct ph_busy_file */
    uint64_t last_read;
    unsigned parked;
};

struct ph_busy *ph_busy_new(void)
{
    struct ph_busy *busy = g_new0(struct ph_busy, 1);
    busy->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free);
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
    file = ph_zeroed(sizeof *file);
    file->object = object;
    g_hash_table_insert(busy->files, &file->object, file);
    return file;
}

static void trim(struct ph_busy *busy, struct ph_busy_file *file)
{
    if (file->reads == NULL && file->writes == NULL && file->attrs == 0 && file->pins == 0)
        g_hash_table_remove(busy->files, &file->object);
}

void ph_busy_read_begin(struct ph_busy *busy, uint64_t object, struct ph_busy_read *read)
{
    struct ph_busy_file *file = get(busy, object);
    read->number = ++busy->last_read;
    read->sent = read->covered = read->parked = false;
    read->next = file->reads;
    read->link = &file->reads;
    if (file->reads != NULL)
        file->reads->link = &read->next;
    file->reads = read;
}

void ph_busy_read_sent(struct ph_busy *busy, uint64_t object, struct ph_busy_read *read, bool covered)
{
    read->sent = true;
    read->covered = covered;
    if (covered)
        get(busy, object)->covered++;
}

void ph_busy_read_end(struct ph_busy *busy, uint64_t object, struct ph_busy_read *read)
{
    struct ph_busy_file *file = get(busy, object);
    *read->link = read->next;
    if (read->next != NULL)
        read->next->link = read->link;
    if (read->covered) {
        file->covered--;
        file->answered++;
    }
    trim(busy, file);
}

bool ph_busy_read_park(struct ph_busy *busy, struct ph_busy_read *read)
{
    if (busy->parked >= PARKED_MAX)
        return false;
    busy->parked++;
    read->parked = true;
    return true;
}

static struct ph_busy_read *unpark(struct ph_busy_file *file)
{
    for (struct ph_busy_read *read = file->reads; read != NULL; read = read->next) {
        if (read->parked) {
            read->parked = false;
            return read;
        }
    }
    return NULL;
}

struct ph_busy_read *ph_busy_unpark(struct ph_busy *busy, uint64_t object)
{
    struct ph_busy_read *read = NULL;
    GHashTableIter iter;
    gpointer file;
    if (busy->parked == 0)
        return NULL;
    if (object != 0) {
        file = g_hash_table_lookup(busy->files, &object);
        read = file != NULL ? unpark(file) : NULL;
    } else {
        g_hash_table_iter_init(&iter, busy->files);
        while (read == NULL && g_hash_table_iter_next(&iter, NULL, &file))
            read = unpark(file);
    }
    if (read != NULL)
        busy->parked--;
    return read;
}

bool ph_busy_asks_attr(const struct ph_busy *busy, uint64_t object)
{
    const struct ph_busy_file *file = g_hash_table_lookup(busy->files, &object);
    return file != NULL && file->attrs > 0;
}

uint64_t ph_busy_last_read(const struct ph_busy *busy)
{
    return busy->last_read;
}

bool ph_busy_reads_until(const struct ph_busy_file *file, uint64_t number)
{
    for (const struct ph_busy_read *read = file->reads; read != NULL; read = read->next) {
        if (read->sent && read->number <= number)
            return true;
    }
    return false;
}

void ph_busy_attr_begin(struct ph_busy *busy, uint64_t object)
{
    get(busy, object)->attrs++;
}

void ph_busy_attr_end(struct ph_busy *busy, uint64_t object)
{
    struct ph_busy_file *file = get(busy, object);
    file->attrs--;
    trim(busy, file);
}

void ph_busy_read_answering(struct ph_busy *busy, uint64_t object)
{
    get(busy, object)->seen++;
}

bool ph_busy_write_spoiled(struct ph_busy *busy, uint64_t object, const struct ph_busy_write *write)
{
    const struct ph_busy_file *file = get(busy, object);
    if (write->direct)
        return write->seen != file->seen || file->reads != NULL;
    return (write->drops != file->drops || !write->covered) && write->seen != file->seen;
}

bool ph_busy_write_settle(struct ph_busy *busy, uint64_t object, struct ph_busy_write *write)
{
    const struct ph_busy_file *file = get(busy, object);
    write->settled = file->reads == NULL && file->attrs == 0 && write->seen == file->seen;
    return write->settled;
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

bool ph_busy_is_written(struct ph_busy *busy, uint64_t object, const struct ph_busy_read *read, uint64_t page)
{
    const struct ph_busy_file *file = get(busy, object);
    for (const struct ph_busy_write *write = file->writes; write != NULL; write = write->next) {
        uint64_t from = write->offset / page * page,
                 to = (write->offset + write->size + page - 1) / page * page;
        if (write->direct && !write->settled && from < read->offset + read->size && read->offset < to)
            return true;
    }
    return false;
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

size_t ph_busy_tidy(struct ph_busy_range *ranges, size_t count)
{
    size_t kept = 0;
    qsort(ranges, count, sizeof *ranges, by_offset);
    for (size_t i = 0; i < count; i++) {
        struct ph_busy_range *last = kept > 0 ? &ranges[kept - 1] : NULL;
        if (last == NULL || ranges[i].offset > last->offset + last->len)
            ranges[kept++] = ranges[i];
        else
            last->len = MAX(last->len, ranges[i].offset + ranges[i].len - last->offset);
    }
    return kept;
}

/* The pages of WRITE that are filled in part: up to two. */
static size_t partial_pages(const struct ph_busy_write *write, uint64_t page, struct ph_busy_range *out)
{
    uint64_t end = write->offset + write->size;
    size_t count = 0;
    if (!write->direct && write->offset % page != 0)
        out[count++] = (struct ph_busy_range){write->offset / page * page, page};
    if (!write->direct && end % page != 0)
        out[count++] = (struct ph_busy_range){end / page * page, page};
    return count;
}

size_t ph_busy_held_ranges(const struct ph_busy_file *file, bool partial, uint64_t page,
                           struct ph_busy_range *ranges, size_t max)
{
    size_t count = 0;
    for (const struct ph_busy_write *write = file->writes; partial && write != NULL; write = write->next) {
        if (count + 2 > max)
            return max + 1;
        count += partial_pages(write, page, &ranges[count]);
    }
    for (const struct ph_busy_read *read = file->reads; !partial && read != NULL; read = read->next) {
        if (count == max)
            return max + 1;
        if (!read->sent)
            ranges[count++] = (struct ph_busy_range){
                read->offset / page * page, (read->size + read->offset % page + page - 1) / page * page};
    }
    return ph_busy_tidy(ranges, count);
}

size_t ph_busy_around(struct ph_busy_range wanted, const struct ph_busy_range *ranges, size_t count,
                      struct ph_busy_range *out)
{
    uint64_t at = wanted.offset, end = wanted.len > 0 ? wanted.offset + wanted.len : UINT64_MAX;
    size_t used = 0;
    for (size_t i = 0; i < count && at < end; i++) {
        if (ranges[i].offset > at)
            out[used++] = (struct ph_busy_range){at, MIN(ranges[i].offset, end) - at};
        at = MAX(at, ranges[i].offset + ranges[i].len);
    }
    if (at < end)
        out[used++] = (struct ph_busy_range){at, wanted.len > 0 ? end - at : 0};
    return used;
}
