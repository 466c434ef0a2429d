/* Tiny models and goldens made on the spot, for where the goldens of transformers are not: random
 * weights for the configuration of such a golden (tests/data/golden.tar.xz), and what the reference
 * backend, kernels/ref, computes with them in float32. They show that another backend, or another
 * way to run the model, gives the same; what the right numbers are, they do not. */
#pragma once

#include <ftw.h>
#include <unistd.h>

#include "engine/tools/synth.h"
#include "engine/tools/verify.h"
#include "formats/safetensors.h"
#include "kernels/backend.h"
#include "tests/test.h"

enum { GENERATED_SEQUENCES = 2, GENERATED_TOKENS = 40 };

/* "<folder>/model", as `qkengine synth` writes it; false when there is no such configuration. */
static inline bool generated_model(const char *name, const char *folder)
{
    qk_buf config = {0};
    char *inside = qk_strf("forward/%s/model/config.json", name), *path = test_golden(inside);
    bool there = path && qk_read_file(&config, path, 1 << 20, &test_error) == QK_OK;
    if (there) {
        char *model = qk_path_join(folder, "model");
        qk_synth_options options = {.name = name, .dtype = QK_F32, .seed = 7, .threads = 1};
        qk_arena arena = {0};
        qk_synth_result result;
        bool made = qk_json_parse(&arena, (char *)config.data, config.size, path, &options.config,
                                  &test_error) == QK_OK &&
                    qk_synth(&options, model, &result, &test_error) == QK_OK;
        CHECK_MSG(made, "%s: %s", name, test_error.message);
        qk_arena_free(&arena);
        free(model);
    }
    qk_buf_free(&config);
    free(inside);
    free(path);
    return there;
}

/* Writes the ids, and of every layer q and k before and after RoPE, v and the log-sum-exp: of `v`,
 * or zeros. */
static inline void generated_write(const char *path, const qk_spec *spec, const qk_verification *v)
{
    enum { S = GENERATED_SEQUENCES, T = GENERATED_TOKENS };
    static int64_t ids[S * T];
    uint64_t random = 1;
    for (int i = 0; i < S * T; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int64_t)(random >> 33) % spec->V;
    }
    qk_arena arena = {0};
    qk_st_out_tensor *all = qk_zalloc((size_t)spec->layers * 6 + 1, sizeof *all);
    size_t n = 0;
    float *zeros = qk_zalloc((size_t)S * (size_t)spec->H * T * (size_t)spec->d, sizeof *zeros);
    all[n++] = (qk_st_out_tensor){
        .name = "input_ids", .dtype = "I64", .n_dims = 2, .shape = {S, T}, .data = ids};
    for (int l = 0; l < spec->layers; l++)
        for (int kind = 0; kind < 6; kind++) {
            static const char *const kinds[] = {"k", "k_pre", "lse", "q", "q_pre", "v"};
            const char *name = qk_arena_strf(&arena, "%02d.%s", l, kinds[kind]);
            size_t heads = (size_t)(strchr("kv", *kinds[kind]) ? spec->K : spec->H);
            size_t width = *kinds[kind] == 'l' ? 1 : (size_t)spec->d;
            const void *data = zeros;
            for (size_t i = 0; v && i < v->count; i++)
                if (!strcmp(v->items[i].name, name)) data = v->items[i].data;
            /* Layers with cross-attention have none. */
            if (v && !memcmp(data, zeros, S * heads * T * width * sizeof *zeros)) continue;
            all[n++] = (qk_st_out_tensor){.name = name,
                                          .dtype = "F32",
                                          .n_dims = width > 1 ? 4 : 3,
                                          .shape = {S, heads, T, width > 1 ? width : 0},
                                          .data = data};
        }
    CHECK_MSG(qk_safetensors_write(path, all, n, &test_error) == QK_OK, "%s", test_error.message);
    free(zeros);
    free(all);
    qk_arena_free(&arena);
}

/* The largest error of a golden's q and k when a backend computes them; -1 when it cannot. */
static inline double generated_error(const char *model, const char *golden, const char *backend,
                                     qk_dtype compute)
{
    qk_model_options options = {.backend = qk_backend_find(backend),
                                .device = {.compute = compute, .threads = 1},
                                .last_layer = -1};
    qk_verification v;
    if (qk_verify(&v, model, golden, &options, &test_error) != QK_OK) return -1;
    double worst = 0;
    for (size_t i = 0; i < v.count; i++)
        if (strpbrk(v.items[i].name, "qk") && !(v.items[i].rms_error <= worst))
            worst = v.items[i].rms_error;
    qk_verification_free(&v);
    return worst;
}

/* Also "<folder>/golden.safetensors", and a meta.json that allows in bfloat16 half as much again as
 * the CPU's backend is off in q and k. */
static inline bool generated_golden(const char *name, const char *folder)
{
    if (!generated_model(name, folder)) return false;
    char *model = qk_path_join(folder, "model"),
         *golden = qk_path_join(folder, "golden.safetensors");
    qk_arena arena = {0};
    qk_spec spec;
    qk_model_options options = {.backend = qk_backend_find("ref"),
                                .device = {.compute = QK_F32, .threads = 1},
                                .last_layer = -1};
    qk_verification v;
    CHECK(qk_spec_read(&spec, model, NULL, &arena, &test_error) == QK_OK);
    generated_write(golden, &spec, NULL);
    bool ran = qk_verify(&v, model, golden, &options, &test_error) == QK_OK;
    CHECK_MSG(ran, "%s: %s", name, test_error.message);
    if (ran) generated_write(golden, &spec, &v);
    if (ran) qk_verification_free(&v);
    double error = generated_error(model, golden, "cpu", QK_BF16);
    char *meta = qk_path_join(folder, "meta.json");
    char *text = qk_strf("{\"bf16_error\": {\"0\": {\"q\": %.9g}}}", 1.5 * error);
    CHECK(error > 0 && qk_write_file(meta, text, strlen(text), &test_error) == QK_OK);
    free(text);
    free(meta);
    qk_arena_free(&arena);
    free(model);
    free(golden);
    return true;
}

static inline int generated_remove_one(const char *path, const struct stat *st, int type,
                                       struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static inline void generated_remove(const char *folder)
{
    nftw(folder, generated_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Either of the two for every configuration that there is, in "<folder>/NAME". */
static inline void generated_all(const char *folder,
                                 bool (*make)(const char *name, const char *folder))
{
    qk_names names;
    CHECK(qk_list_dir("build/golden/forward", &names, &test_error) == QK_OK);
    for (size_t i = 0; i < names.count; i++) {
        char *own = qk_path_join(folder, names.items[i]);
        CHECK(qk_make_dirs(own, &test_error) == QK_OK && make(names.items[i], own));
        free(own);
    }
    qk_names_free(&names);
}
