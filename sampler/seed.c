/* Seeds of masks and row limits. See seed.h; next: sampler/positions.c */
#include "sampler/seed.h"

static const uint64_t SEED_START = 0x243F6A8885A308D3u;

uint64_t qk_seed_mix(uint64_t v)
{
    v = (v ^ (v >> 30)) * 0xBF58476D1CE4E5B9u;
    v = (v ^ (v >> 27)) * 0x94D049BB133111EBu;
    return v ^ (v >> 31);
}

uint64_t qk_seed_combine(uint64_t seed, uint64_t value)
{
    seed = (seed ^ value) * 0x9E3779B97F4A7C15u;
    return seed ^ (seed >> 32);
}

/* Takes one more part into a seed. */
static uint64_t add(uint64_t seed, uint64_t part)
{
    return qk_seed_combine(seed, qk_seed_mix(part));
}

uint64_t qk_seed_shared_mask(int64_t example_id, int32_t layer, qk_kind kind)
{
    return add(add(add(SEED_START, (uint64_t)example_id), (uint64_t)layer), kind);
}

uint64_t qk_seed_head_mask(int64_t example_id, int32_t layer, int32_t head, qk_kind kind)
{
    uint64_t seed = add(add(SEED_START, (uint64_t)example_id), (uint64_t)layer);
    return add(add(seed, (uint64_t)head), kind);
}

uint64_t qk_seed_row_limit(int64_t example_id, int32_t layer, int32_t head, qk_kind kind)
{
    uint64_t low = ((uint64_t)layer & 0xFFFF) ^ ((uint64_t)head & 0xFFFF) << 16;
    return low ^ (uint64_t)kind << 32 ^ (uint64_t)example_id << 40;
}
