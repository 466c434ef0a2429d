/* The end of a matrix product: what happens to the sums of one row of a tile.
 *
 * next: kernels/cpu/isa/gemm.c */
#pragma once

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa/isa.h"

/* y[m, :] = [y +] sum [+ bias], in this order. */
INLINE void finish_row(const cpu_tile *t, size_t m, const float *sums)
{
    bool whole = t->cols == PANEL_COLS;
    float *y = t->y + m * t->y_stride, edge[PANEL_COLS], bias[PANEL_COLS];
    float *at = whole ? y : edge;
    if (!whole && t->accumulate) memcpy(edge, y, t->cols * sizeof(float));
    if (!whole && t->bias) memcpy(bias, t->bias, t->cols * sizeof(float));
    for (int v = 0; v < PANEL_VECTORS; v++) {
        v16 sum = v16_load(sums + 16 * v);
        if (t->accumulate) sum = v16_add(v16_load(at + 16 * v), sum);
        if (t->bias) sum = v16_add(sum, v16_load((whole ? t->bias : bias) + 16 * v));
        v16_store(at + 16 * v, sum);
    }
    if (!whole) memcpy(y, edge, t->cols * sizeof(float));
}
