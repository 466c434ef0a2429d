/* config.json -> qk_spec: the keys that every family shares. See family.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/families/config_keys.h"
#include "engine/families/family.h"
#include "engine/overrides.h"

/* Far above every real model; keeps products of two sizes within 64 bits and typos visible. */
enum { MOST_LAYERS = 4096, MOST_WIDTH = 1 << 20, MOST_VOCAB = 1 << 24, CONFIG_LIMIT = 16 << 20 };

static qk_status find_family(const qk_json *config, const char *where, const qk_family **out,
                             qk_error *err)
{
    const qk_json *type = qk_json_get(config, "model_type");
    if (!type)
        return qk_fail(err, QK_ERR_FORMAT, "is this the folder of a Hub model?",
                       "%s: 'model_type' is missing", where);
    if (type->type != QK_JSON_T_STRING)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: 'model_type' is not a string", where);
    *out = qk_family_find(type->text);
    if (*out) return QK_OK;
    char known[256] = "known: ";
    for (size_t i = 0; qk_families[i]; i++) {
        if (i) strncat(known, ", ", sizeof known - strlen(known) - 1);
        strncat(known, qk_families[i]->model_type, sizeof known - strlen(known) - 1);
    }
    return qk_fail(err, QK_ERR_UNSUPPORTED, known, "%s: model_type '%s' is not supported", where,
                   type->text);
}

static qk_status read_activation(const qk_json *config, const char *where, qk_activation *out,
                                 qk_error *err)
{
    static const struct {
        const char *name;
        qk_activation act;
    } known[] = {{"silu", QK_SILU}, {"swish", QK_SILU}, {"gelu_pytorch_tanh", QK_GELU_TANH}};
    const qk_json *v = qk_json_get(config, "hidden_activation");
    if (!v || v->type == QK_JSON_T_NULL) v = qk_json_get(config, "hidden_act");
    *out = QK_SILU;
    if (!v) return QK_OK;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (qk_json_is_string(v, known[i].name)) {
            *out = known[i].act;
            return QK_OK;
        }
    return qk_fail(err, QK_ERR_UNSUPPORTED, "known: silu, gelu_pytorch_tanh",
                   "%s: hidden_act '%s' is not supported", where,
                   v->type == QK_JSON_T_STRING ? v->text : qk_json_type_name(v));
}

/* Keys that change the arithmetic in ways no family here handles. */
static qk_status refuse_unhandled(const qk_json *config, const char *where, qk_error *err)
{
    const qk_json *q = qk_json_get(config, "quantization_config");
    if (!q || q->type == QK_JSON_T_NULL) return QK_OK;
    const qk_json *method = qk_json_get(q, "quant_method");
    return qk_fail(err, QK_ERR_UNSUPPORTED, "use the unquantised checkpoint of this model",
                   "%s: quantised checkpoints are not supported (%s)", where,
                   method && method->type == QK_JSON_T_STRING ? method->text : "unknown method");
}

static qk_status read_sizes(qk_spec *s, const qk_json *c, const char *where, qk_error *err)
{
    struct {
        const char *key;
        int64_t fallback, most;
        int *out;
    } sizes[] = {
        {"hidden_size", QK_KEY_REQUIRED, MOST_WIDTH, &s->D},
        {"num_hidden_layers", QK_KEY_REQUIRED, MOST_LAYERS, &s->layers},
        {"num_attention_heads", QK_KEY_REQUIRED, MOST_WIDTH, &s->H},
        {"vocab_size", QK_KEY_REQUIRED, MOST_VOCAB, &s->V},
        {"intermediate_size", QK_KEY_REQUIRED, MOST_WIDTH, &s->F},
        {"num_key_value_heads", s->family->default_kv_heads, MOST_WIDTH, &s->K},
        {"head_dim", s->family->default_head_dim, MOST_WIDTH, &s->d},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t v;
        QK_TRY(qk_key_int(c, sizes[i].key, sizes[i].fallback, 1, sizes[i].most, where, &v, err));
        *sizes[i].out = (int)v;
    }
    if (!s->K) s->K = s->H;
    if (!s->d && s->D % s->H)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: hidden_size %d is not divisible by num_attention_heads %d", where, s->D,
                       s->H);
    if (!s->d) s->d = s->D / s->H;
    return QK_OK;
}

static qk_status check_heads(const qk_spec *s, const char *where, qk_error *err)
{
    if (s->K > s->H)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: num_key_value_heads %d exceeds num_attention_heads %d", where, s->K,
                       s->H);
    if (s->H % s->K)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: num_attention_heads %d is not divisible by num_key_value_heads %d",
                       where, s->H, s->K);
    if (s->d % 2 || s->d > 1024)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: head_dim %d is odd or over 1024", where,
                       s->d);
    return QK_OK;
}

static qk_status read_spec(qk_spec *s, const qk_json *c, qk_arena *arena, const char *where,
                           qk_error *err)
{
    double eps;
    bool attention_bias;
    QK_TRY(refuse_unhandled(c, where, err));
    QK_TRY(read_sizes(s, c, where, err));
    QK_TRY(check_heads(s, where, err));
    QK_TRY(read_activation(c, where, &s->act, err));
    QK_TRY(qk_key_num(c, "rms_norm_eps", 1e-6, where, &eps, err));
    QK_TRY(qk_key_bool(c, "attention_bias", false, where, &attention_bias, err));
    s->qkv_bias = s->o_bias = attention_bias;
    if (s->family->mlp_bias_key)
        QK_TRY(qk_key_bool(c, "mlp_bias", false, where, &s->mlp_bias, err));
    s->eps = (float)eps;
    s->attention_scale = (float)(1 / sqrt(s->d));
    int *window = qk_arena_alloc(arena, (size_t)s->layers, sizeof *window);
    s->window = window;
    if (s->family->read_windows) QK_TRY(s->family->read_windows(c, window, s->layers, where, err));
    return qk_rope_read(&s->rope, qk_json_get(c, "rope_parameters"), c, s->d, arena, where, err);
}

qk_status qk_spec_read(qk_spec *spec, const char *folder, const qk_json *overrides, qk_arena *arena,
                       qk_error *err)
{
    *spec = (qk_spec){0};
    char *path = qk_path_join(folder, "config.json");
    const char *where = qk_arena_strndup(arena, path, strlen(path));
    free(path);
    const qk_json *file;
    QK_TRY(qk_json_parse_file(arena, where, CONFIG_LIMIT, &file, err));
    if (file->type != QK_JSON_T_OBJECT)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: not a JSON object", where);
    QK_TRY(qk_config_merge(arena, file, overrides, where, &spec->config, err));
    QK_TRY(find_family(spec->config, where, &spec->family, err));
    return read_spec(spec, spec->config, arena, where, err);
}
