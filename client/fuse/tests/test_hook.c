/* What the hook tells the kernel, and hears from it, beyond libfuse. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>

#include "client/fuse/hook.h"
#include "client/fuse/kernel_abi.h"

struct request {
    struct fuse_in_header header;
    union {
        struct fuse_init_in init;
        struct fuse_write_in write;
        struct fuse_setattr_in setattr;
        struct fuse_create_in create;
        struct fuse_statx_in statx;
    } body;
};

static struct request make(uint32_t opcode)
{
    struct request request = {.header = {.len = sizeof request, .opcode = opcode, .unique = 42}};
    return request;
}

static void test_init(void)
{
    struct request request = make(FUSE_INIT);
    struct ph_hook_note note;
    request.body.init.flags = FUSE_HANDLE_KILLPRIV_V2 | FUSE_ASYNC_READ;
    g_assert_cmpuint(ph_hook_request(&request, sizeof request, &note), ==, 42);
    uint64_t offered = ph_hook_init_offered(&request, sizeof request);

    struct fuse_init_out out = {.major = 7, .minor = 31, .flags = FUSE_POSIX_LOCKS};
    ph_hook_init_reply(&out, sizeof out, offered);
    g_assert_cmpuint(out.flags, ==, FUSE_POSIX_LOCKS | FUSE_HANDLE_KILLPRIV_V2);
    g_assert_cmpuint(out.minor, ==, 31);
}

static void test_init_with_more_flags(void)
{
    struct request request = make(FUSE_INIT);
    request.body.init.flags = FUSE_INIT_EXT;
    request.body.init.flags2 = FUSE_DIRECT_IO_ALLOW_MMAP >> 32;
    struct fuse_init_out out = {0};
    ph_hook_init_reply(&out, sizeof out, ph_hook_init_offered(&request, sizeof request));
    g_assert_cmpuint(out.flags, ==, FUSE_INIT_EXT);
    g_assert_cmpuint(out.flags2, ==, FUSE_DIRECT_IO_ALLOW_MMAP >> 32);
}

static void test_init_of_old_kernel(void)
{
    struct request request = make(FUSE_INIT);
    request.body.init.flags = FUSE_ASYNC_READ;
    struct fuse_init_out out = {.flags = FUSE_POSIX_LOCKS};
    ph_hook_init_reply(&out, sizeof out, ph_hook_init_offered(&request, sizeof request));
    g_assert_cmpuint(out.flags, ==, FUSE_POSIX_LOCKS);

    /* Answers and requests that are too short to hold flags stay as they are. */
    out.flags = 0;
    ph_hook_init_reply(&out, offsetof(struct fuse_init_out, flags), FUSE_HANDLE_KILLPRIV_V2);
    g_assert_cmpuint(out.flags, ==, 0);
    g_assert_cmpuint(ph_hook_init_offered(&request, sizeof request.header), ==, 0);
}

static void test_kill_bits(void)
{
    struct ph_hook_note note;
    struct request request = make(FUSE_WRITE);
    g_assert_cmpuint(ph_hook_request(&request, sizeof request, &note), ==, 0);
    g_assert_false(note.kill_privileges);
    request.body.write.write_flags = FUSE_WRITE_KILL_SUIDGID | FUSE_WRITE_LOCKOWNER;
    ph_hook_request(&request, sizeof request, &note);
    g_assert_true(note.kill_privileges);

    request = make(FUSE_SETATTR);
    request.body.setattr.valid = FATTR_SIZE;
    ph_hook_request(&request, sizeof request, &note);
    g_assert_false(note.kill_privileges);
    request.body.setattr.valid |= FATTR_KILL_SUIDGID;
    ph_hook_request(&request, sizeof request, &note);
    g_assert_true(note.kill_privileges);

    /* A note never outlives its request. */
    request = make(FUSE_GETATTR);
    ph_hook_request(&request, sizeof request, &note);
    g_assert_false(note.kill_privileges);
}

static void test_rewritten(void)
{
    struct ph_hook_note note;
    struct request request = make(FUSE_TMPFILE);
    request.body.create.mode = 0600;
    ph_hook_request(&request, sizeof request, &note);
    g_assert_true(note.tmpfile);
    g_assert_cmpuint(request.header.opcode, ==, FUSE_CREATE);
    g_assert_cmpuint(request.body.create.mode, ==, 0600);

    request = make(FUSE_STATX);
    request.body.statx.getattr_flags = FUSE_GETATTR_FH;
    request.body.statx.fh = 77;
    ph_hook_request(&request, sizeof request, &note);
    g_assert_true(note.statx);
    g_assert_false(note.tmpfile);
    g_assert_cmpuint(request.header.opcode, ==, FUSE_GETATTR);
    const struct fuse_getattr_in *getattr = (const void *) &request.body;
    g_assert_cmpuint(getattr->getattr_flags, ==, FUSE_GETATTR_FH);
    g_assert_cmpuint(getattr->fh, ==, 77);
}

static void test_short(void)
{
    struct ph_hook_note note;
    struct request request = make(FUSE_WRITE);
    request.body.write.write_flags = FUSE_WRITE_KILL_SUIDGID;
    ph_hook_request(&request, sizeof request.header + 8, &note);
    g_assert_false(note.kill_privileges);
    g_assert_cmpuint(ph_hook_request(&request, 4, &note), ==, 0);
}

/* ---- Answers ---- */

static int failures, failure, made, told;

/* Stands for writev(2): fails FAILURES times. */
static ssize_t put(int fd, const struct iovec *parts, int count)
{
    const struct fuse_out_header *header = parts[0].iov_base;
    ssize_t whole = 0;
    made++;
    if (failures > 0) {
        failures--;
        errno = failure;
        return -1;
    }
    told = header->error;
    for (int i = 0; i < count; i++)
        whole += (ssize_t) parts[i].iov_len;
    return whole;
}

static ssize_t answer(uint64_t unique, int times, int error)
{
    char body[] = "what was asked for";
    struct fuse_out_header header = {.len = sizeof header + sizeof body, .unique = unique};
    const struct iovec parts[] = {{&header, sizeof header}, {body, sizeof body}};
    failures = times;
    failure = error;
    made = 0;
    told = 1;
    return ph_hook_answer(-1, parts, 2, put);
}

/* An answer that fails in passing arrives; in whose place none can be given, one that says so. */
static void test_answered(void)
{
    const int passing[] = {EINTR, EAGAIN, ENOMEM, EIO};
    for (size_t i = 0; i < G_N_ELEMENTS(passing); i++) {
        g_assert_cmpint(answer(42, 2, passing[i]), >, 0);
        g_assert_cmpint(told, ==, 0);
    }
    g_assert_cmpint(answer(42, 1, EINVAL), ==, -1);
    g_assert_cmpint(errno, ==, EINVAL);
    g_assert_cmpint(told, ==, -EIO);
}

/* Who does not wait any more is told nothing; a notification is nobody's answer. */
static void test_not_answered(void)
{
    g_assert_cmpint(answer(42, 1, ENOENT), ==, -1);
    g_assert_cmpint(made, ==, 1);
    g_assert_cmpint(answer(0, 1, EINVAL), ==, -1);
    g_assert_cmpint(made, ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hook/the answer to INIT asks for what the kernel offered", test_init);
    g_test_add_func("/hook/files past the page cache may be mapped", test_init_with_more_flags);
    g_test_add_func("/hook/a kernel that does not offer it is not asked", test_init_of_old_kernel);
    g_test_add_func("/hook/kill bits are seen for their own request only", test_kill_bits);
    g_test_add_func("/hook/requests unknown to libfuse become those they resemble", test_rewritten);
    g_test_add_func("/hook/short requests are not looked into", test_short);
    g_test_add_func("/hook/a-request-is-answered-whatever-fails", test_answered);
    g_test_add_func("/hook/nobody-is-answered-who-does-not-wait", test_not_answered);
    return g_test_run();
}
