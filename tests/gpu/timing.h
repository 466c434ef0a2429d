/* What gpu-bench and lab share: an open GPU, random tensors, times from the GPU's own clock.
 *
 * A time is the distance of two events on the compute stream around one call of an op, the median
 * of ten calls. Before the first event the stream is kept busy, so that what the host prepares
 * meanwhile (lists of work, launches) is not in it; what the op sends to the GPU by itself is.
 *
 * next: tests/gpu/bench.c */
#pragma once

#include <unistd.h>

#include "engine/base/log.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/runtime.h"
#include "tests/emulated.h"

enum { TIMES = 10, WARM_UP = 2 };

typedef struct gpu {
    const qk_backend *b;
    qk_device *dev;
    bool small;       /* tiny shapes: the program is tested, times mean nothing */
    double peak;      /* TFLOP/s of bfloat16 tensor cores; 0: not known */
    double copy_rate; /* GB/s, bytes read and written */
    size_t copy_bytes;
    CUdeviceptr from, to; /* copy_bytes each */
    CUevent begin, end;
} gpu;

/* Ends the program when the GPU failed. */
static inline void must(gpu *g, bool ok)
{
    if (ok && !g->dev->own->failure.status) return;
    printf("FAILED: %s\n", g->dev->own->failure.message);
    exit(1);
}

#define MUST(g, call, ...) must(g, CUDA_CALL((g)->dev->own, "measuring", call, __VA_ARGS__))

/* Dense bfloat16 with float32 sums, from the makers' data sheets; the first name that fits. */
static inline double peak_of(const char *title)
{
    static const struct {
        const char *name;
        double peak;
    } all[] = {{"H100 PCIe", 756}, {"H100", 989},       {"H200", 989},      {"A100", 312},
               {"L40S", 362},      {"RTX 4090", 165.2}, {"RTX 5090", 209.5}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strstr(title, all[i].name)) return all[i].peak;
    return 0;
}

/* "34 %", or "-" where the whole is not known; in a static buffer. */
static inline const char *percent(double part, double whole)
{
    static char text[4][16];
    static int turn;
    char *to = text[turn++ % 4];
    snprintf(to, sizeof text[0], whole > 0 ? "%.0f %%" : "-", 100 * part / whole);
    return to;
}

/* ---- times ---- */

static inline void copy_once(gpu *g)
{
    MUST(g, cuMemcpyDtoDAsync, g->to, g->from, g->copy_bytes, g->dev->own->compute);
}

static inline int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Milliseconds of one call, the median. */
static inline double time_of(gpu *g, void (*call)(gpu *g, void *context), void *context)
{
    double ms[TIMES];
    for (int i = -WARM_UP; i < TIMES; i++) {
        for (int n = 0; n < 4; n++) copy_once(g);
        MUST(g, cuEventRecord, g->begin, g->dev->own->compute);
        call(g, context);
        MUST(g, cuEventRecord, g->end, g->dev->own->compute);
        must(g, g->b->sync(g->dev, 0, &test_error) == QK_OK);
        float elapsed = 0;
        MUST(g, cuEventElapsedTime, &elapsed, g->begin, g->end);
        if (i >= 0) ms[i] = (double)elapsed;
    }
    qsort(ms, TIMES, sizeof *ms, by_size);
    return (ms[TIMES / 2 - 1] + ms[TIMES / 2]) / 2;
}

/* ---- tensors ---- */

static inline qk_tensor empty(gpu *g, qk_dtype dtype, size_t rows, size_t cols)
{
    qk_tensor t;
    if (g->b->alloc(g->dev, dtype, rows, cols, "a tensor of the benchmark", &t, &test_error))
        must(g, false);
    return t;
}

/* Random numbers, never zeros: a GPU is faster on those. One piece is made on the host and doubled
 * on the GPU until the tensor is full; its length is odd, so rows differ. */
static inline qk_tensor randoms(gpu *g, qk_dtype dtype, size_t rows, size_t cols)
{
    qk_tensor t = empty(g, dtype, rows, cols), piece = t;
    size_t n = rows * cols, have = n < 4000001 ? n : 4000001, size = qk_dtype_size(dtype);
    float *v = noises(have, n);
    piece.rows = 1, piece.cols = piece.stride = have;
    g->b->upload(g->dev, piece, v, QK_F32);
    free(v);
    for (size_t more; have < n; have += more) {
        more = n - have < have ? n - have : have;
        MUST(g, cuMemcpyDtoDAsync, (CUdeviceptr)t.data + have * size, (CUdeviceptr)t.data,
             more * size, g->dev->own->compute);
    }
    must(g, true);
    return t;
}

static inline void drop(gpu *g, qk_tensor *t)
{
    g->b->free(g->dev, t);
}

/* ---- the GPU ---- */

/* Opens it for a rung of the attention ladder (0: the best). */
static inline void gpu_open(gpu *g, int rung)
{
    use_rung(rung);
    g->dev = open_device(g->b, QK_BF16);
    MUST(g, cuMemAlloc, &g->from, g->copy_bytes);
    MUST(g, cuMemAlloc, &g->to, g->copy_bytes);
    MUST(g, cuMemsetD8Async, g->from, 0x5A, g->copy_bytes, g->dev->own->compute);
    MUST(g, cuEventCreate, &g->begin, CU_EVENT_DEFAULT);
    MUST(g, cuEventCreate, &g->end, CU_EVENT_DEFAULT);
}

static inline void gpu_close(gpu *g)
{
    const cuda_driver *driver = g->dev->own->driver;
    driver->cuMemFree(g->from), driver->cuMemFree(g->to);
    driver->cuEventDestroy(g->begin), driver->cuEventDestroy(g->end);
    g->b->close(g->dev);
    use_rung(0);
}

static inline void call_copy(gpu *g, void *context)
{
    (void)context;
    copy_once(g);
}

/* Reads the arguments, finds the GPU, and says which one it is. */
static inline void gpu_begin(gpu *g, int argc, char **argv)
{
    test_on_gpu();
    *g = (gpu){.b = tested, .small = has_argument(argc, argv, "small")};
    g->copy_bytes = g->small ? 1 << 16 : 1 << 30;
    gpu_open(g, 0);
    const char *title = g->b->describe(g->dev);
    g->peak = peak_of(title);
    double ms = time_of(g, call_copy, NULL);
    g->copy_rate = 2 * (double)g->copy_bytes / ms / 1e6;
    printf("GPU: %s\n", title);
    if (g->small)
        printf("Tiny shapes: this shows that the program works; its times mean nothing.\n");
    printf("Copy of %s: %.3f ms, %.0f GB/s read and written\n",
           qk_human_bytes((double)g->copy_bytes), ms, g->copy_rate);
    if (g->peak > 0) printf("Peak of the tensor cores (data sheet): %.0f TFLOP/s\n", g->peak);
}

/* ---- attention ---- */

typedef struct attention_call {
    qk_tensor qkv, o;
    qk_attention p;
    int32_t starts[2];
} attention_call;

static inline void call_attention(gpu *g, void *context)
{
    attention_call *c = context;
    g->b->attention(g->dev, c->o, c->qkv, &c->p);
}

/* Milliseconds of causal attention of one sequence with a rung of the ladder. */
static inline double time_attention(gpu *g, int rung, qk_dtype dtype, int H, int K, int d, int T)
{
    gpu own = *g; /* a device of its own: the rung is chosen when it is opened */
    gpu_open(&own, rung);
    qk_heads heads = {H, K, d, true};
    attention_call c = {.qkv = randoms(&own, dtype, (size_t)T, qk_heads_width(heads)),
                        .o = empty(&own, dtype, (size_t)T, (size_t)(H * d)),
                        .starts = {0, T}};
    c.p = (qk_attention){
        .heads = heads, .seq_start = c.starts, .n_seq = 1, .scale = 1 / sqrtf((float)d)};
    double ms = time_of(&own, call_attention, &c);
    drop(&own, &c.qkv), drop(&own, &c.o);
    gpu_close(&own);
    return ms;
}

/* By convention: two products, half of them masked. */
static inline double attention_flops(int H, int d, int T)
{
    return 4.0 * H * T * T / 2 * d;
}
