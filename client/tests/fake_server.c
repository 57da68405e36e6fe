#include "client/tests/fake_server.h"

#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ph_commands.h"
#include "ph_protocol.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

static void answer(struct ph_channel *channel, const struct ph_frame *frame, uint32_t status,
                   const ProtobufCMessage *message, struct ph_blob *payload, uint32_t wanted)
{
    struct ph_frame_header header = {
        .kind = PH_FRAME_REPLY,
        .command = frame->header.command,
        .status = status,
        .id = frame->header.id,
        .slot = frame->header.slot,
        .sequence = frame->header.sequence,
        .credits = (uint16_t) ph_credit_cost(frame->header.payload_len, wanted),
    };
    uint8_t bytes[4096];
    size_t len = message ? ph_encoded_size(message) : 0;
    g_assert_cmpuint(len, <=, sizeof(bytes));
    if (message)
        ph_encode(message, bytes);
    ph_channel_send(channel, &header, bytes, len, payload);
}

static void answer_words(struct ph_channel *channel, const struct ph_frame *frame, uint32_t status,
                         const char *words)
{
    struct ph_blob *blob = ph_blob_copy(words, strlen(words));
    answer(channel, frame, status, NULL, blob, 0);
    ph_blob_unref(blob);
}

static void fill_attr(Pohmel__Attr *attr, Pohmel__Time *time, uint64_t object)
{
    pohmel__attr__init(attr);
    pohmel__time__init(time);
    attr->object = object;
    attr->size = object * 10;
    attr->accessed = attr->modified = attr->changed = time;
}

static void on_open(struct fake_server *server, struct ph_channel *channel, const struct ph_frame *frame)
{
    uint32_t refuse = (uint32_t) atomic_load(&server->refuse);
    if (refuse) {
        answer_words(channel, frame, refuse, "there is \"home\" and \"work\"");
        return;
    }
    Pohmel__Time time;
    Pohmel__Attr root;
    fill_attr(&root, &time, 1);
    uint8_t volume[16] = "volume";
    Pohmel__Space space = POHMEL__SPACE__INIT;
    space.block_size = 4096;
    space.name_max = 255;
    Pohmel__ExportInfo info = POHMEL__EXPORT_INFO__INIT;
    info.root = 1;
    info.xattrs = true;
    info.space = &space;
    info.volume = (ProtobufCBinaryData){.data = volume, .len = sizeof(volume)};
    Pohmel__SessionOpenReply reply = POHMEL__SESSION_OPEN_REPLY__INIT;
    reply.epoch = 1;
    reply.lease_ttl_ms = PH_LEASE_TTL_MS;
    reply.slots = PH_SESSION_SLOTS;
    reply.credits = PH_SESSION_CREDITS;
    reply.export_info = &info;
    reply.root = &root;
    atomic_fetch_add(&server->sessions, 1);
    answer(channel, frame, PH_ST_OK, &reply.base, NULL, 0);
}

static void on_getattr(struct fake_server *server, struct ph_channel *channel, const struct ph_frame *frame,
                       const Pohmel__GetattrRequest *request)
{
    Pohmel__Time time;
    Pohmel__Attr attr;
    fill_attr(&attr, &time, request->object);
    Pohmel__GetattrReply reply = POHMEL__GETATTR_REPLY__INIT;
    if (!atomic_load(&server->malformed))
        reply.attr = &attr;
    if (request->object == atomic_load(&server->stale))
        answer(channel, frame, PH_ST_STALE, NULL, NULL, 0);
    else
        answer(channel, frame, PH_ST_OK, &reply.base, NULL, 0);
}

/* "dir" is object 20, "file" in it is 30. */
static void on_lookup(struct fake_server *server, struct ph_channel *channel, const struct ph_frame *frame,
                      const Pohmel__LookupRequest *request)
{
    atomic_fetch_add(&server->lookups, 1);
    Pohmel__Time times[2];
    Pohmel__Attr attrs[2], *found[2] = {&attrs[0], &attrs[1]};
    fill_attr(&attrs[0], &times[0], 20);
    fill_attr(&attrs[1], &times[1], 30);
    Pohmel__LookupReply reply = POHMEL__LOOKUP_REPLY__INIT;
    reply.n_found = request->n_names == 2 && request->names[1].len == 4 ? 2 : 0;
    reply.found = found;
    reply.failure = reply.n_found ? PH_ST_OK : PH_ST_NOT_FOUND;
    if (reply.n_found)
        atomic_store(&server->stale, 0);
    answer(channel, frame, PH_ST_OK, &reply.base, NULL, 0);
}

static void on_read(struct ph_channel *channel, const struct ph_frame *frame,
                    const Pohmel__ReadRequest *request)
{
    struct ph_blob *blob = ph_blob_new(request->length);
    for (uint32_t i = 0; i < request->length; i++)
        blob->data[i] = (uint8_t) (request->offset + i);
    blob->len = request->length;
    Pohmel__ReadReply reply = POHMEL__READ_REPLY__INIT;
    answer(channel, frame, PH_ST_OK, &reply.base, blob, request->length);
    ph_blob_unref(blob);
}

static void on_transact(struct ph_channel *channel, const struct ph_frame *frame,
                        const Pohmel__TransactRequest *request)
{
    Pohmel__Time time;
    Pohmel__Attr attr;
    fill_attr(&attr, &time, 5);
    Pohmel__WriteResult write = POHMEL__WRITE_RESULT__INIT;
    write.written = frame->header.payload_len;
    write.attr = &attr;
    Pohmel__ChangeResult result = POHMEL__CHANGE_RESULT__INIT, *results[] = {&result};
    result.result_case = POHMEL__CHANGE_RESULT__RESULT_WRITE;
    result.write = &write;
    Pohmel__TransactReply reply = POHMEL__TRANSACT_REPLY__INIT;
    reply.n_results = request->n_changes;
    reply.results = results;
    answer(channel, frame, PH_ST_OK, &reply.base, NULL, 0);
}

static void on_ids(struct fake_server *server, struct ph_channel *channel, const struct ph_frame *frame)
{
    Pohmel__IdsGrantReply reply = POHMEL__IDS_GRANT_REPLY__INIT;
    reply.count = 1000;
    reply.first = atomic_fetch_add(&server->next_object, reply.count);
    answer(channel, frame, PH_ST_OK, &reply.base, NULL, 0);
}

static void on_request(struct fake_server *server, struct ph_channel *channel, const struct ph_frame *frame,
                       const ProtobufCMessage *message)
{
    switch (frame->header.command) {
    case PH_CMD_SESSION_OPEN:
        on_open(server, channel, frame);
        break;
    case PH_CMD_SESSION_CLOSE:
        atomic_fetch_add(&server->closes, 1);
        answer(channel, frame, PH_ST_OK, NULL, NULL, 0);
        break;
    case PH_CMD_IDS_GRANT:
        on_ids(server, channel, frame);
        break;
    case PH_CMD_GETATTR:
        on_getattr(server, channel, frame, (const Pohmel__GetattrRequest *) message);
        break;
    case PH_CMD_LOOKUP:
        on_lookup(server, channel, frame, (const Pohmel__LookupRequest *) message);
        break;
    case PH_CMD_READ:
        on_read(channel, frame, (const Pohmel__ReadRequest *) message);
        break;
    case PH_CMD_TRANSACT:
        on_transact(channel, frame, (const Pohmel__TransactRequest *) message);
        break;
    case PH_CMD_LOCK:
        break; /* waits until it is cancelled */
    default:
        answer(channel, frame, PH_ST_UNSUPPORTED, NULL, NULL, 0);
    }
}

static void on_frame(void *data, struct ph_channel *channel, struct ph_frame *frame)
{
    struct fake_server *server = data;
    if (frame->header.kind == PH_FRAME_CONTROL && frame->header.command == PH_CONTROL_CANCEL) {
        atomic_fetch_add(&server->cancels, 1);
        frame->header.command = PH_CMD_LOCK;
        frame->header.payload_len = 0;
        answer(channel, frame, PH_ST_CANCELLED, NULL, NULL, 0);
    } else if (!atomic_load(&server->mute)) {
        struct ph_fault fault = {0};
        struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
        const struct ph_command_info *info = ph_command_info(frame->header.command);
        g_assert_nonnull(info);
        ProtobufCMessage *message =
            ph_decode(info->request, frame->message, frame->header.message_len, arena, &fault);
        g_assert_cmpstr(fault.text, ==, "");
        atomic_fetch_add(&server->requests, 1);
        on_request(server, channel, frame, message);
        ph_arena_free(arena);
    }
    ph_frame_free(frame);
}

static void on_ready(void *data, struct ph_channel *channel)
{
    (void) data, (void) channel;
}

static void on_closed(void *data, struct ph_channel *channel, const struct ph_fault *fault)
{
    struct fake_server *server = data;
    (void) fault;
    g_ptr_array_remove_fast(server->channels, channel);
    ph_channel_unref(channel);
}

static const struct ph_channel_events events = {.ready = on_ready, .frame = on_frame, .closed = on_closed};

static gboolean on_accept(gint fd, GIOCondition condition, gpointer data)
{
    struct fake_server *server = data;
    (void) condition;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer < 0)
        return G_SOURCE_CONTINUE;
    if (atomic_load(&server->garbage)) {
        const char words[] =
            "220 mail.example.org ESMTP\r\n and more of it that nobody wants to read here\r\n";
        g_assert_cmpint(send(peer, words, sizeof(words), MSG_NOSIGNAL), >, 0);
        close(peer);
        return G_SOURCE_CONTINUE;
    }
    struct ph_hello hello = {.features = PH_FEATURE_LOCKS | PH_FEATURE_XATTRS | PH_FEATURE_TREES,
                             .message_max = PH_MESSAGE_MAX_BYTES,
                             .payload_max = PH_PAYLOAD_MAX_BYTES,
                             .implementation = "fake"};
    struct ph_channel *channel = ph_channel_new(peer, PH_CONN_SERVER, &hello, &events, server);
    g_ptr_array_add(server->channels, channel);
    ph_channel_attach(channel, server->context);
    return G_SOURCE_CONTINUE;
}

static void close_all(struct fake_server *server)
{
    for (guint i = 0; i < server->channels->len; i++)
        ph_channel_close(server->channels->pdata[i], PH_ST_SHUTTING_DOWN, "cut");
}

static void *run(void *data)
{
    struct fake_server *server = data;
    while (!atomic_load(&server->stop)) {
        g_main_context_iteration(server->context, TRUE);
        if (atomic_load(&server->cut)) {
            close_all(server);
            atomic_store(&server->cut, false);
        }
    }
    close_all(server);
    while (server->channels->len)
        g_main_context_iteration(server->context, TRUE);
    return NULL;
}

void fake_server_start(struct fake_server *server)
{
    g_autoptr(GError) error = NULL;
    memset(server, 0, sizeof(*server));
    atomic_store(&server->next_object, PH_OBJECT_GIVEN_FIRST);
    server->directory = g_dir_make_tmp("pohmel-link-XXXXXX", &error);
    g_assert_no_error(error);
    server->address.path = g_build_filename(server->directory, "socket", NULL);
    server->listeners = g_array_new(FALSE, FALSE, sizeof(int));
    server->channels = g_ptr_array_new();
    server->context = g_main_context_new();
    g_assert_true(ph_listen(&server->address, server->listeners, &error));
    g_assert_no_error(error);
    for (guint i = 0; i < server->listeners->len; i++) {
        GSource *source = g_unix_fd_source_new(g_array_index(server->listeners, int, i), G_IO_IN);
        g_source_set_callback(source, G_SOURCE_FUNC(on_accept), server, NULL);
        g_source_attach(source, server->context);
        g_source_unref(source);
    }
    g_assert_cmpint(pthread_create(&server->thread, NULL, run, server), ==, 0);
}

void fake_server_cut(struct fake_server *server)
{
    atomic_store(&server->cut, true);
    while (atomic_load(&server->cut)) {
        g_main_context_wakeup(server->context);
        g_usleep(1000);
    }
}

void fake_server_stop(struct fake_server *server)
{
    atomic_store(&server->stop, true);
    g_main_context_wakeup(server->context);
    pthread_join(server->thread, NULL);
    for (guint i = 0; i < server->listeners->len; i++)
        close(g_array_index(server->listeners, int, i));
    g_array_unref(server->listeners);
    g_ptr_array_unref(server->channels);
    g_main_context_unref(server->context);
    g_unlink(server->address.path);
    g_rmdir(server->directory);
    g_free(server->address.path);
    g_free(server->directory);
}
