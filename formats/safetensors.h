/* safetensors: named tensors in one file, or spread over shards that an index lists.
 *
 *   8 bytes   header length n, little-endian
 *   n bytes   JSON: {"name": {"dtype": "BF16", "shape": [..], "data_offsets": [begin, end]}, ...,
 *                    "__metadata__": {"key": "value"}}
 *   the rest  the data; offsets count from here; tensors cover it without gaps or overlaps
 *
 * A folder holds model.safetensors, or model.safetensors.index.json whose "weight_map" says which
 * shard has each tensor. Opening reads the headers; a tensor's data are read when somebody asks.
 * Source: the README of the safetensors library ("Format").
 *
 * next: engine/model/model.h */
#pragma once

#include "engine/base/dtype.h"
#include "engine/base/file.h"
#include "engine/base/input.h"
#include "formats/json.h"

enum { QK_MAX_DIMS = 8 };

typedef struct qk_st_tensor {
    const char *name;  /* NUL-terminated, owned by the checkpoint */
    const char *dtype; /* as written: "F32", "BF16", "I64", ... */
    int n_dims;
    size_t shape[QK_MAX_DIMS];
    uint64_t offset; /* of its data in the file */
    size_t bytes;
    const char *file; /* path of the file, owned by the checkpoint */
} qk_st_tensor;

typedef struct qk_checkpoint {
    qk_st_tensor *tensors; /* sorted by name */
    size_t count;
    qk_names files;   /* paths of the files opened */
    qk_input *inputs; /* one per file */
    qk_names absent;  /* tensors that the index names and no shard has */
    qk_arena arena;
} qk_checkpoint;

/* Opens one .safetensors file, or a model folder (single file or index with shards). Everything is
 * validated before it returns; messages name file and tensor. */
qk_status qk_checkpoint_open(qk_checkpoint *c, const char *path, qk_error *err);
void qk_checkpoint_close(qk_checkpoint *c);

/* NULL when there is none. */
const qk_st_tensor *qk_checkpoint_find(const qk_checkpoint *c, const char *name);
/* The file that a tensor lies in. */
const qk_input *qk_checkpoint_input(const qk_checkpoint *c, const qk_st_tensor *t);
/* All bytes of a tensor into `out`. */
qk_status qk_checkpoint_read(const qk_checkpoint *c, const qk_st_tensor *t, void *out,
                             qk_error *err);
/* Number format of a tensor that the engine computes with; false for others (I64, F8_E4M3 ...). */
bool qk_st_float_dtype(const qk_st_tensor *t, qk_dtype *out);
/* Whether it is a format that quantised weights come in: numbers of a byte or less, packed ones. */
bool qk_st_is_quantised(const qk_st_tensor *t);
/* "[576, 1536]", in the arena. */
const char *qk_st_shape_text(qk_arena *arena, const size_t *shape, int n_dims);

/* ---- writing ---- */

/* Streaming, for files larger than memory: declare every tensor, begin, add the data of all of them
 * in that order in pieces of any size, commit. The data starts at a multiple of 8 bytes. */
typedef struct qk_st_writer {
    qk_writer file;
    qk_json_out header;
    uint64_t declared, added; /* bytes of data */
} qk_st_writer;
/* A zero-initialised writer; format may be NULL, else it goes into __metadata__. */
void qk_st_writer_init(qk_st_writer *w, const char *format);
/* dtype: "F32", "BF16", "I64" ... Sizes are the caller's: a product beyond 64 bits aborts. */
void qk_st_writer_declare(qk_st_writer *w, const char *name, const char *dtype, int n_dims,
                          const size_t *shape);
/* Opens `path.tmp` and writes the header. */
qk_status qk_st_writer_begin(qk_st_writer *w, const char *path, qk_error *err);
void qk_st_writer_add(qk_st_writer *w, const void *bytes, size_t n); /* sticky errors */
/* Flushes and renames; all that was declared must have been added. Frees in any case. */
qk_status qk_st_writer_commit(qk_st_writer *w, qk_error *err);
void qk_st_writer_abort(qk_st_writer *w); /* removes the temporary file; may follow any of these */

/* All at once, for small files. */
typedef struct qk_st_out_tensor {
    const char *name;
    const char *dtype;
    int n_dims;
    size_t shape[QK_MAX_DIMS];
    const void *data; /* borrowed until qk_safetensors_write returns */
} qk_st_out_tensor;
qk_status qk_safetensors_write(const char *path, const qk_st_out_tensor *tensors, size_t count,
                               qk_error *err);
