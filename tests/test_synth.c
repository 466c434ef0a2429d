/* engine/tools/synth: the generator, and the folders it writes. */
#include <sys/stat.h>
#include <unistd.h>

#include "engine/families/presets.h"
#include "engine/model/bind.h"
#include "engine/tools/synth.h"
#include "formats/safetensors.h"
#include "tests/test.h"

static char folder[64];

static char *in_folder(const char *name)
{
    return qk_path_join(folder, name);
}

static void remove_folder(const char *path)
{
    qk_names names;
    if (qk_list_dir(path, &names, &test_error) != QK_OK) return;
    for (size_t i = 0; i < names.count; i++) {
        char *file = qk_path_join(path, names.items[i]);
        unlink(file);
        free(file);
    }
    qk_names_free(&names);
    rmdir(path);
}

/* ---- values ---- */

enum { N = 1 << 18 };

static qk_synth_values values_of(const char *name, size_t cols, bool plus_one, uint64_t seed)
{
    qk_spec spec = {.norm_plus_one = plus_one};
    qk_tensor_spec t = {.name = name, .n_dims = cols ? 2 : 1, .shape = {64, cols}};
    return qk_synth_values_of(&spec, &t, seed);
}

static void moments(const float *v, double *mean, double *deviation, double *kurtosis)
{
    double m1 = 0, m2 = 0, m4 = 0;
    for (size_t i = 0; i < N; i++) m1 += v[i];
    *mean = m1 / N;
    for (size_t i = 0; i < N; i++) {
        double d = v[i] - *mean;
        m2 += d * d, m4 += d * d * d * d;
    }
    *deviation = sqrt(m2 / N);
    *kurtosis = m4 / N / (m2 / N * (m2 / N));
}

static void test_distribution(void)
{
    float *v = qk_alloc(N, sizeof *v);
    double mean, deviation, kurtosis;
    qk_synth_values matrix = values_of("w", 1024, false, 0), norm = values_of("n", 0, false, 0);
    qk_synth_fill(v, QK_F32, &matrix, 0, N, 0);
    moments(v, &mean, &deviation, &kurtosis);
    /* Of N independent values: five standard errors. Four uniform ones added have kurtosis 2.7. */
    CHECK_CLOSE(mean, 0, 5.0 / 32 / sqrt(N));
    CHECK_CLOSE(deviation, 1.0 / 32, 5.0 / 32 / sqrt(2.0 * N));
    CHECK_CLOSE(kurtosis, 2.7, 0.05);
    qk_synth_fill(v, QK_F32, &norm, 0, N, 0);
    moments(v, &mean, &deviation, &kurtosis);
    CHECK_CLOSE(mean, 1, 5 * 0.02 / sqrt(N));
    CHECK_CLOSE(deviation, 0.02, 5 * 0.02 / sqrt(2.0 * N));
    CHECK(values_of("n", 0, true, 0).mean == 0);
    free(v);
}

/* The published formula, step by step in this test's own words. */
static void test_known_values(void)
{
    uint64_t state = 1234567, first = 0;
    const uint64_t step = 0x9E3779B97F4A7C15u;
    /* SplitMix64 seeded with 1234567 begins with 6457827717110365317 (its reference program). */
    uint64_t z = state + step;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    first = z ^ (z >> 31);
    CHECK(first == 6457827717110365317u);
    int sum = (int)(first & 65535) + (int)(first >> 16 & 65535) + (int)(first >> 32 & 65535) +
              (int)(first >> 48) - 131070;
    qk_synth_values v = {state, 0.5f, 0.25f};
    float got;
    qk_synth_fill(&got, QK_F32, &v, 0, 1, 1);
    CHECK(got == 0.5f + 0.25f * (float)sum);
}

static void test_threads_and_pieces(void)
{
    static const qk_dtype dtypes[] = {QK_F32, QK_F16, QK_BF16};
    qk_synth_values v = values_of("model.w", 96, false, 7);
    float *f = qk_alloc(N, sizeof *f);
    qk_synth_fill(f, QK_F32, &v, 0, N, 1);
    for (int d = 0; d < 3; d++) {
        size_t size = qk_dtype_size(dtypes[d]);
        uint8_t *whole = qk_alloc(N, size), *pieces = qk_alloc(N, size);
        qk_synth_fill(whole, dtypes[d], &v, 0, N, 1);
        for (size_t at = 0, n = 1; at < N; at += n, n = 3 * n + 1) {
            if (n > N - at) n = N - at;
            qk_synth_fill(pieces + at * size, dtypes[d], &v, at, n, 3);
        }
        CHECK(!memcmp(whole, pieces, N * size));
        for (size_t i = 0; i < N && dtypes[d] != QK_F32; i++) {
            uint16_t h = ((uint16_t *)whole)[i];
            CHECK(h == (dtypes[d] == QK_BF16 ? qk_f32_to_bf16(f[i]) : qk_f32_to_f16(f[i])));
        }
        free(whole), free(pieces);
    }
    free(f);
}

static void test_keys_differ(void)
{
    uint64_t a = values_of("a", 8, false, 0).key;
    CHECK(a != values_of("b", 8, false, 0).key && a != values_of("a", 8, false, 1).key);
    CHECK(a == values_of("a", 16, true, 0).key);
}

/* ---- folders ---- */

static qk_status make(const char *like, int layers, const char *name, qk_synth_result *r,
                      qk_error *err)
{
    qk_arena arena = {0};
    qk_synth_options o = {like, qk_preset_config(qk_preset_find(like), &arena), layers, QK_BF16, 0,
                          2};
    char *path = in_folder(name);
    qk_status s = qk_synth(&o, path, r, err);
    qk_arena_free(&arena);
    free(path);
    return s;
}

/* Every tensor is there with the right shape, and none besides: what qk_bind checks. */
static void check_folder(const char *name, int layers, size_t tensors)
{
    char *path = in_folder(name);
    qk_arena arena = {0};
    qk_checkpoint c;
    qk_spec spec;
    qk_binding b;
    qk_error err = {0};
    CHECK_MSG(qk_spec_read(&spec, path, NULL, &arena, &err) == QK_OK, "%s", err.message);
    CHECK_INT(spec.layers, layers);
    CHECK_MSG(qk_checkpoint_open(&c, path, &err) == QK_OK, "%s", err.message);
    CHECK_INT(c.count, tensors);
    CHECK_MSG(qk_bind(&b, &spec, &c, &arena, path, &err) == QK_OK, "%s", err.message);
    qk_checkpoint_close(&c);
    qk_arena_free(&arena);
    remove_folder(path);
    free(path);
}

static void test_folders(void)
{
    static const struct {
        const char *like;
        int layers;
        size_t tensors; /* counted by hand: the embedding, the final norm, and each layer's */
    } cases[] = {
        {"smollm2-135m", 2, 2 + 2 * 9},
        {"qwen3-0.6b", 1, 2 + 11},
        {"qwen2-0.5b", 1, 2 + 12},
        {"gemma-3-270m", 1, 2 + 13},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_synth_result r;
        qk_error err = {0};
        qk_status s = make(cases[i].like, cases[i].layers, "model", &r, &err);
        CHECK_MSG(s == QK_OK, "%s: %s", cases[i].like, err.message);
        CHECK_INT(r.bytes, 2 * r.parameters);
        CHECK_INT(r.tensors, cases[i].tensors);
        if (s == QK_OK) check_folder("model", cases[i].layers, cases[i].tensors);
    }
}

/* Lists for each layer stay as long as the model. */
static void test_lists_are_cut(void)
{
    qk_synth_result r;
    CHECK_INT(make("gemma-3-270m", 3, "cut", &r, &test_error), QK_OK);
    char *path = in_folder("cut"), *file = qk_path_join(path, "config.json");
    qk_arena arena = {0};
    const qk_json *config;
    CHECK_INT(qk_json_parse_file(&arena, file, 1 << 20, &config, &test_error), QK_OK);
    CHECK_INT(qk_json_get(config, "layer_types")->count, 3);
    CHECK_INT(qk_json_get(config, "num_hidden_layers")->integer, 3);
    CHECK(qk_json_is_string(qk_json_get(config, "torch_dtype"), "bfloat16"));
    qk_arena_free(&arena);
    remove_folder(path);
    free(file), free(path);
}

static void test_refusals(void)
{
    qk_synth_result r;
    qk_error err = {0};
    CHECK_INT(make("smollm2-135m", 31, "deep", &r, &err), QK_ERR_USAGE);
    CHECK_MSG(strstr(err.message, "has 30 layers"), "%s", err.message);
    char *path = in_folder("full"), *file = qk_path_join(path, "note.txt");
    CHECK_INT(qk_make_dirs(path, &err), QK_OK);
    CHECK_INT(qk_write_file(file, "x", 1, &err), QK_OK);
    CHECK_INT(make("smollm2-135m", 1, "full", &r, &err), QK_ERR_CONFIG);
    CHECK_MSG(strstr(err.message, "not empty"), "%s", err.message);
    CHECK(test_file_size(file) == 1);
    remove_folder(path);
    free(file), free(path);
    /* 470 GB: no file appears, whether the disk is smaller or not. */
    uint64_t free_bytes;
    CHECK_INT(qk_disk_free(folder, &free_bytes, &err), QK_OK);
    if (free_bytes > 400e9) SKIP("the disk has 470 GB");
    CHECK_INT(make("qwen3-235b-a22b", 0, "big", &r, &err), QK_ERR_IO);
    CHECK_MSG(strstr(err.message, "are free"), "%s", err.message);
    path = in_folder("big");
    CHECK(rmdir(path) == 0);
    free(path);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(folder, sizeof folder, "/tmp/qk_synth_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    RUN(test_distribution);
    RUN(test_known_values);
    RUN(test_threads_and_pieces);
    RUN(test_keys_differ);
    RUN(test_folders);
    RUN(test_lists_are_cut);
    RUN(test_refusals);
    rmdir(folder);
    return test_summary("synth");
}
