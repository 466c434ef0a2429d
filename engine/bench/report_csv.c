/* The report as a table for other programs: a row for each length and stage. What is not known is
 * empty. See report.h. */
#include "engine/bench/report.h"

#include <string.h>

static void add_text(qk_buf *out, const char *text)
{
    bool plain = !text[strcspn(text, ",\"\n\r")];
    if (!plain) qk_buf_add_byte(out, '"');
    for (; *text; text++) {
        if (*text == '"') qk_buf_add_byte(out, '"');
        qk_buf_add_byte(out, (uint8_t)*text);
    }
    if (!plain) qk_buf_add_byte(out, '"');
}

static void add_number(qk_buf *out, bool known, double value)
{
    qk_buf_add_byte(out, ',');
    if (known) qk_buf_addf(out, "%.6g", value);
}

static void add_difference(qk_buf *out, const qk_difference *d)
{
    qk_verdict verdict = qk_difference_judge(d);
    bool measured = verdict != QK_UNMEASURED;
    add_number(out, verdict == QK_TOLD, d->percent);
    add_number(out, measured, d->low);
    add_number(out, measured, d->high);
    add_number(out, measured, d->confidence);
    qk_buf_addf(out, ",%s", qk_verdict_name(verdict));
}

static void add_row(const qk_bench_result *r, const qk_bench_length *l, qk_bench_stage s,
                    qk_buf *out)
{
    const qk_bench_timing *t = &l->stages[s];
    add_text(out, r->model);
    qk_buf_add_byte(out, ',');
    add_text(out, r->device);
    qk_buf_addf(out, ",%s,%d,%s,%d,%zu,%s", r->dtype, r->layers, r->sampler, l->tokens, l->rounds,
                qk_bench_stage_name(s));
    add_number(out, r->timed, t->seconds);
    add_number(out, r->timed, t->least);
    add_number(out, r->timed, t->most);
    add_number(out, r->timed, t->cpu_seconds);
    add_number(out, r->timed, l->tokens / t->seconds);
    add_number(out, true, t->bytes);
    add_number(out, s == QK_BENCH_FORWARD, l->flops);
    add_difference(out, &t->wall);
    add_difference(out, &t->cpu);
    qk_buf_add_byte(out, '\n');
}

void qk_bench_csv(const qk_bench_result *r, qk_buf *out)
{
    qk_buf_add_str(out, "model,device,dtype,layers,sampler,tokens,rounds,stage,seconds,"
                        "seconds_least,seconds_most,cpu_seconds,tokens_per_second,bytes,flops,"
                        "added_percent,added_low,added_high,confidence,verdict,cpu_added_percent,"
                        "cpu_added_low,cpu_added_high,cpu_confidence,cpu_verdict\n");
    for (size_t i = 0; i < r->n_lengths; i++)
        for (int s = 0; s < QK_BENCH_STAGES; s++)
            if (r->lengths[i].stages[s].measured)
                add_row(r, &r->lengths[i], (qk_bench_stage)s, out);
}
