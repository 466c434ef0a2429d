/* The footer of a Parquet file: schema, row groups, column chunks.
 *
 *   "PAR1"  pages ...  footer (a thrift struct)  footer length (4 bytes)  "PAR1"
 *
 * The schema is a tree in depth-first order; its leaves are the columns. A row group holds one
 * chunk of each column: an optional dictionary page, then data pages. Every value of a column comes
 * with two small numbers: how many of the optional and repeated nodes on its path are there
 * (definition level), and which repeated node it continues (repetition level; 0 begins a row).
 * Source: apache/parquet-format, README.md, LogicalTypes.md and parquet.thrift.
 *
 * next: formats/parquet_read.h */
#pragma once

#include "engine/base/input.h"
#include "formats/parquet_creator.h"
#include "formats/thrift_read.h"

typedef enum qk_pq_type {
    QK_PQ_T_BOOLEAN = 0,
    QK_PQ_T_INT32 = 1,
    QK_PQ_T_INT64 = 2,
    QK_PQ_T_INT96 = 3,
    QK_PQ_T_FLOAT = 4,
    QK_PQ_T_DOUBLE = 5,
    QK_PQ_T_BYTES = 6,
    QK_PQ_T_FIXED = 7, /* FIXED_LEN_BYTE_ARRAY */
} qk_pq_type;

typedef enum qk_pq_encoding {
    QK_PQ_E_PLAIN = 0,
    QK_PQ_E_PLAIN_DICTIONARY = 2,
    QK_PQ_E_RLE = 3,
    QK_PQ_E_BIT_PACKED = 4,
    QK_PQ_E_DELTA_BINARY_PACKED = 5,
    QK_PQ_E_DELTA_LENGTH_BYTE_ARRAY = 6,
    QK_PQ_E_DELTA_BYTE_ARRAY = 7,
    QK_PQ_E_RLE_DICTIONARY = 8,
    QK_PQ_E_BYTE_STREAM_SPLIT = 9,
} qk_pq_encoding;

/* What the values mean: the logical type, or the older converted type. */
typedef enum qk_pq_meaning {
    QK_PQ_M_NONE,
    QK_PQ_M_STRING,
    QK_PQ_M_ENUM,
    QK_PQ_M_JSON,
    QK_PQ_M_BSON,
    QK_PQ_M_DECIMAL,   /* unscaled / 10^scale */
    QK_PQ_M_DATE,      /* days since 1970-01-01 */
    QK_PQ_M_TIME,      /* since midnight */
    QK_PQ_M_TIMESTAMP, /* since 1970-01-01 00:00 */
    QK_PQ_M_INT,
    QK_PQ_M_FLOAT16,
    QK_PQ_M_UUID,
    QK_PQ_M_INTERVAL,
    QK_PQ_M_NULL,  /* every value is null */
    QK_PQ_M_OTHER, /* younger than this reader */
} qk_pq_meaning;

typedef struct qk_pq_logical {
    qk_pq_meaning meaning;
    int precision, scale; /* DECIMAL */
    int unit;             /* TIME, TIMESTAMP: digits of a second, 3, 6 or 9 */
    bool utc;             /* TIME, TIMESTAMP */
    int bits;             /* INT: 8, 16, 32, 64 */
    bool is_signed;       /* INT */
} qk_pq_logical;

typedef struct qk_pq_bytes {
    const uint8_t *data;
    size_t size;
} qk_pq_bytes;

/* A column. */
typedef struct qk_pq_leaf {
    const char *path; /* with dots: "doc.text", "vector.list.element" */
    const char *top;  /* name of the top-level column it is in */
    bool is_top;      /* it is that column itself */
    size_t top_index; /* number of that column */
    qk_pq_type type;
    int fixed_length; /* bytes of a FIXED value, 12 for INT96; else 0 */
    qk_pq_logical logical;
    int max_def, max_rep;
    /* From this definition level on, the innermost repeated node has an element; one below is an
     * empty list, lower ones are null lists. 0 without a repeated node. */
    int list_def;
} qk_pq_leaf;

typedef struct qk_pq_statistics {
    bool has_min_max, has_nulls;
    qk_pq_bytes min, max; /* PLAIN bytes; longer ones than 64 count as absent */
    int64_t nulls;
} qk_pq_statistics;

/* One column in one row group, as the footer says: nothing is checked before the column is read. */
typedef struct qk_pq_chunk {
    bool has_metadata, is_encrypted;
    const char *file; /* where its pages are said to be; NULL or "": here */
    const char *path; /* the name its column had, with dots; "": none */
    int32_t type, codec;
    uint32_t encodings; /* bit set of their numbers */
    int64_t values;     /* nulls included */
    int64_t compressed, uncompressed;
    int64_t data_offset, dictionary_offset; /* 0: none */
    qk_pq_statistics statistics;
} qk_pq_chunk;

typedef struct qk_pq_group {
    int64_t rows;
    qk_pq_chunk *chunks; /* [n_leaves] */
} qk_pq_group;

typedef struct qk_pq_pair {
    const char *key, *value;
} qk_pq_pair;

/* An open file: what its footer says. */
typedef struct qk_pq_file {
    char *path;
    qk_input in;
    size_t footer_at; /* offset of the footer: chunks end before it */
    qk_arena arena;   /* owns what follows */
    int64_t rows;
    const char *created_by; /* or NULL */
    /* Its writer is known for these, see parquet_creator.h: */
    bool packs_all;    /* pages are packed, also when they say that they are not */
    bool short_chunks; /* the sizes of column chunks may be too small */
    bool shared_pages; /* strings of DELTA_BYTE_ARRAY go on from page to page */
    qk_pq_leaf *leaves;
    size_t n_leaves, n_top; /* n_top: top-level columns */
    qk_pq_group *groups;
    size_t n_groups;
    qk_pq_pair *metadata; /* key and value; a value that is no string is NULL */
    size_t n_metadata;
} qk_pq_file;

/* A node of the schema as it is written. */
typedef struct qk_pq_node {
    const char *name;
    int32_t type; /* -1: a group */
    int32_t fixed_length, repetition, children, converted, precision, scale;
    qk_pq_logical logical;
} qk_pq_node;

/* Reads the footer, the n bytes at f->footer_at, into f; what is kept is copied. Messages name
 * f->path. */
qk_status qk_pq_footer_read(qk_pq_file *f, const uint8_t *bytes, size_t n, qk_error *err);

/* For parquet_meta.c: parquet_schema.c reads the fields of a node and turns nodes into leaves. */
void qk_pq_node_read(qk_thrift_in *t, qk_pq_node *node, qk_arena *arena);
qk_status qk_pq_schema_leaves(qk_pq_file *f, const qk_pq_node *nodes, size_t n, qk_error *err);
/* Gives an error without a hint one that names the file's writer; returns its status. */
qk_status qk_pq_file_blame(const qk_pq_file *f, qk_error *err);
/* A string of the footer, copied. */
const char *qk_pq_string(qk_thrift_in *t, const qk_thrift_field *field, const char *name,
                         qk_arena *arena);

/* "BYTE_ARRAY", "PLAIN"; NULL for numbers that mean nothing. */
const char *qk_pq_type_name(int type);
const char *qk_pq_encoding_name(int encoding);
/* "string", "timestamp[us, UTC]", "decimal(7, 2)", "uint8"; "" for none. In `out`, returned. */
const char *qk_pq_logical_name(const qk_pq_logical *logical, char out[40]);
