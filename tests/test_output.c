/* What surrounds the data: ids behind stored ids, pairs already there, names, identities, the card.
 * Readers in Python look at whole folders (tests/interop). */
#include "tests/test.h"

#include "engine/output/dataset_card.h"
#include "engine/output/id_index.h"
#include "engine/output/layout.h"
#include "engine/output/manifest.h"
#include "engine/output/pair_set.h"
#include "sampler/example_id.h"

static void test_pairset(void)
{
    qk_pair_set set = {0};
    CHECK(!qk_pair_set_has(&set, 1, 2));
    for (int round = 0; round < 2; round++)
        for (int64_t id = -50; id < 50; id++)
            for (int32_t p = 0; p < 60; p++)
                CHECK(qk_pair_set_add(&set, id * (1LL << 33), p) == (round == 0));
    CHECK_INT(set.count, 6000);
    CHECK(qk_pair_set_has(&set, -50LL * (1LL << 33), 59) && !qk_pair_set_has(&set, 0, 60));
    qk_pair_set_free(&set);
}

static void test_ids_that_share_32_bits(void)
{
    qk_id_index index = {0};
    int64_t id = 0;
    CHECK_INT(qk_id_index_find(&index, 7, &id), 0);
    for (int64_t i = 0; i < 3000; i++) qk_id_index_add(&index, i);
    CHECK(!qk_id_index_add(&index, 7));
    CHECK(qk_id_index_add(&index, (1LL << 40) + 7));
    qk_id_index_add(&index, -1);
    CHECK_INT(index.count, 3002);
    CHECK(qk_id_index_find(&index, 8, &id) == 1 && id == 8);
    CHECK_INT(qk_id_index_find(&index, 7, &id), 2);
    CHECK(qk_id_index_find(&index, -1, &id) == 1 && id == -1);
    qk_id_index_free(&index);
}

static void test_id_runs(void)
{
    qk_id_runs runs = {0}, back;
    qk_id_runs_add(&runs, 3, 7);
    qk_id_runs_add(&runs, 4, 7);
    qk_id_runs_add(&runs, 5, INT64_MIN);
    qk_id_runs_add(&runs, 9, 7);
    char *text = qk_id_runs_write(&runs);
    CHECK_STR(text, "[[3, 2, \"7\"], [5, 1, \"-9223372036854775808\"], [9, 1, \"7\"]]");
    qk_error err = {0};
    CHECK_INT(qk_id_runs_read(&back, text, "f", &err), QK_OK);
    static const int64_t want[] = {-1, -1, -1, 7, 7, INT64_MIN, -1, -1, -1, 7, -1};
    for (uint64_t row = 0; row < 11; row++) {
        int64_t id = -1;
        bool found = qk_id_runs_find(&back, row, &id);
        CHECK_MSG(found == (want[row] != -1) && id == want[row], "row %d", (int)row);
    }
    qk_id_runs_free(&back);
    static const char *const bad[] = {"[[1]]", "[[5, 1, \"1\"], [3, 1, \"1\"]]", "[[1, 0, \"1\"]]",
                                      "{", "[3]"};
    for (size_t i = 0; i < 5; i++)
        CHECK_MSG(qk_id_runs_read(&back, bad[i], "f", &err) != QK_OK, "%s", bad[i]);
    free(text);
    qk_id_runs_free(&runs);
}

/* Names that the older reference gives. */
static void test_split_names(void)
{
    static const char *const names[][2] = {
        {"org/name", "org_name"},
        {"tiny/llama-base.1", "tiny_llama_base_1"},
        {"a--b", "a__b"},
        {"a/b_c", "a_b_c"},
        {"文/été-1", "文_été_1"},
        {"a b", "a_b"},
        {"x😀y", "x_y"},
        {"_lead.", "_lead_"},
        {"meta-llama/Llama-3.1-8B", "meta_llama_Llama_3_1_8B"},
    };
    qk_arena arena = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_STR(qk_split_name(&arena, names[i][0]), names[i][1]);
    CHECK_STR(qk_file_name(&arena, 3, 12, QK_KIND_K), "l03h12k");
    CHECK_STR(qk_file_name(&arena, 103, 0, QK_KIND_Q), "l103h00q");
    qk_arena_free(&arena);
}

static const char *difference(qk_arena *arena, const char *a, const char *b)
{
    const qk_json *x, *y;
    QK_ASSERT(!qk_json_parse(arena, a, strlen(a), "a", &x, &test_error));
    QK_ASSERT(!qk_json_parse(arena, b, strlen(b), "b", &y, &test_error));
    const char *found = qk_identity_difference(x, y, arena);
    return found ? found : "none";
}

static void test_differences_are_named(void)
{
    qk_arena arena = {0};
    CHECK_STR(difference(&arena, "{\"a\": [1, {\"b\": null}]}", "{\"a\": [1, {\"b\": null}]}"),
              "none");
    CHECK_STR(difference(&arena, "{\"c\": {\"rate\": 1.0}}", "{\"c\": {\"rate\": 2.0}}"),
              "c.rate: 1.0 then, 2.0 now");
    CHECK_STR(difference(&arena, "{\"l\": [1, 2]}", "{\"l\": [1]}"), "l.1: 2 then, nothing now");
    CHECK_STR(difference(&arena, "{\"a\": 1}", "{\"a\": 1, \"n\": true}"),
              "n: nothing then, true now");
    CHECK_STR(difference(&arena, "{\"a\": \"1\"}", "{\"a\": 1}"), "a: \"1\" then, 1 now");
    qk_arena_free(&arena);
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text++) n++;
    return n;
}

/* The splits in another order, as another order of runs has them. */
static void test_card(void)
{
    static const qk_card_file files[] = {{"b", 0, 0, QK_KIND_K, 5, NULL},
                                         {"a", 0, 0, QK_KIND_Q, 7, NULL},
                                         {"a", 11, 1, QK_KIND_Q, 7, NULL}};
    static const qk_card_file turned[] = {{"a", 11, 1, QK_KIND_Q, 7, NULL},
                                          {"a", 0, 0, QK_KIND_Q, 7, NULL},
                                          {"b", 0, 0, QK_KIND_K, 5, NULL}};
    static const qk_card_split splits[] = {{.split = "b", .folder = "b"},
                                           {.split = "a", .folder = "a"}};
    static const qk_card_split sorted[] = {{.split = "a", .folder = "a"},
                                           {.split = "b", .folder = "b"}};
    qk_buf out = {0}, again = {0};
    qk_card_write(&out, files, 3, splits, 2);
    qk_card_write(&again, turned, 3, sorted, 2);
    const char *text = qk_buf_str(&out);
    CHECK_STR(text, qk_buf_str(&again));
    CHECK_INT(count(text, "- config_name: all\n  default: true\n  description: \"sha256 "), 1);
    CHECK_INT(count(text, "config_name: l00h00\n"), 1);
    CHECK_INT(count(text, "config_name: l00h00q\n"), 1);
    CHECK_INT(count(text, "config_name: l11h01k"), 0); /* no such file */
    CHECK_INT(count(text, "    path: \"b/l00h*k/data.parquet\""), 1);
    CHECK_INT(count(text, "    path: \"a/l11h01q/data.parquet\""), 1);
    CHECK_INT(count(text, "  - split: \"a\"\n"), count(text, "path: \"a/"));
    CHECK_INT(count(text, "(path, \"l00h00q\", split=\"a\")"), 1);
    qk_buf_free(&out);
    qk_buf_free(&again);
}

/* A folder's name is whatever somebody gave it: it ends no string of the front matter. */
static void test_card_of_odd_names(void)
{
    const char *odd = "a\"\n- config_name: planted\\";
    const qk_card_file file = {odd, 0, 0, QK_KIND_Q, 1, NULL};
    const qk_card_split split = {.split = odd, .folder = odd};
    qk_buf out = {0};
    qk_card_write(&out, &file, 1, &split, 1);
    const char *text = qk_buf_str(&out);
    CHECK_INT(count(text, "\n- config_name: planted"), 0);
    CHECK(strstr(text, "  - split: \"a\\\"\\n- config_name: planted\\\\\"\n") != NULL);
    CHECK(strstr(text, "path: \"a\\\"\\n- config_name: planted\\\\/l00h00q/data.parquet\"\n") !=
          NULL);
    qk_buf_free(&out);
}

typedef struct names_in_card {
    size_t all, singles, pairs;
    bool by_file; /* the call for one head is the one that names its file */
} names_in_card;

/* Of a model with so many layers, query heads and key heads, in so many splits. */
static names_in_card names_of(int layers, int queries, int keys, int splits)
{
    size_t n = 0, most = (size_t)(layers * (queries + keys) * splits);
    qk_card_file *files = qk_alloc(most, sizeof *files);
    qk_card_split all[8];
    static const char *const names[] = {"train", "b", "c", "d", "e", "f", "g", "h"};
    for (int s = 0; s < splits; s++) {
        all[s] = (qk_card_split){.split = names[s], .folder = splits > 1 ? names[s] : ""};
        for (int l = 0; l < layers; l++)
            for (int h = 0; h < queries + keys; h++)
                files[n++] = h < queries
                                 ? (qk_card_file){names[s], l, h, QK_KIND_Q, 1, NULL}
                                 : (qk_card_file){names[s], l, h - queries, QK_KIND_K, 1, NULL};
    }
    qk_buf out = {0};
    qk_card_write(&out, files, n, all, (size_t)splits);
    const char *text = qk_buf_str(&out);
    names_in_card found = {.all = count(text, "- config_name: "),
                           .by_file = strstr(text, "(path, data_files=\"") != NULL};
    for (const char *p = text; (p = strstr(p, "- config_name: l")); p++) {
        size_t length = strcspn(p, "\n");
        bool layer = !strncmp(p + 15, "layer", 5);
        found.singles += !layer && (p[length - 1] == 'q' || p[length - 1] == 'k');
        found.pairs += !layer && p[length - 1] != 'q' && p[length - 1] != 'k';
    }
    qk_buf_free(&out);
    free(files);
    return found;
}

/* Each sort of names is there for every file or for none, and together they are 3,000 at most. */
static void test_card_of_many_heads(void)
{
    static const struct {
        int layers, queries, keys, splits;
        names_in_card want;
    } cases[] = {
        {36, 32, 8, 1, {2703, 1440, 1152, false}}, /* 8B */
        {32, 32, 32, 1, {2147, 2048, 0, false}},   /* 7B without shared key heads */
        {40, 40, 8, 1, {2043, 1920, 0, false}},    /* 14B */
        {40, 40, 40, 1, {1723, 0, 1600, true}},    /* 13B: of files there are too many */
        {64, 64, 8, 1, {195, 0, 0, true}},         /* 32B */
        {80, 64, 8, 1, {243, 0, 0, true}},         /* 70B */
        {1, 998, 998, 1, {3000, 1996, 998, false}},
        {1, 999, 998, 1, {2003, 1997, 0, false}},
        {1, 1497, 1497, 1, {3000, 2994, 0, false}},
        {1, 1498, 1497, 1, {1504, 0, 1498, true}},
        {36, 32, 8, 3, {2703, 1440, 1152, false}}, /* 8,109 paths */
        {36, 32, 8, 4, {1551, 1440, 0, false}},    /* 6,204, and would be 10,812 */
        {36, 32, 8, 7, {1263, 0, 1152, true}},
        {1200, 1, 1, 1, {2403, 2400, 0, false}}, /* names of layers do not fit */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        names_in_card got =
            names_of(cases[i].layers, cases[i].queries, cases[i].keys, cases[i].splits);
        CHECK_INT(got.all, cases[i].want.all);
        CHECK_INT(got.singles, cases[i].want.singles);
        CHECK_INT(got.pairs, cases[i].want.pairs);
        CHECK_INT(got.by_file, cases[i].want.by_file);
    }
}

static void test_names_of_files_and_splits(void)
{
    static const char *const files[] = {"l0h03q",   "l00h3q",  "l 1h02q", "l+1h02q", "l00h00",
                                        "l00h00qq", "l00h00x", "l-1h00q", "L00h00q"};
    static const char *const splits[] = {"",     "a-b", "a b", ".a",  "a.",
                                         "a..b", "a*",  "[a]", "a/b", "all"};
    int layer, head;
    qk_kind kind;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        CHECK(!qk_parse_file_name(files[i], &layer, &head, &kind));
    CHECK(qk_parse_file_name("l100h03k", &layer, &head, &kind));
    CHECK_INT(layer * 1000 + head, 100003);
    CHECK_INT(kind, QK_KIND_K);
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) CHECK(!qk_is_split_name(splits[i]));
    CHECK(qk_is_split_name("Qwen_Qwen3_8B") && qk_is_split_name("a.b.1") &&
          qk_is_split_name("\xc3\xbc"));
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_pairset);
    RUN(test_ids_that_share_32_bits);
    RUN(test_id_runs);
    RUN(test_split_names);
    RUN(test_differences_are_named);
    RUN(test_card);
    RUN(test_card_of_odd_names);
    RUN(test_card_of_many_heads);
    RUN(test_names_of_files_and_splits);
    return test_summary("output");
}
