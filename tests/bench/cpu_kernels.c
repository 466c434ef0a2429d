/* The CPU backend's products and attention beside the multiply-adds that a core can do at most.
 * usage: cpu_kernels [ISA [WORD]]     cases with WORD in their name; default: the best ISA, all
 *
 * One thread, its own processor time, the best of several calls of each case; one line a case:
 *
 *     NAME  GFLOP/s  part of the peak
 *
 * The peak is that of independent multiply-adds in registers, of the widest float32 lanes that the
 * instruction set has; measured around each case, because clocks change. FLOPs: 2 T out in of
 * a product; 4 H d T (T + 1) / 2 of attention, what is masked left out.
 *
 * next: tests/bench/cpu_kernels.py, which compares two builds */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "kernels/backend.h"

enum { CHAINS = 12, ROUNDS = 7 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the peak ---- */

/* n steps of 12 chains, which hide each other's latency; the FLOPs of it. The barrier keeps the
 * compiler from summing ahead. */
#define PROBE(name, attribute, lanes, type, set1, fma)                                             \
    attribute static double name(size_t n)                                                         \
    {                                                                                              \
        type x[CHAINS], a = set1(0.999f), b = set1(1e-6f);                                         \
        _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) x[c] = b;                        \
        for (size_t i = 0; i < n; i++) _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++)   \
            {                                                                                      \
                x[c] = fma(x[c], a, b);                                                            \
                __asm__ volatile("" : "+x"(x[c]));                                                 \
            }                                                                                      \
        return 2.0 * CHAINS * lanes * (double)n;                                                   \
    }

#ifdef __x86_64__
PROBE(narrow, __attribute__((target("avx2,fma"))), 8, __m256, _mm256_set1_ps, _mm256_fmadd_ps)
PROBE(wide, __attribute__((target("avx512f"))), 16, __m512, _mm512_set1_ps, _mm512_fmadd_ps)

static double peak(const char *title)
{
    double best = 0;
    bool is_wide = strstr(title, "512") != NULL;
    for (int i = 0; i < 5; i++) {
        double begin = now(), flops = is_wide ? wide(300000) : narrow(300000);
        double rate = flops / (now() - begin);
        if (rate > best) best = rate;
    }
    return best;
}

#else
static double peak(const char *title) /* not known here */
{
    (void)title;
    return INFINITY;
}
#endif

/* ---- cases ---- */

typedef struct bench {
    qk_device *dev;
    qk_dtype compute, activation;
    const char *word;
} bench;

static const qk_backend *const cpu = &qk_backend_cpu;
static qk_error err;

static qk_tensor noise(const bench *b, qk_dtype dtype, size_t rows, size_t cols)
{
    qk_tensor t;
    QK_ASSERT(cpu->alloc(b->dev, dtype, rows, cols, "bench", &t, &err) == QK_OK);
    uint64_t state = 1;
    for (size_t i = 0; i < rows * cols; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        qk_element_set(t.data, i, dtype, (float)(state >> 40) / 8388608.0f - 1);
    }
    return t;
}

static void report(const bench *b, const char *name, double flops, double seconds)
{
    double rate = flops / seconds, top = peak(cpu->describe(b->dev));
    printf("%s-%s %.1f %.3f\n", name, qk_dtype_name(b->compute), rate * 1e-9, rate / top);
    fflush(stdout);
}

static void product(const bench *b, size_t T, size_t in, size_t out)
{
    char name[64];
    snprintf(name, sizeof name, "product-%zux%zux%zu", T, in, out);
    if (!strstr(name, b->word)) return;
    qk_tensor x = noise(b, b->activation, T, in), y = noise(b, QK_F32, T, out);
    qk_tensor w = noise(b, b->compute, out, in);
    qk_matrix *m;
    QK_ASSERT(cpu->matrix_new(b->dev, out, in, "bench", &m, &err) == QK_OK);
    cpu->matrix_load(b->dev, m, 0, out, w.data, b->compute);
    double best = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        double begin = now();
        cpu->matmul(b->dev, y, x, m, NULL, false);
        if (now() - begin < best) best = now() - begin;
    }
    report(b, name, 2.0 * (double)T * (double)in * (double)out, best);
    cpu->matrix_free(b->dev, m);
    cpu->free(b->dev, &x), cpu->free(b->dev, &y), cpu->free(b->dev, &w);
}

static void attention(const bench *b, int d, int H, int K, size_t T)
{
    char name[64];
    snprintf(name, sizeof name, "attention-d%d-%d/%d-%zu", d, H, K, T);
    if (!strstr(name, b->word)) return;
    qk_heads heads = {H, K, d, true};
    int32_t starts[] = {0, (int32_t)T};
    qk_tensor qkv = noise(b, b->activation, T, qk_heads_width(heads));
    qk_tensor o = noise(b, b->activation, T, (size_t)(H * d));
    qk_attention p = {heads, starts, 1, 0, 0.125f, .capture = NULL};
    double best = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        double begin = now();
        cpu->attention(b->dev, o, qkv, &p);
        if (now() - begin < best) best = now() - begin;
    }
    report(b, name, 2.0 * H * d * (double)T * (double)(T + 1), best);
    cpu->free(b->dev, &qkv), cpu->free(b->dev, &o);
}

int main(int argc, char **argv)
{
    static const qk_dtype formats[] = {QK_F32, QK_BF16, QK_F16};
    for (int f = 0; f < 3; f++) {
        bench b = {.compute = formats[f], .word = argc > 2 ? argv[2] : ""};
        b.activation = b.compute == QK_BF16 ? QK_BF16 : QK_F32;
        qk_device_options o = {b.compute, 1, argc > 1 ? argv[1] : NULL};
        if (cpu->open(&o, &b.dev, &err) != QK_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        if (!f)
            fprintf(stderr, "%s; peak %.1f GFLOP/s\n", cpu->describe(b.dev),
                    peak(cpu->describe(b.dev)) * 1e-9);
        product(&b, 512, 576, 3072);
        product(&b, 512, 1536, 576);
        product(&b, 512, 4096, 2048);
        product(&b, 512, 12288, 768);
        if (b.compute != QK_F16) { /* whose activations are float32 */
            attention(&b, 64, 9, 3, 1024);
            attention(&b, 64, 9, 3, 4096);
            attention(&b, 80, 4, 4, 1024);
            attention(&b, 128, 8, 2, 1024);
            attention(&b, 128, 8, 2, 4096);
        }
        cpu->close(b.dev);
    }
    return 0;
}
