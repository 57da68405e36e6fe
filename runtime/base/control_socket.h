/* How pohmelctl and pohmel-server talk on one machine: over a socket in the state directory of each export,
 * for root and the server's own user. The client sends one line, a command; the server answers with lines, of
 * which the first byte tells what the rest is, and closes the connection.
 *
 *   sessions [json]   who is connected, or has left leases behind
 *   leases [json]     these, and all leases
 *   flush             what clients have not written back is asked for; answered when it is here and stable */
#ifndef PH_BASE_CONTROL_SOCKET_H
#define PH_BASE_CONTROL_SOCKET_H

#define PH_CONTROL_SOCKET_NAME "control"

enum {
    PH_CONTROL_COMMAND_BYTES = 256, /* a command with its end of line at most */
    PH_CONTROL_LINE = '=',          /* a line to print */
    PH_CONTROL_TROUBLE = '!',       /* words: it was not done */
    PH_CONTROL_END = '.',           /* the last line: nothing is missing */
};

#endif
