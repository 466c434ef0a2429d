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

/* How long steps may make a text of so many bytes, in bytes. Normal forms make 11 of one at most.
 */
static inline size_t qk_work_max_length(size_t bytes)
{
    return ((size_t)1 << 24) + 256 * bytes;
}

typedef struct qk_work {
    uint64_t left;
    uint64_t open; /* steps made and not yet taken, below QK_WORK_CHUNK */
} qk_work;

static inline void qk_work_begin(qk_work *work, size_t bytes)
{
    *work = (qk_work){.left = QK_WORK_BASE + (uint64_t)bytes * QK_WORK_PER_BYTE};
}

/* Takes `steps` and those that are open. false: there are none left, or a signal has come
 * (qk_interrupted), and the result no longer matters. */
static inline bool qk_work_take(qk_work *work, uint64_t steps)
{
    steps += work->open;
    work->open = 0;
    work->left -= steps < work->left ? steps : work->left;
    return work->left && !qk_interrupted();
}

/* The same for small steps: they are taken, and signals checked, when they are a chunk. */
static inline bool qk_work_add(qk_work *work, uint64_t steps)
{
    work->open += steps;
    return work->open < QK_WORK_CHUNK || qk_work_take(work, 0);
}
