/* Which bytes of a piece each of its BPE tokens came from.
 *
 * next: engine/tokenizer/spans.c */
#pragma once

#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/traced.h"

/* Working memory of one thread. Zero-initialise to create. */
typedef struct qk_span_memory {
    struct qk_span_symbol *symbols;
    size_t count, capacity;
} qk_span_memory;
void qk_span_memory_free(qk_span_memory *memory);

/* ids[0..count): what qk_bpe_encode gave for this piece. spans[i] becomes the bytes of the piece
 * behind ids[i]; characters that were dropped belong to none, and a run of unknown characters that
 * became one token reaches over byte tokens in between. */
void qk_bpe_spans(const qk_bpe *bpe, qk_span_memory *memory, const uint8_t *piece, size_t length,
                  const int32_t *ids, size_t count, qk_raw_span *spans);
