/* See columns.h. */
#include "engine/dataset/columns.h"

#include <stdlib.h>
#include <string.h>

#include "engine/dataset/csv_row.h"
#include "engine/dataset/csv_type.h"
#include "engine/dataset/json_rows.h"
#include "formats/parquet_read.h"

enum { SAMPLE_ROWS = 1000 };

static void add(qk_columns *c, const char *name, const char *type)
{
    QK_GROW(c->items, c->count, c->capacity);
    c->items[c->count++] = (qk_column){qk_strdup(name), qk_strdup(type)};
}

bool qk_columns_have(const qk_columns *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (!strcmp(c->items[i].name, name)) return true;
    return false;
}

void qk_columns_free(qk_columns *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->items[i].name);
        free(c->items[i].type);
    }
    free(c->items);
    *c = (qk_columns){0};
}

/* ---- Parquet ---- */

static qk_status parquet_columns(qk_columns *out, const char *path, qk_error *err)
{
    qk_pq_file *f;
    QK_TRY(qk_pq_open(&f, path, err));
    for (size_t i = 0; i < f->n_leaves && out->count < QK_MAX_COLUMNS; i++) {
        const qk_pq_leaf *leaf = &f->leaves[i];
        char logical[40];
        const char *meaning = qk_pq_logical_name(&leaf->logical, logical);
        char *type = qk_strf("%s%s%s%s", leaf->max_rep ? "list of " : "",
                             qk_pq_type_name(leaf->type), *meaning ? " " : "", meaning);
        add(out, leaf->path, type);
        free(type);
    }
    qk_pq_close(f);
    return QK_OK;
}

qk_status qk_columns_parquet_rows(const char *path, int64_t *rows, qk_error *err)
{
    qk_pq_file *f;
    QK_TRY(qk_pq_open(&f, path, err));
    *rows = f->rows;
    qk_pq_close(f);
    return QK_OK;
}

/* ---- JSON ---- */

static const char *json_type(const qk_json_reader *r, qk_json_event e)
{
    switch (e) {
    case QK_JSON_STRING: return "string";
    case QK_JSON_TRUE:
    case QK_JSON_FALSE: return "boolean";
    case QK_JSON_OBJECT: return "object";
    case QK_JSON_ARRAY: return "list";
    case QK_JSON_NUMBER:
        for (size_t i = 0; i < r->length; i++)
            if (strchr(".eEIN", r->text[i])) return "float";
        return "integer";
    default: return "null";
    }
}

/* Adds a type to those that the column has been seen with. */
static void note_type(qk_columns *c, const char *name, const char *type)
{
    for (size_t i = 0; i < c->count; i++) {
        qk_column *known = &c->items[i];
        if (strcmp(known->name, name) != 0) continue;
        bool was_null = !strcmp(known->type, "null");
        if (!strcmp(type, "null") || strstr(known->type, type)) return;
        char *both = was_null ? qk_strdup(type) : qk_strf("%s or %s", known->type, type);
        free(known->type);
        known->type = both;
        return;
    }
    if (c->count < QK_MAX_COLUMNS) add(c, name, type);
}

static bool json_row(void *context, qk_json_reader *r, qk_json_event e)
{
    qk_columns *c = context;
    if (e == QK_JSON_STRING) return note_type(c, "text", "string"), true;
    for (;;) {
        e = qk_json_next(r);
        if (e == QK_JSON_OBJECT_END) return true;
        if (e != QK_JSON_KEY) return false;
        char *name = qk_strndup(r->text, r->length);
        e = qk_json_next(r);
        if (e != QK_JSON_ERROR) note_type(c, name, json_type(r, e));
        free(name);
        if (e == QK_JSON_ERROR || !qk_json_skip(r, e)) return false;
    }
}

static qk_status json_columns(qk_columns *out, const char *path, qk_error *err)
{
    qk_json_rows rows;
    QK_TRY(qk_json_rows_open(&rows, path, err));
    bool more = true;
    qk_status s = QK_OK;
    for (int i = 0; i < SAMPLE_ROWS && more && s == QK_OK; i++)
        s = qk_json_rows_next(&rows, json_row, out, &more, err);
    qk_json_rows_close(&rows);
    return s;
}

/* ---- CSV ---- */

static qk_status csv_columns(qk_columns *out, const char *path, qk_error *err)
{
    qk_csv csv = {0};
    bool more;
    qk_status s = qk_csv_open(&csv, path, err);
    if (s == QK_OK) s = qk_csv_next(&csv, &more, err);
    size_t n = s == QK_OK ? csv.count : 0;
    if (n > QK_MAX_COLUMNS) n = QK_MAX_COLUMNS;
    for (size_t i = 0; i < n; i++) {
        char *name = qk_csv_header_name(&csv, i);
        add(out, name, "");
        free(name);
    }
    qk_csv_guess *guesses = qk_zalloc(n + 1, sizeof *guesses);
    for (int row = 0; row < SAMPLE_ROWS && s == QK_OK; row++) {
        s = qk_csv_next(&csv, &more, err);
        if (s != QK_OK || !more) break;
        for (size_t i = 0; i < n; i++) {
            bool there = i < csv.count;
            qk_csv_guess_add(&guesses[i], there ? csv.fields[i].text : "",
                             there ? csv.fields[i].length : 0);
        }
    }
    for (size_t i = 0; i < n; i++) {
        free(out->items[i].type);
        out->items[i].type = qk_strdup(qk_csv_kind_name(qk_csv_guess_kind(&guesses[i])));
    }
    free(guesses);
    qk_csv_close(&csv);
    return s;
}

qk_status qk_columns_find(qk_columns *out, qk_format format, const char *path, qk_error *err)
{
    *out = (qk_columns){0};
    qk_status s = QK_OK;
    QK_TRY(qk_source_check_magic(format, path, err));
    switch (format) {
    case QK_FORMAT_PARQUET: s = parquet_columns(out, path, err); break;
    case QK_FORMAT_JSON: s = json_columns(out, path, err); break;
    case QK_FORMAT_CSV: s = csv_columns(out, path, err); break;
    case QK_FORMAT_TEXT: add(out, "text", "string"); break;
    }
    if (s != QK_OK) qk_columns_free(out);
    return s;
}
