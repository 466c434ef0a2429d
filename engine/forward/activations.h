/* The activation block of a forward pass, and its RoPE tables: allocated once for the largest batch
 * so far, never freed between batches.
 *
 * next: engine/forward/forward.c */
#pragma once

#include "kernels/backend.h"

typedef struct qk_model qk_model;
typedef struct qk_spec qk_spec;

/* cos and sin of one RoPE, and in models that scale queries by position that scale. */
typedef struct qk_rope_block {
    qk_tensor cos, sin; /* [rows, rotary / 2] float32 */
    qk_tensor q_scale;  /* [rows, 1] float32, or no data */
} qk_rope_block;

typedef struct qk_activations {
    const qk_model *m;
    size_t chunk;        /* rows of what is wider than a projection */
    size_t capacity;     /* rows that x and qkv can hold */
    qk_tensor x;         /* [capacity, D] float32: the residual stream */
    qk_tensor qkv;       /* [capacity, (H + 2K) d] */
    qk_tensor normed;    /* [chunk, D] */
    qk_tensor projected; /* [chunk, (H + 2K) d] float32, when qkv has another format */
    qk_tensor gate_up;   /* [chunk, 2F] float32, F the widest */
    qk_tensor gated;     /* [chunk, F] */
    qk_tensor branch;    /* [chunk, D] float32: what is normed or scaled before it is added to x */
    qk_tensor logits;    /* [chunk, experts] float32 */
    qk_tensor taken;     /* [chunk, D]: the rows of one expert */
    qk_tensor kept_x; /* [chunk, D] float32: rows of x and of attention that move up when others */
    qk_tensor kept_o; /* [chunk, H d]  end there (engine/forward/slice.h) */
    qk_rope_block *rope; /* [spec.n_ropes] */
    size_t table_rows;   /* filled with positions 0, 1, 2 ...; 0: made for one batch */
    size_t tokens;       /* of the largest batch so far */
    int32_t *table_row;  /* [tokens] the table row of each */
    int32_t *layer_rows; /* [tokens] the same of the rows of a layer */
} qk_activations;

/* Zero-initialised and with `m` set. Makes it hold T rows; smaller batches use a part of it. */
qk_status qk_activations_reserve(qk_activations *a, size_t T, qk_error *err);
/* The tables for a batch: one for all sequences, kept and grown; or, when frequencies depend on the
 * length of a sequence, a piece for each, made for this batch. seq_start as in qk_batch. */
qk_status qk_activations_rope(qk_activations *a, const int32_t *seq_start, int n_seq,
                              qk_error *err);
/* The table rows of n tokens of that batch, until the next call. */
const int32_t *qk_activations_table_rows(qk_activations *a, const int32_t *tokens, size_t n);
void qk_activations_free(qk_activations *a);

/* Activations that feed matrix products have the compute format, but float16 keeps float32. */
qk_dtype qk_activation_format(qk_dtype compute);
/* The chunk of a model on a backend, and the widest F it can meet. */
size_t qk_activation_chunk(const qk_spec *spec, const qk_backend *backend);
size_t qk_widest_ffn(const qk_spec *spec);
/* Whether what attention or MLP gives is normed or scaled before it joins the residual stream. */
bool qk_has_branch(const qk_spec *spec);
