/* Which layers have a sliding window: the ways in which config.json says it.
 *
 *   every layer      sliding_window                                       Mistral, Mixtral, Phi 3
 *   by a list        layer_types: "sliding_attention", "full_attention"   any family with windows
 *   by a pattern     every n-th layer is full                             Gemma 2 and 3, OLMo 3
 *   from a layer on  use_sliding_window, max_window_layers                Qwen 2 and 3
 *
 * The reference counts a window as transformers does: a query sees itself and the window - 1 keys
 * before it.
 *
 * next: engine/families/mistral.c */
#pragma once

#include "engine/families/family.h"

/* sliding_window: 0 when null, `fallback` when absent. */
qk_status qk_window_size(const qk_spec_reader *r, int fallback, int *size);
/* layer_types, when present, decides about every layer and *given is true. */
qk_status qk_window_by_type(qk_spec *spec, const qk_spec_reader *r, int size, bool *given);

/* One size for every layer. */
qk_status qk_window_every_layer(qk_spec *spec, const qk_spec_reader *r, int fallback);
/* layer_types or, without it, all layers but every `full_every`-th. */
qk_status qk_window_by_pattern(qk_spec *spec, const qk_spec_reader *r, int fallback,
                               int full_every);
/* Only with use_sliding_window: layer_types or, without it, the layers from `max_window_layers` on
 * (`first` when config.json is silent). */
qk_status qk_window_from_layer(qk_spec *spec, const qk_spec_reader *r, int first);
