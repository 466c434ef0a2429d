/* Embedding: x[t, :] = scale * table[ids[t], :].
 *
 * x [T, D] float32, table [V, D] in the checkpoint's own format, rounded to the compute format on
 * the way, as a model converted to it would be. One block of 256 threads per token.
 *
 *   bytes per token   4 D written, 2 D or 4 D read;   no arithmetic to speak of
 *
 * next: kernels/cuda/rmsnorm.cu */
#include "kernels/cuda/rows.h"

#define THREADS 256

DEVICE float element(const void *table, long long at, int format)
{
    if (format == KERNEL_F32) return ld_f32((const float *)table + at);
    u16 bits = ld_u16((const u16 *)table + at);
    return format == KERNEL_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

DEVICE float rounded(float v, int format)
{
    if (format == KERNEL_BF16) return bf16_to_f32(f32_to_bf16(v));
    return format == KERNEL_F16 ? f16_to_f32(f32_to_f16(v)) : v;
}

KERNEL(embed, THREADS, embed_args)
{
    long long token = block_id(), from = ld_i32(a.ids + token) * a.table_stride;
    for (int c = thread_id() * VEC; c < a.D; c += THREADS * VEC) {
        float v[VEC];
        EACH (i, VEC)
            v[i] = a.scale * rounded(element(a.table, from + c + i, a.table_format), a.round_to);
        st_vec(a.x, token * a.x_stride + c, v, KERNEL_F32);
    }
}
