/* y = [y +] x W^T [+ bias]: blocking and threads around kernels/cpu/isa/gemm.c.
 *
 *   1. all threads pack x into tiles of rows, [tile][K][12] (12 with AVX-512)
 *   2. the grid of (tile, panel) is cut into jobs; within a job, one panel meets many tiles, so the
 *      panel stays in the cache while tiles stream past
 *
 * Bytes: W once for each group of tiles, x once for each panel, from the L2 cache or L3.
 * FLOPs: 2 T out in. What a job computes does not depend on how the grid is cut.
 *
 * next: kernels/cpu/attention.c */
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

static size_t tile_bytes(const qk_device *dev, size_t K)
{
    const cpu_gemm *g = cpu_gemm_of(dev);
    return cpu_round_up(K, g->depth) * g->tile_rows * (dev->compute == QK_BF16 ? 2 : 4);
}

static void reserve_packed(qk_device *dev, size_t bytes)
{
    if (bytes <= dev->packed_bytes) return;
    free(dev->packed);
    qk_error err;
    if (qk_try_alloc(&dev->packed, bytes, 1, "packed activations", &err) != QK_OK)
        qk_fatal("%s", err.message);
    dev->packed_bytes = bytes;
}

/* Tiles first .. last of x against one panel. */
static void run_panel(const qk_device *dev, qk_tensor y, size_t K, const qk_matrix *w,
                      const float *bias, bool accumulate, size_t panel, size_t first, size_t last)
{
    size_t rows = cpu_gemm_of(dev)->tile_rows, col = panel * w->panel_cols;
    cpu_tile t = {
        .w = (const char *)w->panels + panel * w->panel_bytes,
        .k = K,
        .y_stride = y.stride,
        .cols = w->out - col < w->panel_cols ? w->out - col : w->panel_cols,
        .bias = bias ? bias + col : NULL,
        .accumulate = accumulate,
    };
    for (size_t tile = first; tile < last; tile++) {
        size_t row = tile * rows;
        t.x = (const char *)dev->packed + tile * tile_bytes(dev, K);
        t.y = (float *)y.data + row * y.stride + col;
        t.rows = y.rows - row < rows ? y.rows - row : rows;
        cpu_gemm_of(dev)->tile(&t, dev->compute);
    }
}

void cpu_matmul(qk_device *dev, qk_tensor y, qk_tensor x, const qk_matrix *w, const float *bias,
                bool accumulate)
{
    QK_ASSERT(x.cols == w->in && y.cols == w->out && x.rows == y.rows && y.dtype == QK_F32);
    QK_ASSERT(x.dtype == (dev->compute == QK_BF16 ? QK_BF16 : QK_F32));
    /* Long inputs go in slabs, so that the packed copy stays small. */
    enum { SLAB = 1536 };
    const cpu_gemm *gemm = cpu_gemm_of(dev);
    size_t rows = gemm->tile_rows, K = w->in;
    size_t panels = (w->out + w->panel_cols - 1) / w->panel_cols;
    for (size_t begin = 0; begin < x.rows; begin += SLAB) {
        size_t n = x.rows - begin < SLAB ? x.rows - begin : SLAB, tiles = (n + rows - 1) / rows;
        qk_tensor slab = qk_rows(x, begin, n), out = qk_rows(y, begin, n);
        reserve_packed(dev, tiles * tile_bytes(dev, K));
        /* Enough jobs for all threads: by tiles first, then by panels. */
        size_t groups = tiles < (size_t)dev->threads ? tiles : (size_t)dev->threads;
#pragma omp parallel num_threads(dev->threads)
        {
#pragma omp for schedule(static)
            for (size_t tile = 0; tile < tiles; tile++) {
                size_t row = tile * rows, count = n - row < rows ? n - row : rows;
                gemm->pack_rows((char *)dev->packed + tile * tile_bytes(dev, K), slab, row, count,
                                dev->compute);
            }
            if (gemm->begin) gemm->begin();
#pragma omp for schedule(static) collapse(2)
            for (size_t g = 0; g < groups; g++)
                for (size_t panel = 0; panel < panels; panel++)
                    run_panel(dev, out, K, w, bias, accumulate, panel, g * tiles / groups,
                              (g + 1) * tiles / groups);
            if (gemm->end) gemm->end();
        }
    }
}
