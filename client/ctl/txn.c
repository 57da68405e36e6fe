/* pohmelctl txn: what a command changes below a directory shows at once when it is done, or never. */
#include "client/ctl/txn.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"

enum {
    TXN_TRIES = 5,        /* with a server that is started anew meanwhile */
    TXN_UNKNOWN = 124,    /* exit codes beside those of the command: nobody can tell what came of it */
    TXN_FAILED = 125,     /* nothing was changed */
    TXN_CANNOT_RUN = 126, /* the same, as shells have it */
    TXN_NO_COMMAND = 127, /* the same */
    SIGNALED = 128,
};

static volatile pid_t child;

static void pass_on(int number)
{
    if (child > 0)
        kill(child, number);
}

/* What would end this program ends the command, of which this one has to tell. */
static void catch_signals(void)
{
    static const int passed[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = pass_on};
    for (size_t i = 0; i < G_N_ELEMENTS(passed); i++)
        sigaction(passed[i], &action, NULL);
    action.sa_handler = SIG_IGN; /* the terminal sends these to both */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGQUIT, &action, NULL);
}

static G_NORETURN void become(char **command, const char *here)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(here) != 0) {
        ctl_complain("%s: %s", here, g_strerror(errno));
        _exit(TXN_CANNOT_RUN);
    }
    execvp(command[0], command);
    ctl_complain("%s: %s", command[0], g_strerror(errno));
    _exit(errno == ENOENT ? TXN_NO_COMMAND : TXN_CANNOT_RUN);
}

/* Runs COMMAND in directory HERE. Its exit code, or 128 and the signal that it died of. */
static int run(char **command, const char *here)
{
    int status;
    fflush(NULL);
    child = fork();
    if (child < 0) {
        ctl_complain("cannot start %s: %s", command[0], g_strerror(errno));
        return TXN_FAILED;
    }
    if (child == 0)
        become(command, here);
    catch_signals();
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    child = 0; /* its number may be another process's from now on */
    return WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALED + WTERMSIG(status);
}

/* Each new file is open until it has its name. */
static void raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Files without a name are gone when the server is started anew: they are made once more. */
static bool publish(const struct ctl_view *view, gboolean verbose, bool *unknown, GError **error)
{
    for (int tries = 1;; tries++) {
        struct ctl_txn txn;
        g_autoptr(GError) why = NULL;
        *unknown = false;
        if (!ctl_txn_begin(&txn, view, error))
            return false;
        bool done = ctl_txn_gather(&txn, &why) && ctl_txn_commit(&txn, unknown, &why);
        guint steps = txn.paths->len;
        ctl_txn_end(&txn);
        if (done && verbose)
            g_print("%s: %u changes published\n", view->path, steps);
        if (done)
            return true;
        if (*unknown || tries == TXN_TRIES || !g_error_matches(why, PH_CALL_ERROR, ESTALE)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return false;
        }
    }
}

static int publish_and_tell(const struct ctl_view *view, gboolean verbose)
{
    bool unknown = false;
    g_autoptr(GError) error = NULL;
    raise_files();
    if (ctl_view_end(view, &error) && publish(view, verbose, &unknown, &error))
        return CTL_OK;
    if (unknown) {
        ctl_complain("%s; whether the changes are published, all of them or none, is not known",
                     error->message);
        return TXN_UNKNOWN;
    }
    ctl_complain("%s; nothing was changed", error->message);
    return TXN_FAILED;
}

/* The server can do it at all: asked before the command runs. */
static bool is_possible(const struct ctl_view *view, GError **error)
{
    struct ctl_txn txn;
    bool begun = ctl_txn_begin(&txn, view, error);
    if (begun)
        ctl_txn_end(&txn);
    return begun;
}

static int transact(const char *directory, const char *scratch, char **command, gboolean verbose)
{
    struct ctl_view view;
    g_autoptr(GError) error = NULL;
    g_autofree char *here = g_get_current_dir();
    int code = TXN_FAILED;
    if (!ctl_view_make(&view, directory, scratch, &error) || !is_possible(&view, &error)) {
        ctl_complain("%s", error->message);
    } else {
        code = run(command, here);
        if (code == 0)
            code = publish_and_tell(&view, verbose);
        else
            ctl_complain("%s ended with %d: nothing was changed", command[0], code);
    }
    ctl_view_clear(&view);
    return code;
}

int ctl_txn(int argc, char **argv)
{
    static const struct option options[] = {{"scratch", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    const char *scratch = NULL;
    gboolean verbose = FALSE;
    for (int option; (option = getopt_long(argc, argv, "+v", options, NULL)) != -1;) {
        if (option == 'v')
            verbose = TRUE;
        else if (option == 's')
            scratch = optarg;
        else
            return ctl_usage("txn");
    }
    /* [DIR] -- COMMAND...: getopt has taken a "--" that came first. */
    bool begun = optind > 1 && strcmp(argv[optind - 1], "--") == 0;
    const char *directory = ".";
    if (!begun) {
        if (optind + 1 >= argc || strcmp(argv[optind + 1], "--") != 0)
            return ctl_usage("txn");
        directory = argv[optind];
        optind += 2;
    }
    if (optind >= argc)
        return ctl_usage("txn");
    return transact(directory, scratch, argv + optind, verbose);
}
