/* Thrift compact protocol, writing: what Parquet's footer and page headers are made of.
 *
 *   field    one byte: (id - last id) << 4 | type, or the type and a zigzag varint id
 *   integer  zigzag varint;  string: varint length, bytes;  struct: fields, then 0
 *   list     one byte: count << 4 | type of the elements (15 << 4 and a varint for long ones)
 *
 * Writes go to a growing buffer and cannot fail. Source: Apache Thrift, "Thrift Compact protocol".
 *
 * next: formats/parquet_write.h */
#pragma once

#include "engine/base/mem.h"

enum { QK_THRIFT_MAX_DEPTH = 16 };

typedef struct qk_thrift_out {
    qk_buf buf;
    int16_t last[QK_THRIFT_MAX_DEPTH]; /* last field id of each open struct */
    int depth;
} qk_thrift_out;

/* Zero-initialise; the outermost struct is opened with begin like any other. */
void qk_thrift_begin(qk_thrift_out *t,
                     int id); /* a struct field; id 0: an element or the outermost */
void qk_thrift_end(qk_thrift_out *t);
void qk_thrift_i16(qk_thrift_out *t, int id, int16_t value);
void qk_thrift_i32(qk_thrift_out *t, int id, int32_t value);
void qk_thrift_i64(qk_thrift_out *t, int id, int64_t value);
void qk_thrift_bytes(qk_thrift_out *t, int id, const void *bytes, size_t n);
void qk_thrift_str(qk_thrift_out *t, int id, const char *text);

/* A list field; its elements follow: qk_thrift_begin(t, 0) for structs, the functions below else.
 */
typedef enum qk_thrift_type {
    QK_THRIFT_I16 = 4,
    QK_THRIFT_I32 = 5,
    QK_THRIFT_I64 = 6,
    QK_THRIFT_BINARY = 8,
    QK_THRIFT_LIST = 9,
    QK_THRIFT_STRUCT = 12,
} qk_thrift_type;
void qk_thrift_list(qk_thrift_out *t, int id, qk_thrift_type type, size_t count);
void qk_thrift_item_i32(qk_thrift_out *t, int32_t value);
void qk_thrift_item_str(qk_thrift_out *t, const char *text);
