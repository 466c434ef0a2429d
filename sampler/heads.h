/* Which layers and heads are captured.
 *
 *   without sampling  layers x heads as listed (nothing listed: all); heads counts for queries and
 *                     for keys; values are those of the key heads, also where keys are not captured
 *   with sampling     candidates = (layer, query head), ascending, after the same filters; of them
 *                     random.Random(seed).sample(candidates, count), or all when there are no more
 *                     than count; key heads = those the chosen query heads attend with:
 *                     query head / (query heads / key heads)
 *
 * Both skip sliding-window layers when full_attention_only is set. Repeated entries count once.
 *
 * next: sampler/example_id.h */
#pragma once

#include <stdbool.h>

#include "engine/base/mem.h"
#include "sampler/kind.h"
#include "sampler/python_random.h"

/* More layers, or heads in a layer, than this are refused. */
enum { QK_MAX_HEADS = 1024 };

/* The model's attention shape. */
typedef struct qk_head_model {
    int32_t n_layers, n_q_heads, n_k_heads; /* n_q_heads is a multiple of n_k_heads */
    const bool *sliding; /* [n_layers], borrowed: has a sliding window; NULL: none has */
    const bool *absent;  /* [n_layers], borrowed: has no self-attention; NULL: all have */
} qk_head_model;

/* The choice as a configuration makes it; the arrays are borrowed. */
typedef struct qk_head_choice {
    const int64_t *layers, *heads; /* capture.layers, capture.heads; no entries: all */
    size_t n_layers, n_heads;
    bool capture_queries, capture_keys, capture_values, full_attention_only;
    bool both_states; /* queries and keys before RoPE and after it */
    bool sample;      /* capture.head_sampling is given */
    int64_t sample_count;
    qk_python_seed sample_seed;
} qk_head_choice;

typedef struct qk_layer_heads {
    int32_t layer;
    int32_t n_q, n_k, n_v;    /* not all of them are 0 */
    const int32_t *q, *k, *v; /* ascending; the first is the row limit's head (v: that of the key
                                 heads that would be captured with them) */
} qk_layer_heads;

/* Layers with at least one captured head, ascending. Zero-initialise; qk_head_plan_free frees. */
typedef struct qk_head_plan {
    qk_layer_heads *layers; /* [n_layers] */
    int32_t n_layers;
    int32_t last_layer;    /* how far the model has to run */
    int32_t n_q, n_k, n_v; /* heads over all layers, as captured */
    bool both_states;
    qk_arena arena;
} qk_head_plan;

/* Refuses what would be ignored or would capture nothing: layers and heads the model does not have,
 * a head beyond the key heads while keys or values are captured, none of the three, no layer left.
 */
qk_status qk_head_plan_make(qk_head_plan *plan, const qk_head_model *model,
                            const qk_head_choice *choice, qk_error *err);
void qk_head_plan_free(qk_head_plan *plan);

/* The heads of a layer that have files of this kind, ascending; how many. None: 0. */
int32_t qk_head_plan_heads(const qk_head_plan *plan, const qk_layer_heads *layer, qk_kind kind,
                           const int32_t **heads);
/* Files of the whole plan: a head, kind and layer each. */
int64_t qk_head_plan_files(const qk_head_plan *plan);
