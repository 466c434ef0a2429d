/* qkengine run CONFIG: the whole pipeline, see engine/run.h. */
#include "engine/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/commands/cli.h"
#include "engine/push.h"

static void print_json(const qk_run_result *r)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "final", r->final_folder);
    qk_json_add_bool(&o, "already_complete", r->already_complete);
    qk_json_add_int(&o, "files", (int64_t)r->files);
    qk_json_add_int(&o, "rows", (int64_t)r->rows_final);
    qk_json_add_int(&o, "rows_added", (int64_t)r->rows_added);
    qk_json_add_int(&o, "units", r->units);
    qk_json_add_int(&o, "units_found", r->units_found);
    qk_json_add_int(&o, "examples", r->examples);
    qk_json_add_int(&o, "tokens", r->tokens);
    qk_json_add_num(&o, "seconds_forward", r->seconds_forward);
    qk_json_add_num(&o, "seconds_total", r->seconds_total);
    qk_json_end(&o, '}');
    puts(qk_buf_str(&o.buf));
    qk_buf_free(&o.buf);
}

static void report(const qk_run_result *r)
{
    if (r->already_complete) {
        qk_info("%s holds this run already: nothing to do", r->final_folder);
        return;
    }
    qk_info("%lld examples, %s tokens in %s; %s rows in %s files, %s of them new: %s",
            (long long)r->examples, qk_human_count((double)r->tokens),
            qk_human_seconds(r->seconds_total), qk_human_count((double)r->rows_final),
            qk_human_count((double)r->files), qk_human_count((double)r->rows_added),
            r->final_folder);
}

/* The run is safe in final/ by now: whatever stops the push, the same push goes on later. */
static qk_status push(const qk_config *c, const qk_run_result *result, qk_error *err)
{
    qk_push_options options = {
        .folder = result->final_folder,
        .repo = c->output.hf_repo_id,
        .branch = c->output.hf_branch,
        .is_private = c->output.is_private,
    };
    if (!options.repo || !*options.repo) return QK_OK;
    qk_push_report pushed;
    qk_status s = qk_push_folder(&options, &pushed, err);
    if (s != QK_OK) return s == QK_ERR_RESUME ? s : qk_push_keep(&options, err);
    qk_info("%s: %zu of %zu files sent, %zu merged, head %.12s", options.repo, pushed.sent,
            pushed.files, pushed.merged, pushed.head);
    return QK_OK;
}

/* The configuration with --set, and --backend NAME as --set inference.backend=NAME after them. */
static qk_status load_config(const qk_args *args, qk_config *config, qk_error *err)
{
    const char *const *given, *backend = qk_value(args, "backend", NULL);
    size_t n = qk_values(args, "set", &given);
    const char **settings = qk_alloc(n + 1, sizeof *settings);
    char *last = backend ? qk_strf("inference.backend=%s", backend) : NULL;
    for (size_t i = 0; i < n; i++) settings[i] = given[i];
    if (last) settings[n++] = last;
    qk_status s = qk_config_load(config, qk_arg(args, 0), settings, n, err);
    free(settings);
    free(last);
    return s;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    qk_log_quiet(qk_has(args, "quiet"));
    qk_config config;
    QK_TRY(load_config(args, &config, err));
    qk_run_result result;
    qk_status s = qk_run(&config, &result, err);
    if (s == QK_OK) report(&result);
    if (s == QK_OK && qk_has(args, "json")) print_json(&result);
    if (s == QK_OK) s = push(&config, &result, err);
    qk_config_free(&config);
    return s;
}

static const qk_option options[] = {
    {"set", "KEY=VALUE", "change one key of the configuration; may be repeated"},
    {"backend", "NAME", "cpu, cuda, ref, or auto: the same as --set inference.backend=NAME"},
    {"quiet", NULL, "only warnings and errors"},
    {"json", NULL, "a summary for programs on standard output"},
    {NULL, NULL, NULL},
};

const qk_command qk_command_run = {
    .name = "run",
    .arguments = "CONFIG.yaml",
    .summary = "run the model over the dataset and write the sampled queries and keys",
    .details = "Results go to output.data_root/final. Work in progress is kept in "
               "output.data_root/staging:\n"
               "after a crash, a signal or a full disk the same command goes on where it stopped.\n"
               "With output.hf_repo_id the result is pushed at the end.",
    .options = options,
    .least = 1,
    .most = 1,
    .run = run,
};
