/* engine/families and engine/model: config.json of the corpus, and checkpoints that do not fit. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/model.h"
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

/* ---- checkpoints ---- */

static const char tiny_config[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 4, \"num_hidden_layers\": 1,"
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"vocab_size\": 3,"
    "\"intermediate_size\": 6}";

enum { N_TENSORS = 11 };
static float values[64];
static qk_st_out_tensor tensors[N_TENSORS + 1];

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
static const char *load(size_t n)
{
    static qk_error err;
    err = (qk_error){0};
    write_config(tiny_config);
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

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/qk_model_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    RUN(test_defaults_and_windows);
    RUN(test_corpus_of_configs);
    RUN(test_checkpoints_that_do_not_fit);
    char *config = qk_path_join(folder, "config.json");
    char *weights = qk_path_join(folder, "model.safetensors");
    unlink(config), unlink(weights), rmdir(folder);
    free(config), free(weights);
    return test_summary("model");
}
