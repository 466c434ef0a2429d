/* The values of a random checkpoint. See synth.h. */
#include "engine/tools/synth.h"

#include <math.h>

#include "engine/base/team.h"

static const uint64_t golden = 0x9E3779B97F4A7C15u;

/* The output function of SplitMix64. */
static inline uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t fnv1a(const char *text)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (; *text; text++) h = (h ^ (uint8_t)*text) * 0x100000001B3u;
    return h;
}

qk_synth_values qk_synth_values_of(const qk_spec *spec, const qk_tensor_spec *t, uint64_t seed)
{
    double deviation = t->n_dims == 2 ? 1 / sqrt((double)t->shape[1]) : 0.02;
    bool centred = t->n_dims == 2 || t->bias || spec->norm_plus_one;
    return (qk_synth_values){.key = mix(mix(seed + golden) + fnv1a(t->name)),
                             .mean = centred ? 0 : 1,
                             .scale = (float)(deviation / sqrt(4294967295.0 / 3))};
}

static inline float value(const qk_synth_values *v, uint64_t i)
{
    uint64_t h = mix(v->key + (i + 1) * golden);
    int32_t sum =
        (int32_t)((h & 0xFFFF) + (h >> 16 & 0xFFFF) + (h >> 32 & 0xFFFF) + (h >> 48)) - 131070;
    return v->mean + v->scale * (float)sum;
}

/* Finite by construction, so that rounding needs no branch. */
static inline uint16_t to_bf16(float f)
{
    uint32_t u = qk_float_bits(f);
    return (uint16_t)((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}

typedef struct filling {
    void *out;
    qk_dtype dtype;
    qk_synth_values values;
    uint64_t first;
} filling;

static void fill(void *context, size_t begin, size_t end, int member)
{
    const filling *f = context;
    const qk_synth_values v = f->values;
    float *f32 = f->out;
    uint16_t *h = f->out;
    (void)member;
    if (f->dtype == QK_F32)
        for (size_t i = begin; i < end; i++) f32[i] = value(&v, f->first + i);
    else if (f->dtype == QK_BF16)
        for (size_t i = begin; i < end; i++) h[i] = to_bf16(value(&v, f->first + i));
    else
        for (size_t i = begin; i < end; i++) h[i] = qk_f32_to_f16(value(&v, f->first + i));
}

void qk_synth_fill(void *out, qk_dtype dtype, const qk_synth_values *v, uint64_t first, size_t n,
                   int threads)
{
    filling f = {out, dtype, *v, first};
    qk_loop(threads, n, fill, &f);
}
