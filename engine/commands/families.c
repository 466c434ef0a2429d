/* qkengine families: the model types that this build runs. */
#include "engine/families/family.h"

#include <stdio.h>

#include "engine/commands/cli.h"

static qk_status run(const qk_args *args, qk_error *err)
{
    (void)args;
    (void)err;
    printf("%-14s %s\n", "model_type", "models");
    for (size_t i = 0; qk_families[i]; i++)
        printf("%-14s %s\n", qk_families[i]->model_type, qk_families[i]->about);
    return QK_OK;
}

static const qk_option options[] = {{NULL, NULL, NULL}};

const qk_command qk_command_families = {
    .name = "families",
    .arguments = "",
    .summary = "list the model families that can run",
    .options = options,
    .run = run,
};
