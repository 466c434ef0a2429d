/* Whether each line of a file of listed positions names an example of the run. Only a merge knows:
 * it sees the examples of all processes and of all earlier starts. A line that names none has no
 * rows, most often by a misspelt id or an id of another dataset.
 *
 * next: sampler/listed.h, engine/output/merge.h */
#pragma once

#include "sampler/listed.h"

typedef struct qk_listed_use {
    const qk_listed *listed; /* borrowed */
    bool *used;              /* [listed->n_examples] */
} qk_listed_use;

/* NULL: positions are not listed, and nothing is noted. */
void qk_listed_use_begin(qk_listed_use *u, const qk_listed *listed);
void qk_listed_use_add(qk_listed_use *u, int64_t id);
/* Frees it. all: every example of the run was added; lines without one are a warning. */
void qk_listed_use_end(qk_listed_use *u, bool all);
