/* qkengine pull REPO: a model or dataset of the Hub into the cache; prints the folder. */
#include <stdio.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/commands/cli.h"
#include "engine/run/inputs.h"
#include "hub/match.h"
#include "hub/pull.h"

/* Everything, or what one of the patterns matches. */
static qk_status fetch_matching(qk_snapshot *s, const char *const *patterns, size_t n,
                                qk_error *err)
{
    qk_names names = {0};
    for (size_t i = 0; i < s->listing.count; i++) {
        const char *path = s->listing.files[i].path;
        bool wanted = n == 0;
        for (size_t k = 0; k < n && !wanted; k++) wanted = qk_path_matches(patterns[k], path);
        if (wanted) qk_names_add(&names, path);
    }
    qk_status status = QK_OK;
    if (!names.count)
        status = qk_fail(err, QK_ERR_NOTFOUND, "'*' stands for any characters, '/' included",
                         "%s at '%s': no file matches", s->repo.id, s->repo.revision);
    if (status == QK_OK) status = qk_snapshot_fetch(s, &names, err);
    qk_names_free(&names);
    return status;
}

static qk_status pull(const qk_args *args, const qk_hub *hub, qk_error *err)
{
    const char *const *patterns;
    size_t n = qk_values(args, "include", &patterns);
    qk_repo_type type = qk_has(args, "dataset") ? QK_REPO_DATASET : QK_REPO_MODEL;
    qk_snapshot s;
    QK_TRY(qk_snapshot_open(&s, hub, type, qk_arg(args, 0), qk_value(args, "revision"), err));
    qk_status status = n || type == QK_REPO_DATASET ? fetch_matching(&s, patterns, n, err)
                                                    : qk_inputs_fetch_model(&s, err);
    if (status == QK_OK && type == QK_REPO_MODEL && !n && !qk_snapshot_has(&s, "tokenizer.json")) {
        qk_error why; /* a run needs a tokenizer from elsewhere */
        qk_inputs_explain(&s, QK_WANT_TOKENIZER, &why);
        qk_warn("%s; %s", why.message, why.hint);
    }
    if (status == QK_OK) puts(qk_snapshot_folder(&s));
    qk_snapshot_close(&s);
    return status;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    qk_hub hub;
    qk_log_quiet(qk_has(args, "quiet"));
    qk_interrupt_install();
    QK_TRY(qk_hub_open(&hub, NULL, err));
    qk_status s = pull(args, &hub, err);
    qk_hub_close(&hub);
    return s;
}

static const qk_option options[] = {
    {"dataset", .help = "a dataset, not a model"},
    {"include", "GLOB", .help = "only files whose path matches", .repeated = true},
    {"revision", "R", "branch, tag or commit", .fallback = "main"},
    {"quiet", .help = "only warnings and errors"},
    {0},
};

const qk_command qk_command_pull = {
    .name = "pull",
    .arguments = {{"OWNER/NAME"}},
    .summary = "bring a model or dataset of the Hub to the cache, print its folder",
    .details = "Of a model: config.json, tokenizer and safetensors; --include '*' brings all. Of a "
               "dataset: all.\n"
               "Exit status 3: the same command goes on where it stopped.",
    .options = options,
    .run = run,
};
