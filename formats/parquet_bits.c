/* See parquet_bits.h. */
#include "formats/parquet_bits.h"

#include <string.h>

/* Value number `index` of `width` bits, 0 to 64; bytes behind `n` count as zero. */
static uint64_t unpack(const uint8_t *bytes, size_t n, uint64_t index, int width)
{
    uint64_t bit = index * (uint64_t)width, word = 0;
    size_t at = (size_t)(bit >> 3);
    int shift = (int)(bit & 7);
    if (width == 0) return 0;
    if (at + 9 <= n) { /* the value reaches into a ninth byte when shift + width > 64 */
        memcpy(&word, bytes + at, 8);
        word >>= shift;
        if (shift) word |= (uint64_t)bytes[at + 8] << (64 - shift);
    } else {
        for (size_t i = 0; i < 8 && at + i < n; i++) word |= (uint64_t)bytes[at + i] << (8 * i);
        word >>= shift;
        if (shift && at + 8 < n) word |= (uint64_t)bytes[at + 8] << (64 - shift);
    }
    return width == 64 ? word : word & ((1ull << width) - 1);
}

/* false when it is longer than `max_bytes` or the data end. */
static bool read_varint(const uint8_t **at, const uint8_t *end, int max_bytes, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < max_bytes && *at < end; i++) {
        uint8_t byte = *(*at)++;
        *out |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (!(byte & 0x80)) return true;
    }
    return false;
}

/* ---- RLE ---- */

void qk_pq_rle_open(qk_pq_rle *r, const uint8_t *bytes, size_t n, int width)
{
    *r = (qk_pq_rle){.at = bytes, .end = bytes + n, .width = width};
}

static bool begin_run(qk_pq_rle *r)
{
    uint64_t head;
    if (!read_varint(&r->at, r->end, 5, &head)) return false;
    size_t left = (size_t)(r->end - r->at), bytes = ((size_t)r->width + 7) / 8;
    r->is_packed = head & 1;
    if (r->is_packed) { /* the last run of a page may be cut short behind its last value */
        uint64_t want = (head >> 1) * (uint64_t)r->width;
        r->packed = r->at;
        r->packed_bytes = want < left ? (size_t)want : left;
        r->packed_at = 0;
        r->run_left = want <= left ? (head >> 1) * 8 : left * 8 / (uint64_t)r->width;
        r->at += r->packed_bytes;
        return true;
    }
    if (bytes > left) return false;
    r->value = 0;
    for (size_t i = 0; i < bytes; i++) r->value |= (uint32_t)r->at[i] << (8 * i);
    r->run_left = head >> 1;
    r->at += bytes;
    return true;
}

bool qk_pq_rle_read(qk_pq_rle *r, uint32_t *out, size_t n)
{
    while (n > 0) {
        while (r->run_left == 0)
            if (!begin_run(r)) return false;
        size_t take = r->run_left < n ? (size_t)r->run_left : n;
        if (r->is_packed) {
            for (size_t i = 0; i < take; i++)
                out[i] = (uint32_t)unpack(r->packed, r->packed_bytes, r->packed_at + i, r->width);
            r->packed_at += take;
        } else {
            for (size_t i = 0; i < take; i++) out[i] = r->value;
        }
        r->run_left -= take;
        out += take, n -= take;
    }
    return true;
}

/* ---- delta ---- */

static qk_status delta_fail(qk_error *err, const char *what)
{
    return qk_fail(err, QK_ERR_FORMAT, NULL, "delta encoding: %s", what);
}

static int64_t from_zigzag(uint64_t u)
{
    return (int64_t)(u >> 1 ^ (0 - (u & 1)));
}

qk_status qk_pq_delta_open(qk_pq_delta *d, const uint8_t *bytes, size_t n, uint64_t max_values,
                           qk_error *err)
{
    const uint64_t largest = 1 << 24; /* writers use 128 to 1024 */
    uint64_t block, first;
    *d = (qk_pq_delta){.at = bytes, .end = bytes + n};
    if (!read_varint(&d->at, d->end, 10, &block) || !read_varint(&d->at, d->end, 10, &d->minis) ||
        !read_varint(&d->at, d->end, 10, &d->left) || !read_varint(&d->at, d->end, 10, &first))
        return delta_fail(err, "the header is cut short");
    d->value = (uint64_t)from_zigzag(first);
    if (block == 0 || block > largest || block % 128)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "delta encoding: bad block size %llu",
                       (unsigned long long)block);
    if (d->minis == 0 || d->minis > block || block % d->minis || block / d->minis % 32)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "delta encoding: %llu miniblocks in a block of %llu",
                       (unsigned long long)d->minis, (unsigned long long)block);
    if (d->left > max_values)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "delta encoding: the header counts %llu values in a page of %llu",
                       (unsigned long long)d->left, (unsigned long long)max_values);
    d->mini_size = block / d->minis;
    d->mini = d->minis;
    return QK_OK;
}

/* Only miniblocks that hold values are there; the widths of the others mean nothing. */
static qk_status begin_mini(qk_pq_delta *d, qk_error *err)
{
    if (d->mini == d->minis) { /* the next block */
        uint64_t least;
        if (!read_varint(&d->at, d->end, 10, &least) || (uint64_t)(d->end - d->at) < d->minis)
            return delta_fail(err, "the page ends before its last value");
        d->least = (uint64_t)from_zigzag(least);
        d->widths = d->at;
        d->at += d->minis;
        d->mini = 0;
    }
    d->width = d->widths[d->mini++];
    if (d->width > 64)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "delta encoding: bad bit width %d", d->width);
    size_t bytes = (size_t)(d->mini_size / 8) * (size_t)d->width;
    if (bytes > (size_t)(d->end - d->at))
        return delta_fail(err, "the page ends before its last value");
    d->mini_data = d->at;
    d->at += bytes;
    d->mini_at = 0;
    d->mini_end = d->left < d->mini_size ? d->left : d->mini_size;
    return QK_OK;
}

qk_status qk_pq_delta_read(qk_pq_delta *d, int64_t *out, size_t n, qk_error *err)
{
    if (n > d->left) return delta_fail(err, "the page holds fewer values than its header says");
    for (size_t i = 0; i < n; i++, d->left--) {
        if (!d->begun) {
            d->begun = true;
        } else {
            if (d->mini_at == d->mini_end) QK_TRY(begin_mini(d, err));
            d->value += d->least + unpack(d->mini_data, (size_t)(d->at - d->mini_data),
                                          d->mini_at++, d->width);
        }
        out[i] = (int64_t)d->value;
    }
    return QK_OK;
}

qk_status qk_pq_delta_finish(qk_pq_delta *d, qk_error *err)
{
    int64_t values[256];
    while (d->left > 0) QK_TRY(qk_pq_delta_read(d, values, d->left < 256 ? d->left : 256, err));
    return QK_OK;
}
