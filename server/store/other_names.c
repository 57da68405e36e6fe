#include "server/store/other_names.h"

#include <glib.h>

enum { SLOTS = 4096 }; /* each object has one, which it shares with others */

struct ph_other_names {
    struct slot {
        uint64_t object, parent;
        char *name; /* NULL: empty */
    } slots[SLOTS];
};

struct ph_other_names *ph_other_names_new(void)
{
    return g_new0(struct ph_other_names, 1);
}

void ph_other_names_free(struct ph_other_names *others)
{
    for (int i = 0; i < SLOTS; i++)
        g_free(others->slots[i].name);
    g_free(others);
}

void ph_other_names_put(struct ph_other_names *others, uint64_t object, uint64_t parent, const char *name)
{
    struct slot *slot = &others->slots[object % SLOTS];
    g_free(slot->name);
    *slot = (struct slot){.object = object, .parent = parent, .name = g_strdup(name)};
}

bool ph_other_names_find(const struct ph_other_names *others, uint64_t object, uint64_t *parent,
                         char name[PH_NAME_MAX_BYTES + 1])
{
    const struct slot *slot = &others->slots[object % SLOTS];
    if (slot->name == NULL || slot->object != object)
        return false;
    *parent = slot->parent;
    g_strlcpy(name, slot->name, PH_NAME_MAX_BYTES + 1);
    return true;
}
