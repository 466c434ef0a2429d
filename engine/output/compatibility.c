/* See compatibility.h. */
#include "engine/output/compatibility.h"

#include <string.h>

/* A key stands for everything below it, unless keys below it are listed. */
static const struct rule {
    const char *path;
    qk_key_kind kind;
} rules[] = {
    /* A release that computes other bits gives its numerics another name. */
    {"engine", QK_KEY_SELECTS},
    {"config.dataset.path", QK_KEY_SELECTS},
    {"config.dataset.name", QK_KEY_SELECTS},
    {"config.dataset.split", QK_KEY_SELECTS},
    {"config.dataset.text_column", QK_KEY_SELECTS},
    {"config.dataset.id_column", QK_KEY_SELECTS},
    {"config.dataset.max_samples", QK_KEY_SELECTS},
    {"config.model.name", QK_KEY_DECIDES},     /* a-b and a_b share a folder */
    {"config.model.revision", QK_KEY_SELECTS}, /* model_files says what it holds */
    {"config.model.dtype", QK_KEY_DECIDES},
    {"config.model.config_overrides", QK_KEY_SELECTS}, /* model_config has their effect */
    {"config.tokenizer.name", QK_KEY_SELECTS},         /* tokenizer_files says what it is */
    /* Where it changes the tokens behind an id, engine/output/example_texts.h sees it. */
    {"config.tokenizer.max_length", QK_KEY_SELECTS},
    {"config.capture.capture_queries", QK_KEY_SELECTS},
    {"config.capture.capture_keys", QK_KEY_SELECTS},
    {"config.capture.layers", QK_KEY_SELECTS},
    {"config.capture.heads", QK_KEY_SELECTS},
    {"config.capture.head_sampling", QK_KEY_SELECTS},
    {"config.capture.full_attention_only", QK_KEY_SELECTS},
    {"config.capture.sampler", QK_KEY_SELECTS},
    {"config.capture.min_bucket_size", QK_KEY_SELECTS},
    {"config.capture.max_rows_per_batch", QK_KEY_SELECTS},
    {"config.capture.capture_pre_rope", QK_KEY_DECIDES},
    {"config.capture.rope",
     QK_KEY_SELECTS}, /* both: q is after RoPE as without it, q_pre beside it */
    {"config.capture.capture_values", QK_KEY_SELECTS},
    {"config.capture.capture_lse", QK_KEY_SELECTS},
    {"config.capture.allow_nonfinite", QK_KEY_SELECTS},
    {"config.capture.capture_token_strings", QK_KEY_SELECTS},
    {"config.capture.capture_token_ids", QK_KEY_SELECTS},
    {"config.capture.head_columns", QK_KEY_SELECTS},
    {"config.capture.per_head_masks", QK_KEY_SELECTS},
    {"config.output.layout", QK_KEY_SELECTS},
    {"config.output.vector_encoding", QK_KEY_SELECTS},
    {"model_config", QK_KEY_DECIDES},
    {"model_files", QK_KEY_DECIDES},
    {"tokenizer_files", QK_KEY_DECIDES},
    {"dataset_files", QK_KEY_SELECTS},
    {"dataset_id_type", QK_KEY_SELECTS},
    {"dataset_rows", QK_KEY_SELECTS},
    {"heads", QK_KEY_SELECTS},
};

qk_key_kind qk_key_kind_of(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const char *known = rules[i].path;
        size_t k = strlen(known);
        if (!strncmp(known, path, k) && (!path[k] || path[k] == '.')) return rules[i].kind;
        if (!strncmp(known, path, n) && known[n] == '.') return QK_KEY_INSIDE;
    }
    return QK_KEY_UNKNOWN;
}

static const char *compare(const qk_json *then, const qk_json *now, const char *path,
                           qk_arena *arena)
{
    if (!then || !now || then->type != QK_JSON_T_OBJECT) return NULL;
    for (const qk_json *a = then->first; a; a = a->next) {
        const qk_json *b = qk_json_get(now, a->key);
        const char *below = qk_arena_strf(arena, "%s%s%s", path, *path ? "." : "", a->key);
        qk_key_kind kind = qk_key_kind_of(below);
        if (!b || kind == QK_KEY_SELECTS) continue;
        const char *found = kind == QK_KEY_INSIDE ? compare(a, b, below, arena)
                                                  : qk_identity_difference_at(a, b, below, arena);
        if (found) return found;
    }
    return NULL;
}

const char *qk_compatibility_difference(const qk_json *then, const qk_json *now, qk_arena *arena)
{
    return compare(then, now, "", arena);
}

static const qk_json *first_run(const qk_json *manifest)
{
    const qk_json *runs = qk_json_get(manifest, "runs");
    return runs ? runs->first : NULL;
}

const char *qk_compatibility_new_run(const qk_json *manifest, const qk_identity *id,
                                     qk_arena *arena)
{
    if (qk_manifest_has_run(manifest, id->fingerprint)) return NULL;
    for (const qk_json *r = first_run(manifest); r; r = r->next) {
        const char *found =
            qk_compatibility_difference(qk_json_get(r, "identity"), id->tree, arena);
        if (found) return found;
    }
    return NULL;
}

static const char *compare_runs(const qk_json *then, const qk_json *now, qk_arena *arena)
{
    const qk_json *a = qk_json_get(then, "arithmetic"), *b = qk_json_get(now, "arithmetic");
    const char *found = a && b ? qk_identity_difference_at(a, b, "arithmetic", arena) : NULL;
    if (found) return found;
    a = qk_json_get(then, "fingerprint");
    b = qk_json_get(now, "fingerprint");
    if (a && b && !qk_identity_difference(a, b, arena)) return NULL; /* the same run */
    return qk_compatibility_difference(qk_json_get(then, "identity"), qk_json_get(now, "identity"),
                                       arena);
}

const char *qk_compatibility_of_manifests(const qk_json *then, const qk_json *now, qk_arena *arena)
{
    for (const qk_json *a = first_run(then); a; a = a->next)
        for (const qk_json *b = first_run(now); b; b = b->next) {
            const char *found = compare_runs(a, b, arena);
            if (found) return found;
        }
    return NULL;
}

const char *qk_compatibility_of_settings(const qk_json *then, const qk_json *now, qk_arena *arena)
{
    const char *found = qk_identity_difference(qk_json_get(first_run(then), "identity"),
                                               qk_json_get(first_run(now), "identity"), arena);
    return found ? found : qk_compatibility_of_manifests(then, now, arena);
}
