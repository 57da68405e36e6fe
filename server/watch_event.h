/* What fanotify tells, taken apart. */
#ifndef PH_SERVER_WATCH_EVENT_H
#define PH_SERVER_WATCH_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/watch_volume.h"

struct ph_watch_event {
    uint64_t mask; /* FAN_... */
    pid_t pid;     /* of who did it, as this process sees it; 0 for one whom it cannot see */
    bool has_directory, has_object;
    struct ph_file_id directory; /* where the name is; of an event on a directory itself, that directory */
    struct ph_file_id object;    /* what the name stands for */
};

/* Takes the event at *AT of the LEN bytes that were read from a group with
 * FAN_REPORT_DFID_NAME_TARGET, and moves *AT behind it. What EVENT points to stays in
 * BYTES. False at the end, or where the bytes make no sense (*AT is not LEN then). */
bool ph_watch_event_next(const uint8_t *bytes, size_t len, size_t *at, struct ph_watch_event *event);

#endif
