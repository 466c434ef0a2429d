/* What kernels that walk along rows share: 4 elements at a time, sums over a block.
 *
 * VEC = 4 moves 16 bytes with one instruction and needs columns and strides that are multiples of
 * 4; VEC = 1 takes any shape. The host picks the build.
 *
 * next: kernels/cuda/rmsnorm.cu */
#pragma once

#include "kernels/cuda/args.h"
#include "kernels/cuda/port.h"

#ifndef VEC
#define VEC 4
#endif

/* Elements at .. at + VEC - 1 of a float32 array. */
DEVICE void ld_vec(float *v, const float *p)
{
#if VEC == 4
    ld_f32x4(v, p);
#else
    v[0] = ld_f32(p);
#endif
}

/* The same to an array of float32 or bfloat16. */
DEVICE void st_vec(void *base, long long at, const float *v, int format)
{
#if VEC == 4
    if (format == KERNEL_F32) {
        st_f32x4((float *)base + at, v);
    } else {
        u32 pairs[2];
        pairs[0] = pack_bf16(v[0], v[1]);
        pairs[1] = pack_bf16(v[2], v[3]);
        st_u32x2((bf16 *)base + at, pairs);
    }
#else
    if (format == KERNEL_F32)
        st_f32((float *)base + at, v[0]);
    else
        st_u16((bf16 *)base + at, f32_to_bf16(v[0]));
#endif
}

/* The sum of v over the 32 threads of a warp, in each of them: a butterfly, so all add in one
 * order. */
DEVICE float warp_sum(float v)
{
    BUTTERFLY (mask, 16) v += shuffle_xor(v, mask);
    return v;
}

/* The sum over a block of `warps` warps, in each thread. scratch: one float per warp in shared
 * memory, free again after the caller's next sync_block. */
DEVICE float block_sum(float v, u32 scratch, int warps)
{
    v = warp_sum(v);
    if (thread_id() % WARP == 0) st_shared_f32(scratch + 4u * (u32)(thread_id() / WARP), v);
    sync_block();
    v = 0;
    for (int w = 0; w < warps; w++) v += ld_shared_f32(scratch + 4u * (u32)w);
    return v;
}
