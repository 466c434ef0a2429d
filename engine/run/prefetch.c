/* See prefetch.h. */
#include "engine/run/prefetch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/stages.h"
#include "engine/base/team.h"
#include "engine/base/thread.h"
#include "engine/dataset/dataset.h"
#include "engine/tokenizer/tokenizer.h"

struct qk_prefetch {
    qk_prefetch_plan plan;
    qk_prefetch_unit units[QK_PREFETCH_UNITS]; /* unit n lies in units[n % QK_PREFETCH_UNITS] */
    qk_tokens *tokens;                         /* [plan.threads], working memory of tokenization */
    pthread_t thread;
    pthread_mutex_t lock; /* of the counts */
    pthread_cond_t changed;
    int64_t passed;       /* rows that the dataset has yet to pass over */
    int64_t ready, taken; /* units that are filled, that were asked for */
    int64_t settled;      /* units of which it is known what becomes of them */
    bool working;         /* the last of them is worked on */
    atomic_bool waiting;  /* somebody waits for a unit */
    atomic_bool stop;
};

/* ---- filling a unit, on its thread ---- */

static void read_unit(qk_prefetch *p, qk_prefetch_unit *u)
{
    u->count = 0;
    u->more = true;
    while (u->count < p->plan.unit_examples && !p->stop) {
        qk_example e;
        u->error.status = qk_dataset_next(p->plan.dataset, &e, &u->more, &u->error);
        if (u->error.status != QK_OK || !u->more) return;
        qk_prefetch_example *w = &u->examples[u->count++];
        qk_buf_clear(&w->text);
        qk_buf_add(&w->text, e.text, e.length);
        qk_buf_clear(&w->id_text);
        w->has_id_text = e.id_text != NULL;
        if (e.id_text) qk_buf_add(&w->id_text, e.id_text, e.id_length);
        w->index = e.index;
        w->id = e.id;
        w->count = 0;
        w->error.status = QK_OK;
    }
    /* The texts are copies of one content, whatever becomes of the file. */
    if (!p->stop) u->error.status = qk_dataset_check(p->plan.dataset, &u->error);
}

static void ask(qk_prefetch *p, qk_prefetch_unit *u, int64_t n)
{
    if (u->error.status != QK_OK || !u->count) return;
    pthread_mutex_lock(&p->lock);
    while (p->settled < n && !p->stop) pthread_cond_wait(&p->changed, &p->lock);
    bool ahead = p->working;
    pthread_mutex_unlock(&p->lock);
    if (!p->stop) u->error.status = p->plan.wants(p->plan.context, n, ahead, &u->wanted, &u->error);
}

/* Unit n of a dataset whose rows are known is asked for first, and read only when it is wanted.
 * Units that are not are passed over together, which leaves out whole pages of a file. */
static void read_or_skip(qk_prefetch *p, qk_prefetch_unit *u, int64_t n)
{
    int64_t size = p->plan.unit_examples, left = qk_dataset_rows(p->plan.dataset) - n * size;
    u->error.status = QK_OK;
    u->wanted = false;
    u->count = left < 0 ? 0 : (int)(left < size ? left : size);
    u->more = left > size;
    ask(p, u, n);
    bool asked = u->count > 0;
    if (u->error.status != QK_OK) return;
    if (asked && !u->wanted) {
        p->passed += u->count;
        return;
    }
    u->error.status = qk_dataset_skip(p->plan.dataset, p->passed, &u->error);
    p->passed = 0;
    if (u->error.status == QK_OK) read_unit(p, u);
    if (!asked) ask(p, u, n);
}

static void tokenize(const qk_prefetch *p, qk_prefetch_example *w, qk_tokens *t)
{
    w->error.status = qk_tokenizer_encode(p->plan.tokenizer, (const char *)w->text.data,
                                          w->text.size, p->plan.max_length, t, &w->error);
    if (w->error.status != QK_OK) return;
    if (t->count > w->capacity) {
        w->capacity = t->count;
        w->ids = qk_realloc(w->ids, w->capacity, sizeof *w->ids);
    }
    if (t->count) memcpy(w->ids, t->ids, t->count * sizeof *w->ids);
    w->count = t->count;
    w->truncated = t->truncated;
}

typedef struct tokenizing {
    const qk_prefetch *p;
    qk_prefetch_example *examples;
} tokenizing;

static void tokenize_examples(void *context, size_t begin, size_t end, int member)
{
    const tokenizing *t = context;
    for (size_t i = begin; i < end; i++) tokenize(t->p, &t->examples[i], &t->p->tokens[member]);
}

static void tokenize_unit(qk_prefetch *p, qk_prefetch_unit *u)
{
    int i = 0;
    for (; i < u->count && !p->waiting && !p->stop; i++)
        tokenize(p, &u->examples[i], &p->tokens[0]);
    if (p->stop || i == u->count) return;
    tokenizing t = {p, u->examples + i};
    qk_loop_each(p->plan.threads, (size_t)(u->count - i), tokenize_examples, &t);
}

static void *fill_units(void *context)
{
    qk_prefetch *p = context;
    qk_error team = {0};
    qk_team_start(p->plan.threads, &team);
    for (int64_t n = 0;; n++) {
        pthread_mutex_lock(&p->lock);
        while (n - p->taken >= QK_PREFETCH_UNITS - 1 && n > 0 && !p->stop)
            pthread_cond_wait(&p->changed, &p->lock);
        pthread_mutex_unlock(&p->lock);
        if (p->stop) return NULL;
        qk_prefetch_unit *u = &p->units[n % QK_PREFETCH_UNITS];
        if (team.status == QK_OK) read_or_skip(p, u, n);
        if (team.status != QK_OK) u->error = team;
        bool last = u->error.status != QK_OK || !u->more;
        double began = qk_now();
        if (u->error.status == QK_OK && u->wanted) tokenize_unit(p, u);
        qk_stage_add(QK_STAGE_TOKENIZE, qk_now() - began);
        pthread_mutex_lock(&p->lock);
        p->ready = n + 1;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        if (last) return NULL;
    }
}

/* ---- the other side ---- */

static void free_prefetch(qk_prefetch *p)
{
    for (int n = 0; n < QK_PREFETCH_UNITS; n++) {
        for (int i = 0; i < p->plan.unit_examples; i++) {
            qk_buf_free(&p->units[n].examples[i].text);
            qk_buf_free(&p->units[n].examples[i].id_text);
            free(p->units[n].examples[i].ids);
        }
        free(p->units[n].examples);
    }
    for (int t = 0; t < p->plan.threads; t++) qk_tokens_free(&p->tokens[t]);
    free(p->tokens);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

qk_status qk_prefetch_new(qk_prefetch **out, const qk_prefetch_plan *plan, qk_error *err)
{
    qk_prefetch *p = qk_zalloc(1, sizeof *p);
    p->plan = *plan;
    if (!p->plan.threads) p->plan.threads = qk_threads(NULL);
    p->tokens = qk_zalloc((size_t)p->plan.threads, sizeof *p->tokens);
    for (int i = 0; i < QK_PREFETCH_UNITS; i++)
        p->units[i].examples = qk_zalloc((size_t)plan->unit_examples, sizeof *p->units[i].examples);
    pthread_mutex_init(&p->lock, NULL);
    qk_condition_init(&p->changed);
    qk_status s = qk_thread_start(&p->thread, fill_units, p, err);
    *out = s == QK_OK ? p : NULL;
    if (s != QK_OK) free_prefetch(p);
    return s;
}

qk_status qk_prefetch_next(qk_prefetch *p, const qk_prefetch_unit **unit, qk_error *err)
{
    qk_status s = QK_OK;
    pthread_mutex_lock(&p->lock);
    int64_t n = p->taken++;
    p->waiting = p->ready <= n;
    pthread_cond_broadcast(&p->changed);
    while (p->ready <= n && s == QK_OK) {
        qk_condition_wait_a_little(&p->changed, &p->lock);
        s = qk_interrupt_check(err);
    }
    p->waiting = false;
    pthread_mutex_unlock(&p->lock);
    *unit = &p->units[n % QK_PREFETCH_UNITS];
    if (s == QK_OK && (*unit)->error.status != QK_OK) *err = (*unit)->error, s = err->status;
    return s;
}

void qk_prefetch_settle(qk_prefetch *p, bool working)
{
    pthread_mutex_lock(&p->lock);
    p->settled = p->taken;
    p->working = working;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void qk_prefetch_free(qk_prefetch *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    free_prefetch(p);
}
