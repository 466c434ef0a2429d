/* qkengine merge CONFIG: the end of a run without its work, see engine/run/run.h and
 * engine/run/partial.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/team.h"
#include "engine/base/version.h"
#include "engine/commands/calls.h"
#include "engine/commands/cli.h"
#include "engine/config/beside.h"
#include "engine/run/run.h"

static void print_json(const qk_run_result *r)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "folder", r->final_folder);
    qk_json_add_str(&o, "split", r->split);
    qk_json_add_bool(&o, "partial", r->outcome == QK_RUN_MERGED_PART);
    qk_json_add_bool(&o, "already_complete",
                     r->outcome == QK_RUN_ALREADY_THERE || r->outcome == QK_RUN_MERGED_BY_OTHER);
    qk_json_add_int(&o, "files", (int64_t)r->files);
    qk_json_add_int(&o, "rows", (int64_t)r->rows_final);
    if (r->outcome == QK_RUN_MERGED_PART) qk_json_add_int(&o, "units_merged", r->units_merged);
    if (r->units < 0)
        qk_json_add_null(&o, "units");
    else
        qk_json_add_int(&o, "units", r->units);
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

/* "12 of 75 units are finished", or of how many is not known. */
static qk_status refuse(const qk_run_result *r, qk_error *err)
{
    static const char hint[] = "qkengine run computes the others; qkengine merge --partial makes a "
                               "dataset of those that are there";
    long long there = (long long)r->units_found;
    if (r->units < 0)
        return qk_fail(err, QK_ERR_RESUME, hint,
                       "%lld unit%s finished; how many are missing is not known before the dataset "
                       "was read to its end",
                       there, there == 1 ? " is" : "s are");
    return qk_fail(err, QK_ERR_RESUME, hint, "%lld of %lld unit%s %s missing",
                   (long long)r->units_left, (long long)r->units, qk_plural(r->units),
                   r->units_left == 1 ? "is" : "are");
}

static void report(const qk_run_result *r, bool part)
{
    if (r->outcome == QK_RUN_ALREADY_THERE || r->outcome == QK_RUN_MERGED_BY_OTHER)
        qk_info("%s holds this run already%s", r->final_folder,
                part ? ", all of it: no part is made, use that folder" : ": nothing to do");
    else
        qk_info("%s row%s in %s file%s: %s", qk_human_count((double)r->rows_final),
                qk_plural((int64_t)r->rows_final), qk_human_count((double)r->files),
                qk_plural((int64_t)r->files), r->final_folder);
    if (r->outcome != QK_RUN_MERGED_PART) return;
    long long merged = (long long)r->units_merged;
    if (r->units < 0)
        qk_info(
            "partial: %lld unit%s; of how many is not known before the dataset was read to its end",
            merged, qk_plural(merged));
    else
        qk_info("partial: %lld of %lld units", merged, (long long)r->units);
    if (*r->missing)
        qk_info("missing: unit%s %s; manifest.json lists those that are there",
                strpbrk(r->missing, " ,") ? "s" : "", r->missing);
}

static qk_status run(const qk_args *args, qk_error *err)
{
    char build[QK_BUILD_TEXT];
    const char *const *settings;
    size_t n = qk_values(args, "set", &settings);
    qk_config config;
    qk_run_result result;
    qk_log_quiet(qk_has(args, "quiet"));
    qk_interrupt_install();
    qk_build(build);
    qk_info("version %s", build);
    QK_TRY(qk_config_load(&config, qk_arg(args, 0), settings, n, err));
    const qk_run_options options = {.shard = {0, 1},
                                    .goal = qk_has(args, "partial") ? QK_RUN_PART : QK_RUN_MERGE};
    char *folder = qk_strf("%s/staging", config.output.data_root);
    qk_staging staging = {.folder = folder, .lock = -1};
    qk_status s = qk_team_start((int)config.inference.threads, err);
    if (s == QK_OK) s = qk_run(&config, &options, &staging, &result, err);
    qk_staging_close(&staging);
    if (s != QK_OK) qk_config_explain_paths(&config, err);
    if (s == QK_OK && result.outcome == QK_RUN_UNFINISHED) s = refuse(&result, err);
    if (s == QK_OK) {
        report(&result, options.goal == QK_RUN_PART);
        if (qk_has(args, "json")) print_json(&result);
        qk_show_calls(result.final_folder, result.split, NULL, NULL);
    }
    free(folder);
    qk_config_free(&config);
    return s;
}

static const qk_option options[] = {
    {"partial", .help = "of the units that are finished now, in output.data_root/partial"},
    {"set", "KEY=VALUE", "change one key of the configuration; lists as 0,1 or, quoted, '[0,1]'",
     .type = QK_VALUE_SETTING, .repeated = true},
    {"quiet", .help = "only warnings and errors"},
    QK_OPTION_JSON("a summary for programs on standard output"),
    {0},
};

const qk_command qk_command_merge = {
    .name = "merge",
    .arguments = {{"CONFIG.yaml", QK_VALUE_CONFIG}},
    .summary = "make the dataset of a run's finished units, without computing",
    .details =
        "When all units are there it writes output.data_root/final, as run does at its end; else "
        "it says how many are missing, with exit status 3.\n"
        "With --partial those that are there become a dataset of their own, in "
        "output.data_root/partial: manifest.json and README.md say that it is a part, and push "
        "refuses it without --partial. The units stay where they are, also while others compute: "
        "the run goes on, and ends with the same bytes. A later call replaces the part by a larger "
        "one.",
    .options = options,
    .run = run,
};
