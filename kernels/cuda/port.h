/* The hardware, one primitive at a time. Kernels include this and nothing of the CUDA toolkit.
 *
 * On the GPU (NVRTC) each primitive is one builtin or one PTX instruction. With -DQK_EMULATOR each
 * is a C function of kernels/emulator, so the very same kernel source runs on a CPU, thread by
 * thread, under a checker that knows what the hardware promises and what it does not.
 *
 * Rules that make both work:
 *   - kernels are written in the common subset of C and CUDA C++;
 *   - a kernel takes one argument struct (kernels/cuda/args.h), named `a` in its body;
 *   - memory is touched only through ld_* and st_*: global memory by pointer, shared memory by a
 *     32-bit address counted from shared_base();
 *   - arithmetic is float32, bfloat16 exists only as bits (type bf16).
 *
 * Source of the instructions: the PTX ISA manual, sections "Warp Level Matrix Instructions" and
 * "Data Movement and Conversion Instructions".
 *
 * next: kernels/cuda/rmsnorm.cu, then kernels/cuda/attention_v1.cu */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u16 bf16; /* the upper half of a float32 */

#define LOG2E 1.4426950408889634f
#define WARP 32

/* Loops over registers: unrolled, because a register has no address. */
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)
/* mask = from, from / 2, .. 1: the partners of a sum or maximum over 2 from neighbouring lanes. */
#define BUTTERFLY(mask, from) UNROLL for (int mask = from; mask; mask /= 2)

#ifdef QK_EMULATOR
#include "kernels/emulator/device.h"
#else

/* ---- program structure ---- */

#define DEVICE static __device__ __forceinline__
#define UNROLL _Pragma("unroll")
/* KERNEL(name, threads of a block, type of `a`) { body } */
#define KERNEL(name, threads, type)                                                                \
    extern "C" __global__ void __launch_bounds__(threads, 1) name(const __grid_constant__ type a)

/* Compute capability that this is compiled for: 90 for 9.0. */
#define CAPABILITY (__CUDA_ARCH__ / 10)

DEVICE int thread_id(void)
{
    return (int)threadIdx.x;
}
DEVICE int block_id(void)
{
    return (int)blockIdx.x;
}
DEVICE int block_id_y(void)
{
    return (int)blockIdx.y;
}

/* ---- meeting points ---- */

/* All threads of the block; what one wrote before is seen by the others after. */
DEVICE void sync_block(void)
{
    __syncthreads();
}
/* The same for the 32 threads of a warp. */
DEVICE void sync_warp(void)
{
    __syncwarp();
}
/* The first n threads that reach barrier `id` (1..15), whole warps; arrive does not wait. */
DEVICE void barrier_sync(int id, int n)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory");
}
DEVICE void barrier_arrive(int id, int n)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(n) : "memory");
}

/* Exchanges inside a warp; all 32 threads take part. */
DEVICE float shuffle_xor(float v, int mask)
{
    return __shfl_xor_sync(0xFFFFFFFFu, v, mask);
}
DEVICE int shuffle_xor_int(int v, int mask)
{
    return __shfl_xor_sync(0xFFFFFFFFu, v, mask);
}
/* Not `ballot`: CUDA C++ has an old builtin of that name for bool, which does not assemble. */
DEVICE u32 warp_ballot(int predicate)
{
    return __ballot_sync(0xFFFFFFFFu, predicate);
}
DEVICE int count_bits(u32 x)
{
    return __popc(x);
}

/* ---- arithmetic ---- */

/* 2^x: one instruction, 2 ulp, subnormal results become 0. */
DEVICE float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* 1 / x: one instruction, 1 ulp. */
DEVICE float reciprocal_fast(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float exp_exact(float x)
{
    return expf(x);
}
DEVICE float log_exact(float x) /* base e */
{
    return logf(x);
}
DEVICE float tanh_exact(float x)
{
    return tanhf(x);
}
DEVICE float erfc_exact(float x)
{
    return erfcf(x);
}
DEVICE float square_root(float x)
{
    return sqrtf(x);
}
DEVICE float larger(float x, float y)
{
    return fmaxf(x, y);
}
DEVICE float minus_infinity(void)
{
    return __int_as_float((int)0xFF800000);
}

DEVICE float bf16_to_f32(bf16 x)
{
    return __int_as_float((int)((u32)x << 16));
}
DEVICE float f16_to_f32(u16 x)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
DEVICE u16 f32_to_f16(float x)
{
    u16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
DEVICE bf16 f32_to_bf16(float x)
{
    u16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
/* Two at once: lo in the lower half. */
DEVICE u32 pack_bf16(float lo, float hi)
{
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
    return y;
}
DEVICE float low_bf16(u32 pair)
{
    return __int_as_float((int)(pair << 16));
}
DEVICE float high_bf16(u32 pair)
{
    return __int_as_float((int)(pair & 0xFFFF0000u));
}

/* ---- global memory: v[] is 16 bytes, aligned to 16 ---- */

DEVICE float ld_f32(const float *p)
{
    return *p;
}
DEVICE int ld_i32(const int *p)
{
    return *p;
}
DEVICE u16 ld_u16(const u16 *p)
{
    return *p;
}
DEVICE void ld_f32x4(float *v, const float *p)
{
    asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3])
                 : "l"(p)
                 : "memory");
}
DEVICE void ld_u32x2(u32 *v, const void *p)
{
    asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(v[0]), "=r"(v[1]) : "l"(p) : "memory");
}
DEVICE void ld_u32x4(u32 *v, const void *p)
{
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "l"(p)
                 : "memory");
}
DEVICE void st_f32(float *p, float v)
{
    *p = v;
}
DEVICE void st_i32(int *p, int v)
{
    *p = v;
}
DEVICE void st_u16(u16 *p, u16 v)
{
    *p = v;
}
DEVICE void st_u32(void *p, u32 v)
{
    *(u32 *)p = v;
}
DEVICE void st_f32x4(float *p, const float *v)
{
    asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(p), "f"(v[0]), "f"(v[1]),
                 "f"(v[2]), "f"(v[3])
                 : "memory");
}
DEVICE void st_u32x2(void *p, const u32 *v)
{
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(p), "r"(v[0]), "r"(v[1]) : "memory");
}
DEVICE void st_u32x4(void *p, const u32 *v)
{
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v[0]), "r"(v[1]),
                 "r"(v[2]), "r"(v[3])
                 : "memory");
}

/* ---- shared memory ---- */

extern __shared__ __align__(1024) u8 shared_memory[];
DEVICE u32 shared_base(void)
{
    return (u32)__cvta_generic_to_shared(shared_memory);
}
/* Tells the emulator what a stretch of shared memory is called; nothing on the GPU. */
#define name_shared(address, bytes, name) ((void)0)

DEVICE u32 ld_shared_u32(u32 at)
{
    u32 v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at) : "memory");
    return v;
}
DEVICE float ld_shared_f32(u32 at)
{
    float v;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(at) : "memory");
    return v;
}
DEVICE void st_shared_u32(u32 at, u32 v)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(v) : "memory");
}
DEVICE void st_shared_f32(u32 at, float v)
{
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(v) : "memory");
}
/* v[] is 16 bytes, aligned to 16: a warp's 512 bytes in four turns of all banks. */
DEVICE void ld_shared_f32x4(float *v, u32 at)
{
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3])
                 : "r"(at)
                 : "memory");
}
DEVICE void st_shared_f32x4(u32 at, const float *v)
{
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(v[0]), "f"(v[1]),
                 "f"(v[2]), "f"(v[3])
                 : "memory");
}

/* ---- asynchronous copies, sm_80: 16 bytes from global to shared memory, past the registers.
 * With valid == 0 the 16 bytes become zero and the source is not read. A thread's copies form
 * groups; copy_wait(n) returns when at most its n youngest groups are still on their way. Other
 * threads see the bytes after a barrier that follows the wait. ---- */

DEVICE void copy_async16(u32 to, const void *from, int valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
}
DEVICE void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
#define copy_wait(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")

/* ---- tensor cores, sm_80: a warp's 32 threads hold a matrix together ----
 *
 * ldmatrix4 reads four 8 x 8 matrices of bf16: thread 8 i + r gives the address of row r of matrix
 * i (16 bytes); afterwards thread t holds, in r[i], elements (t / 4, 2 (t % 4)) and the next one.
 * ldmatrix4_transposed gives each matrix transposed: elements (2 (t % 4), t / 4) and the row below.
 *
 * mma_16x8x16: d [16, 8] += a [16, 16] b [16, 8]; float32 sums. Thread t holds, with g = t / 4 and
 * c = 2 (t % 4):
 *   d[0], d[1]: row g,     columns c, c + 1      a[0]: (g, c)      a[2]: (g, c + 8)
 *   d[2], d[3]: row g + 8, columns c, c + 1      a[1]: (g + 8, c)  a[3]: (g + 8, c + 8)
 *   b0: rows c, c + 1 of column g                b1: rows c + 8, c + 9 */
DEVICE void ldmatrix4(u32 *r, u32 at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
DEVICE void ldmatrix4_transposed(u32 *r, u32 at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
DEVICE void mma_16x8x16(float *d, const u32 *a, u32 b0, u32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, "
                 "%6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
