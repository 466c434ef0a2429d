/* Text files: a row a line, in the column "text".
 *
 * LF, CR LF and a lone CR end a line, nothing else does (Python's universal newlines). Empty lines
 * are rows, a byte order mark stays in the first one, the last line needs no end. See source.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/dataset/source.h"
#include "engine/dataset/stream.h"

typedef struct text_source {
    qk_source base;
    qk_stream in;
    const char *line_feed; /* the first one at or behind in.at, or in.end: searched once, not per
                              row; NULL: not searched yet */
} text_source;

/* The next line: [in.at, *stop), the row behind it begins at *next. */
static qk_status find_line(text_source *s, const char **stop, const char **next, qk_error *err)
{
    qk_stream *in = &s->in;
    for (;;) {
        if (!s->line_feed || (s->line_feed < in->at && s->line_feed != in->end)) {
            s->line_feed = memchr(in->at, '\n', (size_t)(in->end - in->at));
            if (!s->line_feed) s->line_feed = in->end;
        }
        const char *cr = memchr(in->at, '\r', (size_t)(s->line_feed - in->at));
        *stop = cr ? cr : s->line_feed;
        /* A CR that is the last byte may have its LF behind it. */
        if (in->ended || *stop + (cr != NULL) < in->end) break;
        QK_TRY(qk_stream_more(in, err));
        s->line_feed = NULL;
    }
    size_t left = (size_t)(in->end - *stop);
    *next = *stop + (left > 1 && !memcmp(*stop, "\r\n", 2) ? 2 : left > 0);
    return QK_OK;
}

static qk_status text_next(qk_source *base, qk_row *row, bool *more, qk_error *err)
{
    text_source *s = (text_source *)base;
    const char *stop, *next;
    *more = false;
    QK_TRY(find_line(s, &stop, &next, err));
    const char *line = s->in.at;
    *more = line < s->in.end;
    if (!*more) return QK_OK;
    s->in.at = next;
    row->text = (qk_cell){.kind = QK_CELL_TEXT, .text = line, .length = (size_t)(stop - line)};
    row->id = row->text;
    if (qk_utf8_check((const uint8_t *)line, row->text.length) == row->text.length) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, "save the file as UTF-8", "%s: line %lld: not valid UTF-8",
                   base->spec.path, (long long)base->at + 1);
}

static void text_close(qk_source *base)
{
    text_source *s = (text_source *)base;
    qk_stream_close(&s->in);
    free(s);
}

static const qk_source_type text_type = {text_next, NULL, text_close};

qk_status qk_text_open(qk_source **out, const qk_source_spec *spec, qk_error *err)
{
    char *only[] = {"text"};
    const qk_names columns = {only, 1, 1};
    if (strcmp(spec->text_column, "text") != 0)
        return qk_source_no_column(spec->path, spec->text_column, &columns, err);
    if (spec->id_column && strcmp(spec->id_column, "text") != 0)
        return qk_source_no_column(spec->path, spec->id_column, &columns, err);
    text_source *s = qk_zalloc(1, sizeof *s);
    s->base = (qk_source){.type = &text_type, .spec = *spec, .rows = -1};
    if (qk_stream_open(&s->in, spec->path, err) != QK_OK) {
        text_close(&s->base);
        return err->status;
    }
    *out = &s->base;
    return QK_OK;
}
