/* The four Unicode normalisation forms (UAX #15) with Unicode 9.0 data: characters that are younger
 * stay as they are.
 *
 *   decompose fully (K: by compatibility, too); sort each run of marks by combining class, stably;
 *   C: compose pairs
 *
 * Only stretches with a character that could change are worked on; the rest is copied.
 *
 * next: engine/tokenizer/normalize.h */
#pragma once

#include "engine/tokenizer/traced.h"

typedef enum qk_form { QK_NFC, QK_NFD, QK_NFKC, QK_NFKD } qk_form;

/* Of every code point: its combining class, or QK_FORM_MAYBE where the form may change it or compose
 * it with the one before, or 0. 0x110000 bytes; the caller frees. */
enum { QK_FORM_MAYBE = 255 };
uint8_t *qk_form_make_table(qk_form form);

/* Working memory of one thread. Zero-initialise to create. */
typedef struct qk_form_memory {
    struct qk_form_code {
        uint32_t code;
        qk_raw_span raw;
    } * codes, *spare;
    size_t count, capacity, spare_capacity;
} qk_form_memory;
void qk_form_memory_free(qk_form_memory *memory);

/* true when the form leaves the text as it is; may be false for such a text, too. */
bool qk_form_is_plain(const uint8_t *table, const uint8_t *text, size_t length);
/* Appends the form of well-formed UTF-8 to `out`, which was begun like the view. Origins: a part of
 * a decomposed character has the whole character's, a composed character those of all its parts. */
void qk_form_apply(qk_form form, const uint8_t *table, qk_form_memory *memory, qk_view view,
                   qk_traced *out);
