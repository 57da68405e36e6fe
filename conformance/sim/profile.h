/* What is particular about a world: how late things come, what goes wrong, what its programs
 * like to do. Chosen once for each seed: a world in which one thing is always slow finds other
 * faults than one in which everything is slow at times. */
#ifndef PH_CONFORMANCE_SIM_PROFILE_H
#define PH_CONFORMANCE_SIM_PROFILE_H

#include <glib.h>
#include <stdint.h>

#include "runtime/base/random.h"

enum { SIM_CLIENTS_MAX = 4 };

/* What a program that caches does. */
enum sim_deed {
    SIM_STAT,
    SIM_GETATTR,
    SIM_READ,
    SIM_LIST,
    SIM_WRITE,
    SIM_APPEND,
    SIM_CHOWN,
    SIM_CREATE,
    SIM_MKDIR,
    SIM_REMOVE,
    SIM_LINK,
    SIM_RENAME,
    SIM_SYNC,
    SIM_SEVERAL,
    SIM_DEEDS,
};

struct sim_profile {
    int clients, processes;
    unsigned think_us, rest_us, rest_per_mille; /* between deeds; at times longer */
    uint64_t turn_us; /* the clients are busy one after the other, for so long; 0: all at once */
    unsigned latency_us[SIM_CLIENTS_MAX][2]; /* to the client's end, and to the server's */
    unsigned stall_us, stall_per_mille;
    unsigned disk_us, answer_us; /* until a call is executed; from there until it is answered */
    unsigned kernel_us;          /* until a kernel has taken in what it is told */
    unsigned connect_fails_per_mille, repeat_per_mille;
    unsigned cut_per_mille, pause_per_mille, crash_per_mille, forget_per_mille; /* with each deed */
    unsigned linger_us;                                                         /* of bytes after a cut */
    uint64_t pause_us;
    gboolean resumable;              /* sessions outlive their connections */
    unsigned server_crash_per_mille; /* the same */
    int64_t clock_ppm[SIM_CLIENTS_MAX];
    unsigned groups;            /* of names that are used */
    unsigned strange_per_mille; /* names that other clients like better */
    size_t cache_objects, cache_leases;
    uint64_t flush_age_ms, dirty_limit; /* of write-back */
    unsigned flush_in_flight;
    uint64_t owned_limit; /* of what is kept until it is stable; 0: nothing is kept */
    unsigned weight[SIM_DEEDS];
};

/* That of a world whose programs take locks and repeat themselves. */
void sim_profile_locks(struct sim_profile *profile);

/* That of a world whose machines cache; all chance comes from RANDOM. */
void sim_profile_caching(struct sim_profile *profile, struct ph_random *random);

/* In some worlds programs make transactions of several commands: SEED says in which. OFTEN: in many. */
void sim_profile_several(struct sim_profile *profile, uint64_t seed, gboolean often);

/* Nothing goes wrong by itself, and sessions outlive what does. */
void sim_profile_quiet(struct sim_profile *profile);

/* Much is made stable; with OWN each client has names of its own. */
void sim_profile_power(struct sim_profile *profile, gboolean own);

/* Makes more of what FAVOUR says (enum sim_favour, bits). */
void sim_profile_favour(struct sim_profile *profile, unsigned favour);

#endif
