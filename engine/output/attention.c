/* See attention.h. From top to bottom: runs of a manifest, how they drew, the text, the card's rows. */
#include "engine/output/attention.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "sampler/positions.h"

/* ---- runs ---- */

typedef struct run {
    const char *fingerprint; /* or NULL */
    const qk_json *identity;
} run;

typedef struct runs {
    const qk_manifest *m;
    const qk_attention_file *file;
    run *items;
    size_t count, capacity;
} runs;

static const qk_json *capture_of(const qk_json *identity)
{
    return qk_json_get(qk_json_get(identity, "config"), "capture");
}

static bool has_both_states(const qk_json *capture)
{
    const qk_json *list = qk_json_get(capture, "rope");
    return list && list->type == QK_JSON_T_ARRAY && list->count == 2;
}

/* Whether the run captures the head of the file: q, k and v of its layer list those that it does, and
 * files of their own for vectors before RoPE are made by runs of both states. */
static bool captures(const qk_json *identity, const qk_attention_file *file)
{
    bool beside = file->kind == QK_KIND_Q_PRE || file->kind == QK_KIND_K_PRE;
    if (beside && !has_both_states(capture_of(identity))) return false;
    const char *key = file->kind == QK_KIND_V                     ? "v"
                      : qk_kind_drawn_as(file->kind) == QK_KIND_Q ? "q"
                                                                  : "k";
    const qk_json *layers = qk_json_get(identity, "heads");
    for (const qk_json *l = layers ? layers->first : NULL; l; l = l->next) {
        const qk_json *number = qk_json_get(l, "layer"), *heads = qk_json_get(l, key);
        if (!number || !number->is_integer || number->integer != file->layer) continue;
        for (const qk_json *h = heads ? heads->first : NULL; h; h = h->next)
            if (h->is_integer && h->integer == file->head) return true;
    }
    return false;
}

static void add_run(void *context, const qk_json *tree)
{
    runs *list = context;
    const qk_json *print = qk_json_get(tree, "fingerprint");
    run r = {print && print->type == QK_JSON_T_STRING ? print->text : NULL,
             qk_json_get(tree, "identity")};
    if (!tree) r = (run){list->m->run->id->fingerprint, list->m->run->id->tree};
    if (list->file && !captures(r.identity, list->file)) return;
    QK_GROW(list->items, list->count, list->capacity);
    list->items[list->count++] = r;
}

static runs list_runs(const qk_manifest *m, const qk_attention_file *file)
{
    runs list = {.m = m, .file = file};
    qk_manifest_each_run(m, add_run, &list);
    return list;
}

static bool is_true(const qk_json *object, const char *key)
{
    const qk_json *v = qk_json_get(object, key);
    return v && v->type == QK_JSON_T_BOOL && v->boolean;
}

/* ---- how a run drew ---- */

/* Queries, or keys and values. */
typedef struct side {
    bool captured, is_known, listed;
    const qk_json *tree; /* capture.sampler, or its part for keys */
    qk_sampler sampler;
} side;

static void read_sampler(side *s, const qk_json *capture)
{
    const qk_json *type = qk_json_get(s->tree, "type"), *rate = qk_json_get(s->tree, "base_rate"),
                  *size = qk_json_get(capture, "min_bucket_size");
    qk_sampler *out = &s->sampler;
    s->listed = qk_json_get(s->tree, "positions_sha256") != NULL;
    for (int kind = QK_SAMPLE_LOG_UNIFORM; kind <= QK_SAMPLE_ALL; kind++)
        if (qk_json_is_string(type, qk_sampler_kind_name((qk_sampler_kind)kind)))
            out->kind = (qk_sampler_kind)kind, s->is_known = true;
    bool has_rate = rate && rate->type == QK_JSON_T_NUMBER && rate->number > 0;
    bool has_size = size && size->is_integer && size->integer > 0 && size->integer <= 1LL << 31;
    s->is_known &= has_size && (has_rate || s->listed || out->kind == QK_SAMPLE_ALL);
    if (has_rate) out->base_rate = rate->number;
    if (has_size) out->min_bucket_size = size->integer;
}

static void read_sides(const run *r, side *queries, side *keys)
{
    const qk_json *capture = capture_of(r->identity), *sampler = qk_json_get(capture, "sampler"),
                  *own = qk_json_get(sampler, "keys");
    *queries = (side){.captured = is_true(capture, "capture_queries"), .tree = sampler};
    *keys =
        (side){.captured = is_true(capture, "capture_keys") || is_true(capture, "capture_values"),
               .tree = own ? own : sampler};
    read_sampler(queries, capture);
    read_sampler(keys, capture);
}

/* Exact: sums of multiples of 2^-24 below 2^26. */
static double probability(const qk_sampler *s, int32_t position)
{
    return qk_sampler_expected_rows(s, position + 1) - qk_sampler_expected_rows(s, position);
}

/* What positions of one entry have in common. */
typedef struct bucket {
    int32_t q, k;
    double probability_q, probability_k; /* below 0: null */
} bucket;

static bucket bucket_at(const side *queries, const side *keys, int32_t position)
{
    bucket b = {.probability_q = -1, .probability_k = -1};
    if (queries->captured) b.q = qk_sampler_bucket(&queries->sampler, position);
    if (keys->captured) b.k = qk_sampler_bucket(&keys->sampler, position);
    if (queries->captured && !queries->listed)
        b.probability_q = probability(&queries->sampler, position);
    if (keys->captured && !keys->listed) b.probability_k = probability(&keys->sampler, position);
    return b;
}

/* The first position behind those that share a bucket, or only a probability, with this one. Buckets
 * ascend with the position, and probabilities do not grow. */
static int32_t end_of(const side *queries, const side *keys, int32_t position, bool buckets)
{
    bucket here = bucket_at(queries, keys, position);
    int32_t same = position, other = QK_SAMPLER_MAX_TOKENS - 1;
    for (;;) {
        int32_t middle = same + (other - same + 1) / 2;
        bucket b = bucket_at(queries, keys, middle);
        bool equal = buckets ? b.q == here.q && b.k == here.k
                             : b.probability_q == here.probability_q &&
                                   b.probability_k == here.probability_k;
        if (equal)
            same = middle;
        else
            other = middle - 1;
        if (same >= other) return same + 1;
    }
}

static void add_probability(qk_json_out *o, const char *key, double value)
{
    if (value < 0)
        qk_json_add_null(o, key);
    else
        qk_json_add_num(o, key, value);
}

static void add_buckets(qk_json_out *o, const side *queries, const side *keys, int64_t positions)
{
    bool is_known = (queries->captured || keys->captured) &&
                    (!queries->captured || queries->is_known) &&
                    (!keys->captured || keys->is_known);
    if (!is_known) {
        qk_json_add_null(o, "buckets");
        return;
    }
    bool own = queries->captured && keys->captured && queries->sampler.kind != keys->sampler.kind;
    size_t n = 0;
    for (int32_t p = 0; p < positions && n <= QK_ATTENTION_MAX_BUCKETS; n++)
        p = end_of(queries, keys, p, true);
    bool each = n <= QK_ATTENTION_MAX_BUCKETS;
    qk_json_begin(o, "buckets", '[');
    for (int32_t p = 0, end; p < positions; p = end) {
        bucket b = bucket_at(queries, keys, p);
        end = end_of(queries, keys, p, each);
        qk_json_begin(o, NULL, '{');
        if (each)
            qk_json_add_int(o, "bucket", queries->captured ? b.q : b.k);
        else
            qk_json_add_null(o, "bucket");
        if (each && own) qk_json_add_int(o, "key_bucket", b.k);
        qk_json_add_int(o, "first", p);
        qk_json_add_int(o, "last", end - 1);
        add_probability(o, "probability_q", b.probability_q);
        add_probability(o, "probability_k", b.probability_k);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
}

static void add_copy(qk_json_out *o, const qk_json *from, const char *key)
{
    const qk_json *v = qk_json_get(from, key);
    if (v) qk_json_add_tree(o, key, v);
}

static void add_side(qk_json_out *o, const char *key, const side *s, const qk_json *capture)
{
    const qk_json *limit = qk_json_get(capture, "max_rows_per_batch"),
                  *first = qk_json_get(s->tree, "first");
    if (!s->captured) {
        qk_json_add_null(o, key);
        return;
    }
    qk_json_begin(o, key, '{');
    add_copy(o, s->tree, "type");
    add_copy(o, s->tree, "base_rate");
    add_copy(o, capture, "min_bucket_size");
    if (limit)
        qk_json_add_tree(o, "max_rows", limit);
    else
        qk_json_add_null(o, "max_rows");
    qk_json_add_int(o, "first", first && first->is_integer ? first->integer : 0);
    add_copy(o, s->tree, "positions_sha256");
    qk_json_end(o, '}');
}

static void add_drawn(qk_json_out *o, const run *r, int64_t positions)
{
    const qk_json *longest =
        qk_json_get(qk_json_get(qk_json_get(r->identity, "config"), "tokenizer"), "max_length");
    side queries, keys;
    read_sides(r, &queries, &keys);
    if (longest && longest->is_integer && longest->integer > 0 && longest->integer < positions)
        positions = longest->integer;
    if (positions > QK_SAMPLER_MAX_TOKENS) positions = QK_SAMPLER_MAX_TOKENS;
    qk_json_begin(o, NULL, '{');
    if (r->fingerprint)
        qk_json_add_strn(o, "fingerprint", r->fingerprint, strnlen(r->fingerprint, 12));
    add_side(o, "queries", &queries, capture_of(r->identity));
    add_side(o, "keys", &keys, capture_of(r->identity));
    add_buckets(o, &queries, &keys, positions);
    qk_json_end(o, '}');
}

/* ---- the text ---- */

static void add_states(qk_json_out *o, const runs *list)
{
    if (!list->count) return;
    bool pre = is_true(capture_of(list->items->identity), "capture_pre_rope"), both = false;
    for (size_t i = 0; i < list->count; i++)
        both |= has_both_states(capture_of(list->items[i].identity));
    qk_json_add_str(o, "state", pre ? "pre" : "post");
    qk_json_begin(o, "states", '[');
    if (pre || both) qk_json_add_str(o, NULL, "pre");
    if (!pre || both) qk_json_add_str(o, NULL, "post");
    qk_json_end(o, ']');
}

void qk_attention_write(qk_buf *out, const qk_manifest *m, const qk_attention_file *file,
                        int64_t positions)
{
    static const char *const heads[] = {"query_heads", "key_heads", "scale", "soft_cap"},
                             *const turns[] = {"rope", "query_scale_by_position", "layers",
                                               "qk_norm"};
    runs list = list_runs(m, file);
    const qk_json *model = qk_manifest_attention(m),
                  *identity = list.count ? list.items->identity : NULL,
                  *config = qk_json_get(qk_json_get(identity, "config"), "model"),
                  *name = qk_json_get(config, "name");
    qk_json_out o = {.buf = *out, .compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "format", "qkengine attention 1");
    if (name) qk_json_add_tree(&o, "model", name);
    add_copy(&o, model, "model_type");
    add_copy(&o, config, "dtype");
    add_copy(&o, identity, "model_files");
    add_copy(&o, identity, "tokenizer_files");
    qk_json_add_int(&o, "head_dim", m->head_dim);
    for (size_t i = 0; i < 4; i++) add_copy(&o, model, heads[i]);
    add_states(&o, &list);
    for (size_t i = 0; i < 4; i++) add_copy(&o, model, turns[i]);
    qk_json_begin(&o, "runs", '[');
    for (size_t i = 0; i < list.count; i++) add_drawn(&o, &list.items[i], positions);
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    *out = o.buf;
    free(list.items);
}

static int64_t number_of_heads(const qk_json *model, const char *key)
{
    const qk_json *v = qk_json_get(model, key);
    return v && v->is_integer && v->integer > 0 && v->integer <= 1 << 20 ? v->integer : 0;
}

void qk_attention_write_head(qk_buf *out, const qk_manifest *m, const qk_attention_file *file)
{
    const qk_json *model = qk_manifest_attention(m);
    int64_t query_heads = number_of_heads(model, "query_heads"),
            key_heads = number_of_heads(model, "key_heads"),
            group = key_heads && query_heads % key_heads == 0 ? query_heads / key_heads : 0;
    bool query = qk_kind_drawn_as(file->kind) == QK_KIND_Q;
    bool pre = file->kind == QK_KIND_Q_PRE || file->kind == QK_KIND_K_PRE;
    runs list = list_runs(m, file);
    if (list.count) pre |= is_true(capture_of(list.items->identity), "capture_pre_rope");
    free(list.items);
    qk_json_out o = {.buf = *out, .compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_int(&o, "layer", file->layer);
    qk_json_add_int(&o, "head", file->head);
    qk_json_add_str(&o, "kind", qk_kind_name(file->kind));
    qk_json_add_str(&o, "state", file->kind == QK_KIND_V ? NULL : pre ? "pre" : "post");
    if (group) {
        int64_t key_head = query ? file->head / group : file->head;
        qk_json_add_int(&o, "key_head", key_head);
        qk_json_begin(&o, "query_heads", '[');
        for (int64_t i = 0; i < group; i++) qk_json_add_int(&o, NULL, key_head * group + i);
        qk_json_end(&o, ']');
    } else {
        qk_json_add_null(&o, "key_head");
        qk_json_add_null(&o, "query_heads");
    }
    qk_json_end(&o, '}');
    *out = o.buf;
}
