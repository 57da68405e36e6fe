#include "client/fuse/control_look.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "client/fuse/coherence_look.h"
#include "client/fuse/writeback.h"

enum {
    LOOKS_MAX = 16 * 1024, /* buckets without a lease that one request goes over */
    RECORD_UNIT = 8,       /* what ph_ioc_lease.bytes is a multiple of */
};

/* Where who lists leases is when only those on ranges are left: no bucket of the others. */
#define RANGES_BUCKET UINT64_MAX

/* Whether changes of OBJECT are kept here that the server does not know. */
static bool is_dirty(struct ph_mount *mount, uint64_t object)
{
    return mount->writeback != NULL && ph_writeback_is_dirty(mount->writeback, object);
}

static enum ph_ioc_lease_state lease_state(const struct ph_cache_lease *lease)
{
    switch (lease->state) {
    case PH_CACHE_LEASE_HELD:
        return PH_IOC_LEASE_HELD;
    case PH_CACHE_LEASE_RECALLED:
        return PH_IOC_LEASE_RECALLED;
    default:
        return PH_IOC_LEASE_DROPPING;
    }
}

static unsigned flags_of(struct ph_mount *mount, const struct ph_cache_lease *lease)
{
    return (lease->is_directory ? PH_IOC_LEASE_DIRECTORY : 0U) |
           (lease->complete ? PH_IOC_LEASE_COMPLETE : 0U) | (lease->pages ? PH_IOC_LEASE_PAGES : 0U) |
           (lease->known ? PH_IOC_LEASE_AGED : 0U) |
           (is_dirty(mount, lease->object) ? PH_IOC_LEASE_DIRTY : 0U);
}

/* LEASE, on RANGE of it only (NULL: all), as a record at the end of CONTROL; false when there is no room. */
static bool add_record(struct ph_mount *mount, const struct ph_cache_lease *lease,
                       const struct ph_wb_range_held *range, const char *path, struct ph_ioc_leases *control)
{
    size_t path_len = strlen(path);
    size_t bytes = (sizeof(struct ph_ioc_lease) + path_len + RECORD_UNIT - 1) / RECORD_UNIT * RECORD_UNIT;
    uint64_t now_ms = ph_link_now_ms();
    if (bytes > sizeof control->records - control->length)
        return false;
    struct ph_ioc_lease record = {
        .object = lease->object,
        .lease = lease->lease,
        .age_ms = lease->known && now_ms > lease->learned_ms ? now_ms - lease->learned_ms : 0,
        .names = lease->names,
        .bytes = (uint16_t) bytes,
        .path = (uint16_t) path_len,
        .mode = (uint8_t) lease->mode,
        .state = (uint8_t) lease_state(lease),
        .flags = (uint8_t) (flags_of(mount, lease) | (range != NULL ? PH_IOC_LEASE_RANGE : 0U)),
        .start = range != NULL ? range->start : 0,
        .end = range != NULL ? range->end : 0,
    };
    char *at = control->records + control->length;
    memset(at, 0, bytes);
    memcpy(at, &record, sizeof record);
    memcpy(at + sizeof record, path, path_len);
    control->length += (uint32_t) bytes;
    return true;
}

static bool may_list(uid_t user, struct ph_ioc_leases *control)
{
    if (user == 0 || user == geteuid())
        return true;
    control->error = EPERM;
    g_strlcpy(control->text, "only root and the owner of the mount may list its leases",
              sizeof control->text);
    return false;
}

/* Those on ranges of bytes, behind all others, from that of object AFTER on. False when there is no room. */
static bool add_ranges(struct ph_mount *mount, uint64_t after, struct ph_ioc_leases *control)
{
    struct ph_wb_range_held held;
    char path[PATH_MAX];
    bool below;
    control->bucket = RANGES_BUCKET;
    control->after = after;
    while (mount->writeback != NULL && ph_writeback_next_range(mount->writeback, control->after, &held)) {
        struct ph_cache_lease lease = {
            .object = held.object,
            .lease = held.lease,
            .mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE,
            .state = held.going ? PH_CACHE_LEASE_RECALLED : PH_CACHE_LEASE_HELD,
        };
        ph_link_path(mount->link, lease.object, control->below, path, sizeof path, &below);
        if (below && !add_record(mount, &lease, &held, path, control))
            return false;
        control->after = held.object;
    }
    return true;
}

void ph_control_leases(struct ph_mount *mount, uid_t user, struct ph_ioc_leases *control)
{
    struct ph_lru_cursor cursor = {.bucket = control->bucket, .after = control->after}, before = cursor;
    struct ph_cache_lease lease;
    size_t looks = LOOKS_MAX;
    char path[PATH_MAX];
    bool below, room = true;

    control->error = 0;
    control->text[0] = '\0';
    control->more = control->length = 0;
    if (!may_list(user, control))
        return;
    if (control->bucket == RANGES_BUCKET) {
        control->more = !add_ranges(mount, control->after, control);
        return;
    }
    while (room && looks > 0 && ph_coherence_scan(mount->coherence, &cursor, &looks, &lease)) {
        ph_link_path(mount->link, lease.object, control->below, path, sizeof path, &below);
        room = !below || add_record(mount, &lease, NULL, path, control);
        if (room)
            before = cursor;
        looks -= looks > 0; /* leases that are left out count as well */
    }
    if (room)
        before = cursor;
    control->bucket = before.bucket;
    control->after = before.after;
    control->more = !before.end || !add_ranges(mount, 0, control);
}

void ph_control_state(struct ph_mount *mount, uint64_t object, struct ph_ioc_state *control)
{
    struct ph_cache_lease lease;
    if (control->object == 0)
        control->object = object;
    control->error = 0;
    control->text[0] = '\0';
    control->mode = control->lease = 0;
    if (ph_coherence_lease_of(mount->coherence, control->object, &lease)) {
        control->mode = lease.mode;
        control->lease = lease_state(&lease);
    }
    if (is_dirty(mount, control->object))
        control->state = PH_IOC_DIRTY;
    else
        control->state =
            ph_coherence_is_stable(mount->coherence, control->object) ? PH_IOC_STABLE : PH_IOC_CLEAN;
}

/* What is written back later. The keys that scripts look for are there without that as well. */
static void add_write_back(struct ph_mount *mount, GString *text)
{
    g_string_append_printf(text, "write-back: %s\n", mount->writeback != NULL ? "on" : "off");
    if (mount->writeback != NULL)
        ph_writeback_status(mount->writeback, text);
    else
        g_string_append(text, "dirty-bytes: 0\ndirty-operations: 0\noldest-dirty-ms: 0\n");
}

/* The number behind KEY in TEXT; 0 where there is none. */
static uint64_t number_of(const GString *text, const char *key)
{
    g_autofree char *line = g_strdup_printf("\n%s: ", key);
    const char *found = strstr(text->str, line);
    return found != NULL ? g_ascii_strtoull(found + strlen(line), NULL, 10) : 0;
}

/* What was answered here, less what was sent for that later. */
static void add_saved(GString *text)
{
    uint64_t here = number_of(text, "cache-hits") + number_of(text, "answered-here");
    uint64_t sent = number_of(text, "written-back");
    g_string_append_printf(text, "round-trips-saved: %" G_GUINT64_FORMAT "\n", here > sent ? here - sent : 0);
}

void ph_control_status(struct ph_mount *mount, struct ph_ioc_status *control)
{
    struct ph_link *link = mount->link;
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *of_link = ph_link_status_text(link);
    g_string_append(text, of_link);
    add_write_back(mount, text);
    ph_coherence_status(mount->coherence, text);
    add_saved(text);
    control->pid = getpid();
    control->connected = ph_link_connected(link);
    g_strlcpy(control->server, ph_link_info(link)->server_name, sizeof control->server);
    g_strlcpy(control->text, text->str, sizeof control->text);
    control->length = (uint32_t) strlen(control->text);
}

void ph_control_status_xattr(fuse_req_t req, size_t size)
{
    g_autofree struct ph_ioc_status *control = g_new0(struct ph_ioc_status, 1);
    ph_control_status(fuse_req_userdata(req), control);
    g_autofree char *text = g_strdup_printf("daemon: %d\n%s", control->pid, control->text);
    size_t len = strlen(text);
    if (size == 0)
        fuse_reply_xattr(req, len);
    else if (size < len)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, text, len);
}
