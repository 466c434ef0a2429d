/* See parquet_write.h. From top to bottom: buffering rows, pages, chunks, row groups, footer. */
#include "formats/parquet_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "formats/arrow_schema.h"
#include "formats/parquet_encode.h"
#include "formats/thrift_write.h"

/* Numbers of parquet.thrift. */
enum { T_BOOLEAN = 0, T_INT32 = 1, T_INT64 = 2, T_FLOAT = 4, T_BYTE_ARRAY = 6 };
enum { E_PLAIN = 0, E_RLE = 3, E_DELTA = 5, E_RLE_DICTIONARY = 8, E_BYTE_STREAM_SPLIT = 9 };
enum { PAGE_DATA = 0, PAGE_DICTIONARY = 2, CODEC_ZSTD = 6, OPTIONAL = 1, REPEATED = 2 };

/* A page holds about this many bytes before compression. */
enum { PAGE_BYTES = 1 << 20, DICTIONARY_BYTES = 1 << 20, LONGEST_STATISTIC = 64 };

/* zstd for most pages. Bytes of floats hardly repeat: what looks for matches there loses time, and
 * takes short chance matches that cost more than plain literals, so the table of places is small.
 */
enum { LEVEL = 3, SPLIT_LEVEL = 1, SPLIT_HASH_LOG = 10 };

/* One column's rows of the open row group. */
typedef struct column {
    qk_pq_column spec;
    qk_buf values; /* int64_t for integers and booleans, float, or string offsets (uint32_t) */
    qk_buf text;   /* strings end to end */
    qk_buf valid;  /* one byte per row */
    size_t nulls;
} column;

/* What the footer says of one chunk. */
typedef struct chunk {
    int64_t values, uncompressed, compressed, data_offset, dictionary_offset, nulls;
    int encoding;
    char least[LONGEST_STATISTIC], most[LONGEST_STATISTIC];
    size_t least_size, most_size; /* 0 and 0: no statistics but the count of nulls */
} chunk;

typedef struct group {
    int64_t rows, offset;
    chunk *chunks;
} group;

struct qk_pq_writer {
    qk_writer file;
    column *columns;
    size_t n_columns, rows_per_group, rows;
    int64_t total_rows;
    group *groups;
    size_t n_groups, groups_capacity;
    qk_names keys, metadata;
    char *created_by;
    ZSTD_CCtx *zstd;
    qk_buf body, packed, numbers; /* reused by pages */
    size_t cuts[4], n_cuts;       /* offsets in body where a new kind of bytes begins */
};

static bool is_number(const column *c)
{
    return c->spec.kind == QK_PQ_INT32 || c->spec.kind == QK_PQ_INT64 || c->spec.kind == QK_PQ_BOOL;
}

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

static void add_row(column *c, const qk_pq_values *v, size_t i)
{
    bool valid = !v->valid || v->valid[i];
    int64_t number = 0;
    const char *text = NULL;
    switch (c->spec.kind) {
    case QK_PQ_INT32: number = ((const int32_t *)v->data)[i]; break;
    case QK_PQ_INT64: number = ((const int64_t *)v->data)[i]; break;
    case QK_PQ_BOOL: number = ((const uint8_t *)v->data)[i] != 0; break;
    case QK_PQ_STRING:
        text = valid ? ((const char *const *)v->data)[i] : NULL;
        valid = text != NULL;
        break;
    case QK_PQ_FLOATS: return;
    }
    qk_buf_add_byte(&c->valid, valid);
    c->nulls += !valid;
    if (valid && text) {
        uint32_t at = (uint32_t)c->text.size;
        qk_buf_add(&c->values, &at, 4);
        qk_buf_add(&c->text, text, strlen(text) + 1);
    } else if (valid) {
        qk_buf_add(&c->values, &number, 8);
    }
}

static void add_rows(column *c, const qk_pq_values *v, size_t first, size_t n)
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
    if (kind == QK_PQ_INT32) {
        for (size_t i = 0; i < n; i++) qk_buf_add(out, &(int32_t){(int32_t)values[i]}, 4);
        return;
    }
    for (size_t i = 0; i < n; i += 8) { /* booleans: bits, the first one lowest */
        uint8_t bits = 0;
        for (size_t k = 0; k < 8 && i + k < n; k++) bits |= (uint8_t)(values[i + k] << k);
        qk_buf_add_byte(out, bits);
    }
}

static void plain_string(qk_buf *out, const char *text)
{
    uint32_t n = (uint32_t)strlen(text);
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
static void write_page(qk_pq_writer *w, chunk *c, int type, size_t v, int encoding)
{
    pack_page(w, encoding == E_BYTE_STREAM_SPLIT);
    size_t size = w->packed.size;
    qk_thrift_out t = {0};
    qk_thrift_begin(&t, 0);
    qk_thrift_i32(&t, 1, type);
    qk_thrift_i32(&t, 2, (int32_t)w->body.size);
    qk_thrift_i32(&t, 3, (int32_t)size);
    qk_thrift_i32(&t, 4, (int32_t)crc32(0, w->packed.data, (uInt)size));
    qk_thrift_begin(&t, type == PAGE_DATA ? 5 : 7);
    qk_thrift_i32(&t, 1, (int32_t)v);
    qk_thrift_i32(&t, 2, encoding);
    if (type == PAGE_DATA) qk_thrift_i32(&t, 3, E_RLE);
    if (type == PAGE_DATA) qk_thrift_i32(&t, 4, E_RLE);
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
static size_t write_definitions(qk_pq_writer *w, const column *c, size_t first, size_t n)
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

static uint64_t hash(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint64_t h = 0xCBF29CE484222325; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001B3;
    return h ^ h >> 29;
}

static const void *value_at(const column *c, size_t i, size_t *n)
{
    if (c->spec.kind != QK_PQ_STRING) {
        *n = 8;
        return c->values.data + 8 * i;
    }
    const char *text =
        (const char *)c->text.data + ((const uint32_t *)(const void *)c->values.data)[i];
    *n = strlen(text);
    return text;
}

static void add_entry(dictionary *d, const column *c, const void *value)
{
    if (c->spec.kind == QK_PQ_STRING)
        plain_string(&d->entries, value);
    else
        plain_numbers(&d->entries, c->spec.kind, value, 1);
    d->count++;
}

/* false when it does not pay: too many different values. */
static bool make_dictionary(dictionary *d, const column *c, size_t n)
{
    size_t most = n / 2 < 65536 ? n / 2 : 65536;
    *d = (dictionary){.indices = qk_alloc(n, 4), .n_slots = 16};
    while (d->n_slots < 4 * (most + 1)) d->n_slots *= 2;
    d->slots = qk_zalloc(d->n_slots, sizeof *d->slots);
    for (size_t i = 0; i < n; i++) {
        size_t size, other_size;
        const void *value = value_at(c, i, &size);
        size_t at = hash(value, size) & (d->n_slots - 1);
        for (; d->slots[at]; at = (at + 1) & (d->n_slots - 1)) {
            const void *other = value_at(c, d->slots[at] - 1, &other_size);
            if (size == other_size && !memcmp(value, other, size)) break;
        }
        if (d->slots[at]) {
            d->indices[i] = d->indices[d->slots[at] - 1];
            continue;
        }
        if (d->count == most || d->entries.size > DICTIONARY_BYTES) return false;
        d->slots[at] = i + 1;
        d->indices[i] = (uint32_t)d->count;
        add_entry(d, c, value);
    }
    return d->count > 0;
}

static void free_dictionary(dictionary *d)
{
    free(d->indices);
    free(d->slots);
    qk_buf_free(&d->entries);
}

/* ---- statistics ---- */

static void number_statistics(chunk *k, const column *c, size_t n)
{
    const int64_t *v = (const int64_t *)(const void *)c->values.data;
    if (!n) return;
    int64_t least = v[0], most = v[0];
    for (size_t i = 1; i < n; i++) {
        if (v[i] < least) least = v[i];
        if (v[i] > most) most = v[i];
    }
    qk_buf bytes = {0};
    plain_numbers(&bytes, c->spec.kind, &least, 1);
    memcpy(k->least, bytes.data, k->least_size = bytes.size);
    qk_buf_clear(&bytes);
    plain_numbers(&bytes, c->spec.kind, &most, 1);
    memcpy(k->most, bytes.data, k->most_size = bytes.size);
    qk_buf_free(&bytes);
}

/* Byte order, as the UTF8 column order says; long strings are left out rather than cut. */
static void string_statistics(chunk *k, const column *c, size_t n)
{
    const char *least = NULL, *most = NULL;
    size_t size;
    for (size_t i = 0; i < n; i++) {
        const char *text = value_at(c, i, &size);
        if (!least || strcmp(text, least) < 0) least = text;
        if (!most || strcmp(text, most) > 0) most = text;
    }
    if (!n || strlen(least) > LONGEST_STATISTIC || strlen(most) > LONGEST_STATISTIC) return;
    memcpy(k->least, least, k->least_size = strlen(least));
    memcpy(k->most, most, k->most_size = strlen(most));
}

/* ---- chunks ---- */

/* Values first .. first + n - 1 into the page's body. */
static void write_values(qk_pq_writer *w, const column *c, const dictionary *d, int encoding,
                         size_t first, size_t n)
{
    const int64_t *numbers = (const int64_t *)(const void *)c->values.data + first;
    if (encoding == E_RLE_DICTIONARY) {
        int width = qk_pq_bit_width((uint32_t)d->count - 1);
        qk_buf_add_byte(&w->body, (uint8_t)width);
        qk_pq_encode_hybrid(&w->body, d->indices + first, n, width);
    } else if (encoding == E_DELTA) {
        qk_pq_encode_delta(&w->body, numbers, n);
    } else if (c->spec.kind == QK_PQ_STRING) {
        size_t size;
        for (size_t i = first; i < first + n; i++) plain_string(&w->body, value_at(c, i, &size));
    } else {
        plain_numbers(&w->body, c->spec.kind, numbers, n);
    }
}

/* Rows of a page: a fixed number, so that cuts depend on nothing else. */
static size_t page_rows(const column *c, size_t rows)
{
    if (c->spec.kind == QK_PQ_STRING) {
        size_t mean = c->text.size / (rows ? rows : 1) + 4, n = PAGE_BYTES / mean;
        return n ? n : 1;
    }
    size_t bytes = c->spec.kind == QK_PQ_FLOATS ? 4 * (size_t)c->spec.list_size : 8;
    return bytes < PAGE_BYTES ? PAGE_BYTES / bytes : 1;
}

static void write_flat(qk_pq_writer *w, column *c, chunk *k, size_t rows)
{
    dictionary d = {0};
    size_t present = rows - c->nulls, at = 0, step = page_rows(c, rows);
    bool with_dictionary = c->spec.kind != QK_PQ_BOOL && make_dictionary(&d, c, present);
    k->encoding = with_dictionary                              ? E_RLE_DICTIONARY
                  : is_number(c) && c->spec.kind != QK_PQ_BOOL ? E_DELTA
                                                               : E_PLAIN;
    if (with_dictionary) {
        k->dictionary_offset = (int64_t)w->file.offset;
        qk_buf_add(&w->body, d.entries.data, d.entries.size);
        write_page(w, k, PAGE_DICTIONARY, d.count, E_PLAIN);
    }
    k->data_offset = (int64_t)w->file.offset;
    for (size_t row = 0; row < rows; row += step) {
        size_t n = rows - row < step ? rows - row : step, values = write_definitions(w, c, row, n);
        write_values(w, c, &d, k->encoding, at, values);
        write_page(w, k, PAGE_DATA, n, k->encoding);
        at += values;
    }
    k->values = (int64_t)rows;
    k->nulls = (int64_t)c->nulls;
    if (is_number(c))
        number_statistics(k, c, present);
    else
        string_statistics(k, c, present);
    free_dictionary(&d);
}

/* Lists are never null and always full: repetition 0 1 1 .., definition 3 everywhere. */
static void write_floats(qk_pq_writer *w, const column *c, chunk *k, size_t rows)
{
    size_t d = (size_t)c->spec.list_size, step = page_rows(c, rows);
    const float *values = (const float *)(const void *)c->values.data;
    k->encoding = c->spec.plain ? E_PLAIN : E_BYTE_STREAM_SPLIT;
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
        write_page(w, k, PAGE_DATA, n * d, k->encoding);
    }
    k->values = (int64_t)(rows * d);
}

static void write_group(qk_pq_writer *w)
{
    if (!w->rows) return;
    QK_GROW(w->groups, w->n_groups, w->groups_capacity);
    group *g = &w->groups[w->n_groups++];
    *g = (group){.rows = (int64_t)w->rows, .offset = (int64_t)w->file.offset};
    g->chunks = qk_zalloc(w->n_columns, sizeof *g->chunks);
    for (size_t i = 0; i < w->n_columns; i++) {
        column *c = &w->columns[i];
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
        size_t room = w->rows_per_group - w->rows, n = n_rows - at < room ? n_rows - at : room;
        for (size_t i = 0; i < w->n_columns; i++) add_rows(&w->columns[i], &values[i], at, n);
        w->rows += n;
        at += n;
        if (w->rows == w->rows_per_group) write_group(w);
    }
    if (!w->file.error) return QK_OK;
    errno = w->file.error;
    return qk_fail_errno(err, "cannot write", w->file.path);
}

void qk_pq_set_metadata(qk_pq_writer *w, const char *key, const char *value)
{
    qk_names_add(&w->keys, key);
    qk_names_add(&w->metadata, value);
}

/* ---- footer ---- */

static int physical_type(qk_pq_kind kind)
{
    static const int types[] = {T_INT32, T_INT64, T_BOOLEAN, T_BYTE_ARRAY, T_FLOAT};
    return types[kind];
}

/* type -1: a group; logical: the field of the union LogicalType, 0: none. */
static void schema_element(qk_thrift_out *t, const char *name, int type, int repetition,
                           int children, int converted, int logical)
{
    qk_thrift_begin(t, 0);
    if (type >= 0) qk_thrift_i32(t, 1, type);
    if (repetition >= 0) qk_thrift_i32(t, 3, repetition);
    qk_thrift_str(t, 4, name);
    if (children) qk_thrift_i32(t, 5, children);
    if (converted >= 0) qk_thrift_i32(t, 6, converted);
    if (logical) {
        qk_thrift_begin(t, 10);
        qk_thrift_begin(t, logical);
        qk_thrift_end(t);
        qk_thrift_end(t);
    }
    qk_thrift_end(t);
}

enum { CONVERTED_UTF8 = 0, CONVERTED_LIST = 3, LOGICAL_STRING = 1, LOGICAL_LIST = 3 };

static void write_schema(qk_thrift_out *t, const qk_pq_writer *w)
{
    size_t n = 1 + w->n_columns;
    for (size_t i = 0; i < w->n_columns; i++) n += w->columns[i].spec.kind == QK_PQ_FLOATS ? 2 : 0;
    qk_thrift_list(t, 2, QK_THRIFT_STRUCT, n);
    schema_element(t, "schema", -1, -1, (int)w->n_columns, -1, 0);
    for (size_t i = 0; i < w->n_columns; i++) {
        const qk_pq_column *c = &w->columns[i].spec;
        if (c->kind == QK_PQ_FLOATS) {
            schema_element(t, c->name, -1, OPTIONAL, 1, CONVERTED_LIST, LOGICAL_LIST);
            schema_element(t, "list", -1, REPEATED, 1, -1, 0);
            schema_element(t, "element", T_FLOAT, OPTIONAL, 0, -1, 0);
        } else if (c->kind == QK_PQ_STRING) {
            schema_element(t, c->name, T_BYTE_ARRAY, OPTIONAL, 0, CONVERTED_UTF8, LOGICAL_STRING);
        } else {
            schema_element(t, c->name, physical_type(c->kind), OPTIONAL, 0, -1, 0);
        }
    }
}

static void write_statistics(qk_thrift_out *t, const chunk *k)
{
    qk_thrift_begin(t, 12);
    qk_thrift_i64(t, 3, k->nulls);
    if (k->least_size || k->most_size) {
        qk_thrift_bytes(t, 5, k->most, k->most_size);
        qk_thrift_bytes(t, 6, k->least, k->least_size);
    }
    qk_thrift_end(t);
}

static void write_chunk(qk_thrift_out *t, const qk_pq_column *c, const chunk *k)
{
    bool list = c->kind == QK_PQ_FLOATS;
    qk_thrift_begin(t, 0);
    qk_thrift_i64(t, 2, 0); /* file_offset: 0 by today's reading of the format */
    qk_thrift_begin(t, 3);
    qk_thrift_i32(t, 1, physical_type(c->kind));
    qk_thrift_list(t, 2, QK_THRIFT_I32, k->dictionary_offset ? 3 : 2);
    qk_thrift_item_i32(t, E_RLE);
    qk_thrift_item_i32(t, k->encoding);
    if (k->dictionary_offset) qk_thrift_item_i32(t, E_PLAIN);
    qk_thrift_list(t, 3, QK_THRIFT_BINARY, list ? 3 : 1);
    qk_thrift_item_str(t, c->name);
    if (list) qk_thrift_item_str(t, "list");
    if (list) qk_thrift_item_str(t, "element");
    qk_thrift_i32(t, 4, CODEC_ZSTD);
    qk_thrift_i64(t, 5, k->values);
    qk_thrift_i64(t, 6, k->uncompressed);
    qk_thrift_i64(t, 7, k->compressed);
    qk_thrift_i64(t, 9, k->data_offset);
    if (k->dictionary_offset) qk_thrift_i64(t, 11, k->dictionary_offset);
    write_statistics(t, k);
    qk_thrift_end(t);
    qk_thrift_end(t);
}

static void write_group_metadata(qk_thrift_out *t, const qk_pq_writer *w, const group *g, size_t i)
{
    int64_t uncompressed = 0, compressed = 0;
    qk_thrift_begin(t, 0);
    qk_thrift_list(t, 1, QK_THRIFT_STRUCT, w->n_columns);
    for (size_t c = 0; c < w->n_columns; c++) {
        write_chunk(t, &w->columns[c].spec, &g->chunks[c]);
        uncompressed += g->chunks[c].uncompressed;
        compressed += g->chunks[c].compressed;
    }
    qk_thrift_i64(t, 2, uncompressed);
    qk_thrift_i64(t, 3, g->rows);
    qk_thrift_i64(t, 5, g->offset);
    qk_thrift_i64(t, 6, compressed);
    if (i <= INT16_MAX) qk_thrift_i16(t, 7, (int16_t)i);
    qk_thrift_end(t);
}

static void write_metadata(qk_thrift_out *t, const qk_pq_writer *w)
{
    qk_thrift_list(t, 5, QK_THRIFT_STRUCT, w->keys.count);
    for (size_t i = 0; i < w->keys.count; i++) {
        qk_thrift_begin(t, 0);
        qk_thrift_str(t, 1, w->keys.items[i]);
        qk_thrift_str(t, 2, w->metadata.items[i]);
        qk_thrift_end(t);
    }
}

static void write_footer(qk_pq_writer *w)
{
    qk_thrift_out t = {0};
    qk_pq_column *columns = qk_alloc(w->n_columns, sizeof *columns);
    for (size_t i = 0; i < w->n_columns; i++) columns[i] = w->columns[i].spec;
    char *arrow = qk_arrow_schema(columns, w->n_columns);
    qk_pq_set_metadata(w, "ARROW:schema", arrow);
    free(arrow);
    free(columns);
    qk_thrift_begin(&t, 0);
    qk_thrift_i32(&t, 1, 2);
    write_schema(&t, w);
    qk_thrift_i64(&t, 3, w->total_rows);
    qk_thrift_list(&t, 4, QK_THRIFT_STRUCT, w->n_groups);
    for (size_t g = 0; g < w->n_groups; g++) write_group_metadata(&t, w, &w->groups[g], g);
    write_metadata(&t, w);
    qk_thrift_str(&t, 6, w->created_by);
    qk_thrift_list(&t, 7, QK_THRIFT_STRUCT, w->n_columns);
    for (size_t i = 0; i < w->n_columns; i++) { /* ColumnOrder: TYPE_ORDER */
        qk_thrift_begin(&t, 0);
        qk_thrift_begin(&t, 1);
        qk_thrift_end(&t);
        qk_thrift_end(&t);
    }
    qk_thrift_end(&t);
    uint32_t size = (uint32_t)t.buf.size;
    qk_writer_add(&w->file, t.buf.data, t.buf.size);
    qk_writer_add(&w->file, &size, 4);
    qk_writer_add(&w->file, "PAR1", 4);
    qk_buf_free(&t.buf);
}

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
    write_footer(w);
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
