/* See prefetch.h. */
#include "engine/run/prefetch.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/thread.h"

struct qk_prefetch {
    qk_prefetch_plan plan;
    qk_prefetch_unit units[QK_FEED_UNITS]; /* unit n lies in units[n % QK_FEED_UNITS] */
    qk_tokens *tokens;                     /* [plan.threads], working memory of tokenization */
    pthread_t thread;
    pthread_mutex_t lock; /* of the counts */
    pthread_cond_t changed;
    int64_t passed;       /* rows that the dataset has yet to pass over */
    int64_t ready, taken; /* units that are filled, that were asked for */
    atomic_bool waiting;  /* somebody waits for a unit */
    atomic_bool stop;
};

/* ---- filling a unit, on the feed's thread ---- */

static void copy_example(qk_prefetch_example *w, const qk_example *e)
{
    qk_buf_clear(&w->text);
    qk_buf_add(&w->text, e->text, e->length);
    qk_buf_clear(&w->id_text);
    w->has_id_text = e->id_text != NULL;
    if (e->id_text) qk_buf_add(&w->id_text, e->id_text, e->id_length);
    w->index = e->index;
    w->id = e->id;
    w->count = 0;
    w->error.status = QK_OK;
}

static void read_unit(qk_prefetch *f, qk_prefetch_unit *u)
{
    u->count = 0;
    u->more = true;
    while (u->count < f->plan.unit_examples && !f->stop) {
        qk_example e;
        u->error.status = qk_dataset_next(f->plan.dataset, &e, &u->more, &u->error);
        if (u->error.status != QK_OK || !u->more) return;
        copy_example(&u->examples[u->count++], &e);
    }
    /* The texts are copies of one content, whatever becomes of the file. */
    if (!f->stop) u->error.status = qk_dataset_check(f->plan.dataset, &u->error);
}

static void ask(qk_prefetch *f, qk_prefetch_unit *u, int64_t n)
{
    if (u->error.status == QK_OK && u->count && !f->stop)
        u->error.status = f->plan.wants(f->plan.context, n, &u->wanted, &u->error);
}

/* Unit n of a dataset whose rows are known is asked for first, and read only when it is wanted.
 * Units that are not are passed over together, which leaves out whole pages of a file. */
static void read_or_skip(qk_prefetch *f, qk_prefetch_unit *u, int64_t n)
{
    int64_t size = f->plan.unit_examples, left = qk_dataset_rows(f->plan.dataset) - n * size;
    u->error.status = QK_OK;
    u->wanted = false;
    u->count = left < 0 ? 0 : (int)(left < size ? left : size);
    u->more = left > size;
    ask(f, u, n);
    bool asked = u->count > 0;
    if (u->error.status != QK_OK) return;
    if (asked && !u->wanted) {
        f->passed += u->count;
        return;
    }
    u->error.status = qk_dataset_skip(f->plan.dataset, f->passed, &u->error);
    f->passed = 0;
    if (u->error.status == QK_OK) read_unit(f, u);
    if (!asked) ask(f, u, n);
}

static void tokenize(const qk_prefetch *f, qk_prefetch_example *w, qk_tokens *t)
{
    w->error.status = qk_tokenizer_encode(f->plan.tokenizer, (const char *)w->text.data,
                                          w->text.size, f->plan.max_length, t, &w->error);
    if (w->error.status != QK_OK) return;
    if (t->count > w->capacity) {
        w->capacity = t->count;
        w->ids = qk_realloc(w->ids, w->capacity, sizeof *w->ids);
    }
    if (t->count) memcpy(w->ids, t->ids, t->count * sizeof *w->ids);
    w->count = t->count;
    w->truncated = t->truncated;
}

static void tokenize_unit(qk_prefetch *f, qk_prefetch_unit *u)
{
    int i = 0;
    for (; i < u->count && !f->waiting && !f->stop; i++)
        tokenize(f, &u->examples[i], &f->tokens[0]);
    if (f->stop || i == u->count) return;
#pragma omp parallel for schedule(dynamic, 1) num_threads(f->plan.threads)
    for (int k = i; k < u->count; k++)
        tokenize(f, &u->examples[k], &f->tokens[omp_get_thread_num()]);
}

static void *fill_units(void *context)
{
    qk_prefetch *f = context;
    qk_error team = {0};
    qk_team_start(f->plan.threads, &team);
    for (int64_t n = 0;; n++) {
        pthread_mutex_lock(&f->lock);
        while (n - f->taken >= QK_FEED_UNITS - 1 && n > 0 && !f->stop)
            pthread_cond_wait(&f->changed, &f->lock);
        pthread_mutex_unlock(&f->lock);
        if (f->stop) return NULL;
        qk_prefetch_unit *u = &f->units[n % QK_FEED_UNITS];
        if (team.status == QK_OK) read_or_skip(f, u, n);
        if (team.status != QK_OK) u->error = team;
        bool last = u->error.status != QK_OK || !u->more;
        if (u->error.status == QK_OK && u->wanted) tokenize_unit(f, u);
        pthread_mutex_lock(&f->lock);
        f->ready = n + 1;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
        if (last) return NULL;
    }
}

/* ---- the other side ---- */

static void free_unit(qk_prefetch_unit *u, int examples)
{
    for (int i = 0; i < examples; i++) {
        qk_buf_free(&u->examples[i].text);
        qk_buf_free(&u->examples[i].id_text);
        free(u->examples[i].ids);
    }
    free(u->examples);
}

static void free_feed(qk_prefetch *f)
{
    for (int i = 0; i < QK_FEED_UNITS; i++) free_unit(&f->units[i], f->plan.unit_examples);
    for (int t = 0; t < f->plan.threads; t++) qk_tokens_free(&f->tokens[t]);
    free(f->tokens);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

qk_status qk_prefetch_new(qk_prefetch **out, const qk_prefetch_plan *plan, qk_error *err)
{
    qk_prefetch *f = qk_zalloc(1, sizeof *f);
    f->plan = *plan;
    if (!f->plan.threads) f->plan.threads = omp_get_max_threads();
    f->tokens = qk_zalloc((size_t)f->plan.threads, sizeof *f->tokens);
    for (int i = 0; i < QK_FEED_UNITS; i++)
        f->units[i].examples = qk_zalloc((size_t)plan->unit_examples, sizeof *f->units[i].examples);
    pthread_mutex_init(&f->lock, NULL);
    qk_condition_init(&f->changed);
    qk_status s = qk_thread_start(&f->thread, fill_units, f, err);
    *out = s == QK_OK ? f : NULL;
    if (s != QK_OK) free_feed(f);
    return s;
}

qk_status qk_prefetch_next(qk_prefetch *f, const qk_prefetch_unit **unit, qk_error *err)
{
    qk_status s = QK_OK;
    pthread_mutex_lock(&f->lock);
    int64_t n = f->taken++;
    f->waiting = f->ready <= n;
    pthread_cond_broadcast(&f->changed);
    while (f->ready <= n && s == QK_OK) {
        qk_condition_wait_a_little(&f->changed, &f->lock);
        s = qk_interrupt_check(err);
    }
    f->waiting = false;
    pthread_mutex_unlock(&f->lock);
    *unit = &f->units[n % QK_FEED_UNITS];
    if (s == QK_OK && (*unit)->error.status != QK_OK) *err = (*unit)->error, s = err->status;
    return s;
}

void qk_prefetch_free(qk_prefetch *f)
{
    if (!f) return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    free_feed(f);
}
