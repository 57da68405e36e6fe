/* Rules that can be broken on purpose. In everything that is installed PH_MUTANT is 0 and costs nothing;
 * the simulator compiles the cores once more with PH_MUTANTS, and shows that it notices each of these. */
#ifndef PH_BASE_MUTANT_H
#define PH_BASE_MUTANT_H

enum ph_mutant {
    PH_MUTANT_NONE,
    /* The server's. */
    PH_MUTANT_LEASE_ID_AGAIN,      /* a lease on an object gets the id of the one before */
    PH_MUTANT_GRANT_WHILE_WAITING, /* leases go out on what somebody waits to change */
    PH_MUTANT_GRANT_OLD_READING,   /* a lease goes out with what was read before a change */
    PH_MUTANT_CHANGE_AT_ONCE,      /* a change is executed while its recalls are under way */
    PH_MUTANT_RELEASE_ANY,         /* a release of an old lease takes a newer one of the session away */
    PH_MUTANT_UNRECALLABLE,        /* a lease is granted that nobody can recall */
    PH_MUTANT_ALIAS,               /* what a name stands for is not claimed by what takes the name away */
    PH_MUTANT_LOST_AT_ONCE,        /* what a lost session held is free at once */
    PH_MUTANT_FENCED_EARLY,        /* a session is fenced, and what it held is free, long before its time */
    PH_MUTANT_FENCED_GOES_ON,      /* what an ended session was waiting for is executed */
    PH_MUTANT_READ_AT_ONCE,        /* readings do not wait for exclusive leases */
    PH_MUTANT_GLIMPSE_KEPT,        /* what is told by who has an object exclusively is given out to be kept */
    PH_MUTANT_RECORD_LOST,         /* a session that is taken up again has forgotten what it answered */
    PH_MUTANT_NO_GRACE,            /* after a start all are served at once */
    PH_MUTANT_RANGES_OVERLAP,      /* a range is granted that others have bytes of */
    PH_MUTANT_SIZE_OF_THE_STORE,   /* while ranges are out, reads and attributes show the size that the store
                                      has */
    PH_MUTANT_STABLE_EARLY,        /* what was changed is said to be stable before it is */
    PH_MUTANT_ADOPT_ANY,           /* what has the name of what was made is given its id, whatever it is */
    PH_MUTANT_GATE_OPEN,           /* others come in while a transaction of several commands is executed */
    PH_MUTANT_NOT_UNDONE,          /* a start leaves what a transaction had done when the server died */
    PH_MUTANT_DONE_AGAIN,          /* one that was done before the server died is executed again */
    PH_MUTANT_NOT_ALL_BACK,        /* the first command stays when another one of the transaction fails */
    /* The client's. */
    PH_MUTANT_RECALL_FORGOTTEN, /* a recall that overtakes its grant is answered and forgotten */
    PH_MUTANT_RELEASE_LOST,     /* a recall of what is not held is not answered */
    PH_MUTANT_RELEASE_FIRST,    /* a lease is given back before the kernel has forgotten */
    PH_MUTANT_NO_EXPIRY,        /* leases are used past their time */
    PH_MUTANT_KEPT_AFTER_LOSS,  /* a lost connection leaves the cache as it is */
    PH_MUTANT_UNANNOUNCED,      /* own changes are not announced to the cache */
    /* Of clients that write back. */
    PH_MUTANT_RELEASE_DIRTY,      /* a lease is given back before what is dirty under it was sent */
    PH_MUTANT_GLIMPSE_OLD,        /* who looks at what is dirty is told what the server knows already */
    PH_MUTANT_RANGE_OUTSIDE,      /* writes past a range are kept back as if they were in it */
    PH_MUTANT_UNSTABLE_FORGOTTEN, /* what the server lost is not made again */
    PH_MUTANT_RECALL_UNTOLD,      /* write-back goes on under a lease that was recalled */
};

#ifdef PH_MUTANTS
extern enum ph_mutant ph_mutant_now;
#define PH_MUTANT(name) (ph_mutant_now == PH_MUTANT_##name)
#else
#define PH_MUTANT(name) 0
#endif

#endif
