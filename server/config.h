/* What the server is to do: from the command line and a key file. */
#ifndef PH_SERVER_CONFIG_H
#define PH_SERVER_CONFIG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/limits.h"

/* Errors of this domain are mistakes of whoever started the server: exit code 2. */
#define PH_CONFIG_ERROR ph_config_error_quark()
/* The domain. */
GQuark ph_config_error_quark(void);

struct ph_export_config {
    char *name;
    char *directory; /* absolute once checked */
    char *state_dir; /* NULL until checked where none was given */
    bool read_only;
    uint64_t size_limit; /* bytes; 0 for none */
    char *origin;        /* where it was written, for messages: "--export" or "FILE: [export NAME]" */
};

struct ph_config {
    GPtrArray *exports; /* of struct ph_export_config */
    GPtrArray *listen;  /* of char *; empty for loopback on the default port */
    char *listen_origin;
    char *state_dir;  /* NULL for the default */
    unsigned workers; /* 0 for as many as there are processors */
    unsigned lease_time_s; /* how long leases last */
    bool verbose;
    bool repair;     /* with PH_CONFIG_CHECK: put right what can be */
    bool no_journal; /* what a killed server was doing is not to be known: to compare */
    bool no_watch;   /* changes of other programs are not looked for */
};

enum {
    PH_WORKERS_MAX = 64,
    PH_LEASE_TIME_MIN_S = PH_LEASE_TTL_MIN_MS / 1000,
    PH_LEASE_TIME_MAX_S = PH_LEASE_TTL_MAX_MS / 1000,
};

/* An empty configuration. */
struct ph_config *ph_config_new(void);

/* Frees it and all that is in it. NULL is fine. */
void ph_config_free(struct ph_config *config);
typedef struct ph_config ph_config_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ph_config_t, ph_config_free)

/* Adds an export; its name must be new. The strings are copied. FALSE with ERROR. */
gboolean ph_config_add_export(struct ph_config *config, const char *name, const char *directory,
                              const char *origin, GError **error);

/* The export of that name, or NULL. */
struct ph_export_config *ph_config_find_export(const struct ph_config *config, const char *name);

/* "10G" as bytes: a number with K, M, G or T (powers of 1024) or without. FALSE when it is not one. */
gboolean ph_config_parse_size(const char *text, uint64_t *bytes);

/* Reads the key file PATH into CONFIG. Every mistake is an error that names
 * file, group, key, value and what was expected. */
gboolean ph_config_read_file(struct ph_config *config, const char *path, GError **error);

/* What the command line asks for besides serving. */
enum ph_config_request { PH_CONFIG_SERVE, PH_CONFIG_VERSION, PH_CONFIG_CHECK };

/* Reads the command line, and the file that it names, which it wins over.
 * --help is answered by GLib, which then exits. NULL with ERROR. */
struct ph_config *ph_config_from_arguments(char **arguments, enum ph_config_request *request, GError **error);

/* Checks what can be checked without touching the exports: directories are
 * there, names and addresses are sound; fills in state directories. */
gboolean ph_config_check(struct ph_config *config, GError **error);

#endif
