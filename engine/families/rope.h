/* Rotary position embedding: the frequencies and the cos/sin table (Su et al., 2021).
 *
 *   angle(p, i) = p * inv_freq[i]          i < rotary/2, the product rounded to float32
 *   inv_freq[i] = theta^(-2i / rotary)     then changed by the scaling rule:
 *   linear    inv_freq / factor
 *   dynamic   theta grows with the sequence once it is longer than the trained length (NTK)
 *   llama3    long wavelengths / factor, short ones kept, a ramp between (Llama 3.1)
 *   yarn      a ramp over the dimensions between both, and cos, sin * attention factor
 *             (Peng et al., 2023)
 *   longrope  each frequency / its own factor: short or long list by sequence length, and an
 *             attention factor (Ding et al., 2024)
 *
 * Angles are the float32 product, as in transformers, so rows compare with published runs.
 *
 * next: engine/forward/forward.h */
#pragma once

#include "formats/json.h"

typedef enum qk_rope_type {
    QK_ROPE_DEFAULT,
    QK_ROPE_LINEAR,
    QK_ROPE_DYNAMIC,
    QK_ROPE_LLAMA3,
    QK_ROPE_YARN,
    QK_ROPE_LONGROPE,
} qk_rope_type;

typedef struct qk_rope {
    qk_rope_type type;
    int rotary;          /* how many numbers of a head turn; even */
    double theta;        /* base */
    double factor;       /* of linear, dynamic, llama3, yarn */
    double max_position; /* max_position_embeddings */
    double original;     /* original_max_position_embeddings: the trained length */
    double low, high;    /* low_freq_factor, high_freq_factor of llama3 */
    double beta_fast, beta_slow;
    bool truncate;           /* yarn: round the ends of the ramp to whole dimensions */
    double attention_factor; /* cos and sin are multiplied by it */
    const double *short_factor, *long_factor; /* [rotary / 2], longrope */
} qk_rope;

/* As configurations call it: "yarn". */
const char *qk_rope_type_name(qk_rope_type type);

/* What counts when the parameters are silent. */
typedef struct qk_rope_defaults {
    double theta;
    double partial;      /* the part of a head that turns; 0: all, and another part is refused */
    double max_position; /* max_position_embeddings */
    double original;     /* original_max_position_embeddings beside the parameters; 0: none */
} qk_rope_defaults;

/* Reads the object `rope_parameters` (see engine/families/overrides.h for how older keys become
 * one). config gives max_position_embeddings and, when it has one,
 * original_max_position_embeddings. Lists live in the arena. Errors name the key; a key that no
 * rule here knows is one. */
qk_status qk_rope_read(qk_rope *rope, const qk_json *parameters, const qk_json *config,
                       int head_dim, const qk_rope_defaults *silent, qk_arena *arena,
                       const char *where, qk_error *err);

/* Whether the frequencies depend on the length of the sequence (dynamic, longrope). */
bool qk_rope_depends_on_length(const qk_rope *rope);
/* inv_freq [rotary / 2] for a sequence of `length` tokens. */
void qk_rope_frequencies(const qk_rope *rope, int64_t length, float *inv_freq);
/* cos, sin [rows, rotary / 2] of positions first .. first + rows - 1. */
void qk_rope_table(const qk_rope *rope, const float *inv_freq, int64_t first, size_t rows,
                   float *cos_out, float *sin_out);
