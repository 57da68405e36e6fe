#include "server/store/journal_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/wire/frame.h"
#include "server/store/state_recent.h"

enum {
    FORMAT = 1,
    FILE_MODE = 0600,
    VOLUME_BYTES = 16,
    BOOT_BYTES = 36, /* as the kernel writes it */
    HEADER_BYTES = 64 * 1024,
    SEGMENT_AREAS = 16,
    SEGMENT_BYTES = SEGMENT_AREAS * PH_JOURNAL_AREA_BYTES,
};

/* Pages of 64 KiB are the largest there are. */
static_assert(SEGMENT_BYTES % (64 * 1024) == 0, "a segment is mapped by itself");

#define MAGIC UINT64_C(0x6c6e726a6c6d6870) /* "phmljrnl" */

struct header {
    uint64_t magic;
    uint32_t format, crc; /* of all that follows but `alive_ns` */
    uint8_t volume[VOLUME_BYTES];
    char boot[BOOT_BYTES];
    uint32_t clean; /* all that was done is stable */
    _Atomic uint64_t alive_ns;
};

struct ph_journal_file {
    int fd;
    bool mapped, look, complained;
    struct header *header;
    GPtrArray *segments; /* of uint8_t *, SEGMENT_BYTES each */
    uint32_t seed;
    char *path;
};

static uint32_t header_crc(const struct header *header)
{
    size_t from = offsetof(struct header, volume);
    return ph_crc32c(0, (const uint8_t *) header + from, offsetof(struct header, alive_ns) - from);
}

/* Which start of the machine this is; all zero where the system does not tell, which is no other's. */
static void boot_id(char boot[BOOT_BYTES])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    memset(boot, 0, BOOT_BYTES);
    if (fd < 0)
        return;
    if (read(fd, boot, BOOT_BYTES) != BOOT_BYTES)
        memset(boot, 0, BOOT_BYTES);
    close(fd);
}

/* ---- Memory ---- */

/* LEN bytes of the file from AT on; NULL with errno. */
static uint8_t *bytes_get(struct ph_journal_file *file, off_t at, size_t len)
{
    if (file->mapped) {
        void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, at);
        return map != MAP_FAILED ? map : NULL;
    }
    uint8_t *copy = g_malloc0(len);
    for (size_t done = 0; done < len;) {
        ssize_t got = pread(file->fd, copy + done, len - done, at + (off_t) done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) /* the rest is as good as zero */
            break;
        done += (size_t) got;
    }
    return copy;
}

static void bytes_drop(const struct ph_journal_file *file, void *bytes, size_t len)
{
    if (bytes != NULL && file->mapped)
        munmap(bytes, len);
    else
        g_free(bytes);
}

static void bytes_write(struct ph_journal_file *file, const void *bytes, size_t len, off_t at)
{
    if (file->mapped || file->look)
        return;
    if (pwrite(file->fd, bytes, len, at) == (ssize_t) len || file->complained)
        return;
    file->complained = true;
    g_warning("cannot write to %s: %s; a server that is killed may not know what it had done", file->path,
              g_strerror(errno));
}

void ph_journal_file_put(struct ph_journal_file *file, uint8_t *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    for (guint i = 0; !file->mapped && i < file->segments->len; i++) {
        uint8_t *segment = file->segments->pdata[i];
        if (at >= segment && at < segment + SEGMENT_BYTES)
            bytes_write(file, bytes, len, HEADER_BYTES + (off_t) i * SEGMENT_BYTES + (at - segment));
    }
}

void ph_journal_file_alive(struct ph_journal_file *file, uint64_t now_ns)
{
    atomic_store_explicit(&file->header->alive_ns, now_ns, memory_order_relaxed);
    bytes_write(file, &now_ns, sizeof now_ns, offsetof(struct header, alive_ns));
}

uint64_t ph_journal_file_alive_ns(const struct ph_journal_file *file)
{
    return atomic_load_explicit(&file->header->alive_ns, memory_order_relaxed);
}

uint32_t ph_journal_file_seed(const struct ph_journal_file *file)
{
    return file->seed;
}

size_t ph_journal_file_areas(const struct ph_journal_file *file)
{
    return (size_t) file->segments->len * SEGMENT_AREAS;
}

uint8_t *ph_journal_file_area(struct ph_journal_file *file, size_t index)
{
    uint8_t *segment = file->segments->pdata[index / SEGMENT_AREAS];
    return segment + index % SEGMENT_AREAS * PH_JOURNAL_AREA_BYTES;
}

bool ph_journal_file_grow(struct ph_journal_file *file)
{
    off_t at = HEADER_BYTES + (off_t) file->segments->len * SEGMENT_BYTES;
    int failed = posix_fallocate(file->fd, at, SEGMENT_BYTES);
    uint8_t *segment = failed == 0 ? bytes_get(file, at, SEGMENT_BYTES) : NULL;
    if (failed == 0 && segment == NULL)
        failed = errno;
    if (segment != NULL) {
        g_ptr_array_add(file->segments, segment);
        return true;
    }
    if (!file->complained)
        g_warning(
            "cannot make %s larger: %s; what newer sessions had done a server that is killed will not know",
            file->path, g_strerror(failed));
    file->complained = true;
    return false;
}

/* ---- Opening ---- */

/* Whether what stands there may be believed. */
static bool believable(const struct ph_journal_file *file, const uint8_t *volume, const char *boot)
{
    static const char unknown[BOOT_BYTES];
    const struct header *header = file->header;
    if (header->magic != MAGIC || header->format != FORMAT || header->crc != header_crc(header) ||
        memcmp(header->volume, volume, VOLUME_BYTES) != 0)
        return false;
    return header->clean == 1 ||
           (memcmp(boot, unknown, BOOT_BYTES) != 0 && memcmp(header->boot, boot, BOOT_BYTES) == 0);
}

/* From now on, until an orderly end, this start of the machine is the only one in which the journal is
 * believed: that must be stable before anything else changes. */
static bool header_set(struct ph_journal_file *file, const uint8_t *volume, const char *boot, bool clean)
{
    struct header *header = file->header;
    header->magic = MAGIC;
    header->format = FORMAT;
    memcpy(header->volume, volume, VOLUME_BYTES);
    memcpy(header->boot, boot, BOOT_BYTES);
    header->clean = clean;
    header->crc = header_crc(header);
    bytes_write(file, header, sizeof *header, 0);
    return (!file->mapped || msync(header, sizeof *header, MS_SYNC) == 0) && fdatasync(file->fd) == 0;
}

static bool segments_get(struct ph_journal_file *file, off_t size)
{
    for (off_t at = HEADER_BYTES; at + SEGMENT_BYTES <= size; at += SEGMENT_BYTES) {
        uint8_t *segment = bytes_get(file, at, SEGMENT_BYTES);
        if (segment == NULL)
            return false;
        g_ptr_array_add(file->segments, segment);
    }
    return true;
}

/* 0 or an error number. */
static int contents_open(struct ph_journal_file *file, const uint8_t *volume, bool *continued)
{
    struct stat st;
    char boot[BOOT_BYTES];
    int failed = file->look ? 0 : posix_fallocate(file->fd, 0, HEADER_BYTES);
    if (failed != 0 || fstat(file->fd, &st) != 0)
        return failed != 0 ? failed : errno;
    file->mapped = !file->look && ph_state_allocation_lasts(file->fd);
    file->header = (struct header *) (void *) bytes_get(file, 0, HEADER_BYTES);
    if (file->header == NULL)
        return errno;
    boot_id(boot);
    *continued = believable(file, volume, boot);
    if (*continued && !segments_get(file, st.st_size))
        return errno;
    if (file->look)
        return 0;
    if (!*continued && ftruncate(file->fd, HEADER_BYTES) != 0)
        return errno;
    return header_set(file, volume, boot, false) ? 0 : errno;
}

struct ph_journal_file *ph_journal_file_open(const char *directory, const uint8_t *volume, bool look,
                                             bool *continued, GError **error)
{
    struct ph_journal_file *file = g_new0(struct ph_journal_file, 1);
    file->look = look;
    file->path = g_build_filename(directory, "journal", NULL);
    file->segments = g_ptr_array_new();
    file->seed = ph_crc32c(0, volume, VOLUME_BYTES);
    file->fd = open(file->path, (look ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    int failed = file->fd < 0 ? errno : contents_open(file, volume, continued);
    if (failed == 0)
        return file;
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(failed),
                "cannot open the journal %s: %s; a server that is killed will not know what it had done",
                file->path, g_strerror(failed));
    ph_journal_file_close(file, false);
    return NULL;
}

void ph_journal_file_close(struct ph_journal_file *file, bool clean)
{
    if (file == NULL)
        return;
    bool good = clean && !file->look;
    for (guint i = 0; i < file->segments->len; i++)
        good = good && (!file->mapped || msync(file->segments->pdata[i], SEGMENT_BYTES, MS_SYNC) == 0);
    if (good && fdatasync(file->fd) == 0) {
        uint8_t volume[VOLUME_BYTES];
        char boot[BOOT_BYTES];
        memcpy(volume, file->header->volume, sizeof volume);
        memcpy(boot, file->header->boot, sizeof boot);
        header_set(file, volume, boot, true);
    }
    for (guint i = 0; i < file->segments->len; i++)
        bytes_drop(file, file->segments->pdata[i], SEGMENT_BYTES);
    g_ptr_array_unref(file->segments);
    bytes_drop(file, file->header, HEADER_BYTES);
    if (file->fd >= 0)
        close(file->fd);
    g_free(file->path);
    g_free(file);
}
