/* CPython's random.Random on top of MT19937. See python_random.h; next: sampler/heads.h */
#include "sampler/python_random.h"

#include <stdbool.h>
#include <stdlib.h>

#include "engine/base/mem.h"

/* seed = seed * base + digit; false when it needs more words than there are. */
static bool append_digit(qk_python_seed *seed, uint32_t base, uint32_t digit)
{
    uint64_t carry = digit;
    for (size_t i = 0; i < seed->count; i++) {
        carry += (uint64_t)seed->words[i] * base;
        seed->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (!carry) return true;
    if (seed->count == QK_PYTHON_SEED_WORDS) return false;
    seed->words[seed->count++] = (uint32_t)carry;
    return true;
}

/* 16 and above for what is no digit at all. */
static uint32_t digit_of(char c)
{
    if (c >= '0' && c <= '9') return (uint32_t)(c - '0');
    if (c >= 'a' && c <= 'f') return (uint32_t)(c - 'a' + 10);
    return c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10) : 16;
}

qk_status qk_python_seed_parse(qk_python_seed *out, const char *digits, uint32_t base,
                               qk_error *err)
{
    *out = (qk_python_seed){.count = 1};
    const char *s = digits + (*digits == '-' || *digits == '+');
    size_t n = 0;
    for (; *s; s++) {
        if (*s == '_') continue;
        if (digit_of(*s) >= base) break;
        n++;
        if (!append_digit(out, base, digit_of(*s)))
            return qk_fail(err, QK_ERR_CONFIG, "Python, too, takes 4300 decimal digits at most",
                           "the seed %.20s... has more than %d bits", digits,
                           32 * QK_PYTHON_SEED_WORDS);
    }
    if (*s || !n)
        return qk_fail(err, QK_ERR_CONFIG, "write it in decimal digits: seed: 1234",
                       "the seed \"%.80s\" is not an integer", digits);
    return QK_OK;
}

void qk_python_seed_add_decimal(const qk_python_seed *seed, qk_buf *out)
{
    enum { CHUNK = 1000000000, CHUNKS = QK_PYTHON_SEED_WORDS * 32 / 29 + 1 };
    qk_python_seed left = *seed;
    uint32_t chunk[CHUNKS]; /* of nine digits, the last ones first */
    size_t n = 0;
    do {
        uint64_t rest = 0;
        for (size_t i = left.count; i-- > 0;) {
            rest = rest << 32 | left.words[i];
            left.words[i] = (uint32_t)(rest / CHUNK);
            rest %= CHUNK;
        }
        chunk[n++] = (uint32_t)rest;
        while (left.count && !left.words[left.count - 1]) left.count--;
    } while (left.count);
    qk_buf_addf(out, "%u", chunk[n - 1]);
    while (--n > 0) qk_buf_addf(out, "%09u", chunk[n - 1]);
}

void qk_python_seed_apply(qk_mt19937 *g, const qk_python_seed *seed)
{
    QK_ASSERT(seed->count <= QK_PYTHON_SEED_WORDS);
    qk_mt19937_seed_array(g, seed->words, seed->count ? seed->count : 1);
}

uint32_t qk_python_getrandbits(qk_mt19937 *g, int bits)
{
    QK_ASSERT(bits >= 1 && bits <= 32);
    return qk_mt19937_next(g) >> (32 - bits);
}

uint32_t qk_python_randbelow(qk_mt19937 *g, uint32_t n)
{
    QK_ASSERT(n >= 1);
    int bits = 32 - __builtin_clz(n);
    uint32_t r;
    do r = qk_python_getrandbits(g, bits);
    while (r >= n);
    return r;
}

/* Draws without repeats from a pool that shrinks: the last item fills the hole. */
static void sample_pool(qk_mt19937 *g, uint32_t n, uint32_t count, uint32_t *out)
{
    uint32_t *pool = qk_alloc(n ? n : 1, sizeof *pool);
    for (uint32_t i = 0; i < n; i++) pool[i] = i;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = qk_python_randbelow(g, n - i);
        out[i] = pool[j];
        pool[j] = pool[n - i - 1];
    }
    free(pool);
}

/* Draws again whatever was drawn before. */
static void sample_set(qk_mt19937 *g, uint32_t n, uint32_t count, uint32_t *out)
{
    bool *taken = qk_zalloc(n, sizeof *taken);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j;
        do j = qk_python_randbelow(g, n);
        while (taken[j]);
        taken[j] = true;
        out[i] = j;
    }
    free(taken);
}

void qk_python_sample(qk_mt19937 *g, uint32_t n, uint32_t count, uint32_t *out)
{
    QK_ASSERT(count <= n);
    /* CPython weighs a list of n items against a set of `count`: a list up to n = 21, and for more
     * than 5 up to 21 + 4 ** ceil(log(3 * count, 4)). */
    uint64_t power = count > 5;
    while (count > 5 && power < 3 * (uint64_t)count) power *= 4;
    if (n <= 21 + power)
        sample_pool(g, n, count, out);
    else
        sample_set(g, n, count, out);
}
