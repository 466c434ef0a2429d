/* The values of a random checkpoint. See synth.h. */
#include "engine/tools/synth.h"

#include <math.h>
#include <omp.h>

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

void qk_synth_fill(void *out, qk_dtype dtype, const qk_synth_values *v, uint64_t first, size_t n,
                   int threads)
{
    const qk_synth_values own = *v;
    if (threads <= 0) threads = omp_get_max_threads();
    float *f32 = out;
    uint16_t *h = out;
    if (dtype == QK_F32) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (size_t i = 0; i < n; i++) f32[i] = value(&own, first + i);
    } else if (dtype == QK_BF16) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (size_t i = 0; i < n; i++) h[i] = to_bf16(value(&own, first + i));
    } else {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (size_t i = 0; i < n; i++) h[i] = qk_f32_to_f16(value(&own, first + i));
    }
}
