/* See describe_attention.h. */
#include "engine/run/describe_attention.h"

#include "engine/base/error.h"

static void add_factors(qk_json_out *o, const char *key, const double *factors, int n)
{
    qk_json_begin(o, key, '[');
    for (int i = 0; i < n; i++) qk_json_add_num(o, NULL, factors[i]);
    qk_json_end(o, ']');
}

static void add_rope(qk_json_out *o, const qk_rope *r, bool interleaved)
{
    bool has_original =
        r->type == QK_ROPE_LLAMA3 || r->type == QK_ROPE_YARN || r->type == QK_ROPE_LONGROPE;
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "type", qk_rope_type_name(r->type));
    qk_json_add_num(o, "theta", r->theta);
    qk_json_add_num(o, "factor", r->factor);
    if (has_original && r->original == (double)(int64_t)r->original)
        qk_json_add_int(o, "original", (int64_t)r->original);
    else if (has_original)
        qk_json_add_num(o, "original", r->original);
    else
        qk_json_add_null(o, "original");
    qk_json_add_int(o, "rotary", r->rotary);
    qk_json_add_str(o, "pairs", interleaved ? "interleaved" : "half");
    qk_json_add_num(o, "attention_factor", r->attention_factor);
    switch (r->type) {
    case QK_ROPE_DEFAULT:
    case QK_ROPE_LINEAR: break;
    case QK_ROPE_DYNAMIC: qk_json_add_num(o, "max_position_embeddings", r->max_position); break;
    case QK_ROPE_LLAMA3:
        qk_json_add_num(o, "low_freq_factor", r->low);
        qk_json_add_num(o, "high_freq_factor", r->high);
        break;
    case QK_ROPE_YARN:
        qk_json_add_num(o, "beta_fast", r->beta_fast);
        qk_json_add_num(o, "beta_slow", r->beta_slow);
        qk_json_add_bool(o, "truncate", r->truncate);
        break;
    case QK_ROPE_LONGROPE:
        add_factors(o, "short_factor", r->short_factor, r->rotary / 2);
        add_factors(o, "long_factor", r->long_factor, r->rotary / 2);
        break;
    }
    qk_json_end(o, '}');
}

static void add_layer(qk_json_out *o, int number, const qk_layer_spec *l)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_int(o, "layer", number);
    qk_json_add_str(o, "type",
                    l->absent   ? "none"
                    : l->window ? "sliding_attention"
                                : "full_attention");
    if (l->window && !l->absent)
        qk_json_add_int(o, "window", l->window);
    else
        qk_json_add_null(o, "window");
    if (l->rope >= 0 && !l->absent)
        qk_json_add_int(o, "rope", l->rope);
    else
        qk_json_add_null(o, "rope");
    qk_json_end(o, '}');
}

static void add_query_scale(qk_json_out *o, const qk_spec *s)
{
    if (!(s->q_scale_beta > 0)) {
        qk_json_add_null(o, "query_scale_by_position");
        return;
    }
    qk_json_begin(o, "query_scale_by_position", '{');
    qk_json_add_str(o, "rule", "1 + beta * ln(1 + floor(position / length))");
    qk_json_add_num(o, "beta", s->q_scale_beta);
    qk_json_add_num(o, "length", s->q_scale_length);
    qk_json_end(o, '}');
}

const qk_json *qk_describe_attention(const qk_spec *s, qk_arena *arena)
{
    qk_json_out o = {.compact = true};
    const qk_json *tree;
    qk_error err;
    bool has_norm = (*s->family->names)[QK_W_Q_NORM] != NULL;
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "model_type", s->family->model_type);
    qk_json_add_int(&o, "query_heads", s->H);
    qk_json_add_int(&o, "key_heads", s->K);
    qk_json_add_num(&o, "scale", (double)s->attention_scale);
    if (s->soft_cap > 0)
        qk_json_add_num(&o, "soft_cap", (double)s->soft_cap);
    else
        qk_json_add_null(&o, "soft_cap");
    qk_json_begin(&o, "rope", '[');
    for (int i = 0; i < s->n_ropes; i++) add_rope(&o, &s->ropes[i], s->interleaved);
    qk_json_end(&o, ']');
    add_query_scale(&o, s);
    qk_json_begin(&o, "layers", '[');
    for (int l = 0; l < s->layers; l++) add_layer(&o, l, &s->layer[l]);
    qk_json_end(&o, ']');
    qk_json_add_str(&o, "qk_norm", !has_norm ? NULL : s->qk_norm_whole ? "whole" : "head");
    qk_json_end(&o, '}');
    QK_ASSERT(qk_json_parse(arena, (const char *)o.buf.data, o.buf.size, "attention", &tree,
                            &err) == QK_OK);
    qk_buf_free(&o.buf);
    return tree;
}
