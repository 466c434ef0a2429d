/* What the formats share. See source.h. */
#include "engine/dataset/source.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/dataset/stream.h"
#include "formats/mistaken.h"

bool qk_source_meets_again(qk_status s)
{
    return s == QK_ERR_FORMAT || s == QK_ERR_UNSUPPORTED || s == QK_ERR_DATA;
}

qk_status qk_source_check_magic(qk_format format, const char *path, qk_error *err)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *what, *hint;
        qk_packing packing; /* files of such a name begin so */
    } magics[] = {
        {"PAR1", 4, "a Parquet file", NULL, QK_PACKING_NONE},
        {"\x1F\x8B", 2, "a gzip file", NULL, QK_PACKING_GZIP},
        {"\x28\xB5\x2F\xFD", 4, "a zstd file", NULL, QK_PACKING_ZSTD},
        {"PK\x03\x04", 4, "a zip archive", NULL, QK_PACKING_NONE},
        {"\xFF\xFE", 2, "UTF-16, not UTF-8", "save the file as UTF-8", QK_PACKING_NONE},
        {"\xFE\xFF", 2, "UTF-16, not UTF-8", "save the file as UTF-8", QK_PACKING_NONE},
    };
    char head[64];
    qk_packing packing = QK_PACKING_NONE;
    if (format != QK_FORMAT_PARQUET) QK_TRY(qk_stream_packing(path, &packing, err));
    FILE *f = fopen(path, "rbe");
    if (!f) return qk_fail_errno(err, "cannot open", path);
    size_t n = fread(head, 1, sizeof head, f);
    qk_status s = ferror(f) ? qk_fail_errno(err, "cannot read", path) : QK_OK;
    fclose(f);
    QK_TRY(s);
    bool any_text = format == QK_FORMAT_TEXT || format == QK_FORMAT_CSV;
    QK_TRY((any_text ? qk_refuse_pointer : qk_refuse_stand_in)(head, n, path, err));
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        if (n < magics[i].n || memcmp(head, magics[i].bytes, magics[i].n) != 0) continue;
        if (i == 0 && format == QK_FORMAT_PARQUET) continue;
        if (packing != QK_PACKING_NONE && packing == magics[i].packing) continue;
        return qk_fail(err, QK_ERR_FORMAT,
                       magics[i].hint ? magics[i].hint : "give it the name of its format",
                       "%s: this is %s", path, magics[i].what);
    }
    return QK_OK;
}

qk_status qk_source_open(qk_source **out, const qk_source_spec *spec, qk_error *err)
{
    *out = NULL;
    QK_TRY(qk_source_check_magic(spec->format, spec->path, err));
    switch (spec->format) {
    case QK_FORMAT_PARQUET: return qk_parquet_open(out, spec, err);
    case QK_FORMAT_JSON: return qk_jsonl_open(out, spec, err);
    case QK_FORMAT_CSV: return qk_csv_source_open(out, spec, err);
    case QK_FORMAT_TEXT: return qk_text_open(out, spec, err);
    }
    qk_fatal("format %d", (int)spec->format);
}

qk_status qk_source_next(qk_source *s, qk_row *row, bool *more, qk_error *err)
{
    *row = (qk_row){0};
    QK_TRY(s->type->next(s, row, more, err));
    s->at += *more;
    return QK_OK;
}

qk_status qk_source_skip(qk_source *s, int64_t rows, qk_error *err)
{
    if (s->type->skip) return s->type->skip(s, rows, err);
    qk_row row;
    for (bool more = true; rows > 0 && more; rows--) QK_TRY(qk_source_next(s, &row, &more, err));
    return QK_OK;
}

void qk_source_close(qk_source *s)
{
    if (s) s->type->close(s);
}

qk_status qk_source_count(int64_t *rows, const qk_source_spec *spec, qk_error *err)
{
    qk_source *s;
    QK_TRY(qk_source_open(&s, spec, err));
    qk_status status = s->rows < 0 ? qk_source_skip(s, INT64_MAX, err) : QK_OK;
    *rows = s->rows < 0 ? s->at : s->rows;
    qk_source_close(s);
    return status;
}

/* A name as a message shows it: one that is longer than a line is cut, and says so. */
static void add_shown(qk_buf *out, const char *name)
{
    enum { MAX_SHOWN = 80 };
    size_t n = strlen(name), cut = n > MAX_SHOWN ? MAX_SHOWN : n;
    while (cut < n && ((uint8_t)name[cut] & 0xC0) == 0x80) cut--; /* no half characters */
    qk_buf_add(out, name, cut);
    if (cut < n) qk_buf_addf(out, "... (%zu bytes)", n);
}

qk_status qk_source_no_column(const char *path, const char *column, const qk_names *found,
                              qk_error *err)
{
    qk_buf list = {0}, hint = {0}, asked = {0};
    const char **known = qk_alloc(found->count + 1, sizeof *known);
    for (size_t i = 0; i < found->count; i++) {
        if (i) qk_buf_add_str(&list, ", ");
        add_shown(&list, found->items[i]);
        known[i] = found->items[i];
    }
    known[found->count] = NULL;
    add_shown(&asked, column);
    const char *nearest = qk_nearest(column, known);
    if (nearest) qk_buf_addf(&hint, "did you mean '%s'?", nearest);
    qk_status s =
        qk_fail(err, QK_ERR_NOTFOUND,
                nearest ? qk_buf_str(&hint) : "set dataset.text_column or dataset.id_column",
                "%s: there is no column '%s'; the columns are %s", path, qk_buf_str(&asked),
                found->count ? qk_buf_str(&list) : "none");
    free(known);
    qk_buf_free(&list);
    qk_buf_free(&hint);
    qk_buf_free(&asked);
    return s;
}
