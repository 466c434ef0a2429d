/* Between model.c (loading) and bind.c (finding and checking tensors).
 *
 * next: engine/model/weights.h */
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

/* Finds every tensor of the model; a missing one, a wrong shape and a format that is no float are
 * errors that name it. So is one left over inside of the backbone, whose numbers config.json then
 * does not describe; what lies outside, such as a head for another task, is passed over with a
 * warning that counts them. */
qk_status qk_bind(qk_binding *b, const qk_spec *spec, const qk_checkpoint *c, qk_arena *arena,
                  const char *folder, qk_error *err);
