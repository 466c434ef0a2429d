/* qkengine join A B OUT: see engine/output/join_folders.h. */
#include "engine/output/join_folders.h"

#include <inttypes.h>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/team.h"
#include "engine/base/version.h"
#include "engine/commands/cli.h"

static void print_json(const qk_join_report *r)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_int(&o, "splits", (int64_t)r->splits);
    qk_json_add_int(&o, "files", (int64_t)r->files);
    qk_json_add_int(&o, "rows", (int64_t)r->rows);
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

static qk_status run(const qk_args *args, qk_error *err)
{
    char build[QK_BUILD_TEXT];
    qk_join_report report;
    qk_log_quiet(qk_has(args, "quiet"));
    qk_build(build);
    qk_info("version %s", build);
    QK_TRY(qk_team_start(0, err));
    QK_TRY(qk_join_folders(qk_arg(args, 0), qk_arg(args, 1), qk_arg(args, 2), &report, err));
    qk_info("%s: %" PRIu64 " rows in %" PRIu64 " file%s of %" PRIu64 " split%s", qk_arg(args, 2),
            report.rows, report.files, qk_plural((int64_t)report.files), report.splits,
            qk_plural((int64_t)report.splits));
    if (qk_has(args, "json")) print_json(&report);
    return QK_OK;
}

static const qk_option options[] = {
    {"quiet", .help = "only warnings and errors"},
    QK_OPTION_JSON("a summary for programs on standard output"),
    {0},
};

const qk_command qk_command_join = {
    .name = "join",
    .arguments = {{"A", QK_VALUE_FOLDER}, {"B", QK_VALUE_FOLDER}, {"OUT", QK_VALUE_FOLDER}},
    .summary = "make a new folder of the rows of two final/ folders",
    .details =
        "Rows of A come first, then those that only B has: a row is kept once for each example id "
        "and position. A model that one of them has is copied. Refused are rows of two meanings, "
        "two texts under one id, and folders of two layouts. OUT must be new or empty; it is "
        "there when it is whole. Until then the work lies in OUT.joining, and after any "
        "interruption the same command begins anew.",
    .options = options,
    .run = run,
};
