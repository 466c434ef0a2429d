/* How close each family comes to transformers: what the forward goldens measured last.
 *
 * golden_results.c is written by tests/interop/forward_golden.py --write, from the goldens; `make
 * test` measures again and compares. `qkengine families` and README show it.
 *
 * next: engine/commands/families.c */
#pragma once

typedef struct qk_golden_result {
    const char *model_type, *name;   /* of config.json; of the golden */
    double float32, float32_allowed; /* largest relative RMS error of a tensor, and its bound */
    double bfloat16, bfloat16_allowed;
} qk_golden_result;

/* Ordered by name; ends with a NULL name. */
extern const qk_golden_result qk_golden_results[];
