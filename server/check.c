#include "server/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/store/posix_check.h"

static void say(void *data, const char *line)
{
    const struct ph_export_config *export = data;
    printf("%s: %s\n", export->name, line);
}

int ph_check(const struct ph_config *config, gboolean *ok, GError **error)
{
    unsigned wrong = 0;
    *ok = TRUE;
    for (guint i = 0; i < config->exports->len && *ok; i++) {
        struct ph_export_config *export = config->exports->pdata[i];
        struct ph_posix_check check = {
            .directory = export->directory,
            .state_dir = export->state_dir,
            .repair = config->repair,
            .say = say,
            .data = export,
        };
        *ok = ph_posix_check(&check, error);
        wrong += check.wrong - check.repaired;
    }
    return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
