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

#include "kernels/cpu/cpu.h"

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

/* Puts w[o, k] at its place in its panel. */
static void place(const qk_matrix *m, qk_dtype compute, size_t o, size_t k, float value)
{
    char *panel = (char *)m->panels + o / m->panel_cols * m->panel_bytes;
    size_t col = o % m->panel_cols;
    switch (compute) {
    case QK_F32: ((float *)panel)[k * m->panel_cols + col] = value; break;
    case QK_F16: ((uint16_t *)panel)[k * m->panel_cols + col] = qk_f32_to_f16(value); break;
    case QK_BF16:
        ((uint16_t *)panel)[(k / 2 * m->panel_cols + col) * 2 + k % 2] = qk_f32_to_bf16(value);
        break;
    }
}

void cpu_matrix_load(qk_device *dev, qk_matrix *m, size_t first_out, size_t rows, const void *src,
                     qk_dtype src_dtype)
{
    QK_ASSERT(first_out <= m->out && rows <= m->out - first_out);
    qk_dtype compute = dev->compute;
#pragma omp parallel for schedule(static) num_threads(dev->threads)
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < m->in; k++)
            place(m, compute, first_out + r, k, cpu_element(src, r * m->in + k, src_dtype));
}

void cpu_matrix_free(qk_device *dev, qk_matrix *m)
{
    (void)dev;
    if (m) free(m->panels);
    free(m);
}
