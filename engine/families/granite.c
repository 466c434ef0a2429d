/* Granite 3 (IBM, 2024): Llama's layer with four multipliers: of embeddings, of scores (in place of
 * 1 / sqrt d), of what attention and MLP add, and of the output, which a prefill has no use for. */
#include "engine/families/family.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    double embedding, attention, residual;
    QK_TRY(qk_key_num(r, "embedding_multiplier", 1, &embedding));
    QK_TRY(qk_key_num(r, "attention_multiplier", 1, &attention));
    QK_TRY(qk_key_num(r, "residual_multiplier", 1, &residual));
    spec->embed_scale = (float)embedding;
    spec->attention_scale = (float)attention;
    spec->residual_scale = (float)residual;
    return QK_OK;
}

const qk_family qk_family_granite = {
    .model_type = "granite",
    .about = "Granite 3.0 to 3.3 2B, 8B",
    .names = &names,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .mlp_bias = QK_BIAS_KEY,
    .read = read,
    .keys = (const char *const[]){"embedding_multiplier", "attention_multiplier",
                                  "residual_multiplier", NULL},
};
