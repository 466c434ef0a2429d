/* See parquet_decode.h. */
#include "formats/parquet_decode.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 1024 };

/* DELTA_BYTE_ARRAY can make gigabytes out of a small page: calls are cut so that the strings they
 * give take about this much. */
static const size_t max_text = (size_t)8 << 20;

size_t qk_pq_value_size(qk_pq_type type)
{
    switch (type) {
    case QK_PQ_T_BOOLEAN: return 1;
    case QK_PQ_T_INT32:
    case QK_PQ_T_FLOAT: return 4;
    case QK_PQ_T_INT64:
    case QK_PQ_T_DOUBLE: return 8;
    default: return sizeof(qk_pq_bytes);
    }
}

/* Bytes of a value on disk; 0 for booleans and strings. */
static size_t width_on_disk(const qk_pq_leaf *leaf)
{
    if (leaf->fixed_length) return (size_t)leaf->fixed_length;
    return leaf->type == QK_PQ_T_BOOLEAN || leaf->type == QK_PQ_T_BYTES
               ? 0
               : qk_pq_value_size(leaf->type);
}

static qk_status too_few(qk_error *err)
{
    return qk_fail(err, QK_ERR_FORMAT, NULL, "the page holds fewer values than its header says");
}

static size_t left(const qk_pq_decoder *d)
{
    return (size_t)(d->end - d->at);
}

/* ---- which encoding fits which type ---- */

static bool fits(qk_pq_encoding encoding, qk_pq_type type)
{
    switch (encoding) {
    case QK_PQ_E_PLAIN: return true;
    case QK_PQ_E_PLAIN_DICTIONARY:
    case QK_PQ_E_RLE_DICTIONARY:
    case QK_PQ_E_BYTE_STREAM_SPLIT:
        return type != QK_PQ_T_BOOLEAN && (encoding != QK_PQ_E_BYTE_STREAM_SPLIT ||
                                           (type != QK_PQ_T_BYTES && type != QK_PQ_T_INT96));
    case QK_PQ_E_RLE: return type == QK_PQ_T_BOOLEAN;
    case QK_PQ_E_DELTA_BINARY_PACKED: return type == QK_PQ_T_INT32 || type == QK_PQ_T_INT64;
    case QK_PQ_E_DELTA_LENGTH_BYTE_ARRAY: return type == QK_PQ_T_BYTES;
    case QK_PQ_E_DELTA_BYTE_ARRAY: return type == QK_PQ_T_BYTES || type == QK_PQ_T_FIXED;
    default: return false;
    }
}

/* ---- opening a page ---- */

static qk_status open_indices(qk_pq_decoder *d, qk_error *err)
{
    if (!d->dictionary->is_there)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "a dictionary-encoded page without a dictionary");
    if (!left(d)) { /* all values are null */
        qk_pq_rle_open(&d->rle, d->at, 0, 0);
        return QK_OK;
    }
    int width = *d->at;
    if (width > 32) return qk_fail(err, QK_ERR_FORMAT, NULL, "bad bit width %d of indices", width);
    qk_pq_rle_open(&d->rle, d->at + 1, left(d) - 1, width);
    return QK_OK;
}

static qk_status open_booleans(qk_pq_decoder *d, qk_error *err)
{
    uint32_t n = left(d) < 4 ? 0 : qk_pq_u32(d->at);
    if (n && n > left(d) - 4)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the booleans are longer than the page");
    qk_pq_rle_open(&d->rle, n ? d->at + 4 : d->at, n, 1);
    return QK_OK;
}

/* d->at goes behind the stream of lengths. */
static qk_status open_lengths(qk_pq_decoder *d, qk_pq_delta *lengths, uint64_t values,
                              qk_error *err)
{
    qk_pq_delta end;
    if (!left(d)) { /* all values are null */
        *lengths = (qk_pq_delta){.at = d->at, .end = d->at};
        return QK_OK;
    }
    QK_TRY(qk_pq_delta_open(lengths, d->at, left(d), values, err));
    end = *lengths;
    QK_TRY(qk_pq_delta_finish(&end, err));
    d->at = end.at;
    return QK_OK;
}

/* Follows the lengths of a DELTA_BYTE_ARRAY page to the longest string, and checks them all. */
static qk_status measure_strings(qk_pq_decoder *d, qk_error *err)
{
    qk_pq_delta shared = d->shared, rest = d->numbers;
    int64_t a[PIECE], b[PIECE], longest = 0, before = 0, bytes = (int64_t)left(d);
    if (shared.left != rest.left)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%llu prefixes for %llu suffixes",
                       (unsigned long long)shared.left, (unsigned long long)rest.left);
    while (shared.left > 0) {
        size_t n = shared.left < PIECE ? (size_t)shared.left : PIECE;
        QK_TRY(qk_pq_delta_read(&shared, a, n, err));
        QK_TRY(qk_pq_delta_read(&rest, b, n, err));
        for (size_t i = 0; i < n; i++) {
            if (a[i] < 0 || a[i] > before)
                return qk_fail(err, QK_ERR_FORMAT, NULL,
                               "a prefix of %lld bytes, the value before has %lld", (long long)a[i],
                               (long long)before);
            if (b[i] < 0 || b[i] > bytes)
                return qk_fail(err, QK_ERR_FORMAT, NULL, "the strings are longer than the page");
            before = a[i] + b[i], bytes -= b[i];
            if (before > longest) longest = before;
        }
    }
    if (longest > UINT32_MAX)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "a string of %lld bytes", (long long)longest);
    d->max_values = longest ? max_text / (size_t)longest : SIZE_MAX;
    if (!d->max_values) d->max_values = 1;
    return QK_OK;
}

static qk_status open_split(qk_pq_decoder *d, qk_error *err)
{
    size_t width = width_on_disk(d->leaf);
    if (left(d) % width)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%zu bytes of BYTE_STREAM_SPLIT are no whole number of values of %zu",
                       left(d), width);
    d->stride = left(d) / width;
    size_t bytes = max_text / width;
    d->max_values = d->leaf->type != QK_PQ_T_FIXED ? SIZE_MAX : bytes ? bytes : 1;
    return QK_OK;
}

qk_status qk_pq_decoder_open(qk_pq_decoder *d, const qk_pq_leaf *leaf, int encoding,
                             const uint8_t *bytes, size_t n, uint64_t values,
                             const qk_pq_dictionary *dictionary, qk_error *err)
{
    const char *name = qk_pq_encoding_name(encoding);
    if (!name) return qk_fail(err, QK_ERR_FORMAT, NULL, "unknown encoding %d", encoding);
    if (!fits((qk_pq_encoding)encoding, leaf->type))
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the encoding %s does not fit %s", name,
                       qk_pq_type_name((int)leaf->type));
    d->leaf = leaf;
    d->encoding = (qk_pq_encoding)encoding;
    d->dictionary = dictionary;
    d->at = bytes, d->end = bytes + n;
    d->taken = 0;
    d->max_values = SIZE_MAX;
    switch (d->encoding) {
    case QK_PQ_E_PLAIN_DICTIONARY:
    case QK_PQ_E_RLE_DICTIONARY: return open_indices(d, err);
    case QK_PQ_E_RLE: return open_booleans(d, err);
    case QK_PQ_E_DELTA_BINARY_PACKED:
    case QK_PQ_E_DELTA_LENGTH_BYTE_ARRAY: return open_lengths(d, &d->numbers, values, err);
    case QK_PQ_E_DELTA_BYTE_ARRAY:
        qk_buf_clear(&d->last);
        QK_TRY(open_lengths(d, &d->shared, values, err));
        QK_TRY(open_lengths(d, &d->numbers, values, err));
        return measure_strings(d, err);
    case QK_PQ_E_BYTE_STREAM_SPLIT: return open_split(d, err);
    default: return QK_OK;
    }
}

/* ---- reading ---- */

static qk_status read_plain_strings(qk_pq_decoder *d, qk_pq_bytes *out, size_t n, qk_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (left(d) < 4) return too_few(err);
        uint32_t length = qk_pq_u32(d->at);
        if (length > left(d) - 4)
            return qk_fail(err, QK_ERR_FORMAT, NULL,
                           "a string of %u bytes, but only %zu are left in the page", length,
                           left(d) - 4);
        out[i] = (qk_pq_bytes){d->at + 4, length};
        d->at += 4 + (size_t)length;
    }
    return QK_OK;
}

static qk_status read_plain(qk_pq_decoder *d, void *out, size_t n, qk_error *err)
{
    if (d->leaf->type == QK_PQ_T_BYTES) return read_plain_strings(d, out, n, err);
    if (d->leaf->type == QK_PQ_T_BOOLEAN) {
        uint8_t *bits = out;
        for (size_t i = 0; i < n; i++, d->taken++) {
            if (d->taken / 8 >= left(d)) return too_few(err);
            bits[i] = d->at[d->taken / 8] >> (d->taken % 8) & 1;
        }
        return QK_OK;
    }
    size_t width = width_on_disk(d->leaf);
    if (n > left(d) / width) return too_few(err);
    if (d->leaf->fixed_length) {
        qk_pq_bytes *values = out;
        for (size_t i = 0; i < n; i++) values[i] = (qk_pq_bytes){d->at + i * width, width};
    } else {
        memcpy(out, d->at, n * width);
    }
    d->at += n * width;
    return QK_OK;
}

static qk_status read_indices(qk_pq_decoder *d, uint8_t *out, size_t n, qk_error *err)
{
    uint32_t indices[PIECE];
    const size_t size = qk_pq_value_size(d->leaf->type), count = d->dictionary->count;
    while (n > 0) {
        size_t piece = n < PIECE ? n : PIECE;
        if (!qk_pq_rle_read(&d->rle, indices, piece)) return too_few(err);
        for (size_t i = 0; i < piece; i++) {
            if (indices[i] >= count)
                return qk_fail(err, QK_ERR_FORMAT, NULL,
                               "dictionary index %u is out of range (%zu entries)", indices[i],
                               count);
            memcpy(out + i * size, d->dictionary->values + indices[i] * size, size);
        }
        out += piece * size, n -= piece;
    }
    return QK_OK;
}

static qk_status read_rle_booleans(qk_pq_decoder *d, uint8_t *out, size_t n, qk_error *err)
{
    uint32_t bits[PIECE];
    for (size_t piece; n > 0; out += piece, n -= piece) {
        piece = n < PIECE ? n : PIECE;
        if (!qk_pq_rle_read(&d->rle, bits, piece)) return too_few(err);
        for (size_t i = 0; i < piece; i++) out[i] = bits[i] & 1;
    }
    return QK_OK;
}

static qk_status read_deltas(qk_pq_decoder *d, void *out, size_t n, qk_error *err)
{
    int64_t piece[PIECE];
    if (d->leaf->type == QK_PQ_T_INT64) return qk_pq_delta_read(&d->numbers, out, n, err);
    int32_t *values = out;
    for (size_t k; n > 0; values += k, n -= k) {
        k = n < PIECE ? n : PIECE;
        QK_TRY(qk_pq_delta_read(&d->numbers, piece, k, err));
        for (size_t i = 0; i < k; i++) values[i] = (int32_t)(uint32_t)(uint64_t)piece[i];
    }
    return QK_OK;
}

static qk_status read_delta_lengths(qk_pq_decoder *d, qk_pq_bytes *out, size_t n, qk_error *err)
{
    int64_t lengths[PIECE];
    for (size_t k; n > 0; out += k, n -= k) {
        k = n < PIECE ? n : PIECE;
        QK_TRY(qk_pq_delta_read(&d->numbers, lengths, k, err));
        for (size_t i = 0; i < k; i++) {
            if (lengths[i] < 0)
                return qk_fail(err, QK_ERR_FORMAT, NULL, "a string of negative length %lld",
                               (long long)lengths[i]);
            if ((uint64_t)lengths[i] > left(d) || lengths[i] > UINT32_MAX)
                return qk_fail(err, QK_ERR_FORMAT, NULL, "the strings are longer than the page");
            out[i] = (qk_pq_bytes){d->at, (size_t)lengths[i]};
            d->at += lengths[i];
        }
    }
    return QK_OK;
}

/* The lengths are checked: measure_strings. */
static qk_status read_shared_strings(qk_pq_decoder *d, qk_pq_bytes *out, size_t n, qk_error *err)
{
    qk_buf_clear(&d->text);
    for (size_t i = 0; i < n; i++) {
        int64_t shared, rest;
        QK_TRY(qk_pq_delta_read(&d->shared, &shared, 1, err));
        QK_TRY(qk_pq_delta_read(&d->numbers, &rest, 1, err));
        d->last.size = (size_t)shared;
        qk_buf_add(&d->last, d->at, (size_t)rest);
        d->at += rest;
        qk_buf_add(&d->text, d->last.data, d->last.size);
        out[i].size = d->last.size;
        if (d->leaf->fixed_length && out[i].size != (size_t)d->leaf->fixed_length)
            return qk_fail(err, QK_ERR_FORMAT, NULL, "a value of %zu bytes, not %d", out[i].size,
                           d->leaf->fixed_length);
    }
    const uint8_t *at = d->text.data; /* which moves no more */
    for (size_t i = 0; i < n; at += out[i++].size) out[i].data = at;
    return QK_OK;
}

static qk_status read_split(qk_pq_decoder *d, uint8_t *out, size_t n, qk_error *err)
{
    size_t width = width_on_disk(d->leaf);
    if (n > d->stride - d->taken) return too_few(err);
    const uint8_t *from = d->at + d->taken;
    d->taken += n;
    uint8_t *to = out;
    if (d->leaf->fixed_length) {
        qk_pq_bytes *values = (qk_pq_bytes *)(void *)out;
        qk_buf_clear(&d->text);
        qk_buf_reserve(&d->text, n * width);
        to = d->text.data;
        for (size_t i = 0; i < n; i++) values[i] = (qk_pq_bytes){to + i * width, width};
    }
    for (size_t byte = 0; byte < width; byte++, from += d->stride)
        for (size_t i = 0; i < n; i++) to[i * width + byte] = from[i];
    return QK_OK;
}

qk_status qk_pq_decoder_read(qk_pq_decoder *d, void *out, size_t n, qk_error *err)
{
    QK_ASSERT(n <= d->max_values);
    switch (d->encoding) {
    case QK_PQ_E_PLAIN_DICTIONARY:
    case QK_PQ_E_RLE_DICTIONARY: return read_indices(d, out, n, err);
    case QK_PQ_E_RLE: return read_rle_booleans(d, out, n, err);
    case QK_PQ_E_DELTA_BINARY_PACKED: return read_deltas(d, out, n, err);
    case QK_PQ_E_DELTA_LENGTH_BYTE_ARRAY: return read_delta_lengths(d, out, n, err);
    case QK_PQ_E_DELTA_BYTE_ARRAY: return read_shared_strings(d, out, n, err);
    case QK_PQ_E_BYTE_STREAM_SPLIT: return read_split(d, out, n, err);
    default: return read_plain(d, out, n, err);
    }
}

void qk_pq_decoder_free(qk_pq_decoder *d)
{
    qk_buf_free(&d->last);
    qk_buf_free(&d->text);
}

/* ---- dictionaries ---- */

qk_status qk_pq_dictionary_read(qk_pq_dictionary *dictionary, const qk_pq_leaf *leaf,
                                const uint8_t *bytes, size_t n, size_t count, qk_error *err)
{
    qk_pq_decoder d = {0};
    void *values;
    size_t least = width_on_disk(leaf) ? width_on_disk(leaf) : 4; /* bytes of an entry */
    if (leaf->type == QK_PQ_T_BOOLEAN)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "a dictionary of booleans");
    if (count > n / least) return too_few(err);
    QK_TRY(qk_pq_decoder_open(&d, leaf, QK_PQ_E_PLAIN, bytes, n, count, NULL, err));
    QK_TRY(qk_try_alloc(&values, count + 1, qk_pq_value_size(leaf->type), "a dictionary", err));
    qk_status status = qk_pq_decoder_read(&d, values, count, err);
    if (status != QK_OK) {
        free(values);
        return status;
    }
    *dictionary = (qk_pq_dictionary){values, count, true};
    return QK_OK;
}

void qk_pq_dictionary_free(qk_pq_dictionary *dictionary)
{
    free(dictionary->values);
    *dictionary = (qk_pq_dictionary){0};
}
