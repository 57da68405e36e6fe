/* What the answer to a write that goes past the pages waits for. */
#include <glib.h>
#include <sys/stat.h>

#include "client/fuse/coherence.h"
#include "client/fuse/notify.h"
#include "client/link.h"
#include "runtime/base/limits.h"

enum { OBJECT = 20, LEASE = 7, BLOCK = 4096, TTL_MS = 60000 };

struct fixture {
    struct ph_coherence *coherence;
    struct ph_notifier *notifier;
    struct ph_busy_write write;
};

/* A file that the kernel knows, held under a lease. */
static void set_up(struct fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fixture->coherence = ph_coherence_new(true);
    fixture->notifier = ph_notifier_new(NULL, NULL); /* nothing is told to the kernel here */
    ph_coherence_use_kernel(fixture->coherence, fixture->notifier, NULL, NULL);
    const struct ph_link_leases leases = {
        .generation = 1, .granted = true, .watched = true, .ttl_ms = TTL_MS};
    ph_coherence_events.opened(fixture->coherence, &leases);
    struct ph_cache_ask ask = ph_coherence_ask(fixture->coherence);
    Pohmel__Time time = POHMEL__TIME__INIT;
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    attr.object = OBJECT;
    attr.mode = S_IFREG | 0644;
    attr.size = 16 * BLOCK;
    attr.version = 1;
    attr.lease = LEASE;
    attr.lease_mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    attr.accessed = attr.modified = attr.changed = &time;
    struct ph_told told;
    ph_coherence_learn_entry(fixture->coherence, &ask, PH_OBJECT_ROOT, NULL, "file", &attr, &told);
    ph_coherence_told(fixture->coherence, &told, false);
    fixture->write = (struct ph_busy_write){.offset = BLOCK, .size = BLOCK, .direct = true};
}

static void tear_down(struct fixture *fixture, gconstpointer unused)
{
    (void) unused;
    ph_coherence_use_kernel(fixture->coherence, NULL, NULL, NULL);
    ph_notifier_free(fixture->notifier);
    ph_coherence_free(fixture->coherence);
}

static enum ph_write_way written(struct fixture *fixture)
{
    return ph_coherence_write_done(fixture->coherence, OBJECT, &fixture->write);
}

static void begin(struct fixture *fixture)
{
    ph_coherence_write_begin(fixture->coherence, OBJECT, &fixture->write);
}

static void end(struct fixture *fixture)
{
    ph_coherence_write_end(fixture->coherence, OBJECT, &fixture->write);
}

static void finish_read(struct fixture *fixture, struct ph_busy_read *read)
{
    ph_coherence_read_answering(fixture->coherence, OBJECT);
    ph_coherence_read_end(fixture->coherence, OBJECT, read, read->offset, read->size);
}

static void count(void *data)
{
    ++*(unsigned *) data;
}

static void test_never_read(struct fixture *fixture, gconstpointer unused)
{
    (void) unused;
    ph_coherence_keeps_pages(fixture->coherence, OBJECT); /* it is opened */
    begin(fixture);
    g_assert_cmpint(written(fixture), ==, PH_WRITE_ANSWER);
    end(fixture);
}

static void test_read_before(struct fixture *fixture, gconstpointer unused)
{
    struct ph_busy_read read = {.size = BLOCK}, later = {.offset = BLOCK, .size = BLOCK};
    (void) unused;
    g_assert_cmpint(ph_coherence_read_begin(fixture->coherence, OBJECT, &read), ==, PH_READ_GO);
    finish_read(fixture, &read);
    begin(fixture);
    g_assert_cmpint(written(fixture), ==, PH_WRITE_DROP);
    /* The drop waits for a read that comes now, which so must not wait for the write. */
    g_assert_cmpint(ph_coherence_read_begin(fixture->coherence, OBJECT, &later), ==, PH_READ_GO);
    finish_read(fixture, &later);
    end(fixture);
}

static void test_read_meanwhile(struct fixture *fixture, gconstpointer unused)
{
    unsigned woken = 0;
    struct ph_busy_read early = {.size = BLOCK};
    struct ph_busy_read same = {.offset = BLOCK, .size = BLOCK, .wake = count, .data = &woken};
    (void) unused;
    begin(fixture);
    g_assert_cmpint(ph_coherence_read_begin(fixture->coherence, OBJECT, &same), ==, PH_READ_PARKED);
    g_assert_cmpint(ph_coherence_read_begin(fixture->coherence, OBJECT, &early), ==, PH_READ_GO);
    g_assert_cmpint(written(fixture), ==, PH_WRITE_UNSPOIL);
    finish_read(fixture, &early);
    g_assert_cmpint(written(fixture), ==, PH_WRITE_UNSPOIL);
    end(fixture);
    g_assert_cmpuint(woken, ==, 1);
    g_assert_cmpint(ph_coherence_read_again(fixture->coherence, OBJECT, &same), ==, PH_READ_GO);
    finish_read(fixture, &same);
}

static void test_attributes_meanwhile(struct fixture *fixture, gconstpointer unused)
{
    (void) unused;
    begin(fixture);
    ph_coherence_attr_begin(fixture->coherence, OBJECT);
    g_assert_cmpint(written(fixture), ==, PH_WRITE_UNSPOIL);
    ph_coherence_attr_end(fixture->coherence, OBJECT);
    g_assert_cmpint(written(fixture), ==, PH_WRITE_ANSWER);
    end(fixture);
}

#define ADD(name, test) g_test_add("/direct-write/" name, struct fixture, NULL, set_up, test, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("a file of which no page was read is answered for at once, though it was opened", test_never_read);
    ADD("pages from before are dropped, and reads that come meanwhile go on", test_read_before);
    ADD("reads under way are waited for, and those of the same place come after it", test_read_meanwhile);
    ADD("questions for attributes go first", test_attributes_meanwhile);
    return g_test_run();
}
