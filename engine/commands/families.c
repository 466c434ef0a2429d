/* qkengine families: the model types that this build runs, and how close each one comes. */
#include "engine/families/family.h"

#include <stdio.h>
#include <string.h>

#include "engine/commands/cli.h"
#include "engine/families/golden_results.h"

/* The goldens of one model type together. */
typedef struct summary {
    int goldens;
    double float32, bfloat16,
        bfloat16_allowed; /* the largest errors; the bound beside the latter */
} summary;

static summary summarise(const char *model_type)
{
    summary s = {0};
    for (const qk_golden_result *g = qk_golden_results; g->name; g++) {
        if (strcmp(g->model_type, model_type)) continue;
        s.goldens++;
        if (g->float32 > s.float32) s.float32 = g->float32;
        if (g->bfloat16 <= s.bfloat16) continue;
        s.bfloat16 = g->bfloat16;
        s.bfloat16_allowed = g->bfloat16_allowed;
    }
    return s;
}

/* The wrapper that a family stands in, when it is no model of its own. */
static const qk_family *wrapper_of(const qk_family *f)
{
    for (size_t i = 0; qk_families[i]; i++)
        if (qk_families[i]->text_type && !strcmp(qk_families[i]->text_type, f->model_type))
            return qk_families[i];
    return NULL;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    (void)err;
    bool markdown = qk_has(args, "markdown");
    if (markdown)
        printf("| model_type | models | goldens | float32 | bfloat16 |\n|---|---|---|---|---|\n");
    else
        printf("%-18s %7s   %8s   %-20s  %s\n", "model_type", "goldens", "float32", "bfloat16",
               "models");
    for (size_t i = 0; qk_families[i]; i++) {
        const qk_family *f = qk_families[i], *wrapper = wrapper_of(f);
        summary s = summarise(f->model_type);
        if (markdown && s.goldens)
            printf("| `%s` | %s | %d | %.1e | %.1e of %.1e |\n", f->model_type, f->about, s.goldens,
                   s.float32, s.bfloat16, s.bfloat16_allowed);
        else if (markdown)
            printf("| `%s` | %s | through `%s` | | |\n", f->model_type, f->about,
                   wrapper ? wrapper->model_type : "?");
        else if (s.goldens)
            printf("%-18s %7d   %8.1e   %8.1e of %.1e   %s\n", f->model_type, s.goldens, s.float32,
                   s.bfloat16, s.bfloat16_allowed, f->about);
        else
            printf("%-18s %7d   %-30s   %s\n", f->model_type, 0,
                   wrapper ? wrapper->model_type : "none", f->about);
    }
    return QK_OK;
}

static const qk_option options[] = {
    {"markdown", .help = "as a Markdown table"},
    {0},
};

const qk_command qk_command_families = {
    .name = "families",
    .summary = "list the model families that can run",
    .details =
        "The errors are the largest relative RMS errors of queries, keys and the last hidden state "
        "over the goldens of a family, against transformers in float32; 'of' says what bfloat16 "
        "costs transformers itself.",
    .options = options,
    .run = run,
};
