/* A checkpoint on a backend: config.json + safetensors -> weights ready for engine/forward.c.
 *
 * Every tensor is bound once, by the names of the family's table, and checked (present, shape,
 * number format, finite) before any is loaded. Only what the run needs is loaded: layers up to the
 * last captured one, and of that one only what makes q and k.
 *
 * next: engine/forward.h */
#pragma once

#include "engine/base/file.h"
#include "engine/families/family.h"

/* A gated MLP on the device. */
typedef struct qk_mlp {
    qk_matrix *gate_up;        /* [2F, D] */
    qk_matrix *down;           /* [D, F] */
    const float *gate_up_bias; /* [2F] */
    const float *down_bias;    /* [D] */
} qk_mlp;

/* Weights of one layer on the device. Shapes are [out, in]; biases and norms are float32 vectors.
 * What a layer does not have is NULL. */
typedef struct qk_layer {
    const float *input_norm; /* [D] */
    qk_matrix *qkv;          /* [(H + 2K) d, D]; without v in a last layer that stops at q and k */
    const float *qkv_bias;
    const float *q_norm, *k_norm; /* [d], or [H d] and [K d] */
    qk_matrix *o;                 /* [D, H d] */
    const float *o_bias;
    const float *attention_out_norm, *mlp_norm, *mlp_out_norm; /* [D] */
    qk_mlp mlp;                                                /* of a dense layer */
    qk_matrix *router;                                         /* [experts, D] of a sparse one */
    qk_mlp *experts;                                           /* [experts] */
} qk_layer;

typedef struct qk_model {
    qk_spec spec;
    const qk_backend *backend;
    qk_device *device;
    qk_dtype compute;
    qk_tensor embed; /* [V, D], in the checkpoint's own format */
    qk_layer *layers;
    int n_layers;            /* loaded: 0 .. n_layers - 1 */
    bool stops_at_qk;        /* the last loaded layer computes q and k only */
    const float *final_norm; /* [D]; NULL when the model stops early */
    qk_names files;          /* the checkpoint's files, for the manifest */
    uint64_t weight_bytes;   /* on the device */
    qk_arena arena;
    struct qk_vector_list *vectors; /* device vectors that `layers` points into */
} qk_model;

typedef struct qk_model_options {
    const qk_backend *backend;
    qk_device_options device;
    const qk_json *overrides;           /* or NULL */
    int last_layer;                     /* the last one that is captured; -1: the whole model */
    void (*change_spec)(qk_spec *spec); /* NULL, or for tests: what if a knob were wrong? */
} qk_model_options;

/* Loads FOLDER. On error *model needs no free. */
qk_status qk_model_load(qk_model *model, const char *folder, const qk_model_options *options,
                        qk_error *err);
void qk_model_free(qk_model *model);

/* Bytes of weights that such a load would hold, from config.json alone. */
uint64_t qk_model_weight_bytes(const qk_spec *spec, qk_dtype compute, int last_layer);
