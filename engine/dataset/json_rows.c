/* See json_rows.h. */
#include "engine/dataset/json_rows.h"

#include <string.h>

/* No word, escape or character is longer, so a failure this far from the end is one for good. */
enum { MAX_TOKEN = 16 };

/* Gives a reader the window as it is now, to go on at in.at. */
static void attach(qk_json_rows *rows, qk_json_reader *r)
{
    const qk_stream *in = &rows->in;
    r->begin = in->begin;
    r->at = in->at;
    r->end = in->end;
    r->goes_on = !in->ended;
    r->base_offset = in->offset;
    r->base_line = in->line;
    r->base_column = in->column;
}

static void skip_space(const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\n' || **at == '\r' || **at == '\t')) ++*at;
}

qk_status qk_json_rows_open(qk_json_rows *rows, const char *path, qk_error *err)
{
    *rows = (qk_json_rows){0};
    qk_stream *in = &rows->in;
    QK_TRY(qk_stream_open(in, path, err));
    if (in->end - in->at >= 3 && !memcmp(in->at, "\xEF\xBB\xBF", 3)) in->at += 3;
    for (;;) {
        skip_space(&in->at, in->end);
        if (in->at < in->end || in->ended) break;
        qk_status status = qk_stream_more(in, err);
        if (status != QK_OK) {
            qk_json_rows_close(rows);
            return status;
        }
    }
    qk_json_open(&rows->reader, in->begin, (size_t)(in->end - in->begin), path, err);
    attach(rows, &rows->reader);
    rows->in_array = in->at < in->end && *in->at == '[';
    if (rows->in_array) qk_json_next(&rows->reader);
    return QK_OK;
}

/* The first event of the next row: OBJECT or STRING; DONE behind the last. */
static qk_json_event begin_row(qk_json_rows *rows)
{
    qk_json_reader *r = &rows->reader;
    qk_json_event e = rows->in_array ? qk_json_next(r) : qk_json_next_document(r);
    if (rows->in_array && e == QK_JSON_ARRAY_END) return qk_json_next(r);
    if (e == QK_JSON_ERROR || e == QK_JSON_DONE || e == QK_JSON_OBJECT) return e;
    if (rows->in_array && e == QK_JSON_STRING) return e;
    qk_json_fail(r, "a row must be an object");
    return QK_JSON_ERROR;
}

qk_status qk_json_rows_next(qk_json_rows *rows, qk_json_row_fn read, void *context, bool *more,
                            qk_error *err)
{
    qk_json_reader *r = &rows->reader, mark;
    r->err = err;
    *more = false;
    for (;;) {
        bool last_window = rows->in.ended;
        skip_space(&r->at, r->end);
        if (!last_window) mark = *r;
        qk_json_event e = begin_row(rows);
        if (e == QK_JSON_DONE && last_window) return QK_OK;
        if (e != QK_JSON_DONE && e != QK_JSON_ERROR && read(context, r, e)) {
            rows->in.at = r->at;
            *more = true;
            return QK_OK;
        }
        if (last_window || r->end - r->at >= MAX_TOKEN) return err->status;
        /* Back to the row's start with a longer window. */
        rows->in.at = mark.at;
        QK_TRY(qk_stream_more(&rows->in, err));
        mark.scratch = r->scratch;
        *r = mark;
        attach(rows, r);
    }
}

uint64_t qk_json_rows_at(const qk_json_rows *rows)
{
    return rows->in.offset + (uint64_t)(rows->reader.at - rows->in.begin);
}

void qk_json_rows_close(qk_json_rows *rows)
{
    qk_json_close(&rows->reader);
    qk_stream_close(&rows->in);
}
