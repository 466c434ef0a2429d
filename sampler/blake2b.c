/* BLAKE2b, section 3 of RFC 7693. See blake2b.h; next: sampler/example_id.h */
#include "sampler/blake2b.h"

#include <string.h>

#include "engine/base/error.h"

static const uint64_t IV[8] = {/* of SHA-512 */
                               0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B,
                               0xA54FF53A5F1D36F1, 0x510E527FADE682D1, 0x9B05688C2B3E6C1F,
                               0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179};

static const uint8_t SIGMA[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotate_right(uint64_t x, int bits)
{
    return x >> bits | x << (64 - bits);
}

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++) x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static void mix(uint64_t v[16], int a, int b, int c, int d, uint64_t x, uint64_t y)
{
    v[a] = v[a] + v[b] + x;
    v[d] = rotate_right(v[d] ^ v[a], 32);
    v[c] = v[c] + v[d];
    v[b] = rotate_right(v[b] ^ v[c], 24);
    v[a] = v[a] + v[b] + y;
    v[d] = rotate_right(v[d] ^ v[a], 16);
    v[c] = v[c] + v[d];
    v[b] = rotate_right(v[b] ^ v[c], 63);
}

/* Takes one block into h; done = message bytes up to the end of this block. */
static void compress(uint64_t h[8], const uint8_t block[128], uint64_t done, uint64_t last_flag)
{
    uint64_t v[16], m[16];
    for (int i = 0; i < 8; i++) v[i] = h[i], v[i + 8] = IV[i];
    for (int i = 0; i < 16; i++) m[i] = load_le64(block + 8 * i);
    v[12] ^= done; /* its upper half, v[13], stays: n < 2^64 */
    v[14] ^= last_flag;
    for (int round = 0; round < 12; round++) {
        const uint8_t *s = SIGMA[round % 10];
        for (int i = 0; i < 4; i++) /* the columns, then the diagonals */
            mix(v, i, i + 4, i + 8, i + 12, m[s[2 * i]], m[s[2 * i + 1]]);
        for (int i = 0; i < 4; i++)
            mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, m[s[8 + 2 * i]],
                m[s[9 + 2 * i]]);
    }
    for (int i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

void qk_blake2b(uint8_t *digest, size_t digest_size, const void *bytes, size_t n)
{
    QK_ASSERT(digest_size >= 1 && digest_size <= 64);
    uint64_t h[8];
    memcpy(h, IV, sizeof h);
    h[0] ^= 0x01010000u ^ digest_size;
    const uint8_t *p = bytes;
    size_t left = n;
    for (; left > 128; p += 128, left -= 128) compress(h, p, n - left + 128, 0);
    uint8_t tail[128] = {0};
    if (left) memcpy(tail, p, left);
    compress(h, tail, n, UINT64_MAX);
    for (size_t i = 0; i < digest_size; i++) digest[i] = (uint8_t)(h[i / 8] >> (8 * (i % 8)));
}
