/* Every built-in configuration is read without a warning, and its tensors add up to the number of
 * parameters that was published for the model. */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "engine/families/family.h"
#include "engine/families/presets.h"
#include "tests/test.h"

static qk_arena arena;

/* The output head shares the embedding: as config.json says or, when it is silent, as the classes
 * of transformers have it. */
static bool is_tied(const qk_spec *s)
{
    const qk_json *v = qk_json_get(s->text, "tie_word_embeddings");
    if (v) return v->boolean;
    return !strncmp(s->family->model_type, "gemma", 5) || !strcmp(s->family->model_type, "smollm3");
}

static qk_status add(void *context, const qk_tensor_spec *t)
{
    *(uint64_t *)context += (uint64_t)t->shape[0] * (t->n_dims == 2 ? t->shape[1] : 1);
    return QK_OK;
}

static uint64_t count_parameters(const qk_spec *s)
{
    uint64_t n = 0;
    CHECK(qk_each_tensor(s, add, &n) == QK_OK);
    /* The rows of extra embeddings have no counterpart in the head. */
    if (!is_tied(s)) n += (uint64_t)(s->V - s->family->extra_embeddings) * (uint64_t)s->D;
    return n;
}

static qk_status read_preset(const qk_preset *p, qk_spec *s)
{
    return qk_spec_from(s, qk_preset_config(p, &arena), NULL, p->name, &arena, &test_error);
}

/* What the call wrote to standard error, as a size. */
static off_t complaints(const qk_preset *p, qk_spec *s, qk_status *status)
{
    char path[] = "/tmp/qk_presets_XXXXXX";
    int file = mkstemp(path), kept = dup(2);
    fflush(stderr);
    dup2(file, 2);
    *status = read_preset(p, s);
    fflush(stderr);
    dup2(kept, 2);
    off_t size = lseek(file, 0, SEEK_END);
    close(file), close(kept), unlink(path);
    return size;
}

static void test_parameters(void)
{
    const qk_preset *p;
    for (size_t i = 0; (p = qk_preset_at(i)); i++) {
        qk_spec s;
        qk_status status;
        CHECK_MSG(complaints(p, &s, &status) == 0, "%s: a warning", p->name);
        CHECK_MSG(status == QK_OK, "%s: %s", p->name, test_error.message);
        if (status != QK_OK) continue;
        uint64_t n = count_parameters(&s),
                 off = n > p->parameters ? n - p->parameters : p->parameters - n;
        CHECK_MSG(off < p->unit, "%s: %" PRIu64 " parameters, published: %" PRIu64 " to %" PRIu64,
                  p->name, n, p->parameters, p->unit);
    }
    CHECK_MSG(qk_preset_at(60), "only few presets");
}

/* A file without its line would be a preset that nobody finds. */
static void test_files_have_lines(void)
{
    DIR *folder = opendir("engine/families/presets");
    QK_ASSERT(folder);
    for (struct dirent *e; (e = readdir(folder));) {
        char *dot = strstr(e->d_name, ".json");
        if (!dot) continue;
        *dot = 0;
        const qk_preset *p = qk_preset_find(e->d_name);
        CHECK_MSG(p && !strcmp(p->name, e->d_name), "%s.json: no line in presets.c", e->d_name);
    }
    closedir(folder);
}

static void test_names(void)
{
    const qk_preset *p, *q;
    qk_error err;
    for (size_t i = 0; (p = qk_preset_at(i)); i++)
        for (size_t j = 0; j < i; j++) {
            q = qk_preset_at(j);
            CHECK_MSG(strcmp(p->name, q->name), "%s twice", p->name);
            CHECK_MSG(strcmp(p->repository, q->repository), "%s twice", p->repository);
        }
    p = qk_preset_find("Qwen/Qwen3-8B");
    CHECK(p && !strcmp(p->name, "qwen3-8b"));
    CHECK(qk_preset_find("qwen/qwen3-8b") == p && qk_preset_find("QWEN3-8B") == p);
    CHECK(!qk_preset_find("qwen3-9x"));
    CHECK_STR(qk_preset_find("SmolLM3")->name, "smollm3-3b");
    CHECK_STR(qk_preset_find("qwen3-30b")->name, "qwen3-30b-a3b");
    CHECK(!qk_preset_find("smollm2") && !qk_preset_find("smoll") && !qk_preset_find(""));
    CHECK(qk_preset_need("smollm2", &q, &err) == QK_ERR_NOTFOUND);
    CHECK_STR(err.message, "several built-in configurations begin with 'smollm2'");
    CHECK_STR(err.hint, "write one of: smollm2-135m, smollm2-360m, smollm2-1.7b");
    CHECK(qk_preset_need("qwen3-8x", &q, &err) == QK_ERR_NOTFOUND);
    CHECK_MSG(strstr(err.message, "did you mean 'qwen3-8b'"), "%s", err.message);
    CHECK(qk_preset_need("Qwen/Qwen3-8X", &q, &err) == QK_ERR_NOTFOUND);
    CHECK_MSG(strstr(err.message, "did you mean 'Qwen/Qwen3-8B'"), "%s", err.message);
}

static void read_named(const char *name, qk_spec *s)
{
    const qk_preset *p = qk_preset_find(name);
    CHECK_MSG(p && read_preset(p, s) == QK_OK, "%s: %s", name, test_error.message);
}

static int windows(const qk_spec *s)
{
    int n = 0;
    for (int l = 0; l < s->layers; l++) n += s->layer[l].window > 0;
    return n;
}

/* What the sum of parameters does not see. */
static void test_particulars(void)
{
    qk_spec s;
    read_named("qwen3-8b", &s);
    CHECK(s.d == 128 && s.K == 8 && s.ropes[0].theta == 1e6 && windows(&s) == 0);
    read_named("gemma-3-27b", &s);
    CHECK(s.H == 32 && s.K == 16 && s.d == 128 && windows(&s) == 52 && s.n_ropes == 2);
    CHECK(s.ropes[0].theta == 1e6 && s.ropes[0].factor == 8 && s.ropes[1].theta == 1e4);
    CHECK(s.ropes[1].factor == 1 && s.V == 262208);
    CHECK_CLOSE(s.attention_scale, 1 / sqrt(168), 1e-7);
    read_named("gemma-3-270m", &s);
    CHECK(windows(&s) == 15 && s.layer[5].window == 0 && s.layer[0].window == 512);
    read_named("gemma-2-27b", &s);
    CHECK(windows(&s) == 23 && s.soft_cap == 50);
    read_named("llama-3.2-90b-vision", &s);
    int absent = 0;
    for (int l = 0; l < s.layers; l++) absent += s.layer[l].absent;
    CHECK(absent == 20 && s.layer[98].absent && s.layers == 100);
    read_named("mistral-7b-v0.1", &s);
    CHECK(windows(&s) == 32 && s.layer[0].window == 4096);
    read_named("smollm3-3b", &s);
    CHECK(s.layer[3].rope == -1 && s.layer[4].rope == 0 && s.layer[35].rope == -1);
    read_named("glm-4-9b", &s);
    CHECK(s.ropes[0].rotary == 64 && s.interleaved && s.qkv_bias && !s.o_bias);
    read_named("phi-4-mini", &s);
    CHECK(s.ropes[0].rotary == 96 && s.ropes[0].type == QK_ROPE_LONGROPE);
    read_named("ministral-3-8b", &s);
    CHECK(s.q_scale_beta == 0.1 && s.q_scale_length == 16384 && s.ropes[0].type == QK_ROPE_YARN);
    read_named("qwen3-235b-a22b", &s);
    CHECK(s.experts == 128 && s.top_k == 8 && s.expert_F == 1536 && s.layer[93].sparse);
    read_named("granite-3.3-8b", &s);
    CHECK_CLOSE(s.residual_scale, 0.22, 1e-7);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_parameters);
    RUN(test_files_have_lines);
    RUN(test_names);
    RUN(test_particulars);
    qk_arena_free(&arena);
    return test_summary("presets");
}
