/* Parquet rows: a column of strings and one of ids, read side by side. See source.h.
 *
 * The text column is a string, or bytes that are UTF-8 (old Impala and Hive did not say which). It
 * may be inside structs: "doc.text", unless a column at the top is called just that. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/dataset/parquet_id.h"
#include "engine/dataset/source.h"

enum { BATCH_ROWS = 1024 };

typedef struct column {
    const qk_pq_leaf *leaf;
    qk_pq_cursor *cursor; /* NULL: every value is null */
    qk_pq_batch batch;
    size_t at; /* rows of the batch given */
} column;

typedef struct parquet_source {
    qk_source base;
    qk_pq_file *file;
    column text, id;
    qk_buf id_text;
} parquet_source;

/* ---- opening ---- */

/* A struct or a list may be called so; else the columns there are. */
static qk_status no_such_leaf(const qk_pq_file *f, const char *name, qk_error *err)
{
    size_t n = strlen(name);
    qk_names found = {0};
    for (size_t i = 0; i < f->n_leaves; i++) {
        const qk_pq_leaf *leaf = &f->leaves[i];
        const char *known = leaf->max_rep ? leaf->top : leaf->path;
        bool inside = !leaf->is_top && !strncmp(leaf->path, name, n) && leaf->path[n] == '.';
        if (inside) {
            qk_names_free(&found);
            return leaf->max_rep
                       ? qk_fail(err, QK_ERR_UNSUPPORTED, NULL,
                                 "%s: the column '%s' is repeated (a list), not one value a row",
                                 f->path, name)
                       : qk_fail(err, QK_ERR_NOTFOUND, "name one of its fields",
                                 "%s: the column '%s' is a struct, which holds '%s'", f->path, name,
                                 leaf->path);
        }
        if (!found.count || strcmp(found.items[found.count - 1], known) != 0)
            qk_names_add(&found, known);
    }
    qk_status s = qk_source_no_column(f->path, name, &found, err);
    qk_names_free(&found);
    return s;
}

static qk_status open_column(column *c, const qk_pq_file *f, const char *name, qk_error *err)
{
    int at = qk_pq_find(f, name);
    if (at == -1) return no_such_leaf(f, name, err);
    if (at < 0)
        return qk_fail(err, QK_ERR_FORMAT, "rename one of them", "%s: two columns are named '%s'",
                       f->path, name);
    c->leaf = &f->leaves[at];
    return qk_pq_cursor_open(&c->cursor, f, (size_t)at, err);
}

static qk_status check_text(const qk_pq_file *f, const qk_pq_leaf *leaf, qk_error *err)
{
    char logical[40];
    qk_pq_meaning meaning = leaf->logical.meaning;
    if (leaf->max_rep)
        return qk_fail(err, QK_ERR_UNSUPPORTED, NULL,
                       "%s: the column '%s' is repeated (a list), not one string a row", f->path,
                       leaf->path);
    if (leaf->type == QK_PQ_T_BYTES && (meaning == QK_PQ_M_STRING || meaning == QK_PQ_M_NONE ||
                                        meaning == QK_PQ_M_ENUM || meaning == QK_PQ_M_JSON))
        return QK_OK;
    return qk_fail(err, QK_ERR_UNSUPPORTED, "set dataset.text_column to a column of strings",
                   "%s: the column '%s' is %s%s%s, not a string", f->path, leaf->path,
                   qk_pq_type_name((int)leaf->type), meaning ? " " : "",
                   qk_pq_logical_name(&leaf->logical, logical));
}

static qk_status open_columns(parquet_source *s, qk_error *err)
{
    const qk_source_spec *spec = &s->base.spec;
    QK_TRY(open_column(&s->text, s->file, spec->text_column, err));
    QK_TRY(check_text(s->file, s->text.leaf, err));
    s->base.id_type = (qk_id_type){.is_known = true, .kind = QK_CELL_NULL};
    if (!spec->id_column) return QK_OK;
    if (spec->is_later && qk_pq_find(s->file, spec->id_column) == -1) return QK_OK;
    QK_TRY(open_column(&s->id, s->file, spec->id_column, err));
    /* The type of ids, from Parquet's schema and the Arrow schema beside it, if there is one. */
    const qk_pq_leaf *leaf = s->id.leaf;
    const char *schema = qk_pq_metadata(s->file, "ARROW:schema");
    const char *inside = leaf->is_top ? NULL : leaf->path + strlen(leaf->top) + 1;
    qk_arrow_type arrow = {0};
    qk_status status = QK_OK;
    if (schema && !leaf->max_rep)
        status =
            qk_arrow_schema_column(&arrow, schema, leaf->top_index, s->file->n_top, inside, err);
    if (status == QK_OK) status = qk_parquet_id_type(&s->base.id_type, leaf, &arrow, err);
    return status == QK_OK ? QK_OK : qk_error_prefix(err, "%s", spec->path);
}

/* ---- rows ---- */

/* Makes c->at the slot of the next row; *more is false at the end. */
static qk_status advance(column *c, bool *more, qk_error *err)
{
    if (c->at == c->batch.n) {
        c->at = 0;
        QK_TRY(qk_pq_next(c->cursor, BATCH_ROWS, &c->batch, err));
    }
    *more = c->batch.n > 0;
    return QK_OK;
}

static qk_status set_text(parquet_source *s, qk_cell *cell, qk_error *err)
{
    column *c = &s->text;
    const qk_pq_bytes *b = (const qk_pq_bytes *)c->batch.values + c->at;
    if (!c->batch.valid[c->at++]) return QK_OK;
    *cell = (qk_cell){.kind = QK_CELL_TEXT, .text = (const char *)b->data, .length = b->size};
    if (!b->size) cell->text = "";
    if (qk_utf8_check(b->data, b->size) == b->size) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, "texts must be UTF-8", "'%s' is not valid UTF-8",
                   c->leaf->path);
}

static qk_status parquet_next(qk_source *base, qk_row *row, bool *more, qk_error *err)
{
    parquet_source *s = (parquet_source *)base;
    QK_TRY(advance(&s->text, more, err));
    if (*more && s->id.cursor) QK_TRY(advance(&s->id, more, err));
    if (!*more) return QK_OK;
    qk_status status = set_text(s, &row->text, err);
    if (status == QK_OK && s->id.cursor)
        status = qk_parquet_id(&row->id, s->id.leaf, &s->base.id_type, &s->id.batch, s->id.at++,
                               &s->id_text, err);
    if (status == QK_OK) return QK_OK;
    return qk_error_prefix(err, "%s: row %lld (from 0)", base->spec.path, (long long)base->at);
}

static qk_status skip_column(column *c, int64_t rows, qk_error *err)
{
    int64_t ready = (int64_t)(c->batch.n - c->at), here = rows < ready ? rows : ready;
    c->at += (size_t)here;
    return rows > here && c->cursor ? qk_pq_skip(c->cursor, rows - here, err) : QK_OK;
}

static qk_status parquet_skip(qk_source *base, int64_t rows, qk_error *err)
{
    parquet_source *s = (parquet_source *)base;
    if (rows > base->rows - base->at) rows = base->rows - base->at;
    if (rows <= 0) return QK_OK;
    QK_TRY(skip_column(&s->text, rows, err));
    QK_TRY(skip_column(&s->id, rows, err));
    base->at += rows;
    return QK_OK;
}

static void parquet_close(qk_source *base)
{
    parquet_source *s = (parquet_source *)base;
    qk_pq_cursor_close(s->text.cursor);
    qk_pq_cursor_close(s->id.cursor);
    qk_pq_close(s->file);
    qk_buf_free(&s->id_text);
    free(s);
}

static const qk_source_type parquet_type = {parquet_next, parquet_skip, parquet_close};

qk_status qk_parquet_open(qk_source **out, const qk_source_spec *spec, qk_error *err)
{
    qk_pq_file *file;
    QK_TRY(qk_pq_open(&file, spec->path, err));
    parquet_source *s = qk_zalloc(1, sizeof *s);
    s->base = (qk_source){.type = &parquet_type, .spec = *spec, .rows = file->rows};
    s->file = file;
    qk_status status = open_columns(s, err);
    if (status != QK_OK) {
        parquet_close(&s->base);
        return status;
    }
    *out = &s->base;
    return QK_OK;
}
