/* Transactions of several commands for tests: what stands there before, the commands, and what is there
 * afterwards, told as text. */
#ifndef PH_SERVER_STORE_TESTS_SEVERAL_SCRIPTS_H
#define PH_SERVER_STORE_TESTS_SEVERAL_SCRIPTS_H

#include "server/store/tests/fixture.h"
#include "server/store/undo_log.h"

enum {
    SCRIPT_COMMANDS_MAX = 16,
    SCRIPT_IDS = 8,
    SCRIPT_FILE_HANDLE = 77,
    SCRIPT_OTHER_HANDLE,
    SCRIPT_NEW_HANDLE
};

struct command {
    Pohmel__Change change;
    union {
        Pohmel__CreateRequest create;
        Pohmel__MkdirRequest mkdir;
        Pohmel__SymlinkRequest symlink;
        Pohmel__MknodRequest mknod;
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
        Pohmel__RmtreeRequest rmtree;
    };
    Pohmel__Time time;
    Pohmel__Range range;
};

struct play {
    struct fixture fx;
    uint64_t dir, file, other, first_id;
    struct command command[SCRIPT_COMMANDS_MAX];
    Pohmel__Change *changes[SCRIPT_COMMANDS_MAX];
    size_t count;
    GByteArray *payload;
    Pohmel__TransactReply reply;
    bool replayed, unnamed;
};

struct script {
    const char *name;
    void (*fill)(struct play *play);
    bool unnamed; /* it needs a file without a name, which cannot be given one a second time */
};

extern const struct script scripts[];
extern const size_t scripts_count;

/* A store with things in it, closed, and the commands of SCRIPT. FAILS: the last one of them does. */
void play_setup(struct play *play, const struct script *script, bool fails);
void play_teardown(struct play *play);
/* Opens the store, finds what there is and opens it. */
void play_open(struct play *play);
/* By which key the store knows the transaction. */
enum { SCRIPT_KEY = 815 };
/* All commands as one transaction; or each by itself. */
uint32_t play_send(struct play *play);
void play_singly(struct play *play);
/* Everything below the export, hidden things too, as text; with times of change of the data if so wanted.
 * g_free. */
char *play_look(struct play *play, bool times);

#endif
