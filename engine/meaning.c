/* See meaning.h. */
#include "engine/meaning.h"

#include <string.h>

/* A key stands for everything below it, unless keys below it are listed. */
static const struct rule {
    const char *path;
    qk_meaning_kind kind;
} rules[] = {
    /* A release that computes other bits gives its arithmetic another name. */
    {"engine", QK_MEANING_SELECTS},
    {"config.dataset.path", QK_MEANING_SELECTS},
    {"config.dataset.name", QK_MEANING_SELECTS},
    {"config.dataset.split", QK_MEANING_SELECTS},
    {"config.dataset.text_column", QK_MEANING_SELECTS},
    {"config.dataset.id_column", QK_MEANING_SELECTS},
    {"config.dataset.max_samples", QK_MEANING_SELECTS},
    {"config.model.name", QK_MEANING_DECIDES},     /* a-b and a_b share a folder */
    {"config.model.revision", QK_MEANING_SELECTS}, /* model_files says what it holds */
    {"config.model.dtype", QK_MEANING_DECIDES},
    {"config.model.config_overrides", QK_MEANING_SELECTS}, /* model_config has their effect */
    {"config.tokenizer.name", QK_MEANING_SELECTS},         /* tokenizer_files says what it is */
    /* Where it changes the tokens behind an id, engine/texts.h sees it. */
    {"config.tokenizer.max_length", QK_MEANING_SELECTS},
    {"config.capture.capture_queries", QK_MEANING_SELECTS},
    {"config.capture.capture_keys", QK_MEANING_SELECTS},
    {"config.capture.layers", QK_MEANING_SELECTS},
    {"config.capture.heads", QK_MEANING_SELECTS},
    {"config.capture.head_sampling", QK_MEANING_SELECTS},
    {"config.capture.full_attention_only", QK_MEANING_SELECTS},
    {"config.capture.sampler", QK_MEANING_SELECTS},
    {"config.capture.min_bucket_size", QK_MEANING_SELECTS},
    {"config.capture.max_rows_per_batch", QK_MEANING_SELECTS},
    {"config.capture.capture_pre_rope", QK_MEANING_DECIDES},
    {"config.capture.allow_nonfinite", QK_MEANING_SELECTS},
    {"config.capture.capture_token_strings", QK_MEANING_SELECTS},
    {"config.capture.per_head_masks", QK_MEANING_SELECTS},
    {"config.output.layout", QK_MEANING_SELECTS},
    {"config.output.vector_encoding", QK_MEANING_SELECTS},
    {"model_config", QK_MEANING_DECIDES},
    {"model_files", QK_MEANING_DECIDES},
    {"tokenizer_files", QK_MEANING_DECIDES},
    {"dataset_files", QK_MEANING_SELECTS},
    {"dataset_id_type", QK_MEANING_SELECTS},
    {"dataset_rows", QK_MEANING_SELECTS},
    {"heads", QK_MEANING_SELECTS},
};

qk_meaning_kind qk_meaning_of(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const char *known = rules[i].path;
        size_t k = strlen(known);
        if (!strncmp(known, path, k) && (!path[k] || path[k] == '.')) return rules[i].kind;
        if (!strncmp(known, path, n) && known[n] == '.') return QK_MEANING_INSIDE;
    }
    return QK_MEANING_UNKNOWN;
}

static const char *compare(const qk_json *then, const qk_json *now, const char *path,
                           qk_arena *arena)
{
    if (!then || !now || then->type != QK_JSON_T_OBJECT) return NULL;
    for (const qk_json *a = then->first; a; a = a->next) {
        const qk_json *b = qk_json_get(now, a->key);
        const char *below = qk_arena_strf(arena, "%s%s%s", path, *path ? "." : "", a->key);
        qk_meaning_kind kind = qk_meaning_of(below);
        if (!b || kind == QK_MEANING_SELECTS) continue;
        const char *found = kind == QK_MEANING_INSIDE
                                ? compare(a, b, below, arena)
                                : qk_identity_difference_at(a, b, below, arena);
        if (found) return found;
    }
    return NULL;
}

const char *qk_meaning_difference(const qk_json *then, const qk_json *now, qk_arena *arena)
{
    return compare(then, now, "", arena);
}

static const qk_json *first_run(const qk_json *manifest)
{
    const qk_json *runs = qk_json_get(manifest, "runs");
    return runs ? runs->first : NULL;
}

const char *qk_meaning_new_run(const qk_json *manifest, const qk_identity *id, qk_arena *arena)
{
    if (qk_manifest_has_run(manifest, id->fingerprint)) return NULL;
    for (const qk_json *r = first_run(manifest); r; r = r->next) {
        const char *found = qk_meaning_difference(qk_json_get(r, "identity"), id->tree, arena);
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
    return qk_meaning_difference(qk_json_get(then, "identity"), qk_json_get(now, "identity"),
                                 arena);
}

const char *qk_meaning_of_manifests(const qk_json *then, const qk_json *now, qk_arena *arena)
{
    for (const qk_json *a = first_run(then); a; a = a->next)
        for (const qk_json *b = first_run(now); b; b = b->next) {
            const char *found = compare_runs(a, b, arena);
            if (found) return found;
        }
    return NULL;
}
