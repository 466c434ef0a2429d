/* The report for people, and the words that all reports share. See report.h. */
#include "engine/bench/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"

const char *qk_bench_stage_title(qk_bench_stage stage)
{
    static const char *const titles[] = {
        [QK_BENCH_FORWARD] = "forward",         [QK_BENCH_ROWS] = "+ rows taken",
        [QK_BENCH_GATHER] = "+ rows by gather", [QK_BENCH_UNIT] = "+ unit written",
        [QK_BENCH_MERGED] = "+ merged",
    };
    return titles[stage];
}

const char *qk_bench_stage_name(qk_bench_stage stage)
{
    static const char *const names[] = {[QK_BENCH_FORWARD] = "forward",
                                        [QK_BENCH_ROWS] = "rows",
                                        [QK_BENCH_GATHER] = "gather",
                                        [QK_BENCH_UNIT] = "unit",
                                        [QK_BENCH_MERGED] = "merged"};
    return names[stage];
}

const char *qk_verdict_name(qk_verdict verdict)
{
    static const char *const names[] = {
        [QK_TOLD] = "told", [QK_NOISE] = "noise", [QK_FEW] = "few", [QK_UNMEASURED] = "unmeasured"};
    return names[verdict];
}

/* Upwards, to a digit behind the point, or two where there is nothing before them. */
static double round_up(double percent)
{
    double step = percent < 0.1 ? 0.01 : 0.1;
    return ceil(percent / step - 1e-9) * step;
}

void qk_bench_added_text(const qk_difference *d, char out[QK_ADDED_TEXT])
{
    double noise = round_up(qk_noise_of(d));
    int digits = noise < 0.1 ? 2 : 1;
    switch (qk_difference_judge(d)) {
    case QK_UNMEASURED: snprintf(out, QK_ADDED_TEXT, "-"); break;
    case QK_TOLD:
        snprintf(out, QK_ADDED_TEXT, "%+.2f %% (%.2f to %.2f)", d->percent, d->low, d->high);
        break;
    case QK_NOISE: snprintf(out, QK_ADDED_TEXT, "below %.*f %%", digits, noise); break;
    case QK_FEW: snprintf(out, QK_ADDED_TEXT, "? (%.1f to %.1f)", d->low, d->high); break;
    }
}

double qk_bench_peak_of(const qk_bench_result *r)
{
    const qk_bench_peaks *p = &r->peaks;
    return !strcmp(r->dtype, "bfloat16") && p->matrix_flops > 0 ? p->matrix_flops : p->vector_flops;
}

static void add_head(const qk_bench_result *r, qk_buf *out)
{
    const qk_bench_peaks *p = &r->peaks;
    qk_buf_addf(out, "model   %s%s, %s, %d layer%s, %d query and %d key heads of %d\n", r->model,
                r->is_random ? " (random weights)" : "", r->dtype, r->layers,
                r->layers == 1 ? "" : "s", r->q_heads, r->k_heads, r->head_dim);
    qk_buf_addf(out, "device  %s\n", r->device);
    qk_buf_addf(out, "rows    %s, queries and keys of every head\n", r->sampler);
    qk_buf_addf(out, "files   in %s\n", r->disk);
    if (p->vector_flops > 0) {
        qk_buf_addf(out, "peaks   %sFLOP/s of float32 multiply-adds",
                    qk_human_count(p->vector_flops));
        if (p->matrix_flops > 0)
            qk_buf_addf(out, ", %sFLOP/s of bfloat16", qk_human_count(p->matrix_flops));
        qk_buf_addf(out, ", %s/s copied\n", qk_human_bytes(p->copy_bytes));
    } else {
        qk_buf_addf(out, "peaks   -\n");
    }
}

static void add_stage(const qk_bench_result *r, const qk_bench_length *l, qk_bench_stage s,
                      qk_buf *out)
{
    const qk_bench_timing *t = &l->stages[s];
    char seconds[40] = "-", rate[16] = "-", wall[QK_ADDED_TEXT] = "", cpu[QK_ADDED_TEXT] = "";
    if (r->timed) {
        int digits = t->seconds < 1 ? 3 : 2;
        snprintf(seconds, sizeof seconds, "%.*f (%.*f-%.*f)", digits, t->seconds, digits, t->least,
                 digits, t->most);
        snprintf(rate, sizeof rate, "%.0f", l->tokens / t->seconds);
    }
    if (s != QK_BENCH_FORWARD) {
        qk_bench_added_text(&t->wall, wall);
        qk_bench_added_text(&t->cpu, cpu);
    }
    int used = (int)out->size;
    qk_buf_addf(out, "  %-16s  %-19s %8s %9s  %-23s %s", qk_bench_stage_title(s), seconds, rate,
                qk_human_bytes(t->bytes), wall, cpu);
    while ((int)out->size > used && out->data[out->size - 1] == ' ') out->size--;
    qk_buf_add_byte(out, '\n');
}

/* What is not a document's. */
static void add_once(const qk_bench_result *r, const qk_bench_length *l, qk_buf *out)
{
    if (!r->timed) return;
    qk_buf_addf(out, "  once for each unit: its commit, %.1f ms, which is in the above\n",
                1000 * l->commit_seconds);
    qk_buf_addf(
        out,
        "  once for a run: making %lld files and having them on the disk, %.2f s, which is not\n",
        (long long)l->files, l->merge_seconds);
}

double qk_bench_cpu_share(const qk_bench_result *r, const qk_bench_length *l)
{
    double seconds = l->stages[QK_BENCH_FORWARD].cpu_seconds / r->threads;
    return 100 * l->flops / seconds / qk_bench_peak_of(r);
}

/* What is left above the forward. */
static void add_share(const qk_bench_result *r, const qk_bench_length *l, qk_buf *out)
{
    const qk_bench_timing *t = &l->stages[QK_BENCH_FORWARD];
    double peak = qk_bench_peak_of(r), copies = r->peaks.copy_bytes;
    if (!r->timed) return;
    qk_buf_addf(out, "  forward: %sFLOP/s", qk_human_count(l->flops / t->seconds));
    if (peak > 0)
        qk_buf_addf(out, ", %.0f %% of the peak, by CPU time %.0f %%",
                    100 * l->flops / t->seconds / peak, qk_bench_cpu_share(r, l));
    qk_buf_addf(out, "; %s/s", qk_human_bytes(t->bytes / t->seconds));
    if (copies > 0) qk_buf_addf(out, ", %.0f %% of copies", 100 * t->bytes / t->seconds / copies);
    qk_buf_addf(out, "\n");
}

static void add_length(const qk_bench_result *r, const qk_bench_length *l, qk_buf *out)
{
    qk_buf_addf(out, "\n%d token%s: %zu round%s; %s rows of a document\n", l->tokens,
                l->tokens == 1 ? "" : "s", l->rounds, l->rounds == 1 ? "" : "s",
                qk_human_count(l->rows));
    qk_buf_addf(out, "  %-16s  %-19s %8s %9s  %-23s %s\n", "of a document", "seconds", "tokens/s",
                "bytes", "added to the forward", "added CPU time");
    for (int s = 0; s < QK_BENCH_STAGES; s++)
        if (l->stages[s].measured) add_stage(r, l, (qk_bench_stage)s, out);
    add_once(r, l, out);
    add_share(r, l, out);
}

void qk_bench_text(const qk_bench_result *r, qk_buf *out)
{
    add_head(r, out);
    for (size_t i = 0; i < r->n_lengths; i++) add_length(r, &r->lengths[i], out);
    if (!r->timed) return;
    qk_buf_add_str(out,
                   "\nadded: the median of the rounds' ratios and its interval of 95 %;  below: "
                   "no more than the noise of this machine;  ?: too few rounds\n");
}
