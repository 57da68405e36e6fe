/* The payload of a transaction: every byte of it belongs to one of the commands. */
#include "server/core/private.h"

/* Only a file that is made can be given content: one that is there has its own. */
static bool is_overfull(const Pohmel__Change *change)
{
    const Pohmel__CreateRequest *create = change->command_case == (int) PH_CMD_CREATE ? change->create : NULL;

    return create != NULL && !create->exclusive && (create->length > 0 || create->attributes != NULL);
}

uint32_t ph_server_check_payload(struct ph_call *call, Pohmel__Change *const *changes, size_t count)
{
    uint64_t have = call->payload_in == NULL ? 0 : call->payload_in->len, wanted = 0;

    for (size_t i = 0; i < count; i++) {
        wanted += ph_change_payload(changes[i]);
        if (is_overfull(changes[i]))
            return ph_fault_set(&call->fault, PH_ST_INVALID,
                                "data and attributes come with a CREATE that is exclusive only");
    }
    return wanted == have
               ? PH_ST_OK
               : ph_fault_set(&call->fault, PH_ST_MALFORMED,
                              "the payload has %llu bytes, the commands of the transaction say %llu",
                              (unsigned long long) have, (unsigned long long) wanted);
}
