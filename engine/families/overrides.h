/* config.json and model.config_overrides -> the configuration that the model runs with.
 *
 * Objects merge key by key, anything else replaces. Before that, the two spellings of RoPE keys
 * become one: `rope_theta`, `partial_rotary_factor` and `rope_scaling` (with "type" or "rope_type")
 * move into `rope_parameters`, in the file and in the overrides, so that a YaRN override never
 * loses rope_theta. `rope_scaling: null` in the overrides takes scaling away. In the file both
 * spellings together mean what transformers 5.1 makes of them: rope_scaling replaces all of
 * rope_parameters, and rope_parameters that do not fit the model's kind of RoPE mean nothing.
 *
 * In a wrapper (a model that also sees images) the text model stands in an object of its own,
 * text_key: overrides mean that one, written flat or inside text_config.
 *
 * next: engine/families/family.h */
#pragma once

#include "formats/json.h"

typedef enum qk_rope_kinds {
    QK_ROPE_ONE,           /* for all layers */
    QK_ROPE_BY_LAYER_TYPE, /* one for layers without a window, one for those with */
} qk_rope_kinds;

/* *out is a new tree in the arena; config and overrides (may be NULL) stay as they are. text_key is
 * NULL when config itself describes the text model. */
qk_status qk_config_merge(qk_arena *arena, const qk_json *config, const qk_json *overrides,
                          const char *text_key, qk_rope_kinds kinds, const char *where,
                          const qk_json **out, qk_error *err);
/* A new object: base with the members of `top` (may be NULL) over it, merged key by key. */
const qk_json *qk_config_overlay(qk_arena *arena, const qk_json *base, const qk_json *top);
