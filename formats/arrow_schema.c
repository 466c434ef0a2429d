/* See arrow_schema.h. A flatbuffer grows from its end to its front, so that an object is written
 * after all that it points to; an offset is counted from the end until it is stored. */
#include "formats/arrow_schema.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"

typedef struct builder {
    uint8_t *bytes;
    size_t capacity, size; /* the last `size` bytes are in use */
    size_t start;          /* of the table that is open */
    uint16_t slots[8];     /* its fields: distance from the end, 0: absent */
} builder;

static void prepend(builder *b, const void *bytes, size_t n)
{
    QK_ASSERT(n <= b->capacity - b->size);
    b->size += n;
    if (n) memcpy(b->bytes + b->capacity - b->size, bytes, n);
}

/* Zeros, until `extra` more bytes end at a multiple of `to`. */
static void align(builder *b, size_t to, size_t extra)
{
    static const uint8_t zeros[8];
    prepend(b, zeros, (to - (b->size + extra) % to) % to);
}

static void prepend_u32(builder *b, uint32_t v)
{
    prepend(b, &v, 4);
}

/* A reference to something at `offset` from the end. */
static void reference(builder *b, size_t offset)
{
    align(b, 4, 0);
    prepend_u32(b, (uint32_t)(b->size + 4 - offset));
}

static size_t string(builder *b, const char *text)
{
    size_t n = strlen(text);
    align(b, 4, n + 1);
    prepend(b, "", 1);
    prepend(b, text, n);
    prepend_u32(b, (uint32_t)n);
    return b->size;
}

static size_t vector(builder *b, const size_t *offsets, size_t n)
{
    align(b, 4, 4 * n);
    for (size_t i = n; i-- > 0;) reference(b, offsets[i]);
    prepend_u32(b, (uint32_t)n);
    return b->size;
}

static void table_begin(builder *b)
{
    memset(b->slots, 0, sizeof b->slots);
    b->start = b->size;
}

static void field_number(builder *b, int slot, int64_t value, size_t bytes)
{
    align(b, bytes, 0);
    prepend(b, &value, bytes); /* little-endian: the low bytes come first */
    b->slots[slot] = (uint16_t)b->size;
}

static void field_reference(builder *b, int slot, size_t offset)
{
    reference(b, offset);
    b->slots[slot] = (uint16_t)b->size;
}

static size_t table_end(builder *b)
{
    align(b, 4, 0);
    prepend_u32(b, 0); /* where the vtable is, filled in below */
    size_t table = b->size;
    for (int i = 7; i >= 0; i--) {
        uint16_t at = b->slots[i] ? (uint16_t)(table - b->slots[i]) : 0;
        prepend(b, &at, 2);
    }
    uint16_t head[2] = {sizeof head + sizeof b->slots, (uint16_t)(table - b->start)};
    prepend(b, head, sizeof head);
    int32_t back = (int32_t)(b->size - table);
    memcpy(b->bytes + b->capacity - table, &back, 4);
    return table;
}

/* Members of the union Type in Schema.fbs. */
enum { TYPE_INT = 2, TYPE_FLOAT = 3, TYPE_UTF8 = 5, TYPE_BOOL = 6, TYPE_FIXED_LIST = 16 };

static size_t field(builder *b, const char *name, int type, int width, const size_t *child)
{
    size_t name_at = string(b, name);
    table_begin(b);
    if (type == TYPE_INT) {
        field_number(b, 0, width, 4); /* bitWidth */
        field_number(b, 1, 1, 1);     /* is_signed */
    }
    if (type == TYPE_FLOAT) field_number(b, 0, 1, 2);          /* precision: SINGLE */
    if (type == TYPE_FIXED_LIST) field_number(b, 0, width, 4); /* listSize */
    size_t type_at = table_end(b);
    size_t children = vector(b, child, child ? 1 : 0);
    table_begin(b);
    field_reference(b, 0, name_at);
    field_reference(b, 3, type_at);
    field_reference(b, 5, children);
    field_number(b, 1, 1, 1); /* nullable */
    field_number(b, 2, type, 1);
    return table_end(b);
}

static size_t column(builder *b, const qk_pq_column *c)
{
    size_t element;
    switch (c->kind) {
    case QK_PQ_INT32: return field(b, c->name, TYPE_INT, 32, NULL);
    case QK_PQ_INT64: return field(b, c->name, TYPE_INT, 64, NULL);
    case QK_PQ_BOOL: return field(b, c->name, TYPE_BOOL, 0, NULL);
    case QK_PQ_STRING: return field(b, c->name, TYPE_UTF8, 0, NULL);
    case QK_PQ_FLOAT: return field(b, c->name, TYPE_FLOAT, 0, NULL);
    case QK_PQ_FLOATS: break;
    }
    element = field(b, "element", TYPE_FLOAT, 0, NULL);
    return field(b, c->name, TYPE_FIXED_LIST, c->list_size, &element);
}

char *qk_arrow_schema(const qk_pq_column *columns, size_t n)
{
    size_t capacity = 1024;
    for (size_t i = 0; i < n; i++) capacity += 512 + strlen(columns[i].name);
    builder b = {.bytes = qk_zalloc(capacity, 1), .capacity = capacity};
    size_t *fields = qk_alloc(n, sizeof *fields);
    for (size_t i = 0; i < n; i++) fields[i] = column(&b, &columns[i]);
    size_t list = vector(&b, fields, n);
    table_begin(&b);
    field_reference(&b, 1, list);
    size_t schema = table_end(&b);
    table_begin(&b);
    field_reference(&b, 2, schema);
    field_number(&b, 0, 4, 2); /* metadata version 5 */
    field_number(&b, 1, 1, 1); /* header: Schema */
    size_t message = table_end(&b);
    align(&b, 8, 4);
    reference(&b, message);
    uint32_t head[2] = {0xFFFFFFFF, (uint32_t)b.size};
    prepend(&b, head, sizeof head);
    qk_buf text = {0};
    qk_base64_add(&text, b.bytes + b.capacity - b.size, b.size);
    free(fields);
    free(b.bytes);
    qk_buf_str(&text);
    return (char *)text.data;
}
