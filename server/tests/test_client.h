/* A client that speaks frames and waits: what the tests drive a server with. */
#ifndef PH_SERVER_TESTS_TEST_CLIENT_H
#define PH_SERVER_TESTS_TEST_CLIENT_H

#include "ph_dispatch.h"
#include "runtime/core/conn.h"

enum { PH_TEST_TIMEOUT_MS = 20000 };

struct ph_test_client;

/* Takes FD and exchanges greetings. Fails the test when that does not work. */
struct ph_test_client *ph_test_client_new(int fd);
void ph_test_client_free(struct ph_test_client *client);

/* Sends a request; returns its id. PAYLOAD may be NULL. */
uint64_t ph_test_send(struct ph_test_client *client, uint16_t command, uint32_t slot, uint32_t sequence,
                      const ProtobufCMessage *message, struct ph_blob *payload);

/* Sends a control frame about request ID. */
void ph_test_control(struct ph_test_client *client, uint16_t control, uint64_t id);

/* Sends bytes as they are. */
void ph_test_raw(struct ph_test_client *client, const void *bytes, size_t len);

/* The next frame, to be freed by the caller; NULL when none came in TIMEOUT_MS,
 * or the server has ended the connection (see ph_test_ended). */
struct ph_frame *ph_test_receive(struct ph_test_client *client, int timeout_ms);

/* Status with which the server ended the connection; 0 while it goes on, or without a word. */
uint32_t ph_test_ended(struct ph_test_client *client);

/* Sends and waits for the reply, which must be the next frame. */
struct ph_frame *ph_test_call(struct ph_test_client *client, uint16_t command,
                              const ProtobufCMessage *message);

/* The same, for the status alone. */
uint32_t ph_test_status(struct ph_test_client *client, uint16_t command, const ProtobufCMessage *message);

/* Opens a session as client WHO on EXPORT. */
uint32_t ph_test_session(struct ph_test_client *client, uint8_t who, uint64_t number, const char *export);

/* A transaction of one CHANGE in the next number of SLOT; its status. */
uint32_t ph_test_change(struct ph_test_client *client, uint32_t slot, Pohmel__Change *change,
                        struct ph_blob *payload);

/* Creates file NAME (or opens it) below the root, as OBJECT, under HANDLE. */
uint32_t ph_test_create(struct ph_test_client *client, uint32_t slot, const char *name, uint64_t object,
                        uint64_t handle);

/* GETATTR; the status. */
uint32_t ph_test_getattr(struct ph_test_client *client, uint64_t object);

/* Takes bytes 0 to 9 of OBJECT: sends only; the id of the request. */
uint64_t ph_test_lock(struct ph_test_client *client, uint64_t object, uint64_t handle, uint64_t owner,
                      bool wait);
uint32_t ph_test_unlock(struct ph_test_client *client, uint64_t object, uint64_t owner);

#endif
