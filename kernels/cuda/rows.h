/* What kernels that walk along rows share: pieces of 4 elements, sweeps, sums over a block. The
 * including file has defined THREADS, of a block.
 *
 * VEC = 4 moves 16 bytes with one instruction and needs columns and strides that are multiples of
 * 4; VEC = 1 takes any shape. The host picks the build.
 *
 * Such kernels do nothing but wait for memory: it answers after some 600 clocks, and an SM of an
 * H200 could take 21 bytes in each of them, so 13 KB and more must be on their way at any time. A
 * thread therefore asks for AHEAD pieces before it uses the first; a sweep of the block is
 *
 *   piece 0 of all threads | piece 1 of all threads | .. AHEAD - 1 |      each THREADS * VEC wide
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

#define AHEAD 4
/* c: where this thread's piece 0 of a sweep begins, in a row of n elements. */
#define SWEEP(c, n) for (int c = thread_id() * VEC; c < (n); c += AHEAD * THREADS * VEC)
/* Where its piece u begins; at n or behind it there is none. */
#define PIECE(c, u) ((c) + (u)*THREADS * VEC)

DEVICE void ld_sweep(float v[AHEAD][VEC], const float *row, int c, int n)
{
    EACH (u, AHEAD)
        if (PIECE(c, u) < n) ld_vec(v[u], row + PIECE(c, u));
}

/* The same between registers and shared memory, whose address is a multiple of 4 VEC. */
DEVICE void ld_shared_vec(float *v, u32 at)
{
#if VEC == 4
    ld_shared_f32x4(v, at);
#else
    v[0] = ld_shared_f32(at);
#endif
}

DEVICE void st_shared_vec(u32 at, const float *v)
{
#if VEC == 4
    st_shared_f32x4(at, v);
#else
    st_shared_f32(at, v[0]);
#endif
}

/* The way back, to an array of float32 or bfloat16. */
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
