/* The thrift structs of the footer. See parquet_meta.h. */
#include "formats/parquet_meta.h"

#include <stdio.h>
#include <stdlib.h>

const char *qk_pq_type_name(int type)
{
    static const char *const names[] = {"BOOLEAN", "INT32",  "INT64",      "INT96",
                                        "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};
    return type >= 0 && type <= QK_PQ_T_FIXED ? names[type] : NULL;
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
    return encoding >= 0 && encoding <= QK_PQ_E_BYTE_STREAM_SPLIT ? names[encoding] : NULL;
}

const char *qk_pq_string(qk_thrift_in *t, const qk_thrift_field *field, const char *name,
                         qk_arena *arena)
{
    size_t n;
    const uint8_t *bytes = qk_thrift_read_binary(t, field, name, &n);
    return qk_arena_strndup(arena, bytes ? (const char *)bytes : "", n);
}

/* A longer one, of a writer that cuts nothing, is not worth its memory. */
enum { MAX_STATISTIC = 64 };

/* min_value and max_value; the deprecated min and max are not, as their order is unclear. */
static void read_statistics(qk_thrift_in *t, qk_pq_statistics *s, qk_arena *arena)
{
    qk_thrift_field f = {0};
    bool has_min = false, has_max = false;
    while (qk_thrift_next(t, &f)) {
        size_t n;
        const uint8_t *bytes;
        switch (f.id) {
        case 3:
            if (!qk_thrift_optional(t, &f, QK_THRIFT_T_I64)) break;
            s->nulls = qk_thrift_read_i64(t, &f, "null_count");
            s->has_nulls = true;
            break;
        case 5:
        case 6:
            if (!qk_thrift_optional(t, &f, QK_THRIFT_T_BINARY)) break;
            bytes = qk_thrift_read_binary(t, &f, "a statistic", &n);
            if (n > MAX_STATISTIC) break;
            bytes = (const uint8_t *)qk_arena_strndup(arena, (const char *)bytes, n);
            *(f.id == 5 ? &s->max : &s->min) = (qk_pq_bytes){bytes, n};
            *(f.id == 5 ? &has_max : &has_min) = true;
            break;
        default: qk_thrift_skip(t, &f);
        }
    }
    s->has_min_max = has_min && has_max;
}

static void read_encodings(qk_thrift_in *t, const qk_thrift_field *f, qk_pq_chunk *c)
{
    qk_thrift_field element;
    size_t n = qk_thrift_read_list(t, f, 0, "encodings", &element);
    bool is_number = element.type == QK_THRIFT_T_I16 || element.type == QK_THRIFT_T_I32;
    if (is_number) element.type = QK_THRIFT_T_I64; /* fastparquet 0.8 wrote I64; all are varints */
    while (n-- > 0 && !t->problem[0]) {
        int64_t encoding = qk_thrift_read_i64(t, &element, "an encoding");
        if (encoding >= 0 && encoding < 32) c->encodings |= 1u << encoding;
    }
}

static const char *read_path(qk_thrift_in *t, const qk_thrift_field *f, qk_arena *arena)
{
    qk_thrift_field element;
    qk_buf path = {0};
    size_t n = qk_thrift_read_list(t, f, QK_THRIFT_T_BINARY, "path_in_schema", &element);
    for (size_t i = 0; i < n && !t->problem[0]; i++) {
        size_t length;
        const uint8_t *part =
            qk_thrift_read_binary(t, &element, "a part of path_in_schema", &length);
        if (i) qk_buf_add_byte(&path, '.');
        qk_buf_add(&path, part, length);
    }
    const char *text = qk_arena_strndup(arena, qk_buf_str(&path), path.size);
    qk_buf_free(&path);
    return text;
}

static void read_chunk_metadata(qk_thrift_in *t, qk_pq_chunk *c, qk_arena *arena)
{
    qk_thrift_field f = {0};
    c->has_metadata = true;
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: c->type = qk_thrift_read_i32(t, &f, "a column's type"); break;
        case 2: read_encodings(t, &f, c); break;
        case 3: c->path = read_path(t, &f, arena); break;
        case 4: c->codec = qk_thrift_read_i32(t, &f, "a column's codec"); break;
        case 5: c->values = qk_thrift_read_i64(t, &f, "a column's num_values"); break;
        case 6: c->uncompressed = qk_thrift_read_i64(t, &f, "total_uncompressed_size"); break;
        case 7: c->compressed = qk_thrift_read_i64(t, &f, "total_compressed_size"); break;
        case 9: c->data_offset = qk_thrift_read_i64(t, &f, "data_page_offset"); break;
        case 11:
            if (qk_thrift_optional(t, &f, QK_THRIFT_T_I64))
                c->dictionary_offset = qk_thrift_read_i64(t, &f, "dictionary_page_offset");
            break;
        case 12:
            if (qk_thrift_optional(t, &f, QK_THRIFT_T_STRUCT))
                read_statistics(t, &c->statistics, arena);
            break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_chunk(qk_thrift_in *t, qk_pq_chunk *c, qk_arena *arena)
{
    qk_thrift_field f = {0};
    *c = (qk_pq_chunk){.path = ""};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1:
            if (qk_thrift_optional(t, &f, QK_THRIFT_T_BINARY))
                c->file = qk_pq_string(t, &f, "a column's file_path", arena);
            break;
        case 3:
            if (qk_thrift_optional(t, &f, QK_THRIFT_T_STRUCT)) read_chunk_metadata(t, c, arena);
            break;
        case 8:
            c->is_encrypted = true;
            qk_thrift_skip(t, &f);
            break;
        default: qk_thrift_skip(t, &f);
        }
}

/* Of a column chunk in the footer: less cannot hold its size, its offset and its path. */
enum { MIN_CHUNK_BYTES = 16 };

static void read_group(qk_thrift_in *t, qk_pq_file *file, size_t index)
{
    qk_thrift_field f = {0}, element;
    qk_pq_group *g = &file->groups[index];
    bool has_rows = false, has_columns = false;
    while (qk_thrift_next(t, &f)) {
        if (f.id == 1) {
            size_t n = qk_thrift_read_list(t, &f, QK_THRIFT_T_STRUCT, "columns", &element);
            if (n != file->n_leaves && !t->problem[0])
                qk_thrift_fail(t, "row group %zu has %zu column chunks for %zu columns", index, n,
                               file->n_leaves);
            if (n > (size_t)(t->end - t->at) / MIN_CHUNK_BYTES)
                qk_thrift_fail(t, "row group %zu has %zu column chunks in %zu bytes", index, n,
                               (size_t)(t->end - t->at));
            if (t->problem[0]) return;
            g->chunks = qk_arena_alloc(&file->arena, n, sizeof *g->chunks);
            for (size_t i = 0; i < n && !t->problem[0]; i++)
                read_chunk(t, &g->chunks[i], &file->arena);
            has_columns = true;
        } else if (f.id == 3) {
            g->rows = qk_thrift_read_i64(t, &f, "a row group's num_rows");
            has_rows = true;
        } else {
            qk_thrift_skip(t, &f);
        }
    }
    if (!has_rows || !has_columns)
        qk_thrift_fail(t, "row group %zu has no %s", index, has_rows ? "columns" : "num_rows");
    if (g->rows < 0) qk_thrift_fail(t, "row group %zu has a negative row count", index);
}

static void read_groups(qk_thrift_in *t, const qk_thrift_field *f, qk_pq_file *file)
{
    qk_thrift_field element;
    size_t n = qk_thrift_read_list(t, f, QK_THRIFT_T_STRUCT, "row_groups", &element);
    if (file->groups) qk_thrift_fail(t, "the footer has two lists of row groups");
    file->groups = qk_arena_alloc(&file->arena, n + 1, sizeof *file->groups);
    for (; file->n_groups < n && !t->problem[0]; file->n_groups++)
        read_group(t, file, file->n_groups);
}

static void read_pair(qk_thrift_in *t, qk_pq_pair *pair, qk_arena *arena)
{
    qk_thrift_field f = {0};
    *pair = (qk_pq_pair){"", NULL};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: pair->key = qk_pq_string(t, &f, "a metadata key", arena); break;
        case 2:
            if (qk_thrift_optional(t, &f, QK_THRIFT_T_BINARY))
                pair->value = qk_pq_string(t, &f, "a metadata value", arena);
            break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_pairs(qk_thrift_in *t, const qk_thrift_field *f, qk_pq_file *file)
{
    qk_thrift_field element;
    size_t n = qk_thrift_read_list(t, f, QK_THRIFT_T_STRUCT, "key_value_metadata", &element);
    if (file->metadata) qk_thrift_fail(t, "the footer has two lists of metadata");
    file->metadata = qk_arena_alloc(&file->arena, n + 1, sizeof *file->metadata);
    for (; file->n_metadata < n && !t->problem[0]; file->n_metadata++)
        read_pair(t, &file->metadata[file->n_metadata], &file->arena);
}

/* The schema, which stands before the row groups. */
static qk_status read_schema(qk_thrift_in *t, const qk_thrift_field *f, qk_pq_file *file,
                             qk_error *err)
{
    qk_thrift_field element;
    qk_pq_node *nodes = NULL;
    size_t n = qk_thrift_read_list(t, f, QK_THRIFT_T_STRUCT, "the schema", &element);
    size_t count = 0, capacity = 0;
    if (file->leaves) qk_thrift_fail(t, "the footer has two schemas");
    while (count < n && !t->problem[0]) {
        QK_GROW(nodes, count, capacity);
        qk_pq_node_read(t, &nodes[count++], &file->arena);
    }
    qk_status status = t->problem[0] ? QK_OK : qk_pq_schema_leaves(file, nodes, count, err);
    free(nodes);
    return status;
}

/* Takes the rows of the row groups together. A footer that says 0 is of a writer that did not count
 * them; any other number must be theirs. */
static qk_status count_rows(qk_pq_file *f, qk_error *err)
{
    int64_t rows = 0;
    if (f->rows < 0)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the footer has a negative row count",
                       f->path);
    if (!f->groups && f->rows)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: the footer has no row groups, though num_rows is %lld", f->path,
                       (long long)f->rows);
    for (size_t i = 0; i < f->n_groups; i++)
        if (__builtin_add_overflow(rows, f->groups[i].rows, &rows))
            return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the row groups have over 2^63 rows",
                           f->path);
    if (f->rows && rows != f->rows)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: the footer's num_rows is %lld, but its row groups have %lld", f->path,
                       (long long)f->rows, (long long)rows);
    f->rows = rows;
    return QK_OK;
}

qk_status qk_pq_file_blame(const qk_pq_file *f, qk_error *err)
{
    return qk_pq_blame(f->created_by, f->packs_all || f->short_chunks, err);
}

static void read_created_by(qk_thrift_in *t, const qk_thrift_field *f, qk_pq_file *file)
{
    if (qk_thrift_optional(t, f, QK_THRIFT_T_BINARY))
        file->created_by = qk_pq_string(t, f, "created_by", &file->arena);
}

static qk_status read_fields(qk_pq_file *file, const uint8_t *bytes, size_t n, qk_error *err)
{
    qk_thrift_in t;
    qk_thrift_field f = {0};
    bool has_rows = false;
    qk_thrift_open(&t, bytes, n);
    while (qk_thrift_next(&t, &f)) switch (f.id) {
        case 2: QK_TRY(read_schema(&t, &f, file, err)); break;
        case 3:
            file->rows = qk_thrift_read_i64(&t, &f, "num_rows");
            has_rows = true;
            break;
        case 4:
            if (!file->leaves) qk_thrift_fail(&t, "the footer has no schema before its row groups");
            read_groups(&t, &f, file);
            break;
        case 5:
            if (qk_thrift_optional(&t, &f, QK_THRIFT_T_LIST)) read_pairs(&t, &f, file);
            break;
        case 6: read_created_by(&t, &f, file); break;
        default: qk_thrift_skip(&t, &f);
        }
    if (!t.problem[0] && !file->leaves) qk_thrift_fail(&t, "the footer has no schema");
    if (!t.problem[0] && !has_rows) qk_thrift_fail(&t, "the footer has no num_rows");
    if (!t.problem[0]) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: footer, byte %zu: %s", file->path,
                   file->footer_at + (size_t)(t.problem_at - bytes), t.problem);
}

qk_status qk_pq_footer_read(qk_pq_file *file, const uint8_t *bytes, size_t n, qk_error *err)
{
    qk_status s = read_fields(file, bytes, n, err);
    if (s != QK_OK) { /* the writer, which stands behind what may have failed before it */
        qk_thrift_in t;
        qk_thrift_field f = {0};
        qk_thrift_open(&t, bytes, n);
        while (!file->created_by && qk_thrift_next(&t, &f))
            f.id == 6 ? read_created_by(&t, &f, file) : qk_thrift_skip(&t, &f);
    }
    if (s == QK_ERR_FORMAT && !qk_thrift_walk(bytes, n, NULL))
        snprintf(err->hint, sizeof err->hint, "%s", qk_pq_damaged);
    qk_pq_creator o = qk_pq_creator_of(file->created_by);
    file->packs_all = qk_pq_creator_before(&o, "parquet-cpp", 2, 0, 0);
    file->short_chunks = qk_pq_creator_before(&o, "parquet-mr", 1, 2, 9);
    file->shared_pages = qk_pq_creator_before(&o, "parquet-mr", 1, 8, 0);
    if (s == QK_OK) s = count_rows(file, err);
    return s == QK_OK ? QK_OK : qk_pq_file_blame(file, err);
}
