/* The published config.json of real models, as data: what `qkengine synth` builds and `qkengine
 * plan` sizes without a download.
 *
 * presets/NAME.json has the keys that decide about the arithmetic, as the file on the Hub has them,
 * without token ids and without the vision part of a wrapper. It is embedded when presets.c is built.
 * tests/test_presets.c reads each one, adds up its tensors and compares the sum with the number of
 * parameters that was published for the model.
 *
 * next: engine/families/presets.c, engine/tools/synth.h */
#pragma once

#include "formats/json.h"

typedef struct qk_preset {
    const char *name;       /* "qwen3-8b" */
    const char *repository; /* on the Hub: "Qwen/Qwen3-8B" */
    uint64_t parameters;    /* published, output head included; of a wrapper, of its text model */
    uint64_t unit;          /* the published number is rounded or cut to this; 1: exact */
} qk_preset;

/* The i-th of all, NULL behind the last. */
const qk_preset *qk_preset_at(size_t i);
/* By short name or repository, in any case, or by what one short name alone begins with up to a '-'
 * ("smollm3"); NULL when there is none. */
const qk_preset *qk_preset_find(const char *name);
/* The same, as an error with all that begin so, or with the nearest name. */
qk_status qk_preset_need(const char *name, const qk_preset **out, qk_error *err);
/* Its config.json, parsed into the arena. */
const qk_json *qk_preset_config(const qk_preset *preset, qk_arena *arena);
