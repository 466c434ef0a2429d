/* The emulator's half of kernels/cuda/port.h: the same primitives as C functions. See there for
 * what each does; here is only how it is called.
 *
 * next: kernels/emulator/emulator.h */
#pragma once

#include <math.h>
#include <string.h>

#define DEVICE static inline
#define UNROLL
#define CAPABILITY EMULATED_CAPABILITY

/* A kernel becomes a function of a pointer to its argument struct, and enters the emulator's list
 * under its name and QK_SPEC, the number that its specialisation is known by (0 when it has none).
 */
#ifndef QK_SPEC
#define QK_SPEC 0
#endif
#define KERNEL(name, block_threads, type)                                                          \
    static void name(const type a);                                                                \
    static void run_##name(const void *args)                                                       \
    {                                                                                              \
        name(*(const type *)args);                                                                 \
    }                                                                                              \
    __attribute__((constructor)) static void register_##name(void)                                 \
    {                                                                                              \
        emu_register(#name, QK_SPEC, block_threads, sizeof(type), run_##name);                     \
    }                                                                                              \
    static void name(const type a)

void emu_register(const char *name, int spec, int threads, size_t args_bytes,
                  void (*run)(const void *args));

int thread_id(void);
int block_id(void);
int block_id_y(void);

void sync_block(void);
void sync_warp(void);
void barrier_sync(int id, int n);
void barrier_arrive(int id, int n);
float shuffle_xor(float v, int mask);
int shuffle_xor_int(int v, int mask);
u32 warp_ballot(int predicate);

float ld_f32(const float *p);
int ld_i32(const int *p);
u16 ld_u16(const u16 *p);
void ld_f32x4(float *v, const float *p);
void ld_u32x2(u32 *v, const void *p);
void ld_u32x4(u32 *v, const void *p);
void st_f32(float *p, float v);
void st_i32(int *p, int v);
void st_u16(u16 *p, u16 v);
void st_u32(void *p, u32 v);
void st_f32x4(float *p, const float *v);
void st_u32x2(void *p, const u32 *v);
void st_u32x4(void *p, const u32 *v);

u32 shared_base(void);
void name_shared(u32 address, u32 bytes, const char *name);
u32 ld_shared_u32(u32 at);
float ld_shared_f32(u32 at);
void st_shared_u32(u32 at, u32 v);
void st_shared_f32(u32 at, float v);
void ld_shared_f32x4(float *v, u32 at);
void st_shared_f32x4(u32 at, const float *v);

void copy_async16(u32 to, const void *from, int valid);
void copy_commit(void);
void copy_wait(int n);

void ldmatrix4(u32 *r, u32 at);
void ldmatrix4_transposed(u32 *r, u32 at);
void mma_16x8x16(float *d, const u32 *a, u32 b0, u32 b1);

/* ---- arithmetic: what the instruction promises, without its last bits ---- */

static inline float emu_float(u32 bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline u32 emu_bits(float f)
{
    u32 u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float exp2_fast(float x)
{
    float y = exp2f(x);
    return y < 0x1p-126f ? 0 : y;
}
static inline float reciprocal_fast(float x)
{
    return 1 / x;
}
static inline float exp_exact(float x)
{
    return expf(x);
}
static inline float log_exact(float x)
{
    return logf(x);
}
static inline float tanh_exact(float x)
{
    return tanhf(x);
}
static inline float erfc_exact(float x)
{
    return erfcf(x);
}
static inline float square_root(float x)
{
    return sqrtf(x);
}
static inline float larger(float x, float y)
{
    return fmaxf(x, y);
}
static inline float minus_infinity(void)
{
    return -INFINITY;
}
static inline int count_bits(u32 x)
{
    return __builtin_popcount(x);
}
static inline float bf16_to_f32(bf16 x)
{
    return emu_float((u32)x << 16);
}
/* Round to nearest, ties to even. A NaN becomes 0x7FFF, as on the GPU. */
static inline bf16 f32_to_bf16(float x)
{
    u32 u = emu_bits(x);
    if ((u & 0x7FFFFFFF) > 0x7F800000) return 0x7FFF;
    return (bf16)((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}
static inline u32 pack_bf16(float lo, float hi)
{
    return f32_to_bf16(lo) | (u32)f32_to_bf16(hi) << 16;
}
static inline float low_bf16(u32 pair)
{
    return emu_float(pair << 16);
}
static inline float high_bf16(u32 pair)
{
    return emu_float(pair & 0xFFFF0000u);
}
float f16_to_f32(u16 x);
u16 f32_to_f16(float x);
