/* Which reads and writes of files are under way between the kernel and us: the
 * kernel holds pages for them, so giving pages back has to know. Only files with
 * something under way are in the table. Not thread safe: under the lock of coherence.c. */
#ifndef PH_CLIENT_FUSE_BUSY_H
#define PH_CLIENT_FUSE_BUSY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ph_busy;

/* One read; lives in its request. It waits until it is sent: the kernel holds its pages, which are not up to
 * date. */
struct ph_busy_read {
    uint64_t offset, size;
    void (*wake)(void *data); /* for one that is parked */
    void *data;
    uint64_t number; /* counts up */
    bool sent;
    bool covered; /* by a lease */
    bool parked;
    bool yielding; /* it has given up asking for an EXCLUSIVE lease */
    struct ph_busy_read *next, **link;
};

/* One write; lives in its request. */
struct ph_busy_write {
    uint64_t offset, size;
    uint64_t drops; /* of the file when it began */
    uint64_t seen;  /* of the file when it began */
    bool covered;   /* a lease was held when it began */
    bool direct;    /* goes past the pages and holds none */
    bool settled;   /* it was done: a read that comes now brings what it wrote */
    struct ph_busy_write *next;
};

/* A file with something under way, or pinned. */
struct ph_busy_file {
    uint64_t object;
    struct ph_busy_read *reads; /* not answered yet */
    unsigned covered;           /* those of them that a lease covers */
    unsigned attrs;             /* requests for attributes, not answered yet */
    uint64_t answered;          /* covered reads answered since the file is in the table */
    uint64_t drops;             /* times that its pages were dropped since then */
    uint64_t seen;              /* reads whose answer went to the kernel, or is about to */
    unsigned pins;
    struct ph_busy_write *writes;
};

/* Empty. Never NULL. */
struct ph_busy *ph_busy_new(void);

/* NULL is fine. */
void ph_busy_free(struct ph_busy *busy);

/* A read of OBJECT came (READ has its place and size); it was answered (the answer is with the kernel). */
void ph_busy_read_begin(struct ph_busy *busy, uint64_t object, struct ph_busy_read *read);
void ph_busy_read_end(struct ph_busy *busy, uint64_t object, struct ph_busy_read *read);

/* It is sent; COVERED: under a lease, which does not leave before it has ended. */
void ph_busy_read_sent(struct ph_busy *busy, uint64_t object, struct ph_busy_read *read, bool covered);

/* It waits until the lease on its object has gone back. False when too many do so already: the kernel keeps
 * further reads to itself then, with the pages that they hold. */
bool ph_busy_read_park(struct ph_busy *busy, struct ph_busy_read *read);

/* One that is parked, on OBJECT or (0) on anything, and is not any more; NULL when there is none. */
struct ph_busy_read *ph_busy_unpark(struct ph_busy *busy, uint64_t object);

/* Number of the latest read, and whether one up to NUMBER was sent and is not answered. */
uint64_t ph_busy_last_read(const struct ph_busy *busy);
bool ph_busy_reads_until(const struct ph_busy_file *file, uint64_t number);

/* The attributes of OBJECT are asked for; they were answered. */
void ph_busy_attr_begin(struct ph_busy *busy, uint64_t object);
void ph_busy_attr_end(struct ph_busy *busy, uint64_t object);

/* Whether attributes of OBJECT are asked for now. The kernel throws an answer away that comes after that of a
 * write or after it was told to forget, and what asked goes on with what was known before. So such answers go
 * first. */
bool ph_busy_asks_attr(const struct ph_busy *busy, uint64_t object);

/* The answer to a read is about to go to the kernel. */
void ph_busy_read_answering(struct ph_busy *busy, uint64_t object);

/* Whether a read may have put pages there, or be about to, that the write, which is not answered yet, has not
 * changed. Where the write went through pages: only if these went while it was under way, or there was no
 * lease. */
bool ph_busy_write_spoiled(struct ph_busy *busy, uint64_t object, const struct ph_busy_write *write);

/* No read of OBJECT that could have missed WRITE was under way since it began, nor a question for attributes:
 * it is settled. Only its pages from before may have to go. False: others have to go first. */
bool ph_busy_write_settle(struct ph_busy *busy, uint64_t object, struct ph_busy_write *write);

/* A write came; WRITE has offset and size. It is about to be answered: true when
 * pages of the file were dropped while it was under way. */
void ph_busy_write_begin(struct ph_busy *busy, uint64_t object, struct ph_busy_write *write);
bool ph_busy_write_end(struct ph_busy *busy, uint64_t object, struct ph_busy_write *write);

/* Whether writes that go past the pages, and are not settled, are under way where READ would bring pages (of
 * PAGE bytes): others may see them before they are answered here, and pages from before would not show them.
 */
bool ph_busy_is_written(struct ph_busy *busy, uint64_t object, const struct ph_busy_read *read,
                        uint64_t page);

/* The file's entry stays in the table until unpinned. */
struct ph_busy_file *ph_busy_pin(struct ph_busy *busy, uint64_t object);
void ph_busy_unpin(struct ph_busy *busy, struct ph_busy_file *file);

/* A range of bytes; LEN 0 reaches to the end. */
struct ph_busy_range {
    uint64_t offset, len;
};

/* What the kernel may hold for writes under way that fill pages of PAGE bytes in part (PARTIAL), or for reads
 * that were not sent: up to MAX ranges into RANGES, in order, without overlaps. Returns their number, or MAX
 * + 1 when there are more. */
size_t ph_busy_held_ranges(const struct ph_busy_file *file, bool partial, uint64_t page,
                           struct ph_busy_range *ranges, size_t max);

/* Sorts COUNT ranges and joins what overlaps. Returns how many are left. */
size_t ph_busy_tidy(struct ph_busy_range *ranges, size_t count);

/* What COUNT sorted RANGES leave of WANTED: COUNT + 1 ranges at most into OUT. Returns their number. A length
 * of 0, in WANTED and OUT, is up to the end of the file. */
size_t ph_busy_around(struct ph_busy_range wanted, const struct ph_busy_range *ranges, size_t count,
                      struct ph_busy_range *out);

#endif
