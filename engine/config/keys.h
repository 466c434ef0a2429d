/* The table of configuration keys: name, type, bounds, default and meaning, each said once. The
 * loader reads values by it, error messages quote it, and the reference in configs/README.md is
 * printed from it.
 * For engine/config/, and for the manual and completion in engine/commands/.
 *
 * next: engine/config/keys.c */
#pragma once

#include "engine/config/config.h"
#include "formats/yaml.h"

/* capture.sampler, or what a part of it for queries or for keys and values changes. */
typedef struct qk_sampler_draft {
    int kind;         /* -1: not given */
    double base_rate; /* 0: not given */
    int64_t first;    /* -1: not given */
    const char *positions;
} qk_sampler_draft;

/* What the keys fill: the configuration, and what becomes parts of it at the end. */
typedef struct qk_config_draft {
    qk_config config;
    int autocast, layout, encoding, backend, isa; /* values of their words; -1: not given */
    int rope;                                     /* QK_ROPE_PRE | QK_ROPE_POST; 0: not given */
    qk_sampler_draft sampler, query_sampler, key_sampler;
} qk_config_draft;
enum { QK_ROPE_PRE = 1, QK_ROPE_POST = 2 };

typedef struct qk_config_reader {
    const char *path; /* of the file, for messages */
    qk_arena *arena;
    qk_error *err;
} qk_config_reader;

typedef struct qk_config_key qk_config_key;

/* How a value is checked and stored. `value` is NULL when the key is absent and has no default. */
typedef struct qk_config_type {
    const char *name; /* "an integer": for messages and the reference */
    qk_status (*read)(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *value,
                      void *field);
} qk_config_type;

typedef struct qk_config_word {
    const char *word; /* the first word of a value is the one that messages offer */
    int value;
} qk_config_word;

struct qk_config_key {
    const char *section, *name; /* "capture.sampler", "base_rate" */
    const qk_config_type *type;
    size_t at;                   /* offset in qk_config_draft */
    const char *fallback;        /* the default as YAML; NULL: none */
    int64_t min, max, absent;    /* of integers; `absent` is stored when there is no value */
    const qk_config_word *words; /* of a choice or of a list of words, ends with {NULL} */
    bool required;
    const char *meaning;
};

extern const qk_config_key qk_config_keys[];
extern const size_t qk_config_n_keys;
extern const qk_config_word qk_config_backends[], qk_config_isas[];
/* "`float32`, `float16`": each value by its first word. */
void qk_config_add_words(qk_buf *out, const qk_config_word *words);

/* One per kind of value. */
extern const qk_config_type qk_config_string, qk_config_text, qk_config_path, qk_config_folder,
    qk_config_bool, qk_config_int, qk_config_seed, qk_config_number, qk_config_ints,
    qk_config_choice, qk_config_words, qk_config_tree, qk_config_ignored, qk_config_remote_code,
    qk_config_padding_side;

typedef struct qk_config_section {
    const char *name;
    bool required, open; /* open: unknown keys are passed over with a warning */
} qk_config_section;

/* Parents come before their parts: "capture" before "capture.sampler". Ends with {NULL}. */
extern const qk_config_section qk_config_sections[];

/* "run.yaml:3:9: 'dataset.path' <format>", or with "--set dataset.path" as its position. */
qk_status qk_config_fail(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *value,
                         const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* "it is: <meaning>", for hints where there is nothing better; in the arena. */
const char *qk_config_meaning(const qk_config_reader *r, const qk_config_key *key);
/* Where a value stands: "run.yaml:3:9" or "--set a.b"; in the arena. */
const char *qk_config_position(const qk_config_reader *r, const qk_yaml *value);
/* QK_ERR_USAGE for what a --set brought, else QK_ERR_CONFIG. */
qk_status qk_config_blame(const qk_yaml *value);

/* capture: rope, values and log-sum-exp, and the two samplers, from what the keys have filled. */
qk_status qk_config_settle_capture(const qk_config_reader *r, const qk_yaml *root,
                                   qk_config_draft *draft);

/* Puts the --set "a.b=value" into the tree. */
qk_status qk_config_apply_setting(qk_arena *arena, qk_yaml *root, const char *setting,
                                  qk_error *err);
/* A map or list as JSON in the arena. Only numbers beyond int64 that are not written in decimal
 * are refused. */
qk_status qk_config_to_json(const qk_config_reader *r, const qk_config_key *key,
                            const qk_yaml *value, const qk_json **out);
