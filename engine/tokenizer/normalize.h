/* Normalizers: what happens to a stretch of text before it is cut into pieces.
 *
 *   NFC; Prepend: text in front of a stretch that is not empty; Replace: every "from" becomes "to"
 *
 * next: engine/tokenizer/pretokenize.h */
#pragma once

#include "engine/tokenizer/nfc.h"

enum { QK_MAX_TEXT = 1 << 30 }; /* bytes of one text, before and after normalising */

typedef enum qk_norm_kind { QK_NORM_NFC, QK_NORM_PREPEND, QK_NORM_REPLACE } qk_norm_kind;

typedef struct qk_norm_step {
    qk_norm_kind kind;
    const char *from, *to; /* Prepend: only `to` */
    size_t from_length, to_length;
} qk_norm_step;

enum { QK_MAX_STEPS = 16 };

typedef struct qk_normalizer {
    qk_norm_step steps[QK_MAX_STEPS];
    int count;
    uint8_t *nfc_table; /* when a step is NFC */
} qk_normalizer;

/* Appends a step; its strings are borrowed. false when there are too many. */
bool qk_normalizer_add(qk_normalizer *normalizer, qk_norm_step step);
void qk_normalizer_free(qk_normalizer *normalizer);

/* Working memory of one thread. Zero-initialise to create. */
typedef struct qk_norm_memory {
    qk_buf a, b;
    qk_nfc_memory nfc;
} qk_norm_memory;
void qk_norm_memory_free(qk_norm_memory *memory);

/* Normalises a stretch: *text and *length become the result, which lies in `memory` (valid until
 * the next call) or is the text itself. Fails when it would grow beyond QK_MAX_TEXT. */
qk_status qk_normalize(const qk_normalizer *normalizer, qk_norm_memory *memory,
                       const uint8_t **text, size_t *length, qk_error *err);
