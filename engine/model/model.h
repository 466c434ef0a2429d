/* A checkpoint on a backend: config.json + safetensors -> weights ready for
 * engine/forward/forward.c.
 *
 * Every tensor is bound once, by the names of the family's table, and checked (present, shape,
 * number format) before any is loaded, and its values (finite) when it is read. Only what the run
 * needs is loaded: layers up to the last captured one, and of that one only what makes q and k, or
 * also v: what it needs for its captured rows. It has no output.
 *
 * Memory is weights, or the layers in flight: when the weights do not fit, or fewer layers are
 * asked for, some layers stay (engine/model/layer_budget.h says which) and the others are read
 * again for each batch, one ahead of the forward (engine/model/layer_stream.h). The numbers are the
 * same.
 *
 * next: engine/model/layer_budget.h, engine/model/weights.h, engine/model/layer_stream.h,
 * engine/forward/forward.h */
#pragma once

#include "engine/base/file.h"
#include "engine/model/layer_budget.h"

/* A gated MLP on the device. */
typedef struct qk_mlp {
    qk_matrix *gate_up;        /* [2F, D] */
    qk_matrix *down;           /* [D, F] */
    const float *gate_up_bias; /* [2F] */
    const float *down_bias;    /* [D] */
} qk_mlp;

/* Weights of one layer on the device. Shapes are [out, in]; biases and norms are float32 vectors.
 * What a layer does not have is NULL, and so are matrices of a layer that does not stay. */
typedef struct qk_layer {
    const float *input_norm; /* [D] */
    qk_matrix *qkv;          /* [(H + 2K) d, D]; without v in a layer that stops at q and k */
    const float *qkv_bias;
    const float *q_norm, *k_norm; /* [d], or [H d] and [K d] */
    qk_matrix *o;                 /* [D, H d] */
    const float *o_bias;
    const float *attention_out_norm, *mlp_norm, *mlp_out_norm; /* [D] */
    qk_mlp mlp;                                                /* of a dense layer */
    qk_matrix *router;                                         /* [experts, D] of a sparse one */
    qk_mlp *experts;                                           /* [n_experts] */
    int n_experts;
} qk_layer;

typedef struct qk_model {
    qk_spec spec;
    const qk_backend *backend;
    qk_device *device;
    qk_dtype compute;
    qk_tensor embed;         /* [V, D], in the checkpoint's own format */
    qk_layer *layers;        /* for the forward: qk_model_layer */
    int n_layers;            /* loaded: 0 .. n_layers - 1 */
    qk_last_layer last;      /* how far the last loaded one is computed */
    const float *final_norm; /* [D]; NULL when the model stops early */
    qk_names files;          /* the checkpoint's files, for the manifest */
    qk_layer_budget budget;  /* which layers stay, and bytes on the device */
    qk_arena arena;
    struct qk_model_own *own; /* what model.c alone uses */
} qk_model;

typedef struct qk_checkpoint qk_checkpoint; /* formats/safetensors.h */
typedef struct qk_st_tensor qk_st_tensor;   /* the same */

/* A model that lies nowhere: its configuration, and who makes the values of its tensors. All of it
 * is borrowed until qk_model_load has returned. */
typedef struct qk_model_source {
    const qk_json *config;           /* in the place of config.json */
    const qk_checkpoint *checkpoint; /* its tensors, in no file */
    /* Bytes of a tensor from byte `at` on, whole values, in its own format; any thread. */
    void (*fill)(void *context, const qk_st_tensor *t, size_t at, size_t bytes, void *to);
    void *context;
} qk_model_source;

typedef struct qk_model_options {
    const qk_backend *backend;
    qk_device_options device;
    const qk_json *overrides;           /* or NULL */
    int last_layer;                     /* the last one that is captured; -1: the whole model */
    qk_last_layer last_needs;           /* with last_layer >= 0; not QK_LAST_WHOLE */
    int layers_in_memory;               /* at a time; 0: as many as fit */
    uint64_t reserve;                   /* bytes of the device's memory to leave for other things */
    void (*change_spec)(qk_spec *spec); /* NULL, or for tests: what if a knob were wrong? */
    const qk_model_source *source; /* NULL: the folder's files; else `folder` is a name for messages
                                    * and all layers must fit into memory */
} qk_model_options;

/* Loads FOLDER. On error *model needs no free. */
qk_status qk_model_load(qk_model *model, const char *folder, const qk_model_options *options,
                        qk_error *err);
void qk_model_free(qk_model *model);

/* Weights of layer l, for the forward, which asks for layers in order: waits until they are read.
 * Fails with what went wrong there, and when a signal arrives meanwhile. Valid until done. */
qk_status qk_model_layer(const qk_model *m, int l, const qk_layer **out, qk_error *err);
/* The device has finished layer l and those before it. */
void qk_model_layer_done(const qk_model *m, int l);
/* How far layer l is computed, of n_layers of which the last one is computed so far. */
static inline qk_last_layer qk_layer_needs(int l, int n_layers, qk_last_layer last)
{
    return l < n_layers - 1 ? QK_LAST_WHOLE : last;
}
/* A forward was given up, and the device has finished all that was queued. */
void qk_model_layers_drop(const qk_model *m);
