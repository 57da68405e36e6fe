/* Questions to the command tables. */
#include "runtime/wire/command.h"

bool ph_command_may_answer(const struct ph_command_info *command, uint32_t status)
{
    if (status == 0)
        return true;
    for (const uint32_t *error = command->errors; *error != 0; error++) {
        if (*error == status)
            return true;
    }
    return false;
}
