/* What follows from the keys of capture together: states, kinds, and a sampler for each side. See
 * config/keys.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/near_path.h"
#include "engine/config/keys.h"
#include "engine/config/listed_file.h"

/* A value that is given, not null; NULL-safe. */
static const qk_yaml *given(const qk_yaml *map, const char *key)
{
    const qk_yaml *value = qk_yaml_get(map, key);
    return value && value->type != QK_YAML_NULL ? value : NULL;
}

/* capture.rope and the older capture_pre_rope say the same; where both are given they must agree.
 * false and both states do: it only says that they are not all before RoPE. */
static qk_status settle_rope(const qk_config_reader *r, const qk_yaml *capture,
                             qk_config_draft *draft)
{
    const qk_yaml *rope = given(capture, "rope"), *pre = given(capture, "capture_pre_rope");
    qk_config *c = &draft->config;
    if (!rope) return QK_OK;
    bool only_pre = draft->rope == QK_ROPE_PRE;
    if (pre && (c->capture.pre_rope ? !only_pre : only_pre))
        return qk_fail(
            r->err, qk_config_blame(rope), "remove one of them",
            "%s: 'capture.rope' and 'capture.capture_pre_rope: %s' contradict each other",
            qk_config_position(r, rope), c->capture.pre_rope ? "true" : "false");
    c->capture.pre_rope = only_pre;
    c->capture.both_states = draft->rope == (QK_ROPE_PRE | QK_ROPE_POST);
    return QK_OK;
}

static qk_status settle_lse(const qk_config_reader *r, const qk_yaml *capture, const qk_config *c)
{
    if (!c->capture.lse) return QK_OK;
    const char *position = qk_config_position(r, given(capture, "capture_lse"));
    qk_status blame = qk_config_blame(given(capture, "capture_lse"));
    if (!c->capture.queries)
        return qk_fail(r->err, blame, "set capture.capture_queries to true",
                       "%s: 'capture.capture_lse' is a column of queries, and those are off",
                       position);
    if (c->capture.pre_rope)
        return qk_fail(r->err, blame, "write capture.rope: [pre, post]",
                       "%s: 'capture.capture_lse' is a column of queries after the rotary "
                       "embedding, and only those before it are captured",
                       position);
    return QK_OK;
}

/* ---- samplers ---- */

/* Where they are in the tree, for messages. */
typedef struct sampler_maps {
    const qk_yaml *shared, *own; /* capture.sampler, and its part for this side */
    const char *part;            /* "queries" */
} sampler_maps;

static qk_status settle_sampler(const qk_config_reader *r, const sampler_maps *maps,
                                const qk_sampler_draft *shared, const qk_sampler_draft *own,
                                qk_sampler *out)
{
    const qk_sampler limits = *out;
    int64_t first = own->first >= 0 ? own->first : shared->first;
    *out = (qk_sampler){
        .kind = (qk_sampler_kind)(own->kind >= 0 ? own->kind : shared->kind),
        .base_rate = own->base_rate > 0 ? own->base_rate : shared->base_rate,
        .min_bucket_size = limits.min_bucket_size,
        .max_rows = limits.max_rows,
        .first = (int32_t)first,
    };
    const qk_yaml *rate = given(maps->own, "base_rate");
    if (own->positions || shared->positions) {
        if (!rate) return QK_OK;
        return qk_fail(r->err, qk_config_blame(rate), "remove one of them",
                       "%s: 'capture.sampler.%s.base_rate' has no effect: positions are listed, "
                       "not drawn",
                       qk_config_position(r, rate), maps->part);
    }
    if (limits.max_rows <= 0 || first <= limits.max_rows) return QK_OK;
    const qk_yaml *at = own->first >= 0 ? given(maps->own, "first") : given(maps->shared, "first");
    return qk_fail(r->err, qk_config_blame(at),
                   "raise capture.max_rows_per_batch, or lower 'first'",
                   "%s: 'first' is %lld, more than the %lld rows of capture.max_rows_per_batch",
                   qk_config_position(r, at), (long long)first, (long long)limits.max_rows);
}

/* What nothing reads where both sides are listed. */
static qk_status refuse_unread(const qk_config_reader *r, const qk_yaml *capture,
                               const qk_yaml *sampler, const qk_config *c)
{
    const qk_yaml *rate = given(sampler, "base_rate");
    if (rate)
        return qk_fail(r->err, qk_config_blame(rate), "remove it",
                       "%s: 'capture.sampler.base_rate' has no effect: positions are listed, not "
                       "drawn",
                       qk_config_position(r, rate));
    const qk_yaml *limit = given(capture, "max_rows_per_batch");
    if (!limit || c->capture.sampler.max_rows <= 0) return QK_OK;
    return qk_fail(r->err, qk_config_blame(limit), "remove it",
                   "%s: 'capture.max_rows_per_batch' has no effect: positions are listed, and all "
                   "of them are kept",
                   qk_config_position(r, limit));
}

static qk_status read_listed(const qk_config_reader *r, const char *path, const char *id_column,
                             const qk_listed **out)
{
    qk_listed *listed = qk_arena_alloc(r->arena, 1, sizeof *listed);
    if (qk_listed_read(listed, path, r->arena, r->err) != QK_OK) {
        char *near = r->err->status == QK_ERR_NOTFOUND ? qk_near_path(path) : NULL;
        if (near)
            snprintf(r->err->hint, sizeof r->err->hint, "did you mean '%.400s'?", near);
        else if (r->err->status == QK_ERR_NOTFOUND)
            snprintf(r->err->hint, sizeof r->err->hint,
                     "write the path of a file; from the working folder, where it is relative");
        free(near);
        return qk_error_prefix(r->err, "capture.sampler.positions");
    }
    *out = listed;
    if (id_column || !listed->has_other_ids) return QK_OK;
    return qk_fail(r->err, QK_ERR_CONFIG, "set dataset.id_column, or write row numbers",
                   "capture.sampler.positions: %s: not all ids are integers, but without "
                   "dataset.id_column they are row numbers",
                   path);
}

/* Warnings, not errors: one --set may turn a side off for a single run of a configuration. */
static bool first_has_effect(const qk_sampler *s)
{
    return !s->first || s->kind != QK_SAMPLE_ALL || s->listed || s->max_rows > 0;
}

static void warn_of_unused(const qk_config_reader *r, const qk_yaml *capture, const qk_config *c)
{
    const qk_yaml *sampler = qk_yaml_get(capture, "sampler"), *rope = given(capture, "rope");
    const qk_yaml *queries = given(sampler, "queries"), *keys = given(sampler, "keys");
    bool of_keys = c->capture.keys || c->capture.values;
    if (queries && !c->capture.queries)
        qk_warn("%s: 'capture.sampler.queries' has no effect: queries are not captured",
                qk_config_position(r, queries));
    if (keys && !of_keys)
        qk_warn("%s: 'capture.sampler.keys' has no effect: neither keys nor values are captured",
                qk_config_position(r, keys));
    if ((c->capture.queries && !first_has_effect(&c->capture.sampler)) ||
        (of_keys && !first_has_effect(&c->capture.key_sampler)))
        qk_warn("%s: 'first' of capture.sampler has no effect where type is all: every position is "
                "kept",
                r->path);
    if (rope && !c->capture.queries && !c->capture.keys)
        qk_warn("%s: 'capture.rope' has no effect: values are not rotated, and neither queries nor "
                "keys are captured",
                qk_config_position(r, rope));
}

static qk_status settle_samplers(const qk_config_reader *r, const qk_yaml *capture,
                                 qk_config_draft *draft)
{
    qk_config *c = &draft->config;
    const qk_yaml *sampler = qk_yaml_get(capture, "sampler");
    const qk_sampler_draft *shared = &draft->sampler;
    const sampler_maps queries = {sampler, qk_yaml_get(sampler, "queries"), "queries"},
                       keys = {sampler, qk_yaml_get(sampler, "keys"), "keys"};
    qk_sampler *q = &c->capture.sampler, *k = &c->capture.key_sampler;
    *k = *q;
    QK_TRY(settle_sampler(r, &queries, shared, &draft->query_sampler, q));
    QK_TRY(settle_sampler(r, &keys, shared, &draft->key_sampler, k));
    const char *of_q = draft->query_sampler.positions, *of_k = draft->key_sampler.positions;
    if (!of_q) of_q = shared->positions;
    if (!of_k) of_k = shared->positions;
    if (of_q && of_k) QK_TRY(refuse_unread(r, capture, sampler, c));
    if (of_q) QK_TRY(read_listed(r, of_q, c->dataset.id_column, &q->listed));
    if (of_q && of_k && !strcmp(of_q, of_k)) {
        k->listed = q->listed;
        return QK_OK;
    }
    return of_k ? read_listed(r, of_k, c->dataset.id_column, &k->listed) : QK_OK;
}

qk_status qk_config_settle_capture(const qk_config_reader *r, const qk_yaml *root,
                                   qk_config_draft *draft)
{
    const qk_config *c = &draft->config;
    const qk_yaml *capture = qk_yaml_get(root, "capture");
    if (!c->capture.queries && !c->capture.keys && !c->capture.values)
        return qk_fail(r->err, QK_ERR_CONFIG,
                       "set capture.capture_queries or capture.capture_keys to true",
                       "%s: nothing to capture: both queries and keys are off", r->path);
    QK_TRY(settle_rope(r, capture, draft));
    QK_TRY(settle_lse(r, capture, c));
    QK_TRY(settle_samplers(r, capture, draft));
    warn_of_unused(r, capture, c);
    return QK_OK;
}
