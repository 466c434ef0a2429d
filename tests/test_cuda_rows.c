/* The CUDA ops that walk along rows against the naive double-precision ones: embedding, norms, the
 * step before attention, activations, experts, captured rows. On the emulator, or with the argument
 * "cuda" on a GPU.
 *
 * Errors allowed: float32 chains as in tests/test_kernels.c, 4e-6 of values of size 1; bfloat16
 * results are rounded here and in the reference, and a value near the middle of two neighbours may
 * go either way: one step, 2^-7 of the value. */
#include "tests/emulated.h"

static const float F32_STEP = 4e-6f, BF16_STEP = 1 / 128.0f;

/* One op on one backend; writes its output values. */
typedef size_t (*op_runner)(const qk_backend *b, qk_device *dev, const void *shape, float *out);

enum { CAPACITY = 1 << 20 };

/* Under all schedules: within `step` of 1 + |want|, and the same bits. */
static void compare_all(const char *what, op_runner run, const void *shape, qk_dtype compute,
                        float step)
{
    float *want = qk_alloc(CAPACITY, sizeof *want), *got = qk_alloc(CAPACITY, sizeof *got),
          *first = qk_alloc(CAPACITY, sizeof *first);
    qk_device *dev = open_device(&qk_backend_ref, compute);
    size_t n_want = run(&qk_backend_ref, dev, shape, want);
    qk_backend_ref.close(dev);
    for (int i = 0; i < schedules_of(SCHEDULES); i++) {
        const char *schedule = set_schedule(i);
        dev = open_device(tested, compute);
        memset(got, 0xFF, n_want * sizeof *got);
        size_t n = run(tested, dev, shape, got), bad = 0;
        tested->close(dev);
        const char *fault = tested_fault();
        CHECK_MSG(!fault[0], "%s (%s): %s", what, schedule, fault);
        for (size_t j = 0; j < n; j++)
            if (!(fabsf(got[j] - want[j]) <= step * (1 + fabsf(want[j])))) bad = j + 1;
        CHECK_MSG(n == n_want && !bad, "%s (%s): value %zu is %g, expected %g", what, schedule, bad,
                  (double)(bad ? got[bad - 1] : 0), (double)(bad ? want[bad - 1] : 0));
        if (i)
            CHECK_MSG(!memcmp(first, got, n * sizeof *got), "%s: %s gives other bits", what,
                      schedule);
        else
            memcpy(first, got, n * sizeof *got);
    }
    free(want), free(got), free(first);
}

static float step_of(qk_dtype t)
{
    return t == QK_F32 ? F32_STEP : BF16_STEP;
}

/* ---- norms, conversions, embedding, activations ---- */

typedef struct row_shape {
    size_t T, D, pad; /* pad: rows are views of wider ones */
    qk_dtype out, table;
    bool plus_one, in_place, norm;
    qk_activation act;
} row_shape;

static size_t run_rmsnorm(const qk_backend *b, qk_device *dev, const void *shape, float *out)
{
    const row_shape *s = shape;
    float *x = noises(s->T * (s->D + s->pad), 1), *w = noises(s->D, 2), *at = out;
    qk_tensor tx = tensor(b, dev, "x", QK_F32, s->T, s->D + s->pad, x);
    qk_tensor tw = tensor(b, dev, "w", QK_F32, 1, s->D, w);
    qk_tensor own = tensor(b, dev, "y", s->out, s->T, s->D, NULL), view = qk_cols(tx, 0, s->D);
    qk_tensor y = s->in_place ? view : own;
    b->rmsnorm(dev, y, view, tw.data, 1e-5f, s->plus_one);
    append_values(b, dev, y, &at);
    b->convert(dev, own, view);
    append_values(b, dev, own, &at);
    b->free(dev, &tx), b->free(dev, &tw), b->free(dev, &own);
    free(x), free(w);
    return (size_t)(at - out);
}

static size_t run_add(const qk_backend *b, qk_device *dev, const void *shape, float *out)
{
    const row_shape *s = shape;
    float *x = noises(s->T * s->D, 1), *y = noises(s->T * (s->D + s->pad), 3), *w = noises(s->D, 2);
    float *at = out;
    qk_tensor tx = tensor(b, dev, "x", QK_F32, s->T, s->D, x);
    qk_tensor ty = tensor(b, dev, "y", QK_F32, s->T, s->D + s->pad, y);
    qk_tensor tw = tensor(b, dev, "w", QK_F32, 1, s->D, w);
    b->add(dev, tx, qk_cols(ty, 0, s->D), s->norm ? tw.data : NULL, 1e-6f, s->plus_one, 0.22f);
    append_values(b, dev, tx, &at);
    b->free(dev, &tx), b->free(dev, &ty), b->free(dev, &tw);
    free(x), free(y), free(w);
    return (size_t)(at - out);
}

static size_t run_embed(const qk_backend *b, qk_device *dev, const void *shape, float *out)
{
    const row_shape *s = shape;
    enum { V = 50 };
    float *table = noises(V * s->D, 4), *at = out;
    int32_t ids[64];
    for (size_t t = 0; t < s->T; t++) ids[t] = (int32_t)(t * 17 % V);
    qk_tensor tt = tensor(b, dev, "table", s->table, V, s->D, table);
    qk_tensor x = tensor(b, dev, "x", QK_F32, s->T, s->D, NULL);
    b->embed(dev, x, tt, ids, 1.5f);
    append_values(b, dev, x, &at);
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    b->free(dev, &tt), b->free(dev, &x);
    free(table);
    return (size_t)(at - out);
}

static size_t run_glu(const qk_backend *b, qk_device *dev, const void *shape, float *out)
{
    const row_shape *s = shape;
    float *g = noises(s->T * 2 * s->D, 5), *at = out;
    for (size_t i = 0; i < s->T * 2 * s->D; i++) g[i] *= i % 7 ? 2 : 12; /* tails too */
    qk_tensor tg = tensor(b, dev, "g", QK_F32, s->T, 2 * s->D, g);
    qk_tensor y = tensor(b, dev, "y", s->out, s->T, s->D, NULL);
    b->glu(dev, y, tg, s->act);
    append_values(b, dev, y, &at);
    b->free(dev, &tg), b->free(dev, &y);
    free(g);
    return (size_t)(at - out);
}

static void test_rows(void)
{
    static const size_t widths[] = {1, 3, 64, 577, 1024, 1100};
    for (size_t i = 0; i < 6; i++)
        for (int f = 0; f < 2; f++) {
            row_shape s = {.T = 3, .D = widths[i], .pad = i % 2 ? 5 : 4};
            s.out = f ? QK_BF16 : QK_F32;
            s.plus_one = i % 2;
            s.in_place = !f && i > 2;
            s.norm = !f;
            compare_all("rmsnorm", run_rmsnorm, &s, QK_BF16, step_of(s.out));
            compare_all("add", run_add, &s, QK_BF16, F32_STEP);
            s.act = (qk_activation)(i % 3);
            compare_all("glu", run_glu, &s, QK_BF16, 4 * step_of(s.out));
        }
}

static void test_embed(void)
{
    for (int table = 0; table < 3; table++)
        for (int compute = 0; compute < 3; compute++) {
            row_shape s = {.T = 5, .D = compute == 1 ? 37 : 300};
            s.table = (qk_dtype[]){QK_F32, QK_F16, QK_BF16}[table];
            compare_all("embed", run_embed, &s, (qk_dtype[]){QK_F32, QK_F16, QK_BF16}[compute], 0);
        }
}

/* ---- the step before attention ---- */

typedef struct post_shape {
    qk_heads heads;
    int rotary;
    bool interleaved, norm, norm_whole, plus_one, q_scale, in_place;
    qk_dtype out;
    size_t T, chunk;
} post_shape;

static size_t run_post(const qk_backend *b, qk_device *dev, const void *shape, float *out)
{
    const post_shape *s = shape;
    enum { TABLE = 40 };
    size_t width = qk_heads_width(s->heads), d = (size_t)s->heads.d, half = (size_t)s->rotary / 2;
    size_t n_q = (size_t)s->heads.H * d, n_k = (size_t)s->heads.K * d;
    float *v = noises(s->T * width, 1), *qn = noises(n_q, 2), *kn = noises(n_k, 3), *at = out;
    float *c = noises(TABLE * half, 4), *sn = noises(TABLE * half, 5), *qs = noises(TABLE, 6);
    int32_t *rows = qk_alloc(s->T, sizeof *rows), captured[] = {0, 3, 4, 33, 34}, heads[] = {1, 0};
    size_t n_captured = 0;
    while (n_captured < 5 && captured[n_captured] < (int32_t)s->T) n_captured++;
    for (size_t t = 0; t < s->T; t++) rows[t] = (int32_t)(t * 7 % TABLE);
    qk_tensor in = tensor(b, dev, "in", QK_F32, s->T, width, v);
    qk_tensor to = s->in_place ? in : tensor(b, dev, "out", s->out, s->T, width, NULL);
    qk_tensor tq = tensor(b, dev, "q_norm", QK_F32, 1, n_q, qn),
              tk = tensor(b, dev, "k_norm", QK_F32, 1, n_k, kn),
              tc = tensor(b, dev, "cos", QK_F32, TABLE, half, c),
              ts = tensor(b, dev, "sin", QK_F32, TABLE, half, sn),
              tqs = tensor(b, dev, "q_scale", QK_F32, TABLE, 1, qs);
    size_t n_out = 2 * n_captured * d;
    float *rows_q = qk_alloc(n_out + 1, sizeof(float)),
          *rows_k = qk_alloc(n_out + 1, sizeof(float));
    qk_row_copy q = {captured, heads, n_captured, 2, rows_q, NULL};
    qk_row_copy k = {captured, heads, n_captured, s->heads.K > 1 ? 2u : 1u, rows_k, NULL};
    if (s->heads.K == 1) k.heads = heads + 1;
    qk_layer_capture capture = {&q, &k, 1, 1, NULL, 0};
    qk_qkv_post p = {.heads = s->heads,
                     .q_norm = s->norm ? tq.data : NULL,
                     .k_norm = s->norm ? tk.data : NULL,
                     .norm_whole = s->norm_whole,
                     .eps = 1e-6f,
                     .norm_plus_one = s->plus_one,
                     .cos = half ? tc.data : NULL,
                     .sin = half ? ts.data : NULL,
                     .q_scale = s->q_scale ? tqs.data : NULL,
                     .table_row = rows,
                     .rotary = s->rotary,
                     .interleaved = s->interleaved,
                     .capture = &capture};
    for (size_t t = 0; t < s->T; t += s->chunk) {
        size_t n = s->T - t < s->chunk ? s->T - t : s->chunk;
        b->qkv_post(dev, qk_rows(to, t, n), qk_rows(in, t, n), &p, t);
    }
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    append_values(b, dev, to, &at);
    memcpy(at, rows_q, n_out * sizeof *at), at += n_out;
    memcpy(at, rows_k, n_captured * k.n_heads * d * sizeof *at), at += n_captured * k.n_heads * d;
    if (!s->in_place) b->free(dev, &to);
    b->free(dev, &in), b->free(dev, &tq), b->free(dev, &tk), b->free(dev, &tc), b->free(dev, &ts);
    b->free(dev, &tqs);
    free(v), free(qn), free(kn), free(c), free(sn), free(qs), free(rows), free(rows_q),
        free(rows_k);
    return (size_t)(at - out);
}

static void test_qkv_post(void)
{
    static const post_shape shapes[] = {
        {{4, 2, 64, true}, 64, false, false, false, false, false, false, QK_BF16, 35, 35},
        {{4, 2, 64, true}, 64, false, true, false, false, true, false, QK_BF16, 35, 16},
        {{3, 1, 48, true}, 24, true, false, false, false, false, false, QK_BF16, 6, 4},
        {{6, 3, 80, true}, 80, false, true, true, false, false, true, QK_F32, 5, 5},
        {{2, 2, 128, false}, 32, false, true, false, true, false, false, QK_BF16, 5, 5},
        {{4, 4, 18, true}, 10, true, true, true, true, true, false, QK_F32, 36, 7},
        {{2, 1, 256, true}, 0, false, true, false, false, false, true, QK_F32, 4, 3},
        {{5, 1, 7, true}, 6, false, true, false, true, true, true, QK_F32, 34, 34},
        {{5, 1, 24, true}, 16, true, true, false, true, true, true, QK_F32, 34, 9},
        {{9, 3, 128, true}, 128, false, true, false, false, false, false, QK_BF16, 35, 35},
        {{3, 2, 8, true}, 8, false, true, true, true, false, false, QK_BF16, 4, 4},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        compare_all("qkv_post", run_post, &shapes[i], QK_BF16, step_of(shapes[i].out));
}

/* ---- experts ---- */

typedef struct route_shape {
    size_t T, E, D;
    int top_k;
    bool renormalise, ties;
    qk_dtype format;
} route_shape;

/* Routes, moves the rows of the fullest expert there and back; rows and starts must be exact. */
static size_t run_route(const qk_backend *b, qk_device *dev, const void *shape, float *out)
{
    const route_shape *s = shape;
    size_t pairs = s->T * (size_t)s->top_k;
    float *logits = noises(s->T * s->E, 1), *x = noises(s->T * s->D, 2), *at = out;
    for (size_t i = 0; i < s->T * s->E && s->ties; i++) logits[i] = roundf(logits[i]);
    qk_tensor tl = tensor(b, dev, "logits", QK_F32, s->T, s->E, logits);
    qk_tensor tx = tensor(b, dev, "x", s->format, s->T, s->D, x);
    qk_tensor taken = tensor(b, dev, "taken", s->format, s->T, s->D, NULL);
    qk_tensor sum = tensor(b, dev, "sum", QK_F32, s->T, s->D, x);
    qk_tensor y = tensor(b, dev, "y", QK_F32, s->T, s->D, x);
    const qk_routes *r = b->route(dev, tl, s->top_k, s->renormalise);
    if (r->starts[0] != 0 || r->starts[s->E] != (int32_t)pairs) return 0; /* do not follow them */
    for (size_t e = 0; e < s->E; e++)
        if (r->starts[e] > r->starts[e + 1]) return 0;
    for (size_t e = 0; e <= s->E; e++) *at++ = (float)r->starts[e];
    int32_t *rows = qk_alloc(pairs, sizeof *rows);
    b->download(dev, rows, (qk_tensor){(void *)r->rows, QK_F32, 1, pairs, pairs}); /* 4 bytes */
    for (size_t i = 0; i < pairs; i++) *at++ = (float)rows[i];
    free(rows);
    append_values(b, dev, (qk_tensor){(void *)r->weights, QK_F32, 1, pairs, pairs}, &at);
    for (size_t e = 0; e < s->E; e++) {
        size_t first = (size_t)r->starts[e], n = (size_t)r->starts[e + 1] - first;
        if (!n) continue;
        b->take_rows(dev, qk_rows(taken, 0, n), tx, r->rows + first);
        b->add_rows(dev, sum, qk_rows(y, 0, n), r->rows + first, r->weights + first);
        append_values(b, dev, qk_rows(taken, 0, n), &at);
    }
    append_values(b, dev, sum, &at);
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    b->free(dev, &tl), b->free(dev, &tx), b->free(dev, &taken), b->free(dev, &sum);
    b->free(dev, &y);
    free(logits), free(x);
    return (size_t)(at - out);
}

static void test_experts(void)
{
    static const route_shape shapes[] = {
        {1, 4, 8, 2, true, false, QK_BF16},  {70, 8, 12, 2, true, false, QK_BF16},
        {33, 60, 7, 4, false, true, QK_F32}, {150, 128, 4, 8, true, true, QK_BF16},
        {9, 3, 5, 3, false, false, QK_BF16}, {40, 33, 16, 1, true, true, QK_F32},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        compare_all("experts", run_route, &shapes[i], QK_BF16, F32_STEP);
}

/* ---- captured rows alone ---- */

static size_t run_gather(const qk_backend *b, qk_device *dev, const void *shape, float *out)
{
    qk_dtype format = *(const qk_dtype *)shape;
    enum { T = 70, H = 3, K = 2, D = 24, W = (H + 2 * K) * D };
    float *v = noises(T * W, 1);
    qk_tensor wide = tensor(b, dev, "qkv", format, T, W + 8, NULL), qkv = qk_cols(wide, 8, W);
    b->upload(dev, qkv, v, QK_F32);
    /* neither list is in order, and both are wanted twice */
    int32_t rows[] = {64, 0, 31, 32, 69, 33}, heads[] = {2, 0, 1}, one[] = {1};
    float *at = out;
    qk_row_copy q[] = {{rows, heads, 6, 3, at, NULL}, {rows + 2, one, 2, 1, at + 18 * D, NULL}};
    at += 20 * D;
    qk_row_copy k[] = {{rows + 1, heads + 1, 4, 2, at, NULL}};
    at += 8 * D;
    qk_row_copy v_rows[] = {{rows, heads + 1, 3, 2, at, NULL},
                            {rows + 3, one, 3, 1, at + 6 * D, NULL}};
    at += 9 * D;
    qk_tensor without_v = qk_cols(qkv, 0, (H + K) * D);
    b->gather(dev, without_v, (qk_heads){H, K, D, false}, &(qk_layer_capture){q, k, 2, 1, NULL, 0});
    b->gather(dev, without_v, (qk_heads){H, K, D, false}, &(qk_layer_capture){0});
    b->gather(dev, qkv, (qk_heads){H, K, D, true},
              &(qk_layer_capture){NULL, NULL, 0, 0, v_rows, 2});
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    b->free(dev, &wide);
    free(v);
    return (size_t)(at - out);
}

static void test_gather(void)
{
    static const qk_dtype formats[] = {QK_F32, QK_BF16};
    for (int i = 0; i < 2; i++) compare_all("gather", run_gather, &formats[i], formats[i], 0);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, " cuda ");
    if (test_word("cuda")) test_on_gpu();
    RUN(test_rows);
    RUN(test_embed);
    RUN(test_qkv_post);
    RUN(test_experts);
    RUN(test_gather);
    return test_summary("cuda rows");
}
