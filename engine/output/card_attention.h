/* What README.md says of attention and of how positions were drawn: what "qkengine.attention" says
 * (engine/output/attention.h), for people.
 *
 * next: engine/output/attention.h */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_json qk_json;

/* Cells of the card's tables, "|" between them; NULL where the manifest does not say it. */
typedef struct qk_card_attention {
    const char *model;    /* scale, soft cap, heads, RoPE, window, vectors */
    const char *digests;  /* of weights and tokenizer */
    const char **chances; /* [n_runs] queries, keys and values; in the manifest's order */
    size_t n_runs;
} qk_card_attention;

/* All of it lives in the arena. */
const qk_card_attention *qk_card_attention_of(const qk_json *manifest, int head_dim,
                                              qk_arena *arena);
