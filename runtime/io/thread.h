/* Starting threads. */
#ifndef PH_RUNTIME_IO_THREAD_H
#define PH_RUNTIME_IO_THREAD_H

#include <pthread.h>

/* As pthread_create(3); where the system has no thread or memory to give at the moment it is asked again, for
 * a second at most. 0, or an errno. */
int ph_thread_start(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *data),
                    void *data);

#endif
