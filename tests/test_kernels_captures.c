/* What leaves attention beside its output: log-sum-exps and values of captured rows, of the CPU
 * backend in each instruction set against the naive one, at odd shapes; the same bits for any number
 * of threads and for every instruction set (tile registers have their own). */
#include "tests/compared.h"

/* Log-sum-exps of some rows: of the last head of all sequences' last rows, and of all heads of rows
 * that are not in order; behind them values. A copy that wants none stands between. Rows of qkv are
 * three numbers further apart than they are long. */
static float *run_captures(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const attention_shape *s = shape;
    size_t T = (size_t)s->starts[s->n_seq], d = (size_t)s->d, H = (size_t)s->H, K = (size_t)s->K;
    qk_heads heads = {s->H, s->K, s->d, true};
    size_t width = qk_heads_width(heads);
    float *values = noises(T * (width + 3), 7);
    qk_tensor wide = tensor(b, dev, test_activation, T, width + 3, values);
    qk_tensor qkv = qk_cols(wide, 2, width), o = tensor(b, dev, test_activation, T, H * d, NULL);
    int32_t last[4], some[64], all[64], last_head = s->H - 1;
    size_t n_some = 0;
    for (int i = 0; i < s->n_seq; i++) last[i] = s->starts[i + 1] - 1;
    for (size_t t = T; t-- > 0;)
        if (t % 7 == 0 && n_some < 64) some[n_some++] = (int32_t)t;
    for (int h = 0; h < s->H; h++) all[h] = (h + 1) % s->H;
    /* A sequence of no tokens has no last row: that is its neighbour's, or nobody's. */
    size_t first = s->starts[1] ? 0 : 1, n_last = (size_t)s->n_seq - first;
    size_t n_lse = n_last + n_some * H, n_v = n_some * K * d;
    float *out = qk_alloc(n_lse + n_v, sizeof *out), *rows = qk_alloc(T * H * d, sizeof *rows);
    memset(out, 0xFF, (n_lse + n_v) * sizeof *out);
    for (int h = 0; h < s->K; h++) QK_ASSERT(all[h] < s->H);
    qk_row_copy q[] = {{last + first, &last_head, n_last, 1, rows, out},
                       {some, all, n_some, 1, rows, NULL},
                       {some, all, n_some, H, rows, out + n_last}};
    int32_t key_heads[64];
    for (int h = 0; h < s->K; h++) key_heads[h] = s->K - 1 - h;
    qk_row_copy v = {some, key_heads, n_some, K, out + n_lse, NULL};
    qk_layer_capture capture = {q, NULL, 3, 0, &v, 1};
    qk_attention p = {heads,       s->starts,          s->n_seq, s->window, 1 / sqrtf((float)s->d),
                      s->soft_cap, .capture = &capture};
    b->attention(dev, s->in_place ? qk_cols(qkv, 0, H * d) : o, qkv, &p);
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    /* Values leave bit for bit. */
    size_t wrong = 0;
    for (size_t i = 0; i < n_v; i++) {
        size_t row = (size_t)some[i / d % n_some], head = (size_t)key_heads[i / d / n_some];
        float want = values[row * (width + 3) + 2 + (H + K + head) * d + i % d];
        wrong += out[n_lse + i] != qk_round_to(want, test_activation);
    }
    CHECK_MSG(!wrong, "%zu values are others", wrong);
    *n = n_lse + n_v;
    b->free(dev, &wide), b->free(dev, &o);
    free(values), free(rows);
    return out;
}

/* An error of a log-sum-exp is a mean of errors of scores, and the relative one of their sum: a
 * chain of d products, times 1 / sqrt(d); twice what tanh is off by, times the cap; exp within 2
 * ulp and a tree of 7 additions a block, 1e-6 in all; and half an ulp of a result below 16. */
static void test_log_sum_exp(void)
{
    for (size_t i = 0; i < N_ATTENTION_SHAPES; i++)
        for (int f = 0; f < 2; f++) {
            const attention_shape *s = &attention_shapes[i];
            double d = s->d;
            test_activation = f ? QK_BF16 : QK_F32;
            compare_all("log-sum-exp", run_captures, s, f ? QK_BF16 : QK_F32,
                        chain_error((size_t)d) / sqrt(d) + 2e-7 * (double)s->soft_cap + 1.5e-6);
        }
    test_activation = QK_F32;
}

/* What one row alone sees is its log-sum-exp: the number itself, to the last bit but one. */
static void test_log_sum_exp_of_one_key(void)
{
    for (size_t i = 0; i < 2 * sizeof isas / sizeof *isas - 2; i++) {
        const qk_backend *b = i % 2 ? ref : cpu;
        qk_device *dev = open_device(b, QK_BF16, i % 2 ? NULL : isas[i / 2], 1);
        if (!dev) continue;
        for (int e = -10; e < 6; e++) {
            float v[3] = {ldexpf(1, e), -1, 5}, out, lse; /* q, k, v; one head of one number */
            static const int32_t starts[] = {0, 1}, zero[] = {0};
            qk_row_copy q = {zero, zero, 1, 1, &out, &lse};
            qk_layer_capture capture = {&q, NULL, 1, 0, NULL, 0};
            qk_attention p = {{1, 1, 1, true}, starts, 1, 0, 0.75f, 0, .capture = &capture};
            qk_tensor qkv = tensor(b, dev, QK_BF16, 1, 3, v);
            b->attention(dev, qk_cols(qkv, 0, 1), qkv, &p);
            CHECK(b->sync(dev, 0, &test_error) == QK_OK);
            CHECK_MSG(fabsf(lse / (-0.75f * v[0]) - 1) <= 1.2e-7f, "%g instead of %g", (double)lse,
                      (double)(-0.75f * v[0]));
            b->free(dev, &qkv);
        }
        b->close(dev);
    }
}

/* A NaN among a row's scores is its log-sum-exp, wherever it is; other rows keep theirs, and o does
 * not feel whether somebody wants them. */
static void nan_rows(const qk_backend *b, const char *isa, qk_dtype compute)
{
    enum { T = 200, H = 4, K = 2, D = 16, W = (H + 2 * K) * D, BAD_Q = 70, BAD_K = 130 };
    qk_device *dev = open_device(b, compute, isa, 2);
    if (!dev) return;
    static const int32_t starts[] = {0, T}, heads[] = {0, 1, 2, 3};
    static int32_t rows[T];
    static float lse[H * T], out[H * T * D];
    for (int t = 0; t < T; t++) rows[t] = t;
    float *v = noises(T * W, 5);
    v[BAD_Q * W + 1 * D + 3] = NAN;     /* head 1 */
    v[BAD_K * W + (H + 1) * D] = NAN;   /* key head 1, of heads 2 and 3 */
    v[20 * W + (H + 0) * D] = INFINITY; /* key head 0: scores of both signs, and none is a number */
    qk_row_copy q = {rows, heads, T, H, out, lse};
    qk_layer_capture capture = {&q, NULL, 1, 0, NULL, 0};
    qk_attention p = {{H, K, D, true}, starts, 1, 50, 0.25f, 0, .capture = &capture};
    qk_tensor qkv = tensor(b, dev, compute, T, W, v), o[2];
    for (int i = 0; i < 2; i++) {
        o[i] = tensor(b, dev, compute, T, H * D, NULL);
        p.capture = i ? &capture : NULL;
        b->attention(dev, o[i], qkv, &p);
        CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    }
    CHECK(!memcmp(o[0].data, o[1].data, T * H * D * qk_dtype_size(compute)));
    if (b->takes_early) { /* rows that have left do not leave again, log-sum-exps do */
        static float first[H * T];
        memcpy(first, lse, sizeof lse);
        memset(lse, 0, sizeof lse);
        memset(out, 0, sizeof out);
        p.taken = true;
        b->attention(dev, o[0], qkv, &p);
        CHECK(b->sync(dev, 0, &test_error) == QK_OK && !memcmp(first, lse, sizeof lse));
        for (size_t i = 0; i < sizeof out / sizeof *out; i++) CHECK(out[i] == 0);
    }
    size_t wrong = 0;
    for (int h = 0; h < H; h++)
        for (int t = 0; t < T; t++) {
            bool bad = h < 2 ? t == BAD_Q && h == 1 : t >= BAD_K && t < BAD_K + 50;
            if (h < 2 && t >= 20 && t < 70) continue; /* infinite scores */
            wrong += bad != (bool)isnan(lse[h * T + t]);
        }
    CHECK_MSG(!wrong, "%s %s: %zu rows", b->name, isa ? isa : "", wrong);
    b->free(dev, &qkv), b->free(dev, &o[0]), b->free(dev, &o[1]);
    b->close(dev);
    free(v);
}

static void test_log_sum_exp_of_nan(void)
{
    for (int f = 0; f < 2; f++) {
        nan_rows(ref, NULL, f ? QK_BF16 : QK_F32);
        for (size_t i = 0; isas[i]; i++) nan_rows(cpu, isas[i], f ? QK_BF16 : QK_F32);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    compared_begin();
    RUN(test_log_sum_exp);
    RUN(test_log_sum_exp_of_one_key);
    RUN(test_log_sum_exp_of_nan);
    return test_summary("kernels, captures");
}
