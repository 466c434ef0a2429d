/* See rope.h. Steps are float32 where transformers computes in float32. */
#include "engine/families/rope.h"

#include <math.h>
#include <string.h>

#include "engine/base/team.h"
#include "sampler/float_repr.h"

typedef struct reader {
    const qk_json *parameters;
    const char *where; /* file, for messages */
    const char *type;
    qk_error *err;
} reader;

static qk_status number(const reader *r, const char *key, bool required, double fallback,
                        double *out)
{
    const qk_json *v = qk_json_get(r->parameters, key);
    *out = fallback;
    if (!v || v->type == QK_JSON_T_NULL) {
        if (!required) return QK_OK;
        return qk_fail(r->err, QK_ERR_FORMAT, "add it, or choose another rope_type",
                       "%s: rope_scaling of type '%s' lacks '%s'", r->where, r->type, key);
    }
    if (v->type != QK_JSON_T_NUMBER)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: rope_scaling '%s' is %s, not a number",
                       r->where, key, qk_json_type_name(v));
    if (!isfinite(v->number))
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: rope_scaling '%s' is no finite number",
                       r->where, key);
    *out = v->number;
    return QK_OK;
}

static qk_status positive(const reader *r, const char *key, bool required, double fallback,
                          double *out)
{
    QK_TRY(number(r, key, required, fallback, out));
    if (*out > 0) return QK_OK;
    return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: rope_scaling '%s' must be positive", r->where,
                   key);
}

static qk_status factor_list(const reader *r, const char *key, int n, qk_arena *arena,
                             const double **out)
{
    const qk_json *v = qk_json_get(r->parameters, key);
    if (!v || v->type != QK_JSON_T_ARRAY || v->count != (size_t)n)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL,
                       "%s: rope_scaling '%s' must be a list of %d numbers, found %s of %zu",
                       r->where, key, n, qk_json_type_name(v), v ? v->count : 0);
    double *list = qk_arena_alloc(arena, (size_t)n, sizeof *list);
    size_t i = 0;
    for (const qk_json *f = v->first; f; f = f->next) {
        if (f->type != QK_JSON_T_NUMBER || !(f->number > 0))
            return qk_fail(r->err, QK_ERR_FORMAT, NULL,
                           "%s: rope_scaling '%s' needs positive numbers", r->where, key);
        list[i++] = f->number;
    }
    *out = list;
    return QK_OK;
}

/* 0.1 m ln(s) + 1, the factor of YaRN's section 3.4. */
static double mscale(double scale, double m)
{
    return scale <= 1 ? 1 : 0.1 * m * log(scale) + 1;
}

static qk_status read_yarn(const reader *r, qk_rope *rope)
{
    double m, m_all;
    QK_TRY(positive(r, "factor", true, 0, &rope->factor));
    QK_TRY(positive(r, "beta_fast", false, 32, &rope->beta_fast));
    QK_TRY(positive(r, "beta_slow", false, 1, &rope->beta_slow));
    QK_TRY(number(r, "mscale", false, 0, &m));
    QK_TRY(number(r, "mscale_all_dim", false, 0, &m_all));
    double standard = m != 0 && m_all != 0 ? mscale(rope->factor, m) / mscale(rope->factor, m_all)
                                           : mscale(rope->factor, 1);
    const qk_json *truncate = qk_json_get(r->parameters, "truncate");
    rope->truncate = !truncate || truncate->type != QK_JSON_T_BOOL || truncate->boolean;
    return number(r, "attention_factor", false, standard, &rope->attention_factor);
}

static qk_status read_llama3(const reader *r, qk_rope *rope)
{
    QK_TRY(positive(r, "factor", true, 0, &rope->factor));
    QK_TRY(positive(r, "low_freq_factor", true, 0, &rope->low));
    QK_TRY(positive(r, "high_freq_factor", true, 0, &rope->high));
    if (rope->low < rope->high) return QK_OK;
    return qk_fail(r->err, QK_ERR_FORMAT, NULL,
                   "%s: rope_scaling needs low_freq_factor below high_freq_factor", r->where);
}

static qk_status read_longrope(const reader *r, qk_rope *rope, qk_arena *arena)
{
    double factor;
    QK_TRY(factor_list(r, "short_factor", rope->rotary / 2, arena, &rope->short_factor));
    QK_TRY(factor_list(r, "long_factor", rope->rotary / 2, arena, &rope->long_factor));
    QK_TRY(positive(r, "factor", false, rope->max_position / rope->original, &factor));
    double standard = factor <= 1 ? 1 : sqrt(1 + log(factor) / log(rope->original));
    return number(r, "attention_factor", false, standard, &rope->attention_factor);
}

static const struct {
    const char *name;
    qk_rope_type type;
} types[] = {
    {"default", QK_ROPE_DEFAULT}, {"linear", QK_ROPE_LINEAR}, {"dynamic", QK_ROPE_DYNAMIC},
    {"llama3", QK_ROPE_LLAMA3},   {"yarn", QK_ROPE_YARN},     {"longrope", QK_ROPE_LONGROPE},
    {"su", QK_ROPE_LONGROPE}, /* as the first Phi 3 files called it */
};

const char *qk_rope_type_name(qk_rope_type type)
{
    size_t i = 0;
    while (types[i].type != type) i++;
    return types[i].name;
}

static qk_status read_lengths(const reader *r, const qk_json *config,
                              const qk_rope_defaults *silent, qk_rope *rope)
{
    reader top = {config, r->where, r->type, r->err};
    QK_TRY(positive(&top, "max_position_embeddings", false, silent->max_position,
                    &rope->max_position));
    /* Phi 3 keeps the trained length beside the rope keys, and there it wins. */
    double own;
    QK_TRY(positive(r, "original_max_position_embeddings", false, rope->max_position, &own));
    if (silent->original > 0) own = silent->original;
    return positive(&top, "original_max_position_embeddings", false, own, &rope->original);
}

/* Keys of all types; what a type does not use has no effect in transformers either. */
static qk_status check_rope_keys(const reader *r)
{
    static const char *const known[] = {
        "rope_type", "type", "rope_theta", "partial_rotary_factor", "factor",
        "original_max_position_embeddings", "max_position_embeddings", "low_freq_factor",
        "high_freq_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
        "attention_factor", "truncate", "short_factor", "long_factor", "llama_4_scaling_beta",
        "finetuned",
        /* layer types, each with parameters of its own */
        "full_attention", "sliding_attention"};
    for (const qk_json *v = r->parameters ? r->parameters->first : NULL; v; v = v->next) {
        bool found = v->type == QK_JSON_T_NULL;
        for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++)
            found = !strcmp(v->key, known[i]);
        if (!found)
            return qk_fail(r->err, QK_ERR_UNSUPPORTED,
                           "if it means nothing, set it to null in model.config_overrides",
                           "%s: rope_parameters has a key '%.100s' that is not known", r->where,
                           v->key);
    }
    return QK_OK;
}

qk_status qk_rope_read(qk_rope *rope, const qk_json *parameters, const qk_json *config,
                       int head_dim, const qk_rope_defaults *silent, qk_arena *arena,
                       const char *where, qk_error *err)
{
    *rope = (qk_rope){.attention_factor = 1, .factor = 1};
    const qk_json *type = qk_json_get(parameters, "rope_type");
    if (type && type->type != QK_JSON_T_STRING)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: rope_type is %s, not a string", where,
                       qk_json_type_name(type));
    reader r = {parameters, where, type ? type->text : "default", err};
    size_t known = 0, n_types = sizeof types / sizeof *types;
    while (known < n_types && strcmp(r.type, types[known].name) != 0) known++;
    if (known == n_types)
        return qk_fail(err, QK_ERR_UNSUPPORTED,
                       "known types: default, linear, dynamic, llama3, yarn, longrope",
                       "%s: rope_scaling type '%s' is not supported", where, r.type);
    rope->type = types[known].type;
    QK_TRY(check_rope_keys(&r));
    QK_TRY(positive(&r, "rope_theta", false, silent->theta, &rope->theta));
    double part;
    QK_TRY(
        positive(&r, "partial_rotary_factor", false, silent->partial ? silent->partial : 1, &part));
    char text[QK_FLOAT_REPR_SIZE];
    qk_python_float_repr(part, text);
    if (part != 1 && !silent->partial)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "in this model a whole head turns",
                       "%s: partial_rotary_factor is %s, which only other models know", where,
                       text);
    rope->rotary = (int)(head_dim * part);
    if (rope->rotary < 2 || rope->rotary % 2 || rope->rotary > head_dim)
        return qk_fail(
            err, QK_ERR_FORMAT, NULL,
            "%s: %d of head_dim %d numbers would turn: must be even and at most head_dim", where,
            rope->rotary, head_dim);
    QK_TRY(read_lengths(&r, config, silent, rope));
    switch (rope->type) {
    case QK_ROPE_DEFAULT: return QK_OK;
    case QK_ROPE_LINEAR:
    case QK_ROPE_DYNAMIC: return positive(&r, "factor", true, 0, &rope->factor);
    case QK_ROPE_LLAMA3: return read_llama3(&r, rope);
    case QK_ROPE_YARN: return read_yarn(&r, rope);
    case QK_ROPE_LONGROPE: return read_longrope(&r, rope, arena);
    }
    return QK_OK;
}

bool qk_rope_depends_on_length(const qk_rope *rope)
{
    return rope->type == QK_ROPE_DYNAMIC || rope->type == QK_ROPE_LONGROPE;
}

/* theta^(2i / rotary) with the exponent and the result in float32. */
static float power(double theta, int i, int rotary)
{
    return (float)pow(theta, (double)((float)(2 * i) / (float)rotary));
}

static void llama3(const qk_rope *r, float *f, int half)
{
    const float two_pi = (float)(2 * M_PI);
    float longest = (float)(r->original / r->low), shortest = (float)(r->original / r->high);
    for (int i = 0; i < half; i++) {
        float wave = two_pi / f[i];
        float slowed = wave > longest ? f[i] / (float)r->factor : f[i];
        if (wave >= shortest && wave <= longest) {
            float smooth = ((float)r->original / wave - (float)r->low) / (float)(r->high - r->low);
            slowed = (1 - smooth) * slowed / (float)r->factor + smooth * slowed;
        }
        f[i] = slowed;
    }
}

/* The dimension that turns `turns` times over the trained length. */
static double dimension_of(const qk_rope *r, double turns)
{
    return r->rotary * log(r->original / (turns * 2 * M_PI)) / (2 * log(r->theta));
}

static void yarn(const qk_rope *r, float *f, int half)
{
    double low = dimension_of(r, r->beta_fast), high = dimension_of(r, r->beta_slow);
    if (r->truncate) low = floor(low), high = ceil(high);
    low = fmax(low, 0);
    high = fmin(high, r->rotary - 1);
    if (low == high) high += 0.001; /* no division by zero */
    for (int i = 0; i < half; i++) {
        float p = power(r->theta, i, r->rotary);
        float ramp = ((float)i - (float)low) / (float)(high - low);
        float keep = 1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp);
        f[i] = 1.0f / ((float)r->factor * p) * (1 - keep) + 1.0f / p * keep;
    }
}

void qk_rope_frequencies(const qk_rope *r, int64_t length, float *f)
{
    int half = r->rotary / 2;
    double theta = r->theta;
    if (r->type == QK_ROPE_DYNAMIC) {
        float n = (float)fmax((double)length, r->max_position);
        float grown = (float)r->factor * n / (float)r->max_position - (float)(r->factor - 1);
        float raised = (float)pow(grown, (double)r->rotary / (r->rotary - 2));
        theta = (float)theta * raised;
    }
    const double *own = (double)length > r->original ? r->long_factor : r->short_factor;
    for (int i = 0; i < half; i++) {
        float p = power(theta, i, r->rotary);
        f[i] = r->type == QK_ROPE_LONGROPE ? 1.0f / ((float)own[i] * p) : 1.0f / p;
        if (r->type == QK_ROPE_LINEAR) f[i] /= (float)r->factor;
    }
    if (r->type == QK_ROPE_LLAMA3) llama3(r, f, half);
    if (r->type == QK_ROPE_YARN) yarn(r, f, half);
}

typedef struct angles {
    const float *f;
    int64_t first;
    size_t half;
    float scale, *c, *s;
} angles;

static void fill_rows(void *context, size_t begin, size_t end, int member)
{
    const angles *a = context;
    (void)member;
    for (size_t p = begin; p < end; p++)
        for (size_t i = 0; i < a->half; i++) {
            /* float32 on purpose: at position 131071 the rounded angle is what models saw. */
            float angle = (float)(a->first + (int64_t)p) * a->f[i];
            a->c[p * a->half + i] = (float)cos((double)angle) * a->scale;
            a->s[p * a->half + i] = (float)sin((double)angle) * a->scale;
        }
}

void qk_rope_table(const qk_rope *r, const float *f, int64_t first, size_t rows, float *c, float *s)
{
    angles a = {f, first, (size_t)r->rotary / 2, (float)r->attention_factor, c, s};
    qk_loop(0, rows, fill_rows, &a);
}
