/* Records are aligned to four bytes only, so everything is copied out. */
#include "server/watch_event.h"

#include <string.h>
#include <sys/fanotify.h>

/* A record is a header, the filesystem's id, then a handle: length, type, bytes. */
struct record {
    struct fanotify_event_info_header header;
    int32_t fsid[2];
    uint32_t handle_bytes;
    int32_t handle_type;
};

static bool take_record(const uint8_t *bytes, size_t len, struct ph_watch_event *event, size_t *length)
{
    struct record record;
    struct ph_file_id file;

    if (len < sizeof record.header)
        return false;
    memcpy(&record.header, bytes, sizeof record.header);
    *length = record.header.len;
    if (*length < sizeof record.header || *length > len)
        return false;
    bool object = record.header.info_type == FAN_EVENT_INFO_TYPE_FID;
    if (!object && record.header.info_type != FAN_EVENT_INFO_TYPE_DFID_NAME &&
        record.header.info_type != FAN_EVENT_INFO_TYPE_DFID)
        return true;
    if (*length < sizeof record)
        return false;
    memcpy(&record, bytes, sizeof record);
    if (record.handle_bytes > *length - sizeof record)
        return false;
    file = (struct ph_file_id){
        .fsid = {record.fsid[0], record.fsid[1]},
        .handle_type = record.handle_type,
        .handle_bytes = record.handle_bytes,
        .handle = bytes + sizeof record,
    };
    *(object ? &event->object : &event->directory) = file;
    *(object ? &event->has_object : &event->has_directory) = true;
    return true;
}

bool ph_watch_event_next(const uint8_t *bytes, size_t len, size_t *at, struct ph_watch_event *event)
{
    struct fanotify_event_metadata head;
    size_t step, start = *at;

    if (len - start < sizeof head)
        return false;
    memcpy(&head, bytes + start, sizeof head);
    if (head.vers != FANOTIFY_METADATA_VERSION || head.event_len > len - start ||
        head.metadata_len < sizeof head || head.metadata_len > head.event_len)
        return false;
    memset(event, 0, sizeof *event);
    event->mask = head.mask;
    event->pid = head.pid;
    for (size_t done = head.metadata_len; done < head.event_len; done += step)
        if (!take_record(bytes + start + done, head.event_len - done, event, &step))
            return false;
    *at = start + head.event_len;
    return true;
}
