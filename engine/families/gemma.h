/* What all Gemmas share. */
#pragma once

#include <math.h>

#include "engine/families/windows.h"

/* Norms before and after attention and MLP. */
#define QK_NAMES_GEMMA_NORMS                                                                       \
    [QK_W_INPUT_NORM] = "layers.%d.input_layernorm.weight",                                        \
    [QK_W_ATTENTION_OUT_NORM] = "layers.%d.post_attention_layernorm.weight",                       \
    [QK_W_MLP_NORM] = "layers.%d.pre_feedforward_layernorm.weight",                                \
    [QK_W_MLP_OUT_NORM] = "layers.%d.post_feedforward_layernorm.weight"

/* x = embed(ids) sqrt(D); in bfloat16 the factor is a bfloat16 too: 55.5 for D 3072. */
static inline void qk_gemma_embedding(qk_spec *spec)
{
    spec->embed_scale = (float)sqrt(spec->D);
}

/* q.k / sqrt(query_pre_attn_scalar) */
static inline qk_status qk_gemma_attention_scale(qk_spec *spec, const qk_spec_reader *r)
{
    double scalar;
    QK_TRY(qk_key_num(r, "query_pre_attn_scalar", 256, &scalar));
    spec->attention_scale = (float)(1 / sqrt(scalar));
    return QK_OK;
}
