/* A sticky error, one for each thread, as ferror(3) is of a stream: whether any system call since the last
 * look failed for a reason that says nothing of what is there (an I/O error, no descriptor, no memory, no
 * space), unlike ENOENT and the like. Who looks whether there is something to keep or to undo must know it:
 * "cannot be seen" is not "is not there". docs/decisions/0023-what-fails.md. */
#ifndef PH_SERVER_STORE_TROUBLE_H
#define PH_SERVER_STORE_TROUBLE_H

/* Nothing has failed yet. */
void ph_trouble_clear(void);

/* A system call failed with ERROR, an errno; those that tell what is there, or who may, count for nothing. */
void ph_trouble_note(int error);

/* The first errno since it was cleared; 0: none. */
int ph_trouble(void);

#endif
