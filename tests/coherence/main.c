/* Are several mounts of one export one filesystem? See README.md. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/coherence/options.h"

enum { DEFAULT_SECONDS = 10, DEFAULT_HANG_S = 30, DEFAULT_OPS = 250, OPS_MAX = 20000 };

static const char usage[] =
    "usage: coherence MODE [OPTION...] MOUNT MOUNT [MOUNT [MOUNT]]\n"
    "\n"
    "  race      everything at random; the history is checked for linearizability\n"
    "  handoff   one mount changes, the others look at once; every kind of change\n"
    "  hammer    all in one directory and one page; looks for hangs and lost bytes\n"
    "\n"
    "  -t SECONDS   how long (10)\n"
    "  -w NUMBER    workers for each mount (2)\n"
    "  -s SEED      of the random numbers\n"
    "  --ops N      race: calls of each worker in a round (250)\n"
    "  --only TEXT  handoff: kinds of change whose name contains TEXT; race: the families\n"
    "               data, attributes, replaced, names, links, log, parts that are in TEXT\n"
    "  --hang S     a call that takes longer than this hangs (30)\n"
    "  --map-plain  mapped memory must be fresh without asking for attributes before\n"
    "  --allow-stale  calls may fail with ESTALE; they are counted\n"
    "  --plant      race: make one read stale, to see that it is found\n"
    "  -v           say what is being done\n"
    "\n"
    "exits with 0: all is well, 1: a violation, 2: it could not run, 3: a call hangs\n";

bool ph_time_is_up(const struct ph_options *options, uint64_t start_ns)
{
    return (double) (ph_now_ns() - start_ns) / 1e9 >= options->seconds;
}

int ph_summary(const struct ph_options *options, const struct ph_crew *crew, const char *what,
               uint64_t start_ns)
{
    unsigned violations = atomic_load(&crew->violations);

    printf("%s: %s, %llu calls in %.1f s by %u workers on %u mounts: ", options->mode, what,
           (unsigned long long) atomic_load(&crew->calls), (double) (ph_now_ns() - start_ns) / 1e9,
           crew->workers, crew->mounts);
    if (violations)
        printf("%u violations\n", violations);
    else
        printf("no violation\n");
    return violations ? PH_EXIT_VIOLATION : PH_EXIT_GOOD;
}

static bool parse(struct ph_options *options, int argc, char **argv)
{
    static const struct option longs[] = {{"ops", required_argument, NULL, 'o'},
                                          {"only", required_argument, NULL, 'y'},
                                          {"hang", required_argument, NULL, 'h'},
                                          {"map-plain", no_argument, NULL, 'm'},
                                          {"allow-stale", no_argument, NULL, 'a'},
                                          {"plant", no_argument, NULL, 'p'},
                                          {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "t:w:s:v", longs, NULL)) != -1) {
        switch (letter) {
        case 't':
            options->seconds = strtod(optarg, NULL);
            break;
        case 'w':
            options->per_mount = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 's':
            options->seed = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            options->ops = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 'y':
            options->only = optarg;
            break;
        case 'h':
            options->hang_s = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 'm':
            options->map_plain = true;
            break;
        case 'a':
            options->allow_stale = true;
            break;
        case 'p':
            options->plant = true;
            break;
        case 'v':
            options->verbose = true;
            break;
        default:
            return false;
        }
    }
    if (argc - optind < 3)
        return false;
    options->mode = argv[optind];
    options->mounts = argv + optind + 1;
    options->mount_count = (unsigned) (argc - optind - 1);
    return options->mount_count <= PH_MOUNTS_MAX && options->per_mount > 0 && options->hang_s > 0 &&
           options->ops > 0 && options->ops <= OPS_MAX &&
           options->mount_count * options->per_mount <= PH_WORKERS_MAX;
}

int main(int argc, char **argv)
{
    struct ph_options options = {.seconds = DEFAULT_SECONDS,
                                 .per_mount = 2,
                                 .hang_s = DEFAULT_HANG_S,
                                 .ops = DEFAULT_OPS,
                                 .seed = ph_now_ns() % 1000000};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse(&options, argc, argv)) {
        fputs(usage, stderr);
        return PH_EXIT_TROUBLE;
    }
    snprintf(options.folder, sizeof options.folder, "coherence.%d", (int) getpid());
    if (strcmp(options.mode, "race") == 0)
        return ph_race(&options);
    if (strcmp(options.mode, "handoff") == 0)
        return ph_handoff(&options);
    if (strcmp(options.mode, "hammer") == 0)
        return ph_hammer(&options);
    fprintf(stderr, "coherence: no mode is called %s\n%s", options.mode, usage);
    return PH_EXIT_TROUBLE;
}
