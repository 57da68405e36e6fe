/* What libfuse 3.14 cannot say to the kernel or hear from it, done where its
 * bytes pass: HANDLE_KILLPRIV_V2 in the answer to INIT, the kill bits of
 * WRITE, SETATTR and CREATE, and the requests STATX and TMPFILE, which are handed to
 * libfuse as the GETATTR and CREATE that they resemble, with a note beside. */
#ifndef PH_CLIENT_FUSE_HOOK_H
#define PH_CLIENT_FUSE_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "client/fuse/mount.h"

/* What the request that the calling thread works on said beyond what libfuse shows. */
struct ph_hook_note {
    bool kill_privileges;
    bool direct; /* READ past the page cache; through a direct file pages are read for mappings, too */
    bool statx;
    bool tmpfile;
};

/* Puts the hook between libfuse and the device. 0, or a positive errno. */
int ph_hook_install(struct fuse_session *session);

/* Whether files that go past the page cache can be mapped (Linux 6.6). After INIT. */
bool ph_hook_maps_direct(void);

/* The note of the calling thread; for operations, before they return. */
const struct ph_hook_note *ph_hook_note(void);

/* Looks at a request of LEN bytes just read: fills in NOTE and rewrites what libfuse
 * does not know. Returns the unique of an INIT request, else 0. */
uint64_t ph_hook_request(void *request, size_t len, struct ph_hook_note *note);

/* Adds to the answer to INIT (header and body, apart) what libfuse left out. */
void ph_hook_init_reply(void *body, size_t len, uint64_t offered);

/* writev(2), or what stands for it. */
typedef ssize_t ph_hook_put_fn(int fd, const struct iovec *parts, int count);

/* Gives the kernel an answer, or a notification, by PUT. What fails is tried again for half a second where
 * that may help; a request whose answer cannot be given is answered with EIO, for nobody else would ever end
 * it. What PUT returned for the answer itself, with errno. Ends the program where the kernel takes no answer
 * at all. */
ssize_t ph_hook_answer(int fd, const struct iovec *parts, int count, ph_hook_put_fn *put);

/* Flags that the kernel offered in an INIT request. */
uint64_t ph_hook_init_offered(const void *request, size_t len);

#endif
