/* JSON rows: objects one after the other (.jsonl; line ends do not matter), or one array of objects
 * or of strings. A key that a row lacks is null there. See source.h.
 *
 * `datasets` gives a column one type from the first 10 MB of it: when every string among those ids
 * is a date or a time (pytime.h), they all become time stamps, and ids are hashed as Python writes
 * those. Such files are treated the same here. Ids that are numbers in one row and strings in
 * another are refused, as `datasets` does; whole and other numbers may mix. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dataset/pytime.h"
#include "engine/dataset/source.h"
#include "formats/json.h"

enum { PEEK_BYTES = 10 << 20, PEEK_NAMES = 64 };

typedef struct json_source {
    qk_source base;
    qk_map map;
    qk_json_reader reader;
    bool in_array;  /* the file is one array of rows */
    bool time_ids;  /* string ids are time stamps */
    char id_type;   /* see check_id_type; 0 before the first id */
    qk_buf text;    /* the text of a row when it has escapes */
    qk_buf id_text; /* the same of its id */
} json_source;

/* What the first rows hold. */
typedef struct peek {
    qk_names names;
    bool has_text, has_id, all_times, any_string_id;
    int64_t rows;
} peek;

static bool key_is(const qk_json_reader *r, const char *name)
{
    return name && r->length == strlen(name) && !memcmp(r->text, name, r->length);
}

static void open_reader(json_source *s, qk_json_reader *r, qk_error *err)
{
    const char *text = s->map.size ? (const char *)s->map.data : "";
    qk_json_open(r, text, s->map.size, s->base.spec.path, err);
    if (s->map.size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) r->at += 3;
}

/* The first event of the next row: OBJECT or STRING; DONE behind the last. */
static qk_json_event begin_row(const json_source *s, qk_json_reader *r)
{
    qk_json_event e = s->in_array ? qk_json_next(r) : qk_json_next_document(r);
    if (s->in_array && e == QK_JSON_ARRAY_END) return qk_json_next(r);
    if (e == QK_JSON_ERROR || e == QK_JSON_DONE || e == QK_JSON_OBJECT) return e;
    if (s->in_array && e == QK_JSON_STRING) return e;
    qk_json_fail(r, "a row must be an object");
    return QK_JSON_ERROR;
}

/* ---- looking ahead ---- */

static void note_name(peek *p, const qk_json_reader *r)
{
    if (p->names.count == PEEK_NAMES || r->length > 200) return;
    char name[256];
    memcpy(name, r->text, r->length);
    name[r->length] = 0;
    for (size_t i = 0; i < p->names.count; i++)
        if (!strcmp(p->names.items[i], name)) return;
    qk_names_add(&p->names, name);
}

static void note_id(peek *p, const qk_json_reader *r, qk_json_event value)
{
    int64_t seconds;
    p->has_id = true;
    if (value == QK_JSON_NULL) return;
    p->any_string_id |= value == QK_JSON_STRING;
    if (value != QK_JSON_STRING || !qk_pytime_parse(r->text, r->length, &seconds))
        p->all_times = false;
}

static bool peek_object(const qk_source_spec *spec, qk_json_reader *r, peek *p)
{
    for (;;) {
        qk_json_event e = qk_json_next(r);
        if (e == QK_JSON_OBJECT_END) return true;
        if (e != QK_JSON_KEY) return false;
        note_name(p, r);
        p->has_text |= key_is(r, spec->text_column);
        bool is_id = key_is(r, spec->id_column);
        e = qk_json_next(r);
        if (is_id) note_id(p, r, e);
        if (!qk_json_skip(r, e)) return false;
    }
}

/* Stops without a word at the first error: reading the rows reports it. */
static void look_ahead(json_source *s, peek *p)
{
    qk_json_reader r;
    qk_error ignored;
    open_reader(s, &r, &ignored);
    if (s->in_array) qk_json_next(&r);
    p->all_times = true;
    while (r.at - r.begin < PEEK_BYTES) {
        qk_json_event e = begin_row(s, &r);
        if (e == QK_JSON_STRING) {
            p->has_text |= !strcmp(s->base.spec.text_column, "text");
            if (!p->names.count) qk_names_add(&p->names, "text");
        } else if (e != QK_JSON_OBJECT || !peek_object(&s->base.spec, &r, p)) {
            break;
        }
        p->rows++;
    }
    qk_json_close(&r);
}

static qk_status check_columns(json_source *s, qk_error *err)
{
    const qk_source_spec *spec = &s->base.spec;
    peek p = {0};
    look_ahead(s, &p);
    s->time_ids = p.all_times && p.any_string_id;
    qk_status status = QK_OK;
    if (p.rows && !p.has_text)
        status = qk_source_no_column(spec->path, spec->text_column, &p.names, err);
    else if (p.rows && spec->id_column && !p.has_id && !spec->id_may_be_missing)
        status = qk_source_no_column(spec->path, spec->id_column, &p.names, err);
    qk_names_free(&p.names);
    return status;
}

/* ---- rows ---- */

/* Text of the last event that lives until the next row: in the mapping, else copied into `keep`. */
static void keep_text(const qk_json_reader *r, qk_buf *keep, qk_cell *out)
{
    out->length = r->length;
    out->text = r->text;
    if (r->text >= r->begin && r->text <= r->end) return;
    qk_buf_clear(keep);
    qk_buf_add(keep, r->text, r->length);
    out->text = qk_buf_str(keep);
}

static bool set_text(json_source *s, qk_json_reader *r, qk_json_event e, qk_cell *out)
{
    static const char *const kinds[] = {[QK_JSON_OBJECT] = "an object",
                                        [QK_JSON_ARRAY] = "an array",
                                        [QK_JSON_NUMBER] = "a number",
                                        [QK_JSON_TRUE] = "a boolean",
                                        [QK_JSON_FALSE] = "a boolean"};
    if (e == QK_JSON_NULL || e == QK_JSON_ERROR) return e != QK_JSON_ERROR;
    if (e == QK_JSON_STRING) {
        out->kind = QK_CELL_TEXT;
        keep_text(r, &s->text, out);
        return true;
    }
    qk_json_fail(r, "'%s' is %s, not a string", s->base.spec.text_column, kinds[e]);
    return false;
}

static bool set_number(json_source *s, qk_json_reader *r, qk_cell *out)
{
    bool is_integer;
    out->number = qk_json_number(r->text, r->length, &is_integer, &out->integer);
    out->kind = is_integer ? QK_CELL_INT : QK_CELL_FLOAT;
    if (is_integer) return true;
    if (!isfinite(out->number)) {
        qk_json_fail(r, "'%s' is no finite number", s->base.spec.id_column);
        return false;
    }
    if (!memchr(r->text, '.', r->length) && !memchr(r->text, 'e', r->length) &&
        !memchr(r->text, 'E', r->length)) {
        out->kind = QK_CELL_OTHER; /* an integer beyond int64: its digits are hashed */
        keep_text(r, &s->id_text, out);
    }
    return true;
}

static bool set_string_id(json_source *s, qk_json_reader *r, qk_cell *out)
{
    int64_t seconds;
    char stamp[QK_PYTIME_SIZE];
    out->kind = QK_CELL_TEXT;
    if (!s->time_ids) {
        keep_text(r, &s->id_text, out);
        return true;
    }
    if (!qk_pytime_parse(r->text, r->length, &seconds) ||
        !qk_pytime_stamp(stamp, seconds * 1000000, false)) {
        qk_json_fail(r, "'%s' is no date, while all ids before it are", s->base.spec.id_column);
        return false;
    }
    qk_buf_clear(&s->id_text);
    qk_buf_add_str(&s->id_text, stamp);
    out->kind = QK_CELL_OTHER;
    out->text = qk_buf_str(&s->id_text);
    out->length = s->id_text.size;
    return true;
}

/* A column has one type, give or take null: 'n'umber, 's'tring or 'b'oolean. */
static bool check_id_type(json_source *s, qk_json_reader *r, char type)
{
    if (!s->id_type) s->id_type = type;
    if (s->id_type == type) return true;
    qk_json_fail(r, "the type of '%s' is not that of the rows before", s->base.spec.id_column);
    return false;
}

static bool set_id(json_source *s, qk_json_reader *r, qk_json_event e, qk_cell *out)
{
    switch (e) {
    case QK_JSON_NULL: return true;
    case QK_JSON_TRUE:
    case QK_JSON_FALSE:
        out->kind = QK_CELL_BOOL;
        out->integer = e == QK_JSON_TRUE;
        return check_id_type(s, r, 'b');
    case QK_JSON_NUMBER: return check_id_type(s, r, 'n') && set_number(s, r, out);
    case QK_JSON_STRING: return check_id_type(s, r, 's') && set_string_id(s, r, out);
    case QK_JSON_ERROR: return false;
    default:
        qk_json_fail(r, "'%s' is %s, which cannot be an id", s->base.spec.id_column,
                     e == QK_JSON_OBJECT ? "an object" : "an array");
        return false;
    }
}

static bool read_object(json_source *s, qk_row *row)
{
    qk_json_reader *r = &s->reader;
    bool has_text = false, has_id = false;
    for (;;) {
        qk_json_event e = qk_json_next(r);
        if (e == QK_JSON_OBJECT_END) return true;
        if (e != QK_JSON_KEY) return false;
        bool is_text = key_is(r, s->base.spec.text_column);
        bool is_id = key_is(r, s->base.spec.id_column);
        if ((is_text && has_text) || (is_id && has_id)) {
            qk_json_fail(r, "the key '%.*s' is given twice", (int)r->length, r->text);
            return false;
        }
        has_text |= is_text, has_id |= is_id;
        e = qk_json_next(r);
        if (is_text && !set_text(s, r, e, &row->text)) return false;
        if (is_id && !set_id(s, r, e, &row->id)) return false;
        if (!qk_json_skip(r, e)) return false;
    }
}

static qk_status json_next(qk_source *base, qk_row *row, bool *more, qk_error *err)
{
    json_source *s = (json_source *)base;
    s->reader.err = err;
    *more = false;
    qk_json_event e = begin_row(s, &s->reader);
    if (e == QK_JSON_DONE) return QK_OK;
    bool ok = e == QK_JSON_OBJECT   ? read_object(s, row)
              : e == QK_JSON_STRING ? set_text(s, &s->reader, e, &row->text)
                                    : false;
    *more = ok;
    return ok ? QK_OK : QK_ERR_FORMAT;
}

static void json_close(qk_source *base)
{
    json_source *s = (json_source *)base;
    qk_json_close(&s->reader);
    qk_map_close(&s->map);
    qk_buf_free(&s->text);
    qk_buf_free(&s->id_text);
    free(s);
}

static const qk_source_type json_type = {json_next, NULL, json_close};

qk_status qk_jsonl_open(qk_source **out, const qk_source_spec *spec, qk_error *err)
{
    qk_map map;
    QK_TRY(qk_map_open(&map, spec->path, err));
    json_source *s = qk_zalloc(1, sizeof *s);
    s->base = (qk_source){.type = &json_type, .spec = *spec, .rows = -1};
    s->map = map;
    open_reader(s, &s->reader, err);
    const char *first = s->reader.at;
    while (first < s->reader.end && strchr(" \t\r\n", *first) && *first) first++;
    s->in_array = first < s->reader.end && *first == '[';
    qk_status status = check_columns(s, err);
    if (status != QK_OK) {
        json_close(&s->base);
        return status;
    }
    if (s->in_array) qk_json_next(&s->reader);
    *out = &s->base;
    return QK_OK;
}
