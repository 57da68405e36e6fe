/* A filesystem of its own for a test, which can lose power: it is shut down without writing its log, so that
 * what was not made stable is gone. In a mount namespace of this process, of which nothing is left when it
 * ends. */
#ifndef PH_SERVER_STORE_TESTS_POWER_DISK_H
#define PH_SERVER_STORE_TESTS_POWER_DISK_H

#include <stdbool.h>

struct power_disk;

/* A new filesystem of KIND (ext4, xfs), mounted, after `power_machine`. NULL with *WHY where there can be
 * none. */
struct power_disk *power_disk_new(const char *kind, const char **why);
void power_disk_free(struct power_disk *disk);

/* Where it is mounted. */
const char *power_disk_path(const struct power_disk *disk);

/* Its log is written now; whatever else is in memory need not be. */
void power_disk_log(const struct power_disk *disk);

/* From now on nothing reaches it. */
void power_disk_cut(const struct power_disk *disk);

/* It recovers, and the machine has started anew. Nobody has anything open on it. */
void power_disk_restart(struct power_disk *disk);

/* Mounts and the name of the machine's start are of this process only from now on. False where that may not
 * be. */
bool power_machine(void);

#endif
