/* Ministral 3 (Mistral AI, 2025): Mistral's layer with YaRN; queries grow with their position:
 *
 *   q = rope(q) (1 + beta ln(1 + floor(position / original_max_position_embeddings)))
 *
 * beta is llama_4_scaling_beta in rope_parameters. Captured queries are scaled ones. */
#include "engine/families/windows.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    const qk_json *rope = qk_json_get(r->config, "rope_parameters");
    const qk_spec_reader in = {rope, r->where, r->arena, r->err};
    if (!qk_json_get(rope, "rope_type"))
        return qk_fail(r->err, QK_ERR_FORMAT, "every published Ministral 3 has them",
                       "%s: 'rope_parameters' with a rope_type are missing", r->where);
    const qk_json *beta = qk_json_get(rope, "llama_4_scaling_beta");
    if (!beta || beta->type != QK_JSON_T_NUMBER || !(beta->number >= 0))
        return qk_fail(r->err, QK_ERR_FORMAT, "every published Ministral 3 has one",
                       "%s: rope_parameters needs a number 'llama_4_scaling_beta', 0 or above",
                       r->where);
    spec->q_scale_beta = beta->number;
    /* The trained length: beside the RoPE parameters, in them, or the longest length. */
    double limit, inner;
    QK_TRY(qk_key_num(r, "max_position_embeddings", 262144, &limit));
    QK_TRY(qk_key_num(&in, "original_max_position_embeddings", limit, &inner));
    QK_TRY(qk_key_num(r, "original_max_position_embeddings", inner, &spec->q_scale_length));
    return qk_window_every_layer(spec, r, 0);
}

const qk_family qk_family_ministral3 = {
    .model_type = "ministral3",
    .about = "Ministral 3 3B, 8B, 14B",
    .names = &names,
    .head_dim = 128,
    .kv_heads = 8,
    .eps = 1e-5,
    .max_position = 262144,
    .read = read,
    .keys = (const char *const[]){"sliding_window", NULL},
};
