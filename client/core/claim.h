/* A lease that is taken up again after the server was started anew. Section 9.6 of docs/protocol.md. */
#ifndef PH_CLIENT_CORE_CLAIM_H
#define PH_CLIENT_CORE_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct ph_claim {
    uint64_t object, lease;
    uint64_t version; /* that is known of the object; 0: it may have been changed by us meanwhile */
    uint32_t mode;    /* LeaseMode */
    bool releasing;   /* it is on its way back */
};

#endif
