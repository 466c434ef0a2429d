/* Gemma 1 (Gemma Team, 2024): embeddings times sqrt(D), norm weights stored as w - 1, GeGLU. The
 * activation is hidden_act, as in transformers 5.1: the published files say "gelu", the exact one.
 */
#include "engine/families/gemma.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    (void)r;
    qk_gemma_embedding(spec);
    return QK_OK;
}

const qk_family qk_family_gemma = {
    .model_type = "gemma",
    .about = "Gemma 2B, 7B",
    .names = &names,
    .activation = "gelu_pytorch_tanh",
    .head_dim = 256,
    .kv_heads = 16,
    .max_position = 8192,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .norm_plus_one = true,
    .tied = true,
    .read = read,
};
