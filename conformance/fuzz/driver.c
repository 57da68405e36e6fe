/* Runs the fuzz target without libFuzzer: all seeds and corpus files, then
 * mutations of them from a seed. The same seed gives the same run. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "conformance/fuzz/mutate.h"
#include "conformance/fuzz/seeds.h"
#include "conformance/fuzz/target.h"

enum { INPUT_MAX_BYTES = 64 * 1024, CLOCK_EVERY = 256 };

struct inputs {
    struct ph_seed *list;
    size_t count;
};

static const uint8_t *current; /* the input being run, for the report of a crash */
static size_t current_len;
static unsigned long long current_run;

/* A promise was broken, or a sanitizer complains: leaves the input behind. */
static void on_abort(int number)
{
    FILE *file = fopen("crash-input", "wb");
    if (file != NULL && current != NULL) {
        fwrite(current, 1, current_len, file);
        fclose(file);
    }
    fprintf(stderr, "run %llu failed; its input is in ./crash-input\n", current_run);
    signal(number, SIG_DFL);
    raise(number);
}

static void run(const uint8_t *bytes, size_t len)
{
    current = bytes;
    current_len = len;
    current_run++;
    LLVMFuzzerTestOneInput(bytes, len);
    current = NULL;
}

static void inputs_add(struct inputs *inputs, const uint8_t *bytes, size_t len)
{
    inputs->list = realloc(inputs->list, (inputs->count + 1) * sizeof *inputs->list);
    if (inputs->list == NULL)
        abort();
    struct ph_seed *seed = &inputs->list[inputs->count++];
    memset(seed, 0, sizeof *seed);
    seed->bytes = malloc(len + 1);
    if (seed->bytes == NULL)
        abort();
    memcpy(seed->bytes, bytes, len);
    seed->len = len;
}

/* Adds the file PATH, or all files of the folder PATH. Returns whether it could be read. */
static int inputs_read(struct inputs *inputs, const char *path)
{
    static uint8_t bytes[INPUT_MAX_BYTES];
    struct stat status;
    if (stat(path, &status) != 0)
        return 0;
    if (!S_ISDIR(status.st_mode)) {
        FILE *file = fopen(path, "rb");
        if (file == NULL)
            return 0;
        inputs_add(inputs, bytes, fread(bytes, 1, sizeof bytes, file));
        fclose(file);
        return 1;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort); /* sorted: the order decides what a seed does */
    int good = count >= 0;
    for (int i = 0; i < count; i++) {
        char below[4096];
        snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            good &= inputs_read(inputs, below);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return good;
}

/* Writes the seeds to the folder PATH, for libFuzzer. */
static int write_seeds(const struct inputs *inputs, const char *folder)
{
    for (size_t i = 0; i < inputs->count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, inputs->list[i].name);
        FILE *file = fopen(path, "wb");
        if (file == NULL ||
            fwrite(inputs->list[i].bytes, 1, inputs->list[i].len, file) != inputs->list[i].len) {
            perror(path);
            return 1;
        }
        fclose(file);
    }
    printf("wrote %zu inputs to %s\n", inputs->count, folder);
    return 0;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* RUNS mutations, or as many as fit into MOST_S seconds. */
static void run_mutations(const struct inputs *inputs, uint64_t seed, unsigned long long runs, double most_s)
{
    static uint8_t bytes[INPUT_MAX_BYTES];
    struct ph_random random;
    double end = seconds() + most_s;
    ph_random_seed(&random, seed);
    for (unsigned long long i = 0; i < runs; i++) {
        if (i % CLOCK_EVERY == 0 && seconds() >= end)
            break;
        const struct ph_seed *one = &inputs->list[ph_random_below(&random, inputs->count)];
        const struct ph_seed *other = &inputs->list[ph_random_below(&random, inputs->count)];
        size_t len = one->len < sizeof bytes ? one->len : sizeof bytes;
        memcpy(bytes, one->bytes, len);
        len = ph_mutate(bytes, len, sizeof bytes, other->bytes, other->len, &random);
        run(bytes, len);
    }
}

static int usage(const char *name)
{
    fprintf(stderr,
            "usage: %s [--seed N] [--runs N] [--seconds N] [FILE|FOLDER]...\n"
            "       %s --write FOLDER\n",
            name, name);
    return 2;
}

struct options {
    uint64_t seed;
    unsigned long long runs;
    double most_s;
    const char *write_to; /* folder, or NULL to run */
};

/* Reads the options; files that are named are added to INPUTS. Returns 0 or an exit code. */
static int read_options(int argc, char **argv, struct options *options, struct inputs *inputs)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (argv[i][0] != '-') {
            if (!inputs_read(inputs, argv[i])) {
                perror(argv[i]);
                return 2;
            }
            continue;
        }
        if (value == NULL)
            return usage(argv[0]);
        if (strcmp(argv[i], "--write") == 0)
            options->write_to = value;
        else if (strcmp(argv[i], "--seed") == 0)
            options->seed = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--runs") == 0)
            options->runs = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--seconds") == 0)
            options->most_s = strtod(value, NULL);
        else
            return usage(argv[0]);
        i++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1, .runs = 20000, .most_s = 1e9};
    struct inputs inputs;
    inputs.list = ph_seeds_new(&inputs.count);
    signal(SIGABRT, on_abort);
    int code = read_options(argc, argv, &options, &inputs);
    if (code == 0 && options.write_to != NULL) {
        code = write_seeds(&inputs, options.write_to);
    } else if (code == 0) {
        for (size_t i = 0; i < inputs.count; i++)
            run(inputs.list[i].bytes, inputs.list[i].len);
        run_mutations(&inputs, options.seed, options.runs, options.most_s);
        printf("%zu inputs and their mutations, %llu runs, seed %llu: all promises kept\n", inputs.count,
               current_run, (unsigned long long) options.seed);
    }
    ph_seeds_free(inputs.list, inputs.count);
    return code;
}
