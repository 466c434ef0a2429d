/* Weights in panels: the layout that kernels/cpu/isa/gemm.c reads from front to back.
 *
 *   w [out, in]  ->  panels [out / 32][in][32]      (32 columns with AVX-512, 16 elsewhere)
 *
 * A panel is read once for every tile of input rows, all of it, in order. bfloat16 keeps pairs of k
 * side by side, [in / 2][32][2], which is what vdpbf16ps multiplies; 16 pairs of it are a tile
 * register for tdpbf16ps.
 *
 * next: kernels/cpu/matmul.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/transpose.h"

qk_status cpu_matrix_new(qk_device *dev, size_t out, size_t in, const char *what, qk_matrix **m,
                         qk_error *err)
{
    const cpu_gemm *g = cpu_gemm_of(dev);
    size_t cols = g->panel_cols, panels = (out + cols - 1) / cols;
    size_t depth = cpu_round_up(in, g->depth), bytes, per_panel;
    *m = NULL;
    if (!qk_mul(depth, cols * qk_dtype_size(dev->compute), &per_panel) ||
        !qk_mul(per_panel, panels, &bytes))
        return qk_fail(err, QK_ERR_DATA, NULL, "%s: %zu x %zu does not fit in memory", what, out,
                       in);
    void *data;
    QK_TRY(qk_try_alloc(&data, bytes, 1, what, err));
    memset(data, 0, bytes);
    *m = qk_alloc(1, sizeof **m);
    **m = (qk_matrix){out, in, cols, per_panel, data};
    return QK_OK;
}

/* ---- packing ----
 *
 * A block of rows is brought to the compute format, then its units (a float32, a float16, a pair of
 * bfloat16) go to the panel: a transposition, of few rows at a time because rows of a weight are
 * often 4096 bytes apart or a multiple, which a cache can hold only a few of. */

enum { ROWS = 8, DEPTH = 512, ROW_BYTES = DEPTH * 4 + 64 };

static void widen(float *to, const void *src, size_t first, size_t n, qk_dtype dtype)
{
    const uint16_t *half = (const uint16_t *)src + first;
    if (dtype == QK_F32) memcpy(to, (const float *)src + first, n * sizeof *to);
    if (dtype == QK_BF16) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) to[i] = qk_bf16_to_f32(half[i]);
    }
    if (dtype == QK_F16)
        for (size_t i = 0; i < n; i++) to[i] = qk_f16_to_f32(half[i]);
}

/* n elements from src[first] on, rounded to nearest. */
static void convert(void *to, qk_dtype dtype, const void *src, size_t first, size_t n,
                    qk_dtype src_dtype)
{
    float wide[DEPTH];
    uint16_t *half = to;
    size_t size = qk_dtype_size(dtype);
    if (src_dtype == dtype) {
        memcpy(to, (const char *)src + first * size, n * size);
        return;
    }
    widen(dtype == QK_F32 ? to : wide, src, first, n, src_dtype);
    if (dtype == QK_BF16) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) half[i] = qk_f32_to_bf16(wide[i]);
    }
    if (dtype == QK_F16)
        for (size_t i = 0; i < n; i++) half[i] = qk_f32_to_f16(wide[i]);
}

/* to[u, r] = block[r, u] for units of one size; rows of `to` are `stride` units apart. */
#define TRANSPOSE(name, unit)                                                                      \
    static void name(unit *to, size_t stride, const char *block, size_t rows, size_t units)        \
    {                                                                                              \
        for (size_t u = 0; u < units; u++)                                                         \
            for (size_t r = 0; r < rows; r++)                                                      \
                memcpy(&to[u * stride + r], block + r * ROW_BYTES + u * sizeof(unit),              \
                       sizeof(unit));                                                              \
    }
TRANSPOSE(transpose_16, uint16_t)
TRANSPOSE(transpose_32, uint32_t)

typedef struct packing {
    const qk_matrix *m;
    qk_dtype compute, src_dtype;
    const void *src; /* [rows, in] */
    size_t first_out, rows;
} packing;

/* Columns k .. k + n - 1 of rows r .. r + rows - 1 of src, which go to one panel. */
static void pack_block(const packing *p, size_t r, size_t rows, size_t k, size_t n)
{
    _Alignas(64) char block[ROWS * ROW_BYTES];
    size_t cols = p->m->panel_cols, o = p->first_out + r, per_unit = p->compute == QK_BF16 ? 2 : 1;
    size_t units = (n + per_unit - 1) / per_unit, size = qk_dtype_size(p->compute);
    for (size_t i = 0; i < rows; i++) {
        convert(block + i * ROW_BYTES, p->compute, p->src, (r + i) * p->m->in + k, n, p->src_dtype);
        memset(block + i * ROW_BYTES + n * size, 0, size); /* the other half of an odd pair */
    }
    char *panel = (char *)p->m->panels + o / cols * p->m->panel_bytes;
    void *to = panel + (k / per_unit * cols + o % cols) * per_unit * size;
    if (p->compute == QK_F16)
        transpose_16(to, cols, block, rows, units);
    else if (rows == ROWS)
        cpu_transpose(to, cols, block, ROW_BYTES / 4, ROWS, units);
    else
        transpose_32(to, cols, block, rows, units);
}

/* Panels, counted from that of the first row. */
static void pack_panels(void *context, size_t begin, size_t end, int member)
{
    const packing *p = context;
    size_t cols = p->m->panel_cols, first_panel = p->first_out / cols, in = p->m->in;
    (void)member;
    for (size_t panel = first_panel + begin; panel < first_panel + end; panel++) {
        size_t o_begin = panel * cols > p->first_out ? panel * cols : p->first_out,
               o_end = (panel + 1) * cols;
        if (o_end > p->first_out + p->rows) o_end = p->first_out + p->rows;
        for (size_t k = 0; k < in; k += DEPTH)
            for (size_t o = o_begin; o < o_end; o += ROWS)
                pack_block(p, o - p->first_out, o_end - o < ROWS ? o_end - o : ROWS, k,
                           in - k < DEPTH ? in - k : DEPTH);
    }
}

void cpu_matrix_load(qk_device *dev, qk_matrix *m, size_t first_out, size_t rows, const void *src,
                     qk_dtype src_dtype)
{
    QK_ASSERT(first_out <= m->out && rows <= m->out - first_out);
    packing p = {m, dev->compute, src_dtype, src, first_out, rows};
    size_t cols = m->panel_cols, last = (first_out + rows + cols - 1) / cols;
    qk_loop(dev->threads, last - first_out / cols, pack_panels, &p);
}

void cpu_matrix_free(qk_device *dev, qk_matrix *m)
{
    (void)dev;
    if (m) free(m->panels);
    free(m);
}
