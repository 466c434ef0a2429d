/* A cursor: from page to page, and the rows of flat columns. See parquet_read.h. */
#include "formats/parquet_cursor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"

/* READ_BYTES: the file is read in pieces of at least this, so that small pages come several at a
 * time and large ones that are passed over cost no more. */
enum { MAX_ROWS = 65536, READ_BYTES = 64 << 10, MAX_PAGE_HEADER = 16 << 20, SHORT_BYTES = 100 };

qk_status qk_pq_cursor_fail(const qk_pq_cursor *c, qk_error *err)
{
    qk_pq_file_blame(c->file, err);
    return qk_error_prefix(err, "%s: row group %zu, column '%s', byte %llu", c->file->path,
                           c->next_group - 1, c->leaf->path, (unsigned long long)c->page_at);
}

/* ---- opening ---- */

static qk_status check_offsets(const qk_pq_file *f, const qk_pq_chunk *k, qk_error *err)
{
    int64_t begin = k->data_offset, limit = (int64_t)f->footer_at;
    if (begin < 0 || k->dictionary_offset < 0)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the page offset is negative");
    if (k->dictionary_offset > 0 && k->dictionary_offset < begin) begin = k->dictionary_offset;
    if (begin < 4)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the page offset %lld is inside the magic bytes",
                       (long long)begin);
    if (k->compressed < 0)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the size of the column chunk is negative");
    if (begin > limit || k->compressed > limit - begin)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "the column chunk, %lld bytes at %lld, runs into the footer at %lld",
                       (long long)k->compressed, (long long)begin, (long long)limit);
    return QK_OK;
}

/* No file but this one is ever opened. Its own name may be there, without folders or with those it
 * is in. */
static qk_status check_file(const qk_pq_file *f, const qk_pq_chunk *k, qk_error *err)
{
    const char *name = k->file ? k->file : "";
    while (!strncmp(name, "./", 2)) name += 2;
    size_t n = strlen(name), all = strlen(f->path);
    bool ends = n <= all && !strcmp(f->path + all - n, name);
    if (!n || (ends && (n == all || f->path[all - n - 1] == '/'))) return QK_OK;
    return qk_fail(err, QK_ERR_UNSUPPORTED,
                   "name the files with the rows themselves; if this is one of them under a new "
                   "name, give it the old one",
                   "the column chunk is in another file ('%.200s'), which is not supported", name);
}

static qk_status check_chunk(const qk_pq_file *f, const qk_pq_leaf *leaf, const qk_pq_group *g,
                             const qk_pq_chunk *k, qk_error *err)
{
    const char *type = qk_pq_type_name(k->type);
    if (k->is_encrypted)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "write it without encryption, where its keys are",
                       "the column is encrypted");
    if (!k->has_metadata)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the column chunk has no metadata");
    QK_TRY(check_file(f, k, err));
    if (k->type != (int32_t)leaf->type)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the column chunk says %s, the schema %s",
                       type ? type : "no known type", qk_pq_type_name((int)leaf->type));
    /* Chunks come in the order of the columns. A program that renamed one in the schema may have
     * left its old name here, but not that of another column. */
    for (size_t i = 0; strcmp(k->path, leaf->path) != 0 && i < f->n_leaves; i++)
        if (!strcmp(k->path, f->leaves[i].path))
            return qk_fail(err, QK_ERR_FORMAT, NULL, "the column chunk is that of '%.200s'",
                           k->path);
    QK_TRY(qk_codec_check(k->codec, err));
    if (k->values < 0)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the column chunk has a negative value count");
    if (leaf->max_rep ? k->values < g->rows : k->values != g->rows)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the column chunk has %lld values for %lld rows",
                       (long long)k->values, (long long)g->rows);
    return check_offsets(f, k, err);
}

qk_status qk_pq_cursor_open(qk_pq_cursor **out, const qk_pq_file *f, size_t index, qk_error *err)
{
    *out = NULL;
    QK_ASSERT(index < f->n_leaves);
    const qk_pq_leaf *leaf = &f->leaves[index];
    for (size_t i = 0; i < f->n_groups; i++) {
        const qk_pq_group *g = &f->groups[i];
        if (g->rows == 0 || check_chunk(f, leaf, g, &g->chunks[index], err) == QK_OK) continue;
        qk_pq_file_blame(f, err);
        return qk_error_prefix(err, "%s: row group %zu, column '%s'", f->path, i, leaf->path);
    }
    qk_pq_cursor *c = qk_zalloc(1, sizeof *c);
    c->file = f;
    c->leaf = leaf;
    c->column = index;
    if (leaf->max_rep) {
        c->repetitions = qk_alloc(QK_PQ_PIECE, sizeof *c->repetitions);
        c->definitions = qk_alloc(QK_PQ_PIECE, sizeof *c->definitions);
        c->elements = qk_alloc(QK_PQ_PIECE, sizeof *c->elements);
    }
    *out = c;
    return QK_OK;
}

void qk_pq_cursor_close(qk_pq_cursor *c)
{
    if (!c) return;
    qk_pq_dictionary_free(&c->dictionary);
    qk_pq_decoder_free(&c->decoder);
    free(c->page_scratch.data);
    free(c->packed.data);
    free(c->dictionary_scratch.data);
    free(c->values.data);
    free(c->valid.data);
    free(c->repetitions);
    free(c->definitions);
    free(c->elements);
    free(c);
}

/* ---- pages ---- */

/* Bytes [at, at + n) of the current chunk; valid until the next call. */
static qk_status fetch(qk_pq_cursor *c, uint64_t at, size_t n, const uint8_t **out, qk_error *err)
{
    bool here = at >= c->packed_at && at + n <= c->packed_at + c->packed_n;
    if (!here) {
        uint64_t left = c->end - at;
        size_t more = n < READ_BYTES ? READ_BYTES : n;
        if (more > left) more = (size_t)left;
        c->packed_n = 0;
        QK_TRY(qk_pq_scratch_reserve(&c->packed, more, "a packed page", err));
        QK_TRY(qk_input_read(&c->file->in, at, c->packed.data, more, err));
        c->packed_at = at;
        c->packed_n = more;
    }
    *out = (const uint8_t *)c->packed.data + (at - c->packed_at);
    return QK_OK;
}

/* The header of the page at c->at, whose length only reading it tells. */
static qk_status read_header(qk_pq_cursor *c, qk_pq_page *page, size_t *header, qk_error *err)
{
    uint64_t left = c->end - c->at;
    for (size_t n = READ_BYTES;; n *= 4) {
        const uint8_t *bytes;
        bool all = n >= left || n >= MAX_PAGE_HEADER;
        if (n > left) n = (size_t)left;
        QK_TRY(fetch(c, c->at, n, &bytes, err));
        qk_status s = qk_pq_page_read(page, bytes, n, left, header, err);
        if (s == QK_OK || all) return s;
    }
}

/* Row groups without rows need not have pages. */
static bool next_group(qk_pq_cursor *c)
{
    const qk_pq_file *f = c->file;
    c->page_at = c->at;
    while (c->next_group < f->n_groups && !f->groups[c->next_group].rows) c->next_group++;
    if (c->next_group == f->n_groups) return false;
    const qk_pq_group *g = &f->groups[c->next_group++];
    const qk_pq_chunk *k = &g->chunks[c->column];
    int64_t begin = k->data_offset;
    if (k->dictionary_offset > 0 && k->dictionary_offset < begin) begin = k->dictionary_offset;
    c->at = c->page_at = (uint64_t)begin;
    c->end = c->at + (uint64_t)k->compressed;
    if (f->short_chunks) /* by the header of a dictionary page, which is a few bytes */
        c->end = c->end + SHORT_BYTES < f->footer_at ? c->end + SHORT_BYTES : f->footer_at;
    c->packed_n = 0;
    c->chunk_left = k->values;
    c->rows_left = g->rows;
    qk_pq_dictionary_free(&c->dictionary);
    return true;
}

static qk_status load_dictionary(qk_pq_cursor *c, const qk_pq_page *page, const uint8_t *packed,
                                 int codec, qk_error *err)
{
    qk_pq_page_parts parts;
    if (c->dictionary.is_there)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "a second dictionary page");
    QK_TRY(qk_pq_page_expand(page, packed, codec, c->leaf, &c->dictionary_scratch, &parts, err));
    if (parts.values.data != c->dictionary_scratch.data) {
        /* It was not packed, and lies where the next page goes. */
        QK_TRY(qk_pq_scratch_reserve(&c->dictionary_scratch, parts.values.n, "a dictionary", err));
        if (parts.values.n) memcpy(c->dictionary_scratch.data, parts.values.data, parts.values.n);
        parts.values.data = c->dictionary_scratch.data;
    }
    return qk_pq_dictionary_read(&c->dictionary, c->leaf, parts.values.data, parts.values.n,
                                 (size_t)page->values, err);
}

static qk_status load_page(qk_pq_cursor *c, const qk_pq_page *page, const uint8_t *packed,
                           int codec, qk_error *err)
{
    qk_pq_page_parts parts;
    uint64_t values = (uint64_t)page->values;
    if (page->type == QK_PQ_PAGE_DATA_V2 && !c->leaf->max_rep && page->rows != page->values)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the page has %d rows of %d values", page->rows,
                       page->values);
    QK_TRY(qk_pq_page_expand(page, packed, codec, c->leaf, &c->page_scratch, &parts, err));
    qk_status s = qk_pq_decoder_open(&c->decoder, c->leaf, page->encoding, parts.values.data,
                                     parts.values.n, values, &c->dictionary, err);
    if (s == QK_ERR_FORMAT && c->file->shared_pages && page->encoding == QK_PQ_E_DELTA_BYTE_ARRAY)
        snprintf(err->hint, sizeof err->hint,
                 "parquet-mr before 1.8 let strings go on from page to page, which only "
                 "parquet-java can read: write the file again with that");
    if (s != QK_OK) return s;
    qk_pq_rle_open(&c->repetition, parts.repetition.data, parts.repetition.n,
                   qk_pq_bit_width((uint32_t)c->leaf->max_rep));
    qk_pq_rle_open(&c->definition, parts.definition.data, parts.definition.n,
                   qk_pq_bit_width((uint32_t)c->leaf->max_def));
    c->page_left = values;
    return QK_OK;
}

/* Takes the page at c->at: loads it, passes over it, or refuses it. */
static qk_status take_page(qk_pq_cursor *c, uint64_t *skip, qk_error *err)
{
    qk_pq_page page;
    size_t header;
    const uint8_t *packed;
    const qk_pq_chunk *k = &c->file->groups[c->next_group - 1].chunks[c->column];
    c->page_at = c->at;
    if (c->at == c->end)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "the column ends after %lld of %lld values",
                       (long long)(k->values - c->chunk_left), (long long)k->values);
    QK_TRY(read_header(c, &page, &header, err));
    size_t n = (size_t)page.packed_bytes;
    c->at += header + n;
    if (!qk_pq_page_counts(&page)) return QK_OK;
    if (c->file->packs_all) page.is_packed = true;
    if (page.type == QK_PQ_PAGE_DICTIONARY) {
        QK_TRY(fetch(c, c->at - n, n, &packed, err));
        return load_dictionary(c, &page, packed, k->codec, err);
    }
    if (page.values > c->chunk_left)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "a page of %d values, but the column chunk has only %lld left", page.values,
                       (long long)c->chunk_left);
    c->chunk_left -= page.values;
    if (page.values == 0) return QK_OK;
    if (skip && !c->leaf->max_rep && (uint64_t)page.values <= *skip) {
        *skip -= (uint64_t)page.values;
        return QK_OK;
    }
    QK_TRY(fetch(c, c->at - n, n, &packed, err));
    return load_page(c, &page, packed, k->codec, err);
}

qk_status qk_pq_cursor_page(qk_pq_cursor *c, uint64_t *skip, bool *more, qk_error *err)
{
    c->page_left = 0;
    while (c->page_left == 0) {
        if (c->chunk_left == 0) {
            *more = next_group(c);
            if (!*more) return QK_OK;
            if (skip && (uint64_t)c->rows_left <= *skip) {
                *skip -= (uint64_t)c->rows_left;
                c->chunk_left = c->rows_left = 0;
                continue;
            }
        }
        QK_TRY(qk_interrupt_check(err));
        if (take_page(c, skip, err) != QK_OK) return qk_pq_cursor_fail(c, err);
    }
    *more = true;
    return QK_OK;
}

/* ---- rows of flat columns ---- */

/* Reads n levels into valid[n]; *present is how many values are there. */
static qk_status read_valid(qk_pq_cursor *c, uint8_t *valid, size_t n, size_t *present,
                            qk_error *err)
{
    uint32_t levels[1024], max = (uint32_t)c->leaf->max_def;
    *present = n;
    memset(valid, 1, n);
    if (max == 0) return QK_OK;
    *present = 0;
    for (size_t piece; n > 0; valid += piece, n -= piece) {
        piece = n < 1024 ? n : 1024;
        if (!qk_pq_rle_read(&c->definition, levels, piece))
            return qk_fail(err, QK_ERR_FORMAT, NULL,
                           "the page holds fewer definition levels than its header says");
        for (size_t i = 0; i < piece; i++) {
            if (levels[i] > max)
                return qk_fail(err, QK_ERR_FORMAT, NULL, "definition level %u exceeds %u",
                               levels[i], max);
            *present += valid[i] = levels[i] == max;
        }
    }
    return QK_OK;
}

static qk_status read_rows(qk_pq_cursor *c, uint8_t *values, uint8_t *valid, size_t n,
                           qk_error *err)
{
    size_t present, size = qk_pq_value_size(c->leaf->type);
    QK_TRY(read_valid(c, valid, n, &present, err));
    QK_TRY(qk_pq_decoder_read(&c->decoder, values, present, err));
    /* The values that are there stand in front: each goes to its row. */
    for (size_t i = present < n ? n : 0; i-- > 0;) {
        if (valid[i])
            memmove(values + i * size, values + --present * size, size);
        else
            memset(values + i * size, 0, size);
    }
    c->page_left -= n;
    return QK_OK;
}

static size_t smallest(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t least = a < b ? a : b;
    return (size_t)(least < c ? least : c);
}

static qk_status reserve_rows(qk_pq_cursor *c, size_t rows, qk_error *err)
{
    size_t size = qk_pq_value_size(c->leaf->type);
    QK_TRY(qk_pq_scratch_reserve(&c->values, rows * size, "a batch of values", err));
    return qk_pq_scratch_reserve(&c->valid, rows, "a batch of values", err);
}

qk_status qk_pq_next(qk_pq_cursor *c, size_t max_rows, qk_pq_batch *batch, qk_error *err)
{
    size_t n = 0, size = qk_pq_value_size(c->leaf->type);
    bool more = true, borrows = size == sizeof(qk_pq_bytes); /* from the page */
    *batch = (qk_pq_batch){.type = c->leaf->type};
    if (c->leaf->max_rep)
        return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: the column '%s' is repeated (a list)",
                       c->file->path, c->leaf->path);
    max_rows = smallest(max_rows ? max_rows : 1, MAX_ROWS, MAX_ROWS);
    QK_TRY(reserve_rows(c, max_rows, err));
    while (n < max_rows && !(borrows && n)) {
        if (c->page_left == 0) QK_TRY(qk_pq_cursor_page(c, NULL, &more, err));
        if (!more) break;
        size_t take = smallest(max_rows - n, c->page_left, c->decoder.max_values);
        if (read_rows(c, (uint8_t *)c->values.data + n * size, (uint8_t *)c->valid.data + n, take,
                      err) != QK_OK)
            return qk_pq_cursor_fail(c, err);
        n += take;
    }
    batch->n = n;
    batch->values = c->values.data;
    batch->valid = c->valid.data;
    return QK_OK;
}

qk_status qk_pq_skip(qk_pq_cursor *c, int64_t rows, qk_error *err)
{
    uint64_t left = rows > 0 ? (uint64_t)rows : 0;
    if (c->leaf->max_rep) return qk_pq_skip_lists(c, left, err);
    QK_TRY(reserve_rows(c, MAX_ROWS, err));
    for (bool more = true; left > 0 && more;) {
        if (c->page_left == 0) {
            QK_TRY(qk_pq_cursor_page(c, &left, &more, err));
            continue;
        }
        size_t take = smallest(left, c->page_left, c->decoder.max_values);
        take = smallest(take, MAX_ROWS, MAX_ROWS);
        if (read_rows(c, c->values.data, c->valid.data, take, err) != QK_OK)
            return qk_pq_cursor_fail(c, err);
        left -= take;
    }
    return QK_OK;
}
