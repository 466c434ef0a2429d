/* Between model.c (loading) and model_bind.c (finding and checking tensors). */
#pragma once

#include "engine/families/family.h"
#include "formats/safetensors.h"

typedef struct qk_bound_expert {
    const qk_st_tensor *gate, *up, *down;
} qk_bound_expert;

/* What a layer does not have is NULL. Tensors that a checkpoint keeps fused (q, k and v; gate and
 * up) are bound as the parts they are made of, under QK_W_Q, QK_W_K ... */
typedef struct qk_bound_layer {
    const qk_st_tensor *weight[QK_N_WEIGHTS], *bias[QK_N_WEIGHTS];
    qk_bound_expert *experts; /* [spec->experts] in a sparse layer */
} qk_bound_layer;

typedef struct qk_binding {
    const qk_st_tensor *embed, *final_norm;
    qk_bound_layer *layers; /* [spec->layers], in the arena */
} qk_binding;

/* Finds every tensor of the model; a missing one, a wrong shape, a format that is no float and one
 * left over are errors that name it. */
qk_status qk_bind(qk_binding *b, const qk_spec *spec, const qk_checkpoint *c, qk_arena *arena,
                  const char *folder, qk_error *err);

/* Aligned data of a tensor after a look at every value: NaN and infinity are errors. *data is
 * borrowed, or equal to *copy, which the caller frees (NULL when nothing was copied). */
qk_status qk_tensor_open(const qk_st_tensor *t, const void **data, void **copy, qk_dtype *dtype,
                         qk_error *err);
/* The values of a vector, rounded to `compute` and widened again. */
qk_status qk_tensor_to_floats(const qk_st_tensor *t, qk_dtype compute, float *out, qk_error *err);
