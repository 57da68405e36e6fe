/* The list of sessions that outlive the server. */
#include "server/store/posix_internal.h"
#include "server/store/state_sessions.h"

uint32_t ph_posix_enter_session(void *self, const struct ph_store_session *session, struct ph_fault *fault)
{
    struct ph_posix_store *store = self;
    ph_creds_server();
    if (ph_state_sessions_put(store->session_list, session))
        return PH_ST_OK;
    return ph_fault_set(fault, PH_ST_IO_ERROR, "the server cannot note the session in its state directory");
}

void ph_posix_leave_session(void *self, const uint8_t client[PH_CLIENT_ID_BYTES], uint64_t number)
{
    struct ph_posix_store *store = self;
    ph_creds_server();
    ph_state_sessions_remove(store->session_list, client, number);
    ph_posix_forget_session(store, client, number);
}

size_t ph_posix_sessions(void *self, struct ph_store_session *out, size_t max)
{
    struct ph_posix_store *store = self;
    ph_creds_server();
    return ph_state_sessions_read(store->session_list, out, max);
}
