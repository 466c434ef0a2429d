/* Decompression of Parquet pages with the system's libraries: one call a page, all sizes known.
 *
 *   0 none   1 snappy   2 gzip   3 LZO (no)   4 brotli   5 LZ4 in Hadoop's frames   6 zstd
 *   7 LZ4 block
 *
 * Hadoop's frames: 4 bytes plain size, 4 bytes packed size, both big-endian, one LZ4 block; again.
 * Source: apache/parquet-format, Compression.md.
 *
 * next: formats/parquet_page.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"

typedef enum qk_codec {
    QK_CODEC_NONE = 0,
    QK_CODEC_SNAPPY = 1,
    QK_CODEC_GZIP = 2,
    QK_CODEC_LZO = 3,
    QK_CODEC_BROTLI = 4,
    QK_CODEC_LZ4_HADOOP = 5,
    QK_CODEC_ZSTD = 6,
    QK_CODEC_LZ4 = 7,
} qk_codec;

/* "zstd"; NULL for a number that is no codec. */
const char *qk_codec_name(int codec);
/* QK_ERR_UNSUPPORTED for LZO, QK_ERR_FORMAT for numbers that are no codec. */
qk_status qk_codec_check(int codec, qk_error *err);
/* Upper limit for what n packed bytes may expand to. Formats that have no limit of their own get a
 * plausible one, so that a few bytes cannot claim gigabytes. */
size_t qk_codec_max_plain(int codec, size_t n);
/* Expands in[0..n) to exactly out[0..plain); anything else is an error. */
qk_status qk_codec_expand(int codec, const uint8_t *in, size_t n, uint8_t *out, size_t plain,
                          qk_error *err);
