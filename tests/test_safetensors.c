/* formats/safetensors: round trip, shards, and headers that must be refused. */
#include "tests/test.h"

#include <unistd.h>

#include "formats/json.h"
#include "formats/safetensors.h"

static char folder[64];

static char *in_folder(const char *name)
{
    return qk_path_join(folder, name);
}

static void write_raw(const char *name, const char *header, size_t data_bytes)
{
    size_t n = strlen(header);
    uint8_t *bytes = calloc(1, 8 + n + data_bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(n >> 8 * i);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < data_bytes; i++) bytes[8 + n + i] = (uint8_t)i;
    char *path = in_folder(name);
    CHECK_INT(qk_write_file(path, bytes, 8 + n + data_bytes, &test_error), QK_OK);
    free(path);
    free(bytes);
}

static bool holds(const qk_checkpoint *c, const qk_st_tensor *t, const void *want, size_t n)
{
    uint8_t bytes[64];
    QK_ASSERT(t->bytes <= sizeof bytes);
    return t->bytes == n && qk_checkpoint_read(c, t, bytes, &test_error) == QK_OK &&
           !memcmp(bytes, want, n);
}

static void test_round_trip(void)
{
    float a[6] = {1, 2, 3, 4, 5, 6};
    int64_t b[2] = {-1, 1LL << 40};
    qk_st_out_tensor out[] = {{"b", "I64", 1, {2}, b}, {"a", "F32", 2, {2, 3}, a}};
    char *path = in_folder("round.safetensors");
    qk_error err;
    CHECK_INT(qk_safetensors_write(path, out, 2, &err), QK_OK);
    qk_checkpoint c;
    CHECK_INT(qk_checkpoint_open(&c, path, &err), QK_OK);
    CHECK_INT(c.count, 2);
    const qk_st_tensor *t = qk_checkpoint_find(&c, "a");
    CHECK(t && t->n_dims == 2 && t->shape[1] == 3 && holds(&c, t, a, sizeof a));
    t = qk_checkpoint_find(&c, "b");
    CHECK(t && t->bytes == 16 && holds(&c, t, b, sizeof b));
    CHECK(qk_checkpoint_find(&c, "c") == NULL);
    qk_checkpoint_close(&c);
    free(path);
}

static void test_refused_headers(void)
{
    static const struct {
        const char *header;
        size_t data;
        const char *say;
    } cases[] = {
        {"[]", 0, "not a JSON object"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4,
         "ends past the file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9,
         "1 bytes at its end belong to no tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
         "needs 12 bytes and has 8"},
        {"{\"a\":{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
         "unknown dtype 'F99'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8,
         "negative dimension"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,8]}}",
         8, "overflows"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         8, "\"a\" is given twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "a gap of 4 bytes"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1,
         "ends within a byte"},
        {"{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
         "needs 3 bytes and has 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_raw("bad.safetensors", cases[i].header, cases[i].data);
        char *path = in_folder("bad.safetensors");
        qk_checkpoint c;
        qk_error err = {0};
        CHECK_MSG(qk_checkpoint_open(&c, path, &err) != QK_OK, "case %zu", i);
        CHECK_MSG(strstr(err.message, cases[i].say), "case %zu: %s", i, err.message);
        CHECK_MSG(strstr(err.message, "bad.safetensors"), "case %zu: %s", i, err.message);
        free(path);
    }
}

/* Every dtype of safetensors 0.8, also those of less than a byte. */
static void test_dtypes(void)
{
    static const struct {
        const char *name;
        size_t bits;
        bool quantised;
    } all[] = {
        {"BOOL", 8, false},       {"F4", 4, true},          {"F6_E2M3", 6, true},
        {"F6_E3M2", 6, true},     {"U8", 8, true},          {"I8", 8, true},
        {"F8_E5M2", 8, true},     {"F8_E4M3", 8, true},     {"F8_E8M0", 8, true},
        {"F8_E4M3FNUZ", 8, true}, {"F8_E5M2FNUZ", 8, true}, {"I16", 16, false},
        {"U16", 16, false},       {"F16", 16, false},       {"BF16", 16, false},
        {"I32", 32, true},        {"U32", 32, true},        {"F32", 32, false},
        {"C64", 64, false},       {"F64", 64, false},       {"I64", 64, false},
        {"U64", 64, false},
    };
    uint8_t data[64] = {0};
    char *path = in_folder("bad.safetensors");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        qk_st_out_tensor t = {"a", all[i].name, 2, {2, 4}, data};
        qk_checkpoint c;
        CHECK_INT(qk_safetensors_write(path, &t, 1, &test_error), QK_OK);
        CHECK_MSG(qk_checkpoint_open(&c, path, &test_error) == QK_OK, "%s", test_error.message);
        CHECK_INT(c.tensors[0].bytes, all[i].bits);
        CHECK_INT(qk_st_is_quantised(&c.tensors[0]), all[i].quantised);
        qk_checkpoint_close(&c);
    }
    free(path);
}

/* A name of the index that no shard has is for those who need it to miss. */
static void test_index(void)
{
    static const char shard_a[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}";
    static const char shard_b[] = "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}";
    write_raw("1.safetensors", shard_a, 2);
    write_raw("2.safetensors", shard_b, 2);
    static const struct {
        const char *map, *say;
    } cases[] = {
        {"\"a\": \"1.safetensors\", \"b\": \"2.safetensors\", \"mtp\": \"2.safetensors\"", ""},
        {"\"a\": \"1.safetensors\", \"b\": \"1.safetensors\", \"c\": \"2.safetensors\"",
         "tensor 'b' is missing from its shard '1.safetensors'"},
        {"\"a\": \"1.safetensors\", \"b\": \"3.safetensors\"", "shard '3.safetensors' not found"},
    };
    char *index = in_folder("model.safetensors.index.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = qk_strf("{\"weight_map\": {%s}}", cases[i].map);
        qk_checkpoint c;
        qk_error err = {0};
        CHECK_INT(qk_write_file(index, text, strlen(text), &test_error), QK_OK);
        bool ok = qk_checkpoint_open(&c, folder, &err) == QK_OK;
        CHECK_MSG(ok == !*cases[i].say && strstr(err.message, cases[i].say), "%s", err.message);
        if (ok) CHECK(c.count == 2 && c.absent.count == 1 && !strcmp(c.absent.items[0], "mtp"));
        if (ok) qk_checkpoint_close(&c);
        free(text);
    }
    unlink(index);
    free(index);
}

/* Declared first, then data in pieces of any size: the bytes of writing all at once, and nothing
 * under the final name before the end. */
static void test_streaming(void)
{
    float values[6] = {0, 1, 2, 3, 4, 5};
    int64_t ids[3] = {7, 8, 9};
    qk_st_out_tensor all[] = {{"a", "F32", 2, {2, 3}, values}, {"b", "I64", 1, {3}, ids}};
    char *once = in_folder("once.safetensors"), *streamed = in_folder("streamed.safetensors");
    CHECK_INT(qk_safetensors_write(once, all, 2, &test_error), QK_OK);
    qk_st_writer w;
    qk_st_writer_init(&w, NULL);
    for (int i = 0; i < 2; i++)
        qk_st_writer_declare(&w, all[i].name, all[i].dtype, all[i].n_dims, all[i].shape);
    CHECK_INT(qk_st_writer_begin(&w, streamed, &test_error), QK_OK);
    for (size_t i = 0; i < sizeof values; i += 8) qk_st_writer_add(&w, (const char *)values + i, 8);
    CHECK(!test_has_file(streamed));
    qk_st_writer_add(&w, ids, sizeof ids);
    CHECK_INT(qk_st_writer_commit(&w, &test_error), QK_OK);
    qk_buf a, b;
    CHECK_INT(qk_read_file(&a, once, 1 << 20, &test_error), QK_OK);
    CHECK_INT(qk_read_file(&b, streamed, 1 << 20, &test_error), QK_OK);
    CHECK(a.size == b.size && !memcmp(a.data, b.data, a.size));
    qk_buf_free(&a), qk_buf_free(&b);
    unlink(once), unlink(streamed);
    /* Given up half-way: no file at all. */
    qk_st_writer_init(&w, "pt");
    qk_st_writer_declare(&w, "a", "F32", 2, all[0].shape);
    CHECK_INT(qk_st_writer_begin(&w, streamed, &test_error), QK_OK);
    qk_st_writer_add(&w, values, 8);
    qk_st_writer_abort(&w);
    CHECK(!test_has_file(streamed));
    free(once), free(streamed);
}

/* A file that was cut anywhere is refused, and nothing reads past its end. */
static void test_truncation(void)
{
    char *whole = in_folder("round.safetensors"), *cut = in_folder("cut.safetensors");
    qk_st_out_tensor out[] = {{"b", "I64", 1, {2}, (int64_t[]){-1, 1LL << 40}},
                              {"a", "F32", 2, {2, 3}, (float[]){1, 2, 3, 4, 5, 6}}};
    CHECK_INT(qk_safetensors_write(whole, out, 2, &test_error), QK_OK);
    qk_buf bytes;
    CHECK_INT(qk_read_file(&bytes, whole, 1 << 20, &test_error), QK_OK);
    for (size_t n = 0; n < bytes.size; n++) {
        CHECK_INT(qk_write_file(cut, bytes.data, n, &test_error), QK_OK);
        qk_checkpoint c;
        CHECK_MSG(qk_checkpoint_open(&c, cut, &test_error) != QK_OK, "%zu of %zu bytes", n,
                  bytes.size);
    }
    qk_buf_free(&bytes);
    free(whole);
    free(cut);
}

/* The corpus of damaged files: each must be refused or accepted as its manifest says. */
static void corpus(const char *prefix)
{
    char *manifest = test_golden("inputs/bad/manifest.json");
    if (!manifest) SKIP("no ../shared/golden beside this checkout");
    qk_arena arena = {0};
    const qk_json *root = NULL;
    CHECK_INT(qk_json_parse_file(&arena, manifest, 1 << 24, &root, &test_error), QK_OK);
    char *base = qk_strf("%.*s", (int)(strlen(manifest) - strlen("manifest.json")), manifest);
    int seen = 0;
    for (const qk_json *e = root ? root->first : NULL; e; e = e->next) {
        if (strncmp(e->key, prefix, strlen(prefix))) continue;
        const qk_json *must = qk_json_get(e, "must");
        /* These two need the model's configuration to be noticed; test_model looks at them. */
        if (strstr(e->key, "/tensor_missing") || strstr(e->key, "/tensor_shape")) continue;
        char *path = qk_path_join(base, e->key);
        qk_checkpoint c;
        qk_error err = {0};
        bool ok = qk_checkpoint_open(&c, path, &err) == QK_OK;
        if (ok) qk_checkpoint_close(&c);
        if (qk_json_is_string(must, "accept")) CHECK_MSG(ok, "%s: %s", e->key, err.message);
        if (qk_json_is_string(must, "refuse")) CHECK_MSG(!ok, "%s was accepted", e->key);
        if (!ok)
            CHECK_MSG(strstr(err.message, qk_path_name(e->key)), "%s: %s", e->key, err.message);
        seen++;
        free(path);
    }
    CHECK_MSG(seen >= 15, "%d cases seen", seen);
    free(base);
    free(manifest);
    qk_arena_free(&arena);
}

static void test_corpus_of_files(void)
{
    corpus("safetensors/");
}
static void test_corpus_of_folders(void)
{
    corpus("checkpoint/");
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(folder, sizeof folder, "/tmp/qk_st_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    RUN(test_round_trip);
    RUN(test_refused_headers);
    RUN(test_dtypes);
    RUN(test_index);
    RUN(test_truncation);
    RUN(test_streaming);
    RUN(test_corpus_of_files);
    RUN(test_corpus_of_folders);
    static const char *const left[] = {"round.safetensors", "bad.safetensors", "cut.safetensors",
                                       "1.safetensors", "2.safetensors"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        char *path = in_folder(left[i]);
        unlink(path);
        free(path);
    }
    rmdir(folder);
    return test_summary("safetensors");
}
