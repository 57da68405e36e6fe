/* Running one of the changes of killed_scenes.h in a store, and in one that was opened again. */
#ifndef PH_SERVER_STORE_TESTS_KILLED_RUN_H
#define PH_SERVER_STORE_TESTS_KILLED_RUN_H

#include "server/store/tests/killed_scenes.h"

/* What is there before; the store is closed. REQUEST fills in the change. */
void scene_begin(struct scene *scene, scene_fn request);
/* What a client knows before it sends the change; after a restart it looks again. */
void scene_find(struct scene *scene);
/* The file is open, where the change needs it to be. */
void scene_open(struct scene *scene);
/* Sends the change, in its slot, as number SEQUENCE there. */
uint32_t scene_send(struct scene *scene, uint32_t sequence);

#endif
