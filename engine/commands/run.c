/* qkengine run CONFIG: the whole pipeline, see engine/run/run.h. */
#include "engine/run/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/launcher.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/team.h"
#include "engine/base/version.h"
#include "engine/commands/calls.h"
#include "engine/commands/cli.h"
#include "engine/config/beside.h"
#include "engine/push/push.h"
#include "engine/run/text_work.h"
#include "engine/run/timings.h"

enum { MAX_DIGITS = 9 };

static void print_json(const qk_run_result *r)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "final", r->final_folder);
    qk_json_add_str(&o, "split", r->split);
    qk_json_add_bool(&o, "already_complete",
                     r->outcome == QK_RUN_ALREADY_THERE || r->outcome == QK_RUN_MERGED_BY_OTHER);
    qk_json_add_bool(&o, "merged", r->outcome == QK_RUN_MERGED);
    qk_json_add_int(&o, "files", (int64_t)r->files);
    qk_json_add_int(&o, "rows", (int64_t)r->rows_final);
    qk_json_add_int(&o, "rows_added", (int64_t)r->rows_added);
    qk_json_add_int(&o, "units", r->units);
    qk_json_add_int(&o, "units_done", r->units_done);
    qk_json_add_int(&o, "units_found", r->units_found);
    qk_json_add_int(&o, "units_left", r->units_left);
    qk_json_add_int(&o, "examples", r->examples);
    qk_json_add_int(&o, "tokens", r->tokens);
    qk_json_add_num(&o, "seconds_forward", r->seconds_forward);
    qk_json_add_num(&o, "seconds_total", r->seconds_total);
    qk_json_begin(&o, "stages", '{');
    for (int s = 0; s < QK_STAGES; s++)
        qk_json_add_num(&o, qk_stage_name((qk_stage)s), r->stages[s]);
    qk_json_end(&o, '}');
    qk_json_add_num(&o, "flops", r->flops);
    qk_json_add_num(&o, "flops_without_slice", r->whole_flops);
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

static void warn_of_no_row(const qk_run_result *r, const qk_config *c)
{
    if (c->capture.sampler.listed || c->capture.key_sampler.listed)
        qk_warn("%s: no row was kept: no text has a position that capture.sampler.positions lists",
                r->final_folder);
    else
        qk_warn("%s: no row was kept: the texts are so short that nothing was drawn from them; "
                "raise tokenizer.max_length or capture.sampler.base_rate, or see what `qkengine "
                "inspect` shows of dataset.path",
                r->final_folder);
}

static void report(const qk_run_result *r, const qk_config *c, qk_shard shard)
{
    if (r->outcome == QK_RUN_MERGED && !r->rows_final && c->dataset.max_samples != 0)
        warn_of_no_row(r, c);
    if (r->outcome == QK_RUN_ALREADY_THERE) {
        qk_info("%s holds this run already: nothing to do", r->final_folder);
        return;
    }
    char slice[80];
    if (r->units_done)
        qk_info("%lld text%s, %s token%s here in %s%s", (long long)r->examples,
                qk_plural(r->examples), qk_human_count((double)r->tokens), qk_plural(r->tokens),
                qk_human_seconds(r->seconds_total),
                qk_slice_text(slice, sizeof slice, r->flops, r->whole_flops));
    /* Units are left that are not this process's to do. */
    bool several = strchr(r->busy, ' ') != NULL;
    if (r->outcome == QK_RUN_UNFINISHED && *r->busy)
        qk_info("%s: unit%s %s %s still being worked on by others; the last to finish merges",
                r->units_done ? "its part is done" : "no work is left for this process",
                several ? "s" : "", r->busy, several ? "are" : "is");
    else if (r->outcome == QK_RUN_UNFINISHED)
        qk_info("shard %lld/%lld is done: %lld of %lld units are here; copy the staging folders of "
                "all shards together and run the same command without --shard (in a folder that "
                "all share, the last to finish merges)",
                (long long)shard.index, (long long)shard.of, (long long)(r->units - r->units_left),
                (long long)r->units);
    if (r->outcome == QK_RUN_MERGED_BY_OTHER)
        qk_info("%s: already complete, another process has merged", r->final_folder);
    if (r->outcome == QK_RUN_MERGED)
        qk_info("%s rows in %s files, %s of them new: %s", qk_human_count((double)r->rows_final),
                qk_human_count((double)r->files), qk_human_count((double)r->rows_added),
                r->final_folder);
    if (!r->units_done && r->outcome != QK_RUN_MERGED) return;
    char stages[QK_TIMINGS_TEXT];
    qk_timings_text(r->stages, stages);
    qk_info("%s", stages);
}

/* The run is safe in final/ by now: whatever stops the push, the same push goes on later. */
static qk_status push(const qk_config *c, const qk_staging *staging, const qk_run_result *result,
                      qk_error *err)
{
    qk_push_options options = {
        .folder = result->final_folder,
        .repo = c->output.hf_repo_id,
        .branch = c->output.hf_branch,
        .is_private = c->output.is_private,
        .held = result->outcome == QK_RUN_MERGED ? staging : NULL,
    };
    /* Of those who share a run, the one that has merged pushes. */
    bool is_mine = result->outcome == QK_RUN_MERGED || result->outcome == QK_RUN_ALREADY_THERE;
    if (!is_mine || !options.repo || !*options.repo) return QK_OK;
    qk_push_report pushed;
    qk_status s = qk_push_folder(&options, &pushed, err);
    if (s != QK_OK) return s == QK_ERR_RESUME ? s : qk_push_keep(&options, err);
    qk_info("%s: %zu of %zu files sent, %zu merged, head %.12s", options.repo, pushed.sent,
            pushed.files, pushed.merged, pushed.head);
    qk_show_calls(options.folder, result->split, options.repo, options.branch);
    return QK_OK;
}

/* The configuration with --set, and --backend NAME as --set inference.backend=NAME after them. */
static qk_status load_config(const qk_args *args, qk_config *config, qk_error *err)
{
    const char *const *given, *backend = qk_value(args, "backend");
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

/* "1/4": 0 <= I < N; "auto": what the launcher says. */
static qk_status read_shard(const qk_args *args, qk_shard *shard, qk_error *err)
{
    const char *text = qk_value(args, "shard"), *slash = strchr(text, '/');
    size_t n = strlen(text), left = slash ? (size_t)(slash - text) : n, right = n - left - 1;
    bool plain = strspn(text, "0123456789/") == n && slash && !strchr(slash + 1, '/');
    *shard = (qk_shard){0, 1};
    if (!strcmp(text, "auto")) {
        qk_launch launch;
        QK_TRY(qk_launch_find(&launch, getenv, err));
        qk_info("rank %lld of %lld, from %s; processes that share a data_root need no rank",
                (long long)launch.rank, (long long)launch.world, launch.from);
        *shard = (qk_shard){launch.rank, launch.world};
        return QK_OK;
    }
    if (plain && left >= 1 && left <= MAX_DIGITS && right >= 1 && right <= MAX_DIGITS) {
        *shard = (qk_shard){strtoll(text, NULL, 10), strtoll(slash + 1, NULL, 10)};
        if (shard->index < shard->of) return QK_OK;
    }
    return qk_fail(
        err, QK_ERR_USAGE,
        "--shard 0/4, --shard 1/4, ... are the shards of four; --shard auto asks the launcher",
        "--shard %.100s: I/N is needed, two whole numbers with 0 <= I < N", text);
}

static qk_status run(const qk_args *args, qk_error *err)
{
    char build[QK_BUILD_TEXT];
    qk_log_quiet(qk_has(args, "quiet"));
    qk_interrupt_install(); /* from the first moment: whatever ends it, the same command goes on */
    qk_build(build);
    qk_info("version %s", build);
    qk_config config;
    qk_run_options options = {.goal = QK_RUN_WHOLE};
    QK_TRY(read_shard(args, &options.shard, err));
    QK_TRY(load_config(args, &config, err));
    qk_run_result result;
    qk_config_check_root(&config);
    char *folder = qk_strf("%s/staging", config.output.data_root);
    qk_staging staging = {.folder = folder, .lock = -1};
    qk_status s = qk_team_start((int)config.inference.threads, err);
    if (s == QK_OK) s = qk_run(&config, &options, &staging, &result, err);
    if (s == QK_OK) report(&result, &config, options.shard);
    if (s == QK_OK && qk_has(args, "json")) print_json(&result);
    if (s == QK_OK && result.outcome != QK_RUN_UNFINISHED)
        qk_show_calls(result.final_folder, result.split, NULL, NULL);
    if (s == QK_OK) s = push(&config, &staging, &result, err);
    if (s != QK_OK) qk_config_explain_paths(&config, err);
    qk_staging_close(&staging); /* kept through the push */
    free(folder);
    qk_config_free(&config);
    return s;
}

static const qk_option options[] = {
    {"set", "KEY=VALUE", "change one key of the configuration; lists as 0,1 or, quoted, '[0,1]'",
     .type = QK_VALUE_SETTING, .repeated = true},
    {"backend", "NAME", "the same as --set inference.backend=NAME", .type = QK_VALUE_WORD,
     .words = QK_WORDS("auto", "cpu", "ref", "cuda")},
    {"shard", "I/N",
     "only the units whose number leaves I when divided by N, or auto: I and N of Slurm, MPI, "
     "torchrun and others. For machines without a common folder: those that share data_root need "
     "no rank",
     .fallback = "0/1"},
    {"quiet", .help = "only warnings and errors"},
    QK_OPTION_JSON("a summary for programs on standard output"),
    {0},
};

const qk_command qk_command_run = {
    .name = "run",
    .arguments = {{"CONFIG.yaml", QK_VALUE_CONFIG}},
    .summary = "run the model over the dataset, write the sampled queries and keys",
    .details =
        "CONFIG.yaml may be written as --config CONFIG.yaml, too. "
        "Results go to output.data_root/final. Work in progress is kept in "
        "output.data_root/staging: after a crash, a signal or a full disk the same command goes on "
        "where it stopped.\n"
        "Start it as often as you like, on any machine that sees the folder: all share the work.\n"
        "With output.hf_repo_id the result is pushed at the end.",
    .options = options,
    .run = run,
};
