/* Layers and heads, listed or sampled. See heads.h; next: sampler/example_id.h */
#include "sampler/heads.h"

#include <stdlib.h>

/* Tables of flags over the whole model, from which the plan is read off. */
typedef struct selection {
    const qk_head_model *model;
    bool *layers; /* [n_layers] chosen and not filtered */
    bool *heads;  /* [n_q_heads] listed, or all */
    bool *q, *k;  /* [n_layers, n_q_heads], [n_layers, n_k_heads] */
} selection;

/* Marks the listed entries in flags[n], or all when nothing is listed. Returns the first entry
 * outside 0 .. n-1, or NULL. */
static const int64_t *mark(bool *flags, int32_t n, const int64_t *listed, size_t count)
{
    for (int32_t i = 0; i < n; i++) flags[i] = count == 0;
    for (size_t i = 0; i < count; i++) {
        if (listed[i] < 0 || listed[i] >= n) return &listed[i];
        flags[listed[i]] = true;
    }
    return NULL;
}

/* Every listed head must exist wherever it will be captured. */
static qk_status check_heads(const qk_head_model *m, const qk_head_choice *c, qk_error *err)
{
    bool queries = c->capture_queries || c->sample;
    bool keys = (c->capture_keys || c->capture_values) && !c->sample;
    for (size_t i = 0; i < c->n_heads; i++) {
        long long head = (long long)c->heads[i];
        if (queries && (head < 0 || head >= m->n_q_heads))
            return qk_fail(err, QK_ERR_CONFIG, NULL,
                           "capture.heads: there is no query head %lld; the model has query heads "
                           "0 to %d",
                           head, m->n_q_heads - 1);
        if (keys && (head < 0 || head >= m->n_k_heads))
            return qk_fail(err, QK_ERR_CONFIG,
                           c->capture_values
                               ? "heads counts for queries, keys and values alike: set "
                                 "capture.capture_keys and capture.capture_values to false, or use "
                                 "capture.head_sampling, where it means query heads"
                               : "heads counts for queries and keys alike: set "
                                 "capture.capture_keys to false, or use capture.head_sampling, "
                                 "where it means query heads",
                           "capture.heads: there is no key head %lld; the model has key heads 0 to "
                           "%d",
                           head, m->n_k_heads - 1);
    }
    return QK_OK;
}

static qk_status check_choice(const qk_head_model *m, const qk_head_choice *c, qk_error *err)
{
    if (!c->capture_queries && !c->capture_keys && !c->capture_values)
        return qk_fail(err, QK_ERR_CONFIG, "set one of them, or capture.capture_values, to true",
                       "capture.capture_queries and capture.capture_keys are both false: there is "
                       "nothing to capture");
    if (c->sample && c->sample_count < 1)
        return qk_fail(err, QK_ERR_CONFIG, "remove head_sampling to capture every head",
                       "capture.head_sampling.count: %lld is not a number of heads",
                       (long long)c->sample_count);
    return check_heads(m, c, err);
}

static qk_status choose_layers(selection *s, const qk_head_choice *c, qk_error *err)
{
    const qk_head_model *m = s->model;
    const int64_t *bad = mark(s->layers, m->n_layers, c->layers, c->n_layers);
    if (bad)
        return qk_fail(err, QK_ERR_CONFIG, NULL,
                       "capture.layers: there is no layer %lld; the model has layers 0 to %d",
                       (long long)*bad, m->n_layers - 1);
    for (size_t i = 0; i < c->n_layers; i++)
        if (m->absent && m->absent[c->layers[i]])
            return qk_fail(err, QK_ERR_CONFIG, "take it out of the list",
                           "capture.layers: layer %lld has no self-attention, so no queries and "
                           "keys to capture",
                           (long long)c->layers[i]);
    int32_t left = 0;
    for (int32_t layer = 0; layer < m->n_layers; layer++) {
        if (m->absent && m->absent[layer]) s->layers[layer] = false;
        if (c->full_attention_only && m->sliding && m->sliding[layer]) s->layers[layer] = false;
        left += s->layers[layer];
    }
    if (left == 0)
        return qk_fail(err, QK_ERR_CONFIG, "set capture.full_attention_only to false",
                       "capture.full_attention_only: every chosen layer has a sliding window, so "
                       "there is nothing to capture");
    return QK_OK;
}

static void choose_sampled(selection *s, const qk_head_choice *c)
{
    uint32_t n = 0, n_q = (uint32_t)s->model->n_q_heads, n_k = (uint32_t)s->model->n_k_heads;
    mark(s->heads, (int32_t)n_q, c->heads, c->n_heads);
    /* Indices layer * n_q_heads + head of all candidates, ascending. */
    uint32_t *candidates = qk_alloc((size_t)s->model->n_layers * n_q, sizeof *candidates);
    for (uint32_t i = 0; i < (uint32_t)s->model->n_layers * n_q; i++)
        if (s->layers[i / n_q] && s->heads[i % n_q]) candidates[n++] = i;
    uint32_t wanted = c->sample_count < n ? (uint32_t)c->sample_count : n;
    uint32_t *picks = qk_alloc(n, sizeof *picks);
    qk_mt19937 g;
    qk_python_seed_apply(&g, &c->sample_seed);
    qk_python_sample(&g, n, wanted, picks); /* of all n: some order of all */
    for (uint32_t i = 0; i < wanted; i++) {
        uint32_t chosen = candidates[picks[i]], layer = chosen / n_q, head = chosen % n_q;
        s->q[chosen] = true;
        s->k[layer * n_k + head / (n_q / n_k)] = true;
    }
    free(picks);
    free(candidates);
}

static const int32_t *list_flags(qk_arena *arena, const bool *flags, int32_t n, int32_t *count)
{
    *count = 0;
    for (int32_t i = 0; i < n; i++) *count += flags[i];
    int32_t *items = qk_arena_alloc(arena, (size_t)*count + 1, sizeof *items), next = 0;
    for (int32_t i = 0; i < n; i++)
        if (flags[i]) items[next++] = i;
    return items;
}

static void read_off(qk_head_plan *plan, const selection *s, const qk_head_choice *c)
{
    const qk_head_model *m = s->model;
    plan->both_states = c->both_states;
    plan->layers = qk_arena_alloc(&plan->arena, (size_t)m->n_layers, sizeof *plan->layers);
    for (int32_t layer = 0; layer < m->n_layers; layer++) {
        qk_layer_heads row = {.layer = layer};
        int32_t n_q = c->capture_queries ? m->n_q_heads : 0;
        int32_t n_k = c->capture_keys ? m->n_k_heads : 0;
        int32_t n_v = c->capture_values ? m->n_k_heads : 0;
        const bool *k = s->k + (size_t)layer * (size_t)m->n_k_heads;
        row.q =
            list_flags(&plan->arena, s->q + (size_t)layer * (size_t)m->n_q_heads, n_q, &row.n_q);
        row.k = list_flags(&plan->arena, k, n_k, &row.n_k);
        row.v = list_flags(&plan->arena, k, n_v, &row.n_v);
        if (row.n_q + row.n_k + row.n_v == 0) continue;
        plan->layers[plan->n_layers++] = row;
        plan->last_layer = layer;
        plan->n_q += row.n_q;
        plan->n_k += row.n_k;
        plan->n_v += row.n_v;
    }
}

qk_status qk_head_plan_make(qk_head_plan *plan, const qk_head_model *model,
                            const qk_head_choice *choice, qk_error *err)
{
    *plan = (qk_head_plan){0};
    if (model->n_layers < 1 || model->n_layers > QK_MAX_HEADS || model->n_k_heads < 1 ||
        model->n_q_heads < model->n_k_heads || model->n_q_heads > QK_MAX_HEADS ||
        model->n_q_heads % model->n_k_heads)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "a model of %d layers with %d query and %d key heads cannot be",
                       model->n_layers, model->n_q_heads, model->n_k_heads);
    QK_TRY(check_choice(model, choice, err));
    qk_arena scratch = {0};
    size_t n_layers = (size_t)model->n_layers;
    size_t n_q = (size_t)model->n_q_heads, n_k = (size_t)model->n_k_heads;
    selection s = {.model = model,
                   .layers = qk_arena_alloc(&scratch, n_layers, 1),
                   .heads = qk_arena_alloc(&scratch, n_q, 1),
                   .q = qk_arena_alloc(&scratch, n_layers, n_q),
                   .k = qk_arena_alloc(&scratch, n_layers, n_k)};
    qk_status status = choose_layers(&s, choice, err);
    if (status == QK_OK) {
        if (choice->sample) choose_sampled(&s, choice);
        for (size_t l = 0; l < n_layers && !choice->sample; l++) {
            /* check_heads saw to it that every entry exists on a captured side. */
            if (s.layers[l] && choice->capture_queries)
                mark(s.q + l * n_q, model->n_q_heads, choice->heads, choice->n_heads);
            if (s.layers[l] && (choice->capture_keys || choice->capture_values))
                mark(s.k + l * n_k, model->n_k_heads, choice->heads, choice->n_heads);
        }
        read_off(plan, &s, choice);
    }
    qk_arena_free(&scratch);
    return status;
}

void qk_head_plan_free(qk_head_plan *plan)
{
    qk_arena_free(&plan->arena);
    *plan = (qk_head_plan){0};
}

int32_t qk_head_plan_heads(const qk_head_plan *plan, const qk_layer_heads *l, qk_kind kind,
                           const int32_t **heads)
{
    switch (kind) {
    case QK_KIND_Q_PRE:
        if (!plan->both_states) return 0; /* fallthrough */
    case QK_KIND_Q: *heads = l->q; return l->n_q;
    case QK_KIND_K_PRE:
        if (!plan->both_states) return 0; /* fallthrough */
    case QK_KIND_K: *heads = l->k; return l->n_k;
    case QK_KIND_V: *heads = l->v; return l->n_v;
    }
    return 0;
}

int64_t qk_head_plan_files(const qk_head_plan *plan)
{
    return (int64_t)(plan->n_q + plan->n_k) * (plan->both_states ? 2 : 1) + plan->n_v;
}
