/* The most multiply-adds that this instruction set does, on registers alone: as many independent
 * chains as hide the latency of one instruction, and no memory. See kernels/cpu/peak.h. */
#ifdef QK_ISA_amx
#include "kernels/cpu/isa/amx.h"
#endif
#include "kernels/cpu/isa/isa.h"

/* A chain waits four cycles for its last sum, and two are begun in a cycle. AVX2 has 16 registers of
 * 8 lanes: 12 for the chains, four for the factors. */
#define CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5)
#if defined(QK_ISA_avx512) || defined(QK_ISA_avx512bf16)
#define MORE(X) X(6) X(7) X(8) X(9) X(10) X(11)
enum { N_CHAINS = 12 };
#else
#define MORE(X)
enum { N_CHAINS = 6 };
#endif
#define ALL(X) CHAINS(X) MORE(X)

/* Where a vector is two registers, a compiler leaves out the half that nobody looks at, and one of
 * two that hold the same: so all lanes are seen in the end, and no two begin alike. */
static _Thread_local volatile float seen;

static void see(v16 sum)
{
    float lanes[16], all = 0;
    v16_store(lanes, sum);
    for (int i = 0; i < 16; i++) all += lanes[i];
    seen = all;
}

static v16 start(void)
{
    float lanes[16];
    for (int i = 0; i < 16; i++) lanes[i] = seen + (float)i / 16;
    return v16_load(lanes);
}

#define BEGIN(i) v16 c##i = v16_add(from, v16_set1((float)i));
#define SUM(i) sum = v16_add(sum, c##i);

double QK_NAME(cpu_peak_f32)(size_t turns)
{
    v16 a = v16_set1(0.5f), b = v16_set1(0.25f), from = start(), sum = a;
    ALL(BEGIN)
#define STEP(i) c##i = v16_fma(c##i, a, b);
    for (size_t t = 0; t < turns; t++) {
        ALL(STEP)
    }
#undef STEP
    ALL(SUM)
    see(sum);
    return 2.0 * 16 * N_CHAINS * (double)turns;
}

#if defined(QK_ISA_amx)
double QK_NAME(cpu_peak_bf16)(size_t turns)
{
    amx_begin();
    amx_zero();
    _tile_zero(4);
    _tile_zero(5);
    for (size_t t = 0; t < turns; t++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    amx_end();
    return 2.0 * 16 * 16 * 32 * 4 * (double)turns;
}
#elif defined(QK_ISA_avx512bf16)
double QK_NAME(cpu_peak_bf16)(size_t turns)
{
    v16i a = v16i_set1(0x3F003F00), b = v16i_set1(0x3E803E80);
    v16 from = start(), sum = from;
    ALL(BEGIN)
#define STEP(i) c##i = v16_add_pairs(c##i, a, b);
    for (size_t t = 0; t < turns; t++) {
        ALL(STEP)
    }
#undef STEP
    ALL(SUM)
    see(sum);
    return 2.0 * 2 * 16 * N_CHAINS * (double)turns;
}
#endif
