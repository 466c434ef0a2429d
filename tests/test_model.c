/* engine/families and engine/model: config.json of the corpus, and checkpoints that do not fit. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/model/model.h"
#include "formats/safetensors.h"

static char folder[64];

static void write_config(const char *text)
{
    char *path = qk_path_join(folder, "config.json");
    CHECK_INT(qk_write_file(path, text, strlen(text), &test_error), QK_OK);
    free(path);
}

static bool read_spec(qk_spec *spec, qk_arena *arena, qk_error *err)
{
    return qk_spec_read(spec, folder, NULL, arena, err) == QK_OK;
}

static void test_defaults_and_windows(void)
{
    qk_arena arena = {0};
    qk_error err = {0};
    qk_spec s;
    write_config("{\"model_type\": \"llama\", \"hidden_size\": 64, \"num_hidden_layers\": 2,"
                 "\"num_attention_heads\": 4, \"vocab_size\": 10, \"intermediate_size\": 32}");
    CHECK_MSG(read_spec(&s, &arena, &err), "%s", err.message);
    CHECK(s.K == 4 && s.d == 16 && s.layer[1].window == 0 && !s.qkv_bias);
    CHECK_CLOSE(s.attention_scale, 0.25, 0);
    CHECK_CLOSE(s.ropes[0].theta, 10000, 0);
    write_config("{\"model_type\": \"qwen3\", \"hidden_size\": 64, \"num_hidden_layers\": 4,"
                 "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"vocab_size\": 10,"
                 "\"intermediate_size\": 32, \"use_sliding_window\": true, \"sliding_window\": 8,"
                 "\"max_window_layers\": 3}");
    CHECK_MSG(read_spec(&s, &arena, &err), "%s", err.message);
    CHECK(s.d == 128 && s.layer[2].window == 0 && s.layer[3].window == 8);
    write_config("{\"model_type\": \"qwen3\", \"hidden_size\": 64, \"num_hidden_layers\": 2,"
                 "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"vocab_size\": 10,"
                 "\"intermediate_size\": 32, \"use_sliding_window\": true, \"sliding_window\": 8,"
                 "\"max_window_layers\": 9,"
                 "\"layer_types\": [\"sliding_attention\", \"full_attention\"]}");
    CHECK_MSG(read_spec(&s, &arena, &err), "%s", err.message);
    CHECK(s.layer[0].window == 8 &&
          s.layer[1].window == 0); /* layer_types wins over max_window_layers */
    qk_arena_free(&arena);
}

/* Each config.json of the corpus is accepted or refused as its manifest says. */
static void test_corpus_of_configs(void)
{
    char *manifest = test_golden("inputs/bad/manifest.json");
    if (!manifest) SKIP("no ../shared/golden beside this checkout");
    qk_arena arena = {0};
    const qk_json *root = NULL;
    CHECK_INT(qk_json_parse_file(&arena, manifest, 1 << 24, &root, &test_error), QK_OK);
    char *base = qk_strf("%.*s", (int)(strlen(manifest) - strlen("manifest.json")), manifest);
    int seen = 0;
    for (const qk_json *e = root ? root->first : NULL; e; e = e->next) {
        if (strncmp(e->key, "config/", 7)) continue;
        char *path = qk_path_join(base, e->key);
        const qk_json *must = qk_json_get(e, "must");
        qk_error err = {0};
        qk_spec spec;
        bool ok = qk_spec_read(&spec, path, NULL, &arena, &err) == QK_OK;
        if (qk_json_is_string(must, "accept")) CHECK_MSG(ok, "%s: %s", e->key, err.message);
        if (qk_json_is_string(must, "refuse")) CHECK_MSG(!ok, "%s was accepted", e->key);
        if (!ok) CHECK_MSG(strstr(err.message, "config.json"), "%s: %s", e->key, err.message);
        seen++;
        free(path);
    }
    CHECK_MSG(seen >= 30, "%d cases seen", seen);
    free(base);
    free(manifest);
    qk_arena_free(&arena);
}

/* ---- keys ---- */

/* The sizes of a small model and more members; "" when it is accepted, else the message. */
static const char *spec_error(const char *model_type, const char *more, const char *overrides,
                              qk_spec *s)
{
    static qk_error err;
    static qk_arena arena;
    qk_arena_free(&arena);
    arena = (qk_arena){0};
    err = (qk_error){0};
    char *text = qk_strf("{\"model_type\": \"%s\", \"hidden_size\": 64, \"num_hidden_layers\": 3,"
                         "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 16,"
                         "\"vocab_size\": 10, \"intermediate_size\": 32%s}",
                         model_type, more);
    const qk_json *file, *changes = NULL;
    QK_ASSERT(!qk_json_parse(&arena, text, strlen(text), "c", &file, &err));
    if (overrides)
        QK_ASSERT(!qk_json_parse(&arena, overrides, strlen(overrides), "o", &changes, &err));
    qk_status status = qk_spec_from(s, file, changes, "config.json", &arena, &err);
    free(text);
    return status == QK_OK ? "" : err.message;
}

static void test_keys_that_change_the_arithmetic(void)
{
    static const struct {
        const char *model_type, *more, *say; /* say NULL: accepted */
    } cases[] = {
        {"llama", "", NULL},
        {"llama", ", \"attn_logit_softcapping\": 30.0", "'attn_logit_softcapping' is 30"},
        {"llama", ", \"attn_logit_softcapping\": null", NULL},
        {"llama", ", \"sliding_window\": 4096", "'sliding_window' is 4096, and model_type 'llama'"},
        {"llama", ", \"sliding_window\": null, \"use_sliding_window\": false", NULL},
        {"llama", ", \"layer_types\": [\"full_attention\", \"sliding_attention\"]",
         "'layer_types'"},
        {"llama", ", \"layer_types\": [\"full_attention\"]", NULL},
        {"llama", ", \"residual_multiplier\": 0.22", "'residual_multiplier'"},
        {"llama", ", \"residual_multiplier\": 1.0, \"attention_dropout\": 0.1", NULL},
        {"phi3", ", \"attention_bias\": true", "'attention_bias' is true"},
        {"phi3", ", \"attention_bias\": false", NULL},
        {"gemma3_text", ", \"attn_logit_softcapping\": 50.0", "'attn_logit_softcapping'"},
        {"gemma2", ", \"attn_logit_softcapping\": 50.0", NULL},
        {"qwen3", ", \"num_experts\": 8", "'num_experts' is 8"},
        {"llama", ", \"rope_scaling\": {\"rope_type\": \"mrope\"}", "type 'mrope'"},
        {"llama", ", \"hidden_act\": \"relu\"", "hidden_act 'relu' is not supported"},
        {"gemma2", ", \"hidden_activation\": \"relu\"", "hidden_activation 'relu'"},
        {"ministral3", "", "'rope_parameters' with a rope_type are missing"},
        {"qwen3_moe", ", \"num_experts\": 4, \"num_experts_per_tok\": 5", "exceeds the 4 experts"},
        {"mllama_text_model", ", \"cross_attention_layers\": 3", "not a list of layers"},
        {"smollm3", ", \"no_rope_layers\": [1, 0]", "must be a list of 3 integers"},
        {"llama", ", \"partial_rotary_factor\": 0.5", "partial_rotary_factor is 0.5"},
        {"glm", ", \"partial_rotary_factor\": 0.25", NULL},
        {"phi3", ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2}",
         "no RoPE of type 'yarn'"},
        {"llama", ", \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5}}", NULL},
        {"qwen3",
         ", \"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"]",
         "layer_types[1] is 'sliding_attention', but there is no window"},
        {"qwen3_moe", ", \"num_local_experts\": 16", NULL},
        {"ministral3", ", \"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2}",
         "needs a number 'llama_4_scaling_beta'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_spec s;
        const char *said = spec_error(cases[i].model_type, cases[i].more, NULL, &s);
        if (cases[i].say)
            CHECK_MSG(strstr(said, cases[i].say), "%s %s: '%s'", cases[i].model_type, cases[i].more,
                      said);
        else
            CHECK_MSG(!*said, "%s %s: '%s'", cases[i].model_type, cases[i].more, said);
    }
}

static void test_windows_of_mistral(void)
{
    qk_spec s;
    CHECK_STR(spec_error("mistral", "", NULL, &s), "");
    CHECK_INT(s.layer[2].window, 4096);
    CHECK_STR(spec_error("mistral", ", \"sliding_window\": null", NULL, &s), "");
    CHECK_INT(s.layer[2].window, 0);
    CHECK_STR(spec_error("mistral", "", "{\"sliding_window\": 7}", &s), "");
    CHECK_INT(s.layer[0].window, 7);
}

static void test_null_and_silence(void)
{
    qk_spec s;
    CHECK_STR(spec_error("mistral", "", "{\"num_key_value_heads\": null, \"head_dim\": null}", &s),
              "");
    CHECK(s.K == 4 && s.d == 16);
    CHECK_STR(
        spec_error("phi3", ", \"partial_rotary_factor\": 0.75", "{\"rope_scaling\": null}", &s),
        "");
    CHECK_INT(s.ropes[0].rotary, 12);
    CHECK_STR(spec_error("qwen3_moe", ", \"num_local_experts\": 16", NULL, &s), "");
    CHECK_INT(s.experts, 16);
    CHECK_STR(spec_error("phi3", "", NULL, &s), "");
    CHECK_CLOSE(s.ropes[0].original, 4096, 0);
}

/* ---- wrappers and RoPE by layer type ---- */

#define TEXT                                                                                       \
    "\"hidden_size\": 64, \"num_hidden_layers\": 7, \"num_attention_heads\": 4,"                   \
    "\"num_key_value_heads\": 2, \"vocab_size\": 10, \"intermediate_size\": 32"

static void test_wrappers(void)
{
    qk_spec s;
    qk_error err = {0};
    qk_arena arena = {0};
    write_config("{\"model_type\": \"gemma3\", \"vision_config\": {}, \"text_config\": {" TEXT
                 ", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}}}");
    CHECK_MSG(read_spec(&s, &arena, &err), "%s", err.message);
    CHECK_STR(s.family->model_type, "gemma3_text");
    CHECK_STR(s.wrapper ? s.wrapper->model_type : "", "gemma3");
    CHECK(s.n_ropes == 2 && s.ropes[0].type == QK_ROPE_LINEAR &&
          s.ropes[1].type == QK_ROPE_DEFAULT);
    CHECK(s.layer[0].rope == 1 && s.layer[5].rope == 0 && s.layer[5].window == 0);
    /* Overrides mean the text model, flat or nested. */
    static const char *const overrides[] = {"{\"num_hidden_layers\": 2}",
                                            "{\"text_config\": {\"num_hidden_layers\": 2}}"};
    for (int i = 0; i < 2; i++) {
        const qk_json *o;
        CHECK(!qk_json_parse(&arena, overrides[i], strlen(overrides[i]), "o", &o, &err));
        CHECK_INT(qk_spec_read(&s, folder, o, &arena, &err), QK_OK);
        CHECK_INT(s.layers, 2);
    }
    /* What the published 4B wrapper leaves out. */
    write_config("{\"model_type\": \"gemma3\", \"text_config\": {}}");
    CHECK_MSG(read_spec(&s, &arena, &err), "%s", err.message);
    CHECK(s.V == 262208 && s.H == 8 && s.K == 4 && s.D == 2304 && s.layers == 26 && s.F == 9216);
    write_config("{\"model_type\": \"mistral3\", " TEXT "}");
    CHECK(!read_spec(&s, &arena, &err) && strstr(err.message, "'text_config' is nothing"));
    write_config("{\"model_type\": \"mistral3\", \"text_config\": {\"model_type\": \"bert\"}}");
    CHECK(!read_spec(&s, &arena, &err) && strstr(err.message, "model_type 'bert'"));
    write_config("{\"model_type\": \"mistral3\", \"text_config\": {\"model_type\": \"gemma3\"}}");
    CHECK(!read_spec(&s, &arena, &err) && strstr(err.message, "the text model of 'mistral3'"));
    qk_arena_free(&arena);
}

static void test_rope_by_layer_type(void)
{
    static const char by_type[] =
        ", \"rope_parameters\": {\"sliding_attention\": {\"rope_type\": \"default\","
        "\"rope_theta\": 5000}, \"full_attention\": {\"rope_type\": \"linear\","
        "\"rope_theta\": 70000, \"factor\": 8.0}}";
    qk_spec s;
    CHECK_STR(spec_error("gemma3_text", by_type, NULL, &s), "");
    CHECK(s.ropes[0].theta == 70000 && s.ropes[0].factor == 8 && s.ropes[1].theta == 5000);
    /* A flat override means the layers without a window. */
    CHECK_STR(spec_error("gemma3_text", by_type, "{\"rope_scaling\": {\"factor\": 2.0}}", &s), "");
    CHECK(s.ropes[0].factor == 2 && s.ropes[0].theta == 70000 && s.ropes[1].factor == 1);
    CHECK_STR(spec_error("gemma3_text", by_type, "{\"rope_theta\": 9.0}", &s), "");
    CHECK(s.ropes[0].theta == 9 && s.ropes[1].theta == 5000);
    static const char old_type[] =
        ", \"rope_parameters\": {\"sliding_attention\": {\"rope_theta\": 5000}, \"full_attention\":"
        "{\"type\": \"linear\", \"factor\": 8.0}}, \"rope_theta\": 6.0";
    CHECK_STR(spec_error("gemma3_text", old_type, NULL, &s), "");
    CHECK(s.ropes[0].type == QK_ROPE_LINEAR && s.ropes[0].theta == 6 && s.ropes[1].theta == 5000);
    CHECK_STR(spec_error("gemma3_text", by_type, "{\"rope_scaling\": null}", &s), "");
    CHECK(s.ropes[0].type == QK_ROPE_DEFAULT && s.ropes[0].theta == 70000);
    CHECK(s.ropes[1].theta == 5000);
    /* Models with one RoPE take the flat keys alone, and Gemma 3 those by layer type alone. */
    CHECK_STR(spec_error("olmo3", by_type, NULL, &s), "");
    CHECK(s.n_ropes == 1 && s.ropes[0].type == QK_ROPE_DEFAULT && s.ropes[0].theta == 10000);
    CHECK_STR(spec_error("gemma3_text",
                         ", \"rope_local_base_freq\": 50, \"rope_parameters\": {\"rope_type\":"
                         "\"linear\", \"factor\": 2, \"rope_theta\": 9}",
                         NULL, &s),
              "");
    CHECK(s.ropes[0].type == QK_ROPE_DEFAULT && s.ropes[0].theta == 1000000);
    CHECK(s.ropes[1].theta == 50);
}

/* ---- checkpoints ---- */

static const char tiny_config[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 4, \"num_hidden_layers\": 1,"
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"vocab_size\": 3,"
    "\"intermediate_size\": 6}";

enum { N_TENSORS = 11 };
static float values[64];
static qk_st_out_tensor tensors[N_TENSORS + 2];

static void make_tensors(void)
{
    static const struct {
        const char *name;
        size_t rows, cols;
    } list[N_TENSORS] = {
        {"model.embed_tokens.weight", 3, 4},
        {"model.norm.weight", 4, 0},
        {"model.layers.0.input_layernorm.weight", 4, 0},
        {"model.layers.0.post_attention_layernorm.weight", 4, 0},
        {"model.layers.0.self_attn.q_proj.weight", 4, 4},
        {"model.layers.0.self_attn.k_proj.weight", 2, 4},
        {"model.layers.0.self_attn.v_proj.weight", 2, 4},
        {"model.layers.0.self_attn.o_proj.weight", 4, 4},
        {"model.layers.0.mlp.gate_proj.weight", 6, 4},
        {"model.layers.0.mlp.up_proj.weight", 6, 4},
        {"model.layers.0.mlp.down_proj.weight", 4, 6},
    };
    for (size_t i = 0; i < 64; i++) values[i] = 0.5f;
    for (size_t i = 0; i < N_TENSORS; i++)
        tensors[i] = (qk_st_out_tensor){
            list[i].name, "F32", list[i].cols ? 2 : 1, {list[i].rows, list[i].cols}, values};
}

/* Loads the tiny model from `n` of the tensors; "" when it loaded, else the message. */
static const char *load_as(const char *config, size_t n)
{
    static qk_error err;
    err = (qk_error){0};
    write_config(config);
    char *path = qk_path_join(folder, "model.safetensors");
    CHECK_INT(qk_safetensors_write(path, tensors, n, &err), QK_OK);
    free(path);
    qk_model_options o = {
        .backend = qk_backend_find("ref"), .device = {.compute = QK_F32}, .last_layer = -1};
    qk_model model;
    if (qk_model_load(&model, folder, &o, &err) != QK_OK) return err.message;
    qk_model_free(&model);
    return "";
}
static const char *load(size_t n)
{
    return load_as(tiny_config, n);
}

static void test_checkpoints_that_do_not_fit(void)
{
    make_tensors();
    CHECK_STR(load(N_TENSORS), "");
    CHECK(strstr(load(N_TENSORS - 1), "'model.layers.0.mlp.down_proj.weight' is missing"));
    tensors[4].shape[0] = 2;
    CHECK(strstr(load(N_TENSORS), "q_proj.weight' has shape [2, 4], expected [4, 4]"));
    make_tensors();
    tensors[N_TENSORS] =
        (qk_st_out_tensor){"model.layers.0.self_attn.q_norm.weight", "F32", 1, {2}, values};
    CHECK(
        strstr(load(N_TENSORS + 1), "does not use, the first is 'model.layers.0.self_attn.q_norm"));
    tensors[N_TENSORS].name = "lm_head.weight";
    CHECK_STR(load(N_TENSORS + 1), "");
    values[5] = NAN;
    CHECK(strstr(load(N_TENSORS), "values that are NaN or infinite"));
    make_tensors();
    static int64_t whole[16];
    tensors[4] = (qk_st_out_tensor){tensors[4].name, "I64", 2, {4, 4}, whole};
    CHECK(strstr(load(N_TENSORS), "has dtype I64"));
}

/* Tensors beside those of the backbone: heads are passed over, what contradicts config.json not. */
static void test_tensors_beside(void)
{
    static const struct {
        const char *name, *say;
    } cases[] = {
        {"score.weight", ""},
        {"classifier.bias", ""},
        {"v_head.summary.weight", ""},
        {"qa_outputs.weight", ""},
        {"lm_head.bias", ""},
        {"mtp.layers.0.self_attn.q_proj.weight", ""},
        {"model.layers.1.self_attn.q_proj.weight", ""},
        {"model.layers.0.self_attn.rotary_emb.inv_freq", ""},
        {"model.layers.0.self_attn.q_proj.bias", "does not use"},
        {"model.layers.0.mlp.norm.weight", "does not use"},
        {"model.norm.bias", "does not use"},
        {"model.embed_positions.weight", "does not use"},
        {"transformer.layers.0.mlp.up_proj.weight", "does not use"},
        {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "does not use"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_tensors();
        tensors[N_TENSORS] = (qk_st_out_tensor){cases[i].name, "F4", 1, {2}, values};
        const char *said = load(N_TENSORS + 1);
        CHECK_MSG(*said ? *cases[i].say && strstr(said, cases[i].say) : !*cases[i].say, "%s: '%s'",
                  cases[i].name, said);
    }
    make_tensors();
    tensors[4] = (qk_st_out_tensor){tensors[4].name, "F4", 2, {4, 4}, values};
    CHECK(strstr(load(N_TENSORS), "dtype F4: quantised checkpoints are not supported"));
}

/* Cuts "model." off all names and puts another prefix before them. */
static void rename_all(const char *prefix, char names[][80])
{
    make_tensors();
    for (size_t i = 0; i < N_TENSORS; i++) {
        snprintf(names[i], 80, "%s%s", prefix, tensors[i].name + strlen("model."));
        tensors[i].name = names[i];
    }
}

static void test_prefixes(void)
{
    static char names[N_TENSORS][80];
    static const char *const of_text[] = {"model.", "transformer.", ""};
    for (size_t i = 0; i < sizeof of_text / sizeof *of_text; i++) {
        rename_all(of_text[i], names);
        tensors[N_TENSORS] = (qk_st_out_tensor){"score.weight", "F32", 1, {2}, values};
        CHECK_STR(load(N_TENSORS + 1), "");
    }
    tensors[N_TENSORS].name = "wpe.weight";
    CHECK(strstr(load(N_TENSORS + 1), "does not use"));
    rename_all("decoder.", names);
    CHECK(strstr(load(N_TENSORS), "'model.embed_tokens.weight' is missing"));
    static const char *const of_wrapper[] = {"language_model.model.", "model.language_model.",
                                             "language_model.", "model."};
    char *config = qk_strf("{\"model_type\": \"mistral3\", \"text_config\": %s}", tiny_config);
    for (size_t i = 0; i < sizeof of_wrapper / sizeof *of_wrapper; i++) {
        rename_all(of_wrapper[i], names);
        tensors[N_TENSORS] = (qk_st_out_tensor){"vision_tower.a", "F32", 1, {2}, values};
        CHECK_STR(load_as(config, N_TENSORS + 1), "");
    }
    free(config);
}

/* One matrix for the embedding and the output head may lie there under either name. */
static void test_tied(void)
{
    static const struct {
        const char *model_type, *more, *head;
        bool loads;
    } cases[] = {
        {"llama", ", \"tie_word_embeddings\": true", "lm_head.weight", true},
        {"llama", ", \"tie_word_embeddings\": false", "lm_head.weight", false},
        {"llama", ", \"tie_word_embeddings\": null", "lm_head.weight", false},
        {"llama", "", "lm_head.weight", false},
        {"smollm3", "", "lm_head.weight", true},
        {"smollm3", ", \"tie_word_embeddings\": null", "lm_head.weight", false},
        {"llama", ", \"tie_word_embeddings\": true", "language_model.lm_head.weight", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_tensors();
        tensors[0].name = cases[i].head;
        char *config = qk_strf("{\"model_type\": \"%s\"%s%s", cases[i].model_type, cases[i].more,
                               strchr(tiny_config, ','));
        const char *said = load_as(config, N_TENSORS);
        CHECK_MSG(cases[i].loads ? !*said : strstr(said, "embed_tokens.weight' is missing") != NULL,
                  "%zu: '%s'", i, said);
        free(config);
    }
    char *config = qk_strf("{\"model_type\": \"mistral3\", \"text_config\": %s}", tiny_config);
    static char names[N_TENSORS][80];
    rename_all("language_model.model.", names);
    tensors[0].name = "language_model.lm_head.weight";
    CHECK_STR(load_as(config, N_TENSORS), "");
    free(config);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(folder, sizeof folder, "/tmp/qk_model_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    RUN(test_defaults_and_windows);
    RUN(test_corpus_of_configs);
    RUN(test_keys_that_change_the_arithmetic);
    RUN(test_windows_of_mistral);
    RUN(test_null_and_silence);
    RUN(test_wrappers);
    RUN(test_rope_by_layer_type);
    RUN(test_checkpoints_that_do_not_fit);
    RUN(test_tensors_beside);
    RUN(test_prefixes);
    RUN(test_tied);
    char *config = qk_path_join(folder, "config.json");
    char *weights = qk_path_join(folder, "model.safetensors");
    unlink(config), unlink(weights), rmdir(folder);
    free(config), free(weights);
    return test_summary("model");
}
