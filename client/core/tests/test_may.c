/* Permissions as the client foretells them, against rules spelled out and against this kernel. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/core/may.h"

enum { OWNER = 1001, OTHER = 1002, THIRD = 1003, GROUP = 2001, OUTSIDE = 2002, MODES = 010000 };

struct who {
    uint32_t uid, gid;
    size_t n_groups;
    uint32_t groups[2];
};

static const struct who everybody[] = {
    {0, 0, 0, {0}},
    {0, OUTSIDE, 1, {GROUP}},
    {OWNER, GROUP, 0, {0}},
    {OWNER, OUTSIDE, 0, {0}},
    {OWNER, OUTSIDE, 2, {OUTSIDE, GROUP}},
    {OTHER, GROUP, 0, {0}},
    {OTHER, OUTSIDE, 0, {0}},
    {OTHER, OUTSIDE, 1, {GROUP}},
    {OTHER, OUTSIDE, 2, {7, GROUP}},
};

static Pohmel__Caller caller_of(const struct who *who)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    caller.uid = who->uid;
    caller.gid = who->gid;
    caller.n_groups = who->n_groups;
    caller.groups = (uint32_t *) who->groups;
    return caller;
}

static bool is_member(const struct who *who)
{
    bool member = who->gid == GROUP;
    for (size_t i = 0; i < who->n_groups; i++)
        member = member || who->groups[i] == GROUP;
    return member;
}

/* One permission (4, 2 or 1) at a time, spelled out. */
static bool allowed(const struct who *who, mode_t mode, unsigned bit)
{
    bool owner = mode & (bit << 6), group = mode & (bit << 3), others = mode & bit;
    if (who->uid == 0 && bit == 1)
        return S_ISDIR(mode) || (mode & 0111) != 0;
    if (who->uid == 0)
        return true;
    if (who->uid == OWNER)
        return owner;
    return is_member(who) ? group : others;
}

static void check_access(const struct who *who, mode_t mode, unsigned mask)
{
    Pohmel__Caller caller = caller_of(who);
    bool yes = true;
    for (unsigned bit = 1; bit <= 4; bit <<= 1)
        yes = yes && (!(mask & bit) || allowed(who, mode, bit));
    enum ph_may expected = yes ? PH_MAY_YES : PH_MAY_NO;
    g_assert_cmpint(ph_may_access(&caller, mode, OWNER, GROUP, true, mask), ==, expected);
    if (mask != 0 && ((mask & PH_MAY_WRITE) || (who->uid != 0 && who->uid != OWNER)))
        expected = PH_MAY_UNSURE;
    g_assert_cmpint(ph_may_access(&caller, mode, OWNER, GROUP, false, mask), ==, expected);
}

static void test_access(void)
{
    static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFIFO};
    for (size_t t = 0; t < G_N_ELEMENTS(types); t++)
        for (size_t i = 0; i < G_N_ELEMENTS(everybody); i++)
            for (mode_t mode = 0; mode < MODES; mode++)
                for (unsigned mask = 0; mask <= 7; mask++)
                    check_access(&everybody[i], types[t] | mode, mask);
}

static void test_remove(void)
{
    static const struct {
        struct who who;
        uint32_t target;
        mode_t mode;
        bool plain;
        enum ph_may expected;
    } rows[] = {
        {{OTHER, OUTSIDE, 0, {0}}, THIRD, 0777, true, PH_MAY_YES},
        {{OTHER, OUTSIDE, 0, {0}}, THIRD, 0775, true, PH_MAY_NO},
        {{OTHER, OUTSIDE, 0, {0}}, THIRD, 0776, true, PH_MAY_NO}, /* no search */
        {{OTHER, OUTSIDE, 0, {0}}, OTHER, 0775, true, PH_MAY_NO}, /* one's own, in a closed directory */
        {{OTHER, GROUP, 0, {0}}, THIRD, 0775, true, PH_MAY_YES},
        {{OTHER, OUTSIDE, 0, {0}}, THIRD, 01777, true, PH_MAY_NO},
        {{OTHER, OUTSIDE, 0, {0}}, OTHER, 01777, true, PH_MAY_YES},
        {{OTHER, OUTSIDE, 0, {0}}, OTHER, 01775, true, PH_MAY_NO},
        {{OWNER, OUTSIDE, 0, {0}}, THIRD, 01777, true, PH_MAY_YES}, /* the directory's owner */
        {{OWNER, OUTSIDE, 0, {0}}, THIRD, 01577, true, PH_MAY_NO},
        {{0, 0, 0, {0}}, THIRD, 01000, true, PH_MAY_YES},
        {{0, 0, 0, {0}}, THIRD, 0777, false, PH_MAY_UNSURE},
        {{OWNER, GROUP, 0, {0}}, THIRD, 0777, false, PH_MAY_UNSURE},
        {{OTHER, GROUP, 0, {0}}, THIRD, 01777, false, PH_MAY_UNSURE},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Pohmel__Caller caller = caller_of(&rows[i].who);
        enum ph_may may =
            ph_may_remove(&caller, S_IFDIR | rows[i].mode, OWNER, GROUP, rows[i].plain, rows[i].target);
        if (may != rows[i].expected)
            g_error("row %zu: %d instead of %d", i, may, rows[i].expected);
    }
}

static void check_set_mode(const struct who *who, mode_t mode, mode_t wanted)
{
    Pohmel__Caller caller = caller_of(who);
    bool entitled = who->uid == 0 || who->uid == OWNER;
    bool drops = who->uid != 0 && (wanted & S_ISGID) && !is_member(who);
    enum ph_may expected = !entitled ? PH_MAY_NO : drops ? PH_MAY_UNSURE : PH_MAY_YES;
    g_assert_cmpint(ph_may_set_mode(&caller, mode, OWNER, GROUP, true, wanted), ==, expected);
    g_assert_cmpint(ph_may_set_mode(&caller, mode, OWNER, GROUP, false, wanted), ==,
                    entitled ? PH_MAY_UNSURE : PH_MAY_NO);
}

static void test_set_mode(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(everybody); i++) {
        for (mode_t wanted = 0; wanted < MODES; wanted++) {
            check_set_mode(&everybody[i], S_IFREG | 0644, wanted);
            check_set_mode(&everybody[i], S_IFDIR | 02755, wanted);
        }
        Pohmel__Caller caller = caller_of(&everybody[i]);
        g_assert_cmpint(ph_may_set_mode(&caller, S_IFLNK | 0777, OWNER, GROUP, true, 0600), ==,
                        PH_MAY_UNSURE);
    }
}

static void test_set_owner(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(everybody); i++) {
        Pohmel__Caller caller = caller_of(&everybody[i]);
        enum ph_may sure = everybody[i].uid == 0 ? PH_MAY_YES : PH_MAY_UNSURE;
        for (mode_t mode = 0; mode < MODES; mode++) {
            enum ph_may file = (mode & (S_ISUID | S_ISGID)) ? PH_MAY_UNSURE : sure;
            g_assert_cmpint(ph_may_set_owner(&caller, S_IFREG | mode, OWNER, GROUP, true, OTHER, UINT32_MAX),
                            ==, file);
            g_assert_cmpint(
                ph_may_set_owner(&caller, S_IFDIR | mode, OWNER, GROUP, true, UINT32_MAX, OUTSIDE), ==, sure);
            g_assert_cmpint(ph_may_set_owner(&caller, S_IFREG | mode, OWNER, GROUP, false, OTHER, OUTSIDE),
                            ==, PH_MAY_UNSURE);
            g_assert_cmpint(
                ph_may_set_owner(&caller, S_IFREG | mode, OWNER, GROUP, true, UINT32_MAX, UINT32_MAX), ==,
                PH_MAY_UNSURE);
        }
    }
}

static void test_set_times(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(everybody); i++) {
        const struct who *who = &everybody[i];
        Pohmel__Caller caller = caller_of(who);
        bool owner = who->uid == 0 || who->uid == OWNER;
        for (mode_t mode = 0; mode < MODES; mode++) {
            enum ph_may touch = owner || allowed(who, S_IFREG | mode, 2) ? PH_MAY_YES : PH_MAY_NO;
            g_assert_cmpint(ph_may_set_times(&caller, S_IFREG | mode, OWNER, GROUP, true, false), ==, touch);
            g_assert_cmpint(ph_may_set_times(&caller, S_IFREG | mode, OWNER, GROUP, true, true), ==,
                            owner ? PH_MAY_YES : PH_MAY_NO);
            g_assert_cmpint(ph_may_set_times(&caller, S_IFREG | mode, OWNER, GROUP, false, false), ==,
                            PH_MAY_UNSURE);
            g_assert_cmpint(ph_may_set_times(&caller, S_IFREG | mode, OWNER, GROUP, false, true), ==,
                            owner ? PH_MAY_UNSURE : PH_MAY_NO);
        }
    }
}

/* A directory of this kernel that everybody may search, and in it what is looked at. */
struct place {
    char *path, *file, *directory, *entry;
};

static void place_make(struct place *place)
{
    place->path = g_dir_make_tmp("ph-may-XXXXXX", NULL);
    g_assert_nonnull(place->path);
    place->file = g_build_filename(place->path, "file", NULL);
    place->directory = g_build_filename(place->path, "directory", NULL);
    place->entry = g_build_filename(place->directory, "entry", NULL);
    g_assert_cmpint(chmod(place->path, 0755), ==, 0);
    g_assert_true(g_file_set_contents(place->file, "x", 1, NULL));
    g_assert_cmpint(mkdir(place->directory, 0755), ==, 0);
    g_assert_cmpint(chown(place->file, OWNER, GROUP), ==, 0);
    g_assert_cmpint(chown(place->directory, OWNER, GROUP), ==, 0);
}

static void place_clear(struct place *place)
{
    g_unlink(place->entry);
    g_unlink(place->file);
    g_rmdir(place->directory);
    g_assert_cmpint(g_rmdir(place->path), ==, 0);
    g_free(place->path);
    g_free(place->file);
    g_free(place->directory);
    g_free(place->entry);
}

/* Only in a child. The saved ids stay those of root, so that there is a way back. */
static void become(const struct who *who)
{
    if (setresuid(0, 0, 0) != 0 || setgroups(who->n_groups, who->groups) != 0 ||
        setresgid(who->gid, who->gid, 0) != 0 || setresuid(who->uid, who->uid, 0) != 0)
        g_error("cannot take on ids %u:%u: %s", who->uid, who->gid, g_strerror(errno));
}

static void become_root(void)
{
    static const struct who root = {0, 0, 0, {0}};
    become(&root);
}

static void judge(const char *what, const struct who *who, mode_t mode, enum ph_may may, int error)
{
    bool allowed_here = error == 0;
    if (may != PH_MAY_UNSURE && (may == PH_MAY_YES) != allowed_here)
        g_error("%s, mode %o, as %u:%u with %zu groups: foretold %d, the kernel says %s", what, mode,
                who->uid, who->gid, who->n_groups, may, g_strerror(error));
}

static void kernel_access(const struct place *place, const struct who *who)
{
    Pohmel__Caller caller = caller_of(who);
    for (mode_t mode = 0; mode < MODES; mode++) {
        mode_t as_file = S_IFREG | mode, as_directory = S_IFDIR | mode;
        become_root();
        g_assert_cmpint(chmod(place->file, mode), ==, 0);
        g_assert_cmpint(chmod(place->directory, mode), ==, 0);
        become(who);
        for (int mask = 0; mask <= 7; mask++) {
            int error = faccessat(AT_FDCWD, place->file, mask, AT_EACCESS) == 0 ? 0 : errno;
            judge("access to a file", who, as_file,
                  ph_may_access(&caller, as_file, OWNER, GROUP, true, (unsigned) mask), error);
            error = faccessat(AT_FDCWD, place->directory, mask, AT_EACCESS) == 0 ? 0 : errno;
            judge("access to a directory", who, as_directory,
                  ph_may_access(&caller, as_directory, OWNER, GROUP, true, (unsigned) mask), error);
        }
    }
    become_root();
}

static void kernel_remove(const struct place *place, const struct who *who)
{
    static const uint32_t targets[] = {OWNER, OTHER, THIRD};
    Pohmel__Caller caller = caller_of(who);
    for (mode_t mode = 0; mode < MODES; mode++) {
        if (mode & (S_ISUID | S_ISGID | 0444))
            continue; /* they have no say here */
        for (size_t i = 0; i < G_N_ELEMENTS(targets); i++) {
            become_root();
            int fd = open(place->entry, O_CREAT | O_WRONLY, 0600);
            g_assert_true(fd >= 0 && fchown(fd, targets[i], GROUP) == 0 && close(fd) == 0);
            g_assert_cmpint(chmod(place->directory, mode), ==, 0);
            become(who);
            int error = unlink(place->entry) == 0 ? 0 : errno;
            enum ph_may may = ph_may_remove(&caller, S_IFDIR | mode, OWNER, GROUP, true, targets[i]);
            judge("removing", who, mode, may, error);
            enum ph_may names = ph_may_access(&caller, S_IFDIR | mode, OWNER, GROUP, true, 3);
            if (may == PH_MAY_NO)
                g_assert_cmpint(error, ==, names == PH_MAY_YES ? EPERM : EACCES);
        }
    }
    become_root();
}

static void kernel_set_mode(const struct place *place, const struct who *who)
{
    Pohmel__Caller caller = caller_of(who);
    for (mode_t wanted = 0; wanted < MODES; wanted++) {
        become_root();
        g_assert_cmpint(chmod(place->file, 0640), ==, 0);
        become(who);
        int error = chmod(place->file, wanted) == 0 ? 0 : errno;
        enum ph_may may = ph_may_set_mode(&caller, S_IFREG | 0640, OWNER, GROUP, true, wanted);
        judge("chmod", who, wanted, may, error);
        struct stat st;
        g_assert_cmpint(stat(place->file, &st), ==, 0);
        if (may == PH_MAY_YES)
            g_assert_cmpuint(st.st_mode & 07777, ==, wanted);
        if (may == PH_MAY_NO)
            g_assert_cmpint(error, ==, EPERM);
    }
    become_root();
}

static void kernel_set_owner(const struct place *place, const struct who *who)
{
    static const uint32_t uids[] = {UINT32_MAX, OWNER, OTHER}, gids[] = {UINT32_MAX, GROUP, OUTSIDE};
    Pohmel__Caller caller = caller_of(who);
    for (mode_t mode = 0; mode < MODES; mode += 01111) {
        for (size_t i = 0; i < G_N_ELEMENTS(uids) * G_N_ELEMENTS(gids); i++) {
            uint32_t uid = uids[i / G_N_ELEMENTS(gids)], gid = gids[i % G_N_ELEMENTS(gids)];
            become_root();
            g_assert_true(chown(place->file, OWNER, GROUP) == 0 && chmod(place->file, mode) == 0);
            become(who);
            int error = chown(place->file, uid, gid) == 0 ? 0 : errno;
            enum ph_may may = ph_may_set_owner(&caller, S_IFREG | mode, OWNER, GROUP, true, uid, gid);
            judge("chown", who, mode, may, error);
            struct stat st;
            g_assert_cmpint(stat(place->file, &st), ==, 0);
            if (may == PH_MAY_YES)
                g_assert_cmpuint(st.st_mode & 07777, ==, mode);
        }
    }
    become_root();
    g_assert_cmpint(chown(place->file, OWNER, GROUP), ==, 0);
}

static void kernel_set_times(const struct place *place, const struct who *who)
{
    static const struct timespec times[][2] = {
        {{0, UTIME_NOW}, {0, UTIME_NOW}},
        {{0, UTIME_NOW}, {0, UTIME_OMIT}},
        {{0, UTIME_OMIT}, {0, UTIME_NOW}},
        {{5, 5}, {0, UTIME_NOW}},
        {{5, 5}, {6, 6}},
    };
    Pohmel__Caller caller = caller_of(who);
    for (mode_t mode = 0; mode <= 0777; mode++) {
        become_root();
        g_assert_cmpint(chmod(place->file, mode), ==, 0);
        become(who);
        for (size_t i = 0; i < G_N_ELEMENTS(times); i++) {
            int error = utimensat(AT_FDCWD, place->file, times[i], 0) == 0 ? 0 : errno;
            enum ph_may may = ph_may_set_times(&caller, S_IFREG | mode, OWNER, GROUP, true, i > 0);
            judge(i > 0 ? "setting times" : "touching", who, mode, may, error);
            if (may == PH_MAY_NO)
                g_assert_cmpint(error, ==, i > 0 ? EPERM : EACCES);
        }
    }
    become_root();
}

/* In a child, whose ids are its own affair. */
static void test_kernel(gconstpointer data)
{
    void (*check)(const struct place *place, const struct who *who) =
        *(void (*const *)(const struct place *, const struct who *)) data;
    if (geteuid() != 0) {
        g_test_skip("needs root, to become others");
        return;
    }
    struct place place;
    place_make(&place);
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        for (size_t i = 0; i < G_N_ELEMENTS(everybody); i++)
            check(&place, &everybody[i]);
        _exit(0);
    }
    int status;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    place_clear(&place);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
    static void (*const checks[])(const struct place *place, const struct who *who) = {
        kernel_access, kernel_remove, kernel_set_mode, kernel_set_owner, kernel_set_times};
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/may/access", test_access);
    g_test_add_func("/client/may/remove", test_remove);
    g_test_add_func("/client/may/set_mode", test_set_mode);
    g_test_add_func("/client/may/set_owner", test_set_owner);
    g_test_add_func("/client/may/set_times", test_set_times);
    g_test_add_data_func("/client/may/kernel_access", &checks[0], test_kernel);
    g_test_add_data_func("/client/may/kernel_remove", &checks[1], test_kernel);
    g_test_add_data_func("/client/may/kernel_set_mode", &checks[2], test_kernel);
    g_test_add_data_func("/client/may/kernel_set_owner", &checks[3], test_kernel);
    g_test_add_data_func("/client/may/kernel_set_times", &checks[4], test_kernel);
    return g_test_run();
}
