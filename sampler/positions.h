/* Which positions of an example are kept, in which bucket, in which order.
 *
 *   log_uniform  bucket b = max(ceil(log2 size), floor(log2(p + 1)));  keep when rand < rate / 2^b
 *   uniform      bucket   = floor(p / size);                           keep when rand < rate / size
 *   all          bucket   = floor(p / size);                           keep
 *
 * Arithmetic is float32, as in the reference, and shows: floor(log2(p + 1)) of 2097150 is 21.
 * rand is torch.rand(n) from the seed of (example, layer, kind) or (example, layer, head, kind), so
 * a mask never depends on what follows it. More than max_rows rows: the first max_rows of a random
 * order remain, and stay in that order.
 *
 * Beyond the reference: positions below `first` are kept whatever their rand, which is drawn all
 * the same, so that what is kept behind them is what would be without it. A row limit keeps them,
 * ascending, and behind them as many of the others as it leaves, the first of a random order. Or
 * positions are listed (sampler/listed.h): exactly those and the ones below `first` are kept,
 * ascending, whatever the limit; nothing is drawn.
 *
 * next: sampler/listed.h, sampler/heads.h */
#pragma once

#include "sampler/sampler.h"
#include "sampler/seed.h"

/* "log_uniform", "uniform" or "all" */
const char *qk_sampler_kind_name(qk_sampler_kind kind);

/* 0 <= position < QK_SAMPLER_MAX_TOKENS. */
int32_t qk_sampler_bucket(const qk_sampler *sampler, int32_t position);

/* Rows of n tokens on average over examples, without drawing. With a row limit an upper bound of
 * it. For QK_SAMPLE_ALL exact. Of listed positions those of an average list. */
double qk_sampler_expected_rows(const qk_sampler *sampler, int32_t n_tokens);

/* What is drawn: one example in one (layer, kind), or one head of it. */
typedef struct qk_draw {
    int64_t example_id; /* the full one (sampler/example_id.h) */
    int32_t layer;
    int32_t mask_head;  /* -1: the mask all heads of (layer, kind) share; else this head's own */
    int32_t first_head; /* lowest captured head of (layer, kind), or mask_head: seeds the limit */
    qk_kind kind;
    int32_t n_tokens; /* 0 .. QK_SAMPLER_MAX_TOKENS */
} qk_draw;

/* The rows of a draw, in file order. Zero-initialise; a draw replaces what was there and keeps the
 * memory. qk_sampled_rows_free frees. */
typedef struct qk_sampled_rows {
    int32_t *positions, *buckets; /* [count] */
    int32_t count, capacity;
} qk_sampled_rows;

void qk_sampler_draw(const qk_sampler *sampler, const qk_draw *draw, qk_sampled_rows *rows);
void qk_sampled_rows_free(qk_sampled_rows *rows);
