/* The settings that decide what is written, as JSON. See config.h. */
#include "engine/config/config.h"

#include <string.h>

#include "sampler/listed.h"
#include "sampler/positions.h"

static void add_list(qk_json_out *out, const char *key, const qk_int_list *list)
{
    if (!list->count) {
        qk_json_add_null(out, key);
        return;
    }
    qk_json_begin(out, key, '[');
    for (size_t i = 0; i < list->count; i++) qk_json_add_int(out, NULL, list->items[i]);
    qk_json_end(out, ']');
}

/* null where the number stands for "no limit". */
static void add_limit(qk_json_out *out, const char *key, int64_t value, int64_t min)
{
    if (value < min)
        qk_json_add_null(out, key);
    else
        qk_json_add_int(out, key, value);
}

/* dataset.revision is not here: what the files of a revision hold is what counts, so that a run
 * goes on when the commit is given that its branch pointed to. */
static void write_inputs(const qk_config *c, qk_json_out *out)
{
    qk_json_begin(out, "dataset", '{');
    qk_json_add_str(out, "path", c->dataset.path);
    qk_json_add_str(out, "name", c->dataset.name);
    qk_json_add_str(out, "split", c->dataset.split);
    qk_json_add_str(out, "text_column", c->dataset.text_column);
    qk_json_add_str(out, "id_column", c->dataset.id_column);
    add_limit(out, "max_samples", c->dataset.max_samples, 0);
    qk_json_end(out, '}');
    qk_json_begin(out, "model", '{');
    qk_json_add_str(out, "name", c->model.name);
    qk_json_add_str(out, "revision", c->model.revision);
    qk_json_add_str(out, "dtype", qk_dtype_name(c->model.dtype));
    if (c->model.overrides)
        qk_json_add_tree(out, "config_overrides", c->model.overrides);
    else
        qk_json_add_null(out, "config_overrides");
    qk_json_end(out, '}');
    qk_json_begin(out, "tokenizer", '{');
    qk_json_add_str(out, "name", c->tokenizer.name);
    add_limit(out, "max_length", c->tokenizer.max_length, 1);
    qk_json_end(out, '}');
}

/* The members of a sampler, whose map stays open; what has come later only where it is set. */
static void begin_sampler(qk_json_out *out, const char *key, const qk_sampler *s)
{
    qk_json_begin(out, key, '{');
    qk_json_add_str(out, "type", qk_sampler_kind_name(s->kind));
    if (!s->listed) qk_json_add_num(out, "base_rate", s->base_rate);
    if (s->first) qk_json_add_int(out, "first", s->first);
    if (s->listed) qk_json_add_str(out, "positions_sha256", s->listed->sha256);
}

static bool same_sampler(const qk_sampler *a, const qk_sampler *b)
{
    bool same = a->kind == b->kind && a->first == b->first && !a->listed == !b->listed;
    if (!same || !a->listed) return same && a->base_rate == b->base_rate;
    return !strcmp(a->listed->sha256, b->listed->sha256);
}

static void write_capture(const qk_config *c, qk_json_out *out)
{
    qk_json_begin(out, "capture", '{');
    qk_json_add_bool(out, "capture_queries", c->capture.queries);
    qk_json_add_bool(out, "capture_keys", c->capture.keys);
    add_list(out, "layers", &c->capture.layers);
    add_list(out, "heads", &c->capture.heads);
    if (c->capture.sample_heads) {
        qk_json_begin(out, "head_sampling", '{');
        qk_json_add_int(out, "count", c->capture.head_count);
        const char *seed = c->capture.head_seed.decimal;
        qk_json_add_tree(
            out, "seed",
            &(qk_json){.type = QK_JSON_T_NUMBER, .text = seed, .length = strlen(seed)});
        qk_json_end(out, '}');
    } else {
        qk_json_add_null(out, "head_sampling");
    }
    qk_json_add_bool(out, "full_attention_only", c->capture.full_attention_only);
    const qk_sampler *sampler = &c->capture.sampler, *keys = &c->capture.key_sampler;
    begin_sampler(out, "sampler", sampler);
    if (!same_sampler(sampler, keys)) {
        begin_sampler(out, "keys", keys);
        qk_json_end(out, '}');
    }
    qk_json_end(out, '}');
    qk_json_add_int(out, "min_bucket_size", c->capture.sampler.min_bucket_size);
    add_limit(out, "max_rows_per_batch", c->capture.sampler.max_rows, 1);
    qk_json_add_bool(out, "capture_pre_rope", c->capture.pre_rope);
    qk_json_add_bool(out, "capture_token_strings", c->capture.token_strings);
    qk_json_add_bool(out, "per_head_masks", c->capture.per_head_masks);
    /* Where these are off, rows are what they were before there were such keys. */
    if (c->capture.allow_nonfinite) qk_json_add_bool(out, "allow_nonfinite", true);
    if (c->capture.values) qk_json_add_bool(out, "capture_values", true);
    if (c->capture.both_states) {
        qk_json_begin(out, "rope", '[');
        qk_json_add_str(out, NULL, "pre");
        qk_json_add_str(out, NULL, "post");
        qk_json_end(out, ']');
    }
    if (c->capture.lse) qk_json_add_bool(out, "capture_lse", true);
    if (c->capture.token_ids) qk_json_add_bool(out, "capture_token_ids", true);
    if (c->capture.head_columns) qk_json_add_bool(out, "head_columns", true);
    qk_json_end(out, '}');
}

void qk_config_write_json(const qk_config *c, qk_json_out *out)
{
    write_inputs(c, out);
    write_capture(c, out);
    qk_json_begin(out, "output", '{');
    qk_json_add_str(out, "layout", c->output.layout == QK_LAYOUT_BRANCH ? "branch" : "prefix");
    qk_json_add_str(out, "vector_encoding",
                    c->output.plain_vectors ? "plain" : "byte_stream_split");
    qk_json_end(out, '}');
}
