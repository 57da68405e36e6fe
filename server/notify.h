/* What a service manager is told (sd_notify(3)), without its library. */
#ifndef PH_SERVER_NOTIFY_H
#define PH_SERVER_NOTIFY_H

/* Sends STATE, as in "READY=1", to the socket that $NOTIFY_SOCKET names;
 * nothing happens where there is none. */
void ph_notify(const char *state);

#endif
