/* A model family is a table: which knobs its layers have and what its tensors are called.
 *
 * config.json (after overrides) + a family -> qk_spec, the model as numbers. engine/model/model.c
 * loads weights by it and engine/forward/forward.c runs by it; neither knows a family's name.
 *
 * To add one: a file here with its table, a line in registry.c, a golden (README.md in this
 * folder).
 *
 * next: engine/families/README.md, engine/families/llama.c, engine/model/model.h */
#pragma once

#include "engine/families/config_keys.h"
#include "engine/families/rope.h"
#include "kernels/backend.h"

/* ---- the model as numbers ---- */

typedef struct qk_layer_spec {
    int window;  /* keys a query sees, its own included; 0: all before it */
    int rope;    /* index into qk_spec.ropes; -1: no rotary embedding */
    bool sparse; /* experts in place of the MLP */
    bool absent; /* x passes through unchanged: cross-attention without an image */
} qk_layer_spec;

/* Lists live in the arena that qk_spec_read was given. */
typedef struct qk_spec {
    const struct qk_family *family;  /* of the text model */
    const struct qk_family *wrapper; /* the family that the text model is wrapped in, or NULL */
    int D, F, V;                     /* hidden, ffn, rows of the embedding */
    int layers;                      /* of the whole model */
    int H, K, d;                     /* query heads, key heads, head_dim */
    float eps;                       /* of every RMS norm */
    qk_activation act;               /* of the gated MLP */
    bool qkv_bias, o_bias, mlp_bias;
    bool norm_plus_one;    /* norm weights are stored as w - 1 */
    bool qk_norm_whole;    /* q and k norms go over all heads together */
    bool interleaved;      /* RoPE turns pairs (2i, 2i + 1), not (i, i + rotary / 2) */
    bool tied;             /* the output head's matrix is the embedding */
    float embed_scale;     /* multiplies embeddings, after rounding to the compute format */
    float residual_scale;  /* multiplies what attention and MLP add to the residual stream */
    float attention_scale; /* multiplies q.k */
    float soft_cap;        /* c: scores become c tanh(score / c); 0: none */
    /* After RoPE, q of position p is multiplied by 1 + beta ln(1 + floor(p / length)); beta 0: no.
     */
    double q_scale_beta, q_scale_length;
    const qk_rope *ropes;
    int n_ropes;
    int experts, top_k, expert_F; /* 0 experts: none */
    bool top_k_renormalised;      /* the weights of the chosen experts sum to 1 */
    qk_layer_spec *layer;         /* [layers] */
    const qk_json *config;        /* the effective configuration, for the manifest */
    const qk_json *text;          /* the part of it that describes the text model */
} qk_spec;

/* ---- tensors ---- */

typedef enum qk_weight {
    QK_W_EMBED,              /* [V, D] */
    QK_W_FINAL_NORM,         /* [D] */
    QK_W_INPUT_NORM,         /* [D] of what attention reads */
    QK_W_ATTENTION_OUT_NORM, /* [D] of what attention adds */
    QK_W_MLP_NORM,           /* [D] of what the MLP reads */
    QK_W_MLP_OUT_NORM,       /* [D] of what the MLP adds */
    QK_W_QKV,                /* [(H + 2K) d, D], or the next three */
    QK_W_Q,                  /* [H d, D] */
    QK_W_K,                  /* [K d, D] */
    QK_W_V,                  /* [K d, D] */
    QK_W_Q_NORM,             /* [d], or [H d] with qk_norm_whole */
    QK_W_K_NORM,             /* [d], or [K d] */
    QK_W_O,                  /* [D, H d] */
    QK_W_GATE_UP,            /* [2F, D], or the next two */
    QK_W_GATE,               /* [F, D] */
    QK_W_UP,                 /* [F, D] */
    QK_W_DOWN,               /* [D, F] */
    QK_W_ROUTER,             /* [experts, D] */
    QK_W_EXPERT_GATE,        /* [expert_F, D] */
    QK_W_EXPERT_UP,          /* [expert_F, D] */
    QK_W_EXPERT_DOWN,        /* [D, expert_F] */
    QK_N_WEIGHTS,
} qk_weight;

/* Names as printf patterns, without the prefix: "%d" the layer, a second one the expert. A bias is
 * called like its weight, ".bias" in place of ".weight". NULL: the family has no such tensor. */
typedef const char *const qk_weight_names[QK_N_WEIGHTS];

/* The names that most families share, by group. */
#define QK_NAMES_OUTER [QK_W_EMBED] = "embed_tokens.weight", [QK_W_FINAL_NORM] = "norm.weight"
#define QK_NAMES_PRE_NORM                                                                          \
    [QK_W_INPUT_NORM] = "layers.%d.input_layernorm.weight",                                        \
    [QK_W_MLP_NORM] = "layers.%d.post_attention_layernorm.weight"
#define QK_NAMES_ATTENTION                                                                         \
    [QK_W_Q] = "layers.%d.self_attn.q_proj.weight",                                                \
    [QK_W_K] = "layers.%d.self_attn.k_proj.weight",                                                \
    [QK_W_V] = "layers.%d.self_attn.v_proj.weight", [QK_W_O] = "layers.%d.self_attn.o_proj.weight"
#define QK_NAMES_QK_NORM                                                                           \
    [QK_W_Q_NORM] = "layers.%d.self_attn.q_norm.weight", [QK_W_K_NORM] =                           \
                                                             "layers.%d.self_attn.k_norm.weight"
#define QK_NAMES_MLP                                                                               \
    [QK_W_GATE] = "layers.%d.mlp.gate_proj.weight", [QK_W_UP] = "layers.%d.mlp.up_proj.weight",    \
    [QK_W_DOWN] = "layers.%d.mlp.down_proj.weight"
#define QK_NAMES_FUSED_MLP                                                                         \
    [QK_W_GATE_UP] = "layers.%d.mlp.gate_up_proj.weight", [QK_W_DOWN] =                            \
                                                              "layers.%d.mlp.down_proj.weight"

/* One tensor that a model has. */
typedef struct qk_tensor_spec {
    const char *name; /* without the prefix; valid during the visit */
    qk_weight weight;
    bool bias;
    int layer, expert; /* -1: belongs to none */
    int n_dims;
    size_t shape[2];
} qk_tensor_spec;

/* Visits every tensor of the model: the embedding, the final norm, then layer by layer. The one
 * list that binding, memory estimates and `qkengine synth` share. Stops at the first failure. */
qk_status qk_each_tensor(const qk_spec *spec,
                         qk_status (*visit)(void *context, const qk_tensor_spec *t), void *context);
/* Where the names stand in a checkpoint, most usual first; ends with NULL. */
const char *const *qk_tensor_prefixes(const qk_spec *spec);

/* ---- families ---- */

typedef enum qk_bias {
    QK_BIAS_NEVER,
    QK_BIAS_ALWAYS,
    QK_BIAS_KEY, /* attention_bias of config.json, for the MLP mlp_bias; false when silent */
    QK_BIAS_KEY_OR_TRUE,
} qk_bias;

typedef struct qk_family {
    const char *model_type; /* as config.json says it */
    const char *about;      /* one line: which models */

    /* A wrapper, such as a model that also sees images: the text model stands in the object
     * text_config, and its own model_type says the rest. Of a wrapper only these are used. */
    const char *text_type; /* the text model's model_type when config.json is silent */
    const char *const
        *other_parts; /* prefixes of tensors that are not the text model's; NULL ends */

    qk_weight_names *names;
    const char *activation_key, *activation; /* NULL: "hidden_act"; and what it is when silent */
    /* When config.json is silent. Sizes: 0 means that it must not be. */
    int hidden, ffn, layers, heads, vocab;
    int head_dim, kv_heads; /* 0: D / H, and H */
    double eps, theta;      /* 0: 1e-6, 10000 */
    double partial_rotary;  /* the part of a head that turns; 0: all, and another part is refused */
    int max_position;       /* 0: 2048 */
    int original_position;  /* the trained length; 0: what the RoPE parameters say */
    const char
        *local_theta_key; /* layers with a window have a RoPE of their own, with this base, */
    double local_theta;   /* or this one when config.json is silent; NULL: they do not */
    qk_bias qkv_bias, o_bias, mlp_bias;
    bool norm_plus_one, qk_norm_whole, interleaved;
    bool tied; /* tie_word_embeddings when config.json is silent; of a wrapper, its own */
    int extra_embeddings; /* rows of the embedding beyond vocab_size */

    /* What is particular: windows, scales, experts. NULL: nothing. It finds every layer with full
     * attention and RoPE 0, and all scales 1 (attention 1 / sqrt d). */
    qk_status (*read)(qk_spec *spec, const qk_spec_reader *r);
    const char *const *keys; /* the keys of config.json that `read` looks at; NULL ends */
} qk_family;

/* Ends with NULL. */
extern const qk_family *const qk_families[];
/* NULL when no family has this model_type. */
const qk_family *qk_family_find(const char *model_type);

/* Reads FOLDER/config.json, merges overrides (may be NULL) and fills spec. Unknown model types,
 * missing keys, values out of range and features that are not handled are errors. */
qk_status qk_spec_read(qk_spec *spec, const char *folder, const qk_json *overrides, qk_arena *arena,
                       qk_error *err);
/* The same from a parsed config.json; `where` names it in messages. */
qk_status qk_spec_from(qk_spec *spec, const qk_json *file, const qk_json *overrides,
                       const char *where, qk_arena *arena, qk_error *err);
