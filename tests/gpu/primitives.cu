/* One tiny kernel per primitive of kernels/cuda/port.h; each writes what it got, raw, to memory.
 *
 * On a GPU and on the emulator the same source must write the same bits (tests/gpu/primitives.c).
 * Inputs differ in every lane and element, so that a lane, row or half mistaken for another shows.
 * Every kernel stores u32 numbers at `out` and reads them at `in`; blocks have 128 threads.
 *
 * next: tests/gpu/primitives.c */
#include "kernels/cuda/port.h"

typedef struct primitive_args {
    u32 *out;
    const u32 *in;
} primitive_args;

enum { BLOCK = 128 };

/* Results of a thread lie together, `each` numbers from here on. */
#define RESULTS(each) (a.out + (each)*thread_id())
#define AS_FLOATS(p) ((float *)(void *)(p))
#define AS_CONST_FLOATS(p) ((const float *)(const void *)(p))
#define AS_HALVES(p) ((const u16 *)(const void *)(p))

/* ---- threads and meeting points ---- */

KERNEL(p_ids, BLOCK, primitive_args)
{
    u32 *out = a.out + BLOCK * (block_id() + 3 * block_id_y()) + thread_id();
    st_u32(out, (u32)(thread_id() | block_id() << 8 | block_id_y() << 16));
}

KERNEL(p_shuffles, BLOCK, primitive_args)
{
    u32 *out = RESULTS(16);
    int mine = ld_i32((const int *)a.in) + 7 * thread_id();
    EACH (mask, 8) {
        float f = shuffle_xor((float)(1000 + thread_id()), 4 * mask + 3);
        st_f32(AS_FLOATS(out + mask), f);
        st_i32((int *)out + 8 + mask, shuffle_xor_int(mine, 1 << mask % 5));
    }
}

KERNEL(p_ballots, BLOCK, primitive_args)
{
    u32 *out = RESULTS(6);
    u32 third = warp_ballot(thread_id() % 3 == 0), first = warp_ballot(thread_id() == 0);
    st_u32(out, third);
    st_u32(out + 1, first);
    st_u32(out + 2, warp_ballot(thread_id() * 4)); /* anything but 0 is yes */
    st_u32(out + 3, (u32)count_bits(third));
    st_u32(out + 4, (u32)count_bits(ld_i32((const int *)a.in + thread_id()) & 0xFFFF7FFF));
    st_u32(out + 5, (u32)count_bits(0xFFFFFFFF) + 100 * (u32)count_bits(0));
}

/* Each thread's number, read by another thread after each kind of meeting point. */
KERNEL(p_barriers, BLOCK, primitive_args)
{
    u32 base = shared_base(), mine = base + 4 * (u32)thread_id(), *out = RESULTS(4);
    int warp = thread_id() / WARP, lane = thread_id() % WARP;
    name_shared(base, 4 * BLOCK, "numbers");
    st_shared_u32(mine, 1000 + (u32)thread_id());
    sync_block();
    st_u32(out, ld_shared_u32(base + 4 * (u32)(BLOCK - 1 - thread_id())));
    sync_block();
    st_shared_u32(mine, 2000 + (u32)thread_id());
    sync_warp();
    st_u32(out + 1, ld_shared_u32(base + 4 * (u32)(WARP * warp + (lane + 11) % WARP)));
    sync_block();
    /* Two warps meet at a barrier of their own: 0 with 1 at the first number, 2 with 3 at the last.
     */
    st_shared_u32(mine, 3000 + (u32)thread_id());
    barrier_sync(warp < 2 ? 1 : 15, 2 * WARP);
    st_u32(out + 2, ld_shared_u32(base + 4 * (u32)(thread_id() ^ WARP)));
    sync_block();
    /* Three warps only arrive; the fourth waits for all of them. */
    if (warp < 3) {
        st_shared_u32(mine, 4000 + (u32)thread_id());
        barrier_arrive(7, BLOCK);
        st_u32(out + 3, 0);
    } else {
        barrier_sync(7, BLOCK);
        st_u32(out + 3, ld_shared_u32(base + 4 * (u32)(3 * lane)));
    }
}

/* ---- memory ---- */

KERNEL(p_global, BLOCK, primitive_args)
{
    const u32 *in = a.in + 16 * thread_id();
    u32 *out = RESULTS(16), v[4];
    float f[4];
    ld_f32x4(f, AS_CONST_FLOATS(in));
    st_f32x4(AS_FLOATS(out), f);
    ld_u32x4(v, in + 4);
    st_u32x4(out + 4, v);
    ld_u32x2(v, in + 8);
    st_u32x2(out + 8, v);
    st_f32(AS_FLOATS(out + 10), ld_f32(AS_CONST_FLOATS(in + 10)));
    st_i32((int *)out + 11, ld_i32((const int *)in + 11));
    st_u32(out + 12, (u32)ld_u16(AS_HALVES(in + 12) + 1) | (u32)ld_u16(AS_HALVES(in + 12)) << 16);
    st_u16((u16 *)(out + 13), ld_u16(AS_HALVES(in + 13)));
    st_u16((u16 *)(out + 13) + 1, ld_u16(AS_HALVES(in + 14)));
    st_u32(out + 14, v[0]);
    st_u32(out + 15, v[1]);
}

KERNEL(p_shared, BLOCK, primitive_args)
{
    u32 mine = shared_base() + 32 * (u32)thread_id(), v[4], *out = RESULTS(8);
    float f[4];
    u32 other = shared_base() + 32 * (u32)((thread_id() + 37) % BLOCK);
    const u32 *in = a.in + 16 * thread_id();
    name_shared(shared_base(), 32 * BLOCK, "numbers");
    ld_u32x4(v, in);
    ld_f32x4(f, AS_CONST_FLOATS(in));
    st_shared_f32x4(mine, f);
    st_shared_u32(mine + 16, v[3] ^ v[0]);
    st_shared_f32(mine + 20, ld_f32(AS_CONST_FLOATS(in + 4)));
    st_shared_u32(mine + 24, mine - shared_base());
    st_shared_f32(mine + 28, 1.5f);
    sync_block();
    ld_shared_f32x4(f, other);
    st_f32x4(AS_FLOATS(out), f);
    st_u32(out + 4, ld_shared_u32(other + 16));
    EACH (i, 3) st_f32(AS_FLOATS(out + 5 + i), ld_shared_f32(other + 20 + 4 * (u32)i));
}

/* Three groups of copies, waited for one after the other; then what a neighbour copied. */
KERNEL(p_copies, BLOCK, primitive_args)
{
    u32 base = shared_base(), mine = base + 64 * (u32)thread_id(), *out = RESULTS(20);
    const u32 *in = a.in + 16 * thread_id();
    name_shared(base, 64 * BLOCK, "copies");
    copy_async16(mine, in, 1);
    copy_commit();
    copy_async16(mine + 16, in + 4, thread_id() % 2);
    copy_async16(mine + 32, in + 8, 1);
    copy_commit();
    copy_async16(mine + 48, in + 12, thread_id() % 3 == 0);
    copy_commit();
    copy_wait(2);
    EACH (i, 4) st_u32(out + i, ld_shared_u32(mine + 4 * (u32)i));
    copy_wait(1);
    EACH (i, 8) st_u32(out + 4 + i, ld_shared_u32(mine + 16 + 4 * (u32)i));
    copy_wait(0);
    EACH (i, 4) st_u32(out + 12 + i, ld_shared_u32(mine + 48 + 4 * (u32)i));
    sync_block();
    EACH (i, 4)
        st_u32(out + 16 + i, ld_shared_u32(base + 64 * (u32)(thread_id() ^ 33) + 16 * (u32)i));
}

/* A copy that is not valid does not read, so its source may be nowhere. */
KERNEL(p_copy_nowhere, BLOCK, primitive_args)
{
    u32 mine = shared_base() + 16 * (u32)thread_id(), *out = RESULTS(4);
    EACH (i, 4) st_shared_u32(mine + 4 * (u32)i, 0xABCD0000 + (u32)i);
    copy_async16(mine, (const char *)a.in + ((u64)1 << 44), 0);
    copy_commit();
    copy_wait(0);
    EACH (i, 4) st_u32(out + i, ld_shared_u32(mine + 4 * (u32)i));
}

/* ---- numbers ---- */

/* in: BLOCK pairs of float32. */
KERNEL(p_round, BLOCK, primitive_args)
{
    float x = ld_f32(AS_CONST_FLOATS(a.in) + 2 * thread_id());
    float y = ld_f32(AS_CONST_FLOATS(a.in) + 2 * thread_id() + 1);
    u32 *out = RESULTS(4);
    st_u32(out, f32_to_bf16(x));
    st_u32(out + 1, f32_to_bf16(y));
    st_u32(out + 2, pack_bf16(x, y));
    st_f32(AS_FLOATS(out + 3), larger(x, y));
}

KERNEL(p_round_f16, BLOCK, primitive_args)
{
    float x = ld_f32(AS_CONST_FLOATS(a.in) + 2 * thread_id());
    float y = ld_f32(AS_CONST_FLOATS(a.in) + 2 * thread_id() + 1);
    u32 *out = RESULTS(2);
    st_u32(out, f32_to_f16(x));
    st_u32(out + 1, f32_to_f16(y));
}

/* in: u32 numbers, two 16-bit ones each. */
KERNEL(p_widen, BLOCK, primitive_args)
{
    u32 pair = (u32)ld_i32((const int *)a.in + thread_id());
    u32 *out = RESULTS(4);
    st_f32(AS_FLOATS(out), bf16_to_f32((bf16)(pair & 0xFFFF)));
    st_f32(AS_FLOATS(out + 1), low_bf16(pair));
    st_f32(AS_FLOATS(out + 2), high_bf16(pair));
    st_f32(AS_FLOATS(out + 3), minus_infinity());
}

/* All 65536 of them: 8 blocks, 64 numbers per thread. */
KERNEL(p_widen_f16, BLOCK, primitive_args)
{
    for (int i = 0; i < 64; i++) {
        int n = (block_id() * 64 + i) * BLOCK + thread_id();
        st_f32(AS_FLOATS(a.out + n), f16_to_f32((u16)n));
    }
}

/* in: 8 BLOCK float32; exact to the documented number of last places only. */
#define EACH_INPUT(call)                                                                           \
    for (int i = thread_id(); i < 8 * BLOCK; i += BLOCK)                                           \
    st_f32(AS_FLOATS(a.out + i), call(ld_f32(AS_CONST_FLOATS(a.in) + i)))

KERNEL(p_exp2, BLOCK, primitive_args)
{
    EACH_INPUT(exp2_fast);
}
KERNEL(p_reciprocal, BLOCK, primitive_args)
{
    EACH_INPUT(reciprocal_fast);
}
KERNEL(p_exp, BLOCK, primitive_args)
{
    EACH_INPUT(exp_exact);
}
KERNEL(p_tanh, BLOCK, primitive_args)
{
    EACH_INPUT(tanh_exact);
}
KERNEL(p_erfc, BLOCK, primitive_args)
{
    EACH_INPUT(erfc_exact);
}
KERNEL(p_root, BLOCK, primitive_args)
{
    EACH_INPUT(square_root);
}

/* ---- tensor cores ---- */

/* Every warp fills 32 rows of 16 bytes with its numbers and lets lane l point at row (5 l + warp) %
 * 32, so that no address is in order. */
KERNEL(p_ldmatrix, BLOCK, primitive_args)
{
    int warp = thread_id() / WARP, lane = thread_id() % WARP;
    u32 tile = shared_base() + 512 * (u32)warp, at = tile + 16 * (u32)((5 * lane + warp) % WARP);
    u32 r[4], *out = RESULTS(8);
    name_shared(tile, 512, "matrices");
    EACH (i, 4) {
        u32 element = 1024 * (u32)warp + 8 * (u32)lane + 2 * (u32)i;
        st_shared_u32(tile + 16 * (u32)lane + 4 * (u32)i, element | (element + 1) << 16);
    }
    sync_warp();
    ldmatrix4(r, at);
    EACH (i, 4) st_u32(out + i, r[i]);
    ldmatrix4_transposed(r, at);
    EACH (i, 4) st_u32(out + 4 + i, r[i]);
}

/* in: per thread four numbers of a, two of b, two unused, four of d (float32), four unused. */
KERNEL(p_mma, BLOCK, primitive_args)
{
    const u32 *in = a.in + 16 * thread_id();
    u32 fa[4], fb[2];
    float d[4];
    ld_u32x4(fa, in);
    ld_u32x2(fb, in + 4);
    ld_f32x4(d, AS_CONST_FLOATS(in + 8));
    mma_16x8x16(d, fa, fb[0], fb[1]);
    st_f32x4(AS_FLOATS(RESULTS(4)), d);
}
