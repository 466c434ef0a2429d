/* What a model's attention does with queries, keys and values, for who reads them: the member
 * "attention" of manifest.json, which becomes a part of "qkengine.attention". Members and their
 * meaning: engine/output/attention.h.
 *
 * next: engine/output/attention.h */
#pragma once

#include "engine/families/family.h"

/* An object in the arena: model_type, query_heads, key_heads, scale, soft_cap, rope,
 * query_scale_by_position, layers, qk_norm. */
const qk_json *qk_describe_attention(const qk_spec *spec, qk_arena *arena);
