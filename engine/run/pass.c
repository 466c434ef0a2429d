/* See pass.h. */
#include "engine/run/pass.h"

#include <stdio.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/stages.h"
#include "engine/config/config.h"
#include "engine/dataset/dataset.h"
#include "engine/run/compute_unit.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"

/* ---- progress ---- */

/* Units 0 .. n-1 of the shard. */
static int64_t of_shard(const qk_pass *p, int64_t n)
{
    return n > p->shard.index ? (n - p->shard.index + p->shard.of - 1) / p->shard.of : 0;
}

/* What the unit has; all but the last one of a dataset have as many. */
static int64_t texts_of(const qk_pass *p, int64_t unit)
{
    int64_t size = p->plan->unit_examples, left = p->rows - unit * size;
    return p->rows >= 0 && left < size ? (left > 0 ? left : 0) : size;
}

/* How much there is in all: rows of the dataset, else the number of units that an earlier pass has
 * found. */
static qk_status measure(qk_pass *p, qk_error *err)
{
    int64_t size = p->plan->unit_examples, all;
    p->rows = qk_dataset_rows(p->dataset);
    if (p->rows < 0) p->rows = p->rows_known;
    QK_TRY(qk_staging_units(p->staging, &all, err));
    if (p->rows >= 0) all = (p->rows + size - 1) / size;
    p->units = all < 0 ? -1 : of_shard(p, all);
    p->texts = -1;
    if (p->rows < 0) return QK_OK;
    p->texts = p->units * size;
    if (all && (all - 1) % p->shard.of == p->shard.index) p->texts -= size - texts_of(p, all - 1);
    return QK_OK;
}

static void note_finished(qk_pass *p, const qk_units *finished)
{
    p->ready = p->ready_texts = 0;
    for (size_t i = 0; i < finished->count; i++) {
        if (finished->items[i] % p->shard.of != p->shard.index) continue;
        p->ready++;
        p->ready_texts += texts_of(p, finished->items[i]);
    }
}

/* What others have done meanwhile; takes a small part of the time. */
static void look(qk_pass *p, bool now)
{
    enum { SECONDS = 1, PART = 20 };
    double began = qk_now();
    if (!now && began - p->looked < SECONDS + PART * p->looking) return;
    qk_units finished;
    qk_error ignored;
    if (qk_staging_finished(p->staging, &finished, &ignored) == QK_OK) {
        note_finished(p, &finished);
        qk_units_free(&p->seen);
        p->seen = finished;
    } else {
        qk_units_free(&finished);
    }
    p->processes = qk_claims_holders(p->staging, p->shard);
    if (p->processes < 1) p->processes = 1;
    p->looked = qk_now();
    p->looking = p->looked - began;
}

/* Texts that are computed, and not among the finished ones yet. */
static int64_t texts_behind(const qk_pass *p)
{
    return p->written >= 0 && !qk_units_has(&p->seen, p->written) ? p->written_texts : 0;
}

/* The unit that was on its way to the disk is there. */
static void count_written(qk_pass *p)
{
    if (p->written < 0) return;
    p->units_done++;
    p->ready += !qk_units_has(&p->seen, p->written);
    p->ready_texts += texts_behind(p);
    p->written = -1;
}

/* Seconds for the rest, where all who are at work now go on as fast as this process; the texts whose
 * length is not known yet are like those of its units so far. -1: nothing to tell it from. */
static double time_left(const qk_pass *p, const qk_computed *c, double seconds)
{
    double done = c->work + c->share * c->batch_work;
    int64_t texts = p->texts < 0 ? p->units * p->plan->unit_examples : p->texts;
    if (p->units < 0 || done <= 0 || seconds <= 0) return -1;
    int64_t unread = texts - p->ready_texts - texts_behind(p) - c->unit_texts;
    double left = c->work_ahead + (1 - c->share) * c->batch_work;
    if (unread > 0) left += (double)unread * c->work_known / (double)c->known_texts;
    return left / done * seconds / (double)p->processes;
}

static void print_progress(qk_pass *p, bool end)
{
    const qk_computed c = qk_compute_done(p->compute);
    double seconds = c.began > 0 ? qk_now() - c.began : 0, share = c.share;
    look(p, end || !p->looked);
    qk_progress_line line = {0};
    int64_t size = p->plan->unit_examples, texts = p->ready_texts + texts_behind(p) + c.unit_done;
    double rate = seconds > 0 ? ((double)c.tokens + share * (double)c.batch_tokens) / seconds : 0;
    qk_progress_add_count(&line, 1, p->ready, p->units, "unit");
    qk_progress_add_count(&line, 4, texts, p->texts, "text");
    qk_progress_add_share(&line, 2, (double)texts + share * (double)c.batch_texts,
                          (double)(p->texts < 0 && p->units > 0 ? p->units * size : p->texts));
    if (rate > 0) qk_progress_add(&line, 5, rate < 10 ? "%.1f tokens/s" : "%.0f tokens/s", rate);
    qk_progress_add(&line, 6, "%lld process%s", (long long)p->processes,
                    p->processes == 1 ? "" : "es");
    if (p->shard.of > 1)
        qk_progress_add(&line, 7, "shard %lld/%lld", (long long)p->shard.index,
                        (long long)p->shard.of);
    double left = time_left(p, &c, seconds);
    if (!end) qk_progress_add(&line, 3, "ETA %s", left < 0 ? "-" : qk_human_seconds(left));
    if (end)
        qk_progress_end(&line);
    else
        qk_progress_show(&line);
}

/* What a signal would keep and lose now. */
static void note_kept(const qk_pass *p)
{
    char kept[64] = "no unit yet", lost[80] = "";
    const qk_computed c = qk_compute_done(p->compute);
    long long texts = (long long)(texts_behind(p) + c.unit_done + c.batch_texts);
    if (p->ready > 0)
        snprintf(kept, sizeof kept, "%lld unit%s", (long long)p->ready, qk_plural(p->ready));
    if (texts)
        snprintf(lost, sizeof lost, "; %lld text%s of the unit in work %s computed again", texts,
                 qk_plural(texts), texts == 1 ? "is" : "are");
    qk_interrupt_keeps(" (%s)%s", kept, lost);
}

void qk_pass_show(void *pass)
{
    qk_pass *p = pass;
    if (qk_compute_is_written(p->compute)) count_written(p);
    note_kept(p);
    if (p->shown && !qk_progress_due()) return;
    p->shown = true; /* in a pipe, too, work that has begun says so: a layer may take long */
    print_progress(p, false);
}

void qk_pass_tell_there(qk_pass *p, int64_t there, int64_t all)
{
    if (there && !p->told && all > 0)
        qk_info("resumes: %lld of %lld unit%s %s there", (long long)there, (long long)all,
                qk_plural(all), there == 1 ? "is" : "are");
    else if (there && !p->told)
        qk_info("resumes: %lld unit%s there", (long long)there, there == 1 ? " is" : "s are");
    p->told = true;
}

/* ---- units ---- */

static bool is_open(const qk_pass *p, int64_t unit)
{
    return unit % p->shard.of == p->shard.index && !qk_units_has(&p->finished, unit);
}

/* A claim is for a unit that is worked on, and that it is read for at once. One that is read ahead is
 * still free for others, who may be through before: its turn shows who gets it. */
static qk_status wants_unit(void *context, int64_t unit, bool ahead, bool *wanted, qk_error *err)
{
    qk_pass *p = context;
    qk_claim_state state;
    *wanted = false;
    if (unit >= p->stop || !is_open(p, unit)) return QK_OK;
    if (ahead) return qk_claim_is_free(p->staging, unit, wanted, err);
    QK_TRY(qk_claim_take(&p->claims[unit % QK_PREFETCH_UNITS], p->staging, unit, &state, err));
    *wanted = state == QK_CLAIM_MINE;
    return QK_OK;
}

static qk_status start(qk_pass *p, qk_error *err)
{
    QK_TRY(qk_dataset_begin(p->dataset, err));
    if (p->rows_known < 0) p->rows_known = qk_dataset_count_small(p->dataset);
    qk_units_free(&p->finished);
    QK_TRY(qk_staging_finished(p->staging, &p->finished, err));
    QK_TRY(measure(p, err));
    note_finished(p, &p->finished);
    qk_pass_tell_there(p, p->ready, p->units);
    note_kept(p);
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

/* Where the rows are counted already, whoever asks how far the run is knows it from its first unit on.
 * The folder is this run's by then. */
static qk_status note_units(qk_pass *p, qk_error *err)
{
    int64_t size = p->plan->unit_examples;
    if (p->rows < 0 || p->noted) return QK_OK;
    p->noted = true;
    return qk_staging_set_units(p->staging, (p->rows + size - 1) / size, err);
}

static qk_status next_unit(qk_pass *p, bool *more, qk_error *err)
{
    const qk_prefetch_unit *unit;
    QK_TRY(qk_interrupt_check(err));
    double began = qk_now();
    QK_TRY(qk_prefetch_next(p->prefetch, &unit, err));
    qk_stage_add(QK_STAGE_WAIT, qk_now() - began);
    *more = unit->more;
    if (!unit->more) p->rows_known = p->unit * p->plan->unit_examples + unit->count;
    if (!unit->count) return QK_OK;
    qk_claim *claim = &p->claims[p->unit % QK_PREFETCH_UNITS];
    qk_claim_state state = claim->fd >= 0 ? QK_CLAIM_MINE : QK_CLAIM_BUSY;
    if (unit->wanted && claim->fd < 0)
        QK_TRY(qk_claim_take(claim, p->staging, p->unit, &state, err));
    qk_prefetch_settle(p->prefetch, state == QK_CLAIM_MINE);
    if (state == QK_CLAIM_MINE) {
        QK_TRY(qk_compute_unit(p->compute, unit, claim, err));
        count_written(p); /* the one before */
        p->written = p->unit;
        p->written_texts = unit->count;
        note_kept(p);
        QK_TRY(note_units(p, err));
    } else {
        p->units_found++;
    }
    p->unit++;
    return QK_OK;
}

/* The file of the last unit comes first: what went wrong with it is the earlier error. A signal says
 * what is kept once that is known. */
static qk_status finish(qk_pass *p, qk_status s, qk_error *err)
{
    qk_error earlier;
    qk_status written = qk_compute_finish(p->compute, &earlier);
    if (written == QK_OK) count_written(p);
    note_kept(p);
    if (written != QK_OK) *err = earlier;
    if (written != QK_OK) return written;
    return s == QK_ERR_RESUME && qk_interrupted() ? qk_interrupt_check(err) : s;
}

static qk_status run_units(qk_pass *p, int64_t stop, qk_error *err)
{
    bool more = true;
    for (int i = 0; i < QK_PREFETCH_UNITS; i++) p->claims[i].fd = -1;
    p->stop = stop;
    p->unit = 0;
    p->written = -1;
    qk_interrupt_say("stopping after this layer");
    qk_status s = start(p, err);
    if (s == QK_OK && qk_progress_due()) print_progress(p, false);
    while (s == QK_OK && more && p->unit < stop) s = next_unit(p, &more, err);
    if (s != QK_OK) qk_inputs_stop(p->inputs); /* the prefetch may wait for a file */
    qk_prefetch_free(p->prefetch);             /* first: its thread uses the dataset, and claims */
    p->prefetch = NULL;
    s = finish(p, s, err);
    for (int i = 0; i < QK_PREFETCH_UNITS; i++) qk_claim_drop(&p->claims[i]); /* not begun */
    qk_units_free(&p->finished);
    qk_dataset_rewind(p->dataset);
    qk_interrupt_say(NULL);
    if (s != QK_OK) return s;
    const qk_computed c = qk_compute_done(p->compute);
    if (c.began > 0) {
        QK_TRY(measure(p, err)); /* its end is known now */
        print_progress(p, true);
        note_kept(p);
        p->seconds = qk_now() - c.began;
    }
    return more ? QK_OK : qk_staging_set_units(p->staging, p->unit, err);
}

qk_status qk_pass_run(qk_pass *p, int64_t stop, qk_error *err)
{
    qk_status s = run_units(p, stop, err);
    qk_units_free(&p->seen); /* the last line of progress has looked */
    return s;
}
