/* See thrift_write.h. */
#include "formats/thrift_write.h"

#include <string.h>

static void varint(qk_thrift_out *t, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) qk_buf_add_byte(&t->buf, (uint8_t)(v | 0x80));
    qk_buf_add_byte(&t->buf, (uint8_t)v);
}

static void zigzag(qk_thrift_out *t, int64_t v)
{
    varint(t, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

static void field(qk_thrift_out *t, int id, qk_thrift_type type)
{
    int16_t *last = &t->last[t->depth - 1];
    int delta = id - *last;
    QK_ASSERT(delta > 0 && delta <= 15); /* Parquet's structs have no wider gaps */
    qk_buf_add_byte(&t->buf, (uint8_t)(delta << 4 | (int)type));
    *last = (int16_t)id;
}

void qk_thrift_begin(qk_thrift_out *t, int id)
{
    if (id) field(t, id, QK_THRIFT_STRUCT);
    QK_ASSERT(t->depth < QK_THRIFT_MAX_DEPTH);
    t->last[t->depth++] = 0;
}

void qk_thrift_end(qk_thrift_out *t)
{
    qk_buf_add_byte(&t->buf, 0);
    t->depth--;
}

void qk_thrift_i16(qk_thrift_out *t, int id, int16_t value)
{
    field(t, id, QK_THRIFT_I16);
    zigzag(t, value);
}

void qk_thrift_i32(qk_thrift_out *t, int id, int32_t value)
{
    field(t, id, QK_THRIFT_I32);
    zigzag(t, value);
}

void qk_thrift_i64(qk_thrift_out *t, int id, int64_t value)
{
    field(t, id, QK_THRIFT_I64);
    zigzag(t, value);
}

void qk_thrift_bytes(qk_thrift_out *t, int id, const void *bytes, size_t n)
{
    field(t, id, QK_THRIFT_BINARY);
    varint(t, n);
    qk_buf_add(&t->buf, bytes, n);
}

void qk_thrift_str(qk_thrift_out *t, int id, const char *text)
{
    qk_thrift_bytes(t, id, text, strlen(text));
}

void qk_thrift_list(qk_thrift_out *t, int id, qk_thrift_type type, size_t count)
{
    field(t, id, QK_THRIFT_LIST);
    qk_buf_add_byte(&t->buf, (uint8_t)((count < 15 ? count : 15) << 4 | (size_t)type));
    if (count >= 15) varint(t, count);
}

void qk_thrift_item_i32(qk_thrift_out *t, int32_t value)
{
    zigzag(t, value);
}

void qk_thrift_item_str(qk_thrift_out *t, const char *text)
{
    varint(t, strlen(text));
    qk_buf_add_str(&t->buf, text);
}
