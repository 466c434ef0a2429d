/* Qwen 3 with experts (Qwen Team, 2025): Qwen 3's attention; in place of the MLP a router that
 * sends each token to a few of many small experts. Some layers may keep a plain MLP. A window, when
 * asked for, is on every layer. */
#include "engine/families/windows.h"

static qk_weight_names names = {
    QK_NAMES_OUTER,
    QK_NAMES_PRE_NORM,
    QK_NAMES_ATTENTION,
    QK_NAMES_QK_NORM,
    QK_NAMES_MLP,
    [QK_W_ROUTER] = "layers.%d.mlp.gate.weight",
    [QK_W_EXPERT_GATE] = "layers.%d.mlp.experts.%d.gate_proj.weight",
    [QK_W_EXPERT_UP] = "layers.%d.mlp.experts.%d.up_proj.weight",
    [QK_W_EXPERT_DOWN] = "layers.%d.mlp.experts.%d.down_proj.weight",
};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    bool use;
    int64_t experts, top_k, F, step;
    QK_TRY(qk_key_bool(r, "use_sliding_window", false, &use));
    if (use) QK_TRY(qk_window_every_layer(spec, r, 4096));
    /* Files saved by transformers 5 call it num_local_experts. */
    QK_TRY(qk_key_int(r, "num_local_experts", 128, 0, 4096, &experts));
    QK_TRY(qk_key_int(r, "num_experts", experts, 0, 4096, &experts));
    QK_TRY(qk_key_int(r, "num_experts_per_tok", 8, 1, 4096, &top_k));
    QK_TRY(qk_key_int(r, "moe_intermediate_size", 768, 1, 1 << 20, &F));
    QK_TRY(qk_key_int(r, "decoder_sparse_step", 1, 1, 4096, &step));
    QK_TRY(qk_key_bool(r, "norm_topk_prob", false, &spec->top_k_renormalised));
    spec->experts = (int)experts, spec->top_k = (int)top_k, spec->expert_F = (int)F;
    bool *dense = qk_arena_alloc(r->arena, (size_t)spec->layers, sizeof *dense), given;
    QK_TRY(qk_key_layer_set(r, "mlp_only_layers", spec->layers, dense, &given));
    for (int l = 0; l < spec->layers; l++)
        spec->layer[l].sparse = experts > 0 && !dense[l] && (l + 1) % step == 0;
    return QK_OK;
}

const qk_family qk_family_qwen3_moe = {
    .model_type = "qwen3_moe",
    .about = "Qwen 3 30B-A3B, 235B-A22B",
    .names = &names,
    .kv_heads = 4,
    .max_position = 32768,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .read = read,
    .keys =
        (const char *const[]){"use_sliding_window", "sliding_window", "num_experts",
                              "num_local_experts", "num_experts_per_tok", "moe_intermediate_size",
                              "decoder_sparse_step", "norm_topk_prob", "mlp_only_layers", NULL},
};
