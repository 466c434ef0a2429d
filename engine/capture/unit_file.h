/* Work units on disk: what a crash keeps.
 *
 * A unit is a fixed number of consecutive examples. Its captured rows go to one file,
 * staging/unit-NNNNNN.qku, written under a temporary name while the forward runs, then flushed and
 * renamed: a unit exists whole or not at all. Layout, little-endian:
 *
 *   "QKUNIT03"
 *   blocks     one per batch, layer, kind (and head with per-head masks), 8-byte aligned:
 *              token, position, bucket, example  int32 [rows] each, example counts in the unit
 *              vectors                           float32 [heads, rows, d]
 *              log-sum-exp, where it is there    float32 [heads, rows]
 *   footer     stamp, counts, examples with their ids, block index
 *   trailer    footer offset u64, footer bytes u64, CRC-32 of the footer u32, "QKUNIT03"
 *
 * An entry of the index: layer, kind (sampler/kind.h; + 256 with log-sum-exp) and heads u32, rows
 * and offset u64, the CRC-32 values, the head numbers int32 [heads].
 *
 * The stamp says which run a unit belongs to and what it was computed with, because units travel:
 * those of several machines are copied together.
 *
 * Every byte is checked but the few that align blocks: the two marks, the footer by its CRC-32, and
 * the rest by the CRC-32 that the index has of a block's integers, of each head's vectors and of each
 * head's log-sum-exp, so that a reader takes one head at a time. Which batch a block came from leaves no trace in what
 * engine/output/merge.c makes of it.
 *
 * next: engine/output/merge.h */
#pragma once

#include "engine/base/file.h"
#include "sampler/seed.h"

/* One example of a unit. Strings are owned by whoever filled it in. */
typedef struct qk_unit_example {
    int64_t index;       /* row of the dataset's selection */
    int64_t id;          /* full 64-bit id */
    const char *id_text; /* NULL without an id column; it may hold NULs */
    size_t id_length;    /* bytes of it */
    int32_t tokens;
    bool truncated;
    uint8_t sha256[32]; /* of the token ids as int32 little-endian */
} qk_unit_example;

/* Rows of one block. All arrays have `rows` entries; vectors are [n_heads, rows, d]. */
typedef struct qk_unit_rows {
    int32_t layer;
    qk_kind kind;
    const int32_t *heads; /* [n_heads] ascending */
    int32_t n_heads;
    size_t rows;
    const int32_t *tokens, *positions, *buckets, *examples;
    const float *vectors;
    const float *lse; /* [n_heads, rows] of queries (kernels/backend.h), or NULL: not captured */
} qk_unit_rows;

/* NUL-terminated, and zeros behind that. On disk as it lies here. */
typedef struct qk_unit_stamp {
    char identity[65]; /* qk_identity.fingerprint */
    char numerics[40]; /* of the device (kernels/backend.h) */
} qk_unit_stamp;

/* Whether a unit of this stamp belongs to a run of that one; the error names the file. */
qk_status qk_unit_stamp_check(const qk_unit_stamp *have, const qk_unit_stamp *want,
                              const char *path, qk_error *err);

/* ---- writing ---- */

typedef struct qk_unit_writer qk_unit_writer;

/* tmp: the name until the commit, in the same folder. */
qk_status qk_unit_create(qk_unit_writer **out, const char *path, const char *tmp,
                         const qk_unit_stamp *stamp, int d, qk_error *err);
/* Appends one block. A failed write is reported here, so that a full disk stops the run at once. */
qk_status qk_unit_add_rows(qk_unit_writer *w, const qk_unit_rows *rows, qk_error *err);
/* Examples in order; they are copied. */
void qk_unit_add_example(qk_unit_writer *w, const qk_unit_example *example);
/* The example that was added so-manieth, for messages; its text lies in the arena. */
void qk_unit_example_of(const qk_unit_writer *w, int32_t ordinal, qk_arena *arena,
                        qk_unit_example *out);
/* Footer, flush, rename. Frees w in any case. */
qk_status qk_unit_commit(qk_unit_writer *w, qk_error *err);
void qk_unit_abort(qk_unit_writer *w); /* NULL-safe; leaves no file */

/* ---- reading ---- */

typedef struct qk_unit_block {
    int32_t layer;
    qk_kind kind;
    const int32_t *heads; /* [n_heads] ascending, borrowed from the unit */
    const uint32_t *crc;  /* of the integers, of each head's vectors, of each head's lse */
    int32_t n_heads;
    bool has_lse;
    uint64_t rows, offset; /* offset: bytes from the start of the file */
} qk_unit_block;

typedef struct qk_unit {
    qk_unit_stamp stamp;
    int d;
    qk_unit_example *examples;
    size_t n_examples;
    qk_unit_block *blocks; /* in the order they were written */
    size_t n_blocks;
    uint64_t rows; /* rows of all files that come from this unit */
    int fd;
    char *path;
    qk_arena arena;
} qk_unit;

/* Opens and checks the footer; damage is QK_ERR_DAMAGED with the file's name, here and below. */
qk_status qk_unit_open(qk_unit *u, const char *path, qk_error *err);
void qk_unit_close(qk_unit *u);
/* The stamp alone; the whole footer must have its checksum. */
qk_status qk_unit_read_stamp(const char *path, qk_unit_stamp *out, qk_error *err);
/* Reads the integer columns of a block, or the vectors [rows, d] or log-sum-exps [rows] of its h-th
 * head, and checks their CRC. The result lies in buf, which the caller owns and may reuse. Of a
 * block without lse *out is NULL. */
qk_status qk_unit_read_rows(const qk_unit *u, const qk_unit_block *block, qk_buf *buf,
                            qk_unit_rows *out, qk_error *err);
qk_status qk_unit_read_vectors(const qk_unit *u, const qk_unit_block *block, int32_t h, qk_buf *buf,
                               const float **out, qk_error *err);
qk_status qk_unit_read_lse(const qk_unit *u, const qk_unit_block *block, int32_t h, qk_buf *buf,
                           const float **out, qk_error *err);
