/* Appended records: each once, none torn, and every content seen is a beginning of the last. */
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/coherence/checker.h"

static uint64_t number_of(const uint8_t *log, size_t place)
{
    uint64_t number;

    memcpy(&number, log + place * PH_RECORD_BYTES, sizeof number);
    return le64toh(number);
}

/* A record is its number, over and over. */
static bool check_records(const uint8_t *log, size_t len, FILE *out)
{
    bool good = len % PH_RECORD_BYTES == 0;

    if (!good)
        fprintf(out, "VIOLATION of the log: %zu bytes are no whole number of records\n", len);
    for (size_t place = 0; place < len / PH_RECORD_BYTES; place++) {
        const uint8_t *record = log + place * PH_RECORD_BYTES;

        if (memcmp(record, record + sizeof(uint64_t), PH_RECORD_BYTES - sizeof(uint64_t)) != 0) {
            fprintf(out, "VIOLATION of the log: record %zu is torn: it begins with that of w%u#%u\n", place,
                    PH_VALUE_WORKER(number_of(log, place)), PH_VALUE_NUMBER(number_of(log, place)));
            good = false;
        }
    }
    return good;
}

static bool check_append(struct ph_event *event, const uint8_t *log, size_t records, uint8_t *known,
                         FILE *out)
{
    size_t found = 0, place = 0;

    for (size_t i = 0; i < records; i++) {
        if (number_of(log, i) == event->value) {
            place = i;
            known[i] = 1;
            found++;
        }
    }
    if (found == 1) {
        event->value = place;
        return true;
    }
    fprintf(out,
            "VIOLATION of the log: w%u#%u, appended by worker %u (mount %u), is there %zu times in the end\n",
            PH_VALUE_WORKER(event->value), PH_VALUE_NUMBER(event->value), event->worker, event->mount, found);
    return false;
}

static bool check_content(const struct ph_event *event, const uint8_t *log, size_t len, FILE *out)
{
    if (!event->extra || (event->value <= len && event->extra == ph_log_hash(0, log, event->value)))
        return true;
    fprintf(out,
            "VIOLATION of the log: worker %u (mount %u, %s) read %" PRIu64
            " bytes that are no beginning of the %zu bytes that are there in the end\n",
            event->worker, event->mount, event->call, event->value, len);
    return false;
}

bool ph_log_number(unsigned index, struct ph_event *events, size_t count, const uint8_t *log, size_t len,
                   FILE *out)
{
    size_t records = len / PH_RECORD_BYTES;
    uint8_t *known = calloc(records + 1, 1);
    bool good = check_records(log, len, out);

    for (size_t i = 0; i < count && good; i++) {
        if (events[i].object == index && events[i].deed == PH_APPEND)
            good = check_append(&events[i], log, records, known, out);
        else if (events[i].object == index && events[i].deed == PH_LENGTH)
            good = check_content(&events[i], log, len, out);
    }
    for (size_t i = 0; i < records && good; i++) {
        if (!known[i]) {
            fprintf(out, "VIOLATION of the log: nobody appended its record %zu, w%u#%u\n", i,
                    PH_VALUE_WORKER(number_of(log, i)), PH_VALUE_NUMBER(number_of(log, i)));
            good = false;
        }
    }
    free(known);
    return good;
}
