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

static void print_text(const qk_family *f, const summary *s)
{
    printf("%-18s %7d ", f->model_type, s->goldens);
    if (s->goldens)
        printf("  %8.1e   %8.1e of %.1e", s->float32, s->bfloat16, s->bfloat16_allowed);
    else
        printf("  %-30s", wrapper_of(f) ? wrapper_of(f)->model_type : "none");
    printf("   %s\n", f->about);
}

static void print_markdown(const qk_family *f, const summary *s)
{
    printf("| `%s` | %s | ", f->model_type, f->about);
    if (s->goldens)
        printf("%d | %.1e | %.1e of %.1e |\n", s->goldens, s->float32, s->bfloat16,
               s->bfloat16_allowed);
    else
        printf("through `%s` | | |\n", wrapper_of(f) ? wrapper_of(f)->model_type : "?");
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
        summary s = summarise(qk_families[i]->model_type);
        if (markdown)
            print_markdown(qk_families[i], &s);
        else
            print_text(qk_families[i], &s);
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
