/* The footer of a Parquet file: schema, row groups, metadata. Source: parquet.thrift.
 *
 * next: formats/arrow_schema.h */
#include <stdlib.h>

#include "formats/arrow_schema.h"
#include "formats/codec.h"
#include "formats/parquet_writer.h"
#include "formats/thrift_write.h"

enum { OPTIONAL = 1, REPEATED = 2 };

static int physical_type(qk_pq_kind kind)
{
    static const int types[] = {QK_PQ_T_INT32, QK_PQ_T_INT64, QK_PQ_T_BOOLEAN,
                                QK_PQ_T_BYTES, QK_PQ_T_FLOAT, QK_PQ_T_FLOAT};
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
            schema_element(t, "element", QK_PQ_T_FLOAT, OPTIONAL, 0, -1, 0);
        } else if (c->kind == QK_PQ_STRING) {
            schema_element(t, c->name, QK_PQ_T_BYTES, OPTIONAL, 0, CONVERTED_UTF8, LOGICAL_STRING);
        } else {
            schema_element(t, c->name, physical_type(c->kind), OPTIONAL, 0, -1, 0);
        }
    }
}

static void write_chunk(qk_thrift_out *t, const qk_pq_column *c, const qk_pq_chunk_out *k)
{
    bool list = c->kind == QK_PQ_FLOATS;
    qk_thrift_begin(t, 0);
    qk_thrift_i64(t, 2, 0); /* file_offset: 0 by today's reading of the format */
    qk_thrift_begin(t, 3);
    qk_thrift_i32(t, 1, physical_type(c->kind));
    qk_thrift_list(t, 2, QK_THRIFT_I32, k->dictionary_offset ? 3 : 2);
    qk_thrift_item_i32(t, QK_PQ_E_RLE);
    qk_thrift_item_i32(t, k->encoding);
    if (k->dictionary_offset) qk_thrift_item_i32(t, QK_PQ_E_PLAIN);
    qk_thrift_list(t, 3, QK_THRIFT_BINARY, list ? 3 : 1);
    qk_thrift_item_str(t, c->name);
    if (list) qk_thrift_item_str(t, "list");
    if (list) qk_thrift_item_str(t, "element");
    qk_thrift_i32(t, 4, QK_CODEC_ZSTD);
    qk_thrift_i64(t, 5, k->values);
    qk_thrift_i64(t, 6, k->uncompressed);
    qk_thrift_i64(t, 7, k->compressed);
    qk_thrift_i64(t, 9, k->data_offset);
    if (k->dictionary_offset) qk_thrift_i64(t, 11, k->dictionary_offset);
    qk_thrift_begin(t, 12); /* statistics */
    qk_thrift_i64(t, 3, k->nulls);
    if (k->min_size || k->max_size) {
        qk_thrift_bytes(t, 5, k->max, k->max_size);
        qk_thrift_bytes(t, 6, k->min, k->min_size);
    }
    qk_thrift_end(t);
    qk_thrift_end(t);
    qk_thrift_end(t);
}

static void write_group_metadata(qk_thrift_out *t, const qk_pq_writer *w, const qk_pq_group_out *g,
                                 size_t i)
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

void qk_pq_write_footer(qk_pq_writer *w)
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
    qk_thrift_list(&t, 5, QK_THRIFT_STRUCT, w->keys.count); /* metadata */
    for (size_t i = 0; i < w->keys.count; i++) {
        qk_thrift_begin(&t, 0);
        qk_thrift_str(&t, 1, w->keys.items[i]);
        qk_thrift_str(&t, 2, w->metadata.items[i]);
        qk_thrift_end(&t);
    }
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
