/* Normalizers: what happens to a stretch of text before it is cut into pieces.
 *
 *   Form          NFC, NFD, NFKC, NFKD
 *   Prepend       text in front of a stretch that is not empty
 *   Replace       every match of a text or a regex becomes "to"
 *   Lowercase     character by character: no final sigma
 *   Strip         white space at the ends goes
 *   StripAccents  marks go (no decomposition: that is NFD's work)
 *   Nmt           most control characters go, odd spaces become spaces
 *
 * next: engine/tokenizer/pretokenize.h */
#pragma once

#include "engine/tokenizer/forms.h"
#include "engine/tokenizer/pattern.h"

enum { QK_MAX_TEXT = 1 << 30 }; /* bytes of one text, before and after normalising */

typedef enum qk_norm_kind {
    QK_NORM_FORM,
    QK_NORM_PREPEND,
    QK_NORM_REPLACE,
    QK_NORM_LOWERCASE,
    QK_NORM_STRIP,
    QK_NORM_STRIP_ACCENTS,
    QK_NORM_NMT,
} qk_norm_kind;

typedef struct qk_norm_step {
    qk_norm_kind kind;
    qk_form form;
    const char *from, *to; /* of Replace; Prepend has only `to`, a regex only `to` and `pattern` */
    size_t from_length, to_length;
    qk_pattern *pattern; /* owned, never matches nothing; NULL: `from` is the text to find */
    bool left, right;    /* of Strip */
} qk_norm_step;

enum { QK_MAX_STEPS = 16 };

typedef struct qk_normalizer {
    qk_norm_step steps[QK_MAX_STEPS];
    int count;
    uint8_t *form_tables[4]; /* of the forms that steps use */
} qk_normalizer;

/* Appends a step; its strings are borrowed, its pattern is taken over. false when there are too
 * many. */
bool qk_normalizer_add(qk_normalizer *normalizer, qk_norm_step step);
void qk_normalizer_free(qk_normalizer *normalizer);

/* Working memory of one thread. Zero-initialise to create. */
typedef struct qk_norm_memory {
    qk_traced a, b;
    qk_form_memory form;
    qk_match_memory match;
    size_t length; /* of the stretch as it came, in bytes */
    int step;      /* the one that runs */
} qk_norm_memory;
void qk_norm_memory_free(qk_norm_memory *memory);

/* Normalises a stretch: *view becomes the result, which lies in `memory` (valid until the next
 * call) or is the text itself. Fails when it would grow beyond qk_work_max_length or QK_MAX_TEXT. */
qk_status qk_normalize(const qk_normalizer *normalizer, qk_norm_memory *memory, qk_view *view,
                       qk_error *err);
