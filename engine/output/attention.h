/* "qkengine.attention": what attention does with the vectors of a folder, and how their positions were
 * drawn; so that rows explain themselves. One line of JSON in the metadata of examples.parquet, and
 * with capture.head_columns in that of each head file, beside "qkengine.head". Members in this
 * order; one that nobody knows is left out:
 *
 *   format       "qkengine attention 1"
 *   model, model_type, dtype, model_files, tokenizer_files [{"name", "sha256"}, ...]
 *   head_dim, query_heads, key_heads
 *   scale        multiplies q.k
 *   soft_cap     c: scores become c tanh(score / c); null: none
 *   state        of q and k: "post" after RoPE, "pre" before it
 *   states       of all files: ["post"], ["pre"] or ["pre", "post"]
 *   rope         [{"type", "theta", "factor", "original": trained positions or null, "rotary":
 *                numbers that turn, "pairs": "half" (i, i + rotary / 2) or "interleaved" (2i, 2i + 1),
 *                "attention_factor", others by their names in config.json}, ...]
 *   query_scale_by_position   null, or {"rule", "beta", "length"}: of queries after RoPE
 *   layers       [{"layer", "type": "full_attention", "sliding_attention" or "none", "window": keys a
 *                query sees or null, "rope": index or null}, ...] all of the model
 *   qk_norm      of queries and keys before RoPE: null, "head", or "whole" over all heads together
 *   runs         [{"fingerprint": 12 digits, "queries", "keys", "buckets"}, ...] as manifest.json
 *                orders them; of a head file those that capture this head
 *
 * queries, and keys for keys and values: {"type", "base_rate", "min_bucket_size", "max_rows",
 * "first"}, with "positions_sha256" where positions are listed; null: not captured. buckets: [{"bucket",
 * "first", "last", "probability_q", "probability_k"}, ...] of ascending positions, up to the run's
 * longest example (in a head file, to its last position). A probability is the chance that the mask
 * keeps a position, before the row limit; positions below "first" are always kept. null: not captured,
 * or listed. "key_bucket" is there where keys are drawn by another type. More than
 * QK_ATTENTION_MAX_BUCKETS of them become one for all positions of one probability, with bucket null.
 * null: the manifest does not say how the run drew.
 *
 * All of it comes from manifests: their member "attention" (what the model is) and their runs. So it
 * does not depend on the order in which folders are joined.
 *
 * next: engine/output/card_attention.h, engine/run/describe_attention.c */
#pragma once

#include "engine/output/manifest.h"
#include "sampler/kind.h"

#define QK_ATTENTION_KEY "qkengine.attention"
#define QK_HEAD_KEY "qkengine.head"
enum { QK_ATTENTION_MAX_BUCKETS = 256 };

/* A head file. */
typedef struct qk_attention_file {
    int layer, head;
    qk_kind kind;
} qk_attention_file;

/* Appends the text. file: NULL for all files; positions: one more than the last. */
void qk_attention_write(qk_buf *out, const qk_manifest *m, const qk_attention_file *file,
                        int64_t positions);
/* "qkengine.head": {"layer", "head", "kind": "q_pre", "state": "pre", "post" or null (values),
 * "key_head", "query_heads"}: the key head that a query head attends with, or this one, and all query
 * heads that do; null where the number of heads is not known. */
void qk_attention_write_head(qk_buf *out, const qk_manifest *m, const qk_attention_file *file);
