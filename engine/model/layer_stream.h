/* The layers that do not stay in memory: a thread reads them, in the order of the forward pass,
 * into two buffers that they share, over and over.
 *
 *   forward   | layer 4: buffer 0     | layer 5: stays | layer 6: buffer 1     | layer 8: buffer 0
 *   loader    | reads 6 into buffer 1 |                | reads 8 into buffer 0 | reads 10 into ...
 *
 * The forward asks for a layer (get: waits until it is there) and says when its work with it is
 * over (done: the device has passed it); then its buffer is filled with the next one. Behind the
 * last layer comes the first one of the next batch. Norms and biases of all layers stay, they are
 * small.
 *
 * The loader has a device handle of its own (kernels/backend.h), so what it queues and what fails
 * there are its own, and it finishes a layer (sync) before it hands it over. It makes and frees the
 * matrices of the buffers; when the next layer has the same shapes, they are overwritten in place.
 *
 * next: engine/forward/forward.h */
#pragma once

#include "engine/model/model.h"

typedef struct qk_checkpoint qk_checkpoint;   /* formats/safetensors.h */
typedef struct qk_bound_layer qk_bound_layer; /* engine/model/bind.h */
typedef struct qk_layer_stream qk_layer_stream;

/* All borrowed until qk_layer_stream_free. */
typedef struct qk_layer_stream_plan {
    const qk_backend *backend;
    qk_device_options device; /* for the loader's own handle */
    const qk_spec *spec;
    const qk_checkpoint *checkpoint;
    const qk_bound_layer *bound; /* [n_layers] the tensors */
    const qk_layer *layers;      /* [n_layers] their vectors; of those that stay also matrices */
    const bool *stays;           /* [n_layers] */
    int n_layers;
    qk_last_layer last; /* how far the last one is computed */
} qk_layer_stream_plan;

/* Starts the loader, which begins with the first layer that does not stay. *out is NULL on failure.
 */
qk_status qk_layer_stream_new(qk_layer_stream **out, const qk_layer_stream_plan *plan,
                              qk_error *err);
/* Stops it at its next check, some MB later, and frees the buffers. No work that uses them may be
 * queued any more. NULL-safe. */
void qk_layer_stream_free(qk_layer_stream *s);

/* Layer l, ready. Layers are asked for in order; one that is out of order begins a new pass, and
 * all that was handed out before counts as done. Fails with what stopped the loader, and with
 * QK_ERR_RESUME when a signal arrives while it waits. Valid until done, or for good if it stays. */
qk_status qk_layer_stream_get(qk_layer_stream *s, int l, const qk_layer **out, qk_error *err);
/* The device has finished its work with layer l, and with those before it. */
void qk_layer_stream_done(qk_layer_stream *s, int l);
/* The pass was given up: nothing that was handed out is used any more. */
void qk_layer_stream_drop(qk_layer_stream *s);
