#include "server/store/staged.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ph_commands.h"
#include "runtime/wire/frame.h"

enum {
    DIRECTORY_MODE = 0700,
    FILE_MODE = 0600,
    CLIENT_BYTES = PH_CLIENT_ID_BYTES,
    NAME_BYTES = 128,
    CHARGE_MIN_BYTES = 16 * 1024,         /* for one part, however small it is */
    DECODED_MAX_BYTES = 64 * 1024 * 1024, /* of all parts of one transaction */
};

#define MAGIC UINT32_C(0x67617473) /* "stag" */
#define NEW_NAME "new"             /* of a part that is being written */

struct head {
    uint32_t magic, message_len, payload_len, crc; /* CRC: of message and payload */
};

/* Which part of what. */
struct key {
    uint8_t client[CLIENT_BYTES];
    uint64_t number, transaction;
    uint32_t part;
};

struct part {
    struct key key;
    struct head head;
    uint32_t commands;
    uint64_t session; /* in this run; 0 where it has not come yet */
};

struct ph_stage {
    int dir;
    pthread_mutex_t lock;
    GHashTable *parts; /* struct part, by its key */
    uint64_t bytes;
};

static guint key_hash(gconstpointer given)
{
    const struct key *key = given;
    return ph_crc32c(0, key->client, CLIENT_BYTES) ^ (guint) (key->transaction * 31 + key->part) ^
           (guint) key->number;
}

static bool same_session(const struct key *a, const uint8_t *client, uint64_t number)
{
    return a->number == number && memcmp(a->client, client, CLIENT_BYTES) == 0;
}

static gboolean key_equal(gconstpointer left, gconstpointer right)
{
    const struct key *a = left, *b = right;
    return same_session(a, b->client, b->number) && a->transaction == b->transaction && a->part == b->part;
}

static struct key key_of(const struct ph_call *call, uint64_t transaction, uint32_t part)
{
    struct key key = {.number = call->session_number, .transaction = transaction, .part = part};
    memcpy(key.client, call->client, CLIENT_BYTES);
    return key;
}

static void name_of(const struct key *key, char name[NAME_BYTES])
{
    size_t at = 0;
    for (size_t i = 0; i < CLIENT_BYTES; i++)
        at += (size_t) snprintf(name + at, NAME_BYTES - at, "%02x", key->client[i]);
    snprintf(name + at, NAME_BYTES - at, "-%" PRIx64 "-%" PRIx64 "-%" PRIx32, key->number, key->transaction,
             key->part);
}

static bool key_parse(const char *name, struct key *key)
{
    char again[NAME_BYTES];
    for (size_t i = 0; i < CLIENT_BYTES; i++)
        if (sscanf(name + 2 * i, "%2hhx", &key->client[i]) != 1)
            return false;
    if (sscanf(name + 2 * CLIENT_BYTES, "-%" SCNx64 "-%" SCNx64 "-%" SCNx32, &key->number, &key->transaction,
               &key->part) != 3)
        return false;
    name_of(key, again);
    return strcmp(name, again) == 0;
}

static uint64_t size_of(const struct part *part)
{
    return sizeof part->head + (uint64_t) part->head.message_len + part->head.payload_len;
}

/* What a part counts as. */
static uint64_t charge_of(const struct part *part)
{
    return MAX(size_of(part), (uint64_t) CHARGE_MIN_BYTES);
}

static void remove_part(struct ph_stage *stage, const struct part *part)
{
    char name[NAME_BYTES];
    name_of(&part->key, name);
    unlinkat(stage->dir, name, 0);
    stage->bytes -= charge_of(part);
}

/* Forgets all that MATCH says yes to. */
static void remove_if(struct ph_stage *stage, bool (*match)(const struct part *part, const void *data),
                      const void *data)
{
    GHashTableIter iter;
    gpointer part;
    pthread_mutex_lock(&stage->lock);
    g_hash_table_iter_init(&iter, stage->parts);
    while (g_hash_table_iter_next(&iter, NULL, &part))
        if (match(part, data)) {
            remove_part(stage, part);
            g_hash_table_iter_remove(&iter);
        }
    pthread_mutex_unlock(&stage->lock);
}

/* ---- Reading ---- */

/* The bytes behind the head of PART; NULL where they are not as they were written. */
static struct ph_blob *read_body(struct ph_stage *stage, const struct part *part)
{
    char name[NAME_BYTES];
    struct head head;
    size_t len = (size_t) part->head.message_len + part->head.payload_len;
    name_of(&part->key, name);
    int fd = openat(stage->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct ph_blob *body = fd >= 0 ? ph_blob_new(MAX(len, 1u)) : NULL;
    bool good = body != NULL && pread(fd, &head, sizeof head, 0) == (ssize_t) sizeof head &&
                memcmp(&head, &part->head, sizeof head) == 0 &&
                pread(fd, body->data, len, sizeof head) == (ssize_t) len &&
                ph_crc32c(0, body->data, len) == head.crc;
    if (fd >= 0)
        close(fd);
    if (good)
        body->len = len;
    else
        ph_blob_unref(g_steal_pointer(&body));
    return body;
}

static void unref_blob(void *blob)
{
    ph_blob_unref(blob);
}

static void release(struct ph_staged *staged)
{
    for (size_t i = 0; i < staged->count; i++)
        ph_blob_unref(staged->part[i].payload);
    ph_arena_free(staged->arena);
    g_free(staged->part);
    g_free(staged);
}

/* Decodes PART as the next one of STAGED. */
static uint32_t take_part(struct ph_stage *stage, struct ph_call *call, const struct part *part,
                          struct ph_staged *staged)
{
    struct ph_blob *body = read_body(stage, part);
    struct ph_staged_part *next = &staged->part[staged->count];
    struct ph_fault fault = {0};
    if (body == NULL)
        return ph_fault_set(&call->fault, PH_ST_STALE, "part %u of the transaction cannot be read any more",
                            part->key.part);
    next->request = (const Pohmel__StageRequest *) ph_decode(
        ph_command_info(PH_CMD_STAGE)->request, body->data, part->head.message_len, staged->arena, &fault);
    if (next->request == NULL) {
        ph_blob_unref(body);
        return ph_fault_set(&call->fault, PH_ST_LIMIT, "the parts of the transaction take too much memory");
    }
    if (part->head.payload_len > 0)
        next->payload =
            ph_blob_wrap(body->data + part->head.message_len, part->head.payload_len, unref_blob, body);
    else
        ph_blob_unref(body);
    staged->commands += next->request->n_changes;
    staged->count++;
    return PH_ST_OK;
}

uint32_t ph_stage_get(struct ph_stage *stage, struct ph_call *call, uint64_t transaction, uint32_t count,
                      struct ph_staged **out)
{
    uint32_t status = call->client != NULL && count <= PH_TRANSACTION_PARTS_MAX ? PH_ST_OK : PH_ST_STALE;
    struct ph_staged *staged = g_new0(struct ph_staged, 1);
    staged->part = g_new0(struct ph_staged_part, MAX(count, 1u));
    staged->arena = ph_arena_new(DECODED_MAX_BYTES);
    staged->release = release;
    pthread_mutex_lock(&stage->lock);
    for (uint32_t i = 1; i <= count && status == PH_ST_OK; i++) {
        struct key key = key_of(call, transaction, i);
        const struct part *part = g_hash_table_lookup(stage->parts, &key);
        status = part != NULL ? take_part(stage, call, part, staged)
                              : ph_fault_set(&call->fault, PH_ST_STALE,
                                             "part %u of %u of the transaction is not there", i, count);
    }
    pthread_mutex_unlock(&stage->lock);
    if (status == PH_ST_OK)
        *out = staged;
    else
        release(staged);
    return status;
}

/* ---- Writing ---- */

static bool write_part(struct ph_stage *stage, const struct part *part, const uint8_t *message,
                       const struct ph_blob *payload)
{
    char name[NAME_BYTES];
    struct iovec bytes[] = {{(void *) &part->head, sizeof part->head},
                            {(void *) message, part->head.message_len},
                            {payload != NULL ? payload->data : NULL, part->head.payload_len}};
    name_of(&part->key, name);
    int fd = openat(stage->dir, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0)
        return false;
    ssize_t got = writev(fd, bytes, G_N_ELEMENTS(bytes));
    bool good = got == (ssize_t) size_of(part);
    int failed = good ? 0 : got >= 0 ? ENOSPC : errno;
    close(fd);
    if (good && renameat(stage->dir, NEW_NAME, stage->dir, name) == 0)
        return true;
    failed = good ? errno : failed;
    unlinkat(stage->dir, NEW_NAME, 0);
    errno = failed;
    return false;
}

/* What the session, and the transaction, have staged already. */
struct sums {
    uint64_t bytes;
    uint32_t commands, transactions;
    bool known; /* other parts of the transaction are there */
};

static struct sums sum_up(struct ph_stage *stage, const struct key *key)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);
    struct sums sums = {0};
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, stage->parts);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct part *part = value;
        if (!same_session(&part->key, key->client, key->number))
            continue;
        sums.bytes += charge_of(part);
        g_hash_table_add(seen, &part->key.transaction);
        if (part->key.transaction != key->transaction)
            continue;
        sums.known = true;
        sums.commands += part->commands;
    }
    sums.transactions = g_hash_table_size(seen);
    return sums;
}

static uint32_t check_bounds(struct ph_stage *stage, struct ph_call *call, const struct part *part)
{
    struct sums sums = sum_up(stage, &part->key);
    if (sums.bytes + charge_of(part) > PH_SESSION_STAGED_BYTES)
        return ph_fault_set(&call->fault, PH_ST_LIMIT, "a session may have %d MiB staged",
                            PH_SESSION_STAGED_BYTES / (1024 * 1024));
    if (stage->bytes + charge_of(part) > PH_SERVER_STAGED_BYTES)
        return ph_fault_set(&call->fault, PH_ST_LIMIT, "all sessions together may have %d MiB staged",
                            PH_SERVER_STAGED_BYTES / (1024 * 1024));
    if (sums.commands + part->commands > PH_TRANSACTION_COMMANDS_MAX)
        return ph_fault_set(&call->fault, PH_ST_LIMIT, "a transaction may have %d commands",
                            PH_TRANSACTION_COMMANDS_MAX);
    if (!sums.known && sums.transactions >= PH_SESSION_STAGED_MAX)
        return ph_fault_set(&call->fault, PH_ST_LIMIT, "a session may have %d transactions staged at once",
                            PH_SESSION_STAGED_MAX);
    return PH_ST_OK;
}

/* With the lock held. */
static uint32_t put(struct ph_stage *stage, struct ph_call *call, const struct part *part,
                    const uint8_t *message)
{
    const struct part *there = g_hash_table_lookup(stage->parts, &part->key);
    if (there != NULL)
        return memcmp(&there->head, &part->head, sizeof there->head) == 0
                   ? PH_ST_OK
                   : ph_fault_set(&call->fault, PH_ST_INVALID,
                                  "part %u of the transaction was staged with other commands",
                                  part->key.part);
    uint32_t status = check_bounds(stage, call, part);
    if (status != PH_ST_OK)
        return status;
    if (!write_part(stage, part, message, call->payload_in))
        return ph_fault_set(&call->fault, errno == ENOSPC ? PH_ST_NO_SPACE : PH_ST_IO_ERROR,
                            "the server cannot keep a part of a transaction: %s; is there space left in its "
                            "state directory?",
                            g_strerror(errno));
    struct part *copy = g_memdup2(part, sizeof *part);
    g_hash_table_insert(stage->parts, &copy->key, copy);
    stage->bytes += charge_of(part);
    return PH_ST_OK;
}

uint32_t ph_stage_put(struct ph_stage *stage, struct ph_call *call, const Pohmel__StageRequest *request,
                      const uint8_t *message, size_t len)
{
    const struct ph_blob *payload = call->payload_in;
    if (call->client == NULL || request->part == 0 || request->part > PH_TRANSACTION_PARTS_MAX)
        return ph_fault_set(&call->fault, PH_ST_INVALID, "there is no such part");
    struct part part = {.key = key_of(call, request->transaction, request->part),
                        .commands = (uint32_t) request->n_changes,
                        .session = call->session};
    part.head = (struct head){.magic = MAGIC,
                              .message_len = (uint32_t) len,
                              .payload_len = payload != NULL ? (uint32_t) payload->len : 0,
                              .crc = ph_crc32c(0, message, len)};
    if (part.head.payload_len > 0)
        part.head.crc = ph_crc32c(part.head.crc, payload->data, payload->len);
    pthread_mutex_lock(&stage->lock);
    uint32_t status = put(stage, call, &part, message);
    pthread_mutex_unlock(&stage->lock);
    return status;
}

/* ---- Forgetting ---- */

static bool is_of_transaction(const struct part *part, const void *data)
{
    const struct key *key = data;
    return same_session(&part->key, key->client, key->number) && part->key.transaction == key->transaction;
}

static bool is_of_client(const struct part *part, const void *data)
{
    const struct key *key = data;
    return same_session(&part->key, key->client, key->number);
}

static bool is_of_session(const struct part *part, const void *data)
{
    return part->session == *(const uint64_t *) data;
}

void ph_stage_drop(struct ph_stage *stage, struct ph_call *call, uint64_t transaction)
{
    if (call->client == NULL)
        return;
    struct key key = key_of(call, transaction, 0);
    remove_if(stage, is_of_transaction, &key);
}

void ph_stage_forget(struct ph_stage *stage, const uint8_t *client, uint64_t number)
{
    struct key key = {.number = number};
    memcpy(key.client, client, CLIENT_BYTES);
    remove_if(stage, is_of_client, &key);
}

void ph_stage_end_session(struct ph_stage *stage, uint64_t session)
{
    remove_if(stage, is_of_session, &session);
}

uint64_t ph_stage_bytes(struct ph_stage *stage)
{
    pthread_mutex_lock(&stage->lock);
    uint64_t bytes = stage->bytes;
    pthread_mutex_unlock(&stage->lock);
    return bytes;
}

/* ---- Opening ---- */

/* How many commands are in it shows again when it is used. */
static bool part_found(struct ph_stage *stage, const char *name, struct part *part)
{
    struct stat st;
    int fd = openat(stage->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool good = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                pread(fd, &part->head, sizeof part->head, 0) == (ssize_t) sizeof part->head &&
                part->head.magic == MAGIC && part->head.message_len <= PH_MESSAGE_MAX_BYTES &&
                part->head.payload_len <= PH_PAYLOAD_MAX_BYTES && (uint64_t) st.st_size == size_of(part);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool is_known(const struct key *key, const struct ph_store_session *known, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (same_session(key, known[i].client, known[i].number))
            return true;
    return false;
}

static void take_over(struct ph_stage *stage, const char *path, const struct ph_store_session *known,
                      size_t count)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        struct part part = {0};
        if (strlen(name) < NAME_BYTES && key_parse(name, &part.key) && is_known(&part.key, known, count) &&
            part_found(stage, name, &part)) {
            struct part *copy = g_memdup2(&part, sizeof part);
            g_hash_table_insert(stage->parts, &copy->key, copy);
            stage->bytes += charge_of(copy);
        } else {
            unlinkat(stage->dir, name, 0);
        }
    }
}

struct ph_stage *ph_stage_open(const char *directory, const struct ph_store_session *known, size_t count,
                               GError **error)
{
    g_autofree char *path = g_build_filename(directory, "staged", NULL);
    int dir = mkdir(path, DIRECTORY_MODE) == 0 || errno == EEXIST
                  ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
                  : -1;
    if (dir < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot open %s: %s; large transactions are refused", path, g_strerror(errno));
        return NULL;
    }
    struct ph_stage *stage = g_new0(struct ph_stage, 1);
    stage->dir = dir;
    pthread_mutex_init(&stage->lock, NULL);
    stage->parts = g_hash_table_new_full(key_hash, key_equal, NULL, g_free);
    take_over(stage, path, known, count);
    return stage;
}

void ph_stage_close(struct ph_stage *stage)
{
    if (stage == NULL)
        return;
    close(stage->dir);
    g_hash_table_unref(stage->parts);
    pthread_mutex_destroy(&stage->lock);
    g_free(stage);
}
