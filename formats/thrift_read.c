/* See thrift_read.h. */
#include "formats/thrift_read.h"

enum { MAX_DEPTH = 24 };
enum { TRUE = 1, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT };

static uint8_t byte(qk_thrift_in *t)
{
    if (t->failed || t->at == t->end) {
        t->failed = true;
        return 0;
    }
    return *t->at++;
}

static uint64_t varint(qk_thrift_in *t)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t b = byte(t);
        v |= (uint64_t)(b & 0x7F) << shift;
        if (!(b & 0x80)) return v;
    }
    t->failed = true;
    return 0;
}

static int64_t zigzag(qk_thrift_in *t)
{
    uint64_t v = varint(t);
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

bool qk_thrift_field(qk_thrift_in *t, int *last, int *id, int *type)
{
    uint8_t b = byte(t);
    if (t->failed || !b) return false;
    *type = b & 15;
    int64_t wanted = b >> 4 ? *last + (b >> 4) : zigzag(t);
    if (t->failed || wanted < 0 || wanted > INT16_MAX || *type < TRUE || *type > STRUCT) {
        t->failed = true;
        return false;
    }
    *id = *last = (int)wanted;
    return true;
}

int64_t qk_thrift_int(qk_thrift_in *t, int type)
{
    switch (type) {
    case TRUE: return 1;
    case FALSE: return 0;
    case BYTE: return (int8_t)byte(t);
    case I16:
    case I32:
    case I64: {
        int64_t v = zigzag(t);
        return t->failed ? 0 : v;
    }
    default: t->failed = true; return 0;
    }
}

const uint8_t *qk_thrift_binary(qk_thrift_in *t, int type, size_t *n)
{
    uint64_t size = type == BINARY ? varint(t) : 0;
    *n = 0;
    if (type != BINARY || t->failed || size > (size_t)(t->end - t->at)) {
        t->failed = true;
        return t->end;
    }
    const uint8_t *p = t->at;
    t->at += size;
    *n = (size_t)size;
    return p;
}

size_t qk_thrift_count(qk_thrift_in *t, int type, int *element)
{
    if (type != LIST && type != SET) {
        t->failed = true;
        return 0;
    }
    uint8_t b = byte(t);
    *element = b & 15;
    uint64_t n = b >> 4 == 15 ? varint(t) : b >> 4;
    /* Each item takes at least one byte: a count beyond that is a lie. */
    if (t->failed || n > (size_t)(t->end - t->at)) {
        t->failed = true;
        return 0;
    }
    return (size_t)n;
}

bool qk_thrift_is_struct(qk_thrift_in *t, int type)
{
    if (type != STRUCT) t->failed = true;
    return !t->failed;
}

static void skip_struct(qk_thrift_in *t)
{
    int last = 0, id, type;
    while (qk_thrift_field(t, &last, &id, &type)) qk_thrift_skip(t, type);
}

static void skip_items(qk_thrift_in *t, int type)
{
    int element;
    size_t n = qk_thrift_count(t, type, &element);
    for (size_t i = 0; i < n && !t->failed; i++) {
        /* Inside a list a boolean takes a byte. */
        if (element == TRUE || element == FALSE)
            byte(t);
        else
            qk_thrift_skip(t, element);
    }
}

static void skip_map(qk_thrift_in *t)
{
    uint64_t n = varint(t);
    if (!n || t->failed) return;
    uint8_t types = byte(t);
    for (uint64_t i = 0; i < n && !t->failed; i++) {
        qk_thrift_skip(t, types >> 4);
        qk_thrift_skip(t, types & 15);
    }
}

void qk_thrift_skip(qk_thrift_in *t, int type)
{
    size_t n;
    if (++t->depth > MAX_DEPTH) t->failed = true;
    if (t->failed) return;
    switch (type) {
    case DOUBLE:
        for (int i = 0; i < 8; i++) byte(t);
        break;
    case BINARY: qk_thrift_binary(t, type, &n); break;
    case LIST:
    case SET: skip_items(t, type); break;
    case MAP: skip_map(t); break;
    case STRUCT: skip_struct(t); break;
    default: qk_thrift_int(t, type);
    }
    t->depth--;
}
