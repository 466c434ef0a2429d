/* See listed_file.h. */
#include "engine/config/listed_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/input.h"
#include "formats/json.h"
#include "sampler/example_id.h"
#include "sampler/sampler.h"

enum {
    MAX_POSITIONS = 1 << 27,
    MAX_EXAMPLES = 1 << 24,
    MAX_LINE = 64 << 20,
    PIECE = 1 << 20, /* bytes that are read at a time */
};

static const char FORM[] = "a line is {\"id\": 7, \"positions\": [0, 5, 17]}, the id as in "
                           "dataset.id_column, or the row number; without id it is for all others";

typedef struct listing {
    qk_listed *out;
    const char *path;
    qk_listed_example *lines; /* with an id */
    size_t n_lines, lines_capacity;
    int32_t *positions;
    size_t n_positions, positions_capacity;
    size_t line, others_line; /* 0: none yet */
} listing;

/* ---- one line ---- */

/* An integer, or text that is hashed: as a dataset's cell of that type. */
static bool read_id(listing *l, qk_json_reader *r, qk_json_event e, int64_t *id)
{
    bool integer;
    l->out->has_other_ids |= e != QK_JSON_NUMBER;
    switch (e) {
    case QK_JSON_TRUE:
    case QK_JSON_FALSE: *id = e == QK_JSON_TRUE; return true;
    case QK_JSON_NULL: *id = qk_example_id_from_null(); return true;
    case QK_JSON_STRING: *id = qk_example_id_from_text(r->text, r->length); return true;
    case QK_JSON_NUMBER: break;
    case QK_JSON_ERROR: return false;
    default: qk_json_fail(r, "'id' is a list or a map"); return false;
    }
    double value = qk_json_number(r->text, r->length, &integer, id);
    if (integer) return true;
    l->out->has_other_ids = true;
    bool minus = *r->text == '-';
    size_t digits = minus;
    while (digits < r->length && r->text[digits] >= '0' && r->text[digits] <= '9') digits++;
    if (digits < r->length) { /* a point or an exponent */
        qk_error why;
        if (qk_example_id_from_double(id, value, &why) == QK_OK) return true;
    } else if (!minus && digits <= 20) { /* beyond int64 */
        char text[24];
        snprintf(text, sizeof text, "%.*s", (int)digits, r->text);
        errno = 0;
        uint64_t large = strtoull(text, NULL, 10);
        *id = qk_example_id_from_uint64(large);
        if (!errno) return true;
    }
    qk_json_fail(r, "the id %.*s is beyond 64 bits", r->length < 60 ? (int)r->length : 60, r->text);
    return false;
}

static int by_position(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static bool read_positions(listing *l, qk_json_reader *r, qk_json_event e, qk_listed_example *list)
{
    size_t begin = l->n_positions;
    if (e == QK_JSON_ERROR) return false;
    if (e != QK_JSON_ARRAY) {
        qk_json_fail(r, "'positions' is no list");
        return false;
    }
    while ((e = qk_json_next(r)) == QK_JSON_NUMBER) {
        bool integer;
        int64_t position;
        qk_json_number(r->text, r->length, &integer, &position);
        if (!integer || position < 0 || position >= QK_SAMPLER_MAX_TOKENS) {
            qk_json_fail(r, "%.*s is no position: they are integers from 0 to %d",
                         r->length < 60 ? (int)r->length : 60, r->text, QK_SAMPLER_MAX_TOKENS - 1);
            return false;
        }
        if (l->n_positions == MAX_POSITIONS) {
            qk_json_fail(r, "more than %d positions; share them out among several runs",
                         MAX_POSITIONS);
            return false;
        }
        QK_GROW(l->positions, l->n_positions, l->positions_capacity);
        l->positions[l->n_positions++] = (int32_t)position;
    }
    if (e == QK_JSON_ERROR) return false;
    if (e != QK_JSON_ARRAY_END) {
        qk_json_fail(r, "a position is no number");
        return false;
    }
    list->first = (uint32_t)begin;
    size_t n = l->n_positions - begin, kept = 0;
    if (!n) return true;
    int32_t *first = l->positions + begin;
    qsort(first, n, sizeof *first, by_position);
    for (size_t i = 0; i < n; i++)
        if (!kept || first[kept - 1] != first[i]) first[kept++] = first[i];
    l->n_positions = begin + kept;
    list->count = (uint32_t)kept;
    return true;
}

static bool read_members(listing *l, qk_json_reader *r, qk_listed_example *list, bool *has_id)
{
    bool has_positions = false;
    qk_json_event e;
    *has_id = false;
    while ((e = qk_json_next(r)) == QK_JSON_KEY) {
        bool id = qk_json_text_is(r->text, r->length, "id");
        bool positions = qk_json_text_is(r->text, r->length, "positions");
        if (!id && !positions) {
            qk_json_fail(r, "unknown key '%.*s'", r->length < 60 ? (int)r->length : 60, r->text);
            return false;
        }
        if (id ? *has_id : has_positions) {
            qk_json_fail(r, "'%s' is given twice", id ? "id" : "positions");
            return false;
        }
        *has_id |= id;
        has_positions |= positions;
        e = qk_json_next(r);
        if (!(id ? read_id(l, r, e, &list->id) : read_positions(l, r, e, list))) return false;
    }
    if (e == QK_JSON_OBJECT_END && !has_positions) qk_json_fail(r, "'positions' is missing");
    return e == QK_JSON_OBJECT_END && has_positions;
}

static bool read_object(listing *l, qk_json_reader *r)
{
    qk_listed_example line = {.line = l->line};
    bool has_id;
    qk_json_event e = qk_json_next_document(r);
    if (e == QK_JSON_DONE) return true; /* an empty line */
    if (e != QK_JSON_OBJECT) {
        if (e != QK_JSON_ERROR) qk_json_fail(r, "a line must be a map");
        return false;
    }
    if (!read_members(l, r, &line, &has_id)) return false;
    e = qk_json_next_document(r);
    if (e != QK_JSON_DONE) {
        if (e != QK_JSON_ERROR) qk_json_fail(r, "more than one map in a line");
        return false;
    }
    if (!has_id && l->others_line) {
        qk_json_fail(r, "without id, as line %zu: only one can be for all other examples",
                     l->others_line);
        return false;
    }
    if (!has_id) {
        l->out->others = line;
        l->out->has_others = true;
        l->others_line = l->line;
        return true;
    }
    if (l->n_lines == MAX_EXAMPLES) {
        qk_json_fail(r, "more than %d examples; share them out among several runs", MAX_EXAMPLES);
        return false;
    }
    QK_GROW(l->lines, l->n_lines, l->lines_capacity);
    l->lines[l->n_lines++] = line;
    return true;
}

static qk_status read_line(listing *l, const char *text, size_t n, uint64_t offset, qk_error *err)
{
    qk_json_reader r;
    l->line++;
    qk_json_open(&r, text, n, l->path, err);
    r.base_offset = offset;
    r.base_line = l->line - 1;
    bool fine = read_object(l, &r);
    qk_json_close(&r);
    if (fine) return QK_OK;
    snprintf(err->hint, sizeof err->hint, "%s", FORM);
    return err->status;
}

/* ---- the file ---- */

static qk_status read_lines(listing *l, const qk_input *in, qk_buf *text, qk_hash *hash,
                            qk_error *err)
{
    uint64_t begin = 0; /* of the text in the file */
    bool more = true;
    while (more) {
        uint64_t at = begin + text->size, left = in->state.size - at;
        size_t n = left < PIECE ? (size_t)left : PIECE, old = text->size, done = 0;
        qk_buf_reserve(text, PIECE);
        QK_TRY(qk_input_read(in, at, text->data + old, n, err));
        qk_hash_add(hash, text->data + old, n);
        text->size += n;
        more = at + n < in->state.size;
        static const char mark[] = "\xEF\xBB\xBF";
        if (!at && text->size >= 3 && !memcmp(text->data, mark, 3)) done = 3;
        const char *whole = (const char *)text->data, *end;
        for (size_t from = old > done ? old : done;
             (end = memchr(whole + from, '\n', text->size - from)); from = done) {
            size_t length = (size_t)(end - whole) - done;
            QK_TRY(read_line(l, whole + done, length, begin + done, err));
            done += length + 1;
        }
        if (!more) return read_line(l, whole + done, text->size - done, begin + done, err);
        if (text->size - done > MAX_LINE)
            return qk_fail(err, QK_ERR_FORMAT, FORM, "%s: line %zu has more than %d bytes", l->path,
                           l->line + 1, MAX_LINE);
        if (done) memmove(text->data, text->data + done, text->size - done);
        text->size -= done;
        begin += done;
    }
    return QK_OK;
}

static int by_id(const void *a, const void *b)
{
    const qk_listed_example *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

static qk_status settle(listing *l, qk_arena *arena, qk_error *err)
{
    qk_listed *out = l->out;
    if (l->n_lines) qsort(l->lines, l->n_lines, sizeof *l->lines, by_id);
    qk_listed_example *examples = qk_arena_alloc(arena, l->n_lines, sizeof *examples);
    for (size_t i = 1; i < l->n_lines; i++)
        if (l->lines[i].id == l->lines[i - 1].id)
            return qk_fail(err, QK_ERR_FORMAT, "write all its positions into one of them",
                           "%s: lines %" PRIu64 " and %" PRIu64 " are of one example", l->path,
                           l->lines[i - 1].line, l->lines[i].line);
    if (l->n_lines) memcpy(examples, l->lines, l->n_lines * sizeof *examples);
    int32_t *positions = qk_arena_alloc(arena, l->n_positions, sizeof *positions);
    if (l->n_positions) memcpy(positions, l->positions, l->n_positions * sizeof *positions);
    out->examples = examples;
    out->n_examples = l->n_lines;
    out->positions = positions;
    out->n_positions = l->n_positions;
    if (out->n_examples || out->has_others) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, FORM, "%s: names no positions", l->path);
}

qk_status qk_listed_read(qk_listed *out, const char *path, qk_arena *arena, qk_error *err)
{
    qk_input in;
    qk_buf text = {0};
    listing l = {.out = out, .path = path};
    *out = (qk_listed){.path = path};
    QK_TRY(qk_input_open(&in, path, err));
    qk_hash *hash = qk_hash_sha256();
    qk_status s = read_lines(&l, &in, &text, hash, err);
    if (s == QK_OK) s = qk_input_check(&in, err);
    if (s == QK_OK) s = settle(&l, arena, err);
    qk_hash_end(hash, out->sha256);
    qk_input_close(&in);
    qk_buf_free(&text);
    free(l.lines);
    free(l.positions);
    return s;
}
