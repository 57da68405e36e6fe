/* A socket with a connection core behind it, on a GLib main context. */
#ifndef PH_IO_CHANNEL_H
#define PH_IO_CHANNEL_H

#include <glib.h>

#include "runtime/core/conn.h"

struct ph_channel;

/* Called on the thread that runs the channel's context, without any lock held. */
struct ph_channel_events {
    /* Hellos are exchanged and fit. */
    void (*ready)(void *data, struct ph_channel *channel);
    /* FRAME now belongs to the callee. */
    void (*frame)(void *data, struct ph_channel *channel, struct ph_frame *frame);
    /* Exactly once, last of all: the peer closed (fault->status 0), or why it ended. */
    void (*closed)(void *data, struct ph_channel *channel, const struct ph_fault *fault);
};

/* Takes FD (non-blocking from now on). Starts when attached. One reference is
 * returned; an attached channel holds one more until `closed` was told, so that
 * dropping yours does not end it: close it first. */
struct ph_channel *ph_channel_new(int fd, enum ph_conn_role role, const struct ph_hello *own,
                                  const struct ph_channel_events *events, void *data);

/* Begins to read, on CONTEXT. Once in the life of a channel. The threads that
 * iterate CONTEXT may change between two iterations; none may begin while another
 * thread, or an event, is inside of one. So events of one channel never overlap. */
void ph_channel_attach(struct ph_channel *channel, GMainContext *context);

/* References; any thread. The last one closes and frees. */
struct ph_channel *ph_channel_ref(struct ph_channel *channel);
void ph_channel_unref(struct ph_channel *channel);

/* Sends a frame from any thread: written at once when nothing waits before
 * it, else by the main loop. Silently dropped once the channel is closed. */
void ph_channel_send(struct ph_channel *channel, const struct ph_frame_header *header, const uint8_t *message,
                     size_t message_len, struct ph_blob *payload);

/* Limits what is taken in, as ph_conn_limit; any thread. */
void ph_channel_limit(struct ph_channel *channel, uint32_t message_max, uint32_t payload_max);

/* Stops (or resumes) taking frames in, so that one peer cannot make us hold
 * ever more; any thread. */
void ph_channel_pause(struct ph_channel *channel, bool pause);

/* Says GOAWAY with STATUS, tries to get it out, closes; any thread. `closed` follows. */
void ph_channel_close(struct ph_channel *channel, uint32_t status, const char *reason);

/* Bytes waiting to be sent. */
size_t ph_channel_output_bytes(struct ph_channel *channel);

/* Whether the peer's machine has said that its end is closed (end of data, or a reset), once the
 * channel is closed; false where it was given up from here. */
bool ph_channel_peer_left(struct ph_channel *channel);

/* Peer's address in words ("127.0.0.1:40312", "unix:/run/x"), and its hello once ready. */
const char *ph_channel_peer_name(const struct ph_channel *channel);
const struct ph_hello *ph_channel_peer(struct ph_channel *channel);

#endif
