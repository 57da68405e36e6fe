#include "server/store/undo_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/wire/frame.h"

enum {
    FILE_MODE = 0600,
    ENTRY_MAX_BYTES = 2 * 1024 * 1024, /* more than any entry takes */
};

#define MAGIC UINT32_C(0x6f646e75) /* "undo" */

struct head {
    uint32_t magic, crc, len, spare; /* LEN bytes follow, of which CRC is */
};

struct span {
    uint64_t at;
    uint32_t len; /* without the head */
};

struct ph_undo_log {
    int fd;
    uint64_t end;
    GArray *spans; /* of struct span */
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

/* Finds the entries; what follows a torn one is not there. False with errno where it cannot be read. */
static bool scan(struct ph_undo_log *log)
{
    struct head head;
    while (read_all(log->fd, &head, sizeof head, log->end) && head.magic == MAGIC &&
           head.len >= sizeof(struct ph_undo_fixed) && head.len <= ENTRY_MAX_BYTES) {
        struct span span = {log->end, head.len};
        if (!body_read(log, &span) || ph_crc32c(0, log->buffer->data, head.len) != head.crc)
            break;
        g_array_append_val(log->spans, span);
        log->end += sizeof head + head.len;
    }
    return errno == 0;
}

struct ph_undo_log *ph_undo_log_open(const char *directory, GError **error)
{
    g_autofree char *path = g_build_filename(directory, "undo", NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot open %s: %s; a transaction may have to be undone", path, g_strerror(errno));
        return NULL;
    }
    struct ph_undo_log *log = g_new0(struct ph_undo_log, 1);
    log->fd = fd;
    log->spans = g_array_new(FALSE, FALSE, sizeof(struct span));
    log->buffer = g_byte_array_new();
    if (scan(log))
        return log;
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                "cannot read %s: %s; a transaction may have to be undone", path, g_strerror(errno));
    ph_undo_log_close(log);
    return NULL;
}

void ph_undo_log_close(struct ph_undo_log *log)
{
    if (log == NULL)
        return;
    close(log->fd);
    g_array_unref(log->spans);
    g_byte_array_unref(log->buffer);
    g_free(log);
}

bool ph_undo_log_add(struct ph_undo_log *log, struct ph_undo_entry *entry)
{
    struct ph_undo_fixed *fixed = &entry->fixed;
    fixed->name_len = (uint16_t) strlen(entry->name);
    fixed->to_name_len = (uint16_t) strlen(entry->to_name);
    struct head head = {.magic = MAGIC};
    struct iovec part[] = {{&head, sizeof head},
                           {fixed, sizeof *fixed},
                           {entry->name, fixed->name_len},
                           {entry->to_name, fixed->to_name_len},
                           {(void *) entry->data, fixed->data_len}};
    size_t whole = sizeof head;
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

/* What stood behind END would be undone at the next start. */
static bool cut(struct ph_undo_log *log, uint64_t end)
{
    if (log->end > end && ftruncate(log->fd, (off_t) end) != 0) {
        g_warning("cannot cut the list of what is to be undone: %s", g_strerror(errno));
        return false;
    }
    log->end = end;
    return true;
}

bool ph_undo_log_drop_last(struct ph_undo_log *log)
{
    if (log->spans->len == 0)
        return true;
    if (!cut(log, g_array_index(log->spans, struct span, log->spans->len - 1).at))
        return false;
    g_array_set_size(log->spans, log->spans->len - 1);
    return true;
}

bool ph_undo_log_clear(struct ph_undo_log *log)
{
    if (!cut(log, 0))
        return false;
    g_array_set_size(log->spans, 0);
    g_byte_array_set_size(log->buffer, 0);
    return true;
}
