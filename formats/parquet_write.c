/* See parquet_write.h. From top to bottom: buffering rows, pages, chunks, row groups. */
#include "formats/parquet_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "formats/parquet_encode.h"
#include "formats/parquet_page.h"
#include "formats/thrift_write.h"

/* A page holds about this many bytes before compression. */
enum { PAGE_BYTES = 1 << 20, DICTIONARY_BYTES = 1 << 20 };

/* zstd's level for pages in general. Bytes of floats hardly repeat: a search for matches costs time
 * there, and short chance matches cost more than plain literals, so the hash table is small. */
enum { LEVEL = 3, SPLIT_LEVEL = 1, SPLIT_HASH_LOG = 10 };

/* ---- buffering rows ---- */

qk_status qk_pq_create(qk_pq_writer **out, const char *path, const qk_pq_column *columns,
                       size_t n_columns, size_t rows_per_group, const char *created_by,
                       qk_error *err)
{
    qk_pq_writer *w = qk_zalloc(1, sizeof *w);
    qk_status s = qk_writer_open(&w->file, path, err);
    if (s != QK_OK) {
        free(w);
        return s;
    }
    w->columns = qk_zalloc(n_columns, sizeof *w->columns);
    w->n_columns = n_columns;
    w->rows_per_group = rows_per_group;
    w->created_by = qk_strdup(created_by);
    w->zstd = ZSTD_createCCtx();
    QK_ASSERT(w->zstd && rows_per_group);
    for (size_t i = 0; i < n_columns; i++) {
        w->columns[i].spec = columns[i];
        w->columns[i].spec.name = qk_strdup(columns[i].name);
    }
    qk_writer_add(&w->file, "PAR1", 4);
    *out = w;
    return QK_OK;
}

static void add_row(qk_pq_column_rows *c, const qk_pq_values *v, size_t i)
{
    bool valid = !v->valid || v->valid[i];
    int64_t number = 0;
    qk_pq_text text = {0};
    switch (c->spec.kind) {
    case QK_PQ_INT32: number = ((const int32_t *)v->data)[i]; break;
    case QK_PQ_INT64: number = ((const int64_t *)v->data)[i]; break;
    case QK_PQ_BOOL: number = ((const uint8_t *)v->data)[i] != 0; break;
    case QK_PQ_FLOAT: memcpy(&number, (const float *)v->data + i, sizeof(float)); break;
    case QK_PQ_STRING:
        text = ((const qk_pq_text *)v->data)[i];
        valid &= text.data != NULL;
        break;
    case QK_PQ_FLOATS: return;
    }
    qk_buf_add_byte(&c->valid, valid);
    c->nulls += !valid;
    if (valid && c->spec.kind == QK_PQ_STRING) {
        qk_pq_slice slice = {c->text.size, text.size};
        qk_buf_add(&c->values, &slice, sizeof slice);
        qk_buf_add(&c->text, text.data, text.size);
    } else if (valid) {
        qk_buf_add(&c->values, &number, 8);
    }
}

static void add_rows(qk_pq_column_rows *c, const qk_pq_values *v, size_t first, size_t n)
{
    if (c->spec.kind == QK_PQ_FLOATS) {
        size_t d = (size_t)c->spec.list_size;
        qk_buf_add(&c->values, (const float *)v->data + first * d, n * d * sizeof(float));
        return;
    }
    qk_buf_reserve(&c->valid, n);
    for (size_t i = first; i < first + n; i++) add_row(c, v, i);
}

/* ---- pages ---- */

static void plain_numbers(qk_buf *out, qk_pq_kind kind, const int64_t *values, size_t n)
{
    if (kind == QK_PQ_INT64) {
        qk_buf_add(out, values, n * 8);
        return;
    }
    if (kind == QK_PQ_INT32 || kind == QK_PQ_FLOAT) {
        for (size_t i = 0; i < n; i++) qk_buf_add(out, &(int32_t){(int32_t)values[i]}, 4);
        return;
    }
    for (size_t i = 0; i < n; i += 8) { /* booleans: bits, the first one lowest */
        uint8_t bits = 0;
        for (size_t k = 0; k < 8 && i + k < n; k++) bits |= (uint8_t)(values[i + k] << k);
        qk_buf_add_byte(out, bits);
    }
}

static void plain_string(qk_buf *out, const void *text, size_t size)
{
    uint32_t n = (uint32_t)size;
    qk_buf_add(out, &n, 4);
    qk_buf_add(out, text, n);
}

/* From here on the page's bytes are of another kind: they get a block, and a code, of their own. */
static void cut(qk_pq_writer *w, size_t at)
{
    QK_ASSERT(w->n_cuts < sizeof w->cuts / sizeof *w->cuts);
    w->cuts[w->n_cuts++] = at;
}

/* w->body as one zstd frame in w->packed. */
static void pack_page(qk_pq_writer *w, bool split)
{
    ZSTD_CCtx_reset(w->zstd, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, split ? SPLIT_LEVEL : LEVEL);
    if (split) ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_hashLog, SPLIT_HASH_LOG);
    ZSTD_CCtx_setPledgedSrcSize(w->zstd, w->body.size);
    qk_buf_clear(&w->packed);
    qk_buf_reserve(&w->packed, ZSTD_compressBound(w->body.size) + 64 * (w->n_cuts + 1));
    ZSTD_outBuffer out = {w->packed.data, w->packed.capacity, 0};
    for (size_t i = 0, begin = 0; i <= w->n_cuts; i++) {
        size_t end = i < w->n_cuts ? w->cuts[i] : w->body.size;
        ZSTD_inBuffer in = {w->body.data + begin, end - begin, 0};
        size_t left =
            ZSTD_compressStream2(w->zstd, &out, &in, i < w->n_cuts ? ZSTD_e_flush : ZSTD_e_end);
        QK_ASSERT(left == 0 && in.pos == in.size);
        begin = end;
    }
    w->packed.size = out.pos;
    w->n_cuts = 0;
    QK_ASSERT(w->packed.size <= INT32_MAX && w->body.size <= INT32_MAX);
}

/* Compresses w->body and writes it as a page; v: values of a data page, entries of a dictionary. */
static void write_page(qk_pq_writer *w, qk_pq_chunk_out *c, int type, size_t v, int encoding)
{
    pack_page(w, encoding == QK_PQ_E_BYTE_STREAM_SPLIT);
    size_t size = w->packed.size;
    qk_thrift_out t = {0};
    qk_thrift_begin(&t, 0);
    qk_thrift_i32(&t, 1, type);
    qk_thrift_i32(&t, 2, (int32_t)w->body.size);
    qk_thrift_i32(&t, 3, (int32_t)size);
    qk_thrift_i32(&t, 4, (int32_t)crc32(0, w->packed.data, (uInt)size));
    qk_thrift_begin(&t, type == QK_PQ_PAGE_DATA ? 5 : 7);
    qk_thrift_i32(&t, 1, (int32_t)v);
    qk_thrift_i32(&t, 2, encoding);
    if (type == QK_PQ_PAGE_DATA) qk_thrift_i32(&t, 3, QK_PQ_E_RLE);
    if (type == QK_PQ_PAGE_DATA) qk_thrift_i32(&t, 4, QK_PQ_E_RLE);
    qk_thrift_end(&t);
    qk_thrift_end(&t);
    qk_writer_add(&w->file, t.buf.data, t.buf.size);
    qk_writer_add(&w->file, w->packed.data, size);
    c->uncompressed += (int64_t)(t.buf.size + w->body.size);
    c->compressed += (int64_t)(t.buf.size + size);
    qk_buf_free(&t.buf);
    qk_buf_clear(&w->body);
}

/* Levels are stored with their length in front. */
static void close_levels(qk_buf *body, size_t at)
{
    uint32_t n = (uint32_t)(body->size - at - 4);
    memcpy(body->data + at, &n, 4);
}

static size_t open_levels(qk_buf *body)
{
    size_t at = body->size;
    qk_buf_add(body, &(uint32_t){0}, 4);
    return at;
}

/* Definition levels of rows first .. first + n - 1 of a flat column; returns how many are not null.
 */
static size_t write_definitions(qk_pq_writer *w, const qk_pq_column_rows *c, size_t first, size_t n)
{
    size_t at = open_levels(&w->body), present = 0;
    qk_buf_clear(&w->numbers);
    qk_buf_reserve(&w->numbers, n * 4);
    uint32_t *levels = (uint32_t *)w->numbers.data;
    for (size_t i = 0; i < n; i++) present += levels[i] = c->valid.data[first + i];
    qk_pq_encode_hybrid(&w->body, levels, n, 1);
    close_levels(&w->body, at);
    return present;
}

/* ---- dictionaries ---- */

typedef struct dictionary {
    uint32_t *indices; /* of each value, in order of first appearance */
    qk_buf entries;    /* PLAIN */
    size_t count;
    size_t *slots; /* value number + 1 */
    size_t n_slots;
} dictionary;

static const void *value_at(const qk_pq_column_rows *c, size_t i, size_t *n)
{
    if (c->spec.kind != QK_PQ_STRING) {
        *n = 8;
        return c->values.data + 8 * i;
    }
    const qk_pq_slice *slice = (const qk_pq_slice *)(const void *)c->values.data + i;
    *n = slice->size;
    return slice->size ? (const char *)c->text.data + slice->at : "";
}

/* false when it does not pay: too many different values. */
static bool make_dictionary(dictionary *d, const qk_pq_column_rows *c, size_t n)
{
    size_t max_count = n / 2 < 65536 ? n / 2 : 65536;
    *d = (dictionary){.indices = qk_alloc(n, 4), .n_slots = 16};
    while (d->n_slots < 4 * (max_count + 1)) d->n_slots *= 2;
    d->slots = qk_zalloc(d->n_slots, sizeof *d->slots);
    for (size_t i = 0; i < n; i++) {
        size_t size, other_size;
        const void *value = value_at(c, i, &size);
        size_t at = qk_hash_bytes(value, size) & (d->n_slots - 1);
        for (; d->slots[at]; at = (at + 1) & (d->n_slots - 1)) {
            const void *other = value_at(c, d->slots[at] - 1, &other_size);
            if (size == other_size && !memcmp(value, other, size)) break;
        }
        if (d->slots[at]) {
            d->indices[i] = d->indices[d->slots[at] - 1];
            continue;
        }
        if (d->count == max_count || d->entries.size > DICTIONARY_BYTES) return false;
        d->slots[at] = i + 1;
        d->indices[i] = (uint32_t)d->count;
        if (c->spec.kind == QK_PQ_STRING)
            plain_string(&d->entries, value, size);
        else
            plain_numbers(&d->entries, c->spec.kind, value, 1);
        d->count++;
    }
    return d->count > 0;
}

/* ---- statistics ---- */

static void number_statistics(qk_pq_chunk_out *k, const qk_pq_column_rows *c, size_t n)
{
    const int64_t *v = (const int64_t *)(const void *)c->values.data;
    if (!n) return;
    int64_t min = v[0], max = v[0];
    for (size_t i = 1; i < n; i++) {
        if (v[i] < min) min = v[i];
        if (v[i] > max) max = v[i];
    }
    qk_buf bytes = {0};
    plain_numbers(&bytes, c->spec.kind, &min, 1);
    memcpy(k->min, bytes.data, k->min_size = bytes.size);
    qk_buf_clear(&bytes);
    plain_numbers(&bytes, c->spec.kind, &max, 1);
    memcpy(k->max, bytes.data, k->max_size = bytes.size);
    qk_buf_free(&bytes);
}

static int by_bytes(const qk_pq_text *a, const qk_pq_text *b)
{
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

/* Byte order, as the UTF8 column order says; long strings are left out rather than cut. */
static void string_statistics(qk_pq_chunk_out *k, const qk_pq_column_rows *c, size_t n)
{
    qk_pq_text min = {0}, max = {0};
    for (size_t i = 0; i < n; i++) {
        qk_pq_text text;
        text.data = value_at(c, i, &text.size);
        if (!min.data || by_bytes(&text, &min) < 0) min = text;
        if (!max.data || by_bytes(&text, &max) > 0) max = text;
    }
    if (!n || min.size > QK_PQ_MAX_STATISTIC || max.size > QK_PQ_MAX_STATISTIC) return;
    memcpy(k->min, min.data, k->min_size = min.size);
    memcpy(k->max, max.data, k->max_size = max.size);
}

/* ---- chunks ---- */

/* Values first .. first + n - 1 into the page's body. */
static void write_values(qk_pq_writer *w, const qk_pq_column_rows *c, const dictionary *d,
                         int encoding, size_t first, size_t n)
{
    const int64_t *numbers = (const int64_t *)(const void *)c->values.data + first;
    if (encoding == QK_PQ_E_RLE_DICTIONARY) {
        int width = qk_pq_bit_width((uint32_t)d->count - 1);
        qk_buf_add_byte(&w->body, (uint8_t)width);
        qk_pq_encode_hybrid(&w->body, d->indices + first, n, width);
    } else if (c->spec.kind == QK_PQ_STRING) {
        for (size_t i = first; i < first + n; i++) {
            size_t size;
            const void *text = value_at(c, i, &size);
            plain_string(&w->body, text, size);
        }
    } else {
        plain_numbers(&w->body, c->spec.kind, numbers, n);
    }
}

/* Rows of a page: a fixed number, so that cuts depend on nothing else. */
static size_t page_rows(const qk_pq_column_rows *c, size_t rows)
{
    if (c->spec.kind == QK_PQ_STRING) {
        size_t bytes = c->text.size + rows - c->nulls; /* one more each, as ever: same cuts */
        size_t mean = bytes / (rows ? rows : 1) + 4, n = PAGE_BYTES / mean;
        return n ? n : 1;
    }
    size_t bytes = c->spec.kind == QK_PQ_FLOATS ? 4 * (size_t)c->spec.list_size : 8;
    return bytes < PAGE_BYTES ? PAGE_BYTES / bytes : 1;
}

static void write_flat(qk_pq_writer *w, qk_pq_column_rows *c, qk_pq_chunk_out *k, size_t rows)
{
    dictionary d = {0};
    size_t present = rows - c->nulls, at = 0, step = page_rows(c, rows);
    bool with_dictionary = c->spec.kind != QK_PQ_BOOL && make_dictionary(&d, c, present);
    k->encoding = with_dictionary ? QK_PQ_E_RLE_DICTIONARY : QK_PQ_E_PLAIN;
    if (with_dictionary) {
        k->dictionary_offset = (int64_t)w->file.offset;
        qk_buf_add(&w->body, d.entries.data, d.entries.size);
        write_page(w, k, QK_PQ_PAGE_DICTIONARY, d.count, QK_PQ_E_PLAIN);
    }
    k->data_offset = (int64_t)w->file.offset;
    for (size_t row = 0; row < rows; row += step) {
        size_t n = rows - row < step ? rows - row : step, values = write_definitions(w, c, row, n);
        write_values(w, c, &d, k->encoding, at, values);
        write_page(w, k, QK_PQ_PAGE_DATA, n, k->encoding);
        at += values;
    }
    k->values = (int64_t)rows;
    k->nulls = (int64_t)c->nulls;
    if (c->spec.kind == QK_PQ_STRING)
        string_statistics(k, c, present);
    else if (c->spec.kind != QK_PQ_FLOAT)
        number_statistics(k, c, present);
    free(d.indices);
    free(d.slots);
    qk_buf_free(&d.entries);
}

/* Lists are never null and always full: repetition 0 1 1 .., definition 3 everywhere. */
static void write_floats(qk_pq_writer *w, const qk_pq_column_rows *c, qk_pq_chunk_out *k,
                         size_t rows)
{
    size_t d = (size_t)c->spec.list_size, step = page_rows(c, rows);
    const float *values = (const float *)(const void *)c->values.data;
    k->encoding = c->spec.plain ? QK_PQ_E_PLAIN : QK_PQ_E_BYTE_STREAM_SPLIT;
    k->data_offset = (int64_t)w->file.offset;
    for (size_t row = 0; row < rows; row += step) {
        size_t n = rows - row < step ? rows - row : step, at = open_levels(&w->body);
        qk_pq_encode_list_starts(&w->body, n, d);
        close_levels(&w->body, at);
        at = open_levels(&w->body);
        qk_pq_encode_run(&w->body, 3, n * d, 2);
        close_levels(&w->body, at);
        cut(w, w->body.size);
        if (c->spec.plain) {
            qk_buf_add(&w->body, values + row * d, n * d * sizeof(float));
        } else {
            for (size_t byte = 1; byte < 4; byte++) cut(w, w->body.size + byte * n * d);
            qk_pq_encode_split(&w->body, values + row * d, n * d);
        }
        write_page(w, k, QK_PQ_PAGE_DATA, n * d, k->encoding);
    }
    k->values = (int64_t)(rows * d);
}

static void write_group(qk_pq_writer *w)
{
    if (!w->rows) return;
    QK_GROW(w->groups, w->n_groups, w->groups_capacity);
    qk_pq_group_out *g = &w->groups[w->n_groups++];
    *g = (qk_pq_group_out){.rows = (int64_t)w->rows, .offset = (int64_t)w->file.offset};
    g->chunks = qk_zalloc(w->n_columns, sizeof *g->chunks);
    for (size_t i = 0; i < w->n_columns; i++) {
        qk_pq_column_rows *c = &w->columns[i];
        if (c->spec.kind == QK_PQ_FLOATS)
            write_floats(w, c, &g->chunks[i], w->rows);
        else
            write_flat(w, c, &g->chunks[i], w->rows);
        qk_buf_clear(&c->values);
        qk_buf_clear(&c->text);
        qk_buf_clear(&c->valid);
        c->nulls = 0;
    }
    w->total_rows += (int64_t)w->rows;
    w->rows = 0;
}

qk_status qk_pq_append(qk_pq_writer *w, size_t n_rows, const qk_pq_values *values, qk_error *err)
{
    for (size_t at = 0; at < n_rows;) {
        size_t left = w->rows_per_group - w->rows, n = n_rows - at < left ? n_rows - at : left;
        for (size_t i = 0; i < w->n_columns; i++) add_rows(&w->columns[i], &values[i], at, n);
        w->rows += n;
        at += n;
        if (w->rows == w->rows_per_group) write_group(w);
    }
    if (!w->file.error) return QK_OK;
    errno = w->file.error;
    return qk_fail_write(err, "cannot write", w->file.path);
}

void qk_pq_set_metadata(qk_pq_writer *w, const char *key, const char *value)
{
    qk_names_add(&w->keys, key);
    qk_names_add(&w->metadata, value);
}

/* ---- the end ---- */

static void writer_free(qk_pq_writer *w)
{
    for (size_t i = 0; i < w->n_columns; i++) {
        free((char *)w->columns[i].spec.name);
        qk_buf_free(&w->columns[i].values);
        qk_buf_free(&w->columns[i].text);
        qk_buf_free(&w->columns[i].valid);
    }
    for (size_t g = 0; g < w->n_groups; g++) free(w->groups[g].chunks);
    free(w->groups);
    free(w->columns);
    free(w->created_by);
    qk_names_free(&w->keys);
    qk_names_free(&w->metadata);
    ZSTD_freeCCtx(w->zstd);
    qk_buf_free(&w->body);
    qk_buf_free(&w->packed);
    qk_buf_free(&w->numbers);
    free(w);
}

qk_status qk_pq_commit(qk_pq_writer *w, uint64_t *bytes, qk_error *err)
{
    write_group(w);
    qk_pq_write_footer(w);
    if (bytes) *bytes = w->file.offset;
    qk_status s = qk_writer_commit(&w->file, err);
    writer_free(w);
    return s;
}

void qk_pq_abort(qk_pq_writer *w)
{
    if (!w) return;
    qk_writer_abort(&w->file);
    writer_free(w);
}
