/* Under whose ids a thread of the server touches the export. Linux keeps file
 * system ids, groups and umask per thread; the C library's wrappers would change
 * the whole process, so the system calls are made directly.
 *
 * An identity stays in force until another one is asked for, so that a
 * thread serving one caller pays once. Whoever needs the server's own rights
 * asks for them: the state directory and the hidden directory are touched as the server only. */
#ifndef PH_SERVER_STORE_POSIX_CREDS_H
#define PH_SERVER_STORE_POSIX_CREDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ph_protocol.h"

/* Whether this process may take on other ids at all (CAP_SETUID, CAP_SETGID and the file capabilities). */
bool ph_creds_capable(void);

/* Makes the thread act as CALLER. Returns 0, or NOT_PERMITTED where the ids are not valid here. */
uint32_t ph_creds_become(const Pohmel__Caller *caller);

/* Makes the thread act as the server again. */
void ph_creds_server(void);

/* The thread acts as the server now. */
bool ph_creds_is_server(void);

/* Makes the thread act as the server for a moment; returns what ph_creds_return is to be given
 * afterwards, which brings back whom it acted as before. */
bool ph_creds_lend(void);
void ph_creds_return(bool lent);

/* Gives away, for this thread and those that it starts, what acting as another user would
 * leave in force: quotas and the space kept for root are for everybody else to respect. */
void ph_creds_narrow(void);

/* Makes the thread's umask MASK, so that the kernel applies it, or a default ACL in
 * its place. Returns the permission bits to create with: MODE, or MODE without
 * MASK where the system refuses a thread its own umask (some containers do). */
mode_t ph_creds_umask(mode_t mode, mode_t mask);

#endif
