/* Unicode normalisation form C (UAX #15) with Unicode 9.0 data: characters that are younger stay
 * as they are.
 *
 *   decompose fully; sort each run of marks by combining class, stably; compose pairs
 *
 * Only stretches with a character that could change are worked on; the rest is copied.
 *
 * next: engine/tokenizer/normalize.h */
#pragma once

#include "engine/base/mem.h"

/* Of every code point: its combining class, or QK_NFC_LOOK where NFC may change it or compose it
 * with the one before, or 0. 0x110000 bytes; the caller frees. */
enum { QK_NFC_LOOK = 255 };
uint8_t *qk_nfc_make_table(void);

/* Working memory of one thread. Zero-initialise to create. */
typedef struct qk_nfc_memory {
    uint32_t *codes, *spare;
    size_t count, capacity, spare_capacity;
} qk_nfc_memory;
void qk_nfc_memory_free(qk_nfc_memory *memory);

/* true when NFC leaves the text as it is; may be false for such a text, too. */
bool qk_nfc_is_plain(const uint8_t *table, const uint8_t *text, size_t length);
/* Appends NFC of well-formed UTF-8 to `out`. */
void qk_nfc(const uint8_t *table, qk_nfc_memory *memory, const uint8_t *text, size_t length,
            qk_buf *out);
