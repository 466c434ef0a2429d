/* Mixtral (Jiang et al., 2024): Mistral's attention; every MLP is eight experts, two for each
 * token, their weights made to sum to 1. */
#include "engine/families/windows.h"

static qk_weight_names names = {
    QK_NAMES_OUTER,
    QK_NAMES_PRE_NORM,
    QK_NAMES_ATTENTION,
    [QK_W_ROUTER] = "layers.%d.block_sparse_moe.gate.weight",
    [QK_W_EXPERT_GATE] = "layers.%d.block_sparse_moe.experts.%d.w1.weight",
    [QK_W_EXPERT_UP] = "layers.%d.block_sparse_moe.experts.%d.w3.weight",
    [QK_W_EXPERT_DOWN] = "layers.%d.block_sparse_moe.experts.%d.w2.weight",
};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    int64_t experts, top_k;
    QK_TRY(qk_window_every_layer(spec, r, 0));
    QK_TRY(qk_key_int(r, "num_local_experts", 8, 1, 4096, &experts));
    QK_TRY(qk_key_int(r, "num_experts_per_tok", 2, 1, 4096, &top_k));
    spec->experts = (int)experts, spec->top_k = (int)top_k, spec->expert_F = spec->F;
    spec->top_k_renormalised = true;
    for (int l = 0; l < spec->layers; l++) spec->layer[l].sparse = true;
    return QK_OK;
}

const qk_family qk_family_mixtral = {
    .model_type = "mixtral",
    .about = "Mixtral 8x7B, 8x22B",
    .names = &names,
    .kv_heads = 8,
    .max_position = 131072,
    .eps = 1e-5,
    .theta = 1000000,
    .read = read,
    .keys =
        (const char *const[]){"sliding_window", "num_local_experts", "num_experts_per_tok", NULL},
};
