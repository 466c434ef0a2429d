/* Parquet rows: the text column and the id column, page by page. See source.h and
 * formats/parquet_read.h.
 *
 * Id columns of integers, floats, booleans and strings are read; other types are refused by name.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/dataset/source.h"
#include "formats/parquet_read.h"

/* One column being walked. */
typedef struct column {
    qk_pq_cursor *cursor; /* NULL: the column does not exist and gives nulls */
    const qk_pq_leaf *leaf;
    qk_pq_batch batch;
    size_t at;
} column;

typedef struct parquet_source {
    qk_source base;
    qk_pq_file *file;
    column text, id;
} parquet_source;

static qk_status column_next(column *c, size_t *row, bool *more, qk_error *err)
{
    if (c->at == c->batch.n) {
        c->at = 0;
        QK_TRY(qk_pq_next(c->cursor, SIZE_MAX, &c->batch, err));
    }
    *more = c->batch.n > 0;
    *row = c->at++;
    return QK_OK;
}

static void to_cell(const column *c, size_t i, qk_cell *cell)
{
    *cell = (qk_cell){.kind = QK_CELL_NULL};
    if (!c->batch.valid[i]) return;
    const void *v = c->batch.values;
    switch (c->leaf->type) {
    case QK_PQ_T_BOOLEAN:
        cell->kind = QK_CELL_BOOL;
        cell->integer = ((const uint8_t *)v)[i];
        return;
    case QK_PQ_T_INT32:
        cell->kind = QK_CELL_INT;
        cell->integer =
            c->leaf->is_unsigned ? (int64_t)((const uint32_t *)v)[i] : ((const int32_t *)v)[i];
        return;
    case QK_PQ_T_INT64:
        cell->integer = ((const int64_t *)v)[i];
        cell->natural = (uint64_t)cell->integer;
        cell->kind = c->leaf->is_unsigned && cell->integer < 0 ? QK_CELL_UINT : QK_CELL_INT;
        return;
    case QK_PQ_T_FLOAT:
        cell->kind = QK_CELL_FLOAT;
        cell->number = (double)((const float *)v)[i];
        return;
    case QK_PQ_T_DOUBLE:
        cell->kind = QK_CELL_FLOAT;
        cell->number = ((const double *)v)[i];
        return;
    default: break;
    }
    const qk_pq_bytes *b = (const qk_pq_bytes *)v + i;
    cell->kind = QK_CELL_TEXT;
    cell->text = (const char *)b->data;
    cell->length = b->size;
}

static qk_status check_utf8(const qk_source *s, const qk_cell *cell, const char *name,
                            qk_error *err)
{
    if (cell->kind != QK_CELL_TEXT) return QK_OK;
    size_t bad = qk_utf8_check((const uint8_t *)cell->text, cell->length);
    if (bad == cell->length) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, "store the column as UTF-8",
                   "%s: row %lld, column '%s': not valid UTF-8 at byte %zu", s->spec.path,
                   (long long)s->at, name, bad);
}

static qk_status parquet_next(qk_source *base, qk_row *row, bool *more, qk_error *err)
{
    parquet_source *s = (parquet_source *)base;
    size_t i;
    QK_TRY(column_next(&s->text, &i, more, err));
    if (!*more) return QK_OK;
    to_cell(&s->text, i, &row->text);
    QK_TRY(check_utf8(base, &row->text, base->spec.text_column, err));
    row->id = (qk_cell){.kind = QK_CELL_NULL};
    if (!s->id.cursor) return QK_OK;
    bool same = true;
    QK_TRY(column_next(&s->id, &i, &same, err));
    if (!same)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: column '%s' ends before column '%s'",
                       base->spec.path, base->spec.id_column, base->spec.text_column);
    to_cell(&s->id, i, &row->id);
    return check_utf8(base, &row->id, base->spec.id_column, err);
}

static qk_status skip_column(column *c, int64_t rows, qk_error *err)
{
    int64_t ready = (int64_t)(c->batch.n - c->at), now = rows < ready ? rows : ready;
    c->at += (size_t)now;
    return rows == now ? QK_OK : qk_pq_skip(c->cursor, rows - now, err);
}

static qk_status parquet_skip(qk_source *base, int64_t rows, qk_error *err)
{
    parquet_source *s = (parquet_source *)base;
    if (rows > base->rows - base->at) rows = base->rows - base->at;
    base->at += rows;
    QK_TRY(skip_column(&s->text, rows, err));
    return s->id.cursor ? skip_column(&s->id, rows, err) : QK_OK;
}

static void parquet_close(qk_source *base)
{
    parquet_source *s = (parquet_source *)base;
    qk_pq_cursor_close(s->text.cursor);
    qk_pq_cursor_close(s->id.cursor);
    qk_pq_close(s->file);
    free(s);
}

static const qk_source_type parquet_type = {parquet_next, parquet_skip, parquet_close};

static qk_status no_column(const qk_pq_file *f, const char *name, qk_error *err)
{
    qk_names found = {0};
    for (size_t i = 0; i < f->n_leaves; i++)
        if (!i || strcmp(f->leaves[i].top, f->leaves[i - 1].top))
            qk_names_add(&found, f->leaves[i].top);
    qk_status s = qk_source_no_column(f->path, name, &found, err);
    qk_names_free(&found);
    return s;
}

static qk_status open_column(const qk_pq_file *f, const char *name, column *c, qk_error *err)
{
    int leaf = qk_pq_find(f, name);
    if (leaf == -2)
        return qk_fail(err, QK_ERR_FORMAT, "rename one of them", "%s: two columns are named '%s'",
                       f->path, name);
    if (leaf < 0) return no_column(f, name, err);
    c->leaf = &f->leaves[leaf];
    return qk_pq_cursor_open(&c->cursor, f, (size_t)leaf, err);
}

static qk_status refuse_type(const qk_pq_file *f, const qk_pq_leaf *l, const char *use,
                             qk_error *err)
{
    return qk_fail(err, QK_ERR_UNSUPPORTED, "choose another column, or store it as a string",
                   "%s: column '%s' holds %s%s%s: not a type for %s", f->path, l->path,
                   qk_pq_type_name(l->type), l->other ? ", " : "", l->other ? l->other : "", use);
}

static qk_status open_columns(parquet_source *s, qk_error *err)
{
    const qk_source_spec *spec = &s->base.spec;
    const qk_pq_file *f = s->file;
    QK_TRY(open_column(f, spec->text_column, &s->text, err));
    const qk_pq_leaf *l = s->text.leaf;
    /* Old writers leave strings without saying so. */
    if (l->type != QK_PQ_T_BYTES || l->meaning == QK_PQ_M_OTHER)
        return refuse_type(f, l, "text", err);
    if (!spec->id_column) return QK_OK;
    if (spec->id_may_be_missing && qk_pq_find(f, spec->id_column) < 0) return QK_OK;
    QK_TRY(open_column(f, spec->id_column, &s->id, err));
    l = s->id.leaf;
    if (l->other && !strcmp(l->other, "null")) return QK_OK; /* a column that holds nulls only */
    bool plain =
        l->meaning == QK_PQ_M_NONE || l->meaning == QK_PQ_M_STRING || l->meaning == QK_PQ_M_INT;
    bool bytes = l->type == QK_PQ_T_BYTES && l->meaning != QK_PQ_M_STRING;
    if (!plain || bytes || l->type == QK_PQ_T_FIXED || l->type == QK_PQ_T_INT96)
        return refuse_type(f, l, "ids", err);
    return QK_OK;
}

qk_status qk_parquet_open(qk_source **out, const qk_source_spec *spec, qk_error *err)
{
    *out = NULL;
    qk_pq_file *file;
    QK_TRY(qk_pq_open(&file, spec->path, err));
    parquet_source *s = qk_zalloc(1, sizeof *s);
    s->base = (qk_source){.type = &parquet_type, .spec = *spec, .rows = file->rows};
    s->file = file;
    qk_status status = open_columns(s, err);
    if (status == QK_OK)
        *out = &s->base;
    else
        parquet_close(&s->base);
    return status;
}
