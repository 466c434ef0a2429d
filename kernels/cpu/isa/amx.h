/* Tile registers: a matrix product in one instruction (Intel AMX).
 *
 * There are eight, each 16 rows of 64 bytes. tdpbf16ps adds a product of two to a third:
 *
 *     c [16][16] float32  +=  a [16 rows][32 k] bfloat16  x  b [16 pairs of k][16 columns][2]
 *
 * 16 x 16 x 32 multiply-adds in 16 cycles, 16 times what vdpbf16ps does. Every product here is two
 * by two tiles, so that each tile of a and of b that is loaded is used twice:
 *
 *              b: panel [K/2][32][2]           tiles 0 1   sums of rows 0..15
 *                 [ 4 ][ 5 ]                   tiles 2 3   sums of rows 16..31
 *   a: [ 6 ]      [ 0 ][ 1 ]                   a is packed: [K/32][2 halves][16 rows][32 k], so a
 *      [ 7 ]      [ 2 ][ 3 ]                   step of 32 k is 2048 bytes in a and in b
 *
 * Order of a sum: a step adds its 16 even products in one chain from zero, its 16 odd ones in
 * another, adds both, and adds that to the sum; subnormal numbers are taken for zero. So the last
 * bits differ from vdpbf16ps (one chain), but depend on nothing but the row and the column.
 *
 * The state belongs to a thread, between amx_begin and amx_end: a thread that leaves it behind
 * makes every switch of threads save 8 kB.
 *
 * next: kernels/cpu/isa/gemm_amx.c */
#pragma once

#include "kernels/cpu/isa/simd.h"

enum { AMX_ROWS = 32, AMX_COLS = 32, AMX_DEPTH = 32, AMX_STEP = 2048, AMX_TILE = 1024 };

INLINE void amx_begin(void)
{
    /* Layout of ldtilecfg's operand: palette, start row, bytes per row and rows of each tile. */
    static const struct {
        uint8_t palette, start_row, zeros[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } whole = {
        .palette = 1,
        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    _Static_assert(sizeof whole == 64, "as the processor reads it");
    _tile_loadconfig(&whole);
}

INLINE void amx_end(void)
{
    _tile_release();
}

INLINE void amx_zero(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

/* The intrinsics do not tell the compiler that they read memory. */
INLINE void amx_memory_is_read(void)
{
    __asm__ volatile("" ::: "memory");
}

/* The sums from and to c [32][stride]. */
INLINE void amx_load(const float *c, size_t stride)
{
    amx_memory_is_read();
    _tile_loadd(0, c, stride * 4);
    _tile_loadd(1, c + 16, stride * 4);
    _tile_loadd(2, c + 16 * stride, stride * 4);
    _tile_loadd(3, c + 16 * stride + 16, stride * 4);
}

INLINE void amx_store(float *c, size_t stride)
{
    _tile_stored(0, c, stride * 4);
    _tile_stored(1, c + 16, stride * 4);
    _tile_stored(2, c + 16 * stride, stride * 4);
    _tile_stored(3, c + 16 * stride + 16, stride * 4);
    amx_memory_is_read();
}

/* sums += a b over steps of 32 k. 8 loads of 16 lines and 4 products a step. */
INLINE void amx_product(const void *a, const void *b, size_t steps)
{
    const char *x = a, *w = b;
    amx_memory_is_read();
    for (size_t i = 0; i < steps; i++, x += AMX_STEP, w += AMX_STEP) {
        _tile_loadd(4, w, 128);
        _tile_loadd(6, x, 64);
        _tile_loadd(5, w + 64, 128);
        _tile_dpbf16ps(0, 6, 4);
        _tile_loadd(7, x + AMX_TILE, 64);
        _tile_dpbf16ps(1, 6, 5);
        _tile_dpbf16ps(2, 7, 4);
        _tile_dpbf16ps(3, 7, 5);
    }
}

/* Where 32 k of row m stand in the first step of a packed a. */
INLINE size_t amx_row(size_t m)
{
    return m / 16 * AMX_TILE + m % 16 * 64;
}

/* n bfloat16 numbers, up to 32, and zeros behind them. */
INLINE __m512i amx_load_bf16(const uint16_t *p, size_t n)
{
    return _mm512_maskz_loadu_epi16(n < 32 ? (1u << n) - 1 : ~0u, p);
}

/* Sixteen rows of sixteen 32-bit words, transposed in place: pairs of words, then pairs of pairs,
 * then the four quarters of the registers. */
INLINE void amx_transpose(__m512i r[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + 2 + j]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + 2 + j]);
        }
    /* r[4 g + c]: rows 4 g .. 4 g + 3 of the columns c, c + 4, c + 8, c + 12 */
    for (int c = 0; c < 4; c++) {
        __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88),
                b = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xDD),
                d = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88),
                e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xDD);
        t[c] = _mm512_shuffle_i32x4(a, d, 0x88);
        t[c + 8] = _mm512_shuffle_i32x4(a, d, 0xDD);
        t[c + 4] = _mm512_shuffle_i32x4(b, e, 0x88);
        t[c + 12] = _mm512_shuffle_i32x4(b, e, 0xDD);
    }
    for (int i = 0; i < 16; i++) r[i] = t[i];
}
