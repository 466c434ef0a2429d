/* One tile of a matrix product: tile_rows inputs times panel_cols outputs, held in registers.
 *
 *            panel of w, [K, 32]                    for each k: two loads of w, one broadcast for
 *            k=0  wwwwwwww wwwwwwww                 each input row, tile_rows x 2 multiply-adds.
 *   x tile   k=1  wwwwwwww wwwwwwww                 12 x 2 of the 32 AVX-512 registers hold sums
 *   [K, 12]   :                                     (6 x 2 halves of 16 with AVX2), so that memory
 *   xxxxxxxxxxxx -> yyyyyyyy yyyyyyyy  (12 x 32)    is read 12 times less often than it is used.
 *
 * (How the shape follows from the number of registers: kernels/cpu/isa/isa.h.)
 *
 * Every output is one chain of fused multiply-adds over k = 0, 1, 2 ..., in every instruction set,
 * so neither tiling nor SIMD width can change a bit, nor can parking the sums between two parts of
 * k. bfloat16 takes two k at a time: the odd one, then the even one, as vdpbf16ps does. Where there
 * is no such instruction, x is packed as float32, so that only w is unpacked in the loop: an `and`
 * and a shift for 2 tile_rows multiply-adds.
 *
 * next: kernels/cpu/matmul.c */
#include "kernels/cpu/isa/finish.h"
#include "kernels/cpu/transpose.h"

/* sums[m, :] += x[m] w, for one k. */
INLINE void add_products(v16 sums[TILE_ROWS][PANEL_VECTORS], const float *x,
                         const v16 w[PANEL_VECTORS])
{
    for (int m = 0; m < TILE_ROWS; m++) {
        v16 a = v16_set1(x[m]);
        for (int v = 0; v < PANEL_VECTORS; v++) sums[m][v] = v16_fma(a, w[v], sums[m][v]);
    }
}

INLINE void add_floats(v16 sums[TILE_ROWS][PANEL_VECTORS], const cpu_tile *t)
{
    const float *x = t->x, *w = t->w;
    for (size_t k = 0; k < t->k; k++, x += TILE_ROWS, w += PANEL_COLS) {
        v16 b[PANEL_VECTORS];
        for (int v = 0; v < PANEL_VECTORS; v++) b[v] = v16_load(w + 16 * v);
        add_products(sums, x, b);
    }
}

INLINE void add_halves(v16 sums[TILE_ROWS][PANEL_VECTORS], const cpu_tile *t)
{
    const float *x = t->x;
    const uint16_t *w = t->w;
    for (size_t k = 0; k < t->k; k++, x += TILE_ROWS, w += PANEL_COLS) {
        v16 b[PANEL_VECTORS];
        for (int v = 0; v < PANEL_VECTORS; v++) b[v] = v16_from_f16(w + 16 * v);
        add_products(sums, x, b);
    }
}

/* Pairs of bfloat16: those of x are two rows of float32, or pairs where an instruction takes them. */
INLINE void add_pairs(v16 sums[TILE_ROWS][PANEL_VECTORS], const cpu_tile *t)
{
    const uint32_t *w = t->w;
#ifdef V16_HAS_PAIRS
    const uint32_t *x = t->x;
    for (size_t k = 0; k < (t->k + 1) / 2; k++, x += TILE_ROWS, w += PANEL_COLS) {
        v16i b[PANEL_VECTORS];
        for (int v = 0; v < PANEL_VECTORS; v++) b[v] = v16i_load(w + 16 * v);
        for (int m = 0; m < TILE_ROWS; m++) {
            v16i a = v16i_set1(x[m]);
            for (int v = 0; v < PANEL_VECTORS; v++) sums[m][v] = v16_add_pairs(sums[m][v], a, b[v]);
        }
    }
#else
    const float *x = t->x;
    for (size_t k = 0; k < (t->k + 1) / 2; k++, x += 2 * TILE_ROWS, w += PANEL_COLS) {
        v16 b[PANEL_VECTORS];
        for (int v = 0; v < PANEL_VECTORS; v++) b[v] = v16_odd(w + 16 * v);
        add_products(sums, x + TILE_ROWS, b);
        for (int v = 0; v < PANEL_VECTORS; v++) b[v] = v16_even(w + 16 * v);
        add_products(sums, x, b);
    }
#endif
}

#define TILE(add)                                                                                  \
    do {                                                                                           \
        v16 acc[TILE_ROWS][PANEL_VECTORS];                                                         \
        for (int m = 0; m < TILE_ROWS; m++)                                                        \
            for (int v = 0; v < PANEL_VECTORS; v++)                                                \
                acc[m][v] = t->begins ? v16_zero() : v16_load(sums + m * PANEL_COLS + 16 * v);     \
        add(acc, t);                                                                               \
        for (int m = 0; m < TILE_ROWS; m++)                                                        \
            for (int v = 0; v < PANEL_VECTORS; v++)                                                \
                v16_store(sums + m * PANEL_COLS + 16 * v, acc[m][v]);                              \
    } while (0)

void QK_NAME(cpu_gemm_tile)(const cpu_tile *t, qk_dtype compute)
{
    _Alignas(64) float own[TILE_ROWS * PANEL_COLS];
    float *sums = t->sums ? t->sums : own;
    switch (compute) {
    case QK_F32: TILE(add_floats); break;
    case QK_F16: TILE(add_halves); break;
    case QK_BF16: TILE(add_pairs); break;
    }
    for (size_t m = 0; t->ends && m < t->rows; m++) finish_row(t, m, sums + m * PANEL_COLS);
}

/* ---- packing x ----
 *
 * [rows, K] -> [K, TILE_ROWS], by blocks: whole tiles of float32 straight from x, others through a
 * block of rows that are complete and in the packed format. Missing rows are zero. */

enum { BLOCK = 128 };

static void copy_block(uint32_t to[TILE_ROWS][BLOCK], qk_tensor x, size_t rows, size_t k, size_t n)
{
    memset(to, 0, TILE_ROWS * sizeof *to);
    for (size_t m = 0; m < rows; m++) {
        size_t at = m * x.stride + k;
        const uint16_t *half = (const uint16_t *)x.data + at;
        if (x.dtype == QK_F32 || PACKED_BF16 == 2)
            memcpy(to[m], (const char *)x.data + at * qk_dtype_size(x.dtype),
                   n * qk_dtype_size(x.dtype));
        else
            for (size_t i = 0; i < n; i++) to[m][i] = (uint32_t)half[i] << 16;
    }
}

void QK_NAME(cpu_gemm_pack)(void *out, qk_tensor x, size_t first, size_t rows, qk_dtype compute)
{
    uint32_t block[TILE_ROWS][BLOCK], *to = out;
    size_t per_unit = compute == QK_BF16 && PACKED_BF16 == 2 ? 2 : 1;
    x = qk_rows(x, first, rows);
    if (compute != QK_BF16 && rows == TILE_ROWS) {
        cpu_transpose(to, TILE_ROWS, x.data, x.stride, TILE_ROWS, x.cols);
        return;
    }
    for (size_t k = 0; k < x.cols; k += BLOCK * per_unit) {
        size_t n = x.cols - k < BLOCK * per_unit ? x.cols - k : BLOCK * per_unit;
        copy_block(block, x, rows, k, n);
        if (compute == QK_BF16) n += n % 2; /* the other half of an odd pair is zero */
        cpu_transpose(to, TILE_ROWS, block[0], BLOCK, TILE_ROWS, n / per_unit);
        to += n / per_unit * TILE_ROWS;
    }
}
