/* 64-bit seeds of everything that is drawn per (example, layer, kind).
 *
 *   mix(v)        = SplitMix64's finaliser alone: mix(0) = 0, mix(1) = 6238072747940578789
 *   combine(s, v) = t ^ (t >> 32), where t = (s ^ v) * 0x9E3779B97F4A7C15
 *   a mask's seed = s = combine(s, mix(part)) over its parts, from 0x243F6A8885A308D3 (digits of
 * pi) a row limit's = layer | head << 16 | kind << 32 | example id << 40
 *
 * The example id is the full 64-bit one, not what is stored. torch uses the low 32 bits of a seed:
 * of a row limit's only layer and head remain.
 *
 * next: sampler/positions.h */
#pragma once

#include <stdint.h>

#include "sampler/kind.h"

/* Kinds here are those that draw: QK_KIND_Q or QK_KIND_K (qk_kind_drawn_as). */

uint64_t qk_seed_mix(uint64_t value);
uint64_t qk_seed_combine(uint64_t seed, uint64_t value);

/* The mask that the heads of (layer, kind) share. */
uint64_t qk_seed_shared_mask(int64_t example_id, int32_t layer, qk_kind kind);
/* The mask of one head (per_head_masks). */
uint64_t qk_seed_head_mask(int64_t example_id, int32_t layer, int32_t head, qk_kind kind);
/* The shuffle behind max_rows_per_batch; head is the lowest captured one of (layer, kind). */
uint64_t qk_seed_row_limit(int64_t example_id, int32_t layer, int32_t head, qk_kind kind);
