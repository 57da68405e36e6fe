/* Addresses as people write them, and sockets for them. */
#ifndef PH_IO_ADDRESS_H
#define PH_IO_ADDRESS_H

#include <glib.h>

/* "HOST", "HOST:PORT", "[V6]:PORT", ":PORT", "unix:/PATH". */
struct ph_address {
    char *host; /* NULL for every address of the machine, or for unix */
    char *path; /* unix socket, else NULL */
    guint16 port;
};

/* Parses TEXT; PORT where it names none. FALSE with ERROR in words. */
gboolean ph_address_parse(const char *text, guint16 port, struct ph_address *out, GError **error);
void ph_address_clear(struct ph_address *address);
char *ph_address_text(const struct ph_address *address);

/* Connects within TIMEOUT_MS, trying each address of the host. Returns a
 * non-blocking, close-on-exec socket (TCP_NODELAY where TCP), or -1 with ERROR as
 * "cannot reach 10.0.0.5:1025: connection refused; is pohmel-server running there?". */
int ph_connect(const struct ph_address *address, guint timeout_ms, GError **error);

/* Listening sockets for ADDRESS (one per family), appended to SOCKETS (GArray
 * of int). FALSE with ERROR. A stale unix socket is replaced, a live one is not. */
gboolean ph_listen(const struct ph_address *address, GArray *sockets, GError **error);

#endif
