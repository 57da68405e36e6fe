/* pohmel-server: serves directories to pohmelfs mounts. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "runtime/io/last_words.h"
#include "server/check.h"
#include "server/config.h"
#include "server/log.h"
#include "server/serve.h"

enum { EXIT_USAGE = 2 };

/* One line, and the exit code that tells mistakes of the caller from other trouble. */
static int fail(const GError *error)
{
    fprintf(stderr, "pohmel-server: %s\n", error->message);
    return error->domain == PH_CONFIG_ERROR ? EXIT_USAGE : EXIT_FAILURE;
}

/* Open files of clients are descriptors of ours. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    enum ph_config_request request = PH_CONFIG_SERVE;
    g_autoptr(GError) error = NULL;
    g_autoptr(ph_config_t) config = ph_config_from_arguments(argv, &request, &error);

    ph_last_words("pohmel-server");
    if (config == NULL)
        return fail(error);
    if (request == PH_CONFIG_VERSION) {
        printf("pohmel-server %s\n", PH_VERSION);
        return EXIT_SUCCESS;
    }
    if (!ph_config_check(config, &error))
        return fail(error);
    if (request == PH_CONFIG_CHECK) {
        gboolean ok = TRUE;
        int code = ph_check(config, &ok, &error);
        return ok ? code : fail(error);
    }
    ph_log_init(config->verbose);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit is an error to answer, not the end */
    return ph_serve(config, &error) ? EXIT_SUCCESS : fail(error);
}
