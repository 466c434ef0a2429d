/* BLAKE2b without a key (RFC 7693): the hash behind example ids that are not integers.
 *
 *   h = IV ^ (0x01010000 + digest length); for each 128-byte block (zero padded): 12 rounds of G on
 *   16 words v = (h, IV ^ bytes so far ^ last-block flag), then h ^= v[0..7] ^ v[8..15]
 *
 * blake2b-8("") = e4 a6 a0 57 74 79 b2 b4: as a little-endian int64 -5426141060434712860.
 *
 * next: sampler/example_id.h */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* digest[digest_size], 1 <= digest_size <= 64. */
void qk_blake2b(uint8_t *digest, size_t digest_size, const void *bytes, size_t n);
