#include "runtime/io/thread.h"

#include <errno.h>
#include <glib.h>

enum { TRIES = 50, PAUSE_US = 20 * 1000 };

int ph_thread_start(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *data), void *data)
{
    int error = pthread_create(thread, attributes, run, data);
    for (unsigned tries = 1; (error == EAGAIN || error == ENOMEM) && tries < TRIES; tries++) {
        g_usleep(PAUSE_US);
        error = pthread_create(thread, attributes, run, data);
    }
    return error;
}
