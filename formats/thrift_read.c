/* See thrift_read.h. */
#include "formats/thrift_read.h"

#include <stdarg.h>
#include <stdio.h>

/* Structs in structs, counted only where unknown fields are skipped. */
enum { MAX_DEPTH = 64, MAX_VARINT = 10 };

void qk_thrift_open(qk_thrift_in *t, const uint8_t *bytes, size_t n)
{
    *t = (qk_thrift_in){.at = bytes, .end = bytes + n};
}

void qk_thrift_fail(qk_thrift_in *t, const char *format, ...)
{
    if (t->problem[0]) return;
    va_list args;
    va_start(args, format);
    vsnprintf(t->problem, sizeof t->problem, format, args);
    va_end(args);
    t->problem_at = t->at;
    t->at = t->end;
}

static size_t left(const qk_thrift_in *t)
{
    return (size_t)(t->end - t->at);
}

static uint8_t read_byte(qk_thrift_in *t)
{
    if (t->at == t->end) {
        qk_thrift_fail(t, "the data end early");
        return 0;
    }
    return *t->at++;
}

static uint64_t read_varint(qk_thrift_in *t)
{
    uint64_t value = 0;
    for (int i = 0; i < MAX_VARINT; i++) {
        uint8_t byte = read_byte(t);
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (!(byte & 0x80)) return value;
    }
    qk_thrift_fail(t, "a varint is longer than %d bytes", MAX_VARINT);
    return 0;
}

static int64_t read_zigzag(qk_thrift_in *t)
{
    uint64_t u = read_varint(t);
    return (int64_t)(u >> 1 ^ (0 - (u & 1)));
}

/* Passes over n bytes; NULL when there are not so many. */
static const uint8_t *read_bytes(qk_thrift_in *t, uint64_t n, const char *name)
{
    if (n > left(t)) {
        qk_thrift_fail(t, "%s is %llu bytes long, but only %zu are left", name,
                       (unsigned long long)n, left(t));
        return NULL;
    }
    const uint8_t *bytes = t->at;
    t->at += n;
    return bytes;
}

static bool has_type(qk_thrift_in *t, const qk_thrift_field *field, uint8_t type, const char *name)
{
    if (t->problem[0]) return false;
    if (field->type == type) return true;
    qk_thrift_fail(t, "%s has the wrong thrift type %d", name, field->type);
    return false;
}

bool qk_thrift_next(qk_thrift_in *t, qk_thrift_field *field)
{
    uint8_t byte = read_byte(t);
    if (t->problem[0] || byte == QK_THRIFT_T_STOP) return false;
    int64_t id = byte >> 4 ? field->id + (byte >> 4) : read_zigzag(t);
    if (id < INT16_MIN || id > INT16_MAX) qk_thrift_fail(t, "a field id is out of range");
    *field = (qk_thrift_field){(int16_t)id, byte & 15};
    return !t->problem[0];
}

static void skip_value(qk_thrift_in *t, uint8_t type, bool in_list, int depth);

static void skip_map(qk_thrift_in *t, int depth)
{
    uint64_t n = read_varint(t);
    if (n == 0) return;
    uint8_t types = read_byte(t);
    if (n > left(t)) qk_thrift_fail(t, "a map of %llu entries", (unsigned long long)n);
    while (n-- > 0 && !t->problem[0]) {
        skip_value(t, types >> 4, true, depth + 1);
        skip_value(t, types & 15, true, depth + 1);
    }
}

static void skip_value(qk_thrift_in *t, uint8_t type, bool in_list, int depth)
{
    qk_thrift_field field = {0}, element;
    if (depth > MAX_DEPTH) qk_thrift_fail(t, "the data are nested too deep");
    if (t->problem[0]) return;
    switch (type) {
    case QK_THRIFT_T_TRUE:
    case QK_THRIFT_T_FALSE:
        if (in_list) read_byte(t);
        return;
    case QK_THRIFT_T_BYTE: read_byte(t); return;
    case QK_THRIFT_T_I16:
    case QK_THRIFT_T_I32:
    case QK_THRIFT_T_I64: read_varint(t); return;
    case QK_THRIFT_T_DOUBLE: read_bytes(t, 8, "a double"); return;
    case QK_THRIFT_T_UUID: read_bytes(t, 16, "a UUID"); return;
    case QK_THRIFT_T_BINARY: read_bytes(t, read_varint(t), "a string"); return;
    case QK_THRIFT_T_LIST:
    case QK_THRIFT_T_SET:
        field.type = QK_THRIFT_T_LIST;
        size_t n = qk_thrift_read_list(t, &field, 0, "a list", &element);
        while (n-- > 0 && !t->problem[0]) skip_value(t, element.type, true, depth + 1);
        return;
    case QK_THRIFT_T_MAP: skip_map(t, depth); return;
    case QK_THRIFT_T_STRUCT:
        while (qk_thrift_next(t, &field)) skip_value(t, field.type, false, depth + 1);
        return;
    default: qk_thrift_fail(t, "unknown thrift type %d", type);
    }
}

void qk_thrift_skip(qk_thrift_in *t, const qk_thrift_field *field)
{
    skip_value(t, field->type, false, 0);
}

const uint8_t *qk_thrift_walk(const uint8_t *bytes, size_t n, const uint8_t **at)
{
    qk_thrift_in t;
    qk_thrift_field f = {0};
    qk_thrift_open(&t, bytes, n);
    while (qk_thrift_next(&t, &f)) qk_thrift_skip(&t, &f);
    if (at) *at = t.problem_at;
    return t.problem[0] ? NULL : t.at;
}

bool qk_thrift_optional(qk_thrift_in *t, const qk_thrift_field *field, uint8_t type)
{
    bool is_bool = type == QK_THRIFT_T_TRUE && field->type == QK_THRIFT_T_FALSE;
    if (field->type == type || is_bool) return !t->problem[0];
    qk_thrift_skip(t, field);
    return false;
}

bool qk_thrift_read_bool(qk_thrift_in *t, const qk_thrift_field *field, const char *name)
{
    if (field->type == QK_THRIFT_T_TRUE) return true;
    has_type(t, field, QK_THRIFT_T_FALSE, name);
    return false;
}

int8_t qk_thrift_read_byte(qk_thrift_in *t, const qk_thrift_field *field, const char *name)
{
    return has_type(t, field, QK_THRIFT_T_BYTE, name) ? (int8_t)read_byte(t) : 0;
}

int32_t qk_thrift_read_i32(qk_thrift_in *t, const qk_thrift_field *field, const char *name)
{
    if (!has_type(t, field, QK_THRIFT_T_I32, name)) return 0;
    int64_t value = read_zigzag(t);
    if (value < INT32_MIN || value > INT32_MAX) {
        qk_thrift_fail(t, "%s does not fit 32 bits", name);
        return 0;
    }
    return (int32_t)value;
}

int64_t qk_thrift_read_i64(qk_thrift_in *t, const qk_thrift_field *field, const char *name)
{
    return has_type(t, field, QK_THRIFT_T_I64, name) ? read_zigzag(t) : 0;
}

const uint8_t *qk_thrift_read_binary(qk_thrift_in *t, const qk_thrift_field *field,
                                     const char *name, size_t *length)
{
    *length = 0;
    if (!has_type(t, field, QK_THRIFT_T_BINARY, name)) return NULL;
    uint64_t n = read_varint(t);
    const uint8_t *bytes = read_bytes(t, n, name);
    if (bytes) *length = (size_t)n;
    return bytes;
}

bool qk_thrift_read_struct(qk_thrift_in *t, const qk_thrift_field *field, const char *name)
{
    return has_type(t, field, QK_THRIFT_T_STRUCT, name);
}

size_t qk_thrift_read_list(qk_thrift_in *t, const qk_thrift_field *field, uint8_t type,
                           const char *name, qk_thrift_field *element)
{
    *element = (qk_thrift_field){0};
    if (!has_type(t, field, QK_THRIFT_T_LIST, name)) return 0;
    uint8_t head = read_byte(t);
    uint64_t n = head >> 4 == 15 ? read_varint(t) : head >> 4;
    element->type = head & 15;
    if (n > left(t)) {
        qk_thrift_fail(t, "%s has %llu elements, but only %zu bytes are left", name,
                       (unsigned long long)n, left(t));
        return 0;
    }
    if (type && n && !has_type(t, element, type, name)) return 0;
    return t->problem[0] ? 0 : (size_t)n;
}
