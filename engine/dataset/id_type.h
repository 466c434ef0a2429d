/* The type of an id column, in full, and which types a column of another one takes. Private to
 * engine/dataset/.
 *
 * The types are Arrow's as `datasets` has them; large and view variants are those of the plain one.
 * A file has one type for the column, and the first file of a split (or dataset_info in the card)
 * decides for the split: cells of the others are cast to it (cell.h).
 *
 * next: engine/dataset/cell.h */
#pragma once

#include <stdbool.h>

#include "engine/base/error.h"

typedef enum qk_cell_kind {
    QK_CELL_NULL,
    QK_CELL_INT,
    QK_CELL_UINT, /* a cell: above int64 */
    QK_CELL_BOOL,
    QK_CELL_FLOAT,
    QK_CELL_TEXT,
    QK_CELL_BYTES,
    QK_CELL_DECIMAL,
    QK_CELL_DATE,
    QK_CELL_TIME,  /* of day */
    QK_CELL_STAMP, /* a point in time, or a date and a time of day without a zone */
    QK_CELL_DURATION,
    QK_CELL_UUID,
} qk_cell_kind;

typedef struct qk_id_type {
    bool is_known;       /* false: nothing has said it yet */
    const char *said_by; /* what gives it, for messages; NULL: a file of the data */
    qk_cell_kind kind;
    int bits; /* INT, UINT 8 to 64; FLOAT 16, 32, 64; DECIMAL 32 to 256; DATE 32 days, 64 */
    int precision, scale; /* DECIMAL */
    int unit;             /* TIME, STAMP, DURATION: digits of a second, 0, 3, 6, 9 */
    int width;            /* BYTES: all of this length; 0: any */
    bool is_dictionary,
        is_view;   /* TEXT, as it is laid out: Arrow lacks a cast of the one to the other */
    bool is_label; /* INT: class labels of the card, whose names are not read */
    char zone[64]; /* STAMP: "" without one */
} qk_id_type;

/* Bytes of a name: "timestamp[us, tz=America/New_York]". */
enum { QK_ID_TYPE_NAME = 128 };

/* As `datasets` writes it; returned. */
const char *qk_id_type_name(const qk_id_type *type, char out[QK_ID_TYPE_NAME]);
/* The inverse, for dataset_info; false for what cannot be the type of ids. */
bool qk_id_type_parse(qk_id_type *out, const char *name);
/* Minutes that a zone is ahead of UTC: UTC by name, or an offset as +02:00. false for the others:
 * their rules are a database that changes, so that ids would depend on the machine. */
bool qk_id_zone_offset(const char *zone, int *minutes);
/* Whether cells of one type are cells of the other as they are. */
bool qk_id_type_is(const qk_id_type *column, const qk_id_type *cells);
/* Whether cells of one type become cells of the other as `datasets` casts them, value by value
 * exactly or refused. Never when `datasets` refuses the pair. */
bool qk_id_type_takes(const qk_id_type *column, const qk_id_type *cells);
