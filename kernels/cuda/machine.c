/* Launches, what they are handed, and what comes back: see runtime.h.
 *
 * next: kernels/cuda/functions.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"
#include "kernels/cuda/runtime.h"

/* ---- launches ---- */

static void launch(qk_device *dev, const cuda_launch *l)
{
    cuda_own *own = dev->own;
    CUfunction f = cuda_function_get(own, l);
    void *params[] = {(void *)l->args};
    if (f)
        CUDA_CALL(own, l->kernel, cuLaunchKernel, f, (unsigned)l->grid_x, (unsigned)l->grid_y, 1,
                  (unsigned)l->threads, 1, 1, (unsigned)l->shared_bytes, own->compute, params,
                  NULL);
}

/* ---- to the device ---- */

static void *stage(qk_device *dev, const void *src, size_t bytes, const char *what)
{
    cuda_own *own = dev->own;
    cuda_segment *s = &own->segments[own->segment];
    void *to = cuda_pool_take(own, &s->device, bytes, what);
    if (!src || !to || !bytes) return to;
    void *from = cuda_pool_take(own, &s->host, bytes, what);
    if (!from) return NULL;
    memcpy(from, src, bytes);
    CUDA_CALL(own, what, cuMemcpyHtoDAsync, (CUdeviceptr)to, from, bytes, own->compute);
    return to;
}

static void *scratch(qk_device *dev, int number, size_t bytes, const char *what)
{
    cuda_own *own = dev->own;
    if (own->scratches[number].bytes < bytes) {
        if (own->scratches[number].device) {
            CUDA_CALL(own, what, cuStreamSynchronize, own->compute); /* the old one may be in use */
            CUDA_CALL(own, what, cuMemFree, own->scratches[number].device);
        }
        own->scratches[number].device = 0;
        own->scratches[number].bytes = 0;
        if (CUDA_CALL(own, what, cuMemAlloc, &own->scratches[number].device, bytes))
            own->scratches[number].bytes = bytes;
    }
    return (void *)own->scratches[number].device;
}

/* ---- to the host ---- */

static void deliver(qk_device *dev, const void *from, qk_dtype dtype, size_t n, size_t d,
                    float **targets)
{
    cuda_own *own = dev->own;
    cuda_segment *s = &own->segments[own->segment];
    size_t bytes = n * d * qk_dtype_size(dtype);
    const char *doing = "copying captured rows";
    void *rows = cuda_pool_take(own, &s->host, bytes, doing);
    if (!rows || !CUDA_CALL(own, doing, cuEventRecord, own->captured, own->compute) ||
        !CUDA_CALL(own, doing, cuStreamWaitEvent, own->copy, own->captured, 0) ||
        !CUDA_CALL(own, doing, cuMemcpyDtoHAsync, rows, (CUdeviceptr)from, bytes, own->copy)) {
        free(targets);
        return;
    }
    s->deliveries = qk_realloc(s->deliveries, s->n_deliveries + 1, sizeof *s->deliveries);
    s->deliveries[s->n_deliveries++] = (cuda_delivery){rows, dtype, n, d, targets};
}

static void fetch(qk_device *dev, void *dst, const void *src, size_t bytes)
{
    cuda_own *own = dev->own;
    const char *doing = "reading back the routes of experts";
    void *host = cuda_pool_take(own, &own->segments[own->segment].host, bytes, doing);
    if (host &&
        CUDA_CALL(own, doing, cuMemcpyDtoHAsync, host, (CUdeviceptr)src, bytes, own->compute) &&
        CUDA_CALL(own, doing, cuStreamSynchronize, own->compute))
        memcpy(dst, host, bytes);
    else
        memset(dst, 0, bytes);
}

const cuda_machine cuda_gpu = {launch, stage, deliver, scratch, fetch};

/* ---- layers ---- */

void cuda_segments_open(cuda_own *own)
{
    for (int i = 0; i < 2; i++) {
        cuda_segment *s = &own->segments[i];
        s->host.on_host = true;
        CUDA_CALL(own, "opening", cuEventCreate, &s->computed, CU_EVENT_DISABLE_TIMING);
        CUDA_CALL(own, "opening", cuEventCreate, &s->copied, CU_EVENT_DISABLE_TIMING);
    }
    CUDA_CALL(own, "opening", cuEventCreate, &own->captured, CU_EVENT_DISABLE_TIMING);
}

static void hand_over(void *context, size_t begin, size_t end, int member)
{
    const cuda_delivery *x = context;
    (void)member;
    for (size_t r = begin; r < end; r++) {
        if (!x->targets[r]) continue;
        if (x->dtype == QK_F32) {
            memcpy(x->targets[r], (const float *)x->rows + r * x->d, x->d * sizeof(float));
            continue;
        }
        const uint16_t *row = (const uint16_t *)x->rows + r * x->d;
        for (size_t c = 0; c < x->d; c++) x->targets[r][c] = qk_bf16_to_f32(row[c]);
    }
}

/* Hands over the rows of a segment whose work is done (or drops them) and empties it. */
static void settle(cuda_own *own, cuda_segment *s, bool deliver_rows)
{
    for (size_t i = 0; i < s->n_deliveries; i++) {
        if (deliver_rows && !own->failure.status)
            qk_loop(0, s->deliveries[i].n, hand_over, &s->deliveries[i]);
        free(s->deliveries[i].targets);
    }
    s->n_deliveries = 0;
    s->ended = false;
    cuda_pool_reset(own, &s->device);
    cuda_pool_reset(own, &s->host);
}

void cuda_segments_close(cuda_own *own)
{
    for (int i = 0; i < 2; i++) {
        cuda_segment *s = &own->segments[i];
        settle(own, s, false);
        free(s->deliveries);
        cuda_pool_close(own, &s->device);
        cuda_pool_close(own, &s->host);
        if (s->computed) own->driver->cuEventDestroy(s->computed);
        if (s->copied) own->driver->cuEventDestroy(s->copied);
    }
    if (own->captured) own->driver->cuEventDestroy(own->captured);
    for (int i = 0; i < CUDA_SCRATCHES; i++)
        if (own->scratches[i].device) own->driver->cuMemFree(own->scratches[i].device);
}

void cuda_layer_end(qk_device *dev)
{
    cuda_own *own = dev->own;
    cuda_segment *s = &own->segments[own->segment];
    CUDA_CALL(own, "ending a layer", cuEventRecord, s->computed, own->compute);
    CUDA_CALL(own, "ending a layer", cuEventRecord, s->copied, own->copy);
    s->ended = true;
    own->segment = 1 - own->segment;
    s = &own->segments[own->segment]; /* the layer before, while this one runs */
    if (!s->ended) return;
    CUDA_CALL(own, "waiting for a layer", cuEventSynchronize, s->computed);
    CUDA_CALL(own, "waiting for captured rows", cuEventSynchronize, s->copied);
    settle(own, s, true);
}

qk_status cuda_sync(qk_device *dev, int layers, qk_error *err)
{
    cuda_own *own = dev->own;
    if (!layers) {
        CUDA_CALL(own, "waiting for the GPU", cuStreamSynchronize, own->compute);
        CUDA_CALL(own, "waiting for the GPU", cuStreamSynchronize, own->copy);
        settle(own, &own->segments[1 - own->segment], true); /* the older one first */
        settle(own, &own->segments[own->segment], true);
    }
    if (own->failure.status) *err = own->failure;
    return own->failure.status;
}
