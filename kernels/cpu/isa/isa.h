/* The tile shape of this instruction set and what its files export. Private to kernels/cpu/isa. */
#pragma once

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa/simd.h"

/* Register blocking. Sums stay in registers while a loop over k runs; what is left of the registers
 * holds the vectors of the right factor and one broadcast number of the left one. A block of R rows
 * and C registers loads R + C values for R C multiply-adds, so it should be about square, and R C +
 * C + 1 must not exceed the registers: one sum in memory costs a store and a load of 5 clocks or
 * more in the middle of its chain.
 *
 *                registers   sums       right   left   loads for a multiply-add
 *     AVX-512    32          12 x 2     2       1      0.58      strips of attention: 6 x 4, 0.42
 *     AVX2       16          6 x 2      2       1      0.67      two registers are one v16
 *
 * Two multiply-adds a clock of 4 clocks latency need 8 sums at least. */
#if defined(QK_ISA_avx512) || defined(QK_ISA_avx512bf16)
enum { TILE_ROWS = 12, PANEL_VECTORS = 2 };
enum { STRIP_ROWS = 6, STRIP_VECTORS = 4 };
#elif defined(QK_ISA_avx2)
enum { TILE_ROWS = 6, PANEL_VECTORS = 1 };
enum { STRIP_ROWS = 6, STRIP_VECTORS = 1 };
#else
enum { TILE_ROWS = 4, PANEL_VECTORS = 1 };
enum { STRIP_ROWS = 2, STRIP_VECTORS = 4 };
#endif
enum { PANEL_COLS = 16 * PANEL_VECTORS };

/* Bytes of a packed bfloat16 of x: where no instruction multiplies pairs, it is a float32. */
#ifdef V16_HAS_PAIRS
enum { PACKED_BF16 = 2 };
#else
enum { PACKED_BF16 = 4 };
#endif

/* Longer sums over k are cut: a panel's part of 128 kB in float32 with AVX2, 256 kB with AVX-512. */
enum { BLOCK_DEPTH = 2048 };

void QK_NAME(cpu_gemm_tile)(const cpu_tile *t, qk_dtype compute);
void QK_NAME(cpu_gemm_pack)(void *out, qk_tensor x, size_t first, size_t rows, qk_dtype compute);
void QK_NAME(cpu_row_rmsnorm)(qk_tensor y, qk_tensor x, size_t row, const float *w, float eps,
                              bool plus_one);
void QK_NAME(cpu_row_glu)(qk_tensor y, qk_tensor g, size_t row, qk_activation act);
void QK_NAME(cpu_norm_part)(float *x, size_t n, const float *w, float eps, bool plus_one);
void QK_NAME(cpu_softmax)(float *x, size_t n);
void QK_NAME(cpu_row_store)(qk_tensor y, size_t row, const float *from);
void QK_NAME(cpu_copy_row)(float *out, qk_tensor t, size_t at, size_t d, qk_dtype rounded);
void QK_NAME(cpu_rotate)(float *head, const float *cos, const float *sin, size_t half);
void QK_NAME(cpu_attention_tile_run)(const cpu_attention_tile *t);
size_t QK_NAME(cpu_attention_floats)(qk_heads heads);
double QK_NAME(cpu_peak_f32)(size_t turns);
double QK_NAME(cpu_peak_bf16)(size_t turns); /* where there are instructions for it */

/* The same in tile registers, bfloat16 only: gemm_amx.c, attention_amx.c. */
void QK_NAME(cpu_tiles_begin)(void);
void QK_NAME(cpu_tiles_end)(void);
void QK_NAME(cpu_tiles_product)(const cpu_tile *t, qk_dtype compute);
void QK_NAME(cpu_tiles_pack)(void *out, qk_tensor x, size_t first, size_t rows, qk_dtype compute);
void QK_NAME(cpu_tiles_attention)(const cpu_attention_tile *t);
size_t QK_NAME(cpu_tiles_attention_floats)(qk_heads heads);
