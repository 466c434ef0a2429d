/* Which runs may add their rows to one folder: every key of an identity (engine/output/manifest.h)
 * either decides what a row means, or only which rows there are.
 *
 *   meaning     the model, its weights, its numbers, the tokenizer, RoPE state: rows of two such
 *               runs in one file could not be told apart, so they are refused
 *   selection   dataset, heads, sampler: the folder gets more rows
 *
 * The table is in compatibility.c. A key that it lacks counts as meaning, and a test fails. What
 * stands behind an example's id is engine/output/example_texts.h's to compare. In branch layout all
 * keys must be equal.
 *
 * next: engine/output/example_texts.h */
#pragma once

#include "engine/output/manifest.h"

typedef enum qk_key_kind {
    QK_KEY_UNKNOWN,
    QK_KEY_INSIDE, /* keys below it are listed */
    QK_KEY_DECIDES,
    QK_KEY_SELECTS,
} qk_key_kind;

/* path: "config.model.dtype". */
qk_key_kind qk_key_kind_of(const char *path);
/* The first difference in meaning of two identities: "config.model.dtype: "float32" then,
 * "bfloat16" now", in the arena; NULL when their rows may lie in one folder. A key that only one of
 * them has (they come from two versions) is no difference. */
const char *qk_compatibility_difference(const qk_json *then, const qk_json *now, qk_arena *arena);
/* The same for a run that is to be added to a manifest (may be NULL), which may hold it already. */
const char *qk_compatibility_new_run(const qk_json *manifest, const qk_identity *id,
                                     qk_arena *arena);
/* The same for the runs of two manifests (either may be NULL), with what computed them. */
const char *qk_compatibility_of_manifests(const qk_json *then, const qk_json *now, qk_arena *arena);
/* The first difference of two manifests in branch layout: any key of their first runs, or what
 * computed them. */
const char *qk_compatibility_of_settings(const qk_json *then, const qk_json *now, qk_arena *arena);
