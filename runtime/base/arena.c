#include "runtime/base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Room of the first block: holds the decoded form of nearly every command. */
#define FIRST_BLOCK_BYTES 4096
#define BLOCK_BYTES_MAX (256 * 1024)

struct block {
    struct block *next; /* older block */
    size_t size;
    alignas(max_align_t) uint8_t bytes[];
};

struct ph_arena {
    struct block *current; /* newest block; the first one is the last of the list */
    size_t used_in_current;
    size_t given;
    size_t cap;
};

/* Room of the blocks is not charged against the cap, so that what a message may
 * take does not depend on how its parts happen to fit into blocks. */
static struct block *block_new(size_t size)
{
    struct block *block = malloc(sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->size = size;
    return block;
}

struct ph_arena *ph_arena_new(size_t cap)
{
    struct ph_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL)
        abort();
    arena->current = block_new(FIRST_BLOCK_BYTES);
    if (arena->current == NULL)
        abort();
    arena->cap = cap;
    return arena;
}

static void free_all_but_first(struct ph_arena *arena)
{
    while (arena->current->next != NULL) {
        struct block *older = arena->current->next;
        free(arena->current);
        arena->current = older;
    }
}

void ph_arena_free(struct ph_arena *arena)
{
    if (arena == NULL)
        return;
    free_all_but_first(arena);
    free(arena->current);
    free(arena);
}

void ph_arena_reset(struct ph_arena *arena, size_t cap)
{
    free_all_but_first(arena);
    arena->used_in_current = 0;
    arena->given = 0;
    arena->cap = cap;
}

/* A new current block with room for SIZE bytes at least; blocks double so that
 * a big message does not become a long list. */
static struct block *grow(struct ph_arena *arena, size_t size)
{
    size_t room = arena->current->size * 2;
    if (room > BLOCK_BYTES_MAX)
        room = BLOCK_BYTES_MAX;
    if (room < size)
        room = size;
    struct block *block = block_new(room);
    if (block == NULL)
        return NULL;
    block->next = arena->current;
    arena->current = block;
    arena->used_in_current = 0;
    return block;
}

void *ph_arena_alloc(struct ph_arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    if (size > arena->cap) /* bounded before the rounding, which could overflow */
        return NULL;
    size_t rounded = size == 0 ? align : (size + align - 1) & ~(align - 1);
    if (rounded > arena->cap - arena->given)
        return NULL;
    if (rounded > arena->current->size - arena->used_in_current && grow(arena, rounded) == NULL)
        return NULL;
    void *out = arena->current->bytes + arena->used_in_current;
    arena->used_in_current += rounded;
    arena->given += rounded;
    return out;
}

void *ph_arena_alloc0(struct ph_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *out = ph_arena_alloc(arena, bytes);
    if (out != NULL)
        memset(out, 0, bytes);
    return out;
}

void *ph_arena_copy(struct ph_arena *arena, const void *bytes, size_t len)
{
    void *out = ph_arena_alloc(arena, len);
    if (out != NULL && len > 0)
        memcpy(out, bytes, len);
    return out;
}

size_t ph_arena_used(const struct ph_arena *arena)
{
    return arena->given;
}
