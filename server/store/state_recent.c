#include "server/store/state_recent.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/wire/frame.h"

enum {
    FILES = 2,
    FILE_MODE = 0600,
    CROWDED_SHARE = 8,
    FULL_SHARE = 2, /* of a file: the other one's turn */
    VOLUME_BYTES = 16,
    READY_BYTES = 512 * 1024 /* of a file, made ready at a time for being written without its metadata */
};

/* A change as it stands in a file, in the order of bytes of this machine; the name follows without
 * a zero, and the next change begins at a multiple of 8. What is zero is no change: they count from 1. */
struct record {
    uint32_t crc; /* of all that follows and the name, begun with that of the volume */
    uint16_t name_len;
    uint16_t removed;
    uint64_t number, id, dev, ino, btime_ns, parent;
};

static_assert(sizeof(struct record) == 56, "the files of an older server are read");

struct recent_file {
    int fd;
    uint8_t *map; /* NULL: it is written to */
    size_t used;
    size_t written; /* changes up to here were given to the disk */
    size_t ready;   /* up to here there are blocks with data on the disk, and its metadata say so */
    uint64_t round; /* how often it was emptied */
};

struct ph_state_recent {
    struct recent_file files[FILES];
    unsigned current;
    size_t bytes;
    uint32_t volume_crc;
    uint64_t number; /* of the last change */
    uint64_t unkept; /* of the last one that found no room */
    dev_t dev;       /* where the files are */
    bool kept;       /* there are files */
    bool switched;   /* since the last `done` */
};

static size_t record_bytes(size_t name_len)
{
    return (sizeof(struct record) + name_len + 7) / 8 * 8;
}

static uint32_t record_crc(uint32_t volume_crc, const void *record, size_t name_len)
{
    const uint8_t *bytes = record;
    size_t skip = sizeof(uint32_t);
    return ph_crc32c(volume_crc, bytes + skip, sizeof(struct record) - skip + name_len);
}

static char *file_path(const char *directory, unsigned which)
{
    return g_strdup_printf("%s/recent.%u", directory, which);
}

/* ---- Reading. ---- */

struct reading {
    char *bytes;
    size_t len, at;
    uint32_t volume_crc;
    struct ph_state_change next;
    bool has_next;
};

/* Each change of a file has a greater number than the one before; what is left from earlier
 * rounds, behind the last change, has not. */
static void reading_step(struct reading *reading)
{
    struct record record;
    reading->has_next = false;
    if (reading->len - reading->at < sizeof record)
        return;
    const char *from = reading->bytes + reading->at;
    memcpy(&record, from, sizeof record);
    size_t whole = record_bytes(record.name_len);
    if (record.name_len > PH_NAME_MAX_BYTES || reading->len - reading->at < whole ||
        record.number <= reading->next.number ||
        record.crc != record_crc(reading->volume_crc, from, record.name_len))
        return;
    struct ph_state_row row = {.id = record.id,
                               .dev = record.dev,
                               .ino = record.ino,
                               .btime_ns = record.btime_ns,
                               .parent = record.parent};
    memcpy(row.name, from + sizeof record, record.name_len);
    reading->next = (struct ph_state_change){record.number, record.removed != 0, row};
    reading->at += whole;
    reading->has_next = true;
}

static void reading_begin(struct reading *reading, const char *directory, unsigned which, uint32_t volume_crc)
{
    g_autofree char *path = file_path(directory, which);
    g_autoptr(GError) error = NULL;
    reading->volume_crc = volume_crc;
    if (!g_file_get_contents(path, &reading->bytes, &reading->len, &error)) {
        if (!g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            g_warning("ids given right before the server ended may be forgotten: %s", error->message);
        return;
    }
    reading_step(reading);
}

bool ph_state_recent_read(const char *directory, const uint8_t *volume, uint64_t after, ph_state_change_fn fn,
                          void *data)
{
    struct reading readings[FILES] = {0};
    uint32_t volume_crc = ph_crc32c(0, volume, VOLUME_BYTES);
    bool good = true;
    for (unsigned i = 0; i < FILES; i++)
        reading_begin(&readings[i], directory, i, volume_crc);
    while (good && (readings[0].has_next || readings[1].has_next)) {
        bool second = !readings[0].has_next ||
                      (readings[1].has_next && readings[1].next.number < readings[0].next.number);
        struct reading *first = &readings[second ? 1 : 0];
        if (first->next.number > after)
            good = fn(&first->next, data);
        reading_step(first);
    }
    for (unsigned i = 0; i < FILES; i++)
        g_free(readings[i].bytes);
    return good;
}

/* ---- Writing. ---- */

/* Elsewhere writing to it may need room anew, and a full disk would end the server by SIGBUS if the file
 * was mapped. */
bool ph_state_allocation_lasts(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return false;
    return fs.f_type == TMPFS_MAGIC || fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC;
}

static bool file_write(struct recent_file *file, size_t at, const void *bytes, size_t len)
{
    if (file->map == NULL)
        return pwrite(file->fd, bytes, len, (off_t) at) == (ssize_t) len;
    memcpy(file->map + at, bytes, len);
    return true;
}

/* Where that fails, old changes are found again: the database knows that it has them. */
static void file_empty(struct recent_file *file)
{
    static const struct record nothing;
    (void) !file_write(file, 0, &nothing, sizeof nothing);
    file->used = file->written = 0;
    file->round++;
}

/* 0, or an error number. */
static int file_open(struct recent_file *file, const char *path, size_t bytes)
{
    file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (file->fd < 0)
        return errno;
    int failed = posix_fallocate(file->fd, 0, (off_t) bytes);
    if (failed != 0) {
        (void) !ftruncate(file->fd, 0); /* what it got of a full disk */
        return failed;
    }
    if (ph_state_allocation_lasts(file->fd)) {
        void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
        file->map = map != MAP_FAILED ? map : NULL;
    }
    file_empty(file);
    return 0;
}

static void files_close(struct ph_state_recent *recent)
{
    for (unsigned i = 0; i < FILES; i++) {
        struct recent_file *file = &recent->files[i];
        if (file->map != NULL)
            munmap(file->map, recent->bytes);
        if (file->fd >= 0)
            close(file->fd);
        *file = (struct recent_file){.fd = -1};
    }
}

struct ph_state_recent *ph_state_recent_open(const char *directory, size_t bytes, const uint8_t *volume,
                                             uint64_t epoch)
{
    struct ph_state_recent *recent = g_new0(struct ph_state_recent, 1);
    recent->bytes = bytes;
    recent->volume_crc = ph_crc32c(0, volume, VOLUME_BYTES);
    recent->number = ph_state_recent_first(epoch);
    recent->kept = true;
    for (unsigned i = 0; i < FILES; i++)
        recent->files[i].fd = -1;
    for (unsigned i = 0; i < FILES && recent->kept; i++) {
        g_autofree char *path = file_path(directory, i);
        int failed = file_open(&recent->files[i], path, bytes);
        recent->kept = failed == 0;
        if (failed != 0)
            g_warning("cannot make %s with %zu KiB: %s; a server that is killed will forget the ids of files "
                      "made right before",
                      path, bytes / 1024, g_strerror(failed));
    }
    struct stat st;
    if (recent->kept && fstat(recent->files[0].fd, &st) == 0)
        recent->dev = st.st_dev;
    if (!recent->kept)
        files_close(recent);
    return recent;
}

void ph_state_recent_close(struct ph_state_recent *recent)
{
    if (recent == NULL)
        return;
    files_close(recent);
    g_free(recent);
}

bool ph_state_recent_append(struct ph_state_recent *recent, const struct ph_state_row *row, bool removed)
{
    struct recent_file *file = &recent->files[recent->current];
    size_t name_len = removed ? 0 : strlen(row->name), whole = record_bytes(name_len);
    recent->number++;
    if (!recent->kept || recent->bytes - file->used < whole) {
        recent->unkept = recent->number;
        return false;
    }
    struct {
        struct record record;
        char name[PH_NAME_MAX_BYTES + 1];
    } out = {.record = {.name_len = (uint16_t) name_len,
                        .removed = removed,
                        .number = recent->number,
                        .id = row->id,
                        .dev = row->dev,
                        .ino = row->ino,
                        .btime_ns = row->btime_ns,
                        .parent = row->parent}};
    memcpy(out.name, row->name, name_len);
    out.record.crc = record_crc(recent->volume_crc, &out, name_len);
    if (!file_write(file, file->used, &out, whole)) {
        file->used = recent->bytes; /* nothing behind a damaged change would be read */
        recent->unkept = recent->number;
        return false;
    }
    file->used += whole;
    return true;
}

bool ph_state_recent_crowded(const struct ph_state_recent *recent)
{
    size_t used = recent->files[recent->current].used;
    return recent->kept && recent->bytes - used < recent->bytes / CROWDED_SHARE;
}

static struct recent_file *other_file(struct ph_state_recent *recent)
{
    return &recent->files[(recent->current + 1) % FILES];
}

uint64_t ph_state_recent_take(struct ph_state_recent *recent, bool *full)
{
    *full = recent->kept && !recent->switched &&
            recent->files[recent->current].used >= recent->bytes / FULL_SHARE;
    if (*full) {
        recent->current = (recent->current + 1) % FILES;
        recent->switched = true;
    }
    return recent->number;
}

void ph_state_recent_done(struct ph_state_recent *recent)
{
    if (recent->switched)
        file_empty(other_file(recent));
    recent->switched = false;
}

uint64_t ph_state_recent_number(const struct ph_state_recent *recent)
{
    return recent->number;
}

/* ---- Onto the disk. ---- */

/* What was never written has no blocks that a reader after a loss of power would find: it is written to now.
 */
static bool file_ready_more(struct recent_file *file, size_t bytes)
{
    static const uint8_t zeros[READY_BYTES];
    size_t end = MIN(file->used + READY_BYTES, bytes);
    return end == file->used || file_write(file, file->used, zeros, end - file->used);
}

bool ph_state_recent_span(struct ph_state_recent *recent, uint64_t durable, struct ph_state_span *span)
{
    struct recent_file *file = &recent->files[recent->current];
    if (!recent->kept || recent->switched || recent->unkept > durable)
        return false;
    *span = (struct ph_state_span){.fd = file->fd,
                                   .from = file->written,
                                   .to = file->used,
                                   .number = recent->number,
                                   .which = recent->current,
                                   .round = file->round,
                                   .ready = file->ready};
    if (file->used <= file->ready)
        return true;
    span->ready = MIN(file->used + READY_BYTES, recent->bytes);
    span->whole = true;
    return file_ready_more(file, recent->bytes);
}

bool ph_state_span_write(const struct ph_state_span *span)
{
    if (span->whole)
        return fdatasync(span->fd) == 0;
    return span->from == span->to ||
           sync_file_range(span->fd, (off_t) span->from, (off_t) (span->to - span->from),
                           SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                               SYNC_FILE_RANGE_WAIT_AFTER) == 0;
}

void ph_state_recent_written(struct ph_state_recent *recent, const struct ph_state_span *span)
{
    struct recent_file *file = &recent->files[span->which];
    file->ready = MAX(file->ready, span->ready);
    if (file->round == span->round)
        file->written = MAX(file->written, span->to);
}

bool ph_state_recent_is_on(const struct ph_state_recent *recent, dev_t dev)
{
    return recent->kept && recent->dev == dev;
}
