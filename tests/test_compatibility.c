/* What may lie in one folder: the table of identity keys, texts behind ids, and tables of ids that
 * stay fast whatever the ids are. Whole runs: tests/interop/mixing.py. */
#include "engine/run/identify.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"
#include "tests/test.h"

#include <unistd.h>

#include "engine/config/keys.h"
#include "engine/dataset/dataset.h"
#include "engine/output/compatibility.h"
#include "engine/output/example_texts.h"

/* ---- tables of ids: steps, not seconds ---- */

enum { IDS = 1000000, FEWER_IDS = 200000, PATTERNS = 6 };

static const char *const pattern_names[PATTERNS] = {
    "sequential", "i << 16", "i << 32", "multiples of the table's size", "high bits", "random"};

static int64_t id_of(int pattern, int64_t i)
{
    switch (pattern) {
    case 0: return i;
    case 1: return i << 16;
    case 2: return i << 32;
    case 3: return i << 21; /* slots of a table of 10^6 */
    case 4: return (int64_t)((uint64_t)i << 44);
    default: return (int64_t)((uint64_t)i * 6364136223846793005u ^ (uint64_t)i << 33);
    }
}

/* Tables double while they grow, so that each id is placed two or three times. */
static void check_steps(const char *table, int pattern, uint64_t probes, uint64_t places)
{
    double steps = (double)probes / (double)places;
    CHECK_MSG(steps < 8, "%s, %s: %.1f steps for each id", table, pattern_names[pattern], steps);
}

static void test_id_book_is_linear(void)
{
    for (int p = 0; p < PATTERNS; p++) {
        qk_id_index index = {0};
        int64_t any, lost = 0;
        for (int64_t i = 0; i < IDS; i++) lost += !qk_id_index_add(&index, id_of(p, i));
        check_steps("id index", p, index.probes + index.others.probes, IDS);
        for (int64_t i = 0; i < IDS; i++) lost += !qk_id_index_has(&index, id_of(p, i));
        CHECK_INT(lost, 0);
        CHECK_INT(index.count, IDS);
        /* All of one stored id: asking for it is one step all the same. */
        uint32_t sharing = qk_id_index_find(&index, 0, &any);
        CHECK_INT(sharing, p == 2 || p == 4 ? IDS : p == 1 ? 16 : p == 3 ? 489 : 1);
        CHECK(any == 0);
        qk_id_index_free(&index);
    }
}

static void test_pairset_is_linear(void)
{
    for (int p = 0; p < PATTERNS; p++) {
        qk_pair_set set = {0};
        int64_t lost = 0;
        for (int64_t i = 0; i < FEWER_IDS; i++)
            lost += !qk_pair_set_add(&set, id_of(p, i / 4), i % 4);
        check_steps("pair set", p, set.probes, FEWER_IDS);
        CHECK_INT(lost, 0);
        qk_pair_set_free(&set);
    }
}

static void test_texts_are_linear(void)
{
    for (int p = 0; p < PATTERNS; p++) {
        qk_texts texts = {0};
        int64_t lost = 0;
        for (int64_t i = 0; i < FEWER_IDS; i++) {
            qk_unit_example e = {.index = i, .id = id_of(p, i), .sha256 = {7}};
            lost += qk_texts_add(&texts, &e, QK_TEXT_COMES) != QK_TEXT_NEW;
        }
        check_steps("texts", p, texts.probes, FEWER_IDS);
        CHECK_INT(lost, 0);
        qk_texts_free(&texts);
    }
}

/* ---- texts ---- */

static qk_text add(qk_texts *t, int64_t id, int64_t index, uint8_t text, qk_text_side side)
{
    qk_unit_example e = {.index = index, .id = id, .sha256 = {text}};
    qk_text looked = qk_texts_find(t, &e), added = qk_texts_add(t, &e, side);
    CHECK_INT(looked, added);
    return added;
}

static void test_texts(void)
{
    qk_texts t = {0};
    CHECK_INT(add(&t, 1, 0, 10, QK_TEXT_THERE), QK_TEXT_NEW);
    CHECK_INT(add(&t, 1, 3, 11, QK_TEXT_THERE), QK_TEXT_OTHER); /* an old folder that is mixed */
    CHECK_INT(add(&t, 1 + (1LL << 32), 1, 12, QK_TEXT_THERE), QK_TEXT_NEW);
    CHECK_INT(add(&t, 1, 7, 10, QK_TEXT_COMES), QK_TEXT_KNOWN);
    CHECK_INT(add(&t, 1, 8, 11, QK_TEXT_COMES), QK_TEXT_KNOWN);
    CHECK_INT(add(&t, 2, 9, 10, QK_TEXT_COMES), QK_TEXT_NEW);
    CHECK_INT(add(&t, 2, 10, 0, QK_TEXT_COMES), QK_TEXT_AGAIN);
    CHECK_INT(add(&t, 2, 11, 0, QK_TEXT_COMES), QK_TEXT_KNOWN);
    CHECK_INT(add(&t, 1, 12, 13, QK_TEXT_COMES), QK_TEXT_OTHER);
    qk_unit_example e = {.index = 12, .id = 1, .id_text = "one", .sha256 = {13}};
    qk_error err = {0};
    CHECK_INT(qk_texts_refuse(&t, &e, "there", "this run", "hint", &err), QK_ERR_DATA);
    CHECK_STR(err.message, "the id 1 ('one') stands for two texts: example 0 of there (SHA-256 of "
                           "its tokens 0a00000000000000...) and example 12 of this run "
                           "(0d00000000000000...)");
    CHECK_STR(err.hint, "hint");
    qk_texts_free(&t);
}

/* ---- meaning ---- */

static void check_classified(const qk_json *object, const char *path, qk_arena *arena)
{
    for (const qk_json *m = object->first; m; m = m->next) {
        const char *below = qk_arena_strf(arena, "%s%s%s", path, *path ? "." : "", m->key);
        qk_key_kind kind = qk_key_kind_of(below);
        CHECK_MSG(kind != QK_KEY_UNKNOWN,
                  "'%s' decides what a row means, or selects rows: add it to "
                  "engine/output/compatibility.c",
                  below);
        if (kind == QK_KEY_INSIDE) check_classified(m, below, arena);
    }
}

/* Every key that an identity has today; some it has only where they are on. */
static void test_every_key_is_classified(void)
{
    const char *settings[64] = {"capture.head_sampling.count=3", "output.data_root=out",
                                "capture.rope=[pre, post]",      "capture.sampler.first=1",
                                "capture.sampler.keys.type=all", "capture.max_rows_per_batch=9"};
    int n_settings = 6;
    qk_config config;
    qk_inputs inputs;
    qk_plan plan;
    qk_dataset *dataset;
    qk_identity id;
    qk_arena arena = {0};
    qk_error err = {0};
    char here[4096];
    for (const qk_config_key *k = qk_config_keys; k < qk_config_keys + qk_config_n_keys; k++) {
        /* rope has both states; that of capture_pre_rope alone is always named. */
        if (k->type != &qk_config_bool || !strcmp(k->name, "capture_pre_rope")) continue;
        QK_ASSERT(n_settings < 64);
        settings[n_settings++] = qk_arena_strf(&arena, "%s.%s=true", k->section, k->name);
    }
    CHECK(getcwd(here, sizeof here) != NULL);
    CHECK_INT(chdir("tests/data/capture/case1_llama_log_uniform"), 0);
    QK_ASSERT(!qk_config_load(&config, "config.yaml", settings, n_settings, &err));
    QK_ASSERT(!qk_inputs_open(&inputs, &config, QK_INPUTS_RUN, &err));
    QK_ASSERT(!qk_plan_make(&plan, &config, &inputs, &err));
    QK_ASSERT(!qk_dataset_open_in(&dataset, &config, NULL, &err));
    QK_ASSERT(!qk_identity_make(&id, &plan, dataset, &arena, &err));
    check_classified(id.tree, "", &arena);
    CHECK_INT(qk_key_kind_of("config.capture"), QK_KEY_INSIDE);
    CHECK_INT(qk_key_kind_of("config.capture.sampler.type"), QK_KEY_SELECTS);
    CHECK_INT(qk_key_kind_of("model_config.rope_parameters.rope_theta"), QK_KEY_DECIDES);
    CHECK_INT(qk_key_kind_of("config.model.dtypes"), QK_KEY_UNKNOWN);
    CHECK_INT(qk_key_kind_of("conf"), QK_KEY_UNKNOWN);
    CHECK_INT(qk_key_kind_of("arithmetic"), QK_KEY_UNKNOWN); /* of a run, not of its identity */
    qk_dataset_close(dataset);
    qk_plan_free(&plan);
    qk_inputs_free(&inputs);
    qk_config_free(&config);
    qk_arena_free(&arena);
    CHECK_INT(chdir(here), 0);
}

static const qk_json *parse(qk_arena *arena, const char *text)
{
    const qk_json *tree;
    QK_ASSERT(!qk_json_parse(arena, text, strlen(text), "test", &tree, &test_error));
    return tree;
}

static const char *difference(qk_arena *arena, const char *then, const char *now)
{
    const char *found = qk_compatibility_difference(parse(arena, then), parse(arena, now), arena);
    return found ? found : "none";
}

static void test_meaning_differences(void)
{
    qk_arena a = {0};
    CHECK_STR(difference(&a, "{\"config\": {\"model\": {\"dtype\": \"float32\"}}}",
                         "{\"config\": {\"model\": {\"dtype\": \"bfloat16\"}}}"),
              "config.model.dtype: \"float32\" then, \"bfloat16\" now");
    CHECK_STR(difference(&a, "{\"config\": {\"dataset\": {\"path\": \"a\"}}, \"heads\": [1]}",
                         "{\"config\": {\"dataset\": {\"path\": \"b\"}}, \"heads\": []}"),
              "none");
    /* A key that only one version knows is no difference; one that nobody has listed is. */
    CHECK_STR(difference(&a, "{}", "{\"model_files\": [1]}"), "none");
    CHECK_STR(difference(&a, "{\"model_files\": [1]}", "{}"), "none");
    CHECK_STR(difference(&a, "{\"new\": 1}", "{\"new\": 2}"), "new: 1 then, 2 now");
    CHECK_STR(difference(&a, "{\"model_config\": {\"a\": 1}}", "{\"model_config\": {}}"),
              "model_config.a: 1 then, nothing now");
    CHECK_STR(difference(&a, "{\"config\": 3}", "{\"config\": {\"model\": {\"name\": 1}}}"),
              "none");
    qk_arena_free(&a);
}

static const char *of_manifests(qk_arena *arena, const char *then, const char *now)
{
    const char *found = qk_compatibility_of_manifests(parse(arena, then), parse(arena, now), arena);
    return found ? found : "none";
}

static void test_meaning_of_manifests(void)
{
    static const char one[] = "{\"runs\": [{\"fingerprint\": \"1\", \"arithmetic\": \"cpu\", "
                              "\"identity\": {\"model_files\": [1], \"heads\": 1}}]}";
    static const char same[] = "{\"runs\": [{\"fingerprint\": \"2\", \"arithmetic\": \"cpu\", "
                               "\"identity\": {\"model_files\": [1], \"heads\": 2}}]}";
    static const char amx[] = "{\"runs\": [{\"fingerprint\": \"1\", \"arithmetic\": \"cpu amx\", "
                              "\"identity\": {\"model_files\": [1], \"heads\": 1}}]}";
    static const char old[] = "{\"runs\": [{\"fingerprint\": \"3\", \"identity\": {\"model_files\":"
                              " [1]}}, {\"fingerprint\": \"4\", \"identity\": {\"model_files\": "
                              "[2]}}]}";
    qk_arena a = {0};
    CHECK_STR(of_manifests(&a, one, one), "none");
    CHECK_STR(of_manifests(&a, one, same), "none");
    CHECK_STR(of_manifests(&a, one, amx), "arithmetic: \"cpu\" then, \"cpu amx\" now");
    CHECK_STR(of_manifests(&a, one, old), "model_files.0: 1 then, 2 now");
    CHECK_STR(of_manifests(&a, "{\"runs\": [3, null]}", old), "none");
    CHECK(!qk_compatibility_of_manifests(NULL, parse(&a, one), &a));
    qk_identity id = {.tree = parse(&a, "{\"model_files\": [1]}"), .fingerprint = "5"};
    CHECK_STR(qk_compatibility_new_run(parse(&a, old), &id, &a), "model_files.0: 2 then, 1 now");
    CHECK(!qk_compatibility_new_run(parse(&a, one), &id, &a));
    CHECK(!qk_compatibility_new_run(NULL, &id, &a));
    strcpy(id.fingerprint, "3"); /* it is there already */
    CHECK(!qk_compatibility_new_run(parse(&a, old), &id, &a));
    qk_arena_free(&a);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_id_book_is_linear);
    RUN(test_pairset_is_linear);
    RUN(test_texts_are_linear);
    RUN(test_texts);
    RUN(test_every_key_is_classified);
    RUN(test_meaning_differences);
    RUN(test_meaning_of_manifests);
    return test_summary("compatibility");
}
