/* Reading single keys of config.json, with messages that name file, key and value. */
#pragma once

#include "formats/json.h"

/* An absent or null key gives `fallback`; QK_KEY_REQUIRED makes that an error. */
#define QK_KEY_REQUIRED INT64_MIN
qk_status qk_key_int(const qk_json *config, const char *key, int64_t fallback, int64_t least,
                     int64_t most, const char *where, int64_t *out, qk_error *err);
qk_status qk_key_num(const qk_json *config, const char *key, double fallback, const char *where,
                     double *out, qk_error *err); /* finite and above zero */
qk_status qk_key_bool(const qk_json *config, const char *key, bool fallback, const char *where,
                      bool *out, qk_error *err);
/* layer_types, when present: "sliding_attention" sets window[l] to size, "full_attention" to 0. */
qk_status qk_key_layer_types(const qk_json *config, int size, int *window, int layers,
                             const char *where, qk_error *err);
