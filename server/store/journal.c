#include "server/store/journal.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "runtime/wire/frame.h"
#include "server/store/journal_file.h"

/* A record: the intent and its names, what was found before, the answer. Each part is checked by itself and
 * says to which intent it belongs, so that a part of an earlier one is none. All in the order of
 * bytes of this machine. */
enum {
    BEFORE_AT = 640,
    ANSWER_AT = 752,
    INTENT_FIXED_BYTES = offsetof(struct ph_journal_intent, name),
    AREA_USED = 1,
};

struct part {
    uint32_t crc; /* of all that follows, begun with that of the volume */
    uint32_t spare;
    uint64_t number; /* of the intent that it belongs to */
};

struct intent_part {
    uint32_t crc, spare;
    uint8_t fixed[INTENT_FIXED_BYTES];
    char names[2 * PH_NAME_MAX_BYTES];
};

struct before_part {
    struct part part;
    struct ph_journal_before before;
};

struct answer_part {
    struct part part;
    uint32_t len, spare;
    uint8_t bytes[PH_JOURNAL_ANSWER_MAX_BYTES];
};

static_assert(offsetof(struct intent_part, names) + 2 * PH_NAME_MAX_BYTES <= BEFORE_AT, "the names fit");
static_assert(BEFORE_AT + sizeof(struct before_part) <= ANSWER_AT, "what was found fits");
static_assert(ANSWER_AT + sizeof(struct answer_part) <= PH_JOURNAL_RECORD_BYTES, "the answer fits");

/* At the start of each area. */
struct area_header {
    uint32_t crc, used;
    uint8_t client[PH_JOURNAL_CLIENT_BYTES];
    uint64_t number;
};

struct ph_journal_record {
    struct area *area;
    uint8_t *bytes;
    bool begun; /* in this run */
};

struct area {
    struct area_header header;
    uint8_t *bytes;
    uint64_t session; /* in this run; 0: not served yet */
    uint32_t seed;    /* the journal's */
    struct ph_journal_record records[PH_SESSION_SLOTS];
};

struct ph_journal {
    struct ph_journal_file *file;
    bool continued;
    uint32_t seed;
    uint64_t alive_before_ns; /* of the last run */
    atomic_uint_fast64_t number;
    pthread_mutex_t lock; /* of what follows */
    GHashTable *sessions; /* client and number -> struct area, owned */
    GHashTable *served;   /* session of this run -> the same */
    GArray *free;         /* size_t: areas of the file without a session */
};

static guint key_hash(gconstpointer key)
{
    const struct area_header *header = key;
    uint64_t words[2];
    memcpy(words, header->client, sizeof words);
    return (guint) ((words[0] ^ words[1] ^ header->number * UINT64_C(0x9e3779b97f4a7c15)) >> 16);
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
    const struct area_header *left = a, *right = b;
    return left->number == right->number && memcmp(left->client, right->client, PH_JOURNAL_CLIENT_BYTES) == 0;
}

static uint32_t crc_of(const struct ph_journal *journal, const void *part, size_t len)
{
    return ph_crc32c(journal->seed, (const uint8_t *) part + sizeof(uint32_t), len - sizeof(uint32_t));
}

/* ---- Sessions; with the lock held, or before anybody else is there ---- */

static struct area *area_enter(struct ph_journal *journal, const struct area_header *header, uint8_t *bytes)
{
    struct area *area = g_new0(struct area, 1);
    area->header = *header;
    area->bytes = bytes;
    area->seed = journal->seed;
    for (unsigned i = 0; i < PH_SESSION_SLOTS; i++)
        area->records[i] = (struct ph_journal_record){
            area, bytes + PH_JOURNAL_AREA_HEADER_BYTES + (size_t) i * PH_JOURNAL_RECORD_BYTES, false};
    g_hash_table_replace(journal->sessions, &area->header, area);
    return area;
}

static void areas_found(struct ph_journal *journal, size_t from)
{
    for (size_t i = ph_journal_file_areas(journal->file); i-- > from;) {
        uint8_t *bytes = ph_journal_file_area(journal->file, i);
        struct area_header header;
        memcpy(&header, bytes, sizeof header);
        if (header.used == AREA_USED && header.crc == crc_of(journal, &header, sizeof header) &&
            !g_hash_table_contains(journal->sessions, &header))
            area_enter(journal, &header, bytes);
        else
            g_array_append_val(journal->free, i);
    }
}

static void area_leave(struct ph_journal *journal, struct area *area)
{
    static const struct area_header nothing;
    for (size_t i = 0; i < ph_journal_file_areas(journal->file); i++)
        if (ph_journal_file_area(journal->file, i) == area->bytes)
            g_array_append_val(journal->free, i);
    ph_journal_file_put(journal->file, area->bytes, &nothing, sizeof nothing);
    if (area->session != 0)
        g_hash_table_remove(journal->served, &area->session);
    g_hash_table_remove(journal->sessions, &area->header);
}

/* Sessions of the client that were over before this one. */
static void older_leave(struct ph_journal *journal, const struct area_header *header)
{
    g_autoptr(GList) all = g_hash_table_get_values(journal->sessions);
    for (GList *at = all; at != NULL; at = at->next) {
        struct area *area = at->data;
        if (area->session == 0 && area->header.number < header->number &&
            memcmp(area->header.client, header->client, PH_JOURNAL_CLIENT_BYTES) == 0)
            area_leave(journal, area);
    }
}

/* Records that nobody came for make room. */
static void unserved_leave(struct ph_journal *journal)
{
    g_autoptr(GList) all = g_hash_table_get_values(journal->sessions);
    for (GList *at = all; at != NULL; at = at->next)
        if (((struct area *) at->data)->session == 0)
            area_leave(journal, at->data);
}

static struct area *area_new(struct ph_journal *journal, struct area_header *header)
{
    older_leave(journal, header);
    size_t before = ph_journal_file_areas(journal->file);
    if (journal->free->len == 0 && before >= PH_JOURNAL_SESSIONS_MAX)
        unserved_leave(journal);
    if (journal->free->len == 0 && before < PH_JOURNAL_SESSIONS_MAX && ph_journal_file_grow(journal->file))
        areas_found(journal, before);
    if (journal->free->len == 0)
        return NULL;
    size_t index = g_array_index(journal->free, size_t, journal->free->len - 1);
    g_array_set_size(journal->free, journal->free->len - 1);
    uint8_t *bytes = ph_journal_file_area(journal->file, index);
    struct area *area = area_enter(journal, header, bytes);
    for (unsigned i = 0; i < PH_SESSION_SLOTS; i++)
        ph_journal_drop(journal, &area->records[i]);
    /* Whose the records are stands there when there are none of anybody else any more. */
    atomic_signal_fence(memory_order_seq_cst);
    ph_journal_file_put(journal->file, bytes, header, sizeof *header);
    return area;
}

static struct area_header header_of(const struct ph_journal *journal, const uint8_t *client, uint64_t number)
{
    struct area_header header = {.used = AREA_USED, .number = number};
    memcpy(header.client, client, sizeof header.client);
    header.crc = crc_of(journal, &header, sizeof header);
    return header;
}

struct ph_journal_record *ph_journal_record(struct ph_journal *journal, uint64_t session,
                                            const uint8_t *client, uint64_t number, uint32_t slot)
{
    if (slot >= PH_SESSION_SLOTS)
        return NULL;
    pthread_mutex_lock(&journal->lock);
    struct area *area = g_hash_table_lookup(journal->served, &session);
    if (area == NULL) {
        struct area_header header = header_of(journal, client, number);
        area = g_hash_table_lookup(journal->sessions, &header);
        if (area == NULL)
            area = area_new(journal, &header);
        if (area != NULL) {
            if (area->session != 0)
                g_hash_table_remove(journal->served, &area->session);
            area->session = session;
            g_hash_table_insert(journal->served, &area->session, area);
        }
    }
    pthread_mutex_unlock(&journal->lock);
    return area != NULL ? &area->records[slot] : NULL;
}

struct ph_journal_record *ph_journal_find(struct ph_journal *journal, const uint8_t *client, uint64_t number,
                                          uint32_t slot)
{
    struct area_header header = header_of(journal, client, number);
    pthread_mutex_lock(&journal->lock);
    struct area *area = g_hash_table_lookup(journal->sessions, &header);
    pthread_mutex_unlock(&journal->lock);
    return area != NULL && slot < PH_SESSION_SLOTS ? &area->records[slot] : NULL;
}

void ph_journal_forget(struct ph_journal *journal, const uint8_t *client, uint64_t number)
{
    struct area_header header = header_of(journal, client, number);
    pthread_mutex_lock(&journal->lock);
    struct area *area = g_hash_table_lookup(journal->sessions, &header);
    if (area != NULL && area->session == 0)
        area_leave(journal, area);
    pthread_mutex_unlock(&journal->lock);
}

void ph_journal_forget_served(struct ph_journal *journal, uint64_t session)
{
    pthread_mutex_lock(&journal->lock);
    struct area *area = g_hash_table_lookup(journal->served, &session);
    if (area != NULL)
        area_leave(journal, area);
    pthread_mutex_unlock(&journal->lock);
}

/* ---- Records ---- */

/* The clock by which the kernel stamps files: what is stamped afterwards is not earlier. */
static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

void ph_journal_begin(struct ph_journal *journal, struct ph_journal_record *record,
                      struct ph_journal_intent *intent)
{
    struct intent_part part;
    part.spare = 0;
    intent->number = atomic_fetch_add(&journal->number, 1);
    intent->time_ns = now_ns();
    intent->name_len = (uint8_t) strlen(intent->name);
    intent->to_name_len = (uint8_t) strlen(intent->to_name);
    memcpy(part.fixed, intent, sizeof part.fixed);
    memcpy(part.names, intent->name, intent->name_len);
    memcpy(part.names + intent->name_len, intent->to_name, intent->to_name_len);
    size_t len = offsetof(struct intent_part, names) + intent->name_len + intent->to_name_len;
    part.crc = crc_of(journal, &part, len);
    record->begun = true;
    ph_journal_file_alive(journal->file, intent->time_ns);
    ph_journal_file_put(journal->file, record->bytes, &part, len);
    /* The kernel has it before it is asked to do anything. */
    atomic_signal_fence(memory_order_seq_cst);
}

/* Number of what the record holds, good only with an intent that is whole. */
static uint64_t number_of(const struct ph_journal_record *record)
{
    uint64_t number;
    size_t at = offsetof(struct intent_part, fixed) + offsetof(struct ph_journal_intent, number);
    memcpy(&number, record->bytes + at, sizeof number);
    return number;
}

void ph_journal_note(struct ph_journal *journal, struct ph_journal_record *record,
                     const struct ph_journal_before *before)
{
    struct before_part part = {.part.number = number_of(record), .before = *before};
    part.part.crc = crc_of(journal, &part, sizeof part);
    ph_journal_file_put(journal->file, record->bytes + BEFORE_AT, &part, sizeof part);
    atomic_signal_fence(memory_order_seq_cst);
}

void ph_journal_answer(struct ph_journal *journal, struct ph_journal_record *record, const uint8_t *bytes,
                       size_t len)
{
    struct answer_part part;
    if (len > sizeof part.bytes) {
        ph_journal_drop(journal, record);
        return;
    }
    part.part = (struct part){.number = number_of(record)};
    part.len = (uint32_t) len;
    part.spare = 0;
    memcpy(part.bytes, bytes, len);
    size_t whole = offsetof(struct answer_part, bytes) + len;
    part.part.crc = crc_of(journal, &part, whole);
    ph_journal_file_alive(journal->file, now_ns());
    ph_journal_file_put(journal->file, record->bytes + ANSWER_AT, &part, whole);
}

void ph_journal_drop(struct ph_journal *journal, struct ph_journal_record *record)
{
    static const uint32_t dropped = 1; /* the checksum does not hold any more */
    ph_journal_file_put(journal->file, record->bytes + offsetof(struct intent_part, spare), &dropped,
                        sizeof dropped);
}

bool ph_journal_intent(const struct ph_journal_record *record, struct ph_journal_intent *intent)
{
    struct intent_part part;
    memcpy(&part, record->bytes, sizeof part);
    memset(intent, 0, sizeof *intent);
    memcpy(intent, part.fixed, sizeof part.fixed);
    size_t len = offsetof(struct intent_part, names) + intent->name_len + intent->to_name_len;
    if (intent->command == 0 ||
        part.crc !=
            ph_crc32c(record->area->seed, (const uint8_t *) &part + sizeof part.crc, len - sizeof part.crc))
        return false;
    memcpy(intent->name, part.names, intent->name_len);
    memcpy(intent->to_name, part.names + intent->name_len, intent->to_name_len);
    return true;
}

bool ph_journal_before(const struct ph_journal_record *record, struct ph_journal_before *before)
{
    struct before_part part;
    memcpy(&part, record->bytes + BEFORE_AT, sizeof part);
    *before = part.before;
    return part.part.number == number_of(record) &&
           part.part.crc == ph_crc32c(record->area->seed, (const uint8_t *) &part + sizeof(uint32_t),
                                      sizeof part - sizeof(uint32_t));
}

bool ph_journal_answered(const struct ph_journal_record *record, const uint8_t **bytes, size_t *len)
{
    struct answer_part part;
    memcpy(&part, record->bytes + ANSWER_AT, sizeof part);
    *bytes = record->bytes + ANSWER_AT + offsetof(struct answer_part, bytes);
    *len = part.len;
    return part.part.number == number_of(record) && part.len <= sizeof part.bytes &&
           part.part.crc == ph_crc32c(record->area->seed, (const uint8_t *) &part + sizeof(uint32_t),
                                      offsetof(struct answer_part, bytes) + part.len - sizeof(uint32_t));
}

bool ph_journal_is_earlier(const struct ph_journal_record *record)
{
    return !record->begun;
}

void ph_journal_walk(struct ph_journal *journal, ph_journal_session_fn session, ph_journal_record_fn record,
                     void *data)
{
    GHashTableIter iter;
    gpointer value;
    struct ph_journal_intent intent;
    g_hash_table_iter_init(&iter, journal->sessions);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct area *area = value;
        if (session != NULL)
            session(data, area->header.client, area->header.number);
        for (unsigned i = 0; record != NULL && i < PH_SESSION_SLOTS; i++)
            if (ph_journal_intent(&area->records[i], &intent))
                record(data, &area->records[i]);
    }
}

/* ---- The whole ---- */

/* No number is used again: what stands behind a record of before is no part of one of now. */
static void pass_number(void *data, struct ph_journal_record *record)
{
    struct ph_journal *journal = data;
    uint64_t number = number_of(record);
    if (number >= atomic_load(&journal->number))
        atomic_store(&journal->number, number + 1);
}

struct ph_journal *ph_journal_open(const char *directory, const uint8_t *volume, bool look, GError **error)
{
    bool continued = false;
    struct ph_journal_file *file = ph_journal_file_open(directory, volume, look, &continued, error);
    if (file == NULL)
        return NULL;
    struct ph_journal *journal = g_new0(struct ph_journal, 1);
    journal->file = file;
    journal->continued = continued;
    journal->seed = ph_journal_file_seed(file);
    journal->alive_before_ns = ph_journal_file_alive_ns(file);
    atomic_init(&journal->number, now_ns());
    pthread_mutex_init(&journal->lock, NULL);
    journal->sessions = g_hash_table_new_full(key_hash, key_equal, NULL, g_free);
    journal->served = g_hash_table_new(g_int64_hash, g_int64_equal);
    journal->free = g_array_new(FALSE, FALSE, sizeof(size_t));
    areas_found(journal, 0);
    ph_journal_walk(journal, NULL, pass_number, journal);
    return journal;
}

void ph_journal_close(struct ph_journal *journal, bool clean)
{
    if (journal == NULL)
        return;
    ph_journal_file_close(journal->file, clean);
    g_hash_table_unref(journal->served);
    g_hash_table_unref(journal->sessions);
    g_array_unref(journal->free);
    pthread_mutex_destroy(&journal->lock);
    g_free(journal);
}

bool ph_journal_continued(const struct ph_journal *journal)
{
    return journal->continued;
}

uint64_t ph_journal_alive_ns(const struct ph_journal *journal)
{
    return journal->alive_before_ns;
}
