/* MT19937, a block of 624 words at a time. See mt19937.h; next: sampler/seed.h */
#include "sampler/mt19937.h"

#include "engine/base/error.h"

enum { N = QK_MT_WORDS, M = 397 };

void qk_mt19937_seed(qk_mt19937 *g, uint32_t seed)
{
    g->state[0] = seed;
    for (uint32_t i = 1; i < N; i++) {
        uint32_t last = g->state[i - 1];
        g->state[i] = 1812433253u * (last ^ (last >> 30)) + i;
    }
    g->used = N;
}

void qk_mt19937_seed_array(qk_mt19937 *g, const uint32_t *key, size_t count)
{
    QK_ASSERT(count >= 1);
    qk_mt19937_seed(g, 19650218u);
    uint32_t *x = g->state, i = 1;
    size_t k = 0;
    for (size_t round = count > N ? count : N; round > 0; round--) {
        uint32_t last = x[i - 1];
        x[i] = (x[i] ^ ((last ^ (last >> 30)) * 1664525u)) + key[k] + (uint32_t)k;
        if (++i == N) x[0] = x[N - 1], i = 1;
        if (++k == count) k = 0;
    }
    for (int round = N - 1; round > 0; round--) {
        uint32_t last = x[i - 1];
        x[i] = (x[i] ^ ((last ^ (last >> 30)) * 1566083941u)) - i;
        if (++i == N) x[0] = x[N - 1], i = 1;
    }
    x[0] = 0x80000000u;
}

static inline uint32_t twist(uint32_t upper, uint32_t lower)
{
    uint32_t joined = (upper & 0x80000000u) | (lower & 0x7FFFFFFFu);
    return (joined >> 1) ^ ((0u - (lower & 1u)) & 0x9908B0DFu);
}

static inline uint32_t temper(uint32_t y)
{
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

void qk_mt19937_refill(qk_mt19937 *g)
{
    /* Three loops without a modulo: x[i + M] is old up to N - M, new behind it. */
    uint32_t *x = g->state;
    for (int i = 0; i < N - M; i++) x[i] = x[i + M] ^ twist(x[i], x[i + 1]);
    for (int i = N - M; i < N - 1; i++) x[i] = x[i + M - N] ^ twist(x[i], x[i + 1]);
    x[N - 1] = x[M - 1] ^ twist(x[N - 1], x[0]);
    for (int i = 0; i < N; i++) g->words[i] = temper(x[i]);
    g->used = 0;
}

void qk_torch_shuffle(qk_mt19937 *g, int32_t *items, size_t count, size_t keep)
{
    QK_ASSERT(keep <= count && count <= QK_MAX_SHUFFLE);
    for (size_t i = 0; i < keep && i + 1 < count; i++) {
        size_t j = i + qk_mt19937_next(g) % (uint32_t)(count - i);
        int32_t chosen = items[j];
        items[j] = items[i];
        items[i] = chosen;
    }
}
