/* Changes for a server that is killed while it makes them: what is told, and what must be so afterwards. */
#ifndef PH_SERVER_STORE_TESTS_KILLED_SCENES_H
#define PH_SERVER_STORE_TESTS_KILLED_SCENES_H

#include "server/store/tests/fixture.h"

enum { KILLED_HANDLE = 77 };

/* One change to be made: what is there before, the request, and what must be there afterwards. */
struct scene {
    struct fixture fx;
    Pohmel__Change change;
    union {
        Pohmel__CreateRequest create;
        Pohmel__MkdirRequest mkdir;
        Pohmel__SymlinkRequest symlink;
        Pohmel__MknodRequest mknod;
        Pohmel__TmpfileRequest tmpfile;
        Pohmel__LinkRequest link;
        Pohmel__RemoveRequest remove;
        Pohmel__RmdirRequest rmdir;
        Pohmel__RenameRequest rename;
        Pohmel__SetattrRequest setattr;
        Pohmel__WriteRequest write;
        Pohmel__AllocateRequest allocate;
        Pohmel__CopyRequest copy;
        Pohmel__SetxattrRequest setxattr;
        Pohmel__RemovexattrRequest removexattr;
        Pohmel__MkpathRequest mkpath;
        Pohmel__RmtreeRequest rmtree;
    } request;
    Pohmel__NewAttributes attributes;
    Pohmel__Time time;
    Pohmel__Range range;
    ProtobufCBinaryData names[3];
    struct ph_blob *payload;
    uint64_t id, dir, file; /* of the new object, of a directory, of a file in it */
    bool opens;             /* FILE is to be open for what is done */
    Pohmel__TransactReply reply;
    bool replayed;
};

typedef void (*scene_fn)(struct scene *scene);

struct killed_test {
    const char *name;
    scene_fn request; /* fills in the change; DIR, FILE and ID are known by then */
    scene_fn expect;  /* it has been done, once */
};

extern const struct killed_test killed_tests[];
extern const size_t killed_tests_count;

#endif
