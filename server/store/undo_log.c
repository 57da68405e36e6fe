#include "server/store/undo_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/wire/frame.h"
#include "server/store/posix_internal.h"

enum {
    FILE_MODE = 0600,
    SECTOR_BYTES = 512, /* what a disk writes whole or not at all */
    ENTRIES_AT = PH_UNDO_MARKS * SECTOR_BYTES,
    ROOM_BYTES = 256 * 1024,           /* for entries, that is there from the start: no metadata change */
    KEPT_BYTES = 4 * 1024 * 1024,      /* that the file may keep */
    ENTRY_MAX_BYTES = 2 * 1024 * 1024, /* more than any entry takes */
    ZEROS_BYTES = 64 * 1024
};

#define MAGIC UINT32_C(0x32646e75)      /* "und2" */
#define MARK_MAGIC UINT32_C(0x6b72616d) /* "mark" */
#define OLD_MAGIC UINT32_C(0x6f646e75)  /* "undo": of lists without marks */

struct head {
    uint32_t magic, crc, len, spare; /* LEN bytes follow, of which, and of the number, CRC is */
    uint64_t transaction;
};

struct mark {
    uint32_t magic, crc, kind, spare;
    uint64_t transaction;
    struct ph_undo_name name;
};
G_STATIC_ASSERT(sizeof(struct mark) <= SECTOR_BYTES);

enum { KEYLESS_BYTES = offsetof(struct mark, name) + PH_UNDO_KEYLESS_NAME_BYTES };

struct span {
    uint64_t at;
    uint32_t len; /* without the head */
};

struct ph_undo_log {
    int fd, dir;
    bool ready;           /* the file has its marks, and room */
    dev_t flushes;        /* 0: not known */
    uint64_t transaction; /* of the entries; or of the last that is over */
    uint64_t end;
    struct mark mark[PH_UNDO_MARKS]; /* as they are in the file */
    GArray *spans;                   /* of struct span */
    GByteArray *buffer;
};

static bool read_all(int fd, void *bytes, size_t len, uint64_t at)
{
    errno = 0; /* too short is no error */
    for (size_t done = 0; done < len;) {
        ssize_t got = pread(fd, (uint8_t *) bytes + done, len - done, (off_t) (at + done));
        if (got < 0 && errno == EINTR) {
            errno = 0;
            continue;
        }
        if (got <= 0)
            return false;
        done += (size_t) got;
    }
    return true;
}

/* The body of the entry at SPAN is in the buffer afterwards. */
static bool body_read(struct ph_undo_log *log, const struct span *span)
{
    g_byte_array_set_size(log->buffer, span->len);
    return read_all(log->fd, log->buffer->data, span->len, span->at + sizeof(struct head));
}

/* LEN: of the mark, as those without keys were shorter. */
static uint32_t mark_crc(const struct mark *mark, size_t len)
{
    return ph_crc32c(0, (const uint8_t *) &mark->kind, len - offsetof(struct mark, kind));
}

/* The mark in SECTOR; all 0 where that holds none. */
static struct mark mark_in(const uint8_t *sector)
{
    struct mark mark;
    memcpy(&mark, sector, sizeof mark);
    if (mark.magic == MARK_MAGIC && mark.crc == mark_crc(&mark, sizeof mark))
        return mark;
    bool keyless = mark.magic == MARK_MAGIC && mark.crc == mark_crc(&mark, KEYLESS_BYTES);
    mark.name.key = 0;
    return keyless ? mark : (struct mark){0};
}

static uint32_t entry_crc(uint64_t transaction, const uint8_t *bytes, size_t len)
{
    return ph_crc32c(ph_crc32c(0, (const uint8_t *) &transaction, sizeof transaction), bytes, len);
}

static struct mark *mark_of(struct ph_undo_log *log, uint64_t transaction)
{
    return &log->mark[transaction % PH_UNDO_MARKS];
}

/* False with errno where they cannot be read. */
static bool marks_read(struct ph_undo_log *log)
{
    uint8_t sector[SECTOR_BYTES];
    for (uint64_t i = 0; i < PH_UNDO_MARKS; i++) {
        if (!read_all(log->fd, sector, sizeof sector, i * SECTOR_BYTES))
            return false;
        log->mark[i] = mark_in(sector);
        log->transaction = MAX(log->transaction, log->mark[i].transaction);
    }
    return true;
}

/* Finds the entries of the last transaction, unless they mean nothing any more; what follows a torn one is
 * not there, nor what an earlier transaction left. False with errno where they
 * cannot be read. */
static bool scan(struct ph_undo_log *log)
{
    struct head head;
    uint64_t over = log->transaction;
    log->end = ENTRIES_AT;
    while (read_all(log->fd, &head, sizeof head, log->end) && head.magic == MAGIC &&
           head.len >= sizeof(struct ph_undo_fixed) && head.len <= ENTRY_MAX_BYTES &&
           (log->spans->len == 0 || head.transaction == log->transaction)) {
        struct span span = {log->end, head.len};
        if (head.transaction < over ||
            (head.transaction == over && mark_of(log, over)->kind != PH_UNDO_DONE) ||
            !body_read(log, &span) || entry_crc(head.transaction, log->buffer->data, head.len) != head.crc)
            break;
        log->transaction = head.transaction;
        g_array_append_val(log->spans, span);
        log->end += sizeof head + head.len;
    }
    return errno == 0;
}

/* Zeros, so that blocks are there and have data, and all of it stable. What was there was of no use. */
static bool make_room(struct ph_undo_log *log)
{
    g_autofree uint8_t *zeros = g_malloc0(ZEROS_BYTES);
    if (ftruncate(log->fd, 0) != 0)
        return false;
    for (off_t at = 0; at < ENTRIES_AT + ROOM_BYTES; at += ZEROS_BYTES) {
        ssize_t got = pwrite(log->fd, zeros, ZEROS_BYTES, at);
        if (got != ZEROS_BYTES) {
            errno = got < 0 ? errno : ENOSPC;
            return false;
        }
    }
    log->ready = fsync(log->fd) == 0 && fsync(log->dir) == 0;
    return log->ready;
}

/* What a server that was killed left is stable before anything follows from it. False with ERROR where the
 * list cannot be known. */
static bool list_read(struct ph_undo_log *log, const char *path, GError **error)
{
    struct stat st;
    uint32_t magic = 0;
    bool good = fstat(log->fd, &st) == 0 && (read_all(log->fd, &magic, sizeof magic, 0) || errno == 0);
    log->ready = good && st.st_size >= ENTRIES_AT + ROOM_BYTES;
    if (good && magic != OLD_MAGIC &&
        (!log->ready || (fdatasync(log->fd) == 0 && marks_read(log) && scan(log))))
        return true;
    if (magic == OLD_MAGIC)
        g_set_error(
            error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
            "%s was left in the middle of a transaction by an earlier version of pohmel-server: start "
            "that version once, which undoes it",
            path);
    else
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot read %s: %s; a transaction may have to be undone", path, g_strerror(errno));
    return false;
}

struct ph_undo_log *ph_undo_log_open(const char *directory, GError **error)
{
    g_autofree char *path = g_build_filename(directory, "undo", NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE),
        dir = fd >= 0 ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (dir < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot open %s: %s; a transaction may have to be undone", path, g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct ph_undo_log *log = g_new0(struct ph_undo_log, 1);
    log->fd = fd;
    log->dir = dir;
    log->flushes = ph_fsync_flushes(fd);
    log->spans = g_array_new(FALSE, FALSE, sizeof(struct span));
    log->buffer = g_byte_array_new();
    if (list_read(log, path, error))
        return log;
    ph_undo_log_close(log);
    return NULL;
}

void ph_undo_log_close(struct ph_undo_log *log)
{
    if (log == NULL)
        return;
    close(log->fd);
    close(log->dir);
    g_array_unref(log->spans);
    g_byte_array_unref(log->buffer);
    g_free(log);
}

bool ph_undo_log_begin(struct ph_undo_log *log)
{
    if (!log->ready && !make_room(log))
        return false;
    log->transaction++;
    log->end = ENTRIES_AT;
    return true;
}

bool ph_undo_log_add(struct ph_undo_log *log, struct ph_undo_entry *entry)
{
    struct ph_undo_fixed *fixed = &entry->fixed;
    fixed->name_len = (uint16_t) strlen(entry->name);
    fixed->to_name_len = (uint16_t) strlen(entry->to_name);
    struct head head = {.magic = MAGIC, .transaction = log->transaction};
    struct iovec part[] = {{&head, sizeof head},
                           {fixed, sizeof *fixed},
                           {entry->name, fixed->name_len},
                           {entry->to_name, fixed->to_name_len},
                           {(void *) entry->data, fixed->data_len}};
    size_t whole = sizeof head;
    head.crc = ph_crc32c(0, (const uint8_t *) &head.transaction, sizeof head.transaction);
    for (size_t i = 1; i < G_N_ELEMENTS(part); i++) {
        if (part[i].iov_len > 0)
            head.crc = ph_crc32c(head.crc, part[i].iov_base, part[i].iov_len);
        head.len += (uint32_t) part[i].iov_len;
        whole += part[i].iov_len;
    }
    ssize_t got = pwritev(log->fd, part, G_N_ELEMENTS(part), (off_t) log->end);
    if (got != (ssize_t) whole) {
        errno = got < 0 ? errno : ENOSPC;
        return false;
    }
    struct span span = {log->end, head.len};
    g_array_append_val(log->spans, span);
    log->end += whole;
    return true;
}

bool ph_undo_log_sync(struct ph_undo_log *log)
{
    return fdatasync(log->fd) == 0;
}

dev_t ph_undo_log_flushes(const struct ph_undo_log *log)
{
    return log->flushes;
}

size_t ph_undo_log_count(const struct ph_undo_log *log)
{
    return log->spans->len;
}

bool ph_undo_log_get(struct ph_undo_log *log, size_t index, struct ph_undo_entry *entry)
{
    const struct span *span = &g_array_index(log->spans, struct span, index);
    struct ph_undo_fixed *fixed = &entry->fixed;
    memset(entry, 0, sizeof *entry);
    if (!body_read(log, span))
        return false;
    const uint8_t *at = log->buffer->data;
    memcpy(fixed, at, sizeof *fixed);
    if (fixed->name_len > PH_NAME_MAX_BYTES || fixed->to_name_len > PH_NAME_MAX_BYTES ||
        sizeof *fixed + fixed->name_len + fixed->to_name_len + fixed->data_len != span->len)
        return false;
    at += sizeof *fixed;
    memcpy(entry->name, at, fixed->name_len);
    memcpy(entry->to_name, at + fixed->name_len, fixed->to_name_len);
    entry->data = at + fixed->name_len + fixed->to_name_len;
    return true;
}

static bool mark_write(struct ph_undo_log *log, const struct mark *mark)
{
    uint8_t sector[SECTOR_BYTES] = {0};
    memcpy(sector, mark, sizeof *mark);
    ssize_t got =
        pwrite(log->fd, sector, sizeof sector, (off_t) (log->transaction % PH_UNDO_MARKS * SECTOR_BYTES));
    if (got >= 0 && got != SECTOR_BYTES)
        errno = ENOSPC;
    return got == SECTOR_BYTES;
}

bool ph_undo_log_mark(struct ph_undo_log *log, enum ph_undo_verdict verdict, const struct ph_undo_name *name)
{
    struct mark *mark = mark_of(log, log->transaction);
    *mark =
        (struct mark){.magic = MARK_MAGIC, .kind = verdict, .transaction = log->transaction, .name = *name};
    mark->crc = mark_crc(mark, sizeof *mark);
    if (mark_write(log, mark) && fdatasync(log->fd) == 0)
        return true;
    int failed = errno;
    /* It may be on the disk, and must not be found while what it says is not so any more. */
    memset(mark, 0, sizeof *mark);
    if (!mark_write(log, mark) || fdatasync(log->fd) != 0)
        g_error(
            "whether a transaction is done cannot be written down: %s; the server ends, and the next start "
            "finds out",
            g_strerror(errno));
    errno = failed;
    return false;
}

bool ph_undo_log_is_done(const struct ph_undo_log *log)
{
    const struct mark *mark = &log->mark[log->transaction % PH_UNDO_MARKS];
    return mark->transaction == log->transaction && mark->kind == PH_UNDO_DONE;
}

enum ph_undo_verdict ph_undo_log_verdict(const struct ph_undo_log *log, const uint8_t *client, uint64_t key)
{
    for (size_t i = 0; i < PH_UNDO_MARKS; i++) {
        const struct mark *mark = &log->mark[i];
        if ((mark->kind == PH_UNDO_DONE || mark->kind == PH_UNDO_FORBIDDEN) && mark->name.key == key &&
            memcmp(mark->name.client, client, sizeof mark->name.client) == 0)
            return (enum ph_undo_verdict) mark->kind;
    }
    return PH_UNDO_UNKNOWN;
}

uint64_t ph_undo_log_last(const struct ph_undo_log *log)
{
    return log->transaction;
}

/* That the entries mean nothing any more says their mark; what is done here spares the next start a look at
 * them, and disks space. */
void ph_undo_log_clear(struct ph_undo_log *log)
{
    static const struct head none;
    bool failed = log->spans->len > 0 && pwrite(log->fd, &none, sizeof none, ENTRIES_AT) != sizeof none;
    failed |= log->end > KEPT_BYTES && ftruncate(log->fd, ENTRIES_AT + ROOM_BYTES) != 0;
    if (failed)
        g_warning("cannot clear the list of what is to be undone: %s", g_strerror(errno));
    g_array_set_size(log->spans, 0);
    g_byte_array_set_size(log->buffer, 0);
    log->end = ENTRIES_AT;
}
