/* What the tests of the CUDA kernels share: which backend is tested, values, tensors, schedules,
 * comparing with the reference backend. They run on the emulator, or with the argument "cuda" on a
 * GPU, where a build with CUDA=1 has that backend. */
#pragma once

#include "tests/test.h"

#include "kernels/emulator/backend_emulator.h"
#ifdef QK_CUDA
#include "kernels/cuda/backend_cuda.h"
#endif

/* ---- what is tested ---- */

static const qk_backend *tested = &qk_backend_emulator;

static inline bool on_gpu(void)
{
    return tested != &qk_backend_emulator;
}

static inline bool has_argument(int argc, char **argv, const char *word)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], word)) return true;
    return false;
}

enum { STATUS_NO_GPU = 77 };

/* Open from first to last: making a context anew for every test takes a driver long. */
static qk_device *first_device;

static inline void close_first_device(void)
{
    tested->close(first_device);
}

/* Ends the program where there is no GPU. */
static inline void test_on_gpu(void)
{
    qk_error why;
    qk_device_options o = {.compute = QK_F32};
    tested = qk_backend_find("cuda");
    if (!tested) printf("this build has no CUDA backend: make CUDA=1\n");
    if (tested && tested->present(&why) && tested->open(&o, &first_device, &why) == QK_OK) {
        atexit(close_first_device);
        return;
    }
    if (tested) printf("%s\n", why.message);
    exit(STATUS_NO_GPU);
}

/* The rung of the attention ladder that the next device uses; 0: the best. */
static inline void use_rung(int rung)
{
    emu_backend_settings.rung = rung;
#ifdef QK_CUDA
    cuda_use_rung(rung);
#endif
}

/* What the emulator complained about: "" or the first fault. */
static inline const char *tested_fault(void)
{
    return on_gpu() ? "" : emu_backend_fault();
}

/* ---- values and tensors ---- */

static uint64_t noise_state;

static inline float noise(void) /* about normal, sigma 1 */
{
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        noise_state = noise_state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(noise_state >> 40) / 8388608.0f - 1;
    }
    return sum * 0.866f;
}

static inline float *noises(size_t n, uint64_t seed)
{
    noise_state = seed;
    float *v = qk_alloc(n + 1, sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = noise();
    return v;
}

static inline qk_device *open_device(const qk_backend *b, qk_dtype compute)
{
    qk_device *dev = NULL;
    qk_device_options o = {.compute = compute, .threads = 1};
    QK_ASSERT(b->open(&o, &dev, &test_error) == QK_OK);
    return dev;
}

/* A tensor on a backend, filled from host values (NULL: with NaN). */
static inline qk_tensor tensor(const qk_backend *b, qk_device *dev, const char *name,
                               qk_dtype dtype, size_t rows, size_t cols, const float *values)
{
    qk_tensor t;
    QK_ASSERT(b->alloc(dev, dtype, rows, cols, name, &t, &test_error) == QK_OK);
    void *nan = qk_alloc(rows * cols + 1, qk_dtype_size(dtype));
    memset(nan, 0xFF, rows * cols * qk_dtype_size(dtype));
    b->upload(dev, t, values ? values : nan, values ? QK_F32 : dtype);
    free(nan);
    return t;
}

/* Values of a tensor as floats, appended at *at. */
static inline void append_values(const qk_backend *b, qk_device *dev, qk_tensor t, float **at)
{
    size_t n = t.rows * t.cols;
    uint16_t *half = qk_alloc(n + 1, 2);
    b->download(dev, t.dtype == QK_F32 ? (void *)*at : (void *)half, t);
    for (size_t i = 0; t.dtype != QK_F32 && i < n; i++) (*at)[i] = qk_bf16_to_f32(half[i]);
    free(half);
    *at += n;
}

typedef struct difference {
    double most, rms; /* largest; root mean square as a part of that of `want`. NaN: infinite */
} difference;

static inline difference compare(const float *got, const float *want, size_t n)
{
    double error = 0, size = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        double e = fabs((double)got[i] - (double)want[i]);
        if (!(e <= most)) most = e; /* keeps a NaN, from either side */
        if (isnan(e)) return (difference){INFINITY, INFINITY};
        error += e * e;
        size += (double)want[i] * (double)want[i];
    }
    return (difference){most, size > 0 ? sqrt(error / size) : error};
}

/* ---- schedules ---- */

/* Three orders of asynchronous copies, three orders of warps and lanes. */
enum { SCHEDULES = 9 };

/* A GPU has its own, another one each time; twice shows whether it matters. */
static inline int schedules_of(int wanted)
{
    return on_gpu() ? 2 : wanted;
}

static inline const char *set_schedule(int i)
{
    static char name[40];
    static const char *const orders[] = {"eager", "lazy", "latest"};
    emu_backend_settings.order = (emu_order)(i % 3);
    emu_backend_settings.seed = (unsigned)(i / 3);
    snprintf(name, sizeof name, "%s, seed %d", orders[i % 3], i / 3);
    if (on_gpu()) snprintf(name, sizeof name, "run %d on the GPU", i + 1);
    return name;
}
