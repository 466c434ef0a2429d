/* See pass.h. */
#include "engine/run/pass.h"

#include <stdio.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/config/config.h"
#include "engine/dataset/dataset.h"
#include "engine/run/compute_unit.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"

/* ---- progress ---- */

static void print_progress(const qk_pass *p, bool done)
{
    const qk_computed c = qk_compute_done(p->compute);
    double seconds = qk_now() - c.began, rate = seconds > 0 ? (double)c.tokens / seconds : 0;
    char time_left[64] = "", here[64] = "";
    /* Those who share the work go on at the pace of all together. */
    if (p->rows > 0 && c.examples > 0 && !done)
        snprintf(time_left, sizeof time_left, ", %s left",
                 qk_human_seconds((double)p->left * seconds / (double)(c.examples + p->others)));
    if (p->seen != c.examples)
        snprintf(here, sizeof here, ", %lld of them here", (long long)c.examples);
    qk_progress(done, "unit %lld: %lld%s%s examples%s, %s tokens, %.0f tokens/s, %s rows%s",
                (long long)p->unit, (long long)p->seen, p->rows > 0 ? " of " : "",
                p->rows > 0 ? qk_human_count((double)p->rows) : "", here,
                qk_human_count((double)c.tokens), rate, qk_human_count((double)c.rows), time_left);
}

void qk_pass_show(void *pass)
{
    qk_pass *p = pass;
    int64_t new = qk_compute_done(p->compute).examples - p->examples;
    p->examples += new;
    p->seen += new;
    p->left -= new;
    print_progress(p, false);
}

/* ---- units ---- */

static bool is_open(const qk_pass *p, int64_t unit)
{
    return unit % p->shard.of == p->shard.index && !qk_units_has(&p->finished, unit);
}

static qk_status wants_unit(void *context, int64_t unit, bool *wanted, qk_error *err)
{
    qk_pass *p = context;
    qk_claim_state state;
    *wanted = false;
    if (unit >= p->stop || !is_open(p, unit)) return QK_OK;
    QK_TRY(qk_claim_take(&p->claims[unit % QK_PREFETCH_UNITS], p->staging, unit, &state, err));
    *wanted = state == QK_CLAIM_MINE;
    return QK_OK;
}

static qk_status start(qk_pass *p, qk_error *err)
{
    QK_TRY(qk_dataset_begin(p->dataset, err));
    qk_units_free(&p->finished);
    QK_TRY(qk_staging_finished(p->staging, &p->finished, err));
    p->rows = qk_dataset_rows(p->dataset);
    p->left = 0; /* what this shard still needs, of a dataset whose length is known */
    int64_t size = p->plan->unit_examples;
    for (int64_t u = 0; u * size < p->rows && u < p->stop; u++)
        if (is_open(p, u)) p->left += p->rows - u * size < size ? p->rows - u * size : size;
    qk_prefetch_plan plan = {
        .dataset = p->dataset,
        .tokenizer = p->tokenizer,
        .max_length = p->plan->config->tokenizer.max_length,
        .unit_examples = p->plan->unit_examples,
        .threads = (int)p->plan->config->inference.threads,
        .wants = wants_unit,
        .context = p,
    };
    return qk_prefetch_new(&p->prefetch, &plan, err);
}

static qk_status next_unit(qk_pass *p, bool *more, qk_error *err)
{
    const qk_prefetch_unit *unit;
    QK_TRY(qk_interrupt_check(err));
    QK_TRY(qk_prefetch_next(p->prefetch, &unit, err));
    *more = unit->more;
    if (!unit->count) return QK_OK;
    if (unit->wanted) {
        qk_claim *claim = &p->claims[p->unit % QK_PREFETCH_UNITS];
        qk_status s = qk_compute_unit(p->compute, unit, claim, err);
        qk_claim_drop(claim);
        if (s != QK_OK) return s;
        p->units_done++;
    } else {
        bool by_others = is_open(p, p->unit);
        p->units_found++;
        p->seen += unit->count;
        if (by_others) p->left -= unit->count;
        if (by_others && qk_compute_done(p->compute).began > 0) p->others += unit->count;
    }
    p->unit++;
    return QK_OK;
}

qk_status qk_pass_run(qk_pass *p, int64_t stop, qk_error *err)
{
    bool more = true;
    for (int i = 0; i < QK_PREFETCH_UNITS; i++) p->claims[i].fd = -1;
    p->stop = stop;
    p->seen = p->examples;
    p->unit = 0;
    qk_status s = start(p, err);
    while (s == QK_OK && more && p->unit < stop) s = next_unit(p, &more, err);
    if (s != QK_OK) qk_inputs_stop(p->inputs); /* the prefetch may wait for a file */
    qk_prefetch_free(p->prefetch);             /* first: its thread uses the dataset, and claims */
    p->prefetch = NULL;
    for (int i = 0; i < QK_PREFETCH_UNITS; i++) qk_claim_drop(&p->claims[i]); /* taken ahead */
    qk_units_free(&p->finished);
    qk_dataset_rewind(p->dataset);
    if (s != QK_OK) return s;
    const qk_computed c = qk_compute_done(p->compute);
    if (c.began > 0) {
        print_progress(p, true);
        p->seconds = qk_now() - c.began;
    }
    return more ? QK_OK : qk_staging_set_units(p->staging, p->unit, err);
}
