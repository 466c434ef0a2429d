/* The thrift structs of the footer. See parquet_meta.h. */
#include "formats/parquet_meta.h"

#include <stdlib.h>

const char *qk_pq_physical_name(int physical)
{
    static const char *const names[] = {"BOOLEAN", "INT32",  "INT64",      "INT96",
                                        "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};
    return physical >= 0 && physical <= QK_PQ_FIXED ? names[physical] : NULL;
}

const char *qk_pq_encoding_name(int encoding)
{
    static const char *const names[] = {"PLAIN",
                                        NULL,
                                        "PLAIN_DICTIONARY",
                                        "RLE",
                                        "BIT_PACKED",
                                        "DELTA_BINARY_PACKED",
                                        "DELTA_LENGTH_BYTE_ARRAY",
                                        "DELTA_BYTE_ARRAY",
                                        "RLE_DICTIONARY",
                                        "BYTE_STREAM_SPLIT"};
    return encoding >= 0 && encoding <= QK_PQ_BYTE_STREAM_SPLIT ? names[encoding] : NULL;
}

const char *qk_pq_string(qk_thrift *t, const qk_thrift_field *field, const char *name,
                         qk_arena *arena)
{
    size_t n;
    const uint8_t *bytes = qk_thrift_binary(t, field, name, &n);
    return qk_arena_strndup(arena, bytes ? (const char *)bytes : "", n);
}

/* min_value and max_value; the deprecated min and max are not, as their order is unclear. */
static void read_statistics(qk_thrift *t, qk_pq_statistics *s)
{
    qk_thrift_field f = {0};
    bool has_min = false, has_max = false;
    while (qk_thrift_next(t, &f)) {
        size_t n;
        const uint8_t *bytes;
        switch (f.id) {
        case 3:
            s->nulls = qk_thrift_i64(t, &f, "null_count");
            s->has_nulls = true;
            break;
        case 5:
        case 6:
            bytes = qk_thrift_binary(t, &f, "a statistic", &n);
            *(f.id == 5 ? &s->max : &s->min) = (qk_pq_bytes){bytes, (uint32_t)n};
            *(f.id == 5 ? &has_max : &has_min) = n <= UINT32_MAX;
            break;
        default: qk_thrift_skip(t, &f);
        }
    }
    s->has_min_max = has_min && has_max;
}

static void read_encodings(qk_thrift *t, const qk_thrift_field *f, qk_pq_chunk *c)
{
    qk_thrift_field element;
    size_t n = qk_thrift_list(t, f, QK_THRIFT_I32, "encodings", &element);
    while (n-- > 0 && !t->problem[0]) {
        int32_t encoding = qk_thrift_i32(t, &element, "an encoding");
        if (c->n_encodings < QK_PQ_MAX_ENCODINGS) c->encodings[c->n_encodings++] = encoding;
    }
}

static const char *read_path(qk_thrift *t, const qk_thrift_field *f, qk_arena *arena)
{
    qk_thrift_field element;
    qk_buf path = {0};
    size_t n = qk_thrift_list(t, f, QK_THRIFT_BINARY, "path_in_schema", &element);
    for (size_t i = 0; i < n && !t->problem[0]; i++) {
        size_t length;
        const uint8_t *part = qk_thrift_binary(t, &element, "a part of path_in_schema", &length);
        if (i) qk_buf_add_byte(&path, '.');
        qk_buf_add(&path, part, length);
    }
    const char *text = qk_arena_strndup(arena, qk_buf_str(&path), path.size);
    qk_buf_free(&path);
    return text;
}

static void read_chunk_metadata(qk_thrift *t, qk_pq_chunk *c, qk_arena *arena)
{
    qk_thrift_field f = {0};
    c->has_metadata = true;
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: c->physical = qk_thrift_i32(t, &f, "a column's type"); break;
        case 2: read_encodings(t, &f, c); break;
        case 3: c->path = read_path(t, &f, arena); break;
        case 4: c->codec = qk_thrift_i32(t, &f, "a column's codec"); break;
        case 5: c->values = qk_thrift_i64(t, &f, "a column's num_values"); break;
        case 6: c->plain_bytes = qk_thrift_i64(t, &f, "total_uncompressed_size"); break;
        case 7: c->packed_bytes = qk_thrift_i64(t, &f, "total_compressed_size"); break;
        case 9: c->data_offset = qk_thrift_i64(t, &f, "data_page_offset"); break;
        case 11: c->dictionary_offset = qk_thrift_i64(t, &f, "dictionary_page_offset"); break;
        case 12:
            if (qk_thrift_struct(t, &f, "statistics")) read_statistics(t, &c->statistics);
            break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_chunk(qk_thrift *t, qk_pq_chunk *c, qk_arena *arena)
{
    qk_thrift_field f = {0};
    *c = (qk_pq_chunk){.path = ""};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: c->file = qk_pq_string(t, &f, "a column's file_path", arena); break;
        case 3:
            if (qk_thrift_struct(t, &f, "meta_data")) read_chunk_metadata(t, c, arena);
            break;
        case 8:
            c->is_encrypted = true;
            qk_thrift_skip(t, &f);
            break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_group(qk_thrift *t, qk_pq_meta *meta, size_t index)
{
    qk_thrift_field f = {0}, element;
    qk_pq_group *g = &meta->groups[index];
    bool has_rows = false, has_columns = false;
    while (qk_thrift_next(t, &f)) {
        if (f.id == 1) {
            size_t n = qk_thrift_list(t, &f, QK_THRIFT_STRUCT, "columns", &element);
            if (n != meta->n_leaves && !t->problem[0])
                qk_thrift_fail(t, "row group %zu has %zu column chunks for %zu columns", index, n,
                               meta->n_leaves);
            if (t->problem[0]) return;
            g->chunks = qk_arena_alloc(&meta->arena, n, sizeof *g->chunks);
            for (size_t i = 0; i < n && !t->problem[0]; i++)
                read_chunk(t, &g->chunks[i], &meta->arena);
            has_columns = true;
        } else if (f.id == 3) {
            g->rows = qk_thrift_i64(t, &f, "a row group's num_rows");
            has_rows = true;
        } else {
            qk_thrift_skip(t, &f);
        }
    }
    if (!has_rows || !has_columns)
        qk_thrift_fail(t, "row group %zu has no %s", index, has_rows ? "columns" : "num_rows");
    if (g->rows < 0) qk_thrift_fail(t, "row group %zu has a negative row count", index);
}

static void read_groups(qk_thrift *t, const qk_thrift_field *f, qk_pq_meta *meta)
{
    qk_thrift_field element;
    size_t n = qk_thrift_list(t, f, QK_THRIFT_STRUCT, "row_groups", &element);
    if (meta->groups) qk_thrift_fail(t, "the footer has two lists of row groups");
    meta->groups = qk_arena_alloc(&meta->arena, n + 1, sizeof *meta->groups);
    for (; meta->n_groups < n && !t->problem[0]; meta->n_groups++)
        read_group(t, meta, meta->n_groups);
}

static void read_pair(qk_thrift *t, qk_pq_pair *pair, qk_arena *arena)
{
    qk_thrift_field f = {0};
    *pair = (qk_pq_pair){"", ""};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: pair->key = qk_pq_string(t, &f, "a metadata key", arena); break;
        case 2: pair->value = qk_pq_string(t, &f, "a metadata value", arena); break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_pairs(qk_thrift *t, const qk_thrift_field *f, qk_pq_meta *meta)
{
    qk_thrift_field element;
    size_t n = qk_thrift_list(t, f, QK_THRIFT_STRUCT, "key_value_metadata", &element);
    if (meta->pairs) qk_thrift_fail(t, "the footer has two lists of metadata");
    meta->pairs = qk_arena_alloc(&meta->arena, n + 1, sizeof *meta->pairs);
    for (; meta->n_pairs < n && !t->problem[0]; meta->n_pairs++)
        read_pair(t, &meta->pairs[meta->n_pairs], &meta->arena);
}

/* The schema, which stands before the row groups. */
static qk_status read_schema(qk_thrift *t, const qk_thrift_field *f, qk_pq_meta *meta,
                             const char *path, qk_error *err)
{
    qk_thrift_field element;
    qk_pq_node *nodes = NULL;
    size_t n = qk_thrift_list(t, f, QK_THRIFT_STRUCT, "the schema", &element);
    size_t count = 0, capacity = 0;
    if (meta->leaves) qk_thrift_fail(t, "the footer has two schemas");
    while (count < n && !t->problem[0]) {
        QK_GROW(nodes, count, capacity);
        qk_pq_node_read(t, &nodes[count++], &meta->arena);
    }
    qk_status status = t->problem[0] ? QK_OK : qk_pq_schema_leaves(meta, nodes, count, path, err);
    free(nodes);
    return status;
}

static qk_status check_rows(const qk_pq_meta *meta, const char *path, qk_error *err)
{
    int64_t rows = 0;
    if (meta->rows < 0)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the footer has a negative row count", path);
    if (!meta->groups && meta->rows)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: the footer has no row groups, though num_rows is %lld", path,
                       (long long)meta->rows);
    for (size_t i = 0; i < meta->n_groups; i++)
        if (__builtin_add_overflow(rows, meta->groups[i].rows, &rows))
            rows = -1, i = meta->n_groups;
    if (rows != meta->rows)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: the footer's num_rows is %lld, but its row groups have %lld", path,
                       (long long)meta->rows, (long long)rows);
    return QK_OK;
}

qk_status qk_pq_meta_read(qk_pq_meta *meta, const uint8_t *footer, size_t n, uint64_t offset,
                          const char *path, qk_error *err)
{
    qk_thrift t;
    qk_thrift_field f = {0};
    *meta = (qk_pq_meta){.created_by = ""};
    qk_thrift_open(&t, footer, n);
    while (qk_thrift_next(&t, &f)) switch (f.id) {
        case 2: QK_TRY(read_schema(&t, &f, meta, path, err)); break;
        case 3: meta->rows = qk_thrift_i64(&t, &f, "num_rows"); break;
        case 4:
            if (!meta->leaves) qk_thrift_fail(&t, "the footer has no schema before its row groups");
            read_groups(&t, &f, meta);
            break;
        case 5: read_pairs(&t, &f, meta); break;
        case 6: meta->created_by = qk_pq_string(&t, &f, "created_by", &meta->arena); break;
        default: qk_thrift_skip(&t, &f);
        }
    if (!t.problem[0] && !meta->leaves) qk_thrift_fail(&t, "the footer has no schema");
    if (t.problem[0])
        return qk_fail(err, QK_ERR_FORMAT, "the file is damaged; fetch it again",
                       "%s: footer, byte %llu: %s", path,
                       (unsigned long long)(offset + (uint64_t)(t.problem_at - footer)), t.problem);
    return check_rows(meta, path, err);
}

void qk_pq_meta_free(qk_pq_meta *meta)
{
    qk_arena_free(&meta->arena);
    *meta = (qk_pq_meta){0};
}
