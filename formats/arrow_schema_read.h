/* Reading the Arrow schema in a Parquet footer (arrow_schema.h says what it is): of one column,
 * what Parquet's own type cannot say, such as the zone of a time stamp or that an integer is a
 * duration.
 *
 * The bytes come with the file, so every offset is checked against their end before it is followed,
 * nothing refers back to what it is part of, and the work is bounded by their number.
 *
 * next: engine/dataset/parquet_id.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/error.h"

/* Members of the union Type in Schema.fbs. */
typedef enum qk_arrow_member {
    QK_ARROW_NONE = 0,
    QK_ARROW_DECIMAL = 7,
    QK_ARROW_TIMESTAMP = 10,
    QK_ARROW_DURATION = 18,
    QK_ARROW_UTF8_VIEW = 24,
} qk_arrow_member;

typedef struct qk_arrow_type {
    int member;         /* a qk_arrow_member, or another number of that union */
    bool is_dictionary; /* of values of that type */
    int bits;           /* DECIMAL */
    int unit;           /* TIMESTAMP, DURATION: digits of a second, 0, 3, 6 or 9 */
    char zone[64];      /* TIMESTAMP: "" without one */
    char extension[64]; /* name of an extension type, or "" */
} qk_arrow_type;

/* The column `index` of the `count` at the top and, when `path` is not NULL, of the columns inside
 * it the one with that dotted path. As in Arrow a schema of another number of columns says nothing:
 * out->member is then NONE. QK_ERR_FORMAT: bytes that are no schema, or one without that path. */
qk_status qk_arrow_schema_column(qk_arrow_type *out, const char *base64, size_t index, size_t count,
                                 const char *path, qk_error *err);
