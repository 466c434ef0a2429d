/* Reading Apache Thrift's compact protocol, in which Parquet writes its footer and page headers.
 *
 *   struct   fields, then a zero byte
 *   field    one byte: id delta << 4 | type; with delta 0 the id follows as a zigzag varint
 *   integer  zigzag varint, little-endian groups of 7 bits
 *   binary   varint length, bytes;   bool: in the field's type (1 true, 2 false)
 *   list     one byte: size << 4 | element type; size 15: the size follows as a varint
 *
 * Nothing is allocated. The first error sticks: from then on fields end and values are zero, so
 * callers read freely and check `problem` once. Fields nobody asked for are skipped, and so are
 * optional ones of another type than they should have; a required one of another type is an error.
 * Source: apache/thrift, doc/specs/thrift-compact-protocol.md.
 *
 * next: formats/parquet_meta.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    QK_THRIFT_T_STOP = 0,
    QK_THRIFT_T_TRUE = 1,
    QK_THRIFT_T_FALSE = 2,
    QK_THRIFT_T_BYTE = 3,
    QK_THRIFT_T_I16 = 4,
    QK_THRIFT_T_I32 = 5,
    QK_THRIFT_T_I64 = 6,
    QK_THRIFT_T_DOUBLE = 7,
    QK_THRIFT_T_BINARY = 8,
    QK_THRIFT_T_LIST = 9,
    QK_THRIFT_T_SET = 10,
    QK_THRIFT_T_MAP = 11,
    QK_THRIFT_T_STRUCT = 12,
    QK_THRIFT_T_UUID = 13,
};

typedef struct qk_thrift_in {
    const uint8_t *at, *end;
    char problem[160];         /* empty while all is well */
    const uint8_t *problem_at; /* where it was found */
} qk_thrift_in;

/* A field of a struct; zero-initialise before the first. */
typedef struct qk_thrift_field {
    int16_t id;
    uint8_t type;
} qk_thrift_field;

void qk_thrift_open(qk_thrift_in *t, const uint8_t *bytes, size_t n);
/* Notes a problem (the first one counts). */
void qk_thrift_fail(qk_thrift_in *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Where a struct ends that begins at bytes[0..n), whatever its fields are; NULL when that is none:
 * *at (may be NULL) is the position where it fails. */
const uint8_t *qk_thrift_walk(const uint8_t *bytes, size_t n, const uint8_t **at);

/* Goes to the next field of the current struct; false behind the last, and after an error. The
 * value must then be read or skipped. Entering a struct is calling this with a fresh field. */
bool qk_thrift_next(qk_thrift_in *t, qk_thrift_field *field);
void qk_thrift_skip(qk_thrift_in *t, const qk_thrift_field *field);
/* Whether an optional field is of this type (TRUE stands for both booleans). One of another type is
 * passed over and counts as absent, as in the readers that thrift generates: some writers put
 * numbers where the format has strings. */
bool qk_thrift_optional(qk_thrift_in *t, const qk_thrift_field *field, uint8_t type);

/* Values of a field. `name` is for the message when the type on the wire is another. */
bool qk_thrift_read_bool(qk_thrift_in *t, const qk_thrift_field *field, const char *name);
int8_t qk_thrift_read_byte(qk_thrift_in *t, const qk_thrift_field *field, const char *name);
int32_t qk_thrift_read_i32(qk_thrift_in *t, const qk_thrift_field *field, const char *name);
int64_t qk_thrift_read_i64(qk_thrift_in *t, const qk_thrift_field *field, const char *name);
/* Borrowed from the input. */
const uint8_t *qk_thrift_read_binary(qk_thrift_in *t, const qk_thrift_field *field,
                                     const char *name, size_t *length);
/* Checks that a struct follows; its fields are read with a fresh field. */
bool qk_thrift_read_struct(qk_thrift_in *t, const qk_thrift_field *field, const char *name);
/* Number of elements of a list of `type`, never more than bytes are left. Each element is then read
 * with the field `*element`. */
size_t qk_thrift_read_list(qk_thrift_in *t, const qk_thrift_field *field, uint8_t type,
                           const char *name, qk_thrift_field *element);
