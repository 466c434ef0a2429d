/* Which layers' weights stay in memory, and which are read again for every batch.
 *
 * Of P layers R stay: layer i does when (i + 1) R / P passes a whole number, so those that stay and
 * those that are read stand mixed evenly. While a layer that stays is computed the next one of the
 * others is read: the disk never waits for a row of layers that need nothing from it, nor the
 * processor for a row of layers that all do. The others share two buffers, the one in use and the
 * one that is being filled (engine/model/layer_stream.h), so that N layers in memory are R = N - 2
 * and those.
 *
 *   bytes = embedding, norms, biases + matrices of the R + 2 of the largest of the others
 *
 * next: engine/model/layer_stream.h */
#pragma once

#include "engine/families/family.h"

enum { QK_LAYER_BUFFERS = 2 };

/* How far a layer is computed. The last captured one: to what its captured rows need. */
typedef enum qk_last_layer {
    QK_LAST_QK,        /* queries and keys */
    QK_LAST_QKV,       /* and values, which are captured */
    QK_LAST_ATTENTION, /* and attention, whose log-sum-exp is captured; its output is dropped */
    QK_LAST_WHOLE,     /* and all else, as the layers before it, and every layer of a whole model */
} qk_last_layer;

/* The weights of a model on a device, from config.json alone. */
typedef struct qk_model_size {
    int layers;            /* that run: 0 .. layers - 1, some of them perhaps absent */
    int present;           /* those that have weights */
    uint64_t fixed;        /* bytes that always stay: embedding, norms, biases */
    const uint64_t *layer; /* [layers] bytes of matrices; 0: absent. In the arena */
} qk_model_size;

typedef struct qk_layer_budget {
    int in_memory, present; /* layers that are in memory at a time, of how many */
    uint64_t bytes;         /* of weights in memory at a time */
    uint64_t read_again;    /* bytes of weights on the device, read for every batch; 0: all stay */
    const bool *stays;      /* [layers], in the arena */
} qk_layer_budget;

/* last_layer: the last one that is captured, computed as far as it needs; -1: the whole model. */
void qk_model_size_of(qk_model_size *size, const qk_spec *spec, const qk_backend *backend,
                      qk_dtype compute, int last_layer, qk_last_layer needs, qk_arena *arena);
/* Bytes of all weights. */
uint64_t qk_model_size_all(const qk_model_size *size);

/* What one may want, and what there is. */
typedef struct qk_layer_budget_limits {
    int layers;       /* inference.layers_in_memory; 0: as many as fit */
    uint64_t free;    /* bytes that the device has; 0: unknown, everything stays */
    uint64_t reserve; /* bytes that activations, captured rows and all else need */
} qk_layer_budget_limits;

/* As many layers as were asked for. When none were, as many as fit into 15/16 of what is free less
 * the reserve; two when that is not enough for two, with a warning; an error with the numbers when two
 * layers' weights alone exceed what is free. */
qk_status qk_layer_budget_choose(qk_layer_budget *r, const qk_model_size *size,
                                 const qk_layer_budget_limits *limits, qk_arena *arena,
                                 qk_error *err);
/* "80 layers, 12 in memory; the others are read again for each batch (118 GB): ...", for people. */
const char *qk_layer_budget_text(const qk_layer_budget *r, qk_arena *arena);
