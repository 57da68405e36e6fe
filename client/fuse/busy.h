/* Which reads and writes of files are under way between the kernel and us: the
 * kernel holds pages for them, so giving pages back has to know. Only files with
 * something under way are in the table. Not thread safe: under the lock of coherence.c. */
#ifndef PH_CLIENT_FUSE_BUSY_H
#define PH_CLIENT_FUSE_BUSY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ph_busy;

/* One write; lives in its request. */
struct ph_busy_write {
    uint64_t offset, size;
    uint64_t drops; /* of the file when it began */
    uint64_t seen;  /* of the file when it began */
    bool covered;   /* a lease was held when it began */
    struct ph_busy_write *next;
};

/* A file with something under way, or pinned. */
struct ph_busy_file {
    uint64_t object;
    unsigned reads;    /* not answered yet */
    unsigned covered;  /* those of them that a lease covers */
    uint64_t answered; /* covered reads answered since the file is in the table */
    bool draining;     /* its lease is on its way back for long: no more reads are covered by it */
    uint64_t drops;    /* times that its pages were dropped since then */
    uint64_t seen;     /* reads whose answer went to the kernel, or is about to */
    unsigned pins;
    struct ph_busy_write *writes;
};

/* Empty. Never NULL. */
struct ph_busy *ph_busy_new(void);

/* NULL is fine. */
void ph_busy_free(struct ph_busy *busy);

/* A read of OBJECT came; it was answered (the answer is with the kernel). */
void ph_busy_read_begin(struct ph_busy *busy, uint64_t object);
void ph_busy_read_end(struct ph_busy *busy, uint64_t object, bool covered);

/* The read is sent, under a lease that is held: false when it cannot count on it any more. */
bool ph_busy_read_cover(struct ph_busy *busy, uint64_t object);

/* The answer to a read is about to go to the kernel. */
void ph_busy_read_answering(struct ph_busy *busy, uint64_t object);

/* Whether a read may have put pages there that the write, which is not answered yet, has not changed: pages
 * went while it was under way, or there was no lease, and reads were answered. */
bool ph_busy_write_spoiled(struct ph_busy *busy, uint64_t object, const struct ph_busy_write *write);

/* A write came; WRITE has offset and size. It is about to be answered: true when
 * pages of the file were dropped while it was under way. */
void ph_busy_write_begin(struct ph_busy *busy, uint64_t object, struct ph_busy_write *write);
bool ph_busy_write_end(struct ph_busy *busy, uint64_t object, struct ph_busy_write *write);

/* The file's entry stays in the table until unpinned. */
struct ph_busy_file *ph_busy_pin(struct ph_busy *busy, uint64_t object);
void ph_busy_unpin(struct ph_busy *busy, struct ph_busy_file *file);

/* A range of bytes; LEN 0 reaches to the end. */
struct ph_busy_range {
    uint64_t offset, len;
};

/* Pages of PAGE bytes that writes under way fill in part only, and that the kernel may therefore hold: up to
 * MAX into RANGES, in order, without overlaps. Returns their number, or MAX + 1 when there are more. */
size_t ph_busy_partial_pages(const struct ph_busy_file *file, uint64_t page, struct ph_busy_range *ranges,
                             size_t max);

/* What COUNT sorted RANGES leave of a file: COUNT + 1 at most into OUT. Returns their number. */
size_t ph_busy_around(const struct ph_busy_range *ranges, size_t count, struct ph_busy_range *out);

#endif
