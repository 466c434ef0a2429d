/* Memory of the GPU: pools for what lives as long as a layer, tensors, and the way of weights and
 * tables to the device.
 *
 * Copies to the device start in page-locked memory, from which the GPU reads by itself. Two such
 * buffers take turns: while one is read, the next piece is converted into the other.
 *
 * next: kernels/cuda/gemm.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/team.h"
#include "kernels/cuda/runtime.h"

/* ---- pools ---- */

enum { ALIGNMENT = 256, MIN_BLOCK = 1 << 20 };

static void *address(const cuda_pool *pool, const cuda_block *b, size_t at)
{
    return pool->on_host ? b->host + at : (char *)b->device + at;
}

void *cuda_pool_take(cuda_own *own, cuda_pool *pool, size_t bytes, const char *what)
{
    bytes = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    for (size_t i = 0; i < pool->n; i++) {
        cuda_block *b = &pool->blocks[i];
        if (b->bytes - b->used < bytes) continue;
        b->used += bytes;
        return address(pool, b, b->used - bytes);
    }
    cuda_block b = {.bytes = bytes > MIN_BLOCK ? bytes : MIN_BLOCK, .used = bytes};
    if (b.bytes < pool->wanted) b.bytes = pool->wanted;
    bool made = pool->on_host ? CUDA_CALL(own, what, cuMemHostAlloc, (void **)&b.host, b.bytes, 0)
                              : CUDA_CALL(own, what, cuMemAlloc, &b.device, b.bytes);
    if (!made) return NULL;
    pool->blocks = qk_realloc(pool->blocks, pool->n + 1, sizeof *pool->blocks);
    pool->blocks[pool->n++] = b;
    return address(pool, &b, 0);
}

void cuda_pool_close(cuda_own *own, cuda_pool *pool)
{
    for (size_t i = 0; i < pool->n; i++)
        if (pool->on_host)
            own->driver->cuMemFreeHost(pool->blocks[i].host);
        else
            own->driver->cuMemFree(pool->blocks[i].device);
    free(pool->blocks);
    pool->blocks = NULL;
    pool->n = 0;
}

/* More than one block means that layers grew: the next one is as large as all of them. */
void cuda_pool_reset(cuda_own *own, cuda_pool *pool)
{
    size_t bytes = 0;
    for (size_t i = 0; i < pool->n; i++) {
        bytes += pool->blocks[i].bytes;
        pool->blocks[i].used = 0;
    }
    if (pool->n < 2 || own->failure.status) return;
    pool->wanted = bytes;
    cuda_pool_close(own, pool);
}

/* ---- tensors ---- */

/* Memory that is short here is no failure of the device: the caller gives up and says why. */
static qk_status out_of_memory(cuda_own *own, const char *what, size_t bytes, qk_error *err)
{
    size_t left = 0, total = 0;
    own->driver->cuMemGetInfo(&left, &total);
    cuda_drain(own); /* he frees what the GPU may still fill */
    return qk_fail(err, QK_ERR_IO, CUDA_NO_MEMORY_HINT,
                   "GPU, %s: out of memory: %s wanted, %s of %s are free", what,
                   qk_human_bytes((double)bytes), qk_human_bytes((double)left),
                   qk_human_bytes((double)total));
}

qk_status cuda_alloc(qk_device *dev, qk_dtype dtype, size_t rows, size_t cols, const char *what,
                     qk_tensor *out, qk_error *err)
{
    cuda_own *own = dev->own;
    size_t n, bytes = SIZE_MAX;
    *out = (qk_tensor){NULL, dtype, rows, cols, cols};
    if (!qk_mul(rows, cols, &n) || !qk_mul(n, qk_dtype_size(dtype), &bytes)) bytes = SIZE_MAX;
    CUdeviceptr p = 0;
    int result =
        own->failure.status ? CUDA_SKIPPED : (int)own->driver->cuMemAlloc(&p, bytes ? bytes : 1);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) return out_of_memory(own, what, bytes, err);
    if (cuda_check(own, what, "cuMemAlloc", result)) out->data = (void *)p;
    if (own->failure.status) *err = own->failure;
    return own->failure.status;
}

void cuda_free(qk_device *dev, qk_tensor *t)
{
    if (t->data) dev->own->driver->cuMemFree((CUdeviceptr)t->data);
    *t = (qk_tensor){0};
}

/* ---- to the device ---- */

void cuda_memory_open(cuda_own *own)
{
    for (int i = 0; i < CUDA_BOUNCES; i++) {
        CUDA_CALL(own, "opening", cuMemHostAlloc, (void **)&own->bounces[i].host, CUDA_BOUNCE_BYTES,
                  0);
        CUDA_CALL(own, "opening", cuEventCreate, &own->bounces[i].free, CU_EVENT_DISABLE_TIMING);
    }
}

void cuda_memory_close(cuda_own *own)
{
    for (int i = 0; i < CUDA_BOUNCES; i++) {
        if (own->bounces[i].host) own->driver->cuMemFreeHost(own->bounces[i].host);
        if (own->bounces[i].free) own->driver->cuEventDestroy(own->bounces[i].free);
    }
}

typedef struct conversion {
    void *to;
    const void *from;
    qk_dtype dtype, round_to, src_dtype;
    size_t first;
} conversion;

static void convert(void *context, size_t begin, size_t end, int member)
{
    const conversion *c = context;
    (void)member;
    for (size_t k = begin; k < end; k++) {
        float v = qk_element(c->from, c->first + k, c->src_dtype);
        qk_element_set(c->to, k, c->dtype, qk_round_to(v, c->round_to));
    }
}

void cuda_send(cuda_own *own, CUdeviceptr to, qk_dtype dtype, qk_dtype round_to, const void *src,
               qk_dtype src_dtype, size_t first, size_t n)
{
    size_t size = qk_dtype_size(dtype), per_bounce = CUDA_BOUNCE_BYTES / size;
    for (size_t at = 0; at < n && !own->failure.status; at += per_bounce) {
        size_t now = n - at < per_bounce ? n - at : per_bounce;
        int i = own->bounce = (own->bounce + 1) % CUDA_BOUNCES;
        char *host = own->bounces[i].host;
        if (!CUDA_CALL(own, "copying to the GPU", cuEventSynchronize, own->bounces[i].free)) return;
        if (src_dtype == dtype && round_to == dtype) {
            memcpy(host, (const char *)src + (first + at) * size, now * size);
        } else {
            conversion c = {host, src, dtype, round_to, src_dtype, first + at};
            qk_loop(0, now, convert, &c);
        }
        CUDA_CALL(own, "copying to the GPU", cuMemcpyHtoDAsync, to + at * size, host, now * size,
                  own->compute);
        CUDA_CALL(own, "copying to the GPU", cuEventRecord, own->bounces[i].free, own->compute);
    }
}

void cuda_upload(qk_device *dev, qk_tensor t, const void *src, qk_dtype dtype)
{
    size_t runs = t.stride == t.cols ? 1 : t.rows,
           n = t.stride == t.cols ? t.rows * t.cols : t.cols;
    for (size_t r = 0; r < runs; r++)
        cuda_send(dev->own, (CUdeviceptr)t.data + r * t.stride * qk_dtype_size(t.dtype), t.dtype,
                  t.dtype, src, dtype, r * t.cols, n);
}

/* ---- to the host ---- */

static void receive(cuda_own *own, char *dst, CUdeviceptr from, size_t bytes)
{
    const char *doing = "copying from the GPU";
    for (size_t at = 0; at < bytes; at += CUDA_BOUNCE_BYTES) {
        size_t now = bytes - at < CUDA_BOUNCE_BYTES ? bytes - at : CUDA_BOUNCE_BYTES;
        char *host = own->bounces[0].host;
        if (!CUDA_CALL(own, doing, cuEventSynchronize, own->bounces[0].free) ||
            !CUDA_CALL(own, doing, cuMemcpyDtoHAsync, host, from + at, now, own->compute) ||
            !CUDA_CALL(own, doing, cuStreamSynchronize, own->compute))
            return;
        memcpy(dst + at, host, now);
    }
}

void cuda_download(qk_device *dev, void *dst, qk_tensor t)
{
    size_t size = qk_dtype_size(t.dtype), runs = t.stride == t.cols ? 1 : t.rows,
           bytes = (t.stride == t.cols ? t.rows : 1) * t.cols * size;
    for (size_t r = 0; r < runs; r++)
        receive(dev->own, (char *)dst + r * t.cols * size,
                (CUdeviceptr)t.data + r * t.stride * size, bytes);
}
