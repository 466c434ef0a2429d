/* One tile of a bfloat16 matrix product in tile registers: 32 inputs times 32 outputs.
 *
 *   x  [K/32][2][16][32]   packed by cpu_amx_pack: the rows as they are, 64 bytes at a time
 *   w  one panel of a packed matrix, [K/2][32][2], K padded with zeros to a multiple of 32
 *   y  [32, 32]            in four tile registers, then through 4 kB of stack to where it belongs
 *
 * Bytes: 4 kB of x and w for a step of 32 k, from the L1 or L2 cache. FLOPs: 65,536 a step in 64
 * cycles. The order of the sums is in kernels/cpu/isa/amx.h; cutting a sum over k stores and loads
 * it as it is and changes nothing.
 *
 * next: kernels/cpu/isa/attention_amx.c */
#include "kernels/cpu/isa/amx.h"
#include "kernels/cpu/isa/finish.h"

_Static_assert((int)PANEL_COLS == (int)AMX_COLS, "a panel is two tile registers wide");

void QK_NAME(cpu_tiles_begin)(void)
{
    amx_begin();
}

void QK_NAME(cpu_tiles_end)(void)
{
    amx_end();
}

void QK_NAME(cpu_tiles_pack)(void *out, qk_tensor x, size_t first, size_t rows, qk_dtype compute)
{
    (void)compute;
    size_t steps = cpu_round_up(x.cols, AMX_DEPTH) / AMX_DEPTH;
    for (size_t m = 0; m < AMX_ROWS; m++) {
        const uint16_t *row = (const uint16_t *)x.data + (first + m) * x.stride;
        char *to = (char *)out + amx_row(m);
        for (size_t i = 0; i < steps; i++, to += AMX_STEP) {
            size_t n = m < rows ? x.cols - i * AMX_DEPTH : 0;
            _mm512_storeu_si512(to, amx_load_bf16(n ? row + i * AMX_DEPTH : NULL, n));
        }
    }
}

void QK_NAME(cpu_tiles_product)(const cpu_tile *t, qk_dtype compute)
{
    (void)compute;
    _Alignas(64) float own[AMX_ROWS * AMX_COLS];
    float *sums = t->sums ? t->sums : own;
    if (t->begins)
        amx_zero();
    else
        amx_load(sums, AMX_COLS);
    amx_product(t->x, t->w, cpu_round_up(t->k, AMX_DEPTH) / AMX_DEPTH);
    amx_store(sums, AMX_COLS);
    for (size_t m = 0; t->ends && m < t->rows; m++) finish_row(t, m, sums + m * AMX_COLS);
}
