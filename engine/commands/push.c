/* qkengine push FOLDER REPO: see engine/push/push.h. */
#include "engine/push/push.h"

#include <stdio.h>

#include "engine/base/log.h"
#include "engine/base/team.h"
#include "engine/base/version.h"
#include "engine/commands/cli.h"
#include "formats/json.h"

static void print_json(const qk_push_report *r)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "commit", r->head);
    qk_json_add_int(&o, "files", (int64_t)r->files);
    qk_json_add_int(&o, "sent", (int64_t)r->sent);
    qk_json_add_int(&o, "deleted", (int64_t)r->deleted);
    qk_json_add_int(&o, "merged", (int64_t)r->merged);
    qk_json_add_int(&o, "commits", (int64_t)r->commits);
    qk_json_add_int(&o, "bytes_sent", (int64_t)r->bytes_sent);
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

static qk_status run(const qk_args *args, qk_error *err)
{
    char build[QK_BUILD_TEXT];
    qk_log_quiet(qk_has(args, "quiet"));
    qk_build(build);
    qk_info("version %s", build);
    qk_push_options options = {
        .folder = qk_arg(args, 0),
        .repo = qk_arg(args, 1),
        .branch = qk_value(args, "branch"),
        .is_private = qk_has(args, "private"),
        .partial = qk_has(args, "partial"),
        .delete_stale = qk_has(args, "delete-stale"),
    };
    qk_push_report r;
    QK_TRY(qk_team_start(0, err));
    QK_TRY(qk_push_folder(&options, &r, err));
    if (!r.commits)
        qk_info("%s holds these %zu files already: nothing to do", options.repo, r.files);
    else
        qk_info("%s: %zu of %zu files sent (%s), %zu merged, %zu deleted, %zu commits; head %.12s",
                options.repo, r.sent, r.files, qk_human_bytes((double)r.bytes_sent), r.merged,
                r.deleted, r.commits, r.head);
    if (qk_has(args, "json")) print_json(&r);
    return QK_OK;
}

static const qk_option options[] = {
    {"branch", "NAME",
     .help = "the branch to push to, made when it is absent; main when not given"},
    {"private", .help = "make the repository private when it is created"},
    {"partial", .help = "also what merge --partial has made of a run that is not finished"},
    {"delete-stale",
     .help = "the branch becomes the folder: delete its other files, merge nothing"},
    {"quiet", .help = "only warnings and errors"},
    QK_OPTION_JSON("a summary for programs on standard output"),
    {0},
};

const qk_command qk_command_push = {
    .name = "push",
    .arguments = {{"FOLDER", QK_VALUE_FOLDER}, {"OWNER/NAME"}},
    .summary = "upload the final/ folder of a run to a dataset on the Hub",
    .details =
        "Rows that the branch has and FOLDER lacks are merged into FOLDER first; files that are "
        "equal are not sent. Symbolic links, .env and token files are never sent. The token comes "
        "from HF_TOKEN or the token file. After any interruption the same command goes on.",
    .options = options,
    .run = run,
};
