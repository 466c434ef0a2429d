/* y = [y +] x W^T [+ bias]: blocking and threads around kernels/cpu/isa/gemm.c.
 *
 *   1. all threads pack x into tiles of rows, [tile][K][12] (6 with AVX2, 12 with AVX-512, 32 with AMX)
 *   2. the grid of (tile, panel) is cut into jobs, blocks of at most 256 rows and 512 columns, and the
 *      sum over k into parts of 2048. Within a part of a job one panel meets all tiles: it stays in the
 *      L2 cache while tiles stream past, and next to it as many tiles as there is room for. What the
 *      sums have come to is parked between two parts (512 kB at most).
 *
 *          x [256 rows, K]             W^T [K, 512 columns]       for each part of k:
 *          | part 0 | part 1 | ..      part 0 | p p p p ..          for each panel p:
 *                                      part 1 | p p p p ..            for each tile: sums += x p
 *
 * Uncut, a panel of 12,288 k is 786 kB in float32 and a tile 295 kB: together more than the L2 cache
 * has, so both come from L3 or memory again and again. Short parts cost, too: each begins with loads
 * of sums and of a tile's first lines that nothing has fetched ahead.
 *
 * Bytes: W once for each group of tiles, x once for each group of panels, from L3 or memory.
 * FLOPs: 2 T out in. What a job computes does not depend on how the grid is cut.
 *
 * next: kernels/cpu/attention.c */
#include <stdlib.h>

#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"

static size_t tile_bytes(const qk_device *dev, size_t K)
{
    const cpu_gemm *g = cpu_gemm_of(dev);
    return cpu_round_up(K, g->depth) * g->tile_rows * g->packed_size;
}

/* Long inputs go in slabs, so that the packed copy stays small. */
enum { SLAB = 1536, BLOCK_ROWS = 256, BLOCK_COLS = 512, JOBS_PER_THREAD = 4 };

static size_t at_most(size_t n, size_t limit)
{
    return n < limit ? n : limit;
}

/* A product and how it is cut. */
typedef struct product {
    const qk_device *dev;
    qk_tensor y, x; /* of the slab */
    const qk_matrix *w;
    const float *bias;
    bool accumulate;
    size_t tiles, panels; /* of all */
    size_t tiles_a_job, panels_a_job, depth;
} product;

static void cut(product *p)
{
    const cpu_gemm *g = cpu_gemm_of(p->dev);
    size_t threads = (size_t)p->dev->threads, rows = g->tile_rows;
    p->tiles = (p->y.rows + rows - 1) / rows;
    p->panels = (p->w->out + p->w->panel_cols - 1) / p->w->panel_cols;
    p->tiles_a_job = at_most(p->tiles, BLOCK_ROWS / rows);
    size_t groups = (p->tiles + p->tiles_a_job - 1) / p->tiles_a_job;
    size_t share = groups * p->panels / (JOBS_PER_THREAD * threads);
    p->panels_a_job = at_most(share ? share : 1, BLOCK_COLS / p->w->panel_cols);
    p->depth = at_most(p->w->in, g->block_depth);
}

static size_t groups_of_panels(const product *p)
{
    return (p->panels + p->panels_a_job - 1) / p->panels_a_job;
}

/* Part k .. k + depth - 1 of the sums of one tile and one panel. */
static void run_tile(const product *p, size_t tile, size_t panel, size_t k, float *sums)
{
    const cpu_gemm *g = cpu_gemm_of(p->dev);
    size_t row = tile * g->tile_rows, cols = p->w->panel_cols, col = panel * cols;
    const char *x = (const char *)p->dev->packed.data + tile * tile_bytes(p->dev, p->w->in);
    const char *w = (const char *)p->w->panels + panel * p->w->panel_bytes;
    cpu_tile t = {
        .x = x + tile_bytes(p->dev, k),
        .w = w + k * cols * qk_dtype_size(p->dev->compute),
        .k = at_most(p->w->in - k, p->depth),
        .y = (float *)p->y.data + row * p->y.stride + col,
        .y_stride = p->y.stride,
        .rows = at_most(p->y.rows - row, g->tile_rows),
        .cols = at_most(p->w->out - col, cols),
        .bias = p->bias ? p->bias + col : NULL,
        .accumulate = p->accumulate,
        .sums = sums,
        .begins = k == 0,
        .ends = k + p->depth >= p->w->in,
    };
    g->tile(&t, p->dev->compute);
}

/* sums: scratch for those of a job, or NULL when they are not cut. */
static void run_job(const product *p, size_t first_tile, size_t first_panel, float *sums)
{
    size_t tiles = at_most(p->tiles - first_tile, p->tiles_a_job), panel_floats = 0;
    size_t panels = at_most(p->panels - first_panel, p->panels_a_job);
    if (sums) panel_floats = cpu_gemm_of(p->dev)->tile_rows * p->w->panel_cols;
    for (size_t k = 0; k == 0 || k < p->w->in; k += p->depth)
        for (size_t i = 0; i < panels; i++)
            for (size_t j = 0; j < tiles; j++)
                run_tile(p, first_tile + j, first_panel + i, k,
                         sums ? sums + (i * tiles + j) * panel_floats : NULL);
}

static void pack_tiles(void *context, size_t begin, size_t end, int member)
{
    const product *p = context;
    const cpu_gemm *g = cpu_gemm_of(p->dev);
    size_t rows = g->tile_rows, bytes = tile_bytes(p->dev, p->w->in);
    (void)member;
    for (size_t tile = begin; tile < end; tile++)
        g->pack_rows((char *)p->dev->packed.data + tile * bytes, p->x, tile * rows,
                     at_most(p->x.rows - tile * rows, rows), p->dev->compute);
}

/* Jobs, those of one group of tiles after the other. */
static void run_jobs(void *context, size_t begin, size_t end, int member)
{
    const product *p = context;
    const cpu_gemm *g = cpu_gemm_of(p->dev);
    size_t groups = groups_of_panels(p);
    float *sums = NULL;
    if (p->depth < p->w->in)
        sums = (float *)p->dev->sums.data + (size_t)member * BLOCK_ROWS * BLOCK_COLS;
    if (g->begin) g->begin();
    for (size_t job = begin; job < end; job++)
        run_job(p, job / groups * p->tiles_a_job, job % groups * p->panels_a_job, sums);
    if (g->end) g->end();
}

void cpu_matmul(qk_device *dev, qk_tensor y, qk_tensor x, const qk_matrix *w, const float *bias,
                bool accumulate)
{
    QK_ASSERT(x.cols == w->in && y.cols == w->out && x.rows == y.rows && y.dtype == QK_F32);
    QK_ASSERT(x.dtype == (dev->compute == QK_BF16 ? QK_BF16 : QK_F32));
    for (size_t begin = 0; begin < x.rows; begin += SLAB) {
        size_t n = at_most(x.rows - begin, SLAB);
        product p = {.dev = dev,
                     .y = qk_rows(y, begin, n),
                     .x = qk_rows(x, begin, n),
                     .w = w,
                     .bias = bias,
                     .accumulate = accumulate};
        cut(&p);
        cpu_reserve(&dev->packed, p.tiles * tile_bytes(dev, w->in), "packed activations");
        if (p.depth < w->in)
            cpu_reserve(&dev->sums, (size_t)dev->threads * BLOCK_ROWS * BLOCK_COLS * sizeof(float),
                        "sums of products");
        qk_loop(dev->threads, p.tiles, pack_tiles, &p);
        size_t groups = (p.tiles + p.tiles_a_job - 1) / p.tiles_a_job;
        qk_loop(dev->threads, groups * groups_of_panels(&p), run_jobs, &p);
    }
}
