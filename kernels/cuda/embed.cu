/* Embedding: x[t, :] = scale * table[ids[t], :].
 *
 * x [T, D] float32, table [V, D] in the checkpoint's own format, rounded to the compute format on
 * the way, as a model converted to it would be. One block of 256 threads per token.
 *
 *   bytes per token   4 D written, 2 D or 4 D read;   no arithmetic to speak of
 *
 * next: kernels/cuda/rmsnorm.cu */
#define THREADS 256
#include "kernels/cuda/rows.h"

DEVICE float widened(u32 bits, int format)
{
    return format == KERNEL_BF16 ? bf16_to_f32((u16)bits) : f16_to_f32((u16)bits);
}

/* A sweep along a row of the table; 16-bit numbers are widened when all are on their way. */
DEVICE void ld_elements(float v[AHEAD][VEC], const embed_args *a, long long from, int c)
{
    if (a->table_format == KERNEL_F32) {
        ld_sweep(v, (const float *)a->table + from, c, a->D);
        return;
    }
    const u16 *row = (const u16 *)a->table + from;
#if VEC == 4
    u32 pairs[AHEAD][2];
    EACH (u, AHEAD)
        if (PIECE(c, u) < a->D) ld_u32x2(pairs[u], row + PIECE(c, u));
    EACH (u, AHEAD)
        EACH (i, 4)
            if (PIECE(c, u) < a->D)
                v[u][i] = widened(pairs[u][i / 2] >> 16 * (i % 2), a->table_format);
#else
    EACH (u, AHEAD)
        if (PIECE(c, u) < a->D) v[u][0] = widened(ld_u16(row + PIECE(c, u)), a->table_format);
#endif
}

DEVICE float rounded(float v, int format)
{
    if (format == KERNEL_BF16) return bf16_to_f32(f32_to_bf16(v));
    return format == KERNEL_F16 ? f16_to_f32(f32_to_f16(v)) : v;
}

KERNEL(embed, THREADS, embed_args)
{
    long long token = block_id(), from = ld_i32(a.ids + token) * a.table_stride;
    SWEEP (c, a.D) {
        float v[AHEAD][VEC];
        ld_elements(v, &a, from, c);
        EACH (u, AHEAD) {
            if (PIECE(c, u) >= a.D) continue;
            EACH (i, VEC) v[u][i] = a.scale * rounded(v[u][i], a.round_to);
            st_vec(a.x, token * a.x_stride + PIECE(c, u), v[u], KERNEL_F32);
        }
    }
}
