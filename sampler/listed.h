/* Positions that somebody has listed, example by example, instead of drawing them
 * (capture.sampler.positions; engine/config/listed_file.h reads the file).
 *
 * All lists are one array, 4 bytes a position, and a sorted table of examples, 24 bytes each.
 *
 * next: engine/config/listed_file.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct qk_listed qk_listed;

typedef struct qk_listed_example {
    int64_t id;            /* the full one (sampler/example_id.h) */
    uint32_t first, count; /* of qk_listed.positions */
    uint64_t line;         /* of the file, from 1 */
} qk_listed_example;

struct qk_listed {
    const qk_listed_example *examples; /* [n_examples] by ascending id, each once */
    const int32_t *positions;          /* [n_positions]; of one list ascending, each once */
    size_t n_examples, n_positions;
    qk_listed_example others; /* the list of examples that have none of their own; its id is 0 */
    bool has_others;
    bool has_other_ids; /* not all ids were integers: no row numbers */
    const char *path;   /* of the file; borrowed */
    char sha256[65];    /* of the file */
};

/* The list of that example alone; NULL: it has none of its own. */
const qk_listed_example *qk_listed_own(const qk_listed *listed, int64_t id);
/* The positions of an example; *count is 0 where it has no list. */
const int32_t *qk_listed_of(const qk_listed *listed, int64_t id, int32_t *count);
/* How many positions a list has on average. */
double qk_listed_mean(const qk_listed *listed);
