/* CSV and TSV rows: a header of column names, then a record a row (csv_row.h). A field that a short
 * record lacks is null. See source.h.
 *
 * The type of a column is known only when a chunk of rows is read (csv_type.h). So two readers go
 * through the file: the scout is a chunk ahead and keeps nothing but the types, the other one gives
 * the rows. Memory is one record each. */
#include <stdlib.h>
#include <string.h>

#include "engine/dataset/csv_row.h"
#include "engine/dataset/csv_type.h"

enum { NONE = -1 };

typedef struct column {
    int64_t at;              /* its number in the header, or NONE */
    qk_csv_kind type, chunk; /* of the column and of the rows that are read */
    qk_buf keep;             /* a text that was cast */
} column;

typedef struct csv_source {
    qk_source base;
    qk_csv rows, scout;
    column text, id;
} csv_source;

/* ---- opening ---- */

static qk_status find_column(csv_source *s, const char *name, int64_t *at, qk_error *err)
{
    *at = NONE;
    for (size_t i = 0; i < s->rows.count; i++) {
        char *found = qk_csv_header_name(&s->rows, i);
        bool same = !strcmp(found, name);
        free(found);
        if (!same) continue;
        if (*at != NONE)
            return qk_fail(err, QK_ERR_FORMAT, "rename one of them",
                           "%s: two columns are named '%s'", s->base.spec.path, name);
        *at = (int64_t)i;
    }
    return QK_OK;
}

static qk_status no_column(csv_source *s, const char *name, qk_error *err)
{
    qk_names found = {0};
    for (size_t i = 0; i < s->rows.count && i < 64; i++) {
        char *known = qk_csv_header_name(&s->rows, i);
        qk_names_add(&found, known);
        free(known);
    }
    qk_status status = qk_source_no_column(s->base.spec.path, name, &found, err);
    qk_names_free(&found);
    return status;
}

static qk_status read_header(csv_source *s, qk_error *err)
{
    const qk_source_spec *spec = &s->base.spec;
    bool more;
    QK_TRY(qk_csv_next(&s->rows, &more, err));
    if (!more)
        return qk_fail(err, QK_ERR_FORMAT, "the first line must name the columns",
                       "%s: no header: the file is empty", spec->path);
    QK_TRY(find_column(s, spec->text_column, &s->text.at, err));
    if (s->text.at == NONE) return no_column(s, spec->text_column, err);
    if (spec->id_column) QK_TRY(find_column(s, spec->id_column, &s->id.at, err));
    if (spec->id_column && s->id.at == NONE && !spec->is_later)
        return no_column(s, spec->id_column, err);
    return qk_csv_next(&s->scout, &more, err);
}

/* ---- rows ---- */

/* Null words are null whatever the column is, so a field that is not there is the empty one. */
static qk_csv_field field_of(const qk_csv *csv, const column *c)
{
    if (c->at == NONE || (size_t)c->at >= csv->count) return (qk_csv_field){"", 0};
    return csv->fields[c->at];
}

static void guess_add(qk_csv_guess *g, const qk_csv *csv, const column *c)
{
    qk_csv_field f = field_of(csv, c);
    qk_csv_guess_add(g, f.text, f.length);
}

/* A column of nothing but nulls is one of numbers; of no rows, one of nulls. */
static qk_id_type id_type(const csv_source *s, bool any)
{
    qk_id_type t = {.is_known = true, .bits = 64};
    if (s->id.at == NONE || !any) return (qk_id_type){.is_known = true};
    switch (s->id.type) {
    case QK_CSV_INT: t.kind = QK_CELL_INT; return t;
    case QK_CSV_UINT:
    case QK_CSV_HUGE: t.kind = QK_CELL_UINT; return t;
    case QK_CSV_NULL:
    case QK_CSV_INT_OR_NULL:
    case QK_CSV_FLOAT: t.kind = QK_CELL_FLOAT; return t;
    case QK_CSV_BOOL: return (qk_id_type){.is_known = true, .kind = QK_CELL_BOOL};
    case QK_CSV_TEXT:
    case QK_CSV_RAW: break;
    }
    return (qk_id_type){.is_known = true, .kind = QK_CELL_TEXT};
}

/* The types of the next chunk. An error that reading its rows reports ends it without a word. */
static qk_status scout_chunk(csv_source *s, qk_error *err)
{
    qk_csv_guess text = {0}, id = {0};
    qk_error own;
    qk_status status = QK_OK;
    bool more = true;
    for (int i = 0; i < QK_CSV_CHUNK; i++) {
        status = qk_csv_next(&s->scout, &more, &own);
        if (status != QK_OK || !more) break;
        guess_add(&text, &s->scout, &s->text);
        if (s->id.at != NONE) guess_add(&id, &s->scout, &s->id);
    }
    s->text.chunk = qk_csv_guess_kind(&text);
    s->id.chunk = qk_csv_guess_kind(&id);
    if (status != QK_OK && !qk_source_meets_again(status)) {
        *err = own;
        return status;
    }
    if (s->rows.record >= 0) return QK_OK;
    s->text.type = s->text.chunk;
    s->id.type = s->id.chunk;
    s->base.id_type = id_type(s, id.values || id.null);
    return QK_OK;
}

static qk_status cell_of(csv_source *s, column *c, qk_cell *out, qk_error *err)
{
    qk_csv_field f = field_of(&s->rows, c);
    const qk_source_spec *spec = &s->base.spec;
    if (qk_csv_cell(out, f.text, f.length, c->chunk, c->type, &c->keep, err) != QK_OK)
        return qk_error_prefix(err, "%s: row %lld (from 0): '%s'", spec->path,
                               (long long)s->rows.record,
                               c == &s->text ? spec->text_column : spec->id_column);
    return QK_OK;
}

static qk_status csv_next(qk_source *base, qk_row *row, bool *more, qk_error *err)
{
    csv_source *s = (csv_source *)base;
    if ((s->rows.record + 1) % QK_CSV_CHUNK == 0) QK_TRY(scout_chunk(s, err));
    QK_TRY(qk_csv_next(&s->rows, more, err));
    if (!*more) return QK_OK;
    *more = false;
    QK_TRY(cell_of(s, &s->text, &row->text, err));
    if (row->text.kind != QK_CELL_TEXT && row->text.kind != QK_CELL_NULL)
        return qk_fail(err, QK_ERR_DATA, "set dataset.text_column to a column of texts",
                       "%s: row %lld (from 0): '%s' holds %s, not texts", base->spec.path,
                       (long long)s->rows.record, base->spec.text_column,
                       qk_csv_kind_name(s->text.chunk));
    if (s->id.at != NONE) QK_TRY(cell_of(s, &s->id, &row->id, err));
    *more = true;
    return QK_OK;
}

static void csv_close(qk_source *base)
{
    csv_source *s = (csv_source *)base;
    qk_csv_close(&s->rows);
    qk_csv_close(&s->scout);
    qk_buf_free(&s->text.keep);
    qk_buf_free(&s->id.keep);
    free(s);
}

static const qk_source_type csv_type = {csv_next, NULL, csv_close};

qk_status qk_csv_source_open(qk_source **out, const qk_source_spec *spec, qk_error *err)
{
    csv_source *s = qk_zalloc(1, sizeof *s);
    s->base = (qk_source){.type = &csv_type, .spec = *spec, .rows = -1};
    s->text.at = s->id.at = NONE;
    qk_status status = qk_csv_open(&s->rows, spec->path, err);
    if (status == QK_OK) status = qk_csv_open(&s->scout, spec->path, err);
    if (status == QK_OK) status = read_header(s, err);
    if (status != QK_OK) {
        csv_close(&s->base);
        return status;
    }
    *out = &s->base;
    return QK_OK;
}
