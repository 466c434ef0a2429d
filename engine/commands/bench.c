/* qkengine bench: what capture costs, stage by stage. See engine/bench/measure.h. */
#include "engine/bench/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/team.h"
#include "engine/bench/report.h"
#include "engine/commands/cli.h"
#include "engine/families/presets.h"

/* To a file, or to standard output. */
static qk_status write_to(const char *path, const qk_buf *text, qk_error *err)
{
    if (strcmp(path, "-") != 0) return qk_write_file(path, text->data, text->size, err);
    fwrite(text->data, 1, text->size, stdout);
    return QK_OK;
}

static qk_status write_report(const char *path, void (*report)(const qk_bench_result *, qk_buf *),
                              const qk_bench_result *result, qk_error *err)
{
    qk_buf text = {0};
    report(result, &text);
    qk_status s = write_to(path, &text, err);
    qk_buf_free(&text);
    return s;
}

static bool is_stdout(const char *path)
{
    return path && !strcmp(path, "-");
}

static qk_status report(const qk_args *args, const qk_bench_result *result, qk_error *err)
{
    const char *csv = qk_value(args, "csv"), *html = qk_value(args, "html");
    if (csv) QK_TRY(write_report(csv, qk_bench_csv, result, err));
    if (html) QK_TRY(write_report(html, qk_bench_html, result, err));
    if (qk_has(args, "json")) {
        qk_json_out o = {0};
        qk_bench_json(result, &o);
        qk_print_json(&o);
    } else if (!is_stdout(csv) && !is_stdout(html)) {
        return write_report("-", qk_bench_text, result, err);
    }
    return QK_OK;
}

/* A report that cannot be written is known before minutes of measuring. */
static qk_status check_place(const char *path, qk_error *err)
{
    if (!path || is_stdout(path)) return QK_OK;
    const char *name = qk_path_name(path);
    char *folder = name == path ? qk_strdup(".") : qk_strndup(path, (size_t)(name - path));
    qk_status s = QK_OK;
    if (access(folder, W_OK | X_OK) != 0) s = qk_fail_create(err, "cannot write", path);
    free(folder);
    return s;
}

static qk_status read_options(const qk_args *args, qk_bench_options *o, qk_error *err)
{
    static const qk_dtype dtypes[] = {QK_F32, QK_BF16, QK_F16}; /* as the words of --dtype */
    const char *like = qk_value(args, "like"), *tokens = qk_value(args, "tokens");
    const char *dir = qk_value(args, "dir"), *tmp = getenv("TMPDIR");
    *o = (qk_bench_options){
        .folder = qk_arg(args, 0),
        .layers = (int)qk_value_int(args, "layers"),
        .dtype = dtypes[qk_value_word(args, "dtype")],
        .backend = qk_value(args, "backend"),
        .threads = (int)qk_value_int(args, "threads"),
        .rounds = (int)qk_value_int(args, "rounds"),
        .gather = qk_value(args, "against") != NULL,
        .dir = dir           ? dir
               : tmp && *tmp ? tmp
                             : "/tmp",
    };
    if (like && o->folder)
        return qk_fail(err, QK_ERR_USAGE, NULL, "%s and --like %s: one of them", o->folder, like);
    if (!like && !o->folder)
        return qk_fail(err, QK_ERR_USAGE,
                       "--like smollm2-135m needs no files; qkengine synth --list prints the names",
                       "a folder with a model, or --like NAME, is missing");
    if (o->folder && o->layers)
        return qk_fail(err, QK_ERR_USAGE, NULL,
                       "--layers belongs to --like: a model in a folder is measured whole");
    if (is_stdout(qk_value(args, "csv")) + is_stdout(qk_value(args, "html")) +
            qk_has(args, "json") >
        1)
        return qk_fail(err, QK_ERR_USAGE, "give files to the others",
                       "--json, --csv - and --html -: one of them has standard output");
    QK_TRY(check_place(qk_value(args, "csv"), err));
    QK_TRY(check_place(qk_value(args, "html"), err));
    QK_TRY(qk_bench_parse_sampler(qk_value(args, "sampler"), &o->sampler, err));
    if (tokens) QK_TRY(qk_bench_parse_tokens(tokens, o, err));
    return like ? qk_preset_need(like, &o->preset, err) : QK_OK;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    qk_bench_options options;
    qk_log_quiet(qk_has(args, "quiet"));
    QK_TRY(read_options(args, &options, err));
    if (options.threads) qk_threads_set(options.threads, "--threads");
    qk_interrupt_install(); /* the folder of files is not left behind */
    QK_TRY(qk_team_start(options.threads, err));
    qk_bench_result result;
    qk_bench *bench;
    qk_status s = qk_bench_run(&options, &result, &bench, err);
    if (s == QK_OK) s = report(args, &result, err);
    qk_bench_free(bench);
    return s;
}

static const qk_option options[] = {
    {"like", "NAME", "random weights with the shape of this model, in memory",
     .type = QK_VALUE_PRESET},
    {"layers", "N", "only its first N layers", .type = QK_VALUE_INT, .least = 1, .most = INT32_MAX},
    {"tokens", "N,N",
     "lengths of documents. Without it 512 and up to 4096, as long as that takes a minute or so",
     .type = QK_VALUE_TEXT},
    {"dtype", "NAME", "number format of weights and arithmetic", .type = QK_VALUE_WORD,
     .fallback = "float32", .words = QK_WORDS("float32", "bfloat16", "float16")},
    {"backend", "NAME", "what computes", .type = QK_VALUE_WORD, .fallback = "auto",
     .words = QK_WORDS("auto", "cpu", "ref", "cuda")},
    {"threads", "N", "CPU threads; 0 is as many as CPUs may be used", .type = QK_VALUE_INT,
     .fallback = "0", .most = 4096},
    {"sampler", "TYPE:SIZE/RATE",
     "log_uniform, uniform or all, with capture.min_bucket_size and capture.sampler.base_rate",
     .fallback = "log_uniform:128/16"},
    {"rounds", "R", "how often each way is measured. Without it what a minute allows, 6 to 25",
     .type = QK_VALUE_INT, .least = 1, .most = 10000},
    {"against", "WAY", "a way more: rows by a pass of its own in place of the attention kernel",
     .type = QK_VALUE_WORD, .words = QK_WORDS("gather")},
    {"dir", "FOLDER", "where files are written and removed again. Without it TMPDIR, or /tmp",
     .type = QK_VALUE_FOLDER},
    {"csv", "FILE", "the table as CSV, too; - is standard output", .type = QK_VALUE_FILE},
    {"html", "FILE", "a page with charts, too; - is standard output", .type = QK_VALUE_FILE},
    {"quiet", .help = "only warnings and errors"},
    QK_OPTION_JSON("the numbers for programs on standard output"),
    {0},
};

const qk_command qk_command_bench = {
    .name = "bench",
    .arguments = {{"MODEL", QK_VALUE_FOLDER, .optional = true}}, /* or --like */
    .usage = "[MODEL | --like NAME]",
    .summary = "measure what capture costs beside the forward, stage by stage",
    .details =
        "One document of random tokens, queries and keys of every head: the forward alone, with "
        "rows taken, with a unit written and flushed, with the units of all rounds merged to "
        "Parquet. The ways take turns, so that the drift of the machine cancels, and each is "
        "compared with the forward of its own round: the median of the ratios, with an interval "
        "of order statistics. A difference whose interval holds 0 is noise, and said to be; fewer "
        "than six rounds tell nothing.\n"
        "A peak is what this processor does on registers alone, or copies between two arrays.",
    .options = options,
    .run = run,
};
