/* random.Random of CPython: the seeding, _randbelow and sample of Lib/random.py.
 *
 * Random(seed): MT19937 seeded by the array of 32-bit words of |seed|, low word first; zero is the
 * one word 0. getrandbits(k) = top k bits of a word. _randbelow(n): bit_length(n) bits, drawn again
 * until they are below n. Random(0).getrandbits(32) begins 3626764237, 1654615998, 3255389356.
 *
 * next: sampler/heads.h */
#pragma once

#include "engine/base/error.h"
#include "engine/base/mem.h"
#include "sampler/mt19937.h"

/* As long as Python turns decimal digits into integers: 4,300 of them. */
enum { QK_PYTHON_SEED_WORDS = 447 };

/* |seed| in 32-bit words, low word first, without leading zero words. Zero-initialised it is 0. */
typedef struct qk_python_seed {
    uint32_t words[QK_PYTHON_SEED_WORDS];
    size_t count;
} qk_python_seed;

/* An integer in base 2, 8, 10 or 16 (no prefix), with an optional sign; underscores fall out. */
qk_status qk_python_seed_parse(qk_python_seed *out, const char *digits, uint32_t base,
                               qk_error *err);
/* |seed| in decimal. */
void qk_python_seed_add_decimal(const qk_python_seed *seed, qk_buf *out);

void qk_python_seed_apply(qk_mt19937 *g, const qk_python_seed *seed);

/* getrandbits(bits), 1 <= bits <= 32. */
uint32_t qk_python_getrandbits(qk_mt19937 *g, int bits);
/* _randbelow(n): 0 .. n-1, n >= 1. */
uint32_t qk_python_randbelow(qk_mt19937 *g, uint32_t n);
/* sample(range(n), count) into out[count], in drawn order. count <= n. */
void qk_python_sample(qk_mt19937 *g, uint32_t n, uint32_t count, uint32_t *out);
