/* Reading single keys of config.json, with messages that name file, key and value.
 *
 * next: engine/families/known_keys.h */
#pragma once

#include "formats/json.h"

typedef struct qk_spec_reader {
    const qk_json *config; /* the object that holds them */
    const char *where;     /* the file, for messages */
    qk_arena *arena;
    qk_error *err;
} qk_spec_reader;

/* An absent or null key gives `fallback`; QK_KEY_REQUIRED makes that an error. */
#define QK_KEY_REQUIRED INT64_MIN
qk_status qk_key_int(const qk_spec_reader *r, const char *key, int64_t fallback, int64_t min,
                     int64_t max, int64_t *out);
/* Finite and above zero; an absent or null key gives fallback, whatever that is. */
qk_status qk_key_num(const qk_spec_reader *r, const char *key, double fallback, double *out);
qk_status qk_key_bool(const qk_spec_reader *r, const char *key, bool fallback, bool *out);
/* A number that null switches off: 0 when it is null, `fallback` when it is absent. */
qk_status qk_key_num_or_null(const qk_spec_reader *r, const char *key, double fallback,
                             double *out);
/* A list of n integers, or more (an override may shorten the model): one for each layer. *out is
 * NULL when the key is absent or null, else in the arena. */
qk_status qk_key_int_list(const qk_spec_reader *r, const char *key, size_t n, int64_t **out);
/* A list of layer numbers: marks[l] becomes true for each below `layers`; others may belong to
 * layers that an override cut off. *given says whether there is a list. */
qk_status qk_key_layer_set(const qk_spec_reader *r, const char *key, int layers, bool *marks,
                           bool *given);
