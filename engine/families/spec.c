/* config.json -> qk_spec: the keys that every family shares. See family.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/families/known_keys.h"
#include "engine/families/overrides.h"
#include "formats/mistaken.h"

/* Far above every real model; keeps products of two sizes within 64 bits and typos visible. */
enum { MAX_LAYERS = 4096, MAX_WIDTH = 1 << 20, MAX_VOCAB = 1 << 24, MAX_BYTES = 16 << 20 };

/* ---- which family ---- */

static qk_status find_family(const char *type, const char *where, const qk_family **out,
                             qk_error *err)
{
    *out = qk_family_find(type);
    if (*out) return QK_OK;
    char known[512] = "known: ";
    for (size_t i = 0; qk_families[i]; i++) {
        if (i) strncat(known, ", ", sizeof known - strlen(known) - 1);
        strncat(known, qk_families[i]->model_type, sizeof known - strlen(known) - 1);
    }
    return qk_fail(err, QK_ERR_UNSUPPORTED, known, "%s: model_type '%s' is not supported", where,
                   type);
}

/* The family of an object with a model_type; `silent` when it has none and may do without. */
static qk_status family_of(const qk_json *object, const char *silent, const char *where,
                           const qk_family **out, qk_error *err)
{
    const qk_json *type = qk_json_get(object, "model_type");
    if (!type && silent) return find_family(silent, where, out, err);
    if (!type)
        return qk_fail(err, QK_ERR_FORMAT, "is this the folder of a Hub model?",
                       "%s: 'model_type' is missing", where);
    if (type->type != QK_JSON_T_STRING)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: 'model_type' is not a string", where);
    return find_family(type->text, where, out, err);
}

/* Fills spec->family, wrapper, config and text. */
static qk_status find_text_model(qk_spec *s, const qk_json *file, const qk_json *overrides,
                                 const char *where, qk_arena *arena, qk_error *err)
{
    const char *text_key = NULL;
    const qk_json *text = file;
    QK_TRY(family_of(file, NULL, where, &s->family, err));
    if (s->family->text_type) {
        s->wrapper = s->family;
        text_key = "text_config";
        text = qk_json_get(file, text_key);
        if (!text || text->type != QK_JSON_T_OBJECT)
            return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: '%s' is %s, not an object", where,
                           text_key, qk_json_type_name(text));
    }
    const char *silent = s->wrapper ? s->wrapper->text_type : NULL;
    /* The text model's kinds of RoPE, by the file alone. */
    const qk_json *type = qk_json_get(text, "model_type");
    const char *name = type && type->type == QK_JSON_T_STRING ? type->text : silent;
    const qk_family *family = name ? qk_family_find(name) : NULL;
    qk_rope_kinds kinds = family && family->local_theta_key ? QK_ROPE_BY_LAYER_TYPE : QK_ROPE_ONE;
    QK_TRY(qk_config_merge(arena, file, overrides, text_key, kinds, where, &s->config, err));
    s->text = text_key ? qk_json_get(s->config, text_key) : s->config;
    QK_TRY(family_of(s->text, silent, where, &s->family, err));
    if (s->family->text_type)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the text model of '%s' is a '%s'", where,
                       s->wrapper ? s->wrapper->model_type : "?", s->family->model_type);
    return QK_OK;
}

/* ---- keys ---- */

static qk_status read_activation(qk_spec *s, const qk_spec_reader *r)
{
    static const struct {
        const char *name;
        qk_activation act;
    } known[] = {{"silu", QK_SILU},
                 {"swish", QK_SILU},
                 {"gelu", QK_GELU},
                 {"gelu_pytorch_tanh", QK_GELU_TANH},
                 {"gelu_new", QK_GELU_TANH}};
    const char *key = s->family->activation_key ? s->family->activation_key : "hidden_act";
    const char *name = s->family->activation ? s->family->activation : "silu";
    const qk_json *v = qk_json_get(r->config, key);
    if (v && v->type == QK_JSON_T_STRING)
        name = v->text;
    else if (v && v->type != QK_JSON_T_NULL)
        name = qk_json_type_name(v);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            s->act = known[i].act;
            return QK_OK;
        }
    return qk_fail(r->err, QK_ERR_UNSUPPORTED, "known: silu, gelu, gelu_pytorch_tanh",
                   "%s: %s '%s' is not supported", r->where, key, name);
}

static qk_status refuse_quantised(const qk_json *config, const char *where, qk_error *err)
{
    const qk_json *q = qk_json_get(config, "quantization_config");
    if (!q || q->type == QK_JSON_T_NULL) return QK_OK;
    const qk_json *method = qk_json_get(q, "quant_method");
    return qk_fail(err, QK_ERR_UNSUPPORTED, "use the unquantised checkpoint of this model",
                   "%s: quantised checkpoints are not supported (%s)", where,
                   method && method->type == QK_JSON_T_STRING ? method->text : "unknown method");
}

static int64_t or_required(int fallback)
{
    return fallback ? fallback : QK_KEY_REQUIRED;
}

static bool is_null(const qk_spec_reader *r, const char *key)
{
    const qk_json *v = qk_json_get(r->config, key);
    return v && v->type == QK_JSON_T_NULL;
}

static qk_status read_sizes(qk_spec *s, const qk_spec_reader *r)
{
    const qk_family *f = s->family;
    struct {
        const char *key;
        int64_t fallback, max;
        int *out;
    } sizes[] = {
        {"hidden_size", or_required(f->hidden), MAX_WIDTH, &s->D},
        {"num_hidden_layers", or_required(f->layers), MAX_LAYERS, &s->layers},
        {"num_attention_heads", or_required(f->heads), MAX_WIDTH, &s->H},
        {"vocab_size", or_required(f->vocab), MAX_VOCAB, &s->V},
        {"intermediate_size", or_required(f->ffn), MAX_WIDTH, &s->F},
        {"num_key_value_heads", is_null(r, "num_key_value_heads") ? 0 : f->kv_heads, MAX_WIDTH,
         &s->K},
        {"head_dim", is_null(r, "head_dim") ? 0 : f->head_dim, MAX_WIDTH, &s->d},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t v;
        QK_TRY(qk_key_int(r, sizes[i].key, sizes[i].fallback, 1, sizes[i].max, &v));
        *sizes[i].out = (int)v;
    }
    s->V += s->family->extra_embeddings;
    if (!s->K) s->K = s->H;
    if (!s->d && s->D % s->H)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL,
                       "%s: hidden_size %d is not divisible by num_attention_heads %d", r->where,
                       s->D, s->H);
    if (!s->d) s->d = s->D / s->H;
    return QK_OK;
}

static qk_status check_heads(const qk_spec *s, const qk_spec_reader *r)
{
    if (s->K > s->H)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL,
                       "%s: num_key_value_heads %d exceeds num_attention_heads %d", r->where, s->K,
                       s->H);
    if (s->H % s->K)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL,
                       "%s: num_attention_heads %d is not divisible by num_key_value_heads %d",
                       r->where, s->H, s->K);
    if (s->d % 2 || s->d > 1024)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: head_dim %d is odd or over 1024", r->where,
                       s->d);
    return QK_OK;
}

static qk_status read_bias(const qk_spec_reader *r, qk_bias rule, const char *key, bool *out)
{
    *out = rule == QK_BIAS_ALWAYS;
    if (rule < QK_BIAS_KEY) return QK_OK;
    return qk_key_bool(r, key, rule == QK_BIAS_KEY_OR_TRUE, out);
}

/* ---- RoPE ---- */

/* One RoPE for all layers or, by layer type, one for layers without a window and one for those
 * with. */
static qk_status read_ropes(qk_spec *s, const qk_spec_reader *r)
{
    qk_rope *ropes = qk_arena_alloc(r->arena, 2, sizeof *ropes);
    const qk_family *f = s->family;
    qk_rope_defaults silent = {.theta = f->theta ? f->theta : 10000,
                               .partial = f->partial_rotary,
                               .max_position = f->max_position ? f->max_position : 2048,
                               .original = f->original_position};
    const qk_json *all = qk_json_get(r->config, "rope_parameters"), *full = all;
    if (f->local_theta_key) /* its own object over the keys that stand beside it */
        full = qk_config_overlay(r->arena, all, qk_json_get(all, "full_attention"));
    s->ropes = ropes;
    s->n_ropes = f->local_theta_key ? 2 : 1;
    QK_TRY(qk_rope_read(&ropes[0], full, r->config, s->d, &silent, r->arena, r->where, r->err));
    if (s->n_ropes == 1) return QK_OK;
    for (int l = 0; l < s->layers; l++)
        if (s->layer[l].window && s->layer[l].rope == 0) s->layer[l].rope = 1;
    QK_TRY(qk_key_num(r, f->local_theta_key, f->local_theta, &silent.theta));
    return qk_rope_read(&ropes[1], qk_json_get(all, "sliding_attention"), r->config, s->d, &silent,
                        r->arena, r->where, r->err);
}

/* ---- all of it ---- */

static qk_status read_text_model(qk_spec *s, const qk_spec_reader *r)
{
    const qk_family *f = s->family;
    double eps;
    QK_TRY(refuse_quantised(r->config, r->where, r->err));
    QK_TRY(read_sizes(s, r));
    QK_TRY(check_heads(s, r));
    QK_TRY(read_activation(s, r));
    QK_TRY(qk_key_num(r, "rms_norm_eps", f->eps ? f->eps : 1e-6, &eps));
    QK_TRY(read_bias(r, f->qkv_bias, "attention_bias", &s->qkv_bias));
    QK_TRY(read_bias(r, f->o_bias, "attention_bias", &s->o_bias));
    QK_TRY(read_bias(r, f->mlp_bias, "mlp_bias", &s->mlp_bias));
    /* Of the whole model: in a wrapper its own key counts. null is false, as in Python. */
    const qk_spec_reader whole = {s->config, r->where, r->arena, r->err};
    bool tied = (s->wrapper ? s->wrapper : f)->tied && !is_null(&whole, "tie_word_embeddings");
    QK_TRY(qk_key_bool(&whole, "tie_word_embeddings", tied, &s->tied));
    s->eps = (float)eps;
    s->attention_scale = (float)(1 / sqrt(s->d));
    s->embed_scale = s->residual_scale = 1;
    s->norm_plus_one = f->norm_plus_one;
    s->qk_norm_whole = f->qk_norm_whole;
    s->interleaved = f->interleaved;
    s->layer = qk_arena_alloc(r->arena, (size_t)s->layers, sizeof *s->layer);
    if (f->read) QK_TRY(f->read(s, r));
    if (s->experts && s->top_k > s->experts)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL,
                       "%s: num_experts_per_tok %d exceeds the %d experts", r->where, s->top_k,
                       s->experts);
    QK_TRY(read_ropes(s, r));
    return qk_check_keys(s, r);
}

qk_status qk_spec_from(qk_spec *spec, const qk_json *file, const qk_json *overrides,
                       const char *where, qk_arena *arena, qk_error *err)
{
    *spec = (qk_spec){0};
    if (file->type != QK_JSON_T_OBJECT)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: not a JSON object", where);
    QK_TRY(find_text_model(spec, file, overrides, where, arena, err));
    QK_TRY(refuse_quantised(spec->config, where, err));
    qk_spec_reader r = {spec->text, where, arena, err};
    return read_text_model(spec, &r);
}

qk_status qk_spec_read(qk_spec *spec, const char *folder, const qk_json *overrides, qk_arena *arena,
                       qk_error *err)
{
    char *path = qk_path_join(folder, "config.json");
    const char *where = qk_arena_strndup(arena, path, strlen(path));
    free(path);
    const qk_json *file;
    qk_status s = qk_json_parse_file(arena, where, MAX_BYTES, &file, err);
    if (s == QK_ERR_NOTFOUND) s = qk_explain_folder(folder, QK_WANT_CONFIG, err);
    if (s != QK_OK) return s;
    return qk_spec_from(spec, file, overrides, where, arena, err);
}
