/* See parquet_decode.h. Source: parquet-format, Encodings.md and Compression.md. */
#include "formats/parquet_decode.h"

#include <brotli/decode.h>
#include <lz4.h>
#include <snappy-c.h>
#include <limits.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* What one page of shared prefixes may unfold to. */
enum { MOST_DELTA_BYTES = 1 << 30 };

static bool varint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t b = *(*at)++;
        *out |= (uint64_t)(b & 0x7F) << shift;
        if (!(b & 0x80)) return true;
    }
    return false;
}

/* `width` bits from bit `bit` on; the caller knows that they are inside. */
static uint64_t bits_at(const uint8_t *bytes, size_t bit, int width)
{
    uint64_t v = 0;
    for (int got = 0; got < width;) {
        int shift = (int)((bit + (size_t)got) & 7),
            part = 8 - shift < width - got ? 8 - shift : width - got;
        v |= (uint64_t)((bytes[(bit + (size_t)got) >> 3] >> shift) & ((1 << part) - 1)) << got;
        got += part;
    }
    return v;
}

static bool take_group(const uint8_t **at, const uint8_t *end, uint64_t groups, int width, size_t n,
                       uint32_t *out, size_t *done)
{
    if (groups > (uint64_t)(end - *at) / (width ? (uint64_t)width : 1) + (width ? 0 : n / 8 + 1))
        return false;
    size_t count = groups * 8 < n - *done ? (size_t)groups * 8 : n - *done;
    for (size_t i = 0; i < count; i++)
        out[*done + i] = (uint32_t)bits_at(*at, i * (size_t)width, width);
    *done += count;
    *at += groups * (size_t)width;
    return true;
}

static bool take_run(const uint8_t **at, const uint8_t *end, uint64_t count, int width, size_t n,
                     uint32_t *out, size_t *done)
{
    size_t bytes = ((size_t)width + 7) / 8;
    if ((size_t)(end - *at) < bytes || !count) return false;
    uint32_t value = 0;
    memcpy(&value, *at, bytes);
    *at += bytes;
    for (; count && *done < n; count--) out[(*done)++] = value;
    return true;
}

bool qk_pq_decode_hybrid(const uint8_t **at, const uint8_t *end, int width, uint32_t largest,
                         size_t n, uint32_t *out)
{
    if (width < 0 || width > 32) return false;
    for (size_t done = 0; done < n;) {
        uint64_t head;
        if (!varint(at, end, &head)) return false;
        size_t from = done;
        bool ok = head & 1 ? take_group(at, end, head >> 1, width, n, out, &done)
                           : take_run(at, end, head >> 1, width, n, out, &done);
        if (!ok || done == from) return false;
        for (size_t i = from; i < done; i++)
            if (out[i] > largest) return false;
    }
    return true;
}

/* ---- DELTA_BINARY_PACKED ---- */

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static bool delta_block(const uint8_t **at, const uint8_t *end, uint64_t minis, uint64_t per_mini,
                        size_t n, int64_t *out, size_t *done)
{
    uint64_t least;
    if (!varint(at, end, &least) || (uint64_t)(end - *at) < minis) return false;
    const uint8_t *widths = *at;
    *at += minis;
    for (uint64_t m = 0; m < minis && *done < n; m++) {
        int width = widths[m];
        size_t bytes = (size_t)per_mini / 8 * (size_t)width;
        if (width > 64 || (size_t)(end - *at) < bytes) return false;
        for (size_t i = 0; i < per_mini && *done < n; i++, ++*done)
            out[*done] = (int64_t)((uint64_t)out[*done - 1] + (uint64_t)unzigzag(least) +
                                   bits_at(*at, i * (size_t)width, width));
        *at += bytes;
    }
    return true;
}

bool qk_pq_decode_delta(const uint8_t **at, const uint8_t *end, size_t n, int64_t *out)
{
    uint64_t block, minis, count, first;
    if (!varint(at, end, &block) || !varint(at, end, &minis) || !varint(at, end, &count) ||
        !varint(at, end, &first))
        return false;
    if (count != n || !minis || minis > 512 || block % minis || block / minis % 32 || !block ||
        block > 1 << 20)
        return false;
    if (n) out[0] = unzigzag(first);
    for (size_t done = 1; done < n;)
        if (!delta_block(at, end, minis, block / minis, n, out, &done)) return false;
    return true;
}

/* ---- DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY ---- */

bool qk_pq_decode_delta_length(const uint8_t **at, const uint8_t *end, size_t n, int64_t *lengths,
                               qk_pq_bytes *out)
{
    if (!qk_pq_decode_delta(at, end, n, lengths)) return false;
    for (size_t i = 0; i < n; i++) {
        if (lengths[i] < 0 || lengths[i] > end - *at) return false;
        out[i] = (qk_pq_bytes){*at, (size_t)lengths[i]};
        *at += lengths[i];
    }
    return true;
}

bool qk_pq_decode_delta_bytes(const uint8_t **at, const uint8_t *end, size_t n, int64_t *lengths,
                              qk_buf *text, qk_pq_bytes *out)
{
    int64_t *prefixes = lengths + n;
    if (!qk_pq_decode_delta(at, end, n, prefixes) ||
        !qk_pq_decode_delta_length(at, end, n, lengths, out))
        return false;
    size_t total = 0, before = 0;
    for (size_t i = 0; i < n; i++) {
        size_t size;
        if (prefixes[i] < 0 || (size_t)prefixes[i] > before) return false;
        size = (size_t)prefixes[i] + out[i].size;
        if (!qk_add(total, size, &total) || total > MOST_DELTA_BYTES) return false;
        before = size;
    }
    qk_buf_clear(text);
    qk_buf_reserve(text, total + 1); /* so that it does not move below */
    for (size_t i = 0; i < n; i++) {
        const uint8_t *start = text->data + text->size;
        qk_buf_add(text, i ? out[i - 1].data : start, (size_t)prefixes[i]);
        qk_buf_add(text, out[i].data, out[i].size);
        out[i] = (qk_pq_bytes){start, (size_t)prefixes[i] + out[i].size};
    }
    return true;
}

/* ---- PLAIN and BYTE_STREAM_SPLIT ---- */

size_t qk_pq_slot_size(qk_pq_type type)
{
    static const size_t sizes[] = {
        1, 4, 8, sizeof(qk_pq_bytes), 4, 8, sizeof(qk_pq_bytes), sizeof(qk_pq_bytes)};
    return sizes[type];
}

static bool plain_bytes(const uint8_t **at, const uint8_t *end, size_t n, qk_pq_bytes *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t size;
        if (end - *at < 4) return false;
        memcpy(&size, *at, 4);
        *at += 4;
        if (size > (size_t)(end - *at)) return false;
        out[i] = (qk_pq_bytes){*at, size};
        *at += size;
    }
    return true;
}

static bool plain_fixed(const uint8_t **at, const uint8_t *end, size_t width, size_t n,
                        qk_pq_bytes *out)
{
    if (n > (size_t)(end - *at) / width) return false;
    for (size_t i = 0; i < n; i++, *at += width) out[i] = (qk_pq_bytes){*at, width};
    return true;
}

bool qk_pq_decode_plain(const uint8_t **at, const uint8_t *end, const qk_pq_leaf *leaf, size_t n,
                        void *out)
{
    size_t size = qk_pq_slot_size(leaf->type);
    switch (leaf->type) {
    case QK_PQ_T_BYTES: return plain_bytes(at, end, n, out);
    case QK_PQ_T_FIXED: return plain_fixed(at, end, (size_t)leaf->fixed_length, n, out);
    case QK_PQ_T_INT96: return plain_fixed(at, end, 12, n, out);
    case QK_PQ_T_BOOLEAN:
        if ((n + 7) / 8 > (size_t)(end - *at)) return false;
        for (size_t i = 0; i < n; i++) ((uint8_t *)out)[i] = (*at)[i / 8] >> (i % 8) & 1;
        *at += (n + 7) / 8;
        return true;
    default:
        if (n > (size_t)(end - *at) / size) return false;
        if (n) memcpy(out, *at, n * size);
        *at += n * size;
        return true;
    }
}

bool qk_pq_decode_split(const uint8_t **at, const uint8_t *end, size_t width, size_t n, void *out)
{
    if (n > (size_t)(end - *at) / width) return false;
    uint8_t *to = out;
    for (size_t b = 0; b < width; b++)
        for (size_t i = 0; i < n; i++) to[i * width + b] = (*at)[b * n + i];
    *at += n * width;
    return true;
}

/* ---- codecs ---- */

static bool gunzip(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    z_stream z = {.next_in = (Bytef *)in,
                  .avail_in = (uInt)in_size,
                  .next_out = out,
                  .avail_out = (uInt)out_size};
    if (inflateInit2(&z, 15 + 32) != Z_OK) return false; /* gzip or zlib header */
    int rc = inflate(&z, Z_FINISH);
    bool ok = rc == Z_STREAM_END && z.total_out == out_size;
    inflateEnd(&z);
    return ok;
}

bool qk_pq_decompress(int codec, const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
                      bool *known)
{
    size_t size = out_size;
    *known = codec == 0 || codec == 1 || codec == 2 || codec == 4 || codec == 6 || codec == 7;
    if (*known && !in_size && !out_size) return true; /* a v2 page of nulls only */
    switch (codec) {
    case 0:
        if (in_size != out_size) return false;
        if (in_size) memcpy(out, in, in_size);
        return true;
    case 1:
        return snappy_uncompress((const char *)in, in_size, (char *)out, &size) == SNAPPY_OK &&
               size == out_size;
    case 2: return gunzip(in, in_size, out, out_size);
    case 4:
        return BrotliDecoderDecompress(in_size, in, &size, out) == BROTLI_DECODER_RESULT_SUCCESS &&
               size == out_size;
    case 6: return ZSTD_decompress(out, out_size, in, in_size) == out_size;
    case 7:
        return in_size <= INT_MAX && out_size <= INT_MAX &&
               LZ4_decompress_safe((const char *)in, (char *)out, (int)in_size, (int)out_size) ==
                   (int)out_size;
    default: return false;
    }
}
