/* The command line of pohmelfs and of mount.fuse.pohmelfs. */
#ifndef PH_CLIENT_FUSE_MOUNT_OPTIONS_H
#define PH_CLIENT_FUSE_MOUNT_OPTIONS_H

#include <glib.h>
#include <stdbool.h>

#include "client/link.h"
#include "runtime/io/address.h"

#define PH_FLUSH_AGE_DEFAULT_MS 5000
#define PH_DIRTY_LIMIT_DEFAULT_BYTES (UINT64_C(256) << 20)

struct ph_mount_options {
    enum { PH_DO_MOUNT, PH_DO_NOTHING, PH_DO_HELP, PH_DO_VERSION } action;
    char *spec; /* as written; what mount(8) shows */
    struct ph_address address;
    char *export_name; /* "" for the server's only one */
    char *mount_point; /* as written */
    bool foreground;
    bool read_only;
    bool cache;      /* under leases */
    bool write_back; /* changes are made here and sent later */
    bool mmap_flush; /* what is stored into a mapping shows elsewhere when it is flushed */
    bool keep;       /* what the server's disk may still lose; without it only to compare */
    guint64 flush_age_ms, dirty_limit_bytes;
    guint patience_s; /* how long requests wait for a server that is away; PH_LINK_PATIENCE_FOREVER */
    char *conflicts;  /* directory; NULL where none is named */
    char *kernel;     /* options for the kernel, "rw,suid,..." */
};

/* Parses the command line. ROOT: of the superuser, who mounts for everybody and
 * with suid and dev unless told otherwise. Called under a name that begins with
 * "mount.", it understands what mount(8) passes. FALSE with ERROR in words. */
gboolean ph_mount_options_parse(int argc, char **argv, bool root, struct ph_mount_options *out,
                                GError **error);

/* Frees what OPTIONS point to; may be called twice. */
void ph_mount_options_clear(struct ph_mount_options *options);

/* "HOST[:PORT]:/[EXPORT]", "[V6][:PORT]:/[EXPORT]", "unix:/SOCKET:/[EXPORT]". PORT where it names none. */
gboolean ph_mount_spec_parse(const char *spec, guint16 port, struct ph_address *address, char **export_name,
                             GError **error);

#endif
