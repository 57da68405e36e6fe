/* What pohmelctl is answered; server/control.c has the socket. */
#ifndef PH_SERVER_CONTROL_ANSWER_H
#define PH_SERVER_CONTROL_ANSWER_H

#include <glib.h>
#include <stdbool.h>

#include "server/connection.h"
#include "server/store/store.h"

/* One client, and what it asks about. */
struct ph_control_client {
    struct ph_switch *all;
    size_t export_index;
    const char *directory; /* of the export */
    struct ph_store *store;

    /* Sends TEXT, whole lines. False when the client is gone, or the server ends. May wait. */
    bool (*send)(void *data, const char *text, size_t len);
    /* Waits MS, or less. False as above. */
    bool (*pause)(void *data, unsigned ms);
    void *data;
};

/* Answers COMMAND, a line without its end. */
void ph_control_answer(struct ph_control_client *client, const char *command);

#endif
