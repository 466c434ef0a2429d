/* JSON rows: objects one after the other (.jsonl; line ends do not matter), or one array of objects
 * or of strings. A key that a row lacks is null there. See source.h.
 *
 * `datasets` gives a column one type from the first 10 MB of it: when every string among those ids
 * is a date or a time (pytime.h), they all become time stamps, and ids are hashed as Python writes
 * those. One number among the ids that has a point or is beyond int64 makes them all floats: 1 is
 * 1.0 there, and 2^53 + 1 is 2^53. Such files are treated the same here. An array is read by
 * another library there, pandas: its dates stay strings; numbers with a fraction lose their last
 * digits, so such ids are refused; whole floats are integers; one null rounds them all to floats
 * and back; integers above int64 stay what they are unless one is negative. Ids that are numbers in
 * one row and strings in another are refused, as `datasets` does. Each further 10 MB of lines are
 * typed alone there and cast to the type of the first; where that would give other ids, they are
 * refused. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/dataset/json_rows.h"
#include "engine/dataset/pytime.h"
#include "engine/dataset/source.h"
#include "sampler/float_repr.h"

enum { PEEK_BYTES = 10 << 20, PEEK_NAMES = 64 };

typedef struct json_source {
    qk_source base;
    qk_json_rows rows;
    qk_row *row;             /* where the row that is read goes */
    bool time_ids;           /* string ids are time stamps */
    bool float_ids;          /* ids that are numbers have passed through floats */
    qk_cell_kind first_kind; /* INT for numbers, TEXT or BOOL; NULL before the first id */
    /* The 10 MB of lines that are read: those behind the first are late, and are checked for
     * strings that would be time stamps there. */
    struct {
        uint64_t at;
        bool any, all_times;
    } block;
    bool late;
    /* Of the ids so far that are numbers: what the end of an array could still make wrong. */
    bool any_inexact, any_above_int64, any_negative, any_late_float, warned;
    qk_buf text;    /* the text of a row when it has escapes */
    qk_buf id_text; /* the same of its id */
} json_source;

/* What the first rows hold. */
typedef struct peek {
    const qk_source_spec *spec;
    qk_names names;
    bool in_array, has_text, has_id, all_times, any_string_id, any_bool_id, any_number_id;
    bool any_null_id, any_float_id; /* float: no integer within int64 */
    bool any_above_int64, any_not_whole;
    bool any_text, all_text_times; /* texts that are strings */
    int64_t rows;
} peek;

static bool key_is(const qk_json_reader *r, const char *name)
{
    return name && r->length == strlen(name) && !memcmp(r->text, name, r->length);
}

/* ---- types, from the first rows ---- */

static void note_name(peek *p, const qk_json_reader *r)
{
    if (p->names.count == PEEK_NAMES) return;
    for (size_t i = 0; i < p->names.count; i++)
        if (key_is(r, p->names.items[i])) return;
    char *name = qk_strndup(r->text, r->length);
    qk_names_add(&p->names, name);
    free(name);
}

static bool is_written_as_float(const qk_json_reader *r)
{
    for (size_t i = 0; i < r->length; i++)
        if (strchr(".eE", r->text[i])) return true;
    return false;
}

static bool is_whole(double v)
{
    return v == floor(v) && v >= -0x1p63 && v < 0x1p63;
}

static void note_id(peek *p, const qk_json_reader *r, qk_json_event value)
{
    int64_t seconds;
    p->has_id = true;
    p->any_null_id |= value == QK_JSON_NULL;
    if (value == QK_JSON_NULL) return;
    if (value == QK_JSON_NUMBER) {
        bool is_integer;
        int64_t integer;
        double number = qk_json_number(r->text, r->length, &is_integer, &integer);
        bool as_float = !is_integer && (!p->in_array || is_written_as_float(r));
        p->any_number_id = true;
        p->any_float_id |= as_float;
        p->any_above_int64 |= !is_integer && !as_float;
        p->any_not_whole |= !is_whole(number);
    }
    p->any_bool_id |= value == QK_JSON_TRUE || value == QK_JSON_FALSE;
    p->any_string_id |= value == QK_JSON_STRING;
    if (value != QK_JSON_STRING || !qk_pytime_parse(r->text, r->length, &seconds))
        p->all_times = false;
}

static bool peek_row(void *context, qk_json_reader *r, qk_json_event e)
{
    peek *p = context;
    bool found = false;
    if (e == QK_JSON_STRING) {
        p->has_text |= !strcmp(p->spec->text_column, "text");
        if (!p->names.count) qk_names_add(&p->names, "text");
        return true;
    }
    for (;;) {
        e = qk_json_next(r);
        if (e == QK_JSON_OBJECT_END) {
            p->any_null_id |= !found;
            return true;
        }
        if (e != QK_JSON_KEY) return false;
        note_name(p, r);
        p->has_text |= key_is(r, p->spec->text_column);
        bool is_text = key_is(r, p->spec->text_column), is_id = key_is(r, p->spec->id_column);
        e = qk_json_next(r);
        if (e == QK_JSON_ERROR) return false;
        if (is_text && e == QK_JSON_STRING) {
            int64_t seconds;
            p->any_text = true;
            p->all_text_times = p->all_text_times && qk_pytime_parse(r->text, r->length, &seconds);
        }
        if (is_id) note_id(p, r, e);
        found |= is_id;
        if (!qk_json_skip(r, e)) return false;
    }
}

/* The first 10 MB. Stops without a word at the first error that reading the rows reports. */
static qk_status peek_rows(const char *path, peek *p, qk_error *err)
{
    qk_json_rows rows;
    qk_error own;
    qk_status s = QK_OK;
    bool more = true;
    QK_TRY(qk_json_rows_open(&rows, path, err));
    p->all_times = p->all_text_times = true;
    p->in_array = rows.in_array;
    while (s == QK_OK && more && qk_json_rows_at(&rows) < PEEK_BYTES) {
        s = qk_json_rows_next(&rows, peek_row, p, &more, &own);
        p->rows += s == QK_OK && more;
    }
    qk_json_rows_close(&rows);
    if (s == QK_OK || qk_source_meets_again(s)) return QK_OK;
    *err = own;
    return s;
}

/* What `datasets` makes of a file's ids, by its first 10 MB. */
static qk_id_type type_of_ids(const json_source *s, const peek *p)
{
    qk_id_type t = {.is_known = p->rows > 0};
    if (p->any_string_id) {
        t.kind = s->time_ids ? QK_CELL_STAMP : QK_CELL_TEXT; /* of seconds */
    } else if (p->any_bool_id) {
        t.kind = QK_CELL_BOOL;
    } else if (p->any_number_id) {
        bool floats = s->float_ids && (!p->in_array || p->any_not_whole);
        t.kind = floats                                ? QK_CELL_FLOAT
                 : p->any_above_int64 && !s->float_ids ? QK_CELL_UINT
                                                       : QK_CELL_INT;
        t.bits = 64;
    }
    return t;
}

static qk_status check_columns(json_source *s, qk_error *err)
{
    const qk_source_spec *spec = &s->base.spec;
    peek p = {.spec = spec};
    qk_status status = peek_rows(spec->path, &p, err);
    s->time_ids = p.all_times && p.any_string_id && !s->rows.in_array;
    s->float_ids = p.any_float_id || (s->rows.in_array && p.any_null_id);
    s->base.id_type = type_of_ids(s, &p);
    /* Alone it would be no dataset of texts there; behind other files they become texts again, in
     * another form. */
    if (status == QK_OK && spec->is_later && p.any_text && p.all_text_times && !p.in_array)
        status = qk_fail(
            err, QK_ERR_UNSUPPORTED, "set dataset.text_column to a column of texts",
            "%s: every '%s' of the first 10 MB is a date, which `datasets` writes anew, as the "
            "files before it hold others",
            spec->path, spec->text_column);
    if (status == QK_OK && p.rows && !p.has_text)
        status = qk_source_no_column(spec->path, spec->text_column, &p.names, err);
    else if (status == QK_OK && p.rows && spec->id_column && !p.has_id && !spec->is_later)
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
    snprintf(r->err->hint, sizeof r->err->hint, "set dataset.text_column to a column of texts");
    return false;
}

static void warn_rounded(json_source *s, const qk_json_reader *r, double value)
{
    char text[QK_FLOAT_REPR_SIZE];
    if (s->warned) return;
    s->warned = true;
    qk_python_float_repr(value, text);
    qk_warn("%s: some '%s' %s, so `datasets` reads them all as floats: %.*s is %s, here as there",
            s->base.spec.path, s->base.spec.id_column,
            s->rows.in_array ? "are null or have a point" : "have a point or are beyond 64 bits",
            (int)r->length, r->text, text);
}

/* A column of floats; pandas makes integers of it again where it can. */
static void set_float(json_source *s, const qk_json_reader *r, bool is_integer, qk_cell *out)
{
    if (is_integer && (!is_whole(out->number) || (int64_t)out->number != out->integer))
        warn_rounded(s, r, out->number);
    if (is_integer && !out->integer && *r->text == '-') out->number = -0.0;
    out->kind = QK_CELL_FLOAT;
    if (s->base.id_type.kind == QK_CELL_FLOAT || !is_whole(out->number)) return;
    out->kind = QK_CELL_INT;
    out->integer = (int64_t)out->number;
}

/* An integer beyond int64 in an array. */
static bool read_natural(json_source *s, qk_json_reader *r, qk_cell *out)
{
    char digits[24], *end;
    snprintf(digits, sizeof digits, "%.*s", (int)r->length, r->text);
    errno = 0;
    out->natural = strtoull(digits, &end, 10);
    out->kind = QK_CELL_UINT;
    s->any_above_int64 = true;
    if (!s->float_ids) s->base.id_type.kind = QK_CELL_UINT;
    if (!errno && *digits != '-' && r->length < sizeof digits) return true;
    qk_json_fail(r, "'%s' is an integer beyond 64 bits", s->base.spec.id_column);
    return false;
}

/* An array is read as a whole there: what comes late changes the ids before it. Of lines, those of
 * its own 10 MB. */
static bool check_late_ids(json_source *s, qk_json_reader *r)
{
    const char *column = s->base.spec.id_column;
    if (s->float_ids) return true;
    if (s->any_above_int64 && s->any_negative)
        qk_json_fail(r, "'%s' holds negative integers and some above int64", column);
    else if (s->any_late_float && (s->any_inexact || s->any_above_int64))
        qk_json_fail(r,
                     "'%s' holds integers above 2^53 and, behind 10 MB, a null or a float, which "
                     "would round them",
                     column);
    else
        return true;
    return false;
}

static bool set_number(json_source *s, qk_json_reader *r, qk_cell *out)
{
    const int64_t exact = INT64_C(1) << 53;
    bool is_integer;
    out->number = qk_json_number(r->text, r->length, &is_integer, &out->integer);
    if (!is_integer && !isfinite(out->number)) {
        qk_json_fail(r, "'%s' is no finite number", s->base.spec.id_column);
        return false;
    }
    if (s->rows.in_array && !is_integer && out->number != floor(out->number)) {
        qk_json_fail(r, "'%s' has a fraction, which `datasets` reads inexactly from an array",
                     s->base.spec.id_column);
        return false;
    }
    bool natural = s->rows.in_array && !is_integer && !is_written_as_float(r);
    if (natural && !read_natural(s, r, out)) return false;
    bool inexact = is_integer && (out->integer > exact || out->integer < -exact);
    if (s->float_ids && s->late && inexact) {
        qk_json_fail(r, "'%s' is an integer above 2^53 among floats, behind the first 10 MB",
                     s->base.spec.id_column);
        return false;
    }
    if (s->float_ids) {
        set_float(s, r, is_integer || natural, out);
        return true;
    }
    if (natural) return check_late_ids(s, r);
    out->kind = QK_CELL_INT;
    if (!is_integer) { /* a float behind the 10 MB that showed a column of integers */
        s->any_late_float = true;
        if (!is_whole(out->number)) {
            qk_json_fail(r, "'%s' is no integer, while those of the first 10 MB are",
                         s->base.spec.id_column);
            return false;
        }
        out->integer = (int64_t)out->number;
        return check_late_ids(s, r);
    }
    s->any_negative |= out->integer < 0;
    s->any_inexact |= inexact && (s->rows.in_array || s->late);
    return check_late_ids(s, r);
}

static bool set_string_id(json_source *s, qk_json_reader *r, qk_cell *out)
{
    int64_t seconds;
    out->kind = QK_CELL_TEXT;
    if (s->late) {
        s->block.any = true;
        s->block.all_times = s->block.all_times && qk_pytime_parse(r->text, r->length, &seconds);
    }
    if (!s->time_ids) {
        keep_text(r, &s->id_text, out);
        return true;
    }
    if (!qk_pytime_parse(r->text, r->length, &seconds)) {
        qk_json_fail(r, "'%s' is no date, while all ids before it are", s->base.spec.id_column);
        return false;
    }
    out->kind = QK_CELL_STAMP;
    out->integer = seconds;
    return true;
}

/* A column has one type, give or take null. That it is one of nulls is known of an array when it
 * has been read, of lines after the first 10 MB. */
static bool check_id_type(json_source *s, qk_json_reader *r, qk_cell_kind kind)
{
    if (s->base.id_type.kind == QK_CELL_NULL && s->rows.in_array)
        s->base.id_type =
            (qk_id_type){.is_known = true, .kind = kind, .bits = kind == QK_CELL_INT ? 64 : 0};
    if (s->base.id_type.kind == QK_CELL_NULL) {
        qk_json_fail(r, "'%s' is not null, while those of the first 10 MB are",
                     s->base.spec.id_column);
        return false;
    }
    if (s->first_kind == QK_CELL_NULL) s->first_kind = kind;
    if (s->first_kind == kind) return true;
    qk_json_fail(r, "the type of '%s' is not that of the rows before", s->base.spec.id_column);
    return false;
}

static bool set_id(json_source *s, qk_json_reader *r, qk_json_event e, qk_cell *out)
{
    switch (e) {
    case QK_JSON_NULL: s->any_late_float |= s->rows.in_array; return check_late_ids(s, r);
    case QK_JSON_TRUE:
    case QK_JSON_FALSE:
        out->kind = QK_CELL_BOOL;
        out->integer = e == QK_JSON_TRUE;
        return check_id_type(s, r, QK_CELL_BOOL);
    case QK_JSON_NUMBER: return check_id_type(s, r, QK_CELL_INT) && set_number(s, r, out);
    case QK_JSON_STRING: return check_id_type(s, r, QK_CELL_TEXT) && set_string_id(s, r, out);
    case QK_JSON_ERROR: return false;
    default:
        qk_json_fail(r, "'%s' is %s, which cannot be an id", s->base.spec.id_column,
                     e == QK_JSON_OBJECT ? "an object" : "an array");
        return false;
    }
}

/* A row, perhaps once more after more of it was unpacked. */
static bool read_row(void *context, qk_json_reader *r, qk_json_event e)
{
    json_source *s = context;
    bool has_text = false, has_id = false;
    *s->row = (qk_row){0};
    if (e == QK_JSON_STRING) return set_text(s, r, e, &s->row->text);
    for (;;) {
        e = qk_json_next(r);
        if (e == QK_JSON_OBJECT_END)
            return has_id || !s->base.spec.id_column || set_id(s, r, QK_JSON_NULL, &s->row->id);
        if (e != QK_JSON_KEY) return false;
        bool is_text = key_is(r, s->base.spec.text_column);
        bool is_id = key_is(r, s->base.spec.id_column);
        if ((is_text && has_text) || (is_id && has_id)) {
            qk_json_fail(r, "the key '%.*s' is given twice", (int)r->length, r->text);
            return false;
        }
        has_text |= is_text, has_id |= is_id;
        e = qk_json_next(r);
        if (is_text && !set_text(s, r, e, &s->row->text)) return false;
        if (is_id && !set_id(s, r, e, &s->row->id)) return false;
        if (!qk_json_skip(r, e)) return false;
    }
}

/* `datasets` types each 10 MB of lines alone, and then casts dates to strings. */
static qk_status end_block(const json_source *s, qk_error *err)
{
    if (!s->late || s->time_ids || !s->block.any || !s->block.all_times) return QK_OK;
    return qk_fail(err, QK_ERR_DATA, "put a letter before such ids",
                   "%s: every '%s' of the 10 MB before row %lld (from 0) is a date, while those of "
                   "the first 10 MB are not",
                   s->base.spec.path, s->base.spec.id_column, (long long)s->base.at);
}

static qk_status json_next(qk_source *base, qk_row *row, bool *more, qk_error *err)
{
    json_source *s = (json_source *)base;
    uint64_t at = qk_json_rows_at(&s->rows);
    s->row = row;
    if (!s->rows.in_array && at >= s->block.at + PEEK_BYTES) {
        QK_TRY(end_block(s, err));
        s->late = s->block.all_times = true;
        s->block.any = false;
        s->block.at = at + 1; /* behind the line's end */
    }
    QK_TRY(qk_json_rows_next(&s->rows, read_row, s, more, err));
    return *more ? QK_OK : end_block(s, err);
}

static void json_close(qk_source *base)
{
    json_source *s = (json_source *)base;
    qk_json_rows_close(&s->rows);
    qk_buf_free(&s->text);
    qk_buf_free(&s->id_text);
    free(s);
}

static const qk_source_type json_type = {json_next, NULL, json_close};

qk_status qk_jsonl_open(qk_source **out, const qk_source_spec *spec, qk_error *err)
{
    json_source *s = qk_zalloc(1, sizeof *s);
    s->base = (qk_source){.type = &json_type, .spec = *spec, .rows = -1};
    qk_status status = qk_json_rows_open(&s->rows, spec->path, err);
    if (status == QK_OK) status = check_columns(s, err);
    if (status != QK_OK) {
        json_close(&s->base);
        return status;
    }
    *out = &s->base;
    return QK_OK;
}
