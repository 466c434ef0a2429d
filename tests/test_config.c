/* engine/config: what configurations mean, and what is said about those that are wrong. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/text.h"
#include "engine/config/config.h"
#include "engine/config/root.h"

static const char base[] = "dataset:\n" /* line 1 */
                           "  path: data/corpus\n"
                           "  split: train\n"
                           "  text_column: text\n"
                           "  id_column: id\n"
                           "  max_samples: 4\n"
                           "model:\n" /* 7 */
                           "  name: models/tiny\n"
                           "  dtype: float32\n"
                           "tokenizer:\n"
                           "  max_length: 512\n"
                           "inference:\n" /* 12 */
                           "  batch_size: 1\n"
                           "capture:\n"
                           "  capture_queries: true\n"
                           "  capture_keys: true\n"
                           "  layers: [0, 1]\n"
                           "  head_sampling:\n" /* 18 */
                           "    count: 4\n"
                           "    seed: 0\n"
                           "  min_bucket_size: 128\n"
                           "  sampler:\n"
                           "    type: log_uniform\n"
                           "    base_rate: 1.0\n"
                           "output:\n" /* 25 */
                           "  data_root: out\n";

static char folder[] = "/tmp/qk_test_config_XXXXXX";
static char *config_path, *log_path;

static void write_text(const char *text, size_t n)
{
    qk_error err;
    if (qk_write_file(config_path, text, n, &err) != QK_OK) printf("  %s\n", err.message);
}

static qk_status load_text(qk_config *c, const char *text, const char *setting, qk_error *err)
{
    *err = (qk_error){0};
    write_text(text, strlen(text));
    return qk_config_load(c, config_path, &setting, setting != NULL, err);
}

/* base with its only `old` replaced. The caller frees. */
static char *replaced(const char *old, const char *new)
{
    const char *at = strstr(base, old);
    if (!at || strstr(at + 1, old)) {
        printf("  not exactly once: %s\n", old);
        exit(1);
    }
    char *out = malloc(sizeof base + strlen(new));
    sprintf(out, "%.*s%s%s", (int)(at - base), base, new, at + strlen(old));
    return out;
}

/* Loads while stderr goes to a file; *log is what was said there. The caller frees it. */
static qk_status load_logged(qk_config *c, const char *text, char **log, qk_error *err)
{
    fflush(stderr);
    int kept = dup(2);
    FILE *f = freopen(log_path, "w", stderr);
    qk_status s = load_text(c, text, NULL, err);
    fflush(f);
    dup2(kept, 2);
    close(kept);
    qk_buf said;
    qk_error ignored;
    qk_read_file(&said, log_path, 1 << 20, &ignored);
    *log = strdup(qk_buf_str(&said));
    qk_buf_free(&said);
    return s;
}

static void test_values(void)
{
    qk_config c;
    qk_error err;
    CHECK_INT(load_text(&c, base, NULL, &err), QK_OK);
    CHECK_STR(c.dataset.path, "data/corpus");
    CHECK(c.dataset.name == NULL);
    CHECK_STR(c.dataset.split, "train");
    CHECK_STR(c.dataset.text_column, "text");
    CHECK_STR(c.dataset.id_column, "id");
    CHECK_INT(c.dataset.max_samples, 4);
    CHECK_STR(c.model.name, "models/tiny");
    CHECK_INT(c.model.dtype, QK_F32);
    CHECK(c.model.overrides == NULL && c.model.revision == NULL);
    CHECK_INT(c.tokenizer.max_length, 512);
    CHECK_INT(c.inference.batch_size, 1);
    CHECK(c.capture.queries && c.capture.keys && c.capture.sample_heads);
    CHECK_INT(c.capture.layers.count, 2);
    CHECK_INT(c.capture.layers.items[1], 1);
    CHECK(c.capture.heads.items == NULL && c.capture.heads.count == 0);
    CHECK_INT(c.capture.head_count, 4);
    CHECK_STR(c.capture.head_seed.decimal, "0");
    CHECK(!c.capture.allow_nonfinite && c.inference.slice);
    CHECK_INT(c.capture.sampler.min_bucket_size, 128);
    CHECK_INT(c.capture.sampler.kind, QK_SAMPLE_LOG_UNIFORM);
    CHECK(c.capture.sampler.base_rate == 1.0);
    CHECK_STR(c.output.data_root, "out");
    qk_config_free(&c);
    qk_config_free(&c);
    qk_config_free(NULL);
}

static void test_defaults(void)
{
    qk_config c;
    qk_error err;
    CHECK_INT(load_text(&c, "dataset: {path: a}\nmodel: {name: b}\noutput: {}\n", NULL, &err),
              QK_OK);
    CHECK(c.dataset.name == NULL && c.dataset.id_column == NULL && !c.dataset.streaming);
    CHECK_STR(c.dataset.split, "train");
    CHECK_STR(c.dataset.text_column, "text");
    CHECK_INT(c.dataset.max_samples, -1);
    CHECK_INT(c.model.dtype, QK_F32);
    CHECK(c.tokenizer.name == NULL);
    CHECK_INT(c.tokenizer.max_length, 0);
    CHECK_INT(c.inference.batch_size, 0);
    CHECK_STR(c.inference.backend, "auto");
    CHECK(c.inference.isa == NULL);
    CHECK_INT(c.inference.threads, 0);
    CHECK(c.capture.queries && c.capture.keys && !c.capture.sample_heads);
    CHECK(!c.capture.full_attention_only && !c.capture.pre_rope && !c.capture.token_strings);
    CHECK(!c.capture.per_head_masks);
    CHECK_INT(c.capture.sampler.kind, QK_SAMPLE_LOG_UNIFORM);
    CHECK(c.capture.sampler.base_rate == 1.0);
    CHECK_INT(c.capture.sampler.min_bucket_size, 128);
    CHECK_INT(c.capture.sampler.max_rows, 0);
    CHECK_STR(c.output.data_root, "data");
    CHECK(c.output.hf_repo_id == NULL && c.output.hf_branch == NULL && !c.output.is_private);
    CHECK_INT(c.output.layout, QK_LAYOUT_PREFIX);
    CHECK(!c.output.plain_vectors);
    qk_config_free(&c);
}

/* Values that are accepted in more than one form; the setting goes on top of `base`. */
static void test_forms(void)
{
    static const struct {
        const char *setting;
        size_t at; /* an int64 in qk_config, or an enum of 4 bytes */
        int64_t expected;
        size_t size;
    } cases[] = {
        {"model.dtype=FP32", offsetof(qk_config, model.dtype), QK_F32, 4},
        {"model.dtype=Half", offsetof(qk_config, model.dtype), QK_F16, 4},
        {"model.dtype=fp16", offsetof(qk_config, model.dtype), QK_F16, 4},
        {"model.dtype=BFloat16", offsetof(qk_config, model.dtype), QK_BF16, 4},
        {"model.dtype=bf16", offsetof(qk_config, model.dtype), QK_BF16, 4},
        {"inference.autocast_dtype=bf16", offsetof(qk_config, model.dtype), QK_BF16, 4},
        {"inference.autocast_dtype=float32", offsetof(qk_config, model.dtype), QK_F32, 4},
        {"capture.sampler.type=ALL", offsetof(qk_config, capture.sampler.kind), QK_SAMPLE_ALL, 4},
        {"capture.sampler={type: uniform}", offsetof(qk_config, capture.sampler.kind),
         QK_SAMPLE_UNIFORM, 4},
        {"capture.max_rows_per_batch=-1", offsetof(qk_config, capture.sampler.max_rows), -1, 8},
        {"capture.max_rows_per_batch=3", offsetof(qk_config, capture.sampler.max_rows), 3, 8},
        {"dataset.max_samples=0", offsetof(qk_config, dataset.max_samples), 0, 8},
        {"dataset.max_samples=", offsetof(qk_config, dataset.max_samples), -1, 8},
        {"dataset.max_samples=~", offsetof(qk_config, dataset.max_samples), -1, 8},
        {"dataset.max_samples=1_000", offsetof(qk_config, dataset.max_samples), 1000, 8},
        {"tokenizer.max_length=null", offsetof(qk_config, tokenizer.max_length), 0, 8},
        {"tokenizer.max_length=0x10", offsetof(qk_config, tokenizer.max_length), 16, 8},
        {"capture.head_sampling.seed=-7", offsetof(qk_config, capture.head_seed.words.words), 7, 4},
        {"capture.allow_nonfinite=true", offsetof(qk_config, capture.allow_nonfinite), 1, 1},
        {"capture.head_sampling={count: 9}", offsetof(qk_config, capture.head_count), 9, 8},
        {"capture.head_sampling=null", offsetof(qk_config, capture.sample_heads), 0, 1},
        {"capture.layers=[3, 1, 2]", offsetof(qk_config, capture.layers.count), 3, 8},
        {"capture.layers=[]", offsetof(qk_config, capture.layers.count), 0, 8},
        {"capture.capture_keys=off", offsetof(qk_config, capture.keys), 0, 1},
        {"capture.per_head_masks=Yes", offsetof(qk_config, capture.per_head_masks), 1, 1},
        {"output.layout=branch", offsetof(qk_config, output.layout), QK_LAYOUT_BRANCH, 4},
        {"output.hf_branch=main", offsetof(qk_config, output.layout), QK_LAYOUT_BRANCH, 4},
        {"output.hf_branch=", offsetof(qk_config, output.layout), QK_LAYOUT_PREFIX, 4},
        {"output.vector_encoding=plain", offsetof(qk_config, output.plain_vectors), 1, 1},
        {"inference.slice=false", offsetof(qk_config, inference.slice), 0, 1},
        {"inference.threads=2", offsetof(qk_config, inference.threads), 2, 8},
        {"inference.layers_in_memory=2", offsetof(qk_config, inference.layers_in_memory), 2, 8},
        {"model.trust_remote_code=false", offsetof(qk_config, model.dtype), QK_F32, 4},
        {"tokenizer.padding_side=right", offsetof(qk_config, tokenizer.max_length), 512, 8},
        {"tokenizer.padding=false", offsetof(qk_config, tokenizer.max_length), 512, 8},
        {"output.write_batch_size=1", offsetof(qk_config, output.layout), QK_LAYOUT_PREFIX, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_config c;
        qk_error err;
        qk_status s = load_text(&c, base, cases[i].setting, &err);
        CHECK_MSG(s == QK_OK, "%s: %s", cases[i].setting, err.message);
        int64_t got = 0;
        memcpy(&got, (char *)&c + cases[i].at, cases[i].size);
        if (cases[i].size == 4) got = (int32_t)got;
        CHECK_MSG(got == cases[i].expected, "%s: got %" PRId64, cases[i].setting, got);
        if (s == QK_OK) qk_config_free(&c);
    }
}

static void test_lists(void)
{
    qk_config c;
    qk_error err;
    char *log, *text = replaced("[0, 1]", "[5, 1, 5]");
    CHECK_INT(load_logged(&c, text, &log, &err), QK_OK);
    CHECK_INT(c.capture.layers.count, 2);
    CHECK_INT(c.capture.layers.items[0], 1);
    CHECK_INT(c.capture.layers.items[1], 5);
    CHECK_MSG(strstr(log, "'capture.layers' holds 5 twice"), "%s", log);
    qk_config_free(&c);
    free(log);
    free(text);
}

static void test_warnings(void)
{
    static const struct {
        const char *old, *new, *say;
    } cases[] = {
        {"  batch_size: 1", "  batchsize: 1",
         ".yaml:13:3: unknown key 'inference.batchsize' is ignored; did you mean 'batch_size'?"},
        {"  dtype: float32", "  trust_remote_code: true",
         ".yaml:9:22: 'model.trust_remote_code' has no effect: code of a checkpoint is never run"},
        {"  batch_size: 1", "  autocast_dtype: bfloat16",
         ".yaml: inference.autocast_dtype: computing in bfloat16, not in model.dtype float32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_config c;
        qk_error err;
        char *log, *text = replaced(cases[i].old, cases[i].new);
        CHECK_INT(load_logged(&c, text, &log, &err), QK_OK);
        CHECK_MSG(strstr(log, cases[i].say), "got %s", log);
        qk_config_free(&c);
        free(log);
        free(text);
    }
    qk_config c;
    qk_error err;
    char *log;
    CHECK_INT(load_logged(&c, base, &log, &err), QK_OK);
    CHECK_STR(log, "");
    qk_config_free(&c);
    free(log);
}

static void test_refusals(void)
{
    static const struct {
        const char *old, *new, *say, *hint;
    } cases[] = {
        {"output:\n", "captures:\n  x: 1\noutput:\n", ".yaml:25:1: unknown section 'captures'",
         "did you mean 'capture'?"},
        {"output:\n", "private: true\noutput:\n", ".yaml:25:1: unknown section 'private'", ""},
        {"  path: data/corpus\n  split: train\n  text_column: text\n  id_column: id\n"
         "  max_samples: 4\n",
         "name: null\npath: data/corpus\n",
         ".yaml:2:1: unknown section 'name': it is a key of 'dataset' that is not indented",
         "indent it, and what else belongs to 'dataset', below line 1"},
        {"output:\n", "sampler: {type: all}\noutput:\n",
         ".yaml:25:1: unknown section 'sampler': it is a key of 'capture' that is not indented",
         "indent it, and what else belongs to 'capture', below line 14"},
        {"  text_column", "  text_colum", ".yaml:4:3: unknown key 'dataset.text_colum'",
         "did you mean 'text_column'?"},
        {"  capture_keys", "  sample", ".yaml:16:3: unknown key 'capture.sample'",
         "did you mean 'sampler'?"},
        {"    count", "    cuont", ".yaml:19:5: unknown key 'capture.head_sampling.cuont'",
         "did you mean 'count'?"},
        {"    base_rate", "    rate", ".yaml:24:5: unknown key 'capture.sampler.rate'", ""},
        {"  path: data/corpus\n", "", ".yaml: 'dataset.path' is missing", ""},
        {"  name: models/tiny\n", "", ".yaml: 'model.name' is missing", ""},
        {"    count: 4\n", "", ".yaml: 'capture.head_sampling.count' is missing", ""},
        {"output:\n  data_root: out\n", "", ".yaml: section 'output' is missing", ""},
        {"  name: models/tiny\n  dtype: float32\n", "  [models/tiny]\n",
         ".yaml:8:3: 'model' must be a map", "write its keys below it, indented"},
        {"data/corpus", "null", ".yaml:2:9: 'dataset.path' must be a string, not null", ""},
        {"data/corpus", "17", "'dataset.path' must be a string, not the number 17",
         "put it in quotes: \"17\""},
        {"data/corpus", "\"\"", "'dataset.path' is empty", ""},
        {"data/corpus", "\"a\\0b\"", "'dataset.path' holds a NUL", ""},
        {"data/corpus", "2024-05-06", "must be a string, not the date 2024-05-06",
         "put it in quotes: \"2024-05-06\""},
        {"split: train", "split: no", "'dataset.split' must be a string, not the boolean no",
         "put it in quotes: \"no\""},
        {"split: train", "split: [train]", "'dataset.split' must be a string, not a list", ""},
        {"split: train", "split: {a: b}", "'dataset.split' must be a string, not a map", ""},
        {"512", "\"512\"",
         ".yaml:11:15: 'tokenizer.max_length' must be an integer, not the text '512'",
         "write 512 without quotes"},
        {"512", "5.0e+2", "must be an integer, not the number 5.0e+2", "write 500"},
        {"512", "512.5", "'tokenizer.max_length' must be an integer, not the number 512.5", ""},
        {"512", "-1", "'tokenizer.max_length' must be positive, not -1", ""},
        {"512", "0", "'tokenizer.max_length' must be positive, not 0", ""},
        {"512", "1000000000000000000000000000000", "'tokenizer.max_length' is out of range", ""},
        {"max_samples: 4", "max_samples: -100000000000000000000",
         "'dataset.max_samples' is out of range: -100000000000000000000 is not in 0 .. "
         "9223372036854775807",
         ""},
        {"seed: 0", "seed: 1.5", "'capture.head_sampling.seed' must be an integer", ""},
        {"seed: 0", "seed: \"12345678901234567890123\"",
         "'capture.head_sampling.seed' must be an integer, not the text",
         "write 12345678901234567890123 without quotes"},
        {"seed: 0", "seed: 0777777777777777777777777777", "which YAML reads in octal",
         "write 777777777777777777777777777 without the leading zero"},
        {"512", "0512", "'tokenizer.max_length' is 0512, which YAML reads in octal as 330",
         "write 512 without the leading zero"},
        {"512", "1:30", "'tokenizer.max_length' is 1:30, which YAML reads in sixties as 90",
         "write it in decimal"},
        {"512", "yes", "'tokenizer.max_length' must be an integer, not the boolean yes", ""},
        {"512", "5e2", "must be an integer, not the text '5e2'", "write 500"},
        {"batch_size: 1", "batch_size: 0", "'inference.batch_size' must be positive, not 0", ""},
        {"batch_size: 1", "batch_size: -1", "'inference.batch_size' must be positive, not -1", ""},
        {"batch_size: 1", "autocast_dtype: int8",
         "'inference.autocast_dtype' must be one of float32, float16, bfloat16, not the text "
         "'int8'",
         ""},
        {"batch_size: 1", "backend: fast",
         "'inference.backend' must be one of auto, cpu, ref, cuda, not the text 'fast'", ""},
        {"batch_size: 1", "isa: sse",
         "'inference.isa' must be one of portable, avx2, avx512, avx512bf16, amx, not the text "
         "'sse'",
         ""},
        {"batch_size: 1", "layers_in_memory: 1",
         "'inference.layers_in_memory' must be 2 or more, not 1", ""},
        {"batch_size: 1", "threads: -1", "'inference.threads' must not be negative, but is -1", ""},
        {"capture_queries: true", "capture_queries: \"true\"",
         "'capture.capture_queries' must be true or false, not the text 'true'",
         "write true or false without quotes"},
        {"capture_queries: true", "capture_queries: 1", "must be true or false, not the number 1",
         ""},
        {"capture_queries: true", "capture_queries: null", "must be true or false, not null", ""},
        {"  capture_queries: true\n  capture_keys: true",
         "  capture_queries: false\n  capture_keys: false", "nothing to capture", ""},
        {"[0, 1]", "all", "'capture.layers' must be a list of integers, not the text 'all'",
         "write [0, 1, 2]; null stands for all"},
        {"[0, 1]", "[0, 1.5]",
         ".yaml:17:15: 'capture.layers' must be a list of integers, not the "
         "number 1.5",
         ""},
        {"[0, 1]", "[0, -1]",
         ".yaml:17:15: 'capture.layers' holds -1, which is no number of a layer",
         "layers and heads are counted from 0"},
        {"    count: 4\n    seed: 0\n", "    4\n", "'capture.head_sampling' must be a map", ""},
        {"count: 4", "count: 0", "'capture.head_sampling.count' must be positive, not 0", ""},
        {"count: 4", "count: 3.9", "'capture.head_sampling.count' must be an integer", ""},
        {"count: 4", "count: \"3\"", "'capture.head_sampling.count' must be an integer",
         "write 3 without quotes"},
        {"    type: log_uniform\n    base_rate: 1.0\n", "    uniform\n",
         "'capture.sampler' must be a map", ""},
        {"type: log_uniform", "type: sometimes",
         "'capture.sampler.type' must be one of log_uniform, "
         "uniform, all, not the text 'sometimes'",
         ""},
        {"base_rate: 1.0", "base_rate: 1e-3",
         "'capture.sampler.base_rate' must be a number above 0, not the text '1e-3'",
         "YAML reads 1e-3 as a text; write 1.0e-3"},
        {"base_rate: 1.0", "base_rate: '2'", "must be a number above 0, not the text '2'",
         "write 2 without quotes"},
        {"base_rate: 1.0", "base_rate: .nan", "must be a number above 0, not the number .nan", ""},
        {"base_rate: 1.0", "base_rate: .inf", "must be a number above 0, not the number .inf",
         "to keep every position, use the sampler type all"},
        {"base_rate: 1.0", "base_rate: -0.5", "must be a number above 0, not the number -0.5", ""},
        {"base_rate: 1.0", "base_rate: 0", "must be a number above 0, not the number 0", ""},
        {"min_bucket_size: 128", "min_bucket_size: 0",
         "'capture.min_bucket_size' must be positive, not 0", ""},
        {"min_bucket_size: 128", "min_bucket_size: 2.9",
         "'capture.min_bucket_size' must be an integer, not the number 2.9", ""},
        {"dtype: float32", "dtype: float7",
         "'model.dtype' must be one of float32, float16, bfloat16, not the text 'float7'", ""},
        {"dtype: float32", "dtype: float64", "'model.dtype' must be one of", ""},
        {"dtype: float32", "config_overrides: 4", "'model.config_overrides' must be a map", ""},
        {"max_samples: 4", "max_samples: -4", "'dataset.max_samples' must not be negative", ""},
        {"  max_length: 512", "  padding_side: left",
         "'tokenizer.padding_side' must be right, not the text 'left'", "remove the key"},
        {"data_root: out", "data_root: \"\"", "'output.data_root' is empty", ""},
        {"data_root: out", "data_root: /", "'output.data_root' must not be the root folder",
         "name a folder of its own for the results"},
        {"data_root: out", "data_root: ..", "must not be above the working folder", ""},
        {"data_root: out", "layout: tree", "'output.layout' must be one of prefix, branch", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = replaced(cases[i].old, cases[i].new);
        qk_config c;
        qk_error err;
        CHECK_MSG(load_text(&c, text, NULL, &err) == QK_ERR_CONFIG, "%s", cases[i].new);
        CHECK_MSG(strstr(err.message, cases[i].say), "%s: %s", cases[i].new, err.message);
        CHECK_MSG(!*cases[i].hint || !strcmp(err.hint, cases[i].hint), "%s: hint: %s", cases[i].new,
                  err.hint);
        free(text);
    }
}

static void test_whole_files(void)
{
    static const struct {
        const char *text, *say;
    } cases[] = {
        {"", ".yaml: the configuration is empty"},
        {"# nothing here\n", ".yaml: the configuration is empty"},
        {"- dataset\n- model\n", ".yaml:1:1: the top level must be a map of sections"},
        {"dataset\n", ".yaml:1:1: the top level must be a map of sections"},
        {"dataset: {path: a}\noutput: {}\n", ".yaml: section 'model' is missing"},
        {"dataset: {}\nmodel: {name: a}\noutput: {}\n", ".yaml: 'dataset.path' is missing"},
    };
    qk_config c;
    qk_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(load_text(&c, cases[i].text, NULL, &err), QK_ERR_CONFIG);
        CHECK_MSG(strstr(err.message, cases[i].say), "case %zu: %s", i, err.message);
    }
    CHECK_INT(qk_config_load(&c, "/nonexistent/run.yaml", NULL, 0, &err), QK_ERR_NOTFOUND);
    CHECK_INT(qk_config_load(&c, "/tmp", NULL, 0, &err), QK_ERR_IO);
}

static void test_settings(void)
{
    static const struct {
        const char *setting, *say;
    } cases[] = {
        {"capture.layers", "--set capture.layers: no key and value"},
        {"=3", "--set =3: no key and value"},
        {"capture.layerz=[0]", "--set capture.layerz: unknown key 'capture.layerz'"},
        {"captur.layers=[0]", "--set captur.layers: unknown section 'captur'"},
        {"inference.bach=1", "--set inference.bach: unknown key 'inference.bach'"},
        {"capture.layers=x", "--set capture.layers: 'capture.layers' must be a list of integers"},
        {"capture.layers=0, x",
         "--set capture.layers: 'capture.layers' must be a list of integers"},
        {"capture.layers=[0", "--set capture.layers:1:1: the list or map that begins here"},
        {"capture.layers.x=1", "--set capture.layers.x: 'layers' is no map"},
        {"capture.=1", "--set capture.: the key is empty"},
        {"model.dtype=8", "--set model.dtype: 'model.dtype' must be one of"},
        {"model=3", "--set model: 'model' must be a map"},
        {"capture.sampler=all", "--set capture.sampler: 'capture.sampler' must be a map"},
        {"capture.sampler={kind: all}",
         "--set capture.sampler: unknown key 'capture.sampler.kind'"},
        {"capture.head_sampling={seed: 1}", "'capture.head_sampling.count' is missing"},
    };
    qk_config c;
    qk_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_status s = load_text(&c, base, cases[i].setting, &err);
        bool absent = strstr(cases[i].say, "is missing") != NULL;
        CHECK_INT(s, absent ? QK_ERR_CONFIG : QK_ERR_USAGE);
        CHECK_INT(err.status, s);
        CHECK_MSG(strstr(err.message, cases[i].say), "%s: %s", cases[i].setting, err.message);
    }
    static const struct {
        const char *setting;
        size_t count;
    } lists[] = {{"capture.layers=0,3", 2}, {"capture.layers=3", 1}, {"capture.layers=[1]", 1}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        CHECK_INT(load_text(&c, base, lists[i].setting, &err), QK_OK);
        CHECK_INT(c.capture.layers.count, lists[i].count);
        qk_config_free(&c);
    }
    static const char *const several[] = {
        "capture.head_sampling=null", "capture.head_sampling.count=3",
        "capture.head_sampling.count=5", "model.config_overrides.rope_scaling.factor=8.0",
        "model.config_overrides.n=010"};
    write_text(base, strlen(base));
    CHECK_INT(qk_config_load(&c, config_path, several, 5, &err), QK_OK);
    CHECK_INT(c.capture.head_count, 5);
    CHECK(qk_json_get(qk_json_get(c.model.overrides, "rope_scaling"), "factor")->number == 8.0);
    CHECK_INT(qk_json_get(c.model.overrides, "n")->integer, 8);
    qk_config_free(&c);
}

static void test_overrides(void)
{
    qk_config c;
    qk_error err;
    char *text = replaced("  dtype: float32\n",
                          "  config_overrides:\n"
                          "    rope_scaling: {rope_type: yarn, factor: 4.0, low: 1.0e-3}\n"
                          "    list: [1, -2, 0x10, 1_000, 9223372036854775808, .inf, -1.5e+300]\n"
                          "    yes_no: [yes, No]\n    sliding_window: null\n    s: \"a\\tb\"\n");
    CHECK_INT(load_text(&c, text, NULL, &err), QK_OK);
    qk_json_out out = {.compact = true};
    qk_json_add_tree(&out, NULL, c.model.overrides);
    CHECK_STR(qk_buf_str(&out.buf),
              "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"low\": 0.001}, "
              "\"list\": [1, -2, 16, 1000, 9223372036854775808, Infinity, -1.5e+300], "
              "\"yes_no\": [true, false], \"sliding_window\": null, \"s\": \"a\\tb\"}");
    const qk_json *factor = qk_json_get(qk_json_get(c.model.overrides, "rope_scaling"), "factor");
    CHECK(!factor->is_integer && factor->number == 4.0);
    const qk_json *first = qk_json_get(c.model.overrides, "list")->first;
    CHECK(first->is_integer && first->integer == 1 && first->number == 1.0);
    CHECK_INT(qk_json_get(c.model.overrides, "list")->count, 7);
    qk_buf_free(&out.buf);
    qk_config_free(&c);
    free(text);

    text = replaced("  dtype: float32\n", "  config_overrides: {a: 2024-05-06}\n");
    CHECK_INT(load_text(&c, text, NULL, &err), QK_ERR_CONFIG);
    CHECK_MSG(strstr(err.message, "'model.config_overrides' holds the date 2024-05-06"), "%s",
              err.message);
    free(text);
}

static void test_json(void)
{
    qk_config c;
    qk_error err;
    CHECK_INT(load_text(&c, base, "model.config_overrides={a: 1}", &err), QK_OK);
    qk_json_out out = {.compact = true};
    qk_json_begin(&out, NULL, '{');
    qk_config_write_json(&c, &out);
    qk_json_end(&out, '}');
    CHECK_STR(
        qk_buf_str(&out.buf),
        "{\"dataset\": {\"path\": \"data/corpus\", \"name\": null, \"split\": \"train\", "
        "\"text_column\": \"text\", \"id_column\": \"id\", \"max_samples\": 4}, "
        "\"model\": {\"name\": \"models/tiny\", \"revision\": null, \"dtype\": \"float32\", "
        "\"config_overrides\": {\"a\": 1}}, "
        "\"tokenizer\": {\"name\": null, \"max_length\": 512}, "
        "\"capture\": {\"capture_queries\": true, \"capture_keys\": true, "
        "\"layers\": [0, 1], \"heads\": null, \"head_sampling\": {\"count\": 4, \"seed\": 0}, "
        "\"full_attention_only\": false, "
        "\"sampler\": {\"type\": \"log_uniform\", \"base_rate\": 1}, "
        "\"min_bucket_size\": 128, \"max_rows_per_batch\": null, "
        "\"capture_pre_rope\": false, \"capture_token_strings\": false, "
        "\"per_head_masks\": false}, "
        "\"output\": {\"layout\": \"prefix\", \"vector_encoding\": \"byte_stream_split\"}}");
    qk_buf_free(&out.buf);
    qk_config_free(&c);
}

static void test_roots(void)
{
    char here[4096];
    CHECK(getcwd(here, sizeof here));
    setenv("HOME", "/srv/home/someone", 1);
    CHECK_STR(qk_config_root_problem("/"), "the root folder");
    CHECK_STR(qk_config_root_problem("//x/.."), "the root folder");
    CHECK_STR(qk_config_root_problem("/srv/home/someone"), "the home folder");
    CHECK_STR(qk_config_root_problem("/srv/./home/someone/"), "the home folder");
    CHECK_STR(qk_config_root_problem("/srv/home"), "above the home folder");
    CHECK_STR(qk_config_root_problem(".."), "above the working folder");
    CHECK_STR(qk_config_root_problem("x/../.."), "above the working folder");
    CHECK(qk_config_root_problem("out") == NULL);
    CHECK(qk_config_root_problem("../out") == NULL);
    CHECK(qk_config_root_problem(".") == NULL);
    CHECK(qk_config_root_problem("/srv/home/someone/data") == NULL);
    CHECK(qk_config_root_problem("/srv/home/some") == NULL);
    CHECK(qk_config_root_problem("/data/runs") == NULL);
}

/* Every key of the reference is known, and each row of the table has its four cells. */
static void test_reference(void)
{
    static const char keys[] =
        "dataset.path dataset.name dataset.split dataset.text_column dataset.id_column "
        "dataset.max_samples dataset.streaming model.name model.revision model.dtype "
        "model.device_map model.trust_remote_code model.attn_implementation "
        "model.config_overrides tokenizer.name tokenizer.max_length tokenizer.padding "
        "tokenizer.trust_remote_code tokenizer.padding_side inference.batch_size "
        "inference.autocast_dtype inference.debug_logging inference.debug_log_every_n_batches "
        "inference.mps_cleanup_every_batches capture.capture_queries capture.capture_keys "
        "capture.layers capture.heads capture.head_sampling.count capture.head_sampling.seed "
        "capture.full_attention_only capture.sampler.type capture.sampler.base_rate "
        "capture.max_rows_per_batch capture.min_bucket_size capture.capture_pre_rope "
        "capture.capture_token_strings output.data_root output.readme_path output.hf_repo_id "
        "output.hf_branch output.private output.write_batch_size output.layout "
        "output.vector_encoding capture.per_head_masks inference.backend inference.threads "
        "inference.isa inference.layers_in_memory dataset.revision capture.allow_nonfinite "
        "capture.capture_values capture.rope capture.capture_lse capture.capture_token_ids "
        "capture.head_columns capture.sampler.first capture.sampler.positions "
        "capture.sampler.queries.type capture.sampler.queries.base_rate "
        "capture.sampler.queries.first capture.sampler.queries.positions "
        "capture.sampler.keys.type capture.sampler.keys.base_rate capture.sampler.keys.first "
        "capture.sampler.keys.positions output.split inference.slice";
    qk_buf table = {0};
    qk_config_reference(&table);
    const char *text = qk_buf_str(&table);
    char *copy = strdup(keys);
    size_t n = 0;
    for (char *key = strtok(copy, " "); key; key = strtok(NULL, " "), n++) {
        char cell[100];
        snprintf(cell, sizeof cell, "| `%s` |", key);
        CHECK_MSG(strstr(text, cell), "%s", key);
    }
    size_t lines = 0;
    for (const char *s = text; *s; s++) lines += *s == '\n';
    CHECK_INT(lines, n + 2);
    CHECK(strstr(text,
                 "| `capture.sampler.type` | `log_uniform`, `uniform`, `all` | `log_uniform` |"));
    CHECK(strstr(text, "| `dataset.path` | a string | required |"));
    CHECK(strstr(text, "| `tokenizer.max_length` | an integer | `null` |"));
    qk_buf_free(&table);
    free(copy);
}

/* configs/sample.yaml says what every key is, and its values are the defaults. */
static void test_sample(void)
{
    qk_config sample, minimal;
    qk_error err = {0};
    CHECK_MSG(qk_config_load(&sample, "configs/sample.yaml", NULL, 0, &err) == QK_OK, "%s",
              err.message);
    CHECK_INT(load_text(&minimal,
                        "dataset: {path: data/texts}\nmodel: {name: models/tiny}\noutput: {}\n",
                        NULL, &err),
              QK_OK);
    qk_json_out a = {0}, b = {0};
    qk_json_begin(&a, NULL, '{');
    qk_json_begin(&b, NULL, '{');
    qk_config_write_json(&sample, &a);
    qk_config_write_json(&minimal, &b);
    CHECK_STR(qk_buf_str(&a.buf), qk_buf_str(&b.buf));
    CHECK_STR(sample.output.data_root, minimal.output.data_root);
    qk_config_free(&sample);
    qk_config_free(&minimal);

    qk_buf file, table = {0};
    CHECK_INT(qk_read_file(&file, "configs/sample.yaml", 1 << 20, &err), QK_OK);
    qk_config_reference(&table);
    const char *row = qk_buf_str(&table);
    while ((row = strstr(row, "\n| `"))) { /* | `section.key` | */
        row += 4;
        char *key = strndup(row, strcspn(row, "`"));
        const char *name = strrchr(key, '.') + 1;
        char *own = qk_strf("%s:", name);
        CHECK_MSG(strstr(qk_buf_str(&file), own) || strstr(qk_buf_str(&file), key), "%s", key);
        free(own);
        free(key);
    }
    qk_buf_free(&a.buf);
    qk_buf_free(&b.buf);
    qk_buf_free(&file);
    qk_buf_free(&table);
}

/* configs/README.md holds the table, word for word. */
static void test_readme(void)
{
    qk_buf readme, table = {0};
    qk_error err;
    CHECK_INT(qk_read_file(&readme, "configs/README.md", 1 << 20, &err), QK_OK);
    qk_config_reference(&table);
    const char *begin = strstr(qk_buf_str(&readme), "<!-- config reference: begin");
    const char *end = begin ? strstr(begin, "<!-- config reference: end -->") : NULL;
    CHECK(begin && end);
    begin = end ? strchr(begin, '\n') + 1 : "";
    bool same =
        end && (size_t)(end - begin) == table.size && !memcmp(begin, table.data, table.size);
    CHECK_MSG(same, "put this between the marks of configs/README.md:\n%s", qk_buf_str(&table));
    qk_buf_free(&readme);
    qk_buf_free(&table);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    config_path = qk_path_join(folder, "run.yaml");
    log_path = qk_path_join(folder, "log");
    RUN(test_values);
    RUN(test_defaults);
    RUN(test_forms);
    RUN(test_lists);
    RUN(test_warnings);
    RUN(test_refusals);
    RUN(test_whole_files);
    RUN(test_settings);
    RUN(test_overrides);
    RUN(test_json);
    RUN(test_roots);
    RUN(test_reference);
    RUN(test_sample);
    RUN(test_readme);
    unlink(config_path);
    unlink(log_path);
    rmdir(folder);
    free(config_path);
    free(log_path);
    return test_summary("config");
}
