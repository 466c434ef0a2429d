/* engine/output/merge and what rows say of themselves: unit files made by hand, with every kind of vector and
 * the log-sum-exp of queries, become a folder; a second run, which lacks the columns, is joined with
 * it. tests/interop/explained.py reads such folders with other programs.
 *
 * `test_merge write FOLDER` writes one and exits. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/base/file.h"
#include "engine/output/attention.h"
#include "engine/output/head_file.h"
#include "engine/output/join_folders.h"
#include "engine/output/merge.h"
#include "engine/staging/staging.h"
#include "formats/parquet_read.h"

enum { D = 4, EXAMPLES = 3, ROWS = 5, ALL_ROWS = EXAMPLES * ROWS };

static const int32_t q_heads[] = {0, 3}, k_heads[] = {1}, v_heads[] = {0, 1};
static const int windows[] = {0, 0, 8};

/* What a model says of itself, as engine/run/describe_attention.c does. */
static const char model_text[] =
    "{\"model_type\": \"llama\", \"query_heads\": 4, \"key_heads\": 2, \"scale\": 0.5, "
    "\"soft_cap\": "
    "30, \"rope\": [{\"type\": \"default\", \"theta\": 10000, \"factor\": 1, \"original\": null, "
    "\"rotary\": 4, \"pairs\": \"half\", \"attention_factor\": 1}], \"query_scale_by_position\": "
    "null, \"layers\": [{\"layer\": 2, \"type\": \"sliding_attention\", \"window\": 8, \"rope\": "
    "0}], "
    "\"qk_norm\": \"head\"}";

typedef struct part {
    const char *capture; /* members of config.capture */
    int64_t first_id;
    bool columns, has_model;
} part;

/* Queries by one rule, keys and values by another. */
static const part explained = {
    "\"capture_queries\": true, \"capture_keys\": true, \"sampler\": {\"type\": \"log_uniform\", "
    "\"base_rate\": 2.0, \"first\": 2, \"keys\": {\"type\": \"uniform\", \"base_rate\": 1.0}}, "
    "\"min_bucket_size\": 4, \"max_rows_per_batch\": 9, \"capture_pre_rope\": false, "
    "\"capture_values\": true, \"rope\": [\"pre\", \"post\"]",
    0, true, true};
static const part third = {
    "\"capture_queries\": true, \"capture_keys\": false, \"sampler\": {\"type\": \"uniform\", "
    "\"base_rate\": "
    "1.0}, \"min_bucket_size\": 2, \"max_rows_per_batch\": null, \"capture_pre_rope\": false",
    5, true, true};
static const part older = {
    "\"capture_queries\": true, \"capture_keys\": true, \"sampler\": {\"type\": \"all\", "
    "\"base_rate\": "
    "1.0}, \"min_bucket_size\": 4, \"max_rows_per_batch\": null, \"capture_pre_rope\": false, "
    "\"capture_values\": true, \"rope\": [\"pre\", \"post\"]",
    1, false, false};

static float number_of(qk_kind kind, int32_t head, size_t row, size_t k)
{
    return (float)kind + (float)head / 4 + (float)row / 64 + (float)k / 1024;
}
static float lse_of(int32_t head, size_t row)
{
    return (float)head - (float)row / 8;
}
static int32_t token_of(size_t row)
{
    return (int32_t)(1000 + row);
}

static qk_identity identity_of(const part *p, qk_arena *arena)
{
    qk_identity id = {0};
    char *text = qk_strf(
        "{\"config\": {\"model\": {\"name\": \"org/m\", \"dtype\": \"float32\"}, \"tokenizer\": "
        "{\"max_length\": 12}, \"capture\": {%s}}, \"model_files\": [{\"name\": \"w\", \"sha256\": "
        "\"%064d\"}], \"tokenizer_files\": [], \"heads\": [{\"layer\": 2, \"q\": [0, 3], \"k\": "
        "[1], "
        "\"v\": [0, 1]}]}",
        p->capture, 7);
    CHECK_INT(qk_identity_parse(&id, text, strlen(text), arena, &test_error), QK_OK);
    free(text);
    return id;
}

static void write_unit(const qk_staging *staging, const qk_identity *id, const part *p,
                       const qk_head_plan *plan)
{
    qk_unit_writer *w;
    qk_unit_stamp stamp = {0};
    memcpy(stamp.identity, id->fingerprint, sizeof id->fingerprint);
    char *path = qk_staging_unit(staging, 0), *tmp = qk_strf("%s.tmp", path);
    CHECK_INT(qk_unit_create(&w, path, tmp, &stamp, D, &test_error), QK_OK);
    for (int i = 0; i < QK_KINDS; i++) {
        const int32_t *heads;
        int32_t n = qk_head_plan_heads(plan, &plan->layers[0], qk_kinds[i], &heads);
        int32_t ints[4][ALL_ROWS];
        float vectors[2 * ALL_ROWS * D], lse[2 * ALL_ROWS];
        for (size_t r = 0; r < ALL_ROWS; r++) {
            ints[0][r] = token_of(r);
            ints[1][r] = (int32_t)(r % ROWS * 2);
            ints[2][r] = (int32_t)(r % ROWS);
            ints[3][r] = (int32_t)(r / ROWS);
            for (int32_t h = 0; h < n; h++) {
                lse[(size_t)h * ALL_ROWS + r] = lse_of(heads[h], r);
                for (size_t k = 0; k < D; k++)
                    vectors[((size_t)h * ALL_ROWS + r) * D + k] =
                        number_of(qk_kinds[i], heads[h], r, k);
            }
        }
        const bool has_lse = p->columns && qk_kinds[i] == QK_KIND_Q;
        const qk_unit_rows rows = {.layer = 2,
                                   .kind = qk_kinds[i],
                                   .heads = heads,
                                   .n_heads = n,
                                   .rows = ALL_ROWS,
                                   .tokens = ints[0],
                                   .positions = ints[1],
                                   .buckets = ints[2],
                                   .examples = ints[3],
                                   .vectors = vectors,
                                   .lse = has_lse ? lse : NULL};
        CHECK_INT(qk_unit_add_rows(w, &rows, &test_error), QK_OK);
    }
    for (int64_t e = 0; e < EXAMPLES; e++)
        qk_unit_add_example(
            w, &(qk_unit_example){.index = e,
                                  .id = ((e + p->first_id) << 32) - 7 - e - p->first_id,
                                  .tokens = 10});
    CHECK_INT(qk_unit_commit(w, &test_error), QK_OK);
    free(path), free(tmp);
}

/* A run of the part, merged into root/final/m. */
static void merge_part(const char *root, const part *p)
{
    qk_layer_heads layer = {2, 2, 1, 2, q_heads, k_heads, v_heads};
    const qk_head_plan plan = {.layers = &layer,
                               .n_layers = 1,
                               .last_layer = 2,
                               .n_q = 2,
                               .n_k = 1,
                               .n_v = 2,
                               .both_states = true};
    qk_arena arena = {0};
    qk_staging staging = {.lock = -1};
    const qk_json *model, *old;
    char *final = qk_path_join(root, "final"), *split = qk_path_join(final, "m"),
         *folder = qk_path_join(root, "staging");
    CHECK_INT(
        qk_json_parse(&arena, model_text, sizeof model_text - 1, "model", &model, &test_error),
        QK_OK);
    const qk_identity id = identity_of(p, &arena);
    CHECK_INT(qk_staging_open_alone(&staging, folder, &test_error), QK_OK);
    write_unit(&staging, &id, p, &plan);
    const qk_output out = {.final = final,
                           .split = "m",
                           .folder = split,
                           .prefix = true,
                           .heads = &plan,
                           .window = windows,
                           .head_dim = D,
                           .token_ids = p->columns,
                           .lse = p->columns,
                           .head_columns = p->columns,
                           .attention = p->has_model ? model : NULL,
                           .unit_examples = EXAMPLES};
    qk_merge_result result;
    CHECK_INT(qk_manifest_read(split, &arena, &old, &test_error), QK_OK);
    const qk_merge_job job = {
        .out = &out, .staging = &staging, .work = &staging, .id = &id, .old = old, .units = 1};
    CHECK_INT(qk_merge(&job, &result, &test_error), QK_OK);
    CHECK_INT(result.files, 8);
    char *unit = qk_staging_unit(&staging, 0);
    unlink(unit);
    qk_staging_close(&staging);
    qk_arena_free(&arena);
    free(unit), free(final), free(split), free(folder);
}

/* ---- what is read back ---- */

static char root[] = "/tmp/qk_merge_XXXXXX";

static char *at(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

/* Metadata of a file under a key, in the arena. */
static const qk_json *metadata(const char *path, const char *key, qk_arena *arena)
{
    qk_pq_file *f;
    const qk_json *tree = NULL;
    CHECK_INT(qk_pq_open(&f, path, &test_error), QK_OK);
    const char *text = qk_pq_metadata(f, key);
    CHECK_MSG(text && !strchr(text, '\n'), "%s of %s", key, path);
    if (text) CHECK_INT(qk_json_parse(arena, text, strlen(text), key, &tree, &test_error), QK_OK);
    qk_pq_close(f);
    return tree;
}

static bool text_is(const qk_json *object, const char *key, const char *wanted)
{
    qk_json_out o = {.compact = true};
    const qk_json *v = qk_json_get(object, key);
    if (v) qk_json_add_tree(&o, NULL, v);
    bool same = v && !strcmp(qk_buf_str(&o.buf), wanted);
    if (!same) printf("%s is %s\n", key, v ? qk_buf_str(&o.buf) : "absent");
    qk_buf_free(&o.buf);
    return same;
}

/* A file whose first rows are of a run with columns and the others, if any, of one without. */
static void check_file(const char *folder, qk_kind kind, int32_t head, size_t rows)
{
    qk_arena arena = {0};
    char *path = qk_strf("%s/m/%s/data.parquet", folder, qk_file_name(&arena, 2, head, kind));
    qk_head_file_reader *r;
    qk_file_rows block;
    qk_head_file_format columns = {0};
    CHECK_INT(qk_head_file_open(&r, path, D, &test_error), QK_OK);
    qk_head_file_add_columns(r, &columns);
    CHECK(columns.token_ids && columns.lse && columns.head_columns && !columns.token_strings);
    CHECK_INT(qk_head_file_next(r, &block, &test_error), QK_OK);
    CHECK_INT(block.n, rows);
    for (size_t i = 0; i < block.n; i++) {
        bool own = i < ALL_ROWS;
        size_t row = own ? i : ROWS * 2 + i % ROWS; /* two of its examples were there */
        CHECK(block.window[i] == 8 && block.position[i] == (int32_t)(i % ROWS * 2));
        CHECK(block.vectors[i * D + 3] == number_of(kind, head, row, 3));
        CHECK_INT(block.token_id[i], own ? token_of(i) : -1);
        bool has_lse = own && kind == QK_KIND_Q;
        CHECK_INT(block.has_lse[i], has_lse);
        if (has_lse) CHECK(block.lse[i] == lse_of(head, i));
    }
    qk_head_file_close(r);
    free(path);
    qk_arena_free(&arena);
}

static void check_files(const char *folder, size_t rows)
{
    for (int h = 0; h < 2; h++) {
        check_file(folder, QK_KIND_Q, q_heads[h], rows);
        check_file(folder, QK_KIND_Q_PRE, q_heads[h], rows);
        check_file(folder, QK_KIND_V, v_heads[h], rows);
    }
    check_file(folder, QK_KIND_K, 1, rows);
    check_file(folder, QK_KIND_K_PRE, 1, rows);
}

static void test_all_kinds(void)
{
    qk_arena arena = {0};
    merge_part(at("a"), &explained);
    check_files(at("a/final"), ALL_ROWS);
    const qk_json *all = metadata(at("a/final/m/examples.parquet"), QK_ATTENTION_KEY, &arena),
                  *run = qk_json_get(all, "runs")->first;
    CHECK(text_is(all, "format", "\"qkengine attention 1\"") && text_is(all, "soft_cap", "30"));
    CHECK(text_is(all, "model", "\"org/m\"") && text_is(all, "query_heads", "4"));
    CHECK(text_is(all, "states", "[\"pre\", \"post\"]") && text_is(all, "state", "\"post\""));
    CHECK(text_is(run, "queries",
                  "{\"type\": \"log_uniform\", \"base_rate\": 2.0, \"min_bucket_size\": "
                  "4, \"max_rows\": 9, \"first\": 2}"));
    CHECK(text_is(run, "keys",
                  "{\"type\": \"uniform\", \"base_rate\": 1.0, \"min_bucket_size\": 4, "
                  "\"max_rows\": 9, \"first\": 0}"));
    /* Up to the longest example, of 10 tokens; cut where either bucket ends. */
    CHECK(text_is(
        run, "buckets",
        "[{\"bucket\": 2, \"key_bucket\": 0, \"first\": 0, \"last\": 3, \"probability_q\": 0.5, "
        "\"probability_k\": 0.25}, {\"bucket\": 2, \"key_bucket\": 1, \"first\": 4, \"last\": 6, "
        "\"probability_q\": 0.5, \"probability_k\": 0.25}, {\"bucket\": 3, \"key_bucket\": 1, "
        "\"first\": 7, \"last\": 7, \"probability_q\": 0.25, \"probability_k\": 0.25}, "
        "{\"bucket\": "
        "3, \"key_bucket\": 2, \"first\": 8, \"last\": 11, \"probability_q\": 0.25, "
        "\"probability_k\": 0.25}]"));
    static const struct {
        const char *file, *text;
    } heads[] = {
        {"l02h03q",
         "{\"layer\": 2, \"head\": 3, \"kind\": \"q\", \"state\": \"post\", \"key_head\": "
         "1, \"query_heads\": [2, 3]}"},
        {"l02h00q_pre", "{\"layer\": 2, \"head\": 0, \"kind\": \"q_pre\", \"state\": \"pre\", "
                        "\"key_head\": 0, \"query_heads\": [0, 1]}"},
        {"l02h00v",
         "{\"layer\": 2, \"head\": 0, \"kind\": \"v\", \"state\": null, \"key_head\": 0, "
         "\"query_heads\": [0, 1]}"},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char *path = qk_strf("%s/a/final/m/%s/data.parquet", root, heads[i].file);
        qk_json_out o = {.compact = true};
        qk_json_add_tree(&o, NULL, metadata(path, QK_HEAD_KEY, &arena));
        CHECK_STR(qk_buf_str(&o.buf), heads[i].text);
        CHECK(text_is(metadata(path, QK_ATTENTION_KEY, &arena), "qk_norm", "\"head\""));
        qk_buf_free(&o.buf);
        free(path);
    }
    qk_arena_free(&arena);
}

static bool same_files(const char *a, const char *b)
{
    char *command = qk_strf("diff -r %s %s", a, b);
    bool same = system(command) == 0;
    free(command);
    return same;
}

/* A run without the columns comes into a folder that has them, by a rerun and by a join: its rows are
 * null there. */
static void test_joined(void)
{
    qk_join_report report;
    merge_part(at("one"), &explained);
    merge_part(at("one"), &older);
    check_files(at("one/final"), ALL_ROWS + ROWS);
    merge_part(at("two"), &explained);
    merge_part(at("three"), &older);
    CHECK_INT(
        qk_join_folders(at("two/final"), at("three/final"), at("joined"), &report, &test_error),
        QK_OK);
    CHECK(same_files(at("joined"), at("one/final")));
}

/* (A B) C = A (B C), whoever knows the model and has the columns. */
static void test_any_order(void)
{
    static const part *const parts[] = {&older, &explained, &third};
    static const char *const names[] = {"f0", "f1", "f2"};
    qk_join_report report;
    for (int i = 0; i < 3; i++) merge_part(at(names[i]), parts[i]);
    for (int i = 0; i < 3; i++) {
        char *a = qk_strf("%s/final", at(names[i])),
             *b = qk_strf("%s/final", at(names[(i + 1) % 3])),
             *c = qk_strf("%s/final", at(names[(i + 2) % 3])), *ab = qk_strf("%s/ab%d", root, i),
             *bc = qk_strf("%s/bc%d", root, i), *left = qk_strf("%s/left%d", root, i),
             *right = qk_strf("%s/right%d", root, i);
        CHECK_INT(qk_join_folders(a, b, ab, &report, &test_error), QK_OK);
        CHECK_INT(qk_join_folders(b, c, bc, &report, &test_error), QK_OK);
        CHECK_INT(qk_join_folders(ab, c, left, &report, &test_error), QK_OK);
        CHECK_INT(qk_join_folders(a, bc, right, &report, &test_error), QK_OK);
        CHECK(same_files(left, right));
        free(a), free(b), free(c), free(ab), free(bc), free(left), free(right);
    }
}

/* The text of a manifest of such members. */
static char *attention_of(const char *text, int64_t positions)
{
    qk_arena arena = {0};
    qk_buf out = {0};
    const qk_json *tree;
    CHECK_INT(qk_json_parse(&arena, text, strlen(text), "manifest", &tree, &test_error), QK_OK);
    qk_attention_write(&out, &(qk_manifest){.first = tree, .head_dim = 8}, NULL, positions);
    char *copy = qk_strdup(qk_buf_str(&out));
    qk_buf_free(&out);
    qk_arena_free(&arena);
    return copy;
}

#define RUN_OF(capture)                                                                            \
    "{\"runs\": [{\"fingerprint\": \"0123456789abcdef\", \"identity\": {\"config\": "              \
    "{\"capture\": "                                                                               \
    "{" capture "}}}}]}"

/* What old folders and strange ones say: what is not known is left out, or null. */
static void test_what_is_not_known(void)
{
    static const char *const cases[][2] = {
        {"{}", "{\"format\": \"qkengine attention 1\", \"head_dim\": 8, \"runs\": []}"},
        {"{\"runs\": [{}], \"attention\": {\"scale\": [1], \"other\": 1}}",
         "\"scale\": [1], \"state\": \"post\", \"states\": [\"post\"], \"runs\": [{\"queries\": "
         "null, "
         "\"keys\": null, \"buckets\": null}]}"},
        {RUN_OF(
             "\"capture_queries\": true, \"sampler\": {\"type\": \"uniform\", \"base_rate\": 0}, "
             "\"min_bucket_size\": 4"),
         "\"keys\": null, \"buckets\": null}"},
        {RUN_OF(
             "\"capture_queries\": true, \"sampler\": {\"type\": \"all\"}, \"min_bucket_size\": 0"),
         "\"buckets\": null}"},
        {RUN_OF(
             "\"capture_keys\": true, \"sampler\": {\"type\": \"uniform\", \"positions_sha256\": "
             "\"ab\"}, \"min_bucket_size\": 100"),
         "\"buckets\": [{\"bucket\": 0, \"first\": 0, \"last\": 99, \"probability_q\": null, "
         "\"probability_k\": null}]"},
        /* too many buckets to list */
        {RUN_OF(
             "\"capture_queries\": true, \"sampler\": {\"type\": \"uniform\", \"base_rate\": 1}, "
             "\"min_bucket_size\": 2"),
         "\"buckets\": [{\"bucket\": null, \"first\": 0, \"last\": 67108863, \"probability_q\": "
         "0.5, "
         "\"probability_k\": null}]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = attention_of(cases[i][0], i == 4 ? 50 : INT64_MAX);
        CHECK_MSG(strstr(text, cases[i][1]) != NULL, "case %zu: %s", i, text);
        free(text);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "write")) {
        merge_part(argv[2], &explained);
        return test_failed_checks != 0;
    }
    test_begin(argc, argv, "");
    if (!mkdtemp(root)) return 1;
    RUN(test_all_kinds);
    RUN(test_joined);
    RUN(test_any_order);
    RUN(test_what_is_not_known);
    char *command = qk_strf("rm -r %s", root);
    CHECK_INT(system(command), 0);
    free(command);
    return test_summary("merge");
}
