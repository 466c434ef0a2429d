/* Prefetch: work units read and tokenized on a thread of their own, one unit ahead of the forward.
 *
 * Two units are in memory at most. While somebody waits for a unit, all threads tokenize it; while
 * the forward runs, only its own does. Results, errors and their order are those of reading
 * each unit when it is asked for: an error of a unit comes out when its turn comes.
 *
 * next: engine/run/run.c */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_dataset qk_dataset;
typedef struct qk_tokenizer qk_tokenizer;

enum { QK_PREFETCH_UNITS = 2 }; /* in memory */

/* One example of a unit. Owns its memory. */
typedef struct qk_prefetch_example {
    qk_buf text, id_text;
    bool has_id_text;
    int64_t index, id; /* as in qk_example */
    int32_t *ids;
    size_t count, capacity; /* of ids */
    bool truncated;
    qk_error error; /* of its tokenization */
} qk_prefetch_example;

typedef struct qk_prefetch_unit {
    qk_prefetch_example *examples;
    int count;
    bool more;      /* false: the dataset has no rows behind this unit */
    bool wanted;    /* tokenized */
    qk_error error; /* of reading it */
} qk_prefetch_unit;

typedef struct qk_prefetch_plan {
    qk_dataset *dataset; /* the prefetch's alone until it is freed */
    const qk_tokenizer *tokenizer;
    int64_t max_length;
    int unit_examples;
    int threads; /* 0: all */
    /* *wanted is false: unit `number` is somebody else's, so it is passed over: its examples are
     * counted, and nothing else of them is filled in. Asked once for each unit that has examples,
     * on its thread, when it is settled what becomes of the unit before. ahead: that one is worked
     * on now, so this one's turn comes later. */
    qk_status (*wants)(void *context, int64_t number, bool ahead, bool *wanted, qk_error *err);
    void *context;
} qk_prefetch_plan;

typedef struct qk_prefetch qk_prefetch;

qk_status qk_prefetch_new(qk_prefetch **out, const qk_prefetch_plan *plan, qk_error *err);
/* Waits for the next unit, which is valid until the next call; fails with what stopped its reading,
 * and with QK_ERR_RESUME when a signal arrives meanwhile. None comes behind that, or behind a unit
 * that has no `more`. */
qk_status qk_prefetch_next(qk_prefetch *p, const qk_prefetch_unit **unit, qk_error *err);
/* Settles what becomes of the unit that was taken last: it is worked on now, or passed over. Until
 * then the next one is not asked for. */
void qk_prefetch_settle(qk_prefetch *p, bool working);
void qk_prefetch_free(qk_prefetch *p); /* stops at the next example; NULL-safe */
