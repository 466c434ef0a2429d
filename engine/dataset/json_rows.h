/* The rows of a JSON file, one after the other: objects, or the items (objects or strings) of one
 * array around them all. White space between rows does not matter, a byte order mark is skipped.
 *
 * Only a window of the file is in memory (stream.h). When a row does not end in it, reading it
 * fails near the window's end; then the window is made longer and the row read again from its
 * first byte. Private to engine/dataset/.
 *
 * next: engine/dataset/jsonl.c */
#pragma once

#include "engine/dataset/stream.h"
#include "formats/json.h"

typedef struct qk_json_rows {
    qk_stream in;
    qk_json_reader reader;
    bool in_array;
} qk_json_rows;

/* Reads the rest of a row whose first event is given (OBJECT or STRING); false when the reader has
 * failed. May be called again for the same row. */
typedef bool (*qk_json_row_fn)(void *context, qk_json_reader *r, qk_json_event first);

/* `path` is borrowed. */
qk_status qk_json_rows_open(qk_json_rows *rows, const char *path, qk_error *err);
/* *more is false behind the last row. What `read` has borrowed from the reader is valid until the
 * next call. */
qk_status qk_json_rows_next(qk_json_rows *rows, qk_json_row_fn read, void *context, bool *more,
                            qk_error *err);
/* Bytes of the plain text that are read. */
uint64_t qk_json_rows_at(const qk_json_rows *rows);
void qk_json_rows_close(qk_json_rows *rows); /* zeroed: fine */
