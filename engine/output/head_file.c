/* See head_file.h. */
#include "engine/output/head_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/nonfinite.h"
#include "engine/base/version.h"
#include "formats/parquet_read.h"
#include "formats/parquet_write.h"

/* A row group's vectors take about this much. */
enum { GROUP_BYTES = 8 << 20, MIN_GROUP_ROWS = 1024 };
#define SHARED_IDS "qkengine.shared_ids"
#define NONFINITE "qkengine.nonfinite_rows" /* absent: none */
#define CREATED_BY "qkengine version " QK_OUTPUT_VERSION

/* ---- writing ---- */

struct qk_head_file_writer {
    qk_pq_writer *file;
    qk_head_file_format format;
    uint64_t nonfinite; /* rows so far that hold NaN or infinity */
    /* Reused, [capacity]: */
    uint8_t *has_window, *has_id, *nothing; /* nothing: zeros */
    int32_t *layer, *head;
    qk_pq_text *kind, *no_text;
    size_t capacity;
};

static size_t group_rows(int d)
{
    size_t rows = GROUP_BYTES / (4 * (size_t)d);
    return rows < MIN_GROUP_ROWS ? MIN_GROUP_ROWS : rows;
}

uint64_t qk_head_file_writer_bytes(const qk_head_file_format *format)
{
    /* The vectors, 60 bytes for the other columns, and buffers that double as they grow. */
    uint64_t others = 60;
    if (format->token_ids) others += 9;
    if (format->lse) others += 9;
    if (format->head_columns) others += 40;
    return 2 * (uint64_t)group_rows(format->d) * (4 * (uint64_t)format->d + others);
}

enum { MAX_COLUMNS = 11 };

qk_status qk_head_file_create(qk_head_file_writer **out, const char *path,
                              const qk_head_file_format *format, qk_error *err)
{
    /* qk_head_file_append gives values in this order */
    qk_pq_column columns[MAX_COLUMNS] = {
        {"bucket", QK_PQ_INT32, 0, false},
        {"example_id", QK_PQ_INT32, 0, false},
        {"position", QK_PQ_INT32, 0, false},
        {"vector", QK_PQ_FLOATS, format->d, format->plain_vectors},
        {"sliding_window", QK_PQ_INT32, 0, false},
    };
    size_t n = 5;
    if (format->token_strings) columns[n++] = (qk_pq_column){"token_str", QK_PQ_STRING, 0, false};
    if (format->token_ids) columns[n++] = (qk_pq_column){"token_id", QK_PQ_INT32, 0, false};
    if (format->lse) columns[n++] = (qk_pq_column){"lse", QK_PQ_FLOAT, 0, false};
    if (format->head_columns) {
        columns[n++] = (qk_pq_column){"layer", QK_PQ_INT32, 0, false};
        columns[n++] = (qk_pq_column){"head", QK_PQ_INT32, 0, false};
        columns[n++] = (qk_pq_column){"kind", QK_PQ_STRING, 0, false};
    }
    qk_head_file_writer *w = qk_zalloc(1, sizeof *w);
    w->format = *format;
    qk_status s = qk_pq_create(&w->file, path, columns, n, group_rows(format->d), CREATED_BY, err);
    if (s == QK_OK)
        *out = w;
    else
        free(w);
    return s;
}

/* Columns that are the same in every call, for n rows. */
static void grow(qk_head_file_writer *w, size_t n)
{
    if (n <= w->capacity) return;
    w->capacity = n;
    w->has_window = qk_realloc(w->has_window, n, 1);
    w->has_id = qk_realloc(w->has_id, n, 1);
    w->nothing = qk_realloc(w->nothing, n, 1);
    memset(w->nothing, 0, n);
    w->no_text = qk_realloc(w->no_text, n, sizeof *w->no_text);
    memset(w->no_text, 0, n * sizeof *w->no_text);
    if (!w->format.head_columns) return;
    w->layer = qk_realloc(w->layer, n, sizeof *w->layer);
    w->head = qk_realloc(w->head, n, sizeof *w->head);
    w->kind = qk_realloc(w->kind, n, sizeof *w->kind);
    const char *kind = qk_kind_name(w->format.kind);
    for (size_t i = 0; i < n; i++) {
        w->layer[i] = w->format.layer;
        w->head[i] = w->format.head;
        w->kind[i] = (qk_pq_text){kind, strlen(kind)};
    }
}

/* A log-sum-exp overflows where the finite vectors' scores do. */
static size_t nonfinite_rows(const qk_file_rows *r, size_t d)
{
    size_t n = qk_nonfinite_rows(r->vectors, r->n, d);
    for (size_t i = 0; r->lse && i < r->n; i++) {
        bool is_known = !r->has_lse || r->has_lse[i];
        n += is_known && !isfinite(r->lse[i]) && !qk_nonfinite_rows(r->vectors + i * d, 1, d);
    }
    return n;
}

qk_status qk_head_file_append(qk_head_file_writer *w, const qk_file_rows *r, qk_error *err)
{
    const qk_head_file_format *format = &w->format;
    grow(w, r->n);
    for (size_t i = 0; i < r->n; i++) w->has_window[i] = r->window[i] != 0;
    for (size_t i = 0; i < r->n; i++) w->has_id[i] = r->token_id && r->token_id[i] >= 0;
    w->nonfinite += nonfinite_rows(r, (size_t)format->d);
    qk_pq_values values[MAX_COLUMNS] = {
        {r->bucket, NULL},  {r->example_id, NULL},      {r->position, NULL},
        {r->vectors, NULL}, {r->window, w->has_window},
    };
    size_t n = 5;
    /* Of a column without values any others will do: all are null. */
    if (format->token_strings)
        values[n++] = (qk_pq_values){r->token_str ? r->token_str : w->no_text, NULL};
    if (format->token_ids)
        values[n++] = (qk_pq_values){r->token_id ? r->token_id : r->position, w->has_id};
    if (format->lse)
        values[n++] =
            (qk_pq_values){r->lse ? r->lse : r->vectors, r->lse ? r->has_lse : w->nothing};
    if (format->head_columns) {
        values[n++] = (qk_pq_values){w->layer, NULL};
        values[n++] = (qk_pq_values){w->head, NULL};
        values[n++] = (qk_pq_values){w->kind, NULL};
    }
    return qk_pq_append(w->file, r->n, values, err);
}

void qk_head_file_set_metadata(qk_head_file_writer *w, const char *key, const char *value)
{
    qk_pq_set_metadata(w->file, key, value);
}

static void free_writer(qk_head_file_writer *w)
{
    free(w->has_window);
    free(w->has_id);
    free(w->nothing);
    free(w->no_text);
    free(w->layer);
    free(w->head);
    free(w->kind);
    free(w);
}

uint64_t qk_head_file_nonfinite_written(const qk_head_file_writer *w)
{
    return w->nonfinite;
}

qk_status qk_head_file_commit(qk_head_file_writer *w, const char *shared_ids, uint64_t *bytes,
                              qk_error *err)
{
    if (shared_ids) qk_pq_set_metadata(w->file, SHARED_IDS, shared_ids);
    if (w->nonfinite) {
        char digits[24];
        snprintf(digits, sizeof digits, "%" PRIu64, w->nonfinite);
        qk_pq_set_metadata(w->file, NONFINITE, digits);
    }
    qk_status s = qk_pq_commit(w->file, bytes, err);
    free_writer(w);
    return s;
}

void qk_head_file_abort(qk_head_file_writer *w)
{
    if (!w) return;
    qk_pq_abort(w->file);
    free_writer(w);
}

/* ---- reading ---- */

/* Files of the reference have wider integers and untyped nulls in sliding_window. */
typedef struct int_column {
    qk_pq_cursor *cursor; /* NULL: absent, all null */
    qk_pq_type type;
    int32_t null; /* what stands for it */
    qk_buf out;
} int_column;

enum { BUCKET, EXAMPLE_ID, POSITION, WINDOW, TOKEN_ID, INT_COLUMNS };

struct qk_head_file_reader {
    qk_pq_file *file;
    int_column ints[INT_COLUMNS];
    qk_pq_cursor *vectors, *tokens, *lse;
    int d;
    qk_buf strings, texts; /* bytes of token_str, and a qk_pq_text each */
    qk_buf numbers, has;   /* of lse */
};

static qk_status wrong_column(const char *path, const char *name, qk_error *err)
{
    return qk_fail(err, QK_ERR_FORMAT, "is it a file of captured queries or keys?",
                   "%s: no column '%s' of the right type", path, name);
}

static qk_status open_int(qk_head_file_reader *r, int which, const char *name, bool required,
                          qk_error *err)
{
    int leaf = qk_pq_find(r->file, name);
    if (leaf < 0) return required ? wrong_column(r->file->path, name, err) : QK_OK;
    r->ints[which].type = r->file->leaves[leaf].type;
    if (r->ints[which].type != QK_PQ_T_INT32 && r->ints[which].type != QK_PQ_T_INT64)
        return wrong_column(r->file->path, name, err);
    return qk_pq_cursor_open(&r->ints[which].cursor, r->file, (size_t)leaf, err);
}

/* A column that need not be there. */
static qk_status open_other(qk_head_file_reader *r, const char *name, qk_pq_type type,
                            qk_pq_cursor **out, qk_error *err)
{
    int leaf = qk_pq_find(r->file, name);
    if (leaf < 0) return QK_OK;
    if (r->file->leaves[leaf].type != type || r->file->leaves[leaf].max_rep)
        return wrong_column(r->file->path, name, err);
    return qk_pq_cursor_open(out, r->file, (size_t)leaf, err);
}

/* The list's length: values of the first row group divided by its rows. */
static int list_size(const qk_pq_file *f, size_t leaf)
{
    for (size_t g = 0; g < f->n_groups; g++) {
        int64_t rows = f->groups[g].rows, values = f->groups[g].chunks[leaf].values;
        if (rows > 0 && values % rows == 0 && values / rows <= 1 << 16) return (int)(values / rows);
    }
    return 0;
}

static qk_status open_columns(qk_head_file_reader *r, int d, qk_error *err)
{
    QK_TRY(open_int(r, BUCKET, "bucket", true, err));
    QK_TRY(open_int(r, EXAMPLE_ID, "example_id", true, err));
    QK_TRY(open_int(r, POSITION, "position", true, err));
    QK_TRY(open_int(r, WINDOW, "sliding_window", false, err));
    QK_TRY(open_int(r, TOKEN_ID, "token_id", false, err));
    r->ints[TOKEN_ID].null = -1;
    int leaf = qk_pq_find(r->file, "vector.list.element");
    if (leaf < 0 || r->file->leaves[leaf].type != QK_PQ_T_FLOAT ||
        r->file->leaves[leaf].max_rep != 1)
        return wrong_column(r->file->path, "vector", err);
    QK_TRY(qk_pq_cursor_open(&r->vectors, r->file, (size_t)leaf, err));
    r->d = list_size(r->file, (size_t)leaf);
    if (!r->file->rows) r->d = d;
    if (r->d < 1 && r->file->rows) return wrong_column(r->file->path, "vector", err);
    if (d && r->d != d)
        return qk_fail(err, QK_ERR_CONFIG, "choose another output.data_root",
                       "%s: vectors of %d numbers, this model has %d", r->file->path, r->d, d);
    QK_TRY(open_other(r, "token_str", QK_PQ_T_BYTES, &r->tokens, err));
    return open_other(r, "lse", QK_PQ_T_FLOAT, &r->lse, err);
}

qk_status qk_head_file_open(qk_head_file_reader **out, const char *path, int d, qk_error *err)
{
    qk_head_file_reader *r = qk_zalloc(1, sizeof *r);
    qk_status s = qk_pq_open(&r->file, path, err);
    if (s == QK_OK) s = open_columns(r, d, err);
    if (s == QK_OK)
        *out = r;
    else
        qk_head_file_close(r);
    return s;
}

static qk_status short_column(const qk_head_file_reader *r, qk_error *err)
{
    return qk_fail(err, QK_ERR_FORMAT, "the file is damaged", "%s: columns of different lengths",
                   r->file->path);
}

/* n values of an integer column as int32. */
static qk_status read_ints(qk_head_file_reader *r, int which, size_t n, qk_error *err)
{
    int_column *c = &r->ints[which];
    qk_buf_clear(&c->out);
    qk_buf_reserve(&c->out, n * 4);
    int32_t *out = (int32_t *)(void *)c->out.data;
    for (size_t i = 0; i < n; i++) out[i] = c->null;
    for (size_t done = 0; done < n && c->cursor;) {
        qk_pq_batch b;
        QK_TRY(qk_pq_next(c->cursor, n - done, &b, err));
        if (!b.n) return short_column(r, err);
        for (size_t i = 0; i < b.n; i++, done++) {
            if (!b.valid[i]) continue;
            out[done] = c->type == QK_PQ_T_INT32 ? ((const int32_t *)b.values)[i]
                                                 : (int32_t)((const int64_t *)b.values)[i];
        }
    }
    return QK_OK;
}

static qk_status read_tokens(qk_head_file_reader *r, size_t n, qk_error *err)
{
    qk_buf_clear(&r->strings);
    qk_buf_clear(&r->texts);
    qk_buf_reserve(&r->texts, n * sizeof(qk_pq_text));
    qk_pq_text *texts = (qk_pq_text *)(void *)r->texts.data;
    for (size_t done = 0; done < n;) {
        qk_pq_batch b;
        QK_TRY(qk_pq_next(r->tokens, n - done, &b, err));
        if (!b.n) return short_column(r, err);
        for (size_t i = 0; i < b.n; i++, done++) {
            const qk_pq_bytes *text = (const qk_pq_bytes *)b.values + i;
            texts[done] = (qk_pq_text){NULL, b.valid[i] ? text->size : SIZE_MAX};
            if (b.valid[i]) qk_buf_add(&r->strings, text->data, text->size);
        }
    }
    /* The bytes stay where they are from here on. */
    const char *at = r->strings.data ? (const char *)r->strings.data : "";
    for (size_t i = 0; i < n; i++) {
        bool is_null = texts[i].size == SIZE_MAX;
        texts[i] = (qk_pq_text){is_null ? NULL : at, is_null ? 0 : texts[i].size};
        at += texts[i].size;
    }
    return QK_OK;
}

static qk_status read_lse(qk_head_file_reader *r, size_t n, qk_error *err)
{
    qk_buf_clear(&r->numbers);
    qk_buf_clear(&r->has);
    for (size_t done = 0; done < n;) {
        qk_pq_batch b;
        QK_TRY(qk_pq_next(r->lse, n - done, &b, err));
        if (!b.n) return short_column(r, err);
        qk_buf_add(&r->numbers, b.values, b.n * sizeof(float));
        qk_buf_add(&r->has, b.valid, b.n);
        done += b.n;
    }
    return QK_OK;
}

qk_status qk_head_file_next(qk_head_file_reader *r, qk_file_rows *rows, qk_error *err)
{
    *rows = (qk_file_rows){0};
    if (!r->d) return QK_OK; /* no rows */
    qk_pq_batch b;
    QK_TRY(qk_pq_next_floats(r->vectors, (size_t)r->d, 1 << 14, &b, err));
    rows->n = b.n;
    rows->vectors = b.values;
    if (!b.n) return QK_OK;
    if (memchr(b.valid, 0, b.n))
        return qk_fail(err, QK_ERR_FORMAT, "is it a file of captured queries or keys?",
                       "%s: a vector is null", r->file->path);
    for (int c = 0; c < INT_COLUMNS; c++) QK_TRY(read_ints(r, c, rows->n, err));
    if (r->tokens) QK_TRY(read_tokens(r, rows->n, err));
    if (r->lse) QK_TRY(read_lse(r, rows->n, err));
    rows->bucket = (const int32_t *)(void *)r->ints[BUCKET].out.data;
    rows->example_id = (const int32_t *)(void *)r->ints[EXAMPLE_ID].out.data;
    rows->position = (const int32_t *)(void *)r->ints[POSITION].out.data;
    rows->window = (const int32_t *)(void *)r->ints[WINDOW].out.data;
    if (r->ints[TOKEN_ID].cursor)
        rows->token_id = (const int32_t *)(void *)r->ints[TOKEN_ID].out.data;
    if (r->lse) rows->lse = (const float *)(void *)r->numbers.data;
    if (r->lse) rows->has_lse = r->has.data;
    rows->token_str = r->tokens ? (const qk_pq_text *)(void *)r->texts.data : NULL;
    return QK_OK;
}

void qk_head_file_add_columns(const qk_head_file_reader *r, qk_head_file_format *format)
{
    format->token_strings |= r->tokens != NULL;
    format->token_ids |= r->ints[TOKEN_ID].cursor != NULL;
    format->lse |= r->lse != NULL;
    format->head_columns |= qk_pq_find(r->file, "layer") >= 0 && qk_pq_find(r->file, "head") >= 0 &&
                            qk_pq_find(r->file, "kind") >= 0;
}
int qk_head_file_head_dim(const qk_head_file_reader *r)
{
    return r->d;
}
uint64_t qk_head_file_count(const qk_head_file_reader *r)
{
    return (uint64_t)r->file->rows;
}

uint64_t qk_head_file_nonfinite(const qk_head_file_reader *r)
{
    const char *digits = qk_pq_metadata(r->file, NONFINITE);
    return digits ? strtoull(digits, NULL, 10) : 0;
}

const char *qk_head_file_shared_ids(const qk_head_file_reader *r)
{
    return qk_pq_metadata(r->file, SHARED_IDS);
}

void qk_head_file_close(qk_head_file_reader *r)
{
    if (!r) return;
    for (int c = 0; c < INT_COLUMNS; c++) {
        qk_pq_cursor_close(r->ints[c].cursor);
        qk_buf_free(&r->ints[c].out);
    }
    qk_pq_cursor_close(r->vectors);
    qk_pq_cursor_close(r->tokens);
    qk_pq_cursor_close(r->lse);
    qk_pq_close(r->file);
    qk_buf_free(&r->strings);
    qk_buf_free(&r->texts);
    qk_buf_free(&r->numbers);
    qk_buf_free(&r->has);
    free(r);
}
