/* The report for programs. See report.h. */
#include "engine/bench/report.h"

static void add_rate(qk_json_out *o, const char *key, bool known, double value)
{
    if (known)
        qk_json_add_num(o, key, value);
    else
        qk_json_add_null(o, key);
}

static void add_difference(qk_json_out *o, const char *key, const qk_difference *d)
{
    qk_verdict verdict = qk_difference_judge(d);
    bool measured = verdict != QK_UNMEASURED;
    qk_json_begin(o, key, '{');
    qk_json_add_str(o, "verdict", qk_verdict_name(verdict));
    add_rate(o, "percent", verdict == QK_TOLD, d->percent);
    add_rate(o, "low", measured, d->low);
    add_rate(o, "high", measured, d->high);
    add_rate(o, "confidence", measured, d->confidence);
    qk_json_end(o, '}');
}

static void add_stage(const qk_bench_result *r, const qk_bench_length *l, qk_bench_stage s,
                      qk_json_out *o)
{
    const qk_bench_timing *t = &l->stages[s];
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "stage", qk_bench_stage_name(s));
    add_rate(o, "seconds", r->timed, t->seconds);
    add_rate(o, "seconds_least", r->timed, t->least);
    add_rate(o, "seconds_most", r->timed, t->most);
    add_rate(o, "cpu_seconds", r->timed, t->cpu_seconds);
    add_rate(o, "tokens_per_second", r->timed, l->tokens / t->seconds);
    qk_json_add_num(o, "bytes", t->bytes);
    if (s != QK_BENCH_FORWARD) {
        add_difference(o, "added", &t->wall);
        add_difference(o, "added_cpu", &t->cpu);
    }
    qk_json_end(o, '}');
}

static void add_length(const qk_bench_result *r, const qk_bench_length *l, qk_json_out *o)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_int(o, "tokens", l->tokens);
    qk_json_add_int(o, "rounds", (int64_t)l->rounds);
    qk_json_add_num(o, "flops", l->flops);
    qk_json_add_num(o, "rows", l->rows);
    qk_json_add_int(o, "files", l->files);
    add_rate(o, "commit_seconds", r->timed, l->commit_seconds);
    add_rate(o, "merge_seconds", r->timed, l->merge_seconds);
    add_rate(o, "merge_cpu_seconds", r->timed, l->merge_cpu_seconds);
    qk_json_begin(o, "stages", '[');
    for (int s = 0; s < QK_BENCH_STAGES; s++)
        if (l->stages[s].measured) add_stage(r, l, (qk_bench_stage)s, o);
    qk_json_end(o, ']');
    qk_json_end(o, '}');
}

void qk_bench_json(const qk_bench_result *r, qk_json_out *o)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "model", r->model);
    qk_json_add_bool(o, "random_weights", r->is_random);
    qk_json_add_str(o, "dtype", r->dtype);
    qk_json_add_str(o, "device", r->device);
    qk_json_add_int(o, "layers", r->layers);
    qk_json_add_int(o, "query_heads", r->q_heads);
    qk_json_add_int(o, "key_heads", r->k_heads);
    qk_json_add_int(o, "head_dim", r->head_dim);
    qk_json_add_int(o, "threads", r->threads);
    qk_json_add_str(o, "sampler", r->sampler);
    qk_json_add_str(o, "files_in", r->disk);
    qk_json_add_str(o, "version", r->build);
    qk_json_begin(o, "peaks", '{');
    add_rate(o, "float32_flops_per_second", r->peaks.vector_flops > 0, r->peaks.vector_flops);
    add_rate(o, "bfloat16_flops_per_second", r->peaks.matrix_flops > 0, r->peaks.matrix_flops);
    add_rate(o, "copy_bytes_per_second", r->peaks.copy_bytes > 0, r->peaks.copy_bytes);
    qk_json_end(o, '}');
    qk_json_begin(o, "lengths", '[');
    for (size_t i = 0; i < r->n_lengths; i++) add_length(r, &r->lengths[i], o);
    qk_json_end(o, ']');
    qk_json_add_num(o, "seconds", r->seconds);
    qk_json_end(o, '}');
}
