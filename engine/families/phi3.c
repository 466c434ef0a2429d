/* Phi 3, 3.5 and 4 (Abdin et al., 2024): Llama's layer with q, k and v in one tensor, gate and up
 * in another, LongRoPE in the long-context versions, and perhaps one window on every layer. */
#include "engine/families/windows.h"

static qk_weight_names names = {
    QK_NAMES_OUTER,
    QK_NAMES_PRE_NORM,
    [QK_W_QKV] = "layers.%d.self_attn.qkv_proj.weight",
    [QK_W_O] = "layers.%d.self_attn.o_proj.weight",
    QK_NAMES_FUSED_MLP,
};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    const qk_json *type = qk_json_get(qk_json_get(r->config, "rope_parameters"), "rope_type");
    bool known = !type || qk_json_is_string(type, "default") || qk_json_is_string(type, "su") ||
                 qk_json_is_string(type, "longrope");
    if (!known)
        return qk_fail(r->err, QK_ERR_UNSUPPORTED, "known: default, longrope",
                       "%s: Phi 3 has no RoPE of type '%s'", r->where,
                       type->type == QK_JSON_T_STRING ? type->text : qk_json_type_name(type));
    return qk_window_every_layer(spec, r, 0);
}

const qk_family qk_family_phi3 = {
    .model_type = "phi3",
    .about = "Phi-3 mini, medium; Phi-3.5 mini; Phi-4, Phi-4 mini",
    .names = &names,
    .eps = 1e-5,
    .partial_rotary = 1, /* or another part: Phi-4 mini turns three quarters of a head */
    .max_position = 4096,
    .original_position = 4096,
    .read = read,
    .keys = (const char *const[]){"sliding_window", NULL},
};
