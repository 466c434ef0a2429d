/* The Arrow schema that Arrow's writers leave in a Parquet footer under "ARROW:schema": with it
 * pyarrow shows a fixed-size list as one, which Parquet itself cannot say.
 *
 * Base64 of an encapsulated IPC message: 0xFFFFFFFF, length, then a flatbuffer Message { Schema }.
 * Source: Arrow columnar format, "Encapsulated message format"; Schema.fbs; flatbuffers' internals.
 *
 * next: formats/parquet_write.c */
#pragma once

#include "formats/parquet_write.h"

/* Base64 text in a fresh string, which the caller frees. */
char *qk_arrow_schema(const qk_pq_column *columns, size_t n);
