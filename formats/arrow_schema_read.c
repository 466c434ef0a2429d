/* See arrow_schema_read.h. A flatbuffer: a table begins with the distance back to its vtable, which
 * holds for each of its fields where that is in the table (0: not there). What is not a number is
 * reached by an offset forward from where the offset stands. */
#include "formats/arrow_schema_read.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

enum { MAX_DEPTH = 64, MAX_VISITS = 1 << 20 };

/* The first error sticks: then everything is absent. */
typedef struct buffer {
    const uint8_t *bytes;
    size_t n;
    size_t visits; /* columns visited */
    const char *problem;
} buffer;

typedef struct table {
    size_t at, vtable, slots; /* slots: number of fields that the vtable has */
} table;

static void fail(buffer *b, const char *problem)
{
    if (!b->problem) b->problem = problem;
}

static bool is_inside(buffer *b, size_t at, size_t n)
{
    if (at > b->n || n > b->n - at) fail(b, "an offset beyond its end");
    return !b->problem;
}

/* Little-endian number of `width` bytes, at most 8; 0 outside. */
static uint64_t number(buffer *b, size_t at, size_t width)
{
    uint64_t value = 0;
    if (!is_inside(b, at, width)) return 0;
    for (size_t i = 0; i < width; i++) value |= (uint64_t)b->bytes[at + i] << 8 * i;
    return value;
}

/* Where the offset at `at` leads. */
static size_t follow(buffer *b, size_t at)
{
    return at + (size_t)number(b, at, 4);
}

static table open_table(buffer *b, size_t at)
{
    int64_t back = (int32_t)(uint32_t)number(b, at, 4), vtable = (int64_t)at - back;
    size_t size = (size_t)number(b, vtable < 0 ? SIZE_MAX : (size_t)vtable, 2);
    if (size < 4) fail(b, "a table that is cut short");
    if (b->problem || !is_inside(b, (size_t)vtable, size)) return (table){0};
    return (table){.at = at, .vtable = (size_t)vtable, .slots = (size - 4) / 2};
}

/* Position of a field, 0 when it is absent. */
static size_t slot(buffer *b, const table *t, size_t index)
{
    if (b->problem || index >= t->slots) return 0;
    size_t offset = (size_t)number(b, t->vtable + 4 + 2 * index, 2);
    return offset ? t->at + offset : 0;
}

static int64_t field_number(buffer *b, const table *t, size_t index, size_t width, int64_t absent)
{
    size_t at = slot(b, t, index);
    if (!at) return absent;
    uint64_t value = number(b, at, width);
    return width == 4 ? (int32_t)(uint32_t)value : (int64_t)value;
}

static bool field_table(buffer *b, const table *t, size_t index, table *out)
{
    size_t at = slot(b, t, index);
    if (at) *out = open_table(b, follow(b, at));
    return at && !b->problem;
}

/* A vector of tables or a string: where its items begin; *count is 0 when it is absent. */
static size_t field_vector(buffer *b, const table *t, size_t index, size_t width, size_t *count)
{
    *count = 0;
    size_t at = slot(b, t, index);
    if (!at) return 0;
    at = follow(b, at);
    uint64_t n = number(b, at, 4);
    if (!b->problem && n > (b->n - at - 4) / width) fail(b, "a list beyond its end");
    if (!b->problem) *count = (size_t)n;
    return at + 4;
}

static table item(buffer *b, size_t items, size_t i)
{
    return open_table(b, follow(b, items + 4 * i));
}

static void field_string(buffer *b, const table *t, size_t index, char *out, size_t size)
{
    size_t n, at = field_vector(b, t, index, 1, &n);
    *out = 0;
    if (b->problem || !n) return;
    if (n >= size || memchr(b->bytes + at, 0, n)) {
        fail(b, "a name that is too long, or holds a NUL");
        return;
    }
    memcpy(out, b->bytes + at, n);
    out[n] = 0;
}

/* ---- Field, in Schema.fbs ---- */

enum {
    FIELD_NAME = 0,
    FIELD_MEMBER = 2,
    FIELD_TYPE = 3,
    FIELD_DICTIONARY = 4,
    FIELD_CHILDREN = 5,
    FIELD_METADATA = 6,
};

/* The child whose name the path is, or begins with before a point; *path is moved behind it. */
static bool enter_child(buffer *b, table *t, const char **path)
{
    size_t count, items = field_vector(b, t, FIELD_CHILDREN, 4, &count), left = strlen(*path);
    for (size_t i = 0; i < count && !b->problem; i++) {
        table one = item(b, items, i);
        size_t n, name = field_vector(b, &one, FIELD_NAME, 1, &n);
        if (++b->visits > MAX_VISITS) fail(b, "too many columns");
        if (b->problem || n > left || memcmp(b->bytes + name, *path, n) != 0) continue;
        if ((*path)[n] && (*path)[n] != '.') continue;
        *path += (*path)[n] ? n + 1 : n;
        *t = one;
        return true;
    }
    fail(b, "the column is not in it");
    return false;
}

/* ARROW:extension:name of the column's own metadata, which lists pairs of key and value. */
static void read_extension(buffer *b, const table *field, qk_arrow_type *out)
{
    size_t count, items = field_vector(b, field, FIELD_METADATA, 4, &count);
    for (size_t i = 0; i < count && !b->problem; i++) {
        table pair = item(b, items, i);
        static const char wanted[] = "ARROW:extension:name";
        size_t n, key = field_vector(b, &pair, 0, 1, &n);
        if (++b->visits > MAX_VISITS) fail(b, "too much metadata");
        if (b->problem || n != sizeof wanted - 1 || memcmp(b->bytes + key, wanted, n) != 0)
            continue;
        field_string(b, &pair, 1, out->extension, sizeof out->extension);
        return;
    }
}

/* TimeUnit counts seconds, milli-, micro-, nanoseconds. */
static int unit(buffer *b, const table *type, int64_t absent)
{
    int64_t u = field_number(b, type, 0, 2, absent);
    if (u < 0 || u > 3) fail(b, "an unknown unit of time");
    return 3 * (int)u;
}

static void read_type(buffer *b, const table *field, qk_arrow_type *out)
{
    table type, dictionary;
    out->member = (int)field_number(b, field, FIELD_MEMBER, 1, 0);
    out->is_dictionary = field_table(b, field, FIELD_DICTIONARY, &dictionary);
    read_extension(b, field, out);
    if (!field_table(b, field, FIELD_TYPE, &type)) fail(b, "a column without a type");
    if (b->problem) return;
    switch (out->member) {
    case QK_ARROW_DECIMAL: out->bits = (int)field_number(b, &type, 2, 4, 128); break;
    case QK_ARROW_TIMESTAMP:
        out->unit = unit(b, &type, 0);
        field_string(b, &type, 1, out->zone, sizeof out->zone);
        break;
    case QK_ARROW_DURATION: out->unit = unit(b, &type, 1); break;
    default: break;
    }
}

/* ---- the message ---- */

/* Fields of the schema: 0xFFFFFFFF (younger writers), a length, then Message { header: Schema }. */
static size_t find_fields(buffer *b, size_t *count)
{
    enum { MESSAGE_HEADER_TYPE = 1, MESSAGE_HEADER, HEADER_IS_SCHEMA = 1, SCHEMA_FIELDS = 1 };
    size_t head = number(b, 0, 4) == UINT32_MAX ? 8 : 4;
    uint64_t n = number(b, head - 4, 4);
    *count = 0;
    if (!b->problem && n > b->n - head) fail(b, "it is cut short");
    if (b->problem) return 0;
    b->bytes += head;
    b->n = (size_t)n;
    table schema, message = open_table(b, follow(b, 0));
    if (field_number(b, &message, MESSAGE_HEADER_TYPE, 1, 0) != HEADER_IS_SCHEMA ||
        !field_table(b, &message, MESSAGE_HEADER, &schema)) {
        fail(b, "a message of another kind");
        return 0;
    }
    return field_vector(b, &schema, SCHEMA_FIELDS, 4, count);
}

/* Base64, with or without its padding, into bytes[3 * length / 4]. */
static size_t decode(buffer *b, const char *text, uint8_t *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0, length = strlen(text);
    uint32_t bits = 0;
    while (length && text[length - 1] == '=') length--;
    for (size_t i = 0; i < length; i++) {
        const char *digit = memchr(digits, text[i], 64);
        if (!digit) fail(b, "it is not base64");
        bits = bits << 6 | (uint32_t)(digit ? digit - digits : 0);
        if (i % 4) bytes[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return n;
}

qk_status qk_arrow_schema_column(qk_arrow_type *out, const char *base64, size_t index, size_t count,
                                 const char *path, qk_error *err)
{
    size_t n, items;
    void *bytes;
    *out = (qk_arrow_type){0};
    QK_TRY(qk_try_alloc(&bytes, strlen(base64) + 1, 1, "the Arrow schema of a Parquet file", err));
    buffer b = {.bytes = bytes};
    b.n = decode(&b, base64, bytes);
    items = find_fields(&b, &n);
    if (!b.problem && n == count && index < count) {
        table field = item(&b, items, index);
        for (int depth = 0; path && *path && !b.problem; depth++) {
            if (depth == MAX_DEPTH) fail(&b, "columns nested too deep");
            enter_child(&b, &field, &path);
        }
        read_type(&b, &field, out);
    }
    free(bytes);
    if (!b.problem) return QK_OK;
    *out = (qk_arrow_type){0};
    return qk_fail(err, QK_ERR_FORMAT, "write the file again, or take another id column",
                   "its Arrow schema (ARROW:schema in the footer): %s", b.problem);
}
