/* The way of weights from a checkpoint's files to a device: read in pieces of some MB, checked
 * value by value, rounded and packed by the backend.
 *
 * Files are read while others may write to them (engine/base/input.h): one that is cut off or
 * cannot be read meanwhile is an error that names it. Whatever the model's size, a piece is all
 * that this takes besides the weights themselves.
 *
 * next: engine/model/layer_stream.h */
#pragma once

#include <stdatomic.h>

#include "engine/model/model.h"

typedef struct qk_checkpoint qk_checkpoint;   /* formats/safetensors.h */
typedef struct qk_bound_layer qk_bound_layer; /* engine/model/bind.h */

/* One thread's way. A second thread has a reader of its own, with a device handle of its own. */
typedef struct qk_weight_reader {
    const qk_checkpoint *checkpoint;
    const qk_model_source *source; /* makes what would be read; NULL: files */
    const qk_backend *backend;
    qk_device *device;
    qk_dtype compute;
    int threads;             /* that read and check;0: all */
    const atomic_bool *stop; /* set by another thread: give up with QK_ERR_RESUME; NULL: never */
    void *piece;             /* of the file, see qk_weight_reader_free */
    size_t capacity;         /* bytes of it */
} qk_weight_reader;

void qk_weight_reader_free(qk_weight_reader *r);

/* All functions: NaN and infinity, a short file and one that was written since it was opened are
 * errors that name the tensor. */

/* One matrix from one or more tensors, stacked by output rows. *out is NULL, and is then made, or a
 * matrix of that shape, which is overwritten. */
qk_status qk_weights_matrix(qk_weight_reader *r, const qk_st_tensor *const *parts, size_t n_parts,
                            qk_matrix **out, qk_error *err);
/* A float32 vector on the device from one or more tensors end to end, rounded to the compute format
 * first, as a model that was converted to it would be. */
qk_status qk_weights_vector(qk_weight_reader *r, const qk_st_tensor *const *parts, size_t n_parts,
                            qk_tensor *out, qk_error *err);
/* A table in the checkpoint's own format. */
qk_status qk_weights_table(qk_weight_reader *r, const qk_st_tensor *t, qk_tensor *out,
                           qk_error *err);

/* The matrices of a layer, as far as it is computed. Those that w has are overwritten (they are of a
 * layer of the same kind), the others made. On error w has what was made so far. */
qk_status qk_weights_layer(qk_weight_reader *r, const qk_bound_layer *from, int experts,
                           qk_last_layer needs, qk_layer *w, qk_error *err);
void qk_weights_layer_free(const qk_backend *backend, qk_device *device, qk_layer *w);
