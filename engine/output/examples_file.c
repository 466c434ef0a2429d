/* See examples_file.h. */
#include "engine/output/examples_file.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/version.h"
#include "formats/parquet_read.h"
#include "formats/parquet_write.h"
#include "sampler/example_id.h"

enum { GROUP_ROWS = 65536 };
/* COLUMNS: those that are read. */
enum { INDEX, ID, ID_TEXT, TOKENS, TRUNCATED, SHA256, COLUMNS, EXAMPLE_ID = COLUMNS, WRITTEN };

static const qk_pq_column columns[WRITTEN] = {
    {"index", QK_PQ_INT64, 0, false},      {"id", QK_PQ_INT64, 0, false},
    {"id_text", QK_PQ_STRING, 0, false},   {"tokens", QK_PQ_INT32, 0, false},
    {"truncated", QK_PQ_BOOL, 0, false},   {"sha256", QK_PQ_STRING, 0, false},
    {"example_id", QK_PQ_INT32, 0, false},
};

struct qk_examples_writer {
    qk_pq_writer *file;
};

qk_status qk_examples_create(qk_examples_writer **out, const char *path, qk_error *err)
{
    qk_examples_writer *w = qk_alloc(1, sizeof *w);
    qk_status s = qk_pq_create(&w->file, path, columns, WRITTEN, GROUP_ROWS,
                               "qkengine version " QK_OUTPUT_VERSION, err);
    if (s == QK_OK)
        *out = w;
    else
        free(w);
    return s;
}

qk_status qk_examples_append(qk_examples_writer *w, const qk_unit_example *e, qk_error *err)
{
    char hex[65];
    qk_sha256_hex(e->sha256, hex);
    const qk_pq_text id_text = {e->id_text, e->id_length}, sha = {hex, 64};
    uint8_t truncated = e->truncated;
    int32_t example_id = qk_example_id_stored(e->id);
    const qk_pq_values values[WRITTEN] = {
        {&e->index, NULL},  {&e->id, NULL}, {&id_text, NULL},    {&e->tokens, NULL},
        {&truncated, NULL}, {&sha, NULL},   {&example_id, NULL},
    };
    return qk_pq_append(w->file, 1, values, err);
}

void qk_examples_set_metadata(qk_examples_writer *w, const char *key, const char *value)
{
    qk_pq_set_metadata(w->file, key, value);
}

qk_status qk_examples_commit(qk_examples_writer *w, qk_error *err)
{
    qk_status s = qk_pq_commit(w->file, NULL, err);
    free(w);
    return s;
}

void qk_examples_abort(qk_examples_writer *w)
{
    if (!w) return;
    qk_pq_abort(w->file);
    free(w);
}

/* ---- reading ---- */

typedef struct reader {
    qk_pq_file *file;
    qk_pq_cursor *cursors[COLUMNS];
    qk_pq_batch batches[COLUMNS];
    size_t at[COLUMNS];
} reader;

static qk_status open_all(reader *r, qk_error *err)
{
    static const qk_pq_type types[COLUMNS] = {QK_PQ_T_INT64, QK_PQ_T_INT64,   QK_PQ_T_BYTES,
                                              QK_PQ_T_INT32, QK_PQ_T_BOOLEAN, QK_PQ_T_BYTES};
    for (size_t c = 0; c < COLUMNS; c++) {
        int leaf = qk_pq_find(r->file, columns[c].name);
        if (leaf < 0 || r->file->leaves[leaf].type != types[c])
            return qk_fail(err, QK_ERR_FORMAT, "choose another output.data_root",
                           "%s: no column '%s' of the right type", r->file->path, columns[c].name);
        QK_TRY(qk_pq_cursor_open(&r->cursors[c], r->file, (size_t)leaf, err));
    }
    return QK_OK;
}

/* Moves every column to its next row. */
static qk_status advance(reader *r, qk_error *err)
{
    for (size_t c = 0; c < COLUMNS; c++) {
        if (++r->at[c] < r->batches[c].n) continue;
        r->at[c] = 0;
        QK_TRY(qk_pq_next(r->cursors[c], SIZE_MAX, &r->batches[c], err));
        if (!r->batches[c].n)
            return qk_fail(err, QK_ERR_FORMAT, "the file is damaged",
                           "%s: column '%s' is too short", r->file->path, columns[c].name);
    }
    return QK_OK;
}

static const void *slot(const reader *r, size_t c, size_t size)
{
    return (const char *)r->batches[c].values + r->at[c] * size;
}

static bool parse_hex(const qk_pq_bytes *text, uint8_t out[32])
{
    if (text->size != 64) return false;
    for (size_t i = 0; i < 64; i++) {
        uint8_t ch = text->data[i];
        int digit = ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
        if (digit < 0) return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | digit);
    }
    return true;
}

static qk_status read_row(reader *r, qk_unit_example *e, qk_buf *id_text, qk_error *err)
{
    QK_TRY(advance(r, err));
    *e = (qk_unit_example){
        .index = *(const int64_t *)slot(r, INDEX, 8),
        .id = *(const int64_t *)slot(r, ID, 8),
        .tokens = *(const int32_t *)slot(r, TOKENS, 4),
        .truncated = *(const uint8_t *)slot(r, TRUNCATED, 1),
    };
    const qk_pq_bytes *text = slot(r, ID_TEXT, sizeof *text);
    if (r->batches[ID_TEXT].valid[r->at[ID_TEXT]]) {
        qk_buf_clear(id_text);
        qk_buf_add(id_text, text->data, text->size);
        e->id_text = qk_buf_str(id_text);
        e->id_length = id_text->size;
    }
    if (parse_hex(slot(r, SHA256, sizeof(qk_pq_bytes)), e->sha256)) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, "the file is damaged", "%s: a sha256 that is none",
                   r->file->path);
}

qk_status qk_examples_read(const char *path, qk_example_visit visit, void *context, qk_error *err)
{
    reader r = {0};
    qk_buf id_text = {0};
    qk_status s = qk_pq_open(&r.file, path, err);
    if (s == QK_OK) s = open_all(&r, err);
    for (int64_t i = 0; s == QK_OK && i < r.file->rows; i++) {
        qk_unit_example e;
        s = read_row(&r, &e, &id_text, err);
        if (s == QK_OK) s = visit(context, &e, err);
    }
    for (size_t c = 0; c < COLUMNS; c++) qk_pq_cursor_close(r.cursors[c]);
    qk_pq_close(r.file);
    qk_buf_free(&id_text);
    return s;
}

qk_status qk_examples_read_if_there(const char *path, qk_example_visit visit, void *context,
                                    qk_error *err)
{
    bool there;
    QK_TRY(qk_has_file(path, &there, err));
    return there ? qk_examples_read(path, visit, context, err) : QK_OK;
}
