/* One tile of a matrix product: tile_rows inputs times panel_cols outputs, held in registers.
 *
 *            panel of w, [K, 32]                    for each k: two loads of w, one broadcast for
 *            k=0  wwwwwwww wwwwwwww                 each input row, tile_rows x 2 multiply-adds.
 *   x tile   k=1  wwwwwwww wwwwwwww                 12 x 2 of the 32 AVX-512 registers hold sums
 *   [K, 12]   :                                     (6 x 2 halves of 16 with AVX2), so that memory
 *   xxxxxxxxxxxx -> yyyyyyyy yyyyyyyy  (12 x 32)    is read 12 times less often than it is used.
 *
 * Every output is one chain of fused multiply-adds over k = 0, 1, 2 ..., in every instruction set,
 * so neither tiling nor SIMD width can change a bit. bfloat16 takes two k at a time: the odd
 * one, then the even one, as vdpbf16ps does.
 *
 * next: kernels/cpu/matmul.c */
#include "kernels/cpu/isa/finish.h"

/* Sums of one tile; kind and the tile's shape are constants after inlining. */
INLINE void sums(const cpu_tile *t, qk_dtype kind, v16 acc[TILE_ROWS][PANEL_VECTORS])
{
    for (int m = 0; m < TILE_ROWS; m++)
        for (int v = 0; v < PANEL_VECTORS; v++) acc[m][v] = v16_zero();
    if (kind == QK_BF16) {
        const uint32_t *x = t->x, *w = t->w;
        for (size_t k = 0; k < (t->k + 1) / 2; k++, x += TILE_ROWS, w += PANEL_COLS) {
            v16i b[PANEL_VECTORS];
            for (int v = 0; v < PANEL_VECTORS; v++) b[v] = v16i_load(w + 16 * v);
            for (int m = 0; m < TILE_ROWS; m++) {
                v16i a = v16i_set1(x[m]);
                for (int v = 0; v < PANEL_VECTORS; v++)
                    acc[m][v] = v16_dot_bf16(acc[m][v], a, b[v]);
            }
        }
        return;
    }
    const float *x = t->x;
    const char *w = t->w;
    size_t step = PANEL_COLS * (kind == QK_F32 ? 4 : 2);
    for (size_t k = 0; k < t->k; k++, x += TILE_ROWS, w += step) {
        v16 b[PANEL_VECTORS];
        for (int v = 0; v < PANEL_VECTORS; v++)
            b[v] = kind == QK_F32 ? v16_load((const float *)w + 16 * v)
                                  : v16_from_f16((const uint16_t *)w + 16 * v);
        for (int m = 0; m < TILE_ROWS; m++) {
            v16 a = v16_set1(x[m]);
            for (int v = 0; v < PANEL_VECTORS; v++) acc[m][v] = v16_fma(a, b[v], acc[m][v]);
        }
    }
}

#define TILE(kind)                                                                                 \
    do {                                                                                           \
        v16 acc[TILE_ROWS][PANEL_VECTORS];                                                         \
        sums(t, kind, acc);                                                                        \
        for (size_t m = 0; m < t->rows; m++) finish_row(t, m, acc[m]);                             \
    } while (0)

void QK_NAME(cpu_gemm_tile)(const cpu_tile *t, qk_dtype compute)
{
    switch (compute) {
    case QK_F32: TILE(QK_F32); break;
    case QK_F16: TILE(QK_F16); break;
    case QK_BF16: TILE(QK_BF16); break;
    }
}

/* Rows first .. first + rows - 1 of x, transposed: [K, TILE_ROWS]; missing rows are zero. */
void QK_NAME(cpu_gemm_pack)(void *out, qk_tensor x, size_t first, size_t rows, qk_dtype compute)
{
    size_t K = x.cols;
    if (compute == QK_BF16) {
        uint16_t *p = out;
        const uint16_t *data = x.data;
        memset(p, 0, (K + 1) / 2 * TILE_ROWS * 4);
        for (size_t m = 0; m < rows; m++) {
            const uint16_t *row = data + (first + m) * x.stride;
            for (size_t k = 0; k < K; k++) p[k / 2 * 2 * TILE_ROWS + 2 * m + k % 2] = row[k];
        }
        return;
    }
    float *p = out;
    if (rows < TILE_ROWS) memset(p, 0, K * TILE_ROWS * sizeof(float));
    for (size_t m = 0; m < rows; m++) {
        const float *row = (const float *)x.data + (first + m) * x.stride;
        for (size_t k = 0; k < K; k++) p[k * TILE_ROWS + m] = row[k];
    }
}
