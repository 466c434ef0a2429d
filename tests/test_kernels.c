/* Every op of kernels/backend.h at odd shapes: the CPU backend, in each instruction set that this
 * machine has, against the naive double-precision one; and bits that must not depend on the batch,
 * the number of threads or the instruction set. Tile registers (amx) sum bfloat16 products in an
 * order of their own: there they must agree with themselves.
 *
 * Tolerances come from theory. A chain of K products of unit normals has partial sums of about
 * sqrt(k); each addition is off by at most eps/2 of that, so the result by a random walk of
 * standard deviation eps/2 sqrt(1 + 2 + .. + K) = eps/2 K / sqrt(2); six of those are allowed.
 * Rounding to bfloat16 adds 2^-8 of the value. Outputs are filled with NaN before each op. */
#include "tests/compared.h"
#include "tests/wanted.h"

/* ---- matrix product ---- */

typedef struct matmul_shape {
    size_t T, K, N;
    bool bias, accumulate;
} matmul_shape;

static float *run_matmul(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const matmul_shape *s = shape;
    float *w = noises(s->N * s->K, 1), *x = noises(s->T * s->K, 2), *bias = noises(s->N, 3),
          *y = noises(s->T * (s->N + 5), 4);
    qk_matrix *m;
    QK_ASSERT(b->matrix_new(dev, s->N, s->K, "test", &m, &test_error) == QK_OK);
    size_t half = s->N / 3; /* in two slices, as q, k and v are */
    b->matrix_load(dev, m, 0, half, w, QK_F32);
    b->matrix_load(dev, m, half, s->N - half, w + half * s->K, QK_F32);
    qk_tensor tx = tensor(b, dev, test_activation, s->T, s->K, x);
    /* y is a view of wider rows: strides are not widths. */
    qk_tensor wide = tensor(b, dev, QK_F32, s->T, s->N + 5, s->accumulate ? y : NULL);
    qk_tensor ty = qk_cols(wide, 2, s->N), tb = tensor(b, dev, QK_F32, 1, s->N, bias);
    b->matmul(dev, ty, tx, m, s->bias ? tb.data : NULL, s->accumulate);
    float *out = values_of(b, dev, ty);
    *n = s->T * s->N;
    b->matrix_free(dev, m);
    b->free(dev, &tx), b->free(dev, &wide), b->free(dev, &tb);
    free(w), free(x), free(bias), free(y);
    return out;
}

static void test_matmul(void)
{
    static const size_t Ts[] = {1, 7, 12, 65, 257}, Ks[] = {1, 3, 64, 577},
                        Ns[] = {1, 15, 32, 33, 200};
    for (int f = 0; f < 3; f++) {
        qk_dtype compute = (qk_dtype[]){QK_F32, QK_F16, QK_BF16}[f];
        test_activation = compute == QK_BF16 ? QK_BF16 : QK_F32;
        for (size_t i = 0; i < 5 * 4 * 5; i++) {
            matmul_shape s = {Ts[i % 5], Ks[i / 5 % 4], Ns[i / 20], i % 2, i % 3 == 0};
            compare_all("matmul", run_matmul, &s, compute, chain_error(s.K));
        }
    }
    test_activation = QK_F32;
}

/* Longer sums than the caches hold are cut (kernels/cpu/matmul.c). */
static void test_long_sums(void)
{
    static const matmul_shape shapes[] = {
        {40, 2048, 40, true, true}, {260, 2050, 33, false, true}, {9, 4100, 520, true, false}};
    static const qk_dtype formats[] = {QK_F32, QK_F16, QK_BF16};
    for (size_t i = 0; i < 3 * sizeof shapes / sizeof *shapes; i++) {
        const matmul_shape *shape = &shapes[i / 3];
        test_activation = formats[i % 3] == QK_BF16 ? QK_BF16 : QK_F32;
        compare_all("matmul", run_matmul, shape, formats[i % 3], chain_error(shape->K));
    }
    test_activation = QK_F32;
}

/* A row's bits are the same alone and in any batch. */
static void rows_alone(const char *isa, qk_dtype compute, size_t K)
{
    enum { T = 70, N = 40 };
    qk_device *dev = open_device(cpu, compute, isa, 2);
    if (!dev) return;
    test_activation = compute;
    matmul_shape s = {T, K, N, true, false};
    size_t n;
    float *whole = run_matmul(cpu, dev, &s, &n);
    for (size_t t = 1; t < T; t += 13) { /* the first t rows: same values, smaller batch */
        s.T = t;
        float *part = run_matmul(cpu, dev, &s, &n);
        CHECK_MSG(!memcmp(part, whole, n * sizeof *part), "%s: first %zu rows", isa, t);
        free(part);
    }
    free(whole);
    cpu->close(dev);
    test_activation = QK_F32;
}

static void test_rows_do_not_see_each_other(void)
{
    for (size_t i = 0; isas[i]; i++) {
        rows_alone(isas[i], QK_F32, 130);
        rows_alone(isas[i], QK_BF16, 2080);
    }
}

/* ---- packed weights ---- */

/* W [N, K] of numbers that every format has exactly, in format `dtype`. */
static void *whole_numbers(size_t n, qk_dtype dtype)
{
    float *v = qk_alloc(n, sizeof *v);
    uint16_t *half = qk_alloc(n, sizeof *half);
    for (size_t i = 0; i < n; i++) {
        v[i] = (float)((int)(i * 37 % 251) - 125);
        half[i] = dtype == QK_BF16 ? qk_f32_to_bf16(v[i]) : qk_f32_to_f16(v[i]);
    }
    free(dtype == QK_F32 ? (void *)half : (void *)v);
    return dtype == QK_F32 ? (void *)v : (void *)half;
}

/* 1 W^T, W loaded in slices of odd sizes, twice over what was there before. */
static void check_packing(qk_device *dev, qk_dtype compute, qk_dtype from, size_t N, size_t K)
{
    void *w = whole_numbers(N * K, from);
    float *one = qk_zalloc(K * K, sizeof *one);
    for (size_t k = 0; k < K; k++) one[k * K + k] = 1;
    qk_matrix *m;
    QK_ASSERT(cpu->matrix_new(dev, N, K, "test", &m, &test_error) == QK_OK);
    for (size_t step = 5; step < 50; step += 37)
        for (size_t at = 0; at < N; at += step)
            cpu->matrix_load(dev, m, at, N - at < step ? N - at : step,
                             (char *)w + at * K * qk_dtype_size(from), from);
    qk_tensor x = tensor(cpu, dev, compute == QK_BF16 ? QK_BF16 : QK_F32, K, K, one);
    qk_tensor y = tensor(cpu, dev, QK_F32, K, N, NULL);
    cpu->matmul(dev, y, x, m, NULL, false);
    float *got = values_of(cpu, dev, y);
    size_t wrong = 0;
    for (size_t i = 0; i < N * K; i++)
        wrong += got[i % K * N + i / K] != (float)((int)(i * 37 % 251) - 125);
    CHECK_MSG(!wrong, "%s from %s, %zu x %zu: %zu wrong", qk_dtype_name(compute),
              qk_dtype_name(from), N, K, wrong);
    cpu->matrix_free(dev, m);
    cpu->free(dev, &x);
    cpu->free(dev, &y);
    free(got);
    free(one);
    free(w);
}

static void test_packing(void)
{
    static const size_t shapes[][2] = {{1, 1}, {33, 7}, {70, 517}, {16, 1030}};
    static const qk_dtype formats[] = {QK_F32, QK_F16, QK_BF16};
    for (size_t i = 0; isas[i]; i++)
        for (int c = 0; c < 3; c++) {
            qk_device *dev = open_device(cpu, formats[c], isas[i], 2);
            for (int f = 0; dev && f < 3; f++)
                for (int s = 0; s < 4; s++)
                    check_packing(dev, formats[c], formats[f], shapes[s][0], shapes[s][1]);
            cpu->close(dev);
        }
}

/* ---- attention ---- */

static float *run_attention(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const attention_shape *s = shape;
    size_t T = (size_t)s->starts[s->n_seq];
    qk_heads heads = {s->H, s->K, s->d, true};
    float *v = noises(T * qk_heads_width(heads), 7);
    qk_tensor qkv = tensor(b, dev, test_activation, T, qk_heads_width(heads), v);
    qk_tensor own = tensor(b, dev, test_activation, T, (size_t)(s->H * s->d), NULL);
    qk_tensor o = s->in_place ? qk_cols(qkv, 0, own.cols) : own;
    qk_attention p = {.heads = heads,
                      .seq_start = s->starts,
                      .n_seq = s->n_seq,
                      .window = s->window,
                      .scale = 1 / sqrtf((float)s->d),
                      .soft_cap = s->soft_cap};
    b->attention(dev, o, qkv, &p);
    float *out = values_of(b, dev, o);
    *n = T * own.cols;
    b->free(dev, &qkv), b->free(dev, &own);
    free(v);
    return out;
}

static void test_attention(void)
{
    for (size_t i = 0; i < N_ATTENTION_SHAPES; i++)
        for (int f = 0; f < 2; f++) {
            /* Results may round to neighbouring bfloat16 numbers, at most 2^-7 of the value apart.
             * Tile registers keep 16 bits of a weight: 2^-17 of values below 4 on top. */
            test_activation = f ? QK_BF16 : QK_F32;
            test_relative = f ? 0x1p-7 : 0;
            compare_all("attention", run_attention, &attention_shapes[i], f ? QK_BF16 : QK_F32,
                        f ? 4e-6 + 0x1p-15 : 4e-6);
        }
    test_activation = QK_F32;
    test_relative = 0;
}

/* Sequences give the same bits alone and packed behind others. */
static void sequence_alone(const char *isa, qk_dtype compute, const float *v)
{
    enum { H = 4, K = 2, D = 32, A = 75, B = 140 };
    qk_heads heads = {H, K, D, true};
    qk_device *dev = open_device(cpu, compute, isa, 2);
    if (!dev) return;
    int32_t packed[] = {0, A, A + B}, alone[] = {0, B}, rows[] = {A + 3, A + 77, A + B - 1},
            rows_alone[] = {3, 77, B - 1}, all_heads[] = {0, 1, 2, 3};
    float out[3 * H * D], lse[3 * H], lse_alone[3 * H];
    qk_row_copy q = {rows, all_heads, 3, H, out, lse};
    qk_layer_capture capture = {&q, NULL, 1, 0, NULL, 0};
    qk_attention p = {heads, packed, 2, 50, 0.2f, 0, .capture = &capture};
    qk_tensor qkv = tensor(cpu, dev, compute, A + B, qk_heads_width(heads), v);
    qk_tensor one = tensor(cpu, dev, compute, A + B, H * D, NULL);
    cpu->attention(dev, one, qkv, &p);
    p.seq_start = alone;
    p.n_seq = 1;
    q.rows = rows_alone;
    q.lse = lse_alone;
    qk_tensor two = tensor(cpu, dev, compute, B, H * D, NULL);
    cpu->attention(dev, two, qk_rows(qkv, A, B), &p);
    CHECK_MSG(!memcmp(qk_rows(one, A, B).data, two.data, B * H * D * qk_dtype_size(compute)),
              "%s %s", isa, qk_dtype_name(compute));
    CHECK_MSG(!memcmp(lse, lse_alone, sizeof lse), "%s %s: log-sum-exp", isa,
              qk_dtype_name(compute));
    cpu->free(dev, &qkv), cpu->free(dev, &one), cpu->free(dev, &two);
    cpu->close(dev);
}

static void test_attention_is_blind_to_the_batch(void)
{
    float *v = noises(215 * 8 * 32, 9);
    for (size_t i = 0; isas[i]; i++) {
        sequence_alone(isas[i], QK_F32, v);
        sequence_alone(isas[i], QK_BF16, v);
    }
    free(v);
}

static void test_wanted_rows(void)
{
    for (size_t i = 0; isas[i]; i++)
        for (int f = 0; f < 2; f++) {
            qk_dtype format = f ? QK_BF16 : QK_F32;
            qk_device *dev = open_device(cpu, format, isas[i], 2);
            if (dev) check_wanted(cpu, dev, format, isas[i]);
            if (dev) check_row_list(cpu, dev);
            cpu->close(dev);
        }
    qk_device *dev = open_device(ref, QK_F32, NULL, 1);
    check_wanted(ref, dev, QK_F32, "ref");
    check_row_list(ref, dev);
    ref->close(dev);
}

/* ---- ops on rows ---- */

typedef struct row_shape {
    size_t T, D;
    int option;
} row_shape;

static float *run_rmsnorm(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const row_shape *s = shape;
    float *v = noises(s->T * s->D, 11), *w = noises(s->D, 12);
    qk_tensor x = tensor(b, dev, QK_F32, s->T, s->D, v), tw = tensor(b, dev, QK_F32, 1, s->D, w);
    qk_tensor y = tensor(b, dev, test_activation, s->T, s->D, NULL);
    b->rmsnorm(dev, s->option == 2 ? x : y, x, tw.data, 1e-5f, s->option == 1);
    float *out = values_of(b, dev, s->option == 2 ? x : y);
    *n = s->T * s->D;
    b->free(dev, &x), b->free(dev, &y), b->free(dev, &tw);
    free(v), free(w);
    return out;
}

static float *run_glu(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const row_shape *s = shape;
    float *v = noises(s->T * 2 * s->D, 13);
    for (size_t i = 0; i < s->T * 2 * s->D; i++) v[i] *= 6; /* far into both tails */
    qk_tensor g = tensor(b, dev, QK_F32, s->T, 2 * s->D, v);
    qk_tensor y = tensor(b, dev, test_activation, s->T, s->D, NULL);
    static const qk_activation acts[] = {QK_SILU, QK_GELU_TANH, QK_GELU};
    b->glu(dev, y, g, acts[s->option]);
    float *out = values_of(b, dev, y);
    *n = s->T * s->D;
    b->free(dev, &g), b->free(dev, &y);
    free(v);
    return out;
}

static float *run_embed(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const row_shape *s = shape;
    float *v = noises(50 * s->D, 14);
    int32_t *ids = qk_alloc(s->T, 4);
    for (size_t t = 0; t < s->T; t++) ids[t] = (int32_t)(t * 37 % 50);
    qk_tensor table = tensor(b, dev, s->option ? QK_BF16 : QK_F32, 50, s->D, v);
    qk_tensor x = tensor(b, dev, QK_F32, s->T, s->D, NULL);
    b->embed(dev, x, table, ids, 1.5f);
    float *out = values_of(b, dev, x);
    *n = s->T * s->D;
    b->free(dev, &table), b->free(dev, &x);
    free(v), free(ids);
    return out;
}

static float *run_add(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const row_shape *s = shape; /* option 0: no norm, 1: a norm with w + 1, 2: a plain one */
    float *vx = noises(s->T * s->D, 21), *vy = noises(s->T * s->D, 22), *w = noises(s->D, 23);
    qk_tensor x = tensor(b, dev, QK_F32, s->T, s->D, vx),
              y = tensor(b, dev, QK_F32, s->T, s->D, vy);
    qk_tensor tw = tensor(b, dev, QK_F32, 1, s->D, w);
    b->add(dev, x, y, s->option ? tw.data : NULL, 1e-5f, s->option == 1, 0.22f);
    float *out = values_of(b, dev, x);
    *n = s->T * s->D;
    b->free(dev, &x), b->free(dev, &y), b->free(dev, &tw);
    free(vx), free(vy), free(w);
    return out;
}

static float *run_convert(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const row_shape *s = shape;
    float *v = noises(s->T * s->D, 24);
    qk_tensor x = tensor(b, dev, QK_F32, s->T, s->D, v);
    qk_tensor y = tensor(b, dev, test_activation, s->T, s->D, NULL);
    b->convert(dev, y, x);
    float *out = values_of(b, dev, y);
    *n = s->T * s->D;
    b->free(dev, &x), b->free(dev, &y);
    free(v);
    return out;
}

/* Every upper half of a float, with lower halves around the tie: the bits of qk_f32_to_bf16, for
 * NaN, infinity and subnormal numbers too. */
static void test_bfloat16_rounding(void)
{
    static const uint32_t lower[] = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
    enum { N = 6 * 65536, COLS = N / 6 - 7 };
    uint32_t *bits = qk_alloc(N, 4);
    for (uint32_t i = 0; i < N; i++) bits[i] = i / 6 << 16 | lower[i % 6];
    for (size_t i = 0; isas[i]; i++) {
        qk_device *dev = open_device(cpu, QK_BF16, isas[i], 1);
        if (!dev) continue;
        qk_tensor x = {bits, QK_F32, 6, COLS, COLS + 7},
                  y = tensor(cpu, dev, QK_BF16, 6, COLS, NULL);
        cpu->convert(dev, y, x);
        size_t wrong = 0;
        for (size_t at = 0; at < 6 * COLS; at++) {
            float from = qk_bits_float(bits[at / COLS * x.stride + at % COLS]);
            wrong += ((uint16_t *)y.data)[at] != qk_f32_to_bf16(from);
        }
        CHECK_MSG(!wrong, "%s: %zu numbers rounded otherwise", isas[i], wrong);
        cpu->free(dev, &y);
        cpu->close(dev);
    }
    free(bits);
}

static void test_row_ops(void)
{
    static const size_t Ts[] = {1, 7, 65}, Ds[] = {1, 15, 16, 100, 576};
    for (size_t i = 0; i < 3 * 5 * 3; i++) {
        row_shape s = {Ts[i % 3], Ds[i / 3 % 5], (int)(i / 15)};
        compare_all("rmsnorm", run_rmsnorm, &s, QK_F32, 2e-5);
        compare_all("glu", run_glu, &s, QK_F32, 2e-4);
        if (s.option < 2) compare_all("embed", run_embed, &s, QK_F32, 0);
        compare_all("add", run_add, &s, QK_F32, 2e-5);
        test_activation = QK_BF16;
        test_relative = 0x1p-7; /* neighbours, as in test_attention */
        if (s.option < 2) compare_all("rmsnorm", run_rmsnorm, &s, QK_F32, 2e-5);
        compare_all("glu", run_glu, &s, QK_F32, 2e-4);
        test_activation = QK_F32;
        test_relative = 0;
    }
    row_shape s = {5, 33, 0};
    compare_all("embed rounds to the compute format", run_embed, &s, QK_BF16, 0);
    compare_all("convert", run_convert, &s, QK_F32, 0);
    test_activation = QK_BF16;
    compare_all("convert", run_convert, &s, QK_BF16, 0);
    test_activation = QK_F32;
}

/* ---- norm, capture, RoPE ---- */

typedef struct post_shape {
    int H, K, d, rotary;
    bool has_v, norm, interleaved, capture;
    bool whole; /* one norm over all heads, and queries scaled by position */
} post_shape;

/* Rows of a tensor, of all three kinds in lists: as attention would give them away. */
static void check_rotated(qk_tensor t, qk_heads heads, const qk_layer_capture *c)
{
    const struct {
        const qk_row_copy *copy;
        int first;
    } kinds[] = {{c->q, 0}, {c->k, heads.H}, {c->v, heads.H + heads.K}};
    size_t d = (size_t)heads.d, wrong = 0;
    for (int k = 0; k < (heads.has_v ? 3 : 2); k++) {
        const qk_row_copy *of = kinds[k].copy;
        for (size_t i = 0; i < of->n_heads * of->n_rows * d; i++) {
            size_t head = (size_t)kinds[k].first + (size_t)of->heads[i / d / of->n_rows];
            size_t row = (size_t)of->rows[i / d % of->n_rows];
            float want = qk_element(t.data, row * t.stride + head * d + i % d, t.dtype);
            wrong += qk_float_bits(of->out[i]) != qk_float_bits(want);
        }
    }
    CHECK_MSG(!wrong, "%zu captured numbers are not those of the rows", wrong);
}

/* Output rows and captured rows behind each other. */
static float *run_post(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    enum { T = 19, TABLE = 40 };
    const post_shape *s = shape;
    qk_heads heads = {s->H, s->K, s->d, s->has_v};
    size_t width = qk_heads_width(heads), half = (size_t)s->rotary / 2, d = (size_t)s->d;
    size_t norm = s->whole ? (size_t)s->H * d : d;
    float *v = noises(T * width, 15), *c = noises(2 * TABLE * (half + 1), 16),
          *w = noises(norm, 17), *scales = noises(TABLE, 19);
    qk_tensor in = tensor(b, dev, QK_F32, T, width, v), tw = tensor(b, dev, QK_F32, 1, norm, w);
    qk_tensor ts = tensor(b, dev, QK_F32, TABLE, 1, scales);
    qk_tensor tc = tensor(b, dev, QK_F32, 2 * TABLE, half + 1, c); /* cosines, then sines */
    qk_tensor out =
        test_activation == QK_F32 ? in : tensor(b, dev, test_activation, T, width, NULL);
    int32_t table_row[T], rows[] = {18, 0, 5, 5}, q_heads[] = {0}, k_heads[] = {0};
    q_heads[0] = s->H - 1;
    k_heads[0] = s->K - 1;
    for (int t = 0; t < T; t++) table_row[t] = (t * 7) % TABLE;
    float *captured = noises(2 * 4 * d, 18);
    qk_row_copy q = {rows, q_heads, 4, 1, captured, NULL},
                k = {rows, k_heads, 4, 1, captured + 4 * d, NULL};
    qk_layer_capture capture = {&q, &k, 1, 1, NULL, 0};
    int32_t all[64];
    for (int h = 0; h < s->H; h++) all[h] = s->H - 1 - h;
    float *early = noises((size_t)(s->H + 2) * 4 * d, 20);
    qk_row_copy rotated_q = {rows, all, 4, (size_t)s->H, early, NULL},
                rotated_k = {rows, k_heads, 4, 1, early + (size_t)s->H * 4 * d, NULL},
                rotated_v = {rows, k_heads, 4, 1, early + (size_t)(s->H + 1) * 4 * d, NULL};
    qk_layer_capture rotated = {&rotated_q, &rotated_k, 1, 1, &rotated_v, s->has_v};
    qk_qkv_post p = {.heads = heads,
                     .eps = 1e-6f,
                     .table_row = table_row,
                     .rotary = s->rotary,
                     .interleaved = s->interleaved};
    p.q_norm = p.k_norm = s->norm ? tw.data : NULL;
    p.norm_whole = s->whole;
    p.q_scale = s->whole ? ts.data : NULL;
    p.cos = s->rotary ? tc.data : NULL;
    p.sin = s->rotary ? (float *)tc.data + TABLE * half : NULL;
    p.capture = s->capture ? &capture : NULL;
    p.rotated = b->takes_early ? &rotated : NULL;
    /* in two chunks, as the forward pass does it */
    b->qkv_post(dev, qk_rows(out, 0, 8), qk_rows(in, 0, 8), &p, 0);
    b->qkv_post(dev, qk_rows(out, 8, T - 8), qk_rows(in, 8, T - 8), &p, 8);
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    if (p.rotated) check_rotated(out, heads, &rotated);
    float *rows_out = values_of(b, dev, out);
    *n = T * width + 8 * d;
    float *both = qk_alloc(*n, sizeof *both);
    memcpy(both, rows_out, T * width * sizeof *both);
    memcpy(both + T * width, captured, 8 * d * sizeof *both);
    if (out.data != in.data) b->free(dev, &out);
    b->free(dev, &in), b->free(dev, &tw), b->free(dev, &tc), b->free(dev, &ts);
    free(v), free(c), free(w), free(scales), free(captured), free(rows_out), free(early);
    return both;
}

static void test_qkv_post(void)
{
    static const post_shape shapes[] = {
        {4, 2, 16, 16, true, false, false, true, false},
        {3, 1, 64, 64, true, true, false, true, false},
        {2, 2, 80, 40, false, true, true, true, false},
        {8, 2, 24, 8, true, false, true, false, false},
        {4, 4, 128, 128, false, true, false, true, false},
        {4, 2, 16, 0, true, true, false, true, false},
        {6, 3, 24, 24, true, true, false, true, true},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 2; f++) {
            test_activation = f ? QK_BF16 : QK_F32;
            compare_all("qkv_post", run_post, &shapes[i], f ? QK_BF16 : QK_F32, f ? 0.04 : 1e-5);
        }
    test_activation = QK_F32;
}

/* ---- mixture of experts ---- */

typedef struct expert_shape {
    size_t T, E, D;
    int top_k;
    bool renormalise;
} expert_shape;

/* Routes, and rows that went there and back, as one list of floats. */
static float *run_experts(const qk_backend *b, qk_device *dev, const void *shape, size_t *n)
{
    const expert_shape *s = shape;
    size_t pairs = s->T * (size_t)s->top_k, at = 0;
    float *v = noises(s->T * s->E, 31), *vx = noises(s->T * s->D, 32);
    for (size_t i = 0; i < s->E; i++) v[i] = 1; /* the first row: all equal, lower numbers win */
    qk_tensor logits = tensor(b, dev, QK_F32, s->T, s->E, v);
    qk_tensor x = tensor(b, dev, QK_F32, s->T, s->D, vx),
              y = tensor(b, dev, QK_F32, s->T, s->D, vx);
    const qk_routes *r = b->route(dev, logits, s->top_k, s->renormalise);
    float *out = qk_alloc(s->E + 1 + 2 * pairs + s->T * s->D, sizeof *out);
    for (size_t e = 0; e <= s->E; e++) out[at++] = (float)r->starts[e];
    for (size_t i = 0; i < pairs; i++) out[at++] = (float)r->rows[i];
    for (size_t i = 0; i < pairs; i++) out[at++] = r->weights[i];
    for (size_t e = 0; e < s->E; e++) {
        size_t first = (size_t)r->starts[e], count = (size_t)r->starts[e + 1] - first;
        if (!count) continue;
        qk_tensor part = tensor(b, dev, QK_F32, count, s->D, NULL);
        b->take_rows(dev, part, x, r->rows + first);
        b->add_rows(dev, y, part, r->rows + first, r->weights + first);
        b->free(dev, &part);
    }
    float *sum = values_of(b, dev, y);
    memcpy(out + at, sum, s->T * s->D * sizeof *out);
    *n = at + s->T * s->D;
    b->free(dev, &logits), b->free(dev, &x), b->free(dev, &y);
    free(v), free(vx), free(sum);
    return out;
}

static void test_experts(void)
{
    static const expert_shape shapes[] = {
        {1, 1, 3, 1, false}, {7, 4, 16, 2, true}, {65, 128, 33, 8, true}, {40, 20, 5, 3, false}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        compare_all("experts", run_experts, &shapes[i], QK_F32, 3e-6);
}

/* ---- gather ---- */

static void test_gather(void)
{
    qk_heads heads = {3, 1, 2, false};
    float v[4 * 8], out[2 * 2 * 2 + 2];
    for (int i = 0; i < 32; i++) v[i] = (float)i;
    int32_t rows[] = {3, 1}, q_heads[] = {0, 2}, k_heads[] = {0};
    qk_row_copy q = {rows, q_heads, 2, 2, out, NULL}, k = {rows, k_heads, 1, 1, out + 8, NULL};
    qk_layer_capture capture = {&q, &k, 1, 1, NULL, 0};
    static const float want[] = {24, 25, 8, 9, 28, 29, 12, 13, 30, 31};
    const qk_backend *both[] = {cpu, ref};
    for (int b = 0; b < 2; b++) {
        qk_device *dev = open_device(both[b], QK_F32, NULL, 1);
        qk_tensor t = tensor(both[b], dev, QK_F32, 4, 8, v);
        memset(out, 0xFF, sizeof out);
        both[b]->gather(dev, t, heads, &capture);
        CHECK(both[b]->sync(dev, 0, &test_error) == QK_OK);
        CHECK(!memcmp(out, want, sizeof out));
        /* The same numbers as two query heads, a key head and a value head. */
        float key_and_value[4];
        qk_row_copy key = {rows + 1, k_heads, 1, 1, key_and_value, NULL},
                    value = {rows, k_heads, 1, 1, key_and_value + 2, NULL};
        both[b]->gather(dev, t, (qk_heads){2, 1, 2, true},
                        &(qk_layer_capture){NULL, &key, 0, 1, &value, 1});
        CHECK(both[b]->sync(dev, 0, &test_error) == QK_OK);
        CHECK(!memcmp(key_and_value, (float[]){12, 13, 30, 31}, sizeof key_and_value));
        both[b]->free(dev, &t);
        both[b]->close(dev);
    }
}

static void test_unknown_instruction_set(void)
{
    qk_device *dev;
    qk_device_options o = {.isa = "mmx"};
    qk_error err;
    CHECK_INT(cpu->open(&o, &dev, &err), QK_ERR_CONFIG);
    CHECK(strstr(err.message, "'mmx'") != NULL);
    CHECK(strstr(err.message, "portable") != NULL); /* what there is */
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    compared_begin();
    RUN(test_matmul);
    RUN(test_long_sums);
    RUN(test_rows_do_not_see_each_other);
    RUN(test_packing);
    RUN(test_attention);
    RUN(test_attention_is_blind_to_the_batch);
    RUN(test_wanted_rows);
    RUN(test_row_ops);
    RUN(test_bfloat16_rounding);
    RUN(test_qkv_post);
    RUN(test_experts);
    RUN(test_gather);
    RUN(test_unknown_instruction_set);
    return test_summary("kernels");
}
