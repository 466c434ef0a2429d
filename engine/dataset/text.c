/* Text files: a row a line, in the column "text".
 *
 * LF, CR LF and a lone CR end a line, nothing else does (Python's universal newlines). Empty lines
 * are rows, a byte order mark stays in the first one, the last line needs no end. See source.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/dataset/source.h"

typedef struct text_source {
    qk_source base;
    qk_map map;
    const char *at, *end;
    const char *line_feed; /* the first one at or behind `at`, or end: searched once, not per row */
} text_source;

static qk_status text_next(qk_source *base, qk_row *row, bool *more, qk_error *err)
{
    text_source *s = (text_source *)base;
    *more = s->at < s->end;
    if (!*more) return QK_OK;
    if (s->line_feed < s->at) {
        const char *found = memchr(s->at, '\n', (size_t)(s->end - s->at));
        s->line_feed = found ? found : s->end;
    }
    const char *begin = s->at, *stop = s->line_feed;
    const char *cr = memchr(begin, '\r', (size_t)(stop - begin));
    if (cr) stop = cr;
    s->at = cr && cr + 1 < s->end && cr[1] == '\n' ? cr + 2 : stop < s->end ? stop + 1 : s->end;
    row->text = (qk_cell){.kind = QK_CELL_TEXT, .text = begin, .length = (size_t)(stop - begin)};
    row->id = row->text;
    if (qk_utf8_check((const uint8_t *)begin, row->text.length) == row->text.length) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, "save the file as UTF-8", "%s: line %lld: not valid UTF-8",
                   base->spec.path, (long long)base->at + 1);
}

static void text_close(qk_source *base)
{
    text_source *s = (text_source *)base;
    qk_map_close(&s->map);
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
    qk_map map;
    QK_TRY(qk_map_open(&map, spec->path, err));
    text_source *s = qk_zalloc(1, sizeof *s);
    s->base = (qk_source){.type = &text_type, .spec = *spec, .rows = -1};
    s->map = map;
    s->at = map.size ? (const char *)map.data : "";
    s->end = s->at + map.size;
    s->line_feed = map.size ? memchr(s->at, '\n', map.size) : NULL;
    if (!s->line_feed) s->line_feed = s->end;
    *out = &s->base;
    return QK_OK;
}
