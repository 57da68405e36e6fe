/* A file that is only appended to. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/coherence/race.h"

static void append(struct ph_worker *worker, struct race *race, const char *path, bool fresh)
{
    uint64_t value = race_value(worker, race), record[PH_RECORD_BYTES / sizeof(uint64_t)];
    int file = race->log;
    ssize_t len;

    for (size_t i = 0; i < PH_RECORD_BYTES / sizeof(uint64_t); i++)
        record[i] = htole64(value);
    ph_call(worker, fresh ? "open, write O_APPEND" : "write O_APPEND through the old descriptor",
            "append(log)");
    if (fresh)
        file = open(path, O_WRONLY | O_APPEND);
    len = file < 0 ? -1 : write(file, record, sizeof record);
    ph_called(worker);
    if (len == (ssize_t) sizeof record)
        ph_record(worker, RACE_LOG, PH_APPEND, value);
    else
        ph_unexpected(worker, len < 0 ? errno : EIO);
    if (fresh && file >= 0)
        close(file);
}

static void read_log(struct ph_worker *worker, struct race *race, const char *path, bool fresh)
{
    int file = race->log;
    ssize_t len;

    ph_call(worker, fresh ? "open, pread of all" : "pread of all through the old descriptor", "pread(log)");
    if (fresh)
        file = open(path, O_RDONLY);
    len = file < 0 ? -1 : pread(file, worker->shared_bytes, RACE_LOG_MAX, 0);
    ph_called(worker);
    if (len < 0) {
        ph_unexpected(worker, errno);
    } else {
        worker->bytes_shared = (uint64_t) len;
        ph_record_event(worker,
                        (struct ph_event){.object = RACE_LOG,
                                          .deed = PH_LENGTH,
                                          .value = (uint64_t) len,
                                          .extra = ph_log_hash(0, worker->shared_bytes, (size_t) len)});
    }
    if (fresh && file >= 0)
        close(file);
}

static void look_at_length(struct ph_worker *worker, struct race *race, const char *path, bool by_path)
{
    struct stat status;
    int failed;

    ph_call(worker, by_path ? "stat" : "fstat", "stat(log)");
    failed = by_path ? stat(path, &status) : fstat(race->log, &status);
    ph_called(worker);
    if (failed)
        ph_unexpected(worker, errno);
    else
        ph_record(worker, RACE_LOG, PH_LENGTH, (uint64_t) status.st_size);
}

void race_do_appends(struct ph_worker *worker, struct race *race)
{
    char path[RACE_PATH_BYTES];

    race_path(race, "log", path);
    switch (ph_random(worker, 7)) {
    case 0:
        append(worker, race, path, true);
        break;
    case 1:
    case 2:
        append(worker, race, path, false);
        break;
    case 3:
        read_log(worker, race, path, true);
        break;
    case 4:
        read_log(worker, race, path, false);
        break;
    default:
        look_at_length(worker, race, path, ph_random(worker, 2));
    }
}

void race_look_appends(struct ph_worker *worker, struct race *race)
{
    char path[RACE_PATH_BYTES];

    race_path(race, "log", path);
    look_at_length(worker, race, path, false);
    look_at_length(worker, race, path, true);
    read_log(worker, race, path, false);
    read_log(worker, race, path, true);
}
