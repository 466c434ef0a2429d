/* What the tests of the op table share: the CPU backend in each instruction set that this machine
 * has, compared with the naive one. Tolerances: tests/test_kernels.c. */
#pragma once

#include "kernels/backend.h"
#include "tests/test.h"

static const char *const isas[] = {"portable", "avx2", "avx512", "avx512bf16", "amx", NULL};
static const qk_backend *cpu, *ref;
static qk_dtype test_activation = QK_F32; /* what feeds products: bfloat16 with QK_BF16 */
static double test_relative; /* what compare_all allows beside its tolerance: a part of the value */

/* ---- helpers ---- */

static uint64_t state;

static inline float noise(void) /* about normal, sigma 1 */
{
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(state >> 40) / 8388608.0f - 1;
    }
    return sum * 0.866f;
}

static inline float *noises(size_t n, uint64_t seed)
{
    state = seed;
    float *v = qk_alloc(n, sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = noise();
    return v;
}

static inline qk_device *open_device(const qk_backend *b, qk_dtype compute, const char *isa,
                                     int threads)
{
    qk_device *dev = NULL;
    qk_device_options o = {.compute = compute, .threads = threads, .isa = isa};
    return b->open(&o, &dev, &test_error) == QK_OK ? dev : NULL;
}

/* A tensor on a backend, filled from host values (NULL: with NaN). */
static inline qk_tensor tensor(const qk_backend *b, qk_device *dev, qk_dtype dtype, size_t rows,
                               size_t cols, const float *values)
{
    qk_tensor t;
    QK_ASSERT(b->alloc(dev, dtype, rows, cols, "test", &t, &test_error) == QK_OK);
    if (values)
        b->upload(dev, t, values, QK_F32);
    else
        memset(t.data, 0xFF, rows * cols * qk_dtype_size(dtype));
    return t;
}

/* Values of a tensor as floats; the caller frees. */
static inline float *values_of(const qk_backend *b, qk_device *dev, qk_tensor t)
{
    size_t n = t.rows * t.cols;
    float *out = qk_alloc(n, sizeof *out);
    uint16_t *half = qk_alloc(n, 2);
    b->download(dev, t.dtype == QK_F32 ? (void *)out : (void *)half, t);
    for (size_t i = 0; t.dtype != QK_F32 && i < n; i++) out[i] = qk_bf16_to_f32(half[i]);
    free(half);
    return out;
}

/* Largest difference beyond test_relative; infinite when anything is NaN. */
static inline double distance(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]) - test_relative * fabs((double)b[i]);
        if (!(d <= worst)) worst = d;
        if (isnan(d)) return INFINITY;
    }
    return worst;
}

/* One op on one backend; returns its output values. */
typedef float *(*op_runner)(const qk_backend *b, qk_device *dev, const void *shape, size_t *n);

/* Instruction sets whose bits must be equal. */
static inline int bits_class(const char *isa, qk_dtype compute)
{
    return compute == QK_BF16 && !strcmp(isa, "amx");
}

/* ref against the CPU in every instruction set, 1 and 3 threads; the CPU results of one class are
 * bit-equal. */
static inline void compare_all(const char *what, op_runner run, const void *shape, qk_dtype compute,
                               double tolerance)
{
    size_t n = 0, n_ref = 0;
    qk_device *dev = open_device(ref, compute, NULL, 1);
    float *want = run(ref, dev, shape, &n_ref), *firsts[2] = {NULL, NULL};
    ref->close(dev);
    for (size_t i = 0; isas[i]; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            dev = open_device(cpu, compute, isas[i], threads);
            if (!dev) continue;
            float *got = run(cpu, dev, shape, &n);
            cpu->close(dev);
            float **first = &firsts[bits_class(isas[i], compute)];
            double d = distance(got, want, n);
            CHECK_MSG(n == n_ref && d <= tolerance, "%s %s %s: off by %.3g, allowed %.3g", what,
                      isas[i], qk_dtype_name(compute), d, tolerance);
            if (*first)
                CHECK_MSG(!memcmp(*first, got, n * sizeof *got),
                          "%s: %s with %d threads gives other bits", what, isas[i], threads);
            if (*first)
                free(got);
            else
                *first = got;
        }
    CHECK(firsts[0] != NULL);
    free(firsts[0]), free(firsts[1]);
    free(want);
}

static inline void compared_begin(void)
{
    cpu = qk_backend_find("cpu");
    ref = qk_backend_find("ref");
}

/* Inputs are rounded alike in both backends: what is left is the chain of K sums, six sigma. */
static inline double chain_error(size_t K)
{
    return 6 * 0.5 * 1.19e-7 * (double)(K + 8) / sqrt(2);
}

/* ---- attention ---- */

typedef struct attention_shape {
    int H, K, d, window, n_seq;
    int32_t starts[5];
    float soft_cap;
    bool in_place;
} attention_shape;

static const attention_shape attention_shapes[] = {
    {1, 1, 16, 0, 1, {0, 1}, 0, false},        {4, 2, 16, 0, 2, {0, 7, 71}, 0, false},
    {9, 3, 64, 0, 1, {0, 200}, 0, true},       {4, 1, 80, 5, 3, {0, 64, 65, 193}, 0, true},
    {16, 1, 96, 64, 1, {0, 257}, 0, false},    {2, 2, 128, 0, 2, {0, 0, 130}, 20, false},
    {2, 1, 256, 100, 1, {0, 150}, 0, true},    {3, 3, 24, 1, 1, {0, 70}, 0, false},
    {6, 2, 40, 70, 2, {0, 31, 330}, 5, false},
};
enum { N_ATTENTION_SHAPES = sizeof attention_shapes / sizeof *attention_shapes };
