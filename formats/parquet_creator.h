/* Which program wrote a Parquet file, and what old ones did wrong that can be read all the same.
 *
 * The footer's created_by is "parquet-mr version 1.2.8 (build 5f6c29d)", by habit: a name, then the
 * word "version", three numbers, and anything. Names are compared letter by letter, as parquet-cpp
 * does, and a file without a version is taken for one of version 0.0.0.
 *
 *   parquet-cpp before 2.0.0   (Arrow C++ before 3) data pages of version 2 say that they are not
 *                              packed, and are (apache/arrow ARROW-17100)
 *   parquet-mr before 1.2.9    the size of a column chunk lacks the header of its dictionary page
 *                              (apache/parquet-java PARQUET-816)
 *   parquet-mr before 1.8.0    DELTA_BYTE_ARRAY: the first value of a page begins with bytes of the
 *                              page before (apache/parquet-java PARQUET-246); refused
 *
 * next: formats/parquet_meta.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/error.h"

typedef struct qk_pq_creator {
    const char *program; /* borrowed; not terminated */
    size_t length;
    int version[3]; /* major, minor, patch */
} qk_pq_creator;

/* created_by may be NULL: no program. */
qk_pq_creator qk_pq_creator_of(const char *created_by);
/* Whether it is this program in a version before that. */
bool qk_pq_creator_before(const qk_pq_creator *o, const char *program, int major, int minor,
                          int patch);

/* The hint for what a page or a footer shows only when bytes got lost or changed. */
extern const char qk_pq_damaged[];
/* Gives an error that has no hint one that names the writer and says how to write the file anew,
 * which fetching it again would not do. One that tells of damage gets that added when `is_old`: a
 * writer known for such files. Returns the error's status. */
qk_status qk_pq_blame(const char *created_by, bool is_old, qk_error *err);
