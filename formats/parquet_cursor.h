/* Inside of the Parquet reader: the cursor. See parquet_read.h.
 *
 * next: formats/parquet_cursor.c, then parquet_list.c */
#pragma once

#include "formats/parquet_page.h"
#include "formats/parquet_read.h"

enum { QK_PQ_PIECE = 4096 }; /* elements of lists decoded at once */

struct qk_pq_cursor {
    const qk_pq_file *file;
    const qk_pq_leaf *leaf;
    size_t column;
    size_t next_group;
    /* The current row group. */
    uint64_t at, end;   /* of its chunk in the file: the next page, the end */
    int64_t chunk_left; /* values in pages not begun */
    qk_pq_dictionary dictionary;
    /* The current page. */
    uint64_t page_left; /* values not given */
    uint64_t page_at;
    qk_pq_rle repetition, definition;
    qk_pq_decoder decoder;
    qk_pq_scratch page_scratch, dictionary_scratch;
    qk_pq_scratch packed; /* bytes [packed_at, packed_at + packed_n) of the file */
    uint64_t packed_at;
    size_t packed_n;
    /* The batch. */
    qk_pq_scratch values, valid;
    /* Lists: a piece of the levels and values of the current page. */
    uint32_t *repetitions, *definitions; /* [QK_PQ_PIECE] */
    float *elements;                     /* [QK_PQ_PIECE], those that are there */
    size_t piece_at, piece_n, element_at;
    int64_t rows_left; /* in the current row group */
};

/* Goes to the next data page that has values. *more is false behind the last row group. `skip`
 * (NULL: 0) counts rows to pass over: row groups and, without lists, pages that have no more are
 * left out and taken off. */
qk_status qk_pq_cursor_page(qk_pq_cursor *c, uint64_t *skip, bool *more, qk_error *err);
/* Puts file, row group, column and byte before the message. */
qk_status qk_pq_cursor_fail(const qk_pq_cursor *c, qk_error *err);
/* Lists: as qk_pq_skip. */
qk_status qk_pq_skip_lists(qk_pq_cursor *c, uint64_t rows, qk_error *err);
