/* Random checkpoints of real shapes: for measuring and testing where no weights can be downloaded.
 *
 * A folder like one from the Hub: config.json of a preset, model.safetensors with every tensor of
 * the text model except the output head, and a tokenizer with one token for each byte. config.json
 * is written last: a folder that has one is complete.
 *
 * Values, from a counter, so that they do not depend on threads or on the order of writing:
 *
 *   key = mix(mix(seed) + FNV-1a(tensor name)),  h = mix(key + (i + 1) 0x9E3779B97F4A7C15)
 *   u = (sum of the four 16-bit parts of h) - 131070,  about normal, deviation sqrt((2^32 - 1) / 3)
 *   value[i] = mean + scale u
 *
 * mix is the output function of SplitMix64 (Steele, Lea, Flood, 2014). Matrices have mean 0 and
 * deviation 1 / sqrt(columns), so that activations keep their size; norm weights 1 (0 where w - 1
 * is stored) and 0.02, biases 0 and 0.02.
 *
 * next: engine/commands/synth.c */
#pragma once

#include "engine/families/family.h"
#include "formats/json.h"

typedef struct qk_synth_values {
    uint64_t key;
    float mean, scale;
} qk_synth_values;

/* Of a tensor by its name without prefix. */
qk_synth_values qk_synth_values_of(const qk_spec *spec, const qk_tensor_spec *t, uint64_t seed);
/* Values first .. first + n - 1, rounded to dtype, into out. */
void qk_synth_fill(void *out, qk_dtype dtype, const qk_synth_values *v, uint64_t first, size_t n,
                   int threads);

typedef struct qk_synth_options {
    const char *name;      /* of the model, for messages */
    const qk_json *config; /* config.json of a preset; borrowed */
    int layers;            /* 0: all; else as many of the first */
    qk_dtype dtype;
    uint64_t seed;
    int threads; /* 0: all */
} qk_synth_options;

typedef struct qk_synth_result {
    uint64_t parameters, bytes; /* of model.safetensors */
    size_t tensors;
    double seconds;
} qk_synth_result;

/* config.json as `folder` gets it, and what it says. text is the caller's to free, the rest lies in
 * the arena. */
qk_status qk_synth_config(const qk_synth_options *options, qk_json_out *text,
                          const qk_json **config, qk_spec *spec, qk_arena *arena, qk_error *err);
/* Writes `folder`, which must be absent or empty. */
qk_status qk_synth(const qk_synth_options *options, const char *folder, qk_synth_result *result,
                   qk_error *err);
