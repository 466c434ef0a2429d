/* See card_attention.h. From top to bottom: cells of the model, of a run, all of them. */
#include "engine/output/card_attention.h"

#include <string.h>

#include "engine/base/text.h"
#include "engine/output/attention.h"
#include "formats/json.h"

static double number_of(const qk_json *object, const char *key)
{
    const qk_json *v = qk_json_get(object, key);
    return v && v->type == QK_JSON_T_NUMBER ? v->number : 0;
}

static const char *text_of(const qk_json *object, const char *key)
{
    const qk_json *v = qk_json_get(object, key);
    return v && v->type == QK_JSON_T_STRING ? qk_visible(v->text) : "?";
}

static const qk_json *first_of(const qk_json *object, const char *key)
{
    const qk_json *list = qk_json_get(object, key);
    return list && list->type == QK_JSON_T_ARRAY ? list->first : NULL;
}

/* A list in a cell has this many entries at most. */
enum { MAX_NAMED = 4 };

/* ---- the model ---- */

/* "default, theta 10000"; what is usual is not said. */
static void add_ropes(qk_buf *out, const qk_json *attention)
{
    const qk_json *list = qk_json_get(attention, "rope");
    double d = number_of(attention, "head_dim");
    size_t n = 0;
    for (const qk_json *r = first_of(attention, "rope"); r && n < MAX_NAMED; r = r->next) {
        double factor = number_of(r, "factor"), rotary = number_of(r, "rotary");
        qk_buf_addf(out, "%s%s, theta %.10g", n++ ? "; " : "", text_of(r, "type"),
                    number_of(r, "theta"));
        if (factor != 1) qk_buf_addf(out, ", factor %.10g", factor);
        if (rotary != d) qk_buf_addf(out, ", %.10g of %.10g numbers", rotary, d);
        if (qk_json_is_string(qk_json_get(r, "pairs"), "interleaved"))
            qk_buf_add_str(out, ", pairs (2i, 2i + 1)");
    }
    if (list && list->count > n) qk_buf_add_str(out, "; ...");
}

/* "4096 in 12 of 24 layers" */
static void add_windows(qk_buf *out, const qk_json *attention)
{
    size_t layers = 0, sliding = 0;
    double widest = 0;
    for (const qk_json *l = first_of(attention, "layers"); l; l = l->next) {
        double window = number_of(l, "window");
        layers++;
        sliding += window > 0;
        if (window > widest) widest = window;
    }
    if (sliding)
        qk_buf_addf(out, "%.10g in %zu of %zu layers", widest, sliding, layers);
    else
        qk_buf_add_str(out, "none");
}

static void add_model(qk_buf *out, const qk_json *attention)
{
    double cap = number_of(attention, "soft_cap"), heads = number_of(attention, "query_heads"),
           keys = number_of(attention, "key_heads");
    size_t n = 0;
    qk_buf_addf(out, "%.6g | ", number_of(attention, "scale"));
    if (cap > 0)
        qk_buf_addf(out, "%.6g | ", cap);
    else
        qk_buf_add_str(out, "none | ");
    qk_buf_addf(out, "%.10g and %.10g | ", heads, keys);
    add_ropes(out, attention);
    if (qk_json_get(qk_json_get(attention, "query_scale_by_position"), "rule"))
        qk_buf_add_str(out, "; queries scaled by position");
    qk_buf_add_str(out, " | ");
    add_windows(out, attention);
    qk_buf_add_str(out, " | ");
    for (const qk_json *s = first_of(attention, "states"); s && n < MAX_NAMED; s = s->next)
        if (s->type == QK_JSON_T_STRING)
            qk_buf_addf(out, "%s%s RoPE", n++ ? ", " : "",
                        !strcmp(s->text, "pre") ? "before" : "after");
}

/* "model.safetensors 0123456789ab" */
static void add_digests(qk_buf *out, const qk_json *attention, const char *key)
{
    const qk_json *list = qk_json_get(attention, key);
    size_t n = 0;
    for (const qk_json *f = first_of(attention, key); f && n < MAX_NAMED; f = f->next)
        qk_buf_addf(out, "%s%s %.12s", n++ ? ", " : "", text_of(f, "name"), text_of(f, "sha256"));
    if (list && list->count > n) qk_buf_addf(out, " and %zu more", list->count - n);
}

/* ---- a run ---- */

/* "min(1, 8 / 2^bucket), at most 100 rows" */
static void add_chance(qk_buf *out, const qk_json *side)
{
    const qk_json *type = qk_json_get(side, "type"),
                  *listed = qk_json_get(side, "positions_sha256");
    double rate = number_of(side, "base_rate"), first = number_of(side, "first"),
           limit = number_of(side, "max_rows"), size = number_of(side, "min_bucket_size");
    if (!type) {
        qk_buf_add_str(out, "none");
        return;
    }
    if (listed)
        qk_buf_addf(out, "listed in a file, SHA-256 %.12s", text_of(side, "positions_sha256"));
    else if (qk_json_is_string(type, "log_uniform"))
        qk_buf_addf(out, "`min(1, %.10g / 2^bucket)`", rate);
    else if (qk_json_is_string(type, "uniform"))
        qk_buf_addf(out, "`min(1, %.10g / %.10g)`", rate, size);
    else
        qk_buf_add_str(out, "1");
    if (first > 0) qk_buf_addf(out, ", positions below %.10g always", first);
    if (limit > 0 && !listed) qk_buf_addf(out, ", then at most %.10g rows of an example", limit);
}

static const char *end(qk_buf *text, qk_arena *arena)
{
    const char *kept = qk_arena_strndup(arena, (const char *)text->data, text->size);
    qk_buf_clear(text);
    return kept;
}

const qk_card_attention *qk_card_attention_of(const qk_json *manifest, int head_dim,
                                              qk_arena *arena)
{
    const qk_manifest all = {.first = manifest, .head_dim = head_dim};
    const qk_json *attention;
    qk_card_attention *out = qk_arena_alloc(arena, 1, sizeof *out);
    qk_arena own = {0};
    qk_buf text = {0}, cells = {0};
    qk_error err;
    *out = (qk_card_attention){0};
    qk_attention_write(&text, &all, NULL, 0);
    QK_ASSERT(qk_json_parse(&own, (const char *)text.data, text.size, "attention", &attention,
                            &err) == QK_OK);
    if (qk_json_get(attention, "scale")) {
        add_model(&cells, attention);
        out->model = end(&cells, arena);
    }
    if (qk_json_get(attention, "model_files")) {
        add_digests(&cells, attention, "model_files");
        qk_buf_add_str(&cells, " | ");
        add_digests(&cells, attention, "tokenizer_files");
        out->digests = end(&cells, arena);
    }
    out->chances =
        qk_arena_alloc(arena, qk_json_get(attention, "runs")->count, sizeof *out->chances);
    for (const qk_json *r = first_of(attention, "runs"); r; r = r->next) {
        const qk_json *queries = qk_json_get(r, "queries"), *keys = qk_json_get(r, "keys");
        out->chances[out->n_runs++] = NULL;
        if (!qk_json_get(queries, "type") && !qk_json_get(keys, "type")) continue;
        add_chance(&cells, queries);
        qk_buf_add_str(&cells, " | ");
        add_chance(&cells, keys);
        out->chances[out->n_runs - 1] = end(&cells, arena);
    }
    qk_buf_free(&text);
    qk_buf_free(&cells);
    qk_arena_free(&own);
    return out;
}
