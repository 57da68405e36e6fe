/* Every number of the protocol: limits and timeouts, each with its unit.
 * No other file of the project holds one. docs/protocol.md, section 2.4. */
#ifndef PH_BASE_LIMITS_H
#define PH_BASE_LIMITS_H

#include <stdint.h>

enum {
    PH_PROTOCOL_VERSION_MIN = 1,
    PH_PROTOCOL_VERSION_MAX = 1,

    PH_DEFAULT_PORT = 1025,

    /* Frames. */
    PH_FRAME_HEADER_BYTES = 48,
    PH_BANNER_BYTES = 16,
    PH_HELLO_MAX_BYTES = 4096,
    PH_MESSAGE_MAX_BYTES = 256 * 1024,
    PH_PAYLOAD_MAX_BYTES = 1024 * 1024,
    PH_FIRST_MESSAGE_MAX_BYTES = 4096, /* until a session is open; payloads are not taken before */

    /* Decoded form of one message: base + factor * encoded bytes, never over the cap. */
    PH_ARENA_BASE_BYTES = 32 * 1024,
    PH_ARENA_FACTOR = 32, /* a path of one-letter names takes nearly that much */
    PH_ARENA_CAP_BYTES = 4 * 1024 * 1024,

    /* Names and values. */
    PH_NAME_MAX_BYTES = 255,
    PH_TARGET_MAX_BYTES = 4095,
    PH_FAULT_TEXT_MAX_BYTES = 255, /* words behind a status, in the payload of its reply */
    PH_XATTR_MAX_BYTES = 64 * 1024,
    PH_SMALL_FILE_MAX_BYTES = 32 * 1024, /* whose data may come with OPEN; costs no credit more */
    PH_GROUPS_MAX = 1024,

    PH_CLIENT_ID_BYTES = 16, /* of SESSION_OPEN's client */

    /* What one session may hold at the server. */
    PH_SESSION_SLOTS = 64,
    PH_SESSION_CREDITS = 512,
    PH_CREDIT_PAYLOAD_BYTES = 64 * 1024, /* a request costs 1 + payload (either way) / this */
    PH_SESSION_HANDLES_MAX = 65536,
    PH_SESSION_LOCKS_MAX = 65536,
    PH_SESSION_LOCK_WAITS_MAX = 4096,
    PH_SESSION_IDS_MAX_PER_GRANT = 65536,
    PH_SESSION_LEASES_MAX = 1048576,
    PH_SERVER_LEASES_MAX = 4194304, /* of all sessions together */
    PH_LEFT_BEHIND_MAX = 4096,      /* lost sessions whose leases have not expired */

    /* Transactions of several commands. What is staged: encoded messages and payloads. */
    PH_TRANSACTION_COMMANDS_MAX = 65536, /* of one, staged ones among them */
    PH_TRANSACTION_PART_COMMANDS = 256, /* of one message */
    PH_TRANSACTION_PARTS_MAX = 1024,     /* that are staged for one */
    PH_SESSION_STAGED_MAX = 4,           /* transactions that one session has staged at once */
    PH_SESSION_STAGED_BYTES = 256 * 1024 * 1024,
    PH_SERVER_STAGED_BYTES = 1024 * 1024 * 1024, /* of all sessions of an export */
    PH_UNDO_BYTES = 256 * 1024 * 1024,           /* of old data that one transaction keeps to be undone */

    /* Sessions, of all clients and of those at one address; those of them without a connection. */
    PH_SESSIONS_MAX = 4096,
    PH_PEER_SESSIONS_MAX = 1024,
    PH_AWAY_SESSIONS_MAX = 1024,
    PH_PEER_AWAY_SESSIONS_MAX = 256,
    PH_AWAY_MAX_MS = 24 * 60 * 60 * 1000, /* after which one without a connection is given up */

    /* Unsent bytes after which a peer that does not read is no longer served,
     * and after which it is cut off. */
    PH_OUTPUT_PAUSE_BYTES = 8 * 1024 * 1024,
    PH_OUTPUT_CUT_BYTES = 64 * 1024 * 1024,
    /* The same as the pause, for a peer without a session; and for answers to pings. */
    PH_OUTPUT_SMALL_BYTES = 64 * 1024,

    /* Connections. */
    PH_HANDSHAKE_TIMEOUT_MS = 5000, /* banner, hello, session open */
    PH_FRAME_TIMEOUT_MS = 30000,    /* from a frame's first byte to its last */
    PH_PING_IDLE_MS = 10000,        /* silence after which a ping is sent */
    PH_PING_TIMEOUT_MS = 30000,     /* silence after which the peer is gone */
    PH_LINGER_MS = 1000,            /* for a last word to reach a peer that is cut off */
    PH_SOCKET_BUFFER_BYTES = 4 * 1024 * 1024,
    PH_LEASE_TTL_MS =
        20000, /* of leases: from an answer of the server on; a server can be told another one */
    PH_LEASE_TTL_MIN_MS = 4000,     /* that a server can be told: longer than clients take to renew */
    PH_LEASE_TTL_MAX_MS = 600000,   /* the same */
    PH_LEASE_LEFT_MS = 1000,        /* of leases whose client closed its end of the connection itself */
    PH_RECALL_TIMEOUT_MS = 20000,   /* for the answer to a recall; who does not give it is fenced */
    PH_RECALLS_AT_ONCE = 1024,      /* recalls of one session for what concerns all of an export */
    PH_GLIMPSE_TIMEOUT_MS = 1000,   /* for the answer to a glimpse; then the lease is asked for */
    PH_GLIMPSES_AT_ONCE = 64,       /* questions to one session that are not answered yet */
    PH_RANGE_FIGHTS_MS = 2000,      /* in this time ranges of a file may be recalled */
    PH_RANGE_FIGHTS_MAX = 32,       /* so often; then none is granted until it has passed */
    PH_RANGE_GAP_MIN_BYTES = 65536, /* smaller gaps between ranges are not shared out */
    PH_UNAUTHENTICATED_CONNECTIONS_MAX = 256,
    PH_CONNECTIONS_MAX = 4096,

    /* Client. */
    PH_RECONNECT_FIRST_MS = 100,
    PH_RECONNECT_MAX_MS =
        1500, /* between the beginnings of attempts: a server that is back is found in two seconds */
    PH_IDS_LOW_WATER = 16384,   /* ids left when the next range is asked for */
    PH_HOST_MAX_BYTES = 64,     /* of SESSION_OPEN's host */
    PH_RELEASE_CREDITS = 8,     /* credits that a client keeps for what gives something back */
    PH_FLUSH_SLOTS = 8,         /* that a client keeps for what it writes back */
    PH_FLUSH_CREDITS = 64,      /* the same: for three of the largest WRITEs, and some small ones */
    PH_CLOSE_TIMEOUT_MS = 5000, /* for answers still due, then SESSION_CLOSE, when a link ends */
    PH_OWNED_STABLE_MS = 5000,  /* after which what was applied is made stable, if nothing else does */
    PH_OWNED_AGAIN_MS = 1000,   /* and tried again where that failed */
    PH_OWNED_SHARE = 2,         /* of the limit of what is dirty, that what is not stable may take */
    PH_LINK_QUEUE_MAX = 65536,  /* requests waiting to be sent */
    PH_HINTS_MAX = 262144,      /* objects whose path is remembered */
    PH_CACHE_OBJECTS_MAX = 1024 * 1024, /* that the kernel does not hold, beyond which leases are given up */
    PH_CACHE_LEASES_MAX = 768 * 1024,   /* fewer than a server lets a session hold */
    PH_TXNS_MAX = 16,                   /* transactions that programs on one mount have begun */
    PH_TXN_OBJECTS_MAX = 131072,        /* objects that they name */
    PH_TXN_BYTES_MAX = 64 * 1024 * 1024, /* of memory for them */

    /* Leases at the client. They hold from the sending of an answered request for
     * this share of their time (clocks may differ in rate), less the margin. */
    PH_LEASE_RATE_PER_MILLE = 980,
    PH_LEASE_MARGIN_MS = 1000,
    PH_UNWATCHED_TIMEOUT_MS = 1000, /* nothing is kept for longer where the server does not watch */
    PH_LEASES_PER_RELEASE = 1024,   /* in each list of LEASE_RELEASE */
};

/* Bits of OpenRequest.access. */
enum { PH_OPEN_READ = 1 << 0, PH_OPEN_WRITE = 1 << 1 };

/* Bits of SetattrRequest.which: what is set (docs/protocol.md, section 7.10). */
enum {
    PH_SET_MODE = 1 << 0,
    PH_SET_UID = 1 << 1,
    PH_SET_GID = 1 << 2,
    PH_SET_SIZE = 1 << 3,
    PH_SET_ACCESSED = 1 << 4,
    PH_SET_MODIFIED = 1 << 5,
    PH_SET_ACCESSED_NOW = 1 << 6,
    PH_SET_MODIFIED_NOW = 1 << 7,
    PH_SET_KILL_PRIVILEGES = 1 << 8,
};

/* Object ids. Those of objects found on the server's disk lie below the first
 * given out, so that people see the inode numbers that the server sees; all
 * lie below 2^53, so that programs that keep them in a double do not mix them up. */
#define PH_OBJECT_ROOT UINT64_C(1)
#define PH_OBJECT_GIVEN_FIRST (UINT64_C(1) << 48)
#define PH_OBJECT_GIVEN_END (UINT64_C(1) << 53)

/* Lease ids up to this one are never a server's, which begin with its epoch: a client uses them for
 * objects that the server does not know yet. */
#define PH_LEASE_OWN_MAX UINT64_C(0xffffffff)

/* In the numbers of handles that a client's write-back opens for itself, and opens again by itself. */
#define PH_HANDLE_OWN_BIT (UINT64_C(1) << 62)

/* Numbers of sessions above it are for who ends all sessions of a client that is dead. */
#define PH_SESSION_LAST (UINT64_C(1) << 63)

/* Credits that a request costs from its arrival until its reply: PAYLOAD bytes
 * behind the request, WANTED bytes of payload asked for (READ's length, else 0).
 * docs/protocol.md, section 3.6. */
static inline uint32_t ph_credit_cost(uint32_t payload, uint32_t wanted)
{
    return 1 + (uint32_t) (((uint64_t) payload + wanted) / PH_CREDIT_PAYLOAD_BYTES);
}

#endif
