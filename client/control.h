/* What programs ask of a mount, as ioctls on a file or directory of it that is
 * open. All are restricted ioctls: size and direction stand in the number, so
 * that the kernel copies the struct and nothing else.
 *
 * An ioctl that reached the daemon returns 0; whether the deed was done stands in
 * `error` and, in words, in `text`. So the words survive: with a failed ioctl
 * the kernel would throw them away. -1 with ENOTTY: not a Pohmel mount. */
#ifndef PH_CLIENT_CONTROL_H
#define PH_CLIENT_CONTROL_H

#include <stdint.h>
#include <sys/ioctl.h>

#define PH_IOC_TYPE 0xe7

enum {
    PH_IOC_TEXT_BYTES = 256,
    PH_IOC_NAMES_BYTES = 15 * 1024, /* the kernel's limit for a whole struct is 16 KiB - 1 */
    PH_IOC_STATUS_BYTES = 15 * 1024,
    PH_IOC_LEASES_BYTES = 15 * 1024,
    PH_IOC_TXN_VALUE_BYTES = 14 * 1024,
};

/* Writes back what is dirty of the open object, and of everything below it where it is a directory,
 * and makes that stable on the server; answered when it is. */
struct ph_ioc_flush {
    int32_t error;                /* out: 0, or a positive errno */
    char text[PH_IOC_TEXT_BYTES]; /* out: words behind ERROR, ended by NUL */
};

/* Makes a directory and all that are missing above it, below the open directory. */
struct ph_ioc_mkpath {
    int32_t error;
    char text[PH_IOC_TEXT_BYTES];
    uint32_t mode;                  /* in: permission bits, with the caller's umask taken off already */
    uint32_t made;                  /* out: how many directories were made */
    uint32_t length;                /* in: bytes of NAMES that count */
    char names[PH_IOC_NAMES_BYTES]; /* in: names with one '/' between them, none at either end; no NUL */
};

/* Removes a name of the open directory and everything below it. */
struct ph_ioc_rmtree {
    int32_t error;
    char text[PH_IOC_TEXT_BYTES];
    uint32_t length;  /* in: bytes of NAME that count */
    uint64_t object;  /* in: st_ino that the name is expected to have; 0 for whichever */
    uint64_t removed; /* out: how many names were removed, its own included */
    char name[256];
};

/* Tells how the mount is; answered by the daemon alone, also when the server cannot be reached. */
struct ph_ioc_status {
    int32_t pid;                    /* out: the daemon */
    uint32_t connected;             /* out: a session is open */
    char server[PH_IOC_TEXT_BYTES]; /* out: "host:port" */
    uint32_t length;                /* out: bytes of TEXT that count */
    char text[PH_IOC_STATUS_BYTES]; /* out: "key: value" lines */
};

/* How a lease is on its way. */
enum ph_ioc_lease_state {
    PH_IOC_LEASE_NONE = 0, /* there is none */
    PH_IOC_LEASE_HELD,
    PH_IOC_LEASE_RECALLED, /* wanted back */
    PH_IOC_LEASE_DROPPING, /* wanted back; the kernel is being made to forget */
};

/* Bits of ph_ioc_lease.flags. */
enum {
    PH_IOC_LEASE_DIRECTORY = 1,
    PH_IOC_LEASE_COMPLETE = 2, /* all names of the directory are known */
    PH_IOC_LEASE_PAGES = 4,    /* the kernel may keep data or a listing */
    PH_IOC_LEASE_AGED = 8,     /* AGE_MS is known */
    PH_IOC_LEASE_DIRTY = 16,   /* the mount has changes that the server does not know */
    PH_IOC_LEASE_RANGE = 32,   /* it is on the bytes from START up to END only */
};

/* One lease of those listed, followed by its path and unused bytes up to BYTES in all. */
struct ph_ioc_lease {
    uint64_t object, lease;
    uint64_t age_ms; /* since its attributes were asked for */
    uint32_t names;  /* of a directory that are remembered */
    uint16_t bytes;  /* a multiple of 8 */
    uint16_t path;   /* bytes of the path from the root of the mount, which begins with '/'; 0: not known */
    uint8_t mode;    /* LeaseMode: 1 shared, 2 exclusive */
    uint8_t state;   /* enum ph_ioc_lease_state */
    uint8_t flags;
    uint8_t unused[5];
    uint64_t start, end; /* with PH_IOC_LEASE_RANGE; END is UINT64_MAX where it goes to the end */
};

/* Some of the leases, in no order. Asked again with what it left in BUCKET and AFTER as long as MORE is set,
 * it tells all that are held from the first to the last time. For root and the mount's owner only: it tells
 * paths. */
struct ph_ioc_leases {
    int32_t error;
    char text[PH_IOC_TEXT_BYTES];
    uint64_t below;         /* in: st_ino: only that object, and what is known to lie below it; 0 for all */
    uint64_t bucket, after; /* in and out; 0 at first */
    uint32_t more;          /* out: there may be more, even if LENGTH is 0 */
    uint32_t length;        /* out: bytes of RECORDS that count */
    _Alignas(8) char records[PH_IOC_LEASES_BYTES];
};

/* How an object is, seen from the mount. */
enum ph_ioc_object_state {
    PH_IOC_CLEAN = 0, /* the server has what is here; whether on its disk is not known */
    PH_IOC_DIRTY,     /* changes of it have not reached the server */
    PH_IOC_STABLE,    /* nobody changed it since it was made stable on the server */
};

/* Tells how an object is; answered by the daemon alone. */
struct ph_ioc_state {
    int32_t error;
    char text[PH_IOC_TEXT_BYTES];
    uint64_t object; /* in: its st_ino; 0 for the open one */
    uint32_t state;  /* out: enum ph_ioc_object_state */
    uint32_t mode;   /* out: of the lease on it, LeaseMode; 0 for none */
    uint32_t lease;  /* out: enum ph_ioc_lease_state */
};

/* What is done with a transaction. All but BEGIN and OBJECT go through the descriptor that began it, and all
 * but COMMIT change nothing that anybody sees. */
enum ph_ioc_txn_action {
    /* A transaction begins, of the user who asks; it is over when the descriptor is closed. TXN is its name,
     * and the open directory is object 1 in it. */
    PH_IOC_TXN_BEGIN = 1,
    PH_IOC_TXN_OBJECT, /* the open file or directory gets a number in TXN: SUBJECT */
    /* Each adds one command. NAME lies in directory PLACE; what is made gets a number, SUBJECT. */
    PH_IOC_TXN_MKDIR,       /* MODE */
    PH_IOC_TXN_SYMLINK,     /* VALUE: the target */
    PH_IOC_TXN_MKNOD,       /* MODE with the type, DEVICE */
    PH_IOC_TXN_LINK,        /* NAME for SUBJECT, which may have been made with O_TMPFILE and be open */
    PH_IOC_TXN_REMOVE,      /* EXPECTED */
    PH_IOC_TXN_RMDIR,       /* EXPECTED */
    PH_IOC_TXN_RENAME,      /* EXPECTED; to the name VALUE, which must be free, in NEW_PLACE */
    PH_IOC_TXN_SETATTR,     /* WHICH of SUBJECT */
    PH_IOC_TXN_SETXATTR,    /* NAME of SUBJECT is VALUE */
    PH_IOC_TXN_REMOVEXATTR, /* NAME of SUBJECT */
    /* All of them are done, in their order, or none of them; the transaction is over whatever comes of it.
     * ENOTCONN and ECONNABORTED of the ioctl itself: the daemon ended, and it is not known which. */
    PH_IOC_TXN_COMMIT,
};

/* Bits of ph_ioc_txn.which. */
enum {
    PH_IOC_TXN_SET_MODE = 1 << 0,
    PH_IOC_TXN_SET_UID = 1 << 1,
    PH_IOC_TXN_SET_GID = 1 << 2,
    PH_IOC_TXN_SET_ACCESSED = 1 << 4,
    PH_IOC_TXN_SET_MODIFIED = 1 << 5,
};

/* One step of a transaction of several commands, which are gathered in the daemon and sent as one. Objects in
 * it go by numbers, from 1. What the user may not do is refused by the server at COMMIT. */
struct ph_ioc_txn {
    int32_t error;
    char text[PH_IOC_TEXT_BYTES];
    uint32_t action;           /* in: enum ph_ioc_txn_action */
    uint64_t txn;              /* out of BEGIN, in of all others */
    uint32_t subject;          /* see there; a number */
    uint32_t place, new_place; /* in: numbers of directories */
    uint32_t which;            /* in: PH_IOC_TXN_SET_... */
    uint32_t mode;             /* in: permission bits, of MKNOD with the type */
    uint32_t uid, gid;         /* in */
    uint32_t changes;          /* out of COMMIT: how many commands there were */
    uint32_t failed;   /* out of COMMIT: which of them failed, counted from 1; 0: none, or not known */
    uint32_t unknown;  /* out of COMMIT: the session ended, and nobody can tell what came of it */
    uint64_t expected; /* in: st_ino that the name is expected to have; 0 for whichever */
    uint64_t device;   /* in: major << 32 | minor */
    int64_t accessed_s, modified_s;
    uint32_t accessed_ns, modified_ns;
    uint32_t name_bytes;  /* in: bytes of NAME that count */
    uint32_t value_bytes; /* in: bytes of VALUE that count */
    char name[256];
    char value[PH_IOC_TXN_VALUE_BYTES];
};

/* The same as PH_IOC_STATUS, as the value of an extended attribute of anything on the mount, which is in no
 * list: it can be read without opening anything, for which a server may be needed. "daemon: PID" comes first.
 */
#define PH_STATUS_XATTR "system.pohmel.status"

#define PH_IOC_FLUSH _IOWR(PH_IOC_TYPE, 1, struct ph_ioc_flush)
#define PH_IOC_MKPATH _IOWR(PH_IOC_TYPE, 2, struct ph_ioc_mkpath)
#define PH_IOC_RMTREE _IOWR(PH_IOC_TYPE, 3, struct ph_ioc_rmtree)
#define PH_IOC_STATUS _IOR(PH_IOC_TYPE, 4, struct ph_ioc_status)
#define PH_IOC_LEASES _IOWR(PH_IOC_TYPE, 5, struct ph_ioc_leases)
#define PH_IOC_STATE _IOWR(PH_IOC_TYPE, 6, struct ph_ioc_state)
#define PH_IOC_TXN _IOWR(PH_IOC_TYPE, 7, struct ph_ioc_txn)

#endif
