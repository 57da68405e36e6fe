/* A system call that fails: a child is traced, and its Nth system call is not made but fails. */
#ifndef PH_SERVER_STORE_TESTS_FAIL_CALL_H
#define PH_SERVER_STORE_TESTS_FAIL_CALL_H

#include <stdbool.h>
#include <sys/types.h>

/* What became of a child. */
struct fail_call {
    bool ended;           /* it came to its end before its turn was there: nothing failed */
    bool aborted;         /* it ended itself */
    unsigned long number; /* of the system call that failed */
};

/* Whether system calls can be made to fail here; skips the test where not. */
bool fail_call_possible(void);

/* In the child: it is traced from here on, and its calls are counted. */
void fail_call_begin(void);

/* In the child: from here on nothing fails. */
void fail_call_end(void);

/* Lets CHILD make STEPS system calls that may fail, and fails the next with ERROR, or kills the child instead
 * where that is 0; waits for its end. Fails the test when it ended otherwise than by exit(0) or by itself
 * (abort()). */
struct fail_call fail_call_run(pid_t child, int steps, int error);

#endif
