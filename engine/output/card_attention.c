/* See card_attention.h. From top to bottom: cells of the model, of a run, the tables. */
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

void qk_card_describe_attention(qk_card_split *split, qk_card_run *runs, const qk_json *manifest,
                                qk_arena *arena)
{
    const qk_manifest all = {.first = manifest, .head_dim = split->head_dim};
    const qk_json *attention;
    qk_arena own = {0};
    qk_buf text = {0}, cells = {0};
    qk_error err;
    qk_attention_write(&text, &all, NULL, 0);
    QK_ASSERT(qk_json_parse(&own, (const char *)text.data, text.size, "attention", &attention,
                            &err) == QK_OK);
    if (qk_json_get(attention, "scale")) {
        add_model(&cells, attention);
        split->attention = end(&cells, arena);
    }
    if (qk_json_get(attention, "model_files")) {
        add_digests(&cells, attention, "model_files");
        qk_buf_add_str(&cells, " | ");
        add_digests(&cells, attention, "tokenizer_files");
        split->digests = end(&cells, arena);
    }
    size_t i = 0;
    for (const qk_json *r = first_of(attention, "runs"); r && i < split->n_runs; r = r->next, i++) {
        const qk_json *queries = qk_json_get(r, "queries"), *keys = qk_json_get(r, "keys");
        if (!qk_json_get(queries, "type") && !qk_json_get(keys, "type")) continue;
        add_chance(&cells, queries);
        qk_buf_add_str(&cells, " | ");
        add_chance(&cells, keys);
        runs[i].chances = end(&cells, arena);
    }
    qk_buf_free(&text);
    qk_buf_free(&cells);
    qk_arena_free(&own);
}

/* ---- the tables ---- */

void qk_card_add_attention(qk_buf *out, const qk_card_split *splits, size_t n)
{
    bool models = false, chances = false;
    for (size_t s = 0; s < n; s++) {
        models |= splits[s].attention || splits[s].digests;
        for (size_t i = 0; i < splits[s].n_runs; i++) chances |= splits[s].runs[i].chances != NULL;
    }
    if (models)
        qk_buf_add_str(out,
                       "\nWhat attention does with them; the metadata `qkengine.attention` of "
                       "examples.parquet has all of it, by layer:\n\n| split | scale | soft "
                       "cap | query and key heads | RoPE | window | vectors | weights, SHA-256 "
                       "| tokenizer |\n|---|---|---|---|---|---|---|---|---|\n");
    for (size_t s = 0; s < n && models; s++)
        qk_buf_addf(out, "| %s | %s | %s |\n", qk_visible(splits[s].split),
                    splits[s].attention ? splits[s].attention : "? | ? | ? | ? | ? | ?",
                    splits[s].digests ? splits[s].digests : "? | ?");
    if (!chances) return;
    qk_buf_add_str(out, "\nThe chance that a position is kept, by its bucket:\n\n| split | run | "
                        "queries | keys and values |\n|---|---|---|---|\n");
    for (size_t s = 0; s < n; s++)
        for (size_t i = 0; i < splits[s].n_runs; i++)
            if (splits[s].runs[i].chances)
                qk_buf_addf(out, "| %s | %s | %s |\n", qk_visible(splits[s].split),
                            qk_visible(splits[s].runs[i].name ? splits[s].runs[i].name : "?"),
                            splits[s].runs[i].chances);
}
