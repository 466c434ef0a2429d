/* How fast this machine is at a model: the ops of its forward pass (kernels/backend.h) on random
 * numbers, in its own shapes, for about two seconds. Nothing of the checkpoint is read.
 *
 * Each op of a layer is run at the rows that the forward gives it, a wide one on a part of its
 * columns, and counts as often as a token meets it: so a token costs what its products, norms,
 * rotary embedding and activations do. Attention is run at the length of a typical example, with
 * and without the window of the model, on as many key heads as the time allows.
 *
 *   seconds of a run = tokens * token + attention FLOP * attention + windowed FLOP * windowed
 *
 * Left out: tokenizing (beside the forward, on a thread of its own), hashing, loading and merging.
 *
 * next: engine/run/estimate.h */
#pragma once

#include <stdbool.h>

#include "engine/base/error.h"

typedef struct qk_plan qk_plan;

/* What a run is made of, of which the probe takes an image. */
typedef struct qk_probe_work {
    double length;            /* tokens of a typical example, above 0 */
    double batch_tokens;      /* of a typical batch */
    double flops;             /* of the whole run; 0: not known. A short run is measured shortly */
    bool attention, windowed; /* whether there is any over whole examples, and cut by a window */
} qk_probe_work;

typedef struct qk_speed {
    double token;               /* seconds of all but attention, for each token */
    double attention, windowed; /* seconds for each FLOP of attention; 0: there is none */
    double products_rate;       /* FLOP/s of matrix products */
    double
        attention_rate; /* FLOP/s of attention, over whole examples where there is such; 0: none */
    char device[160];   /* "CPU, AVX-512, 2 threads" */
} qk_speed;

/* On the backend, number format, instruction set and threads of the configuration. Fails where that
 * device cannot be opened or has no memory for it, and on a signal. */
qk_status qk_probe_speed(const qk_plan *plan, const qk_probe_work *work, qk_speed *out,
                         qk_error *err);
