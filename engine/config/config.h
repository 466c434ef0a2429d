/* The run configuration: YAML in the reference's schema -> one struct.
 *
 * Every key is a row of a table in config/keys.c (name, type, default, bounds), which also makes
 * the error messages and configs/README.md. Scalars mean what PyYAML makes of them (YAML 1.1:
 * `yes` is a boolean, `1e3` a string, `010` eight). Errors name file, line, column and the nearest
 * known key.
 *
 * next: formats/yaml.h, engine/run/plan.h */
#pragma once

#include "engine/base/dtype.h"
#include "engine/base/mem.h"
#include "formats/json.h"
#include "sampler/python_random.h"
#include "sampler/sampler.h"

typedef struct qk_int_list {
    int64_t *items; /* ascending, each once, from 0; NULL and count 0: not restricted */
    size_t count;
} qk_int_list;

/* An integer of any length. */
typedef struct qk_long_seed {
    qk_python_seed words;
    const char *decimal; /* as JSON writes it: "-12" */
} qk_long_seed;

typedef enum qk_layout { QK_LAYOUT_PREFIX, QK_LAYOUT_BRANCH } qk_layout;

/* Strings are owned by `arena`; an absent optional one is NULL. */
typedef struct qk_config {
    struct {
        const char *path, *name, *split; /* folder, file or Hub repository; config; "train[:5]" */
        const char *text_column;
        const char *id_column; /* NULL: the row number is the id */
        int64_t max_samples;   /* -1: all */
        const char *revision;  /* of a Hub repository; NULL: main */
        bool streaming;
    } dataset;
    struct {
        const char *name, *revision;
        qk_dtype dtype; /* weights and arithmetic: inference.autocast_dtype when that is 16-bit,
                         * else model.dtype */
        const qk_json *overrides; /* model.config_overrides as a tree, or NULL */
    } model;
    struct {
        const char *name;   /* NULL: the model's own */
        int64_t max_length; /* tokens, special ones included; 0: no limit */
    } tokenizer;
    struct {
        int64_t batch_size;  /* examples that are packed into one forward; 0: by their tokens */
        const char *backend; /* "auto", "cpu", "ref" or "cuda"; never NULL */
        int64_t layers_in_memory; /* 0: as many as fit */
        bool slice;               /* compute only what captured rows depend on */
        int64_t threads;          /* 0: all */
        const char *isa;          /* "avx512" ..; NULL: the best one */
    } inference;
    struct {
        bool queries, keys;
        qk_int_list layers, heads;
        bool sample_heads;  /* head_sampling was given */
        int64_t head_count; /* >= 1 */
        qk_long_seed head_seed;
        bool full_attention_only, pre_rope, token_strings, per_head_masks;
        bool allow_nonfinite; /* keep rows of NaN and infinity instead of stopping at the first */
        bool values;          /* of the key heads that are captured, or would be */
        bool both_states;     /* queries and keys before RoPE and after it; pre_rope is false */
        bool lse;             /* with each query (kernels/backend.h) */
        bool token_ids, head_columns; /* columns of the files */
        qk_sampler sampler;           /* of queries, with min_bucket_size and max_rows_per_batch */
        qk_sampler key_sampler;       /* of keys and values; the same where nothing else is set.
                                       * What they list lies in `arena` */
    } capture;
    struct {
        const char *data_root; /* as written; relative to the working folder, never above it, and
                                * neither / nor the home folder or a parent of that */
        const char *hf_repo_id, *hf_branch;
        bool is_private;
        qk_layout layout;
        const char *split;  /* of prefix layout; NULL: of the model's name */
        bool plain_vectors; /* vector_encoding: plain instead of byte_stream_split */
    } output;
    const char *file; /* where it was read; relative paths are not relative to it */
    qk_arena arena;
} qk_config;

/* Reads a file and then applies `settings`: "section.key=value" strings of --set, whose values are
 * YAML too. On error *config needs no free. QK_ERR_CONFIG for the file, QK_ERR_USAGE for a setting.
 *
 * null means "not set" (capture_queries and capture_keys excepted: there it could mean off). Keys
 * that are read for compatibility but mean nothing here (device_map, readme_path, padding ...) are
 * accepted; those that would change rows if ignored (padding_side: left) are refused, and so are
 * values that YAML reads otherwise than they look (1e-3, 010, 1:30). Warnings go to the log.
 *
 * The files of capture.sampler.positions are read here, and no other. */
qk_status qk_config_load(qk_config *config, const char *path, const char *const *settings,
                         size_t n_settings, qk_error *err);
void qk_config_free(qk_config *config); /* NULL-safe */

/* The settings that decide what is written, as JSON members of the open object: what manifest.json
 * records and a resumed run compares. Batch size, threads, backend and isa are not among them. */
void qk_config_write_json(const qk_config *config, qk_json_out *out);

/* Every key with its type, default and meaning, as a Markdown table: configs/README.md and
 * `qkengine help config`. */
void qk_config_reference(qk_buf *out);
