/* What the tests of the fake GPU itself share: a small world of two streams, two device buffers and
 * two page-locked ones, and one kernel.
 *
 * next: tests/test_fake_cuda.c */
#pragma once

#include <cublasLt.h>
#include <cuda.h>
#include <nvrtc.h>

#include "kernels/cuda/args.h"
#include "kernels/cuda/compile.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/test.h"

/* The symbol that every driver has; the header of this toolkit declares a later one. */
#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to);

enum { ROWS = 4, COLS = 64, N = ROWS * COLS, BYTES = 4 * N, THREADS = 256 };

static CUcontext context;
static CUstream first, second;
static CUdeviceptr a, b;
static float *in, *out; /* page-locked, [ROWS, COLS] */

#define GOOD(call) CHECK_INT(call, 0)
/* The call is wrong: it says so, and the fault names what is wrong. */
#define CAUGHT(call, text)                                                                         \
    do {                                                                                           \
        CHECK((int)(call) != 0);                                                                   \
        CHECK_FAULT(text);                                                                         \
    } while (0)
#define CHECK_FAULT(text)                                                                          \
    do {                                                                                           \
        const char *fault_ = fake_cuda_fault();                                                    \
        CHECK_MSG(strstr(fault_, text), "the fault is \"%s\", and not \"%s\"", fault_, text);      \
    } while (0)

/* ---- a small world: two streams, two device buffers, two page-locked ones ---- */

static inline void open_context(fake_order order, unsigned seed)
{
    fake_cuda_reset();
    fake_cuda_set_order(order, seed);
    CUdevice device;
    GOOD(cuInit(0));
    GOOD(cuDeviceGet(&device, 0));
    GOOD(cuDevicePrimaryCtxRetain(&context, device));
    GOOD(cuCtxSetCurrent(context));
}

static inline void open_world(fake_order order, unsigned seed)
{
    open_context(order, seed);
    GOOD(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    GOOD(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    GOOD(cuMemAlloc(&a, BYTES));
    GOOD(cuMemAlloc(&b, BYTES));
    GOOD(cuMemHostAlloc((void **)&in, BYTES, 0));
    GOOD(cuMemHostAlloc((void **)&out, BYTES, 0));
    for (int i = 0; i < N; i++) in[i] = (float)i;
}

/* Everything is given back, and nobody made a mistake that was not asked for. */
static inline void close_world(void)
{
    GOOD(cuStreamSynchronize(first));
    GOOD(cuStreamSynchronize(second));
    GOOD(cuStreamDestroy(first));
    GOOD(cuStreamDestroy(second));
    GOOD(cuMemFree(a));
    GOOD(cuMemFree(b));
    GOOD(cuMemFreeHost(in));
    GOOD(cuMemFreeHost(out));
    GOOD(cuDevicePrimaryCtxRelease(0));
    CHECK_STR(fake_cuda_fault(), "");
    CHECK_STR(fake_cuda_leaks(), "");
}

/* ---- a kernel: convert of glu.cu, from float32 to float32, which copies ---- */

static inline nvrtcProgram new_program(const char *name, int skipped_header)
{
    const char *texts[8], *names[8], *text = "";
    int n = 0;
    for (int i = 0; cuda_headers[i].name; i++) {
        if (i == skipped_header) continue;
        texts[n] = cuda_headers[i].text;
        names[n++] = cuda_headers[i].name;
    }
    for (const cuda_source *s = cuda_kernels; s->name; s++)
        if (!strcmp(s->name, name)) text = s->text;
    nvrtcProgram p = NULL;
    GOOD(nvrtcCreateProgram(&p, text, name, n, texts, names));
    return p;
}

/* The cubin, which the caller frees. */
static inline char *compile(const char *name, const char *const *options, int n)
{
    nvrtcProgram p = new_program(name, -1);
    size_t size = 0;
    GOOD(nvrtcCompileProgram(p, n, options));
    GOOD(nvrtcGetCUBINSize(p, &size));
    char *cubin = malloc(size + 1);
    GOOD(nvrtcGetCUBIN(p, cubin));
    GOOD(nvrtcDestroyProgram(&p));
    return cubin;
}

static inline CUmodule load(const char *name, const char *const *options, int n)
{
    CUmodule m = NULL;
    char *cubin = compile(name, options, n);
    GOOD(cuModuleLoadData(&m, cubin));
    free(cubin);
    return m;
}

static inline CUmodule load_convert(CUfunction *f)
{
    static const char *const options[] = {"--gpu-architecture=sm_90a", "-DVEC=4"};
    CUmodule m = load("kernels/cuda/glu.cu", options, 2);
    GOOD(cuModuleGetFunction(f, m, "convert"));
    return m;
}

static inline CUresult launch_convert(CUfunction f, CUdeviceptr to, CUdeviceptr from,
                                      CUstream stream)
{
    convert_args args = {(void *)to, (const float *)from, COLS, COLS, COLS, KERNEL_F32};
    void *params[] = {&args};
    CUresult r = cuLaunchKernel(f, ROWS, 1, 1, THREADS, 1, 1, 0, stream, params, NULL);
    memset(&args, 0xFF, sizeof args); /* they were copied */
    return r;
}
