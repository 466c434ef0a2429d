/* The GPU as a cuda_machine (cuda.h): what is behind the ops when they run on hardware.
 *
 *   compute stream   |  layer l: kernels, products        |  layer l + 1                  |
 *   copy stream                 | rows of q, k of layer l |  ...
 *   host                                                  | hands over the rows of layer l |
 *
 * What an op hands over (lists) and gets back (captured rows) lies in the segment of its layer.
 * There are two: while one layer runs, the rows of the one before it are handed over, and then its
 * segment is free for the next one. So memory does not grow with the number of layers, the copy
 * never waits for the compute stream's end, and the host is at most one layer behind.
 *
 * A failure (a call that returns an error, memory that is short) is kept, everything after it does
 * nothing, and the next sync returns it.
 *
 * next: kernels/cuda/machine.c, memory.c, gemm.c, backend_cuda.c */
#pragma once

#include "kernels/cuda/compile.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/libraries.h"

/* What helps when the GPU's memory is short. Batch size is no part of what identifies a run. */
#define CUDA_NO_MEMORY_HINT                                                                        \
    "lower inference.batch_size (what is finished is kept, and the run goes on), or use a GPU "    \
    "with more memory; 'qkengine plan' shows what is needed, nvidia-smi who else uses it: when "   \
    "they are gone, the same command goes on"

/* Memory that is handed out from front to back and taken back at once. */
typedef struct cuda_block {
    CUdeviceptr device; /* or host, page-locked */
    char *host;
    size_t bytes, used;
} cuda_block;

typedef struct cuda_pool {
    bool on_host;
    cuda_block *blocks;
    size_t n;
    size_t wanted; /* bytes that the next block has at least */
} cuda_pool;

/* Captured rows on their way: row i of `rows` [n, d] goes to targets[i], NULL: nowhere. */
typedef struct cuda_delivery {
    const void *rows; /* page-locked */
    qk_dtype dtype;
    size_t n, d;
    float **targets;
} cuda_delivery;

/* What belongs to one layer. */
typedef struct cuda_segment {
    cuda_pool device, host;
    cuda_delivery *deliveries;
    size_t n_deliveries;
    CUevent computed, copied; /* recorded when the layer ended */
    bool ended;
} cuda_segment;

typedef struct cuda_module {
    cuda_build build;
    CUmodule module;
} cuda_module;

typedef struct cuda_function {
    const char *kernel;
    CUmodule module;
    CUfunction function;
    int shared_limit; /* dynamic shared memory that it may have so far, bytes */
} cuda_function;

enum { CUDA_BOUNCES = 2, CUDA_BOUNCE_BYTES = 16 << 20 };

typedef struct cuda_products cuda_products; /* gemm.c */

struct cuda_own {
    const cuda_driver *driver;
    CUdevice device;
    CUcontext context;
    CUstream compute, copy;
    CUevent captured; /* rows are in device memory: the copy stream waits for it */
    char arch[16];    /* "sm_90a" */
    char title[200], numerics[32];
    qk_error failure; /* the first one; status QK_OK: none */
    cuda_segment segments[2];
    int segment; /* the one of the layer that is being queued */
    struct {
        CUdeviceptr device;
        size_t bytes;
    } scratches[CUDA_SCRATCHES];
    struct {
        char *host; /* page-locked */
        CUevent free;
    } bounces[CUDA_BOUNCES];
    int bounce;
    cuda_module *modules;
    size_t n_modules;
    cuda_function *functions;
    size_t n_functions;
    cuda_products *products;
};

/* ---- failures ---- */

/* Calls the driver unless something failed before; true when it did and all is well. doing: for the
 * message, "copying captured rows". */
#define CUDA_CALL(own, doing, call, ...)                                                           \
    cuda_check(own, doing, #call,                                                                  \
               (own)->failure.status ? CUDA_SKIPPED : (int)(own)->driver->call(__VA_ARGS__))
enum { CUDA_SKIPPED = -1 }; /* the result of a call that was not made */

/* Keeps the error of a driver call, with what to do about it; true for CUDA_SUCCESS. */
bool cuda_check(cuda_own *own, const char *doing, const char *call, int result);
/* Waits for all that was queued: after a failure, which queues nothing more, and before the end, so
 * that nothing is freed that the GPU still works on. CUDA_SUCCESS, or what went wrong in it. */
int cuda_drain(cuda_own *own);
/* "CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)", into a static buffer per thread. */
const char *cuda_error_text(const cuda_driver *driver, int result);

/* ---- machine.c: launches, segments ---- */
extern const cuda_machine cuda_gpu;
void cuda_segments_open(cuda_own *own);
void cuda_segments_close(cuda_own *own); /* drops what has not been delivered */
void cuda_layer_end(qk_device *dev);
qk_status cuda_sync(qk_device *dev, int layers, qk_error *err);

/* ---- functions.c: modules and functions ---- */
/* NULL after a failure. */
CUfunction cuda_function_get(cuda_own *own, const cuda_launch *l);
void cuda_functions_close(cuda_own *own);

/* ---- memory.c ---- */
void cuda_memory_open(cuda_own *own);
void cuda_memory_close(cuda_own *own);
/* `bytes` of a pool, aligned to 256 bytes; the device address, or the host's. 0 after a failure. */
void *cuda_pool_take(cuda_own *own, cuda_pool *pool, size_t bytes, const char *what);
void cuda_pool_reset(cuda_own *own, cuda_pool *pool);
void cuda_pool_close(cuda_own *own, cuda_pool *pool);
qk_status cuda_alloc(qk_device *, qk_dtype, size_t rows, size_t cols, const char *what, qk_tensor *,
                     qk_error *);
void cuda_free(qk_device *, qk_tensor *);
void cuda_upload(qk_device *, qk_tensor, const void *src, qk_dtype);
void cuda_download(qk_device *, void *dst, qk_tensor);
/* Elements src[first] .. src[first + n - 1], rounded to the format round_to, become dtype at `to`.
 */
void cuda_send(cuda_own *own, CUdeviceptr to, qk_dtype dtype, qk_dtype round_to, const void *src,
               qk_dtype src_dtype, size_t first, size_t n);

/* ---- gemm.c: matrix products by cuBLASLt ---- */
qk_status cuda_products_open(qk_device *dev, qk_error *err);
void cuda_products_close(cuda_own *own);
qk_status cuda_matrix_new(qk_device *, size_t out, size_t in, const char *what, qk_matrix **,
                          qk_error *);
void cuda_matrix_load(qk_device *, qk_matrix *, size_t first_out, size_t rows, const void *src,
                      qk_dtype);
void cuda_matrix_free(qk_device *, qk_matrix *);
void cuda_matmul(qk_device *, qk_tensor y, qk_tensor x, const qk_matrix *, const float *bias,
                 bool accumulate);
