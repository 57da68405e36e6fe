/* Bump allocator with a cap: what one message may take when it is decoded and answered. */
#ifndef PH_BASE_ARENA_H
#define PH_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct ph_arena;

/* New arena that will give out CAP bytes at most. Never NULL (aborts like g_malloc). */
struct ph_arena *ph_arena_new(size_t cap);

/* Frees it and all that came from it. NULL is fine. */
void ph_arena_free(struct ph_arena *arena);

/* Gives everything back at once; keeps the first block for the next use. */
void ph_arena_reset(struct ph_arena *arena, size_t cap);

/* SIZE bytes, aligned for anything, not cleared; NULL when the cap is reached. */
void *ph_arena_alloc(struct ph_arena *arena, size_t size);

/* The same, cleared; COUNT * SIZE is checked for overflow. */
void *ph_arena_alloc0(struct ph_arena *arena, size_t count, size_t size);

/* Copy of LEN bytes. */
void *ph_arena_copy(struct ph_arena *arena, const void *bytes, size_t len);

/* Bytes given out so far. */
size_t ph_arena_used(const struct ph_arena *arena);

/* ARENA_NEW: a T from ARENA, cleared, or NULL at the cap. */
#define PH_ARENA_NEW(arena, T) ((T *) ph_arena_alloc0((arena), 1, sizeof(T)))

#endif
