#include "client/fuse/mount.h"

#include "client/fuse/writeback.h"

void ph_mount_cancel(struct ph_mount *mount, uint64_t ticket)
{
    if (mount->writeback != NULL)
        ph_writeback_cancel(mount->writeback, ticket);
    else
        ph_link_cancel(mount->link, ticket);
}

void ph_mount_abandon(struct ph_mount *mount, uint64_t ticket)
{
    if (mount->writeback != NULL)
        ph_writeback_abandon(mount->writeback, ticket);
    else
        ph_link_abandon(mount->link, ticket);
}

void ph_mount_when_late(struct ph_mount *mount, uint64_t ticket, void (*late)(void *data), void *data)
{
    if (mount->writeback != NULL)
        ph_writeback_when_late(mount->writeback, ticket, late, data);
    else
        ph_link_when_late(mount->link, ticket, late, data);
}
