/* What the tests of the CUDA runtime on the fake GPU share: a small run (load, two batches, the
 * hidden state, close) whose every row is known, and what must hold after it. */
#pragma once

#include "tests/test.h"

#include "engine/base/log.h"
#include "engine/forward/forward.h"
#include "engine/model/model.h"
#include "kernels/cuda/backend_cuda.h"
#include "tests/fake_cuda/fake_cuda.h"

/* Nothing was done wrongly, nothing is left. */
static inline void check_clean(const char *what)
{
    const char *fault = fake_cuda_fault(), *leaks = fake_cuda_leaks();
    CHECK_MSG(!*fault, "%s: %s", what, fault);
    CHECK_MSG(!*leaks, "%s leaks %s", what, leaks);
    CHECK_MSG(!fake_cuda_hazard_count(), "%s frees what queued work uses", what);
}

/* ---- a small run: load, two batches, the hidden state, close ---- */

enum { LAYERS = 3, H = 4, K = 2, D = 32, HIDDEN = 64 }; /* tests/data/forward/qwen3 */
enum { BATCHES = 2, ROWS = 5, COPIES = 4, MAX_TOKENS = 17, UNTOUCHED = 0xAB };
static const char model_folder[] = "tests/data/forward/qwen3/model";

typedef struct rows {
    float pre_q[H][ROWS][D], pre_k[1][ROWS][D], q[2][ROWS][D], k[K][ROWS][D];
} rows;

typedef struct outcome {
    qk_status status;
    qk_error err;
    int batch; /* that runs */
    rows arrives[LAYERS], taken[BATCHES][LAYERS];
    bool delivered[BATCHES][LAYERS];
    float hidden[MAX_TOKENS][HIDDEN];
    uint64_t calls_before_close;
    uint64_t bytes_to_host; /* in the first batch */
} outcome;

/* Where the calls of the first batch are logged, or NULL. */
__attribute__((unused)) static const char *log_path;

static const int32_t positions[BATCHES][ROWS] = {{0, 3, 6, 8, 11}, {1, 2, 9, 15, 16}};
static const int32_t heads[] = {0, 1, 2, 3}, last_heads[] = {1};

/* The second batch wants nothing of the first layer: nobody then waits for its copies. */
static inline const qk_layer_capture *copies_of(outcome *o, int layer, bool pre)
{
    if (o->batch == 1 && layer == 0) return NULL;
    static qk_row_copy all[2][2];
    static qk_layer_capture captures[2];
    rows *to = &o->arrives[layer];
    const int32_t *p = positions[o->batch];
    qk_row_copy *c = all[pre];
    c[0] = pre ? (qk_row_copy){p, heads, ROWS, H, &to->pre_q[0][0][0], NULL}
               : (qk_row_copy){p, heads + 1, ROWS, 2, &to->q[0][0][0], NULL};
    c[1] = pre ? (qk_row_copy){p, last_heads, ROWS, 1, &to->pre_k[0][0][0], NULL}
               : (qk_row_copy){p, heads, ROWS, K, &to->k[0][0][0], NULL};
    captures[pre] = (qk_layer_capture){&c[0], &c[1], 1, 1, NULL, 0};
    return &captures[pre];
}

static inline const qk_layer_capture *pre_rope(void *o, int layer)
{
    return copies_of(o, layer, true);
}
static inline const qk_layer_capture *post_rope(void *o, int layer)
{
    return copies_of(o, layer, false);
}

static inline qk_status take(void *context, int layer, qk_error *err)
{
    outcome *o = context;
    (void)err;
    o->taken[o->batch][layer] = o->arrives[layer];
    o->delivered[o->batch][layer] = true;
    return QK_OK;
}

static inline qk_status run_batches(outcome *o, const qk_model *m)
{
    static const int32_t starts[BATCHES][3] = {{0, 7, 12}, {0, 9, 17}};
    int32_t ids[MAX_TOKENS];
    for (int i = 0; i < MAX_TOKENS; i++) ids[i] = 3 + 13 * i % 300;
    const qk_capture_hooks hooks = {o, pre_rope, post_rope, take, NULL};
    qk_forward *f = qk_forward_new(m);
    qk_status s = QK_OK;
    for (o->batch = 0; o->batch < BATCHES && s == QK_OK; o->batch++) {
        const qk_batch batch = {ids, starts[o->batch], 2};
        if (!o->batch && log_path) fake_cuda_set_log(log_path);
        s = qk_forward_run(f, &batch, &hooks, &o->err);
        if (o->batch) continue;
        if (log_path) fake_cuda_set_log(NULL);
        o->bytes_to_host = fake_cuda_bytes_to_host();
    }
    if (s == QK_OK) s = qk_forward_hidden(f, &o->hidden[0][0], &o->err);
    o->calls_before_close = fake_cuda_calls("*");
    qk_forward_free(f);
    return s;
}

/* layers: in memory at a time; 0: as many as fit beside `reserve` bytes. */
static inline void small_run_with(outcome *o, qk_dtype compute, int layers, uint64_t reserve)
{
    memset(o, 0, sizeof *o);
    memset(o->arrives, UNTOUCHED, sizeof o->arrives);
    qk_model m;
    qk_model_options options = {.backend = &qk_backend_cuda,
                                .device = {.compute = compute, .threads = 1},
                                .last_layer = -1,
                                .layers_in_memory = layers,
                                .reserve = reserve};
    o->status = qk_model_load(&m, model_folder, &options, &o->err);
    if (o->status != QK_OK) return;
    o->status = run_batches(o, &m);
    qk_model_free(&m);
}

/* All layers stay. */
static inline void small_run(outcome *o, qk_dtype compute)
{
    small_run_with(o, compute, LAYERS, 0);
}

/* Whatever was handed over is right, and all of it when all went well. */
static inline void check_rows(const outcome *o, const outcome *right, const char *what)
{
    for (int b = 0; b < BATCHES; b++)
        for (int l = 0; l < LAYERS; l++)
            CHECK_MSG(o->delivered[b][l]
                          ? !memcmp(&o->taken[b][l], &right->taken[b][l], sizeof o->taken[b][l])
                          : o->status != QK_OK,
                      "%s: rows of batch %d, layer %d are wrong or absent", what, b, l);
    CHECK_MSG(o->status != QK_OK || !memcmp(o->hidden, right->hidden, sizeof o->hidden),
              "%s: the hidden state is wrong", what);
}

static inline const outcome *right_outcome(void)
{
    static outcome right;
    fake_cuda_reset();
    small_run(&right, QK_BF16);
    CHECK_MSG(right.status == QK_OK, "%s", right.err.message);
    return &right;
}
