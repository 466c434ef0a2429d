/* How much work one text may take: a number of steps in proportion to its bytes.
 *
 * A tokenizer.json may come from anybody, and some regexes and vocabularies make every character of
 * a text cost as much as the whole text. Whatever may do more than a few steps for a byte takes
 * them from here. What is left depends on the tokenizer and the text alone, never on a clock, so a
 * text that is refused is refused everywhere.
 *
 * next: engine/tokenizer/encode.c */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/interrupt.h"

/* Real tokenizers take 5 to 50 steps for a byte; a step is some nanoseconds. */
enum { QK_WORK_BASE = 1 << 28, QK_WORK_PER_BYTE = 1 << 12, QK_WORK_CHUNK = 1 << 16 };

typedef struct qk_work {
    uint64_t left;
} qk_work;

static inline void qk_work_begin(qk_work *work, size_t bytes)
{
    work->left = QK_WORK_BASE + (uint64_t)bytes * QK_WORK_PER_BYTE;
}

/* Takes steps, at most about QK_WORK_CHUNK at a time. false: there are none left, or a signal has
 * come (qk_interrupted), and the result no longer matters. */
static inline bool qk_work_take(qk_work *work, uint64_t steps)
{
    if (steps > work->left) {
        work->left = 0;
        return false;
    }
    work->left -= steps;
    return !qk_interrupted();
}
