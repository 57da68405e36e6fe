/* pohmelctl: what Pohmel can do beyond what system calls can ask for. */
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage, *what;
} commands[] = {
    {"mkpath", ctl_mkpath, "[-v] [-m MODE] PATH...", "make directories and all that are missing above them"},
    {"rmtree", ctl_rmtree, "[-v] [-f] PATH...", "remove directories with everything below them"},
    {"flush", ctl_flush, "[-v] [PATH...] | --server DIR",
     "return when everything below PATH is safe on the server's disk"},
    {"status", ctl_status, "[--json] [MOUNT|PATH...]",
     "tell how mounts are doing; all of them when none is named"},
    {"top", ctl_top, "[-d SECONDS] [-n COUNT] [MOUNT...]", "show what mounts are doing, again and again"},
    {"leases", ctl_leases, "[--json] [PATH... | --server DIR]", "list the leases of mounts, or of a server"},
    {"conflicts", ctl_conflicts, "[--json] [MOUNT|PATH...]", "list changes that could not be written back"},
    {"state", ctl_state, "[-v] [--json] PATH...", "tell whether files are clean, dirty here, or stable"},
    {"txn", ctl_txn, "[-v] [--scratch DIR] [DIR] -- COMMAND...",
     "run COMMAND; what it changes below DIR shows at once, or not at all"},
};

int ctl_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    fflush(stdout); /* in the order in which things were said */
    fprintf(stderr, "pohmelctl: %s\n", text);
    return CTL_FAILED;
}

int ctl_usage(const char *command)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (command && strcmp(command, commands[i].name) == 0) {
            fprintf(stderr, "usage: pohmelctl %s %s\n", command, commands[i].usage);
            return CTL_USAGE;
        }
    }
    fprintf(stderr,
            "usage: pohmelctl mkpath|rmtree|flush|status|top|leases|conflicts|state|txn|help ...; see "
            "\"pohmelctl help\"\n");
    return CTL_USAGE;
}

static int help(void)
{
    puts("usage: pohmelctl COMMAND [ARGUMENTS]\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        printf("  %-9s %-36s %s\n", commands[i].name, commands[i].usage, commands[i].what);
    puts("  help                                           this text\n"
         "\nPaths lie inside a mount. Exit code: 0 done, 1 failed, 2 wrong usage. See pohmelctl(1).");
    return CTL_OK;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    if (argc < 2)
        return ctl_usage(NULL);
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help();
    if (strcmp(argv[1], "--version") == 0) {
        puts("pohmelctl " PH_VERSION);
        return CTL_OK;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    ctl_complain("there is no command \"%s\"; \"pohmelctl help\" lists them", argv[1]);
    return CTL_USAGE;
}
