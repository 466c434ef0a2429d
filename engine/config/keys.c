/* The keys. A row is section, name, type, where it goes, default, and what it means to a person.
 * The reference's defaults are used where its documents or its runs show them (sampler, padding);
 * the others are ours. See config/keys.h. */
#include "engine/config/keys.h"

#include <stdint.h>
#include <string.h>

static const qk_config_word dtypes[] = {
    {"float32", QK_F32}, {"float16", QK_F16}, {"bfloat16", QK_BF16}, {"fp32", QK_F32},
    {"fp16", QK_F16},    {"half", QK_F16},    {"bf16", QK_BF16},     {NULL, 0},
};
static const qk_config_word samplers[] = {
    {"log_uniform", QK_SAMPLE_LOG_UNIFORM},
    {"uniform", QK_SAMPLE_UNIFORM},
    {"all", QK_SAMPLE_ALL},
    {NULL, 0},
};
static const qk_config_word rope_states[] = {
    {"pre", QK_ROPE_PRE}, {"post", QK_ROPE_POST}, {NULL, 0}};
static const qk_config_word layouts[] = {
    {"prefix", QK_LAYOUT_PREFIX}, {"branch", QK_LAYOUT_BRANCH}, {NULL, 0}};
static const qk_config_word encodings[] = {{"byte_stream_split", 0}, {"plain", 1}, {NULL, 0}};
const qk_config_word qk_config_backends[] = {
    {"auto", 0}, {"cpu", 1}, {"ref", 2}, {"cuda", 3}, {NULL, 0}};
const qk_config_word qk_config_isas[] = {{"portable", 0},   {"avx2", 1}, {"avx512", 2},
                                         {"avx512bf16", 3}, {"amx", 4},  {NULL, 0}};

const qk_config_section qk_config_sections[] = {
    {"dataset", true, false},
    {"model", true, false},
    {"tokenizer", false, false},
    {"inference", false, true},
    {"capture", false, false},
    {"capture.head_sampling", false, false},
    {"capture.sampler", false, false},
    {"capture.sampler.queries", false, false},
    {"capture.sampler.keys", false, false},
    {"output", true, false},
    {NULL, false, false},
};

#define AT(field) offsetof(qk_config_draft, config.field)
#define DRAFT(field) offsetof(qk_config_draft, field)

#define MUST(section, key, kind, field, text)                                                      \
    {                                                                                              \
        section, key, &qk_config_##kind, AT(field), NULL, 0, 0, 0, NULL, true, text                \
    }
#define MAY(section, key, kind, field, fallback, text)                                             \
    {                                                                                              \
        section, key, &qk_config_##kind, AT(field), fallback, 0, 0, 0, NULL, false, text           \
    }
#define INT(section, key, field, fallback, min, max, absent, text)                                 \
    {                                                                                              \
        section, key, &qk_config_int, AT(field), fallback, min, max, absent, NULL, false, text     \
    }
#define CHOICE(section, key, words, at, fallback, text)                                            \
    {                                                                                              \
        section, key, &qk_config_choice, at, fallback, 0, 0, -1, words, false, text                \
    }
#define NUMBER(section, key, field, fallback, text)                                                \
    {                                                                                              \
        section, key, &qk_config_number, DRAFT(field), fallback, 0, 0, 0, NULL, false, text        \
    }
#define FIRST(section, field, fallback, text)                                                      \
    {                                                                                              \
        section, "first", &qk_config_int, DRAFT(field), fallback, 0, QK_SAMPLER_MAX_TOKENS, -1,    \
            NULL, false, text                                                                      \
    }
#define LISTED(section, field, text)                                                               \
    {                                                                                              \
        section, "positions", &qk_config_path, DRAFT(field), NULL, 0, 0, 0, NULL, false, text      \
    }
#define IGNORED(section, key, kind, text)                                                          \
    {                                                                                              \
        section, key, &qk_config_##kind, 0, NULL, 0, 0, 0, NULL, false, text                       \
    }

const qk_config_key qk_config_keys[] = {
    MUST("dataset", "path", path, dataset.path,
         "a file (.parquet, .jsonl, .csv, .txt ...), a folder of them, or a Hub repository"),
    MAY("dataset", "name", text, dataset.name, NULL,
        "which configuration of the dataset, where it has several"),
    MAY("dataset", "revision", text, dataset.revision, NULL, "branch, tag or commit on the Hub"),
    MAY("dataset", "split", string, dataset.split, "train",
        "`train`, `train[:1000]`, `train[50%:]`, `train+test` or `all`"),
    MAY("dataset", "text_column", string, dataset.text_column, "text", "the column of texts"),
    MAY("dataset", "id_column", text, dataset.id_column, NULL,
        "the column of example ids; without one the row number is the id"),
    INT("dataset", "max_samples", dataset.max_samples, NULL, 0, INT64_MAX, -1,
        "no more than this many rows"),
    MAY("dataset", "streaming", bool, dataset.streaming, "false",
        "accepted; rows are always streamed, and slices work all the same"),

    MUST("model", "name", path, model.name,
         "a folder with config.json and safetensors, or a Hub repository"),
    MAY("model", "revision", text, model.revision, NULL, "branch, tag or commit on the Hub"),
    CHOICE("model", "dtype", dtypes, AT(model.dtype), "float32",
           "number format of weights and arithmetic"),
    MAY("model", "config_overrides", tree, model.overrides, NULL,
        "keys of config.json to change, such as `rope_scaling`; maps are merged"),
    IGNORED("model", "device_map", ignored, "accepted, no effect: see inference.backend"),
    IGNORED("model", "trust_remote_code", remote_code,
            "accepted, no effect: code of a checkpoint is never run"),
    IGNORED("model", "attn_implementation", ignored, "accepted, no effect: there is one"),

    MAY("tokenizer", "name", path, tokenizer.name, NULL,
        "a folder or Hub repository, when it is not the model's own"),
    INT("tokenizer", "max_length", tokenizer.max_length, NULL, 1, INT32_MAX, 0,
        "tokens an example is cut to, special ones included; null is no limit"),
    IGNORED("tokenizer", "padding", ignored, "accepted, no effect: nothing is padded"),
    IGNORED("tokenizer", "padding_side", padding_side,
            "`right`; nothing is padded, and `left` would move every position"),
    IGNORED("tokenizer", "trust_remote_code", remote_code,
            "accepted, no effect: code of a checkpoint is never run"),

    INT("inference", "batch_size", inference.batch_size, NULL, 1, INT32_MAX, 0,
        "examples in one forward pass; null is as many as have 2048 tokens together, at least one. "
        "Changes speed and memory, never the result"),
    CHOICE("inference", "autocast_dtype", dtypes, DRAFT(autocast), NULL,
           "float16 or bfloat16: compute in it, whatever model.dtype says; float32 leaves "
           "model.dtype as it is"),
    CHOICE("inference", "backend", qk_config_backends, DRAFT(backend), "auto",
           "what computes; auto is the fastest that works here, ref a slow double-precision check"),
    INT("inference", "layers_in_memory", inference.layers_in_memory, NULL, 2, INT32_MAX, 0,
        "layers whose weights are in memory at a time, 2 or more; the others are read again for "
        "each batch. null is all of them where they fit, else as many as fit. Never changes the "
        "result"),
    MAY("inference", "slice", bool, inference.slice, "true",
        "compute only what the captured rows depend on: nothing behind the last sampled position "
        "of a text, and in the last layers only the rows that lead to samples. false computes "
        "all, to compare: the same rows, as long as the model's numbers are finite"),
    INT("inference", "threads", inference.threads, NULL, 0, 4096, 0,
        "CPU threads; 0 or null is as many as CPUs may be used (engine/README.md, Threads)"),
    CHOICE("inference", "isa", qk_config_isas, DRAFT(isa), NULL,
           "instruction set of the cpu backend; null is the best this processor has. amx gives "
           "other last bits in bfloat16 than the others, which agree"),
    IGNORED("inference", "debug_logging", ignored, "accepted, no effect"),
    IGNORED("inference", "debug_log_every_n_batches", ignored, "accepted, no effect"),
    IGNORED("inference", "mps_cleanup_every_batches", ignored, "accepted, no effect"),

    MAY("capture", "capture_queries", bool, capture.queries, "true", "write queries"),
    MAY("capture", "capture_keys", bool, capture.keys, "true", "write keys"),
    MAY("capture", "capture_values", bool, capture.values, "false",
        "write values, of the key heads: files l00h00v. Their positions are those of the keys"),
    MAY("capture", "layers", ints, capture.layers, NULL, "layer numbers from 0; null or [] is all"),
    MAY("capture", "heads", ints, capture.heads, NULL,
        "head numbers from 0, for queries and keys alike; null or [] is all"),
    MAY("capture", "full_attention_only", bool, capture.full_attention_only, "false",
        "leave out layers with a sliding window"),
    INT("capture", "max_rows_per_batch", capture.sampler.max_rows, NULL, INT64_MIN, INT64_MAX, 0,
        "rows kept per example, layer and kind; null, 0 and below are no limit"),
    INT("capture", "min_bucket_size", capture.sampler.min_bucket_size, "128", 1, INT64_C(1) << 31,
        128,
        "positions in a bucket; log_uniform rounds it up to 2^m: bucket m holds positions 0 to "
        "2^(m+1) - 2, each b above it 2^b - 1 to 2^(b+1) - 2"),
    MAY("capture", "capture_pre_rope", bool, capture.pre_rope, "false",
        "take vectors before the rotary embedding instead of after it"),
    {"capture", "rope", &qk_config_words, DRAFT(rope), NULL, 0, 0, 0, rope_states, false,
     "which states of queries and keys: before the rotary embedding, after it, or both in one "
     "pass, "
     "with files l00h00q of those after it and l00h00q_pre. null is capture_pre_rope's"},
    MAY("capture", "capture_lse", bool, capture.lse, "false",
        "add the column lse: of queries after the rotary embedding the logarithm of the sum of "
        "exp(score) over the keys that the query sees, null in other files"),
    MAY("capture", "capture_token_strings", bool, capture.token_strings, "false",
        "add the column token_str"),
    MAY("capture", "capture_token_ids", bool, capture.token_ids, "false",
        "add the column token_id"),
    MAY("capture", "head_columns", bool, capture.head_columns, "false",
        "add the columns layer, head and kind"),
    MAY("capture", "per_head_masks", bool, capture.per_head_masks, "false",
        "draw positions for each head on its own, as the older reference did, instead of once per "
        "layer and kind"),
    MAY("capture", "allow_nonfinite", bool, capture.allow_nonfinite, "false",
        "keep rows of NaN or infinity and count them in manifest.json; without it the first of "
        "them stops the run"),
    {"capture.head_sampling", "count", &qk_config_int, AT(capture.head_count), NULL, 1, INT64_MAX,
     0, NULL, true, "query heads to draw over all layers; their key heads follow"},
    MAY("capture.head_sampling", "seed", seed, capture.head_seed, "0",
        "seed of that draw, of any length"),
    CHOICE("capture.sampler", "type", samplers, DRAFT(sampler.kind), "log_uniform",
           "which positions: equally many per power of two, equally many everywhere, or every one"),
    NUMBER("capture.sampler", "base_rate", sampler.base_rate, "1.0",
           "rows wanted per bucket, above 0; log_uniform's first bucket holds twice that"),
    FIRST("capture.sampler", sampler.first, "0",
          "positions below this are always kept, also by max_rows_per_batch; the others are drawn "
          "as without it"),
    LISTED("capture.sampler", sampler.positions,
           "a JSON Lines file of positions to keep instead of drawing them: {\"id\": 7, "
           "\"positions\": [0, 5]}; a line without id is for all other examples. "
           "max_rows_per_batch does not limit them"),
    CHOICE("capture.sampler.queries", "type", samplers, DRAFT(query_sampler.kind), NULL,
           "for queries alone; null is that of capture.sampler, here and below"),
    NUMBER("capture.sampler.queries", "base_rate", query_sampler.base_rate, NULL,
           "the same of base_rate"),
    FIRST("capture.sampler.queries", query_sampler.first, NULL, "the same of first"),
    LISTED("capture.sampler.queries", query_sampler.positions, "the same of positions"),
    CHOICE("capture.sampler.keys", "type", samplers, DRAFT(key_sampler.kind), NULL,
           "for keys and values alone; null is that of capture.sampler, here and below"),
    NUMBER("capture.sampler.keys", "base_rate", key_sampler.base_rate, NULL,
           "the same of base_rate"),
    FIRST("capture.sampler.keys", key_sampler.first, NULL, "the same of first"),
    LISTED("capture.sampler.keys", key_sampler.positions, "the same of positions"),

    MAY("output", "data_root", folder, output.data_root, "data",
        "the folder for results, apart from the dataset; nothing that was not made here is ever "
        "deleted"),
    MAY("output", "hf_repo_id", text, output.hf_repo_id, NULL,
        "the Hub dataset to push to; null writes locally only"),
    MAY("output", "hf_branch", text, output.hf_branch, NULL, "the branch to push to"),
    MAY("output", "private", bool, output.is_private, "false",
        "make the repository private when it is created"),
    CHOICE("output", "layout", layouts, DRAFT(layout), NULL,
           "one folder per model, or the heads at the root for one model per branch; null is "
           "branch when hf_branch is set, else prefix"),
    MAY("output", "split", text, output.split, NULL,
        "prefix layout: the name of the split; null is the model's name, of a local folder that is "
        "not written as owner/name the last part of its path"),
    CHOICE("output", "vector_encoding", encodings, DRAFT(encoding), "byte_stream_split",
           "Parquet encoding of vectors; byte_stream_split compresses better"),
    IGNORED("output", "readme_path", ignored, "accepted, no effect: README.md is at the root"),
    IGNORED("output", "write_batch_size", ignored, "accepted, no effect"),
};
const size_t qk_config_n_keys = sizeof qk_config_keys / sizeof *qk_config_keys;

void qk_config_add_words(qk_buf *out, const qk_config_word *words)
{
    for (const qk_config_word *w = words; w->word; w++) {
        bool synonym = false;
        for (const qk_config_word *v = words; v < w; v++) synonym |= v->value == w->value;
        if (!synonym) qk_buf_addf(out, "%s`%s`", w == words ? "" : ", ", w->word);
    }
}

void qk_config_reference(qk_buf *out)
{
    qk_buf_add_str(out, "| key | type | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < qk_config_n_keys; i++) {
        const qk_config_key *k = &qk_config_keys[i];
        qk_buf_addf(out, "| `%s.%s` | ", k->section, k->name);
        if (k->type == &qk_config_words) qk_buf_add_str(out, "a list of ");
        if (k->words)
            qk_config_add_words(out, k->words);
        else
            qk_buf_add_str(out, k->type->name);
        if (k->required)
            qk_buf_add_str(out, " | required");
        else
            qk_buf_addf(out, " | `%s`", k->fallback ? k->fallback : "null");
        qk_buf_addf(out, " | %s |\n", k->meaning);
    }
}
