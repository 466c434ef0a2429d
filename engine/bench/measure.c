/* See measure.h. */
#include "engine/bench/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/team.h"
#include "engine/base/version.h"
#include "engine/bench/disk.h"
#include "engine/bench/random_model.h"
#include "engine/bench/rows.h"
#include "engine/capture/capture.h"
#include "engine/capture/unit_file.h"
#include "engine/families/presets.h"
#include "engine/forward/forward.h"
#include "engine/model/model.h"
#include "kernels/cpu/peak.h"
#include "sampler/heads.h"
#include "sampler/positions.h"

/* Seconds for a length where nobody says how many rounds; fewer than so many pairs tell nothing
 * (engine/bench/stats.h), more hardly more. */
static const double TIME_A_LENGTH = 45, TIME_OF_LONG = 90, TIME_A_PEAK = 0.5;
enum { LEAST_ROUNDS = 6, MOST_ROUNDS = 25, SHORT = 512, LONG = 4096 };

struct qk_bench {
    const qk_bench_options *o;
    qk_bench_result *result;
    qk_error *err;
    qk_random_model *random; /* or NULL: a folder's */
    qk_model model;
    bool loaded;
    const qk_backend *backend;
    qk_forward *forward;
    qk_head_plan heads;
    int *window; /* [layers] */
    qk_capture *capture;
    qk_bench_disk disk;
    qk_bench_stage turns[QK_BENCH_STAGES]; /* those that take turns: all but merging */
    size_t n_turns;
    char build[QK_BUILD_TEXT];
    qk_arena arena;
};

/* The document of a length, and what the rounds have given. */
typedef struct document {
    qk_bench_length *out;
    int32_t *ids, starts[2];
    qk_batch batch;
    qk_bench_rows *rows;
    size_t rounds;
    double limit; /* seconds: no round is begun later, in a machine that has become slower */
    double *wall[QK_BENCH_STAGES], *cpu[QK_BENCH_STAGES]; /* [rounds] seconds */
    double unit_bytes, commit_seconds;                    /* of all rounds */
} document;

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- one pass ---- */

static qk_status look_for_signals(void *context, int layer, qk_error *err)
{
    (void)context, (void)layer;
    return qk_interrupt_check(err);
}

static qk_status run_with(qk_bench *b, const document *d, const qk_capture_hooks *hooks)
{
    return qk_forward_run(b->forward, &d->batch, hooks, b->err);
}

static qk_status run_unit(qk_bench *b, document *d)
{
    qk_unit_writer *file;
    const qk_capture_example example = {.id = b->disk.units, .index = b->disk.units};
    QK_TRY(qk_bench_disk_begin(&b->disk, &file, b->model.spec.d, d->starts[1], b->err));
    qk_capture_aim(b->capture, &d->batch, &example, file);
    /* These three alone: whatever else a capture asks of the forward, each way computes the same. */
    const qk_capture_hooks all = qk_capture_hooks_of(b->capture);
    const qk_capture_hooks hooks = {.context = all.context,
                                    .pre_rope = all.pre_rope,
                                    .post_rope = all.post_rope,
                                    .layer_done = all.layer_done};
    qk_status s = run_with(b, d, &hooks);
    if (s != QK_OK) {
        qk_unit_abort(file);
        return s;
    }
    double bytes = 0, began = qk_now();
    s = qk_bench_disk_commit(&b->disk, file, &bytes, b->err);
    d->commit_seconds += qk_now() - began;
    d->unit_bytes += bytes;
    return s;
}

static qk_status run_stage(qk_bench *b, document *d, qk_bench_stage stage)
{
    if (stage == QK_BENCH_UNIT) return run_unit(b, d);
    if (stage == QK_BENCH_FORWARD)
        return run_with(b, d, &(qk_capture_hooks){.layer_done = look_for_signals});
    const qk_capture_hooks hooks = qk_bench_rows_hooks(d->rows);
    if (stage == QK_BENCH_GATHER) b->model.backend = qk_bench_gathering(b->backend);
    qk_status s = run_with(b, d, &hooks);
    b->model.backend = b->backend;
    return s;
}

static qk_status time_stage(qk_bench *b, document *d, qk_bench_stage stage, double *wall,
                            double *cpu)
{
    double began = qk_now(), cpu_began = cpu_now();
    QK_TRY(run_stage(b, d, stage));
    *wall = qk_now() - began;
    *cpu = cpu_now() - cpu_began;
    return QK_OK;
}

/* ---- the rounds of a length ---- */

size_t qk_bench_turn(size_t round, size_t i, size_t n)
{
    size_t at = (i + round / 2) % n;
    return round % 2 ? n - 1 - at : at;
}

static void open_document(qk_bench *b, document *d, int tokens)
{
    uint32_t x = 2463534242u;
    *d = (document){.ids = qk_alloc((size_t)tokens, sizeof *d->ids), .starts = {0, tokens}};
    for (int t = 0; t < tokens; t++) { /* Marsaglia (2003) */
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        d->ids[t] = (int32_t)(x % (uint32_t)b->model.spec.V);
    }
    d->batch = (qk_batch){d->ids, d->starts, 1};
    d->rows = qk_bench_rows_new(&b->heads, &b->o->sampler, b->model.spec.d, tokens);
}

static void close_document(document *d)
{
    for (int s = 0; s < QK_BENCH_STAGES; s++) free(d->wall[s]), free(d->cpu[s]);
    qk_bench_rows_free(d->rows);
    free(d->ids);
}

static size_t rounds_of(const qk_bench *b, double seconds_a_round)
{
    if (b->o->rounds) return (size_t)b->o->rounds;
    if (!b->result->timed) return 1;
    double n = TIME_A_LENGTH / seconds_a_round;
    return n < LEAST_ROUNDS ? LEAST_ROUNDS : n > MOST_ROUNDS ? MOST_ROUNDS : (size_t)n;
}

static qk_status run_rounds(qk_bench *b, document *d)
{
    char what[64];
    snprintf(what, sizeof what, "%d tokens", d->starts[1]);
    for (int s = 0; s < QK_BENCH_STAGES; s++) {
        d->wall[s] = qk_alloc(d->rounds, sizeof(double));
        d->cpu[s] = qk_alloc(d->rounds, sizeof(double));
    }
    double began = qk_now();
    for (size_t r = 0; r < d->rounds; r++) {
        if (r && qk_now() - began > d->limit) d->rounds = r;
        for (size_t i = 0; i < b->n_turns && r < d->rounds; i++) {
            qk_bench_stage stage = b->turns[qk_bench_turn(r, i, b->n_turns)];
            qk_progress_of(what, (double)r, (double)d->rounds, "round");
            QK_TRY(qk_interrupt_check(b->err));
            QK_TRY(time_stage(b, d, stage, &d->wall[stage][r], &d->cpu[stage][r]));
        }
    }
    return QK_OK;
}

/* The units that are there. */
static qk_status merge(qk_bench *b, document *d, double *seconds, double *cpu, double *bytes)
{
    double began = cpu_now();
    QK_TRY(qk_bench_disk_merge(&b->disk, &b->heads, b->window, b->model.spec.d, seconds, bytes,
                               &d->out->files, b->err));
    *cpu = cpu_now() - began;
    return QK_OK;
}

/* first_cpu: of the merge of one document alone. */
static qk_status merge_rounds(qk_bench *b, document *d, double first_cpu)
{
    double seconds, cpu, bytes, n = (double)d->rounds;
    QK_TRY(merge(b, d, &seconds, &cpu, &bytes));
    double each = n > 1 ? fmax(0, cpu - first_cpu) / (n - 1) : cpu;
    for (size_t r = 0; r < d->rounds; r++) {
        d->wall[QK_BENCH_MERGED][r] = d->wall[QK_BENCH_UNIT][r] + each;
        d->cpu[QK_BENCH_MERGED][r] = d->cpu[QK_BENCH_UNIT][r] + each;
    }
    d->out->merge_cpu_seconds = each;
    d->out->stages[QK_BENCH_MERGED].bytes = bytes / n;
    return QK_OK;
}

/* ---- what they say ---- */

/* Weights once for each chunk of tokens; the residual stream, q, k and v, and what the MLP holds
 * between its products, written once and read once. What attention reads again is in caches. */
static double bytes_of_forward(const qk_bench *b, double tokens)
{
    const qk_spec *s = &b->model.spec;
    double chunks = ceil(tokens / (double)b->backend->chunk), act = b->o->dtype == QK_BF16 ? 2 : 4;
    double qkv = ((double)s->H + 2.0 * s->K) * s->d, F = s->experts ? s->top_k * s->expert_F : s->F;
    double layer = 4 * 2.0 * s->D + act * (qkv + s->D) + 4 * 2 * F + act * F;
    double table = (double)s->V * s->D * qk_dtype_size(b->o->dtype);
    return chunks * ((double)b->model.budget.bytes - table) +
           2 * tokens * layer * (double)b->model.budget.present;
}

static void summarize(qk_bench *b, document *d)
{
    qk_bench_length *out = d->out;
    out->tokens = d->starts[1];
    out->rounds = d->rounds;
    out->flops = qk_forward_flops(&b->model.spec, -1, QK_LAST_WHOLE, out->tokens);
    out->rows = (double)qk_bench_rows_count(d->rows);
    out->stages[QK_BENCH_FORWARD].bytes = bytes_of_forward(b, out->tokens);
    out->stages[QK_BENCH_ROWS].bytes = out->stages[QK_BENCH_GATHER].bytes =
        out->rows * 4 * b->model.spec.d;
    out->stages[QK_BENCH_UNIT].bytes = d->unit_bytes / (double)d->rounds;
    out->commit_seconds = d->commit_seconds / (double)d->rounds;
    for (int s = 0; s < QK_BENCH_STAGES; s++) {
        qk_bench_timing *t = &out->stages[s];
        double *wall = d->wall[s], *cpu = d->cpu[s];
        t->measured = s != QK_BENCH_GATHER || b->o->gather;
        if (!t->measured || !b->result->timed || s == QK_BENCH_FORWARD) continue;
        t->wall = qk_difference_of(wall, d->wall[QK_BENCH_FORWARD], d->rounds);
        t->cpu = qk_difference_of(cpu, d->cpu[QK_BENCH_FORWARD], d->rounds);
    }
    for (int s = 0; s < QK_BENCH_STAGES; s++) { /* sorts them: behind the pairs */
        qk_bench_timing *t = &out->stages[s];
        if (!t->measured || !b->result->timed) continue;
        t->seconds = qk_median(d->wall[s], d->rounds);
        t->least = d->wall[s][0];
        t->most = d->wall[s][d->rounds - 1];
        t->cpu_seconds = qk_median(d->cpu[s], d->rounds);
    }
}

/* *rate: FLOP a second of the forward, for the choice of the next length. */
static qk_status measure_document(qk_bench *b, document *d, double *rate)
{
    double wall, cpu, bytes;
    d->out = &b->result->lengths[b->result->n_lengths];
    QK_TRY(time_stage(b, d, QK_BENCH_UNIT, &wall, &cpu)); /* pages, clocks */
    QK_TRY(merge(b, d, &d->out->merge_seconds, &cpu, &bytes));
    d->unit_bytes = d->commit_seconds = 0;
    *rate = qk_forward_flops(&b->model.spec, -1, QK_LAST_WHOLE, d->starts[1]) / wall;
    d->rounds = rounds_of(b, wall * (double)b->n_turns);
    QK_TRY(run_rounds(b, d));
    QK_TRY(merge_rounds(b, d, cpu));
    summarize(b, d);
    b->result->n_lengths++;
    return QK_OK;
}

static qk_status measure_length(qk_bench *b, int tokens, double limit, double *rate)
{
    document d;
    open_document(b, &d, tokens);
    d.limit = limit;
    qk_status s = measure_document(b, &d, rate);
    close_document(&d);
    return s;
}

/* The longest one of up to LONG tokens for which the least rounds fit into the time. */
static int choose_long(const qk_bench *b, double rate)
{
    double passes = (double)b->n_turns * (b->o->rounds ? b->o->rounds : LEAST_ROUNDS);
    int tokens = LONG;
    while (tokens > 2 * SHORT && b->result->timed &&
           passes * qk_forward_flops(&b->model.spec, -1, QK_LAST_WHOLE, tokens) / rate >
               TIME_OF_LONG)
        tokens /= 2;
    if (tokens < LONG)
        qk_info("%d tokens would take %s here: --tokens %d measures them", LONG,
                qk_human_seconds(passes *
                                 qk_forward_flops(&b->model.spec, -1, QK_LAST_WHOLE, LONG) / rate),
                LONG);
    return tokens;
}

static qk_status measure_lengths(qk_bench *b)
{
    const qk_bench_options *o = b->o;
    double rate;
    for (size_t i = 0; i < o->n_tokens; i++)
        QK_TRY(measure_length(b, o->tokens[i], HUGE_VAL, &rate));
    if (o->n_tokens) return QK_OK;
    bool limited = !o->rounds;
    QK_TRY(measure_length(b, SHORT, limited ? TIME_A_LENGTH : HUGE_VAL, &rate));
    return measure_length(b, choose_long(b, rate), limited ? TIME_OF_LONG : HUGE_VAL, &rate);
}

/* ---- the model ---- */

static qk_status load_model(qk_bench *b)
{
    const qk_bench_options *o = b->o;
    qk_model_options options = {.backend = b->backend,
                                .device = {.compute = o->dtype, .threads = o->threads},
                                .last_layer = -1};
    const char *name = o->folder;
    if (o->preset) {
        QK_TRY(qk_random_model_make(&b->random, o->preset, o->layers, o->dtype, b->err));
        qk_random_model_give(b->random, &options);
        name = o->preset->name;
    }
    QK_TRY(qk_model_load(&b->model, name, &options, b->err));
    b->loaded = true;
    b->forward = qk_forward_new(&b->model);
    return QK_OK;
}

/* Queries and keys of every head. */
static qk_status plan_heads(qk_bench *b)
{
    const qk_spec *s = &b->model.spec;
    bool *absent = qk_arena_alloc(&b->arena, (size_t)s->layers, sizeof *absent);
    b->window = qk_arena_alloc(&b->arena, (size_t)s->layers, sizeof *b->window);
    for (int l = 0; l < s->layers; l++) {
        absent[l] = s->layer[l].absent;
        b->window[l] = s->layer[l].window;
    }
    const qk_head_model model = {
        .n_layers = s->layers, .n_q_heads = s->H, .n_k_heads = s->K, .absent = absent};
    const qk_head_choice all = {.capture_queries = true, .capture_keys = true};
    QK_TRY(qk_head_plan_make(&b->heads, &model, &all, b->err));
    const qk_capture_plan plan = {
        .heads = &b->heads, .sampler = b->o->sampler, .key_sampler = b->o->sampler, .d = s->d};
    b->capture = qk_capture_new(&plan);
    return QK_OK;
}

static const char *sampler_text(qk_bench *b)
{
    const qk_sampler *s = &b->o->sampler;
    const char *kind = qk_sampler_kind_name(s->kind);
    if (s->kind == QK_SAMPLE_ALL) return kind;
    return qk_arena_strf(&b->arena, "%s:%lld/%g", kind, (long long)s->min_bucket_size,
                         s->base_rate);
}

static void describe(qk_bench *b)
{
    const qk_spec *s = &b->model.spec;
    qk_bench_result *r = b->result;
    r->model = b->o->preset ? b->o->preset->name : b->o->folder;
    r->is_random = b->o->preset != NULL;
    r->device = b->backend->describe(b->model.device);
    r->timed = !strstr(r->device, "fake GPU");
    r->dtype = qk_dtype_name(b->o->dtype);
    r->sampler = sampler_text(b);
    r->disk = qk_bench_disk_text(&b->disk, b->o->dir);
    r->layers = b->model.budget.present;
    r->q_heads = b->heads.n_q;
    r->k_heads = b->heads.n_k;
    r->head_dim = s->d;
    if (!strcmp(b->backend->name, "cpu"))
        r->threads = b->o->threads ? b->o->threads : qk_threads(NULL);
    qk_build(b->build);
    r->build = b->build;
}

static void find_peaks(qk_bench *b)
{
    if (strcmp(b->backend->name, "cpu") != 0) return;
    b->result->peaks = (qk_bench_peaks){
        .vector_flops = qk_cpu_peak(QK_F32, b->o->threads, TIME_A_PEAK),
        .matrix_flops = qk_cpu_peak(QK_BF16, b->o->threads, TIME_A_PEAK),
        .copy_bytes = qk_cpu_copy_rate(b->o->threads, TIME_A_PEAK),
    };
}

static qk_status run(qk_bench *b)
{
    const qk_bench_stage all[] = {QK_BENCH_FORWARD, QK_BENCH_ROWS, QK_BENCH_GATHER, QK_BENCH_UNIT};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] != QK_BENCH_GATHER || b->o->gather) b->turns[b->n_turns++] = all[i];
    QK_TRY(qk_bench_disk_open(&b->disk, b->o->dir, b->err));
    QK_TRY(load_model(b));
    QK_TRY(plan_heads(b));
    describe(b);
    find_peaks(b);
    return measure_lengths(b);
}

qk_status qk_bench_run(const qk_bench_options *options, qk_bench_result *result, qk_bench **bench,
                       qk_error *err)
{
    double began = qk_now();
    qk_bench *b = qk_zalloc(1, sizeof *b);
    *bench = b;
    *result = (qk_bench_result){0};
    b->o = options;
    b->result = result;
    b->err = err;
    b->backend = qk_backend_find(options->backend);
    if (!b->backend)
        return qk_fail(err, QK_ERR_CONFIG, NULL, "--backend %s is not in this build; it has %s",
                       options->backend, qk_backend_names());
    qk_status s = run(b);
    result->seconds = qk_now() - began;
    return s;
}

void qk_bench_free(qk_bench *b)
{
    if (!b) return;
    qk_forward_free(b->forward);
    if (b->loaded) qk_model_free(&b->model);
    qk_capture_free(b->capture);
    qk_head_plan_free(&b->heads);
    qk_random_model_free(b->random);
    qk_bench_disk_close(&b->disk);
    qk_arena_free(&b->arena);
    free(b);
}
