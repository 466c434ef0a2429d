/* Walking a column page by page. See parquet_read.h. */
#include "formats/parquet_read.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "formats/parquet_decode.h"
#include "formats/thrift_read.h"

enum { PAGE_DATA = 0, PAGE_INDEX = 1, PAGE_DICTIONARY = 2, PAGE_DATA_V2 = 3 };
enum { E_PLAIN = 0, E_PLAIN_DICTIONARY = 2, E_RLE = 3, E_DELTA = 5, E_DELTA_LENGTH = 6 };
enum { E_DELTA_BYTES = 7, E_RLE_DICTIONARY = 8, E_SPLIT = 9 };

/* Larger pages are refused before memory is taken. */
enum { MOST_PAGE_BYTES = 1 << 30 };

typedef struct page_header {
    int64_t type, uncompressed, compressed, values, encoding, rep_bytes, def_bytes;
    int64_t def_encoding, rep_encoding; /* of v1 levels */
    uint32_t crc;
    bool has_crc, is_compressed;
} page_header;

struct qk_pq_cursor {
    const qk_pq_file *f;
    const qk_pq_leaf *leaf;
    size_t leaf_index, group; /* the next group to open, once the chunk is used up */
    const uint8_t *at, *end;  /* rest of the open chunk; NULL: none is open */
    int64_t chunk_values;     /* still to come in it */
    qk_buf page, dictionary_page;
    qk_buf dictionary; /* slots */
    size_t dictionary_count;
    bool has_dictionary;
    /* the open page */
    qk_buf def, rep, dense, slots, valid, numbers, text;
    size_t values, next_value; /* levels, and how many were handed out */
    size_t next_dense;         /* for lists */
};

qk_status qk_pq_cursor_open(qk_pq_cursor **out, const qk_pq_file *f, size_t leaf, qk_error *err)
{
    QK_ASSERT(leaf < f->n_leaves);
    const qk_pq_leaf *l = &f->leaves[leaf];
    if (l->max_rep > 1 || (l->max_rep == 1 && l->type != QK_PQ_T_FLOAT))
        return qk_fail(err, QK_ERR_UNSUPPORTED, "choose a column of plain values",
                       "%s: column '%s' holds lists", f->path, l->path);
    qk_pq_cursor *c = qk_zalloc(1, sizeof *c);
    c->f = f;
    c->leaf = l;
    c->leaf_index = leaf;
    *out = c;
    return QK_OK;
}

void qk_pq_cursor_close(qk_pq_cursor *c)
{
    if (!c) return;
    qk_buf *const all[] = {&c->page,  &c->dictionary_page, &c->dictionary, &c->def,     &c->rep,
                           &c->dense, &c->slots,           &c->valid,      &c->numbers, &c->text};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) qk_buf_free(all[i]);
    free(c);
}

static qk_status bad(const qk_pq_cursor *c, qk_error *err, const char *what)
{
    size_t offset = c->at ? (size_t)(c->at - c->f->map.data) : 0;
    return qk_fail(err, QK_ERR_FORMAT, "the file is damaged: copy or download it again",
                   "%s: row group %zu, column '%s', byte %zu: %s", c->f->path,
                   c->group ? c->group - 1 : 0, c->leaf->path, offset, what);
}

static void *space(qk_buf *b, size_t n, size_t size)
{
    size_t bytes;
    QK_ASSERT(qk_mul(n, size, &bytes));
    qk_buf_clear(b);
    qk_buf_reserve(b, bytes + 8);
    b->size = bytes;
    return b->data;
}

/* ---- page headers ---- */

static void read_data_header(qk_thrift_in *t, page_header *h, bool v2)
{
    int last = 0, id, type;
    while (qk_thrift_field(t, &last, &id, &type)) {
        if (id == 1)
            h->values = qk_thrift_int(t, type);
        else if (id == (v2 ? 4 : 2))
            h->encoding = qk_thrift_int(t, type);
        else if (!v2 && id == 3)
            h->def_encoding = qk_thrift_int(t, type);
        else if (!v2 && id == 4)
            h->rep_encoding = qk_thrift_int(t, type);
        else if (v2 && id == 5)
            h->def_bytes = qk_thrift_int(t, type);
        else if (v2 && id == 6)
            h->rep_bytes = qk_thrift_int(t, type);
        else if (v2 && id == 7)
            h->is_compressed = qk_thrift_int(t, type) != 0;
        else
            qk_thrift_skip(t, type);
    }
}

static bool read_header(qk_pq_cursor *c, page_header *h)
{
    qk_thrift_in t = {c->at, c->end, 0, false};
    *h = (page_header){
        .type = -1,
        .uncompressed = -1,
        .compressed = -1,
        .values = -1,
        .def_encoding = E_RLE,
        .rep_encoding = E_RLE,
        .is_compressed = true,
    };
    int last = 0, id, type;
    while (qk_thrift_field(&t, &last, &id, &type)) {
        switch (id) {
        case 1: h->type = qk_thrift_int(&t, type); break;
        case 2: h->uncompressed = qk_thrift_int(&t, type); break;
        case 3: h->compressed = qk_thrift_int(&t, type); break;
        case 4:
            h->crc = (uint32_t)qk_thrift_int(&t, type);
            h->has_crc = true;
            break;
        case 5:
        case 7:
        case 8:
            if (qk_thrift_is_struct(&t, type)) read_data_header(&t, h, id == 8);
            break;
        default: qk_thrift_skip(&t, type);
        }
    }
    c->at = t.at;
    return !t.failed && h->type >= 0 && h->uncompressed >= 0 && h->compressed >= 0;
}

/* ---- bodies ---- */

/* The decompressed body in `out`; level bytes of v2 pages stand uncompressed in front. */
static qk_status read_body(qk_pq_cursor *c, const page_header *h, int codec, qk_buf *out,
                           qk_error *err)
{
    size_t plain = h->type == PAGE_DATA_V2 ? (size_t)(h->def_bytes + h->rep_bytes) : 0;
    if (h->compressed > c->end - c->at) return bad(c, err, "a page that ends past its chunk");
    if (h->uncompressed > MOST_PAGE_BYTES) return bad(c, err, "a page over 1 GiB");
    if (h->def_bytes < 0 || h->rep_bytes < 0 || plain > (size_t)h->compressed ||
        plain > (size_t)h->uncompressed)
        return bad(c, err, "levels larger than their page");
    if (h->has_crc && crc32(0, c->at, (uInt)h->compressed) != h->crc)
        return bad(c, err, "a page whose checksum is wrong");
    uint8_t *to = space(out, (size_t)h->uncompressed, 1);
    if (plain) memcpy(to, c->at, plain);
    bool known;
    int how = h->is_compressed ? codec : 0;
    if (!qk_pq_decompress(how, c->at + plain, (size_t)h->compressed - plain, to + plain,
                          (size_t)h->uncompressed - plain, &known)) {
        if (known) return bad(c, err, "a page that does not decompress to its size");
        return qk_fail(err, QK_ERR_UNSUPPORTED, "write the file with zstd, snappy or gzip",
                       "%s: column '%s': codec %s is not read yet", c->f->path, c->leaf->path,
                       qk_pq_codec_name(codec));
    }
    c->at += h->compressed;
    return QK_OK;
}

static qk_status read_dictionary(qk_pq_cursor *c, const page_header *h, int codec, qk_error *err)
{
    if (c->has_dictionary) return bad(c, err, "a second dictionary");
    if (h->encoding != E_PLAIN && h->encoding != E_PLAIN_DICTIONARY)
        return bad(c, err, "a dictionary that is not PLAIN");
    QK_TRY(read_body(c, h, codec, &c->dictionary_page, err));
    if (h->values < 0 || h->values > h->uncompressed * 8)
        return bad(c, err, "a dictionary that lies");
    size_t n = (size_t)h->values;
    void *slots = space(&c->dictionary, n, qk_pq_slot_size(c->leaf->type));
    const uint8_t *at = c->dictionary_page.data, *end = at + c->dictionary_page.size;
    if (!qk_pq_decode_plain(&at, end, c->leaf, n, slots))
        return bad(c, err, "a dictionary cut short");
    c->dictionary_count = n;
    c->has_dictionary = true;
    return QK_OK;
}

/* One list of levels; v1 pages carry its length in front, v2 pages in the header. */
static bool read_levels(const uint8_t **at, const uint8_t *end, int64_t v2_bytes, bool v2, int most,
                        size_t n, qk_buf *out)
{
    uint32_t *levels = space(out, n, 4), length = (uint32_t)v2_bytes;
    if (!most) {
        memset(levels, 0, n * 4);
        return !v2 || !v2_bytes;
    }
    if (!v2) {
        if (end - *at < 4) return false;
        memcpy(&length, *at, 4);
        *at += 4;
    }
    if (length > (size_t)(end - *at)) return false;
    const uint8_t *p = *at, *stop = p + length;
    *at = stop;
    int width = 0;
    while (most >> width) width++;
    return qk_pq_decode_hybrid(&p, stop, width, (uint32_t)most, n, levels);
}

static bool copy_from_dictionary(qk_pq_cursor *c, const uint8_t **at, const uint8_t *end, size_t n,
                                 uint8_t *out)
{
    if (!c->has_dictionary || *at == end) return n == 0;
    int width = *(*at)++;
    uint32_t *indices = space(&c->numbers, n, 4);
    size_t size = qk_pq_slot_size(c->leaf->type);
    if (n && !c->dictionary_count) return false;
    if (!qk_pq_decode_hybrid(at, end, width, (uint32_t)(c->dictionary_count - 1), n, indices))
        return false;
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * size, c->dictionary.data + indices[i] * size, size);
    return true;
}

static bool delta_values(qk_pq_cursor *c, const uint8_t **at, const uint8_t *end, size_t n,
                         void *out)
{
    int64_t *wide = space(&c->numbers, n, 8);
    if (!qk_pq_decode_delta(at, end, n, wide)) return false;
    if (c->leaf->type == QK_PQ_T_INT64) memcpy(out, wide, n * 8);
    for (size_t i = 0; c->leaf->type == QK_PQ_T_INT32 && i < n; i++)
        ((int32_t *)out)[i] = (int32_t)wide[i];
    return c->leaf->type == QK_PQ_T_INT32 || c->leaf->type == QK_PQ_T_INT64;
}

static bool delta_strings(qk_pq_cursor *c, const uint8_t **at, const uint8_t *end, int64_t encoding,
                          size_t n, void *out)
{
    int64_t *lengths = space(&c->numbers, 2 * n, 8);
    if (c->leaf->type != QK_PQ_T_BYTES) return false;
    if (encoding == E_DELTA_LENGTH) return qk_pq_decode_delta_length(at, end, n, lengths, out);
    return qk_pq_decode_delta_bytes(at, end, n, lengths, &c->text, out);
}

static bool rle_booleans(qk_pq_cursor *c, const uint8_t **at, const uint8_t *end, size_t n,
                         uint8_t *out)
{
    uint32_t *bits = space(&c->numbers, n, 4);
    if (c->leaf->type != QK_PQ_T_BOOLEAN || end - *at < 4) return false;
    *at += 4; /* their length, which the page's end says as well */
    if (!qk_pq_decode_hybrid(at, end, 1, 1, n, bits)) return false;
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)bits[i];
    return true;
}

static qk_status decode_values(qk_pq_cursor *c, const uint8_t *at, const uint8_t *end,
                               int64_t encoding, size_t n, qk_error *err)
{
    size_t size = qk_pq_slot_size(c->leaf->type);
    uint8_t *out = space(&c->dense, n, size);
    bool ok;
    switch (encoding) {
    case E_PLAIN: ok = qk_pq_decode_plain(&at, end, c->leaf, n, out); break;
    case E_PLAIN_DICTIONARY:
    case E_RLE_DICTIONARY: ok = copy_from_dictionary(c, &at, end, n, out); break;
    case E_DELTA: ok = delta_values(c, &at, end, n, out); break;
    case E_RLE: ok = rle_booleans(c, &at, end, n, out); break;
    case E_DELTA_LENGTH:
    case E_DELTA_BYTES: ok = delta_strings(c, &at, end, encoding, n, out); break;
    case E_SPLIT: ok = size <= 8 && size > 1 && qk_pq_decode_split(&at, end, size, n, out); break;
    default: {
        const char *name = qk_pq_encoding_name((int)encoding);
        return qk_fail(err, QK_ERR_UNSUPPORTED, "write the file with another encoding",
                       "%s: column '%s': encoding %s is not read yet", c->f->path, c->leaf->path,
                       name ? name : "unknown");
    }
    }
    return ok ? QK_OK : bad(c, err, "values that do not fill their page");
}

/* One slot per row from the values that are not null. */
static void spread(qk_pq_cursor *c, size_t n)
{
    size_t size = qk_pq_slot_size(c->leaf->type);
    const uint32_t *def = (const uint32_t *)(const void *)c->def.data;
    uint8_t *valid = space(&c->valid, n, 1), *slots = space(&c->slots, n, size);
    const uint8_t *from = c->dense.data;
    for (size_t i = 0; i < n; i++) {
        valid[i] = def[i] == (uint32_t)c->leaf->max_def;
        if (valid[i])
            memcpy(slots + i * size, from, size), from += size;
        else
            memset(slots + i * size, 0, size);
    }
}

static qk_status read_data(qk_pq_cursor *c, const page_header *h, int codec, qk_error *err)
{
    bool v2 = h->type == PAGE_DATA_V2;
    if (h->values < 0 || h->values > c->chunk_values)
        return bad(c, err, "more values than the chunk has");
    if ((c->leaf->max_def && h->def_encoding != E_RLE) ||
        (c->leaf->max_rep && h->rep_encoding != E_RLE))
        return bad(c, err, "levels of an unknown encoding");
    QK_TRY(read_body(c, h, codec, &c->page, err));
    size_t n = (size_t)h->values, present = 0;
    const uint8_t *at = c->page.data, *end = at + c->page.size;
    if (!read_levels(&at, end, h->rep_bytes, v2, c->leaf->max_rep, n, &c->rep) ||
        !read_levels(&at, end, h->def_bytes, v2, c->leaf->max_def, n, &c->def))
        return bad(c, err, "levels that make no sense");
    const uint32_t *def = (const uint32_t *)(const void *)c->def.data;
    for (size_t i = 0; i < n; i++) present += def[i] == (uint32_t)c->leaf->max_def;
    QK_TRY(decode_values(c, at, end, h->encoding, present, err));
    if (!c->leaf->max_rep) spread(c, n);
    c->chunk_values -= h->values;
    c->values = n;
    c->next_value = c->next_dense = 0;
    return QK_OK;
}

static qk_status open_chunk(qk_pq_cursor *c, qk_error *err)
{
    const qk_pq_chunk *k = &c->f->groups[c->group].chunks[c->leaf_index];
    int64_t begin = k->dictionary_offset > 0 && k->dictionary_offset < k->data_offset
                        ? k->dictionary_offset
                        : k->data_offset;
    int64_t size = (int64_t)c->f->map.size, rows = c->f->groups[c->group].rows;
    c->group++;
    if (!k->values &&
        (!rows || c->leaf->max_rep)) { /* nothing is stored, whatever the offsets say */
        c->chunk_values = 0;
        return QK_OK;
    }
    if (begin < 4 || begin > size || k->compressed < 0 || k->compressed > size - begin ||
        k->values < 0)
        return bad(c, err, "a column chunk outside the file");
    if (!c->leaf->max_rep && k->values != rows)
        return bad(c, err, "another number of values than rows");
    c->at = c->f->map.data + begin;
    c->end = c->at + k->compressed;
    c->chunk_values = k->values;
    c->has_dictionary = false;
    return QK_OK;
}

/* Opens the next page with values; *more is false at the end of the file. */
static qk_status next_page(qk_pq_cursor *c, bool *more, qk_error *err)
{
    for (*more = true;;) {
        if (!c->at || !c->chunk_values) {
            if (c->group == c->f->n_groups) return *more = false, QK_OK;
            QK_TRY(open_chunk(c, err));
            continue;
        }
        page_header h;
        int codec = c->f->groups[c->group - 1].chunks[c->leaf_index].codec;
        if (c->at == c->end || !read_header(c, &h)) return bad(c, err, "a damaged page header");
        if (h.type == PAGE_DICTIONARY) {
            QK_TRY(read_dictionary(c, &h, codec, err));
        } else if (h.type == PAGE_DATA || h.type == PAGE_DATA_V2) {
            QK_TRY(read_data(c, &h, codec, err));
            if (c->values) return QK_OK;
        } else {
            if (h.compressed > c->end - c->at)
                return bad(c, err, "a page that ends past its chunk");
            c->at += h.compressed; /* an index page: not needed */
        }
    }
}

/* ---- rows ---- */

qk_status qk_pq_next(qk_pq_cursor *c, size_t most, qk_pq_batch *batch, qk_error *err)
{
    QK_ASSERT(!c->leaf->max_rep);
    *batch = (qk_pq_batch){0};
    bool more = true;
    if (c->next_value == c->values) QK_TRY(next_page(c, &more, err));
    if (!more) return QK_OK;
    size_t n = c->values - c->next_value < most ? c->values - c->next_value : most;
    *batch = (qk_pq_batch){n, c->slots.data + c->next_value * qk_pq_slot_size(c->leaf->type),
                           c->valid.data + c->next_value};
    c->next_value += n;
    return QK_OK;
}

qk_status qk_pq_next_floats(qk_pq_cursor *c, size_t list_size, size_t most, const float **values,
                            size_t *n, qk_error *err)
{
    QK_ASSERT(c->leaf->max_rep == 1 && c->leaf->type == QK_PQ_T_FLOAT && list_size);
    *n = 0;
    bool more = true;
    if (c->next_value == c->values) QK_TRY(next_page(c, &more, err));
    if (!more) return QK_OK;
    /* Rows of a page are whole in files of fixed-size lists; all levels are checked. */
    const uint32_t *rep = (const uint32_t *)(const void *)c->rep.data;
    const uint32_t *def = (const uint32_t *)(const void *)c->def.data;
    size_t rows = (c->values - c->next_value) / list_size;
    if (rows * list_size != c->values - c->next_value)
        return bad(c, err, "a list of another length");
    if (rows > most) rows = most;
    for (size_t i = c->next_value; i < c->next_value + rows * list_size; i++)
        if (rep[i] != ((i - c->next_value) % list_size != 0) ||
            def[i] != (uint32_t)c->leaf->max_def)
            return bad(c, err, "a list of another length, or with nulls");
    *values = (const float *)(const void *)c->dense.data + c->next_dense;
    *n = rows;
    c->next_value += rows * list_size;
    c->next_dense += rows * list_size;
    return QK_OK;
}

qk_status qk_pq_skip(qk_pq_cursor *c, int64_t rows, qk_error *err)
{
    QK_ASSERT(!c->leaf->max_rep);
    while (rows > 0) {
        bool between = c->next_value == c->values && (!c->at || !c->chunk_values);
        if (between && c->group < c->f->n_groups && c->f->groups[c->group].rows <= rows) {
            rows -= c->f->groups[c->group++].rows;
            continue;
        }
        qk_pq_batch batch;
        QK_TRY(qk_pq_next(c, rows < 1 << 20 ? (size_t)rows : 1 << 20, &batch, err));
        if (!batch.n) return QK_OK;
        rows -= (int64_t)batch.n;
    }
    return QK_OK;
}
