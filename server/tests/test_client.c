#include "server/tests/test_client.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct ph_test_client {
    int fd;
    struct ph_conn *conn;
    uint64_t next_id;
    uint32_t sequence[PH_SESSION_SLOTS];
    bool over;
    struct ph_fault fault;
};

static uint64_t now_ms(void)
{
    return (uint64_t) g_get_monotonic_time() / 1000;
}

/* Moves bytes both ways for as long as the socket lets us, then waits for more, WAIT_MS at most. */
static void pump(struct ph_test_client *client, int wait_ms)
{
    struct pollfd poll_fd = {.fd = client->fd, .events = POLLIN};
    struct iovec iov[16];
    uint8_t *where;
    size_t room;
    ssize_t done;
    int n;

    n = ph_conn_output(client->conn, iov, G_N_ELEMENTS(iov));
    if (n > 0) {
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t) n};

        done = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done > 0)
            ph_conn_sent(client->conn, (size_t) done);
        poll_fd.events |= POLLOUT;
        if (done > 0)
            wait_ms = 0;
    }
    if (poll(&poll_fd, 1, wait_ms) <= 0 || (poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) == 0)
        return;
    room = ph_conn_space(client->conn, &where);
    done = recv(client->fd, where, room, MSG_DONTWAIT);
    if (done > 0)
        client->over = ph_conn_received(client->conn, (size_t) done, now_ms(), &client->fault) != 0;
    else if (done == 0 || (errno != EAGAIN && errno != EINTR))
        client->over = true;
}

struct ph_test_client *ph_test_client_new(int fd)
{
    static const struct ph_hello hello = {
        .message_max = PH_MESSAGE_MAX_BYTES,
        .payload_max = PH_PAYLOAD_MAX_BYTES,
        .implementation = "test",
    };
    struct ph_test_client *client = g_new0(struct ph_test_client, 1);
    uint64_t until = now_ms() + PH_TEST_TIMEOUT_MS;

    client->fd = fd;
    client->next_id = 1;
    client->conn = ph_conn_new(PH_CONN_CLIENT, &hello, now_ms());
    while (!ph_conn_ready(client->conn) && !client->over && now_ms() < until)
        pump(client, 10);
    g_assert_true(ph_conn_ready(client->conn));
    return client;
}

void ph_test_client_free(struct ph_test_client *client)
{
    close(client->fd);
    ph_conn_free(client->conn);
    g_free(client);
}

static void flush(struct ph_test_client *client)
{
    uint64_t until = now_ms() + PH_TEST_TIMEOUT_MS;

    while (ph_conn_output_bytes(client->conn) > 0 && !client->over && now_ms() < until)
        pump(client, 10);
}

uint64_t ph_test_send(struct ph_test_client *client, uint16_t command, uint32_t slot, uint32_t sequence,
                      const ProtobufCMessage *message, struct ph_blob *payload)
{
    const struct ph_frame_header header = {
        .kind = PH_FRAME_REQUEST,
        .command = command,
        .id = client->next_id++,
        .slot = slot,
        .sequence = sequence,
    };
    size_t len = message == NULL ? 0 : ph_encoded_size(message);
    g_autofree uint8_t *bytes = g_malloc(len + 1);

    if (message != NULL)
        ph_encode(message, bytes);
    ph_conn_send(client->conn, &header, bytes, len, payload);
    flush(client);
    return header.id;
}

void ph_test_control(struct ph_test_client *client, uint16_t control, uint64_t id)
{
    const struct ph_frame_header header = {
        .kind = PH_FRAME_CONTROL, .command = control, .id = id, .slot = PH_NO_SLOT};

    ph_conn_send(client->conn, &header, NULL, 0, NULL);
    flush(client);
}

void ph_test_raw(struct ph_test_client *client, const void *bytes, size_t len)
{
    flush(client);
    g_assert_cmpint(send(client->fd, bytes, len, MSG_NOSIGNAL), ==, (gssize) len);
}

struct ph_frame *ph_test_receive(struct ph_test_client *client, int timeout_ms)
{
    uint64_t until = now_ms() + (uint64_t) timeout_ms;
    struct ph_frame *frame;

    while ((frame = ph_conn_take(client->conn)) == NULL && !client->over && now_ms() < until)
        pump(client, 10);
    return frame;
}

uint32_t ph_test_ended(struct ph_test_client *client)
{
    return client->over ? client->fault.status : 0;
}

struct ph_frame *ph_test_call(struct ph_test_client *client, uint16_t command,
                              const ProtobufCMessage *message)
{
    uint64_t id = ph_test_send(client, command, PH_NO_SLOT, 0, message, NULL);
    struct ph_frame *frame = ph_test_receive(client, PH_TEST_TIMEOUT_MS);

    g_assert_nonnull(frame);
    g_assert_cmpuint(frame->header.id, ==, id);
    g_assert_cmpuint(frame->header.kind, ==, PH_FRAME_REPLY);
    return frame;
}

static uint32_t take_status(struct ph_frame *frame)
{
    uint32_t status = frame->header.status;

    ph_frame_free(frame);
    return status;
}

uint32_t ph_test_status(struct ph_test_client *client, uint16_t command, const ProtobufCMessage *message)
{
    return take_status(ph_test_call(client, command, message));
}

uint32_t ph_test_session(struct ph_test_client *client, uint8_t who, uint64_t number, const char *export)
{
    Pohmel__SessionOpenRequest open = POHMEL__SESSION_OPEN_REQUEST__INIT;
    uint8_t id[16] = {who};

    open.client = (ProtobufCBinaryData){sizeof(id), id};
    open.session = number;
    open.export_name = (ProtobufCBinaryData){strlen(export), (uint8_t *) export};
    return ph_test_status(client, PH_CMD_SESSION_OPEN, &open.base);
}

uint32_t ph_test_change(struct ph_test_client *client, uint32_t slot, Pohmel__Change *change,
                        struct ph_blob *payload)
{
    Pohmel__TransactRequest transaction = POHMEL__TRANSACT_REQUEST__INIT;
    struct ph_frame *frame;
    uint64_t id;

    transaction.changes = &change;
    transaction.n_changes = 1;
    id = ph_test_send(client, PH_CMD_TRANSACT, slot, ++client->sequence[slot], &transaction.base, payload);
    frame = ph_test_receive(client, PH_TEST_TIMEOUT_MS);
    g_assert_nonnull(frame);
    g_assert_cmpuint(frame->header.id, ==, id);
    return take_status(frame);
}

uint32_t ph_test_create(struct ph_test_client *client, uint32_t slot, const char *name, uint64_t object,
                        uint64_t handle)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__CreateRequest create = POHMEL__CREATE_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;

    create.caller = &caller;
    create.parent = PH_OBJECT_ROOT;
    create.name = (ProtobufCBinaryData){strlen(name), (uint8_t *) name};
    create.object = object;
    create.mode = 0644;
    create.handle = handle;
    create.access = 3;
    change.command_case = POHMEL__CHANGE__COMMAND_CREATE;
    change.create = &create;
    return ph_test_change(client, slot, &change, NULL);
}

uint32_t ph_test_getattr(struct ph_test_client *client, uint64_t object)
{
    Pohmel__GetattrRequest getattr = POHMEL__GETATTR_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;

    getattr.caller = &caller;
    getattr.object = object;
    return ph_test_status(client, PH_CMD_GETATTR, &getattr.base);
}

uint64_t ph_test_lock(struct ph_test_client *client, uint64_t object, uint64_t handle, uint64_t owner,
                      bool wait)
{
    Pohmel__LockRequest lock = POHMEL__LOCK_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;

    range.length = 10;
    lock.object = object;
    lock.handle = handle;
    lock.owner = owner;
    lock.range = &range;
    lock.wait = wait;
    return ph_test_send(client, PH_CMD_LOCK, PH_NO_SLOT, 0, &lock.base, NULL);
}

uint32_t ph_test_unlock(struct ph_test_client *client, uint64_t object, uint64_t owner)
{
    Pohmel__UnlockRequest unlock = POHMEL__UNLOCK_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;

    range.length = 10;
    unlock.object = object;
    unlock.owner = owner;
    unlock.range = &range;
    return ph_test_status(client, PH_CMD_UNLOCK, &unlock.base);
}
