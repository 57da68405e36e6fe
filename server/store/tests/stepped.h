/* A child process that acts in a store, system call by system call. */
#ifndef PH_SERVER_STORE_TESTS_STEPPED_H
#define PH_SERVER_STORE_TESTS_STEPPED_H

#include "server/store/tests/several_scripts.h"

/* A child that opens the store of PLAY and does ACT, or only opens it, where ACT is NULL, and stands before
 * its first system call of that. 0 where nothing may be traced; the test is skipped then. */
pid_t stepped_start(struct play *play, bool (*act)(struct play *play));

/* Lets it make STEPS system calls more. True when it came to its end before. */
bool stepped_go(pid_t child, int steps);

/* Kills it, and waits until it is gone. */
void stepped_kill(pid_t child);

/* What it may do: send the transaction, which is executed, or refused because its last command fails. */
bool stepped_well(struct play *play);
bool stepped_in_vain(struct play *play);

/* Messages of servers that come after one that was killed are not shown from here to the end of the test. */
guint stepped_quiet(void);

/* The number in the environment variable NAME; USUAL where there is none. */
int stepped_number(const char *name, int usual);

#endif
