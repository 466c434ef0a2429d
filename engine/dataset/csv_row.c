/* See csv_row.h. */
#include "engine/dataset/csv_row.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/dataset/format.h"

typedef enum outcome { DONE, CUT, BAD } outcome; /* CUT: the window ends inside the record */

/* "path: row 3 (from 0), byte 35: what", about the record that was read or begun last. */
static qk_status fail(const qk_csv *csv, const char *what, const char *hint, qk_error *err)
{
    if (csv->record < 0)
        return qk_fail(err, QK_ERR_FORMAT, hint, "%s: the header: %s", csv->in.path, what);
    return qk_fail(err, QK_ERR_FORMAT, hint, "%s: row %lld (from 0), byte %llu: %s", csv->in.path,
                   (long long)csv->record, (unsigned long long)csv->offset, what);
}

qk_status qk_csv_open(qk_csv *csv, const char *path, qk_error *err)
{
    *csv =
        (qk_csv){.delimiter = qk_format_is_tsv(path) ? '\t' : ',', .max_fields = QK_CSV_MAX_FIELDS};
    csv->record = -2;
    QK_TRY(qk_stream_open(&csv->in, path, err));
    qk_stream *in = &csv->in;
    if (in->end - in->at >= 3 && !memcmp(in->at, "\xEF\xBB\xBF", 3)) in->at += 3;
    return QK_OK;
}

/* ---- one record ---- */

static void add_field(qk_csv *csv, const char *text, size_t length, size_t offset)
{
    QK_GROW(csv->fields, csv->count, csv->capacity);
    if (csv->n_offsets < csv->capacity) {
        csv->n_offsets = csv->capacity;
        csv->offsets = qk_realloc(csv->offsets, csv->n_offsets, sizeof *csv->offsets);
    }
    csv->offsets[csv->count] = offset;
    csv->fields[csv->count++] = (qk_csv_field){text, length};
}

static const char *find_field_end(const qk_csv *csv, const char *p)
{
    const char *end = csv->in.end, delimiter = csv->delimiter;
    while (p < end && *p != delimiter && *p != '\n' && *p != '\r') p++;
    return p;
}

static outcome plain_field(qk_csv *csv, const char **at)
{
    const char *start = *at;
    *at = find_field_end(csv, start);
    if (*at == csv->in.end && !csv->in.ended) return CUT;
    add_field(csv, start, (size_t)(*at - start), SIZE_MAX);
    return DONE;
}

/* *at is the first quote. The field is borrowed when only its ends are quotes. */
static outcome quoted_field(qk_csv *csv, const char **at, const char **bad)
{
    const char *start = *at + 1, *end = csv->in.end;
    size_t offset = csv->unquoted.size;
    bool copied = false;
    for (;;) {
        const char *quote = memchr(start, '"', (size_t)(end - start));
        if (!quote && csv->in.ended) *bad = "a quote that never closes";
        if (!quote) return csv->in.ended ? BAD : CUT;
        if (quote + 1 == end && !csv->in.ended) return CUT;
        bool doubled = quote + 1 < end && quote[1] == '"';
        const char *stop = doubled ? quote + 1 : find_field_end(csv, quote + 1);
        if (stop == end && !csv->in.ended) return CUT;
        if (!doubled && stop == quote + 1 && !copied) { /* no copy */
            add_field(csv, start, (size_t)(quote - start), SIZE_MAX);
            *at = stop;
            return DONE;
        }
        copied = true;
        qk_buf_add(&csv->unquoted, start, (size_t)(quote - start) + doubled);
        if (!doubled) qk_buf_add(&csv->unquoted, quote + 1, (size_t)(stop - quote - 1));
        start = *at = stop + doubled;
        if (doubled) continue;
        add_field(csv, NULL, csv->unquoted.size - offset, offset);
        *at = stop;
        return DONE;
    }
}

/* *at is behind a field: at a line end or the end of the file. Moves it to the next record. */
static outcome line_end(const qk_csv *csv, const char **at)
{
    const char *p = *at, *end = csv->in.end;
    if (p < end && *p == '\r' && p + 1 == end && !csv->in.ended) return CUT;
    if (p < end) p += *p == '\r' && p + 1 < end && p[1] == '\n' ? 2 : 1;
    *at = p;
    return DONE;
}

static outcome record(qk_csv *csv, const char **at, const char **bad)
{
    csv->count = 0;
    qk_buf_clear(&csv->unquoted);
    for (;; ++*at) {
        if (csv->count == csv->max_fields) {
            *bad = csv->record < 0 ? "more than 100000 columns" : "more fields than the header has";
            return BAD;
        }
        bool quoted = *at < csv->in.end && **at == '"';
        outcome o = quoted ? quoted_field(csv, at, bad) : plain_field(csv, at);
        if (o != DONE) return o;
        if (*at == csv->in.end || **at != csv->delimiter) return line_end(csv, at);
    }
}

/* Passes over blank lines; *at is then the first byte of a record, or the end of the file. Behind a
 * blank line that a lone CR ends, pandas swallows one delimiter. */
static outcome skip_blank(const qk_csv *csv, const char **at)
{
    const char *end = csv->in.end;
    for (;;) {
        const char *p = *at;
        while (p < end && (*p == ' ' || *p == '\t') && *p != csv->delimiter) p++;
        if (p == end) {
            if (!csv->in.ended) return CUT;
            *at = end;
            return DONE;
        }
        if (*p != '\n' && *p != '\r') return DONE;
        if (*p == '\r' && p + 1 == end && !csv->in.ended) return CUT;
        bool swallow = *p == '\r' && p + 1 < end && p[1] == csv->delimiter;
        *at = p + 1 + swallow; /* the LF behind a CR is one more blank line */
        if (swallow) return DONE;
    }
}

/* Texts of fields that were put together. */
static void place_fields(qk_csv *csv)
{
    const char *text = qk_buf_str(&csv->unquoted);
    for (size_t i = 0; i < csv->count; i++)
        if (csv->offsets[i] != SIZE_MAX) csv->fields[i].text = text + csv->offsets[i];
}

qk_status qk_csv_next(qk_csv *csv, bool *more, qk_error *err)
{
    qk_stream *in = &csv->in;
    const char *at, *bad = NULL;
    csv->record++;
    *more = false;
    for (bool begun = false;;) {
        outcome o = begun ? DONE : skip_blank(csv, &in->at);
        begun = o == DONE;
        csv->offset = in->offset + (uint64_t)(in->at - in->begin);
        at = in->at;
        if (o == DONE && at == in->end && in->ended) return QK_OK;
        if (o == DONE) o = record(csv, &at, &bad);
        if (o == DONE) break;
        if (o == BAD) return fail(csv, bad, "put texts with commas or quotes in quotes", err);
        QK_TRY(qk_stream_more(in, err));
    }
    size_t n = (size_t)(at - in->at);
    if (qk_utf8_check((const uint8_t *)in->at, n) != n)
        return fail(csv, "not valid UTF-8", "save the file as UTF-8", err);
    place_fields(csv);
    in->at = at;
    if (csv->record < 0) csv->max_fields = csv->count;
    *more = true;
    return QK_OK;
}

char *qk_csv_header_name(const qk_csv *csv, size_t column)
{
    const qk_csv_field *f = &csv->fields[column];
    return f->length ? qk_strndup(f->text, f->length) : qk_strf("Unnamed: %zu", column);
}

void qk_csv_close(qk_csv *csv)
{
    qk_stream_close(&csv->in);
    qk_buf_free(&csv->unquoted);
    free(csv->fields);
    free(csv->offsets);
    *csv = (qk_csv){0};
}
