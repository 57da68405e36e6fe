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
};

/* Makes the open object, and everything below it where it is a directory,
 * stable on the server; answered when it is. */
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

#define PH_IOC_FLUSH _IOWR(PH_IOC_TYPE, 1, struct ph_ioc_flush)
#define PH_IOC_MKPATH _IOWR(PH_IOC_TYPE, 2, struct ph_ioc_mkpath)
#define PH_IOC_RMTREE _IOWR(PH_IOC_TYPE, 3, struct ph_ioc_rmtree)
#define PH_IOC_STATUS _IOR(PH_IOC_TYPE, 4, struct ph_ioc_status)

#endif
