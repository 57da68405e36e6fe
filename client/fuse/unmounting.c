#include "client/fuse/unmounting.h"

#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <unistd.h>

enum { NAME_BYTES = 64 };

bool ph_name_unmounts(const char *name)
{
    return g_str_has_prefix(name, "umount") || g_str_has_prefix(name, "fusermount");
}

bool ph_unmounting(fuse_req_t req)
{
    char path[64], name[NAME_BYTES] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int) fuse_req_ctx(req)->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, name, sizeof name - 1);
    close(fd);
    return got > 0 && ph_name_unmounts(name);
}
