/* See parquet_page.h. */
#include "formats/parquet_page.h"

#include <stdlib.h>
#include <zlib.h>

enum { SPARE_BELOW = 64 << 20 };

qk_status qk_pq_scratch_reserve(qk_pq_scratch *scratch, size_t bytes, const char *what,
                                qk_error *err)
{
    if (bytes <= scratch->capacity) return QK_OK;
    free(scratch->data);
    *scratch = (qk_pq_scratch){0};
    if (bytes < SPARE_BELOW) bytes += bytes / 4; /* the pages of a column differ a little */
    QK_TRY(qk_try_alloc(&scratch->data, bytes, 1, what, err));
    scratch->capacity = bytes;
    return QK_OK;
}

/* ---- headers ---- */

static void read_data_header(qk_thrift_in *t, qk_pq_page *p)
{
    qk_thrift_field f = {0};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: p->values = qk_thrift_read_i32(t, &f, "a page's num_values"); break;
        case 2: p->encoding = qk_thrift_read_i32(t, &f, "a page's encoding"); break;
        case 3: p->definition_encoding = qk_thrift_read_i32(t, &f, "a level encoding"); break;
        case 4: p->repetition_encoding = qk_thrift_read_i32(t, &f, "a level encoding"); break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_dictionary_header(qk_thrift_in *t, qk_pq_page *p)
{
    qk_thrift_field f = {0};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: p->values = qk_thrift_read_i32(t, &f, "a dictionary's num_values"); break;
        case 2: p->encoding = qk_thrift_read_i32(t, &f, "a dictionary's encoding"); break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_v2_header(qk_thrift_in *t, qk_pq_page *p)
{
    qk_thrift_field f = {0};
    p->is_packed = true;
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: p->values = qk_thrift_read_i32(t, &f, "a page's num_values"); break;
        case 3: p->rows = qk_thrift_read_i32(t, &f, "a page's num_rows"); break;
        case 4: p->encoding = qk_thrift_read_i32(t, &f, "a page's encoding"); break;
        case 5:
            p->definition_bytes = qk_thrift_read_i32(t, &f, "definition_levels_byte_length");
            break;
        case 6:
            p->repetition_bytes = qk_thrift_read_i32(t, &f, "repetition_levels_byte_length");
            break;
        case 7:
            if (qk_thrift_optional(t, &f, QK_THRIFT_T_TRUE))
                p->is_packed = qk_thrift_read_bool(t, &f, "is_compressed");
            break;
        default: qk_thrift_skip(t, &f);
        }
}

/* The struct of field 5 (v1), 7 (dictionary) or 8 (v2), if it is the one of the page's type. */
static void read_type_header(qk_thrift_in *t, const qk_thrift_field *f, qk_pq_page *p)
{
    static const int16_t fields[] = {5, 6, 7, 8};
    if (p->type < 0 || p->type > 3 || fields[p->type] != f->id) {
        qk_thrift_skip(t, f);
        return;
    }
    if (!qk_thrift_optional(t, f, QK_THRIFT_T_STRUCT)) return;
    p->has_header = true;
    if (p->type == QK_PQ_PAGE_DATA_V2)
        read_v2_header(t, p);
    else if (p->type == QK_PQ_PAGE_DICTIONARY)
        read_dictionary_header(t, p);
    else
        read_data_header(t, p);
}

bool qk_pq_page_counts(const qk_pq_page *p)
{
    return p->type != QK_PQ_PAGE_INDEX && p->type <= QK_PQ_PAGE_DATA_V2;
}

static qk_status check_page(const qk_pq_page *p, uint64_t left, qk_error *err)
{
    int32_t max = p->type == QK_PQ_PAGE_DICTIONARY ? QK_PQ_MAX_DICTIONARY : QK_PQ_MAX_PAGE;
    if (p->packed_bytes < 0 || p->plain_bytes < 0)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the page header has a negative page size");
    if ((uint64_t)p->packed_bytes > left)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "a page of %d bytes runs past its column chunk, which has %llu left",
                       p->packed_bytes, (unsigned long long)left);
    if (p->type < 0) return qk_fail(err, QK_ERR_FORMAT, NULL, "unknown page type %d", p->type);
    if (!qk_pq_page_counts(p)) return QK_OK;
    if (p->plain_bytes > max)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "write the file again with smaller pages",
                       "a page of %d bytes is more than the limit of %d", p->plain_bytes, max);
    if (!p->has_header)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the page header has no part for type %d",
                       p->type);
    if (p->values < 0)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the page header has a negative value count");
    if (p->type == QK_PQ_PAGE_DICTIONARY && p->encoding != QK_PQ_E_PLAIN &&
        p->encoding != QK_PQ_E_PLAIN_DICTIONARY)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "a dictionary page with encoding %d", p->encoding);
    if (p->type == QK_PQ_PAGE_DATA_V2 &&
        (p->definition_bytes < 0 || p->repetition_bytes < 0 ||
         (int64_t)p->definition_bytes + p->repetition_bytes > p->packed_bytes ||
         (int64_t)p->definition_bytes + p->repetition_bytes > p->plain_bytes))
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the levels are longer than the page");
    return QK_OK;
}

qk_status qk_pq_page_read(qk_pq_page *p, const uint8_t *bytes, size_t n, uint64_t left,
                          size_t *header_bytes, qk_error *err)
{
    qk_thrift_in t;
    qk_thrift_field f = {0};
    *p = (qk_pq_page){.type = -1, .plain_bytes = -1, .packed_bytes = -1};
    qk_thrift_open(&t, bytes, n);
    while (qk_thrift_next(&t, &f)) switch (f.id) {
        case 1: p->type = qk_thrift_read_i32(&t, &f, "a page's type"); break;
        case 2: p->plain_bytes = qk_thrift_read_i32(&t, &f, "uncompressed_page_size"); break;
        case 3: p->packed_bytes = qk_thrift_read_i32(&t, &f, "compressed_page_size"); break;
        case 4:
            if (!qk_thrift_optional(&t, &f, QK_THRIFT_T_I32)) break;
            p->has_crc = true;
            p->crc = (uint32_t)qk_thrift_read_i32(&t, &f, "a page's crc");
            break;
        case 5:
        case 7:
        case 8: read_type_header(&t, &f, p); break;
        default: qk_thrift_skip(&t, &f);
        }
    if (t.problem[0]) {
        /* One that runs into the end of its chunk may also be a size that is too small. */
        const uint8_t *at;
        bool damaged = !qk_thrift_walk(bytes, n, &at) && at < bytes + n;
        return qk_fail(err, QK_ERR_FORMAT, damaged ? qk_pq_damaged : NULL,
                       "the page header is not valid: %s", t.problem);
    }
    *header_bytes = (size_t)(t.at - bytes);
    return check_page(p, left - *header_bytes, err);
}

/* ---- contents ---- */

/* Takes the levels at the begin of a v1 page off `rest`. */
static qk_status take_levels(qk_pq_part *rest, qk_pq_part *levels, int max_level, int encoding,
                             qk_error *err)
{
    *levels = (qk_pq_part){rest->data, 0};
    if (max_level == 0) return QK_OK;
    if (encoding == QK_PQ_E_BIT_PACKED)
        return qk_fail(err, QK_ERR_UNSUPPORTED,
                       "write the file again with parquet-java, which reads them; pyarrow takes "
                       "their bits from the wrong end",
                       "levels in the deprecated encoding BIT_PACKED are not supported");
    if (encoding != QK_PQ_E_RLE)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "unknown level encoding %d", encoding);
    if (rest->n < 4) return qk_fail(err, QK_ERR_FORMAT, NULL, "the page is too short for levels");
    const uint8_t *p = rest->data;
    size_t n = qk_pq_u32(p);
    if (n > rest->n - 4)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%zu bytes of levels are longer than the page, which has %zu left", n,
                       rest->n - 4);
    *levels = (qk_pq_part){p + 4, n};
    *rest = (qk_pq_part){p + 4 + n, rest->n - 4 - n};
    return QK_OK;
}

/* From in[0..n) to `plain` bytes in *out: expanded into scratch, or just there. */
static qk_status expand(int codec, const uint8_t *in, size_t n, size_t plain,
                        qk_pq_scratch *scratch, qk_pq_part *out, qk_error *err)
{
    if (codec == QK_CODEC_NONE || (n == 0 && plain == 0)) {
        if (n != plain)
            return qk_fail(err, QK_ERR_FORMAT, NULL,
                           "an uncompressed page has %zu bytes, but its header says %zu", n, plain);
        *out = (qk_pq_part){in, n};
        return QK_OK;
    }
    if (plain > qk_codec_max_plain(codec, n))
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "a page of %zu bytes cannot expand to %zu (the limit is %zu with %s)", n,
                       plain, qk_codec_max_plain(codec, n), qk_codec_name(codec));
    QK_TRY(qk_pq_scratch_reserve(scratch, plain + 1, "a page", err));
    QK_TRY(qk_codec_expand(codec, in, n, scratch->data, plain, err));
    *out = (qk_pq_part){scratch->data, plain};
    return QK_OK;
}

qk_status qk_pq_page_expand(const qk_pq_page *p, const uint8_t *packed, int codec,
                            const qk_pq_leaf *leaf, qk_pq_scratch *scratch, qk_pq_page_parts *parts,
                            qk_error *err)
{
    size_t n = (size_t)p->packed_bytes, plain = (size_t)p->plain_bytes;
    *parts = (qk_pq_page_parts){0};
    uint32_t crc = p->has_crc ? (uint32_t)crc32(0, packed, (uInt)n) : 0;
    if (p->has_crc && crc != p->crc)
        return qk_fail(err, QK_ERR_FORMAT, qk_pq_damaged,
                       "the page's checksum is %08x, but its header says %08x", crc, p->crc);
    if (p->type == QK_PQ_PAGE_DATA_V2) {
        size_t r = (size_t)p->repetition_bytes, levels = r + (size_t)p->definition_bytes;
        parts->repetition = (qk_pq_part){packed, r};
        parts->definition = (qk_pq_part){packed + r, levels - r};
        return expand(p->is_packed ? codec : QK_CODEC_NONE, packed + levels, n - levels,
                      plain - levels, scratch, &parts->values, err);
    }
    QK_TRY(expand(codec, packed, n, plain, scratch, &parts->values, err));
    if (p->type == QK_PQ_PAGE_DICTIONARY) return QK_OK;
    QK_TRY(take_levels(&parts->values, &parts->repetition, leaf->max_rep, p->repetition_encoding,
                       err));
    return take_levels(&parts->values, &parts->definition, leaf->max_def, p->definition_encoding,
                       err);
}
