/* Writing JSON, and names for terminals. */
#ifndef PH_CLIENT_CTL_JSON_H
#define PH_CLIENT_CTL_JSON_H

#include <glib.h>

/* LEN bytes of TEXT as a JSON string, quotes included. Bytes that are not UTF-8 become lone surrogates,
 * U+DC80 to U+DCFF, as Python reads and writes them, so that every file name survives. */
void ctl_json_string(GString *out, const char *text, gsize len);

/* VALUE as a number where it is one (digits only, without leading zeros), as true or false for "yes" and
 * "no", else as a string. */
void ctl_json_value(GString *out, const char *value);

/* Lines "key: value" as the members of an object, without its braces; lines of another form are left
 * out. */
void ctl_json_members(GString *out, const char *lines);

/* LEN bytes of TEXT for a terminal or a log: what is not printable becomes \n, \t, \\ or \ooo, blanks stay.
 */
void ctl_shown(GString *out, const char *text, gsize len);

#endif
