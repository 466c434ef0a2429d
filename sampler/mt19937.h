/* The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998) and what torch makes of its words.
 *
 *   x[i+624] = x[i+397] ^ twist(upper bit of x[i], lower 31 bits of x[i+1]), then a tempering.
 *
 * torch.Generator().manual_seed(s) seeds with the low 32 bits of s only. One word a value:
 * torch.rand = (word & 0xFFFFFF) / 2^24; randperm(n) swaps items i and i + word % (n - i).
 * First words: seed 0: 2357136044 2546248239 3071714933; seed 5489: 3499211612 581869302
 * 3890346734; seeded by the array {0x123, 0x234, 0x345, 0x456}: 1067595299 955945823 477289528.
 *
 * next: sampler/python_random.h (the same words as CPython uses them), sampler/positions.h */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { QK_MT_WORDS = 624 };

typedef struct qk_mt19937 {
    uint32_t state[QK_MT_WORDS]; /* x of the recurrence */
    uint32_t words[QK_MT_WORDS]; /* the same, tempered: what is handed out */
    uint32_t used;               /* of words */
} qk_mt19937;

/* torch's and C++'s seeding. */
void qk_mt19937_seed(qk_mt19937 *g, uint32_t seed);
/* "init_by_array" of the authors' program of 2002, which CPython uses. count >= 1. */
void qk_mt19937_seed_array(qk_mt19937 *g, const uint32_t *key, size_t count);
/* Makes the next 624 words and sets used to 0. */
void qk_mt19937_refill(qk_mt19937 *g);

/* The next 32-bit word. */
static inline uint32_t qk_mt19937_next(qk_mt19937 *g)
{
    if (g->used == QK_MT_WORDS) qk_mt19937_refill(g);
    return g->words[g->used++];
}

/* What torch.rand(.., dtype=float32) makes of a word, times 2^24: 0 .. 2^24 - 1. */
static inline uint32_t qk_torch_rand24(uint32_t word)
{
    return word & 0xFFFFFF;
}

/* items = items[torch.randperm(count)], of which only the first `keep` entries are made; what the
 * other entries hold afterwards is unspecified. keep <= count <= QK_MAX_SHUFFLE: beyond it torch
 * draws 64 bits for each item. */
enum { QK_MAX_SHUFFLE = 0xFFFFFFFFu / 20 - 1 };
void qk_torch_shuffle(qk_mt19937 *g, int32_t *items, size_t count, size_t keep);
