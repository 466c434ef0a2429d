/* qkengine diff A B: two datasets, see engine/tools/diff.h. */
#include "engine/base/text.h"
#include "engine/tools/diff.h"

#include <inttypes.h>
#include <stdio.h>

#include "engine/commands/cli.h"
#include "formats/json.h"

static bool differs(const qk_file_diff *f, double tolerance)
{
    return f->only_a || f->only_b || f->buckets || f->token_ids || f->labels ||
           !(f->rms <= tolerance) || !(f->lse_rms <= tolerance);
}

static void print_json(const qk_diff *d, double tolerance)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_bool(&o, "same", !differs(&d->total, tolerance));
    qk_json_add_num(&o, "tolerance", tolerance);
    qk_json_begin(&o, "files", '{');
    for (size_t i = 0; i < d->count; i++) {
        const qk_file_diff *f = &d->files[i];
        qk_json_begin(&o, f->name, '{');
        qk_json_add_bool(&o, "in_a", f->in_a);
        qk_json_add_bool(&o, "in_b", f->in_b);
        qk_json_add_int(&o, "rows_in_both", (int64_t)f->both);
        qk_json_add_int(&o, "rows_only_in_a", (int64_t)f->only_a);
        qk_json_add_int(&o, "rows_only_in_b", (int64_t)f->only_b);
        qk_json_add_int(&o, "buckets_that_differ", (int64_t)f->buckets);
        qk_json_add_int(&o, "token_ids_that_differ", (int64_t)f->token_ids);
        qk_json_add_int(&o, "labels_that_differ", (int64_t)f->labels);
        qk_json_add_num(&o, "rms", f->rms);
        qk_json_add_num(&o, "largest", f->largest);
        qk_json_add_num(&o, "lse_rms", f->lse_rms);
        qk_json_add_num(&o, "lse_largest", f->lse_largest);
        qk_json_end(&o, '}');
    }
    qk_json_end(&o, '}');
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

static void print_table(const qk_diff *d, double tolerance, const char *a, const char *b)
{
    const qk_file_diff *t = &d->total;
    size_t different = 0;
    for (size_t i = 0; i < d->count; i++) {
        const qk_file_diff *f = &d->files[i];
        if (!differs(f, tolerance)) continue;
        if (!different++)
            printf("%-24s %10s %10s %10s %10s %10s %10s\n", "file", "in both", "only in A",
                   "only in B", "RMS", "largest", "lse RMS");
        printf("%-24s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10.2e %10.2e %10.2e\n",
               qk_visible(f->name), f->both, f->only_a, f->only_b, f->rms, f->largest, f->lse_rms);
    }
    printf("A %s\nB %s\n%zu files, %zu of them different: %" PRIu64 " rows in both, %" PRIu64
           " only in A, %" PRIu64 " only in B, %" PRIu64 " with other buckets, %" PRIu64
           " with other token ids, %" PRIu64
           " with other labels; vectors at most %.2e RMS apart, log-sum-exps %.2e (allowed %.2e)\n",
           qk_visible(a), qk_visible(b), d->count, different, t->both, t->only_a, t->only_b,
           t->buckets, t->token_ids, t->labels, t->rms, t->lse_rms, tolerance);
}

static qk_status run(const qk_args *args, qk_error *err)
{
    double tolerance = qk_value_num(args, "tolerance");
    qk_diff d;
    QK_TRY(qk_diff_make(&d, qk_arg(args, 0), qk_arg(args, 1), err));
    if (qk_has(args, "json"))
        print_json(&d, tolerance);
    else
        print_table(&d, tolerance, qk_arg(args, 0), qk_arg(args, 1));
    bool different = differs(&d.total, tolerance);
    qk_diff_free(&d);
    /* The table said it all: no message, only the status. */
    return different ? qk_fail(err, QK_ERR_DIFFERS, NULL, "%s", "") : QK_OK;
}

static const qk_option options[] = {
    {"tolerance", "X",
     "allowed relative RMS difference of the vectors of a file, and of its column lse",
     .type = QK_VALUE_NUMBER, .fallback = "0"},
    QK_OPTION_JSON("every file, for programs"),
    {0},
};

const qk_command qk_command_diff = {
    .name = "diff",
    .arguments = {{"A", QK_VALUE_FOLDER}, {"B", QK_VALUE_FOLDER}},
    .summary = "compare two datasets: rows on one side only, distance of vectors",
    .details = "A and B are final/ folders. Rows are paired by file, example_id and position.\n"
               "Compared are bucket and vector, and where both have them token_id, lse and the\n"
               "labels: sliding_window, token_str, layer, head, kind.\n"
               "Exit status 1 when they differ beyond the tolerance.",
    .options = options,
    .run = run,
};
