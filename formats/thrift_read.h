/* Thrift compact protocol, reading: bounded, with a sticky failure that is looked at once.
 *
 * After the first byte that does not fit, `failed` is set, every integer is 0, every string empty
 * and every struct at its end; unknown fields are skipped. Format: formats/thrift_write.h.
 *
 * next: formats/parquet_meta.h */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_thrift_in {
    const uint8_t *at, *end;
    int depth; /* of nested structs and lists */
    bool failed;
} qk_thrift_in;

/* One field of the open struct. *last starts at 0. Returns false at the struct's end. Every field
 * must be read with the function of its type, or skipped. */
bool qk_thrift_field(qk_thrift_in *t, int *last, int *id, int *type);
int64_t qk_thrift_int(qk_thrift_in *t, int type); /* any integer type or boolean; else fails */
/* Bytes inside the input. */
const uint8_t *qk_thrift_binary(qk_thrift_in *t, int type, size_t *n);
/* Opens a list or set; *element is the type of its items. 0 when it is empty or no list. */
size_t qk_thrift_count(qk_thrift_in *t, int type, int *element);
bool qk_thrift_is_struct(qk_thrift_in *t, int type); /* fails the reader when it is not */
void qk_thrift_skip(qk_thrift_in *t, int type);
