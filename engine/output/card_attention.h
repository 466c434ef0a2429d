/* The part of README.md that says what attention does with the vectors of each split, and how its
 * positions were drawn: what "qkengine.attention" says (engine/output/attention.h), for people.
 *
 * next: engine/output/attention.h */
#pragma once

#include "engine/output/dataset_card.h"

typedef struct qk_json qk_json;

/* Fills attention and digests of the split and chances of its runs [split->n_runs], which the manifest
 * lists in this order: cells of the tables, in the arena; NULL where the manifest does not say it. */
void qk_card_describe_attention(qk_card_split *split, qk_card_run *runs, const qk_json *manifest,
                                qk_arena *arena);
/* Appends the tables; nothing where no split says anything. */
void qk_card_add_attention(qk_buf *out, const qk_card_split *splits, size_t n);
