/* See probe.h. */
#include "engine/run/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/team.h"
#include "engine/config/config.h"
#include "engine/forward/activations.h"
#include "engine/run/plan.h"

/* Seconds: an op is repeated for SLICE, one that touches each number once for a fifth of
 * that. With a dozen ops, doubling on the way, that makes two. A run of n FLOP is not worth more
 * than what 1e11 n would take. */
static const double SLICE = 0.08, SHORTEST = 0.0005, SLICE_OF_FLOP = 1e-11;
/* No tensor of the probe is wider or larger, whatever config.json says: numbers, not bytes. */
enum { MAX_WIDTH = 32768, MAX_NUMBERS = 1 << 24, RANDOM_NUMBERS = 1 << 20 };
/* Few rows wait for their weights, which come from memory in a run: so they do here, from this many
 * bytes of matrices in turn. */
enum { FEW_ROWS = 128, COLD_BYTES = 64 << 20, MAX_COPIES = 32 };
enum { MAX_JOBS = 16, FIRST_WIDTH = 64, MAX_LENGTH = 65536 };

typedef enum job_kind { NORM, MATMUL, QKV_POST, GLU, ADD, ROUTE } job_kind;

typedef struct job {
    job_kind kind;
    size_t rows, in, out;
    double times; /* that a token meets it in the whole model, a part counting as one */
} job;

typedef struct probe {
    const qk_plan *plan;
    const qk_spec *spec;
    const qk_backend *backend;
    qk_device *device;
    qk_dtype compute, format; /* of weights; of activations that feed products */
    double slice;
    float *random; /* [RANDOM_NUMBERS] */
    /* Of the op in work: */
    qk_tensor in, out;
    qk_tensor vector; /* [1, widest] a norm, cosines and sines */
    qk_matrix *matrices[MAX_COPIES];
    int n_matrices, next_matrix;
    int32_t *table_row, *seq_start;
    qk_heads heads; /* narrowed to MAX_WIDTH */
    qk_attention attention;
    qk_error *err;
} probe;

static size_t at_most(double n, size_t most)
{
    return n < 1 ? 1 : n < (double)most ? (size_t)n : most;
}

/* ---- random tensors ---- */

/* Marsaglia (2003): numbers in [-1, 1), the same each time. */
static void fill_random(float *numbers, size_t n)
{
    uint32_t x = 2463534242u;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        numbers[i] = (float)(int32_t)x / 2147483648.0f;
    }
}

static qk_status make_tensor(probe *p, qk_tensor *t, qk_dtype dtype, size_t rows, size_t cols)
{
    QK_TRY(p->backend->alloc(p->device, dtype, rows, cols, "the probe", t, p->err));
    size_t step = RANDOM_NUMBERS / cols;
    for (size_t r = 0; r < rows; r += step)
        p->backend->upload(p->device, qk_rows(*t, r, rows - r < step ? rows - r : step), p->random,
                           QK_F32);
    return QK_OK;
}

static qk_status make_matrices(probe *p, const job *j)
{
    size_t bytes = j->in * j->out * p->backend->weight_size[p->compute];
    int copies =
        j->rows >= FEW_ROWS ? 1 : (int)at_most((double)COLD_BYTES / (double)bytes, MAX_COPIES);
    if (copies > j->times)
        copies = (int)at_most(j->times, MAX_COPIES); /* a small model stays near */
    size_t step = RANDOM_NUMBERS / j->in;
    for (int i = 0; i < copies; i++) {
        qk_matrix **m = &p->matrices[i];
        QK_TRY(p->backend->matrix_new(p->device, j->out, j->in, "the probe", m, p->err));
        p->n_matrices = i + 1;
        for (size_t r = 0; r < j->out; r += step)
            p->backend->matrix_load(p->device, *m, r, j->out - r < step ? j->out - r : step,
                                    p->random, QK_F32);
    }
    return QK_OK;
}

static void drop_tensors(probe *p)
{
    qk_tensor *const all[] = {&p->in, &p->out, &p->vector};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i]->data) p->backend->free(p->device, all[i]);
        *all[i] = (qk_tensor){0};
    }
    for (int i = 0; i < p->n_matrices; i++) p->backend->matrix_free(p->device, p->matrices[i]);
    p->n_matrices = p->next_matrix = 0;
    free(p->table_row);
    free(p->seq_start);
    p->table_row = p->seq_start = NULL;
}

/* ---- the ops ---- */

static void run_norm(probe *p)
{
    p->backend->rmsnorm(p->device, p->out, p->in, p->vector.data, p->spec->eps, false);
}

static void run_matmul(probe *p)
{
    const qk_matrix *m = p->matrices[p->next_matrix];
    p->next_matrix = (p->next_matrix + 1) % p->n_matrices;
    p->backend->matmul(p->device, p->out, p->in, m, NULL, false);
}

static void run_qkv_post(probe *p)
{
    const qk_spec *s = p->spec;
    const qk_weight_names *names = s->family->names;
    bool norm = (*names)[QK_W_Q_NORM] != NULL;
    const qk_qkv_post post = {
        .heads = p->heads,
        .q_norm = norm ? p->vector.data : NULL,
        .k_norm = norm ? p->vector.data : NULL,
        .norm_whole = s->qk_norm_whole,
        .eps = s->eps,
        .cos = p->vector.data,
        .sin = p->vector.data,
        .table_row = p->table_row,
        .rotary = s->n_ropes ? s->ropes[0].rotary : 0,
        .interleaved = s->interleaved,
    };
    p->backend->qkv_post(p->device, p->out, p->in, &post, 0);
}

static void run_glu(probe *p)
{
    p->backend->glu(p->device, p->out, p->in, p->spec->act);
}

static void run_add(probe *p)
{
    p->backend->add(p->device, p->out, p->in, NULL, p->spec->eps, false, 1);
}

static void run_route(probe *p)
{
    int top_k = (int)at_most(p->spec->top_k, p->in.cols);
    p->backend->route(p->device, p->in, top_k, p->spec->top_k_renormalised);
}

static void run_attention(probe *p)
{
    qk_tensor o = qk_cols(p->in, 0, (size_t)p->heads.H * (size_t)p->heads.d);
    p->backend->attention(p->device, o, p->in, &p->attention);
}

/* What an op reads and writes: F32, or the format of activations. */
static const struct {
    void (*run)(probe *p);
    bool in_format, out_format;
} kinds[] = {
    [NORM] = {run_norm, false, true},         [MATMUL] = {run_matmul, true, false},
    [QKV_POST] = {run_qkv_post, false, true}, [GLU] = {run_glu, false, true},
    [ADD] = {run_add, false, false},          [ROUTE] = {run_route, false, false},
};

/* ---- measuring ---- */

/* Seconds of `repeats` runs of an op. */
static qk_status time_runs(probe *p, void (*run)(probe *p), int repeats, double *seconds)
{
    QK_TRY(qk_interrupt_check(p->err));
    double began = qk_now();
    for (int i = 0; i < repeats; i++) run(p);
    p->backend->layer_end(p->device);
    QK_TRY(p->backend->sync(p->device, 0, p->err));
    *seconds = qk_now() - began;
    return QK_OK;
}

/* Seconds that an op takes at best, of three: for the choice of a width, where a moment in which
 * others have the processor must not count. */
static qk_status measure_best(probe *p, void (*run)(probe *p), double *seconds)
{
    *seconds = HUGE_VAL;
    for (int i = 0; i < 3; i++) {
        double took;
        QK_TRY(time_runs(p, run, 1, &took));
        if (took < *seconds) *seconds = took;
    }
    return QK_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Seconds that an op takes: the median of five parts of the slice, so that who works beside it
 * counts, and a moment in which the processor was away does not. */
static qk_status measure(probe *p, void (*run)(probe *p), double slice, double *seconds)
{
    enum { PARTS = 5, MAX_REPEATS = 1 << 20 };
    double took[PARTS];
    int repeats = 1;
    QK_TRY(time_runs(p, run, 1, took)); /* scratch memory, pages, clocks */
    for (;; repeats *= 2) {
        QK_TRY(time_runs(p, run, repeats, took));
        if (*took >= slice / PARTS || repeats == MAX_REPEATS) break;
    }
    for (int i = 1; i < PARTS; i++) QK_TRY(time_runs(p, run, repeats, &took[i]));
    qsort(took, PARTS, sizeof *took, ascending);
    *seconds = took[PARTS / 2] / repeats;
    return QK_OK;
}

static qk_status prepare(probe *p, const job *j)
{
    qk_dtype in = kinds[j->kind].in_format ? p->format : QK_F32;
    qk_dtype out = kinds[j->kind].out_format ? p->format : QK_F32;
    QK_TRY(make_tensor(p, &p->in, in, j->rows, j->in));
    QK_TRY(make_tensor(p, &p->out, out, j->rows, j->out));
    QK_TRY(make_tensor(p, &p->vector, QK_F32, 1, j->in > 1024 ? j->in : 1024));
    p->table_row = qk_zalloc(j->rows, sizeof *p->table_row);
    return j->kind == MATMUL ? make_matrices(p, j) : QK_OK;
}

static qk_status measure_part(probe *p, const job *j, double slice, double *seconds)
{
    qk_status s = prepare(p, j);
    void (*run)(probe *) = kinds[j->kind].run;
    if (s == QK_OK) s = slice > 0 ? measure(p, run, slice, seconds) : measure_best(p, run, seconds);
    drop_tensors(p);
    return s;
}

/* Seconds of an op for each row. Of a matrix as many columns as are needed to fill the slice in a
 * few goes: a slow backend gets few. */
static qk_status measure_job(probe *p, const job *whole, double *seconds)
{
    job j = *whole;
    if (j.kind != MATMUL) {
        QK_TRY(measure_part(p, &j, p->slice / 5, seconds));
    } else {
        size_t most = MAX_NUMBERS / (j.rows > j.in ? j.rows : j.in);
        if (j.out > most) j.out = most;
        size_t full = j.out;
        if (j.out > FIRST_WIDTH) j.out = FIRST_WIDTH;
        for (;; j.out = j.out * 8 < full ? j.out * 8 : full) {
            QK_TRY(measure_part(p, &j, 0, seconds));
            if (j.out == full || *seconds > p->slice / 4) break;
        }
        QK_TRY(measure_part(p, &j, p->slice, seconds));
    }
    *seconds *= (double)whole->out / (double)j.out / (double)j.rows;
    return QK_OK;
}

/* ---- what a token meets ---- */

typedef struct jobs {
    job items[MAX_JOBS];
    int count;
    size_t rows; /* of a chunk */
} jobs;

/* Narrowed to what the probe may take; each column costs the same. */
static void add_job(jobs *list, job_kind kind, double rows, double in, double out, double times)
{
    if (times <= 0) return;
    QK_ASSERT(list->count < MAX_JOBS);
    job j = {kind, at_most(rows, MAX_NUMBERS), at_most(in, MAX_WIDTH), at_most(out, MAX_NUMBERS),
             times};
    if (kind == GLU) { /* [rows, 2 F] to [rows, F] */
        j.out = at_most(out, MAX_WIDTH / 2);
        j.in = 2 * j.out;
    } else if (kind != MATMUL) {
        j.out = j.in;
    }
    j.times *= in / (double)j.in;
    j.rows = at_most((double)j.rows, MAX_NUMBERS / j.in);
    list->items[list->count++] = j;
}

static double heads_width(const qk_spec *s, int of_k)
{
    return ((double)s->H + (double)of_k * s->K) * s->d;
}

static void list_jobs(const probe *p, size_t chunk, jobs *list)
{
    const qk_spec *s = p->spec;
    int last = p->plan->heads.last_layer;
    double dense = 0, sparse = 0, D = s->D, qkv = heads_width(s, 2);
    for (int l = 0; l < last; l++) {
        if (s->layer[l].absent) continue;
        *(s->layer[l].sparse ? &sparse : &dense) += 1;
    }
    double layers = dense + sparse, projections = layers + heads_width(s, 1) / qkv;
    double n = (double)chunk, taken = n * s->top_k / (s->experts ? s->experts : 1);
    double chosen = sparse * s->top_k;
    bool normed = s->residual_scale != 1 || (*s->family->names)[QK_W_ATTENTION_OUT_NORM] != NULL ||
                  (*s->family->names)[QK_W_MLP_OUT_NORM] != NULL;
    add_job(list, NORM, n, D, D, 2 * layers + 1);
    add_job(list, MATMUL, n, D, qkv, projections);
    double post = (double)qk_heads_width(p->heads);
    add_job(list, QKV_POST, n, post, post, projections * qkv / post);
    add_job(list, MATMUL, n, (double)s->H * s->d, D, layers);
    add_job(list, MATMUL, n, D, 2.0 * s->F, dense);
    add_job(list, GLU, n, 2.0 * s->F, s->F, dense);
    add_job(list, MATMUL, n, s->F, D, dense);
    add_job(list, MATMUL, n, D, s->experts, sparse);
    add_job(list, ROUTE, n, s->experts, s->experts, sparse);
    add_job(list, MATMUL, taken, D, 2.0 * s->expert_F, chosen);
    add_job(list, GLU, taken, 2.0 * s->expert_F, s->expert_F, chosen);
    add_job(list, MATMUL, taken, s->expert_F, D, chosen);
    /* Rows of an expert are taken out and added; what is normed or scaled is added, too. */
    add_job(list, ADD, n, D, D, 2 * chosen + (normed ? 2 * layers : 0));
}

static qk_status measure_token(probe *p, size_t chunk, qk_speed *out)
{
    jobs list = {0};
    list_jobs(p, chunk, &list);
    double flops = 0, products = 0;
    for (int i = 0; i < list.count; i++) {
        const job *j = &list.items[i];
        double seconds;
        QK_TRY(measure_job(p, j, &seconds));
        out->token += seconds * j->times;
        if (j->kind != MATMUL) continue;
        products += seconds * j->times;
        flops += 2.0 * (double)j->in * (double)j->out * j->times;
    }
    out->products_rate = flops / products;
    return QK_OK;
}

/* ---- attention ---- */

/* Key heads, each with its queries, that fit into MAX_WIDTH. */
static qk_heads narrow_heads(const qk_spec *s)
{
    int queries = s->H / s->K, most = MAX_WIDTH / s->d;
    if (queries > most - 2) queries = most - 2;
    int k = most / (queries + 2);
    if (k > s->K) k = s->K;
    return (qk_heads){queries * k, k, s->d, true};
}

/* Seconds for each FLOP. flops: what about fills the slice. */
static qk_status measure_attention(probe *p, double length, int window, double flops,
                                   double *seconds)
{
    const qk_heads wide = p->heads;
    int queries = wide.H / wide.K, n_seq = 1;
    size_t L = at_most(length, MAX_LENGTH);
    double one;
    for (;; L /= 2) { /* of one key head */
        double seen = window && (size_t)window < L ? window : ((double)L + 1) / 2;
        one = 4 * (double)L * seen * queries * wide.d;
        bool fits = L * (size_t)(queries + 2) * (size_t)wide.d <= MAX_NUMBERS;
        if ((one <= flops && fits) || L < 128) break;
    }
    size_t numbers = L * (size_t)(queries + 2) * (size_t)wide.d;
    int k = (int)at_most(flops / one, (size_t)wide.K);
    k = (int)at_most((double)MAX_NUMBERS / (double)numbers, (size_t)k);
    if (k == wide.K) {
        const qk_batch_limits most = qk_batch_limits_of(p->plan->config);
        n_seq = (int)at_most(flops / (one * k), (size_t)most.examples);
        n_seq = (int)at_most((double)most.tokens / (double)L, (size_t)n_seq);
        n_seq = (int)at_most((double)MAX_NUMBERS / (double)(numbers * (size_t)k), (size_t)n_seq);
    }
    p->heads = (qk_heads){queries * k, k, wide.d, true};
    p->seq_start = qk_alloc((size_t)n_seq + 1, sizeof *p->seq_start);
    for (int i = 0; i <= n_seq; i++) p->seq_start[i] = (int32_t)((size_t)i * L);
    p->attention = (qk_attention){.heads = p->heads,
                                  .seq_start = p->seq_start,
                                  .n_seq = n_seq,
                                  .window = window,
                                  .scale = p->spec->attention_scale,
                                  .soft_cap = p->spec->soft_cap};
    qk_status s = make_tensor(p, &p->in, p->format, (size_t)n_seq * L, qk_heads_width(p->heads));
    if (s == QK_OK) s = measure(p, run_attention, p->slice, seconds);
    drop_tensors(p);
    p->heads = wide;
    *seconds /= one * k * n_seq;
    return s;
}

static int window_of(const qk_spec *s)
{
    for (int l = 0; l < s->layers; l++)
        if (s->layer[l].window) return s->layer[l].window;
    return 0;
}

static qk_status measure_all(probe *p, const qk_probe_work *work, qk_speed *out)
{
    size_t chunk = at_most(work->batch_tokens, qk_activation_chunk(p->spec, p->backend));
    QK_TRY(measure_token(p, chunk, out));
    double flops = out->products_rate * p->slice;
    if (work->attention) QK_TRY(measure_attention(p, work->length, 0, flops, &out->attention));
    if (work->windowed)
        QK_TRY(measure_attention(p, work->length, window_of(p->spec), flops, &out->windowed));
    double attention = work->attention ? out->attention : out->windowed;
    out->attention_rate = attention > 0 ? 1 / attention : 0;
    return QK_OK;
}

qk_status qk_probe_speed(const qk_plan *plan, const qk_probe_work *work, qk_speed *out,
                         qk_error *err)
{
    const qk_config *c = plan->config;
    *out = (qk_speed){0};
    probe p = {.plan = plan,
               .spec = &plan->spec,
               .backend = qk_backend_find(c->inference.backend),
               .compute = c->model.dtype,
               .format = qk_activation_format(c->model.dtype),
               .slice = SLICE,
               .heads = narrow_heads(&plan->spec),
               .err = err};
    if (!p.backend)
        return qk_fail(err, QK_ERR_CONFIG, NULL,
                       "inference.backend: '%s' is not in this build; it has %s",
                       c->inference.backend, qk_backend_names());
    double worth = work->flops * SLICE_OF_FLOP;
    if (work->flops > 0 && worth < p.slice) p.slice = worth < SHORTEST ? SHORTEST : worth;
    QK_TRY(qk_team_start((int)c->inference.threads, err));
    qk_device_options options = {
        .compute = p.compute, .threads = (int)c->inference.threads, .isa = c->inference.isa};
    QK_TRY(p.backend->open(&options, &p.device, err));
    p.random = qk_alloc(RANDOM_NUMBERS, sizeof *p.random);
    fill_random(p.random, RANDOM_NUMBERS);
    snprintf(out->device, sizeof out->device, "%s", p.backend->describe(p.device));
    qk_status s = measure_all(&p, work, out);
    free(p.random);
    p.backend->close(p.device);
    return s;
}
