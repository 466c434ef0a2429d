/* A model family is a table: which knobs its layers have and what its tensors are called.
 *
 * config.json (after overrides) + a family -> qk_spec, the model as numbers. engine/model.c loads
 * weights by it and engine/forward.c runs by it; neither knows a family's name.
 *
 * To add one: a file here with its table, a line in registry.c, a golden.
 *
 * next: engine/families/llama.c, engine/model.h */
#pragma once

#include "engine/rope.h"
#include "kernels/backend.h"

/* The model as numbers. Lists live in the arena that qk_spec_read was given. */
typedef struct qk_spec {
    const struct qk_family *family;
    int D, F, V;       /* hidden, ffn, vocabulary rows */
    int layers;        /* of the whole model */
    int H, K, d;       /* query heads, key heads, head_dim */
    float eps;         /* of every RMS norm */
    qk_activation act; /* of the gated MLP */
    bool qkv_bias, o_bias, mlp_bias;
    float attention_scale; /* multiplies q.k */
    const int *window; /* [layers]: 0 full attention, else keys seen, the query's own included */
    qk_rope rope;
    const qk_json *config; /* the effective configuration, for the manifest */
} qk_spec;

/* Tensor names: printf patterns with one %d, the layer. */
typedef struct qk_weight_names {
    const char *embed, *final_norm;
    const char *input_norm, *post_norm; /* before attention, before the MLP */
    const char *q, *k, *v, *o;          /* + ".weight", ".bias" */
    const char *q_norm, *k_norm;        /* NULL: none */
    const char *gate, *up, *down;       /* + ".weight", ".bias" */
} qk_weight_names;

typedef struct qk_family {
    const char *model_type; /* as config.json says it */
    const char *about;      /* one line: which models */
    const qk_weight_names *names;
    int default_head_dim; /* when config.json is silent; 0: D / H */
    int default_kv_heads; /* likewise; 0: H */
    bool mlp_bias_key;    /* config.json may ask for MLP biases (mlp_bias) */
    /* Fills spec->window, which starts all zero; NULL: every layer sees everything. */
    qk_status (*read_windows)(const qk_json *config, int *window, int layers, const char *where,
                              qk_error *err);
} qk_family;

extern const qk_family qk_family_llama, qk_family_qwen3;

/* Ends with NULL. */
extern const qk_family *const qk_families[];
/* NULL when no family has this model_type. */
const qk_family *qk_family_find(const char *model_type);

/* Reads FOLDER/config.json, merges overrides (may be NULL) and fills spec. Unknown model types,
 * missing keys, values out of range and features that are not handled are errors. */
qk_status qk_spec_read(qk_spec *spec, const char *folder, const qk_json *overrides, qk_arena *arena,
                       qk_error *err);
