/* What one text may cost, whatever tokenizer.json says: hostile files are refused by name, and a
 * signal ends long work. */
#include <signal.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/work.h"
#include "tests/test.h"

static char temp[] = "/tmp/qk_work_XXXXXX", file[64];

static qk_tokenizer *load(const char *json)
{
    qk_tokenizer *tok;
    qk_error err = {0};
    CHECK(qk_write_file(file, json, strlen(json), &test_error) == QK_OK);
    CHECK_MSG(qk_tokenizer_load(&tok, temp, &err) == QK_OK, "%s", err.message);
    return tok;
}

/* Encodes `n` bytes of a unit over and over: "" or the message. */
static const char *encode(const char *json, const char *unit, size_t n)
{
    static qk_error err;
    qk_tokenizer *tok = load(json);
    qk_tokens tokens = {0};
    char *text = qk_alloc(n, 1);
    for (size_t i = 0, k = strlen(unit); i < n; i++) text[i] = unit[i % k];
    err = (qk_error){0};
    if (tok && qk_tokenizer_encode(tok, text, n, 0, &tokens, &err) != QK_OK) {
        CHECK(err.status == QK_ERR_DATA && err.hint[0]);
        /* The same words are not remembered from a text that failed. */
        CHECK(qk_tokenizer_encode(tok, "a", 1, 0, &tokens, &test_error) == QK_OK);
    }
    qk_tokens_free(&tokens);
    qk_tokenizer_free(tok);
    free(text);
    return err.message;
}

static void check(const char *json, const char *unit, size_t n, const char *say)
{
    const char *got = encode(json, unit, n);
    CHECK_MSG(*say ? strstr(got, say) != NULL : !*got, "%.80s: \"%s\" is not in \"%s\"", json, say,
              got);
}

#define BPE "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\" \":2},\"merges\":[]}"
#define SPLIT(regex)                                                                               \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex                                          \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define REPLACE(from, to) "{\"type\":\"Replace\",\"pattern\":{\"" from "},\"content\":\"" to "\"}"
#define TEN "aaaaaaaaaa"

static void test_regexes(void)
{
    check("{" BPE ",\"pre_tokenizer\":" SPLIT("(?:a?){20}a{20}b|a") "}", "a", 100000,
          "tokenizer.json: pre_tokenizer: \"(?:a?){20}a{20}b|a\": this regex needs too much work");
    check("{" BPE ",\"normalizer\":" REPLACE("Regex\":\"(?:a+)+b\"", "") "}", "a", 100000,
          "normalizer: \"(?:a+)+b\": this regex needs too much work");
    /* Steps share what a text has. */
    check("{" BPE ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(
              "b++c|a") "," SPLIT("b") "," SPLIT("\\\\s+(?!\\\\S)|a") "]}}",
          "ab ", (1 << 20) / test_share(), "");
}

static void test_growth(void)
{
    static const char thousand[] = TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN;
    /* 256 times the text's length and 16 MB, and the steps that get there. */
    bool is_long = test_share() == 1;
    int n = 100000 / test_share(), most = 256 * n + (16 << 20);
    int repeats = is_long ? 1 : 2, doubles = is_long ? 8 : 10;
    char say[128];
    char json[8192];
    snprintf(json, sizeof json,
             "{" BPE ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[%s,%s,%s]}}",
             REPLACE("String\":\"a\"", TEN TEN TEN TEN TEN), REPLACE("String\":\"a\"", TEN TEN TEN),
             REPLACE("Regex\":\"a\"", TEN));
    snprintf(say, sizeof say, "normalizer: step %d makes more than %d bytes of a text of %d",
             repeats, most, n);
    check(json, "a", (size_t)n, say);
    check(json, "a", 100, "");
    snprintf(json, sizeof json,
             "{" BPE ",\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"%s\"}}", thousand);
    check(json, "a", (size_t)n, "");
    /* Bytes spelled as characters, and those again. */
    qk_buf steps = {0};
    for (int i = 0; i < 12; i++)
        qk_buf_addf(&steps,
                    "%s{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
                    i ? "," : "");
    snprintf(json, sizeof json,
             "{" BPE ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[%s]}}",
             qk_buf_str(&steps));
    snprintf(say, sizeof say, "pre_tokenizer: step %d makes more than %d bytes of a text of %d",
             doubles, most, n);
    check(json, " ", (size_t)n, say);
    qk_buf_free(&steps);
}

/* Tokens that a text begins again at each of its characters. */
static void test_unigram(void)
{
    enum { LONG = 100000 };
    char *token = qk_alloc(LONG + 1, 1);
    memset(token, 'a', LONG);
    token[LONG] = 0;
    char *json =
        qk_strf("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"a\",-5],"
                "[\"%sb\",-1],[\" \",-3]]}}",
                token);
    const char *said = encode(json, "a", 100000);
    CHECK_MSG(strstr(said, "model.vocab: its tokens need too much work"), "%s", said);
    CHECK_MSG(
        strstr(said, "the longest, \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"..., has 100001"),
        "%s", said);
    check(json, "ba", 1000000 / test_share(), "");
    check(json, "a", 4000, "");
    free(json);
    free(token);
}

static void test_added_tokens(void)
{
    char *token = qk_alloc(4001, 1);
    memset(token, 'a', 4000);
    token[4000] = 0;
    qk_buf json = {0};
    qk_buf_add_str(&json, "{" BPE ",\"added_tokens\":[");
    for (int i = 0; i < 2000; i++) /* two ways on at every place, which are tried one by one */
        qk_buf_addf(&json,
                    "%s{\"id\":%d,\"content\":\"%.*sb\",\"single_word\":false,\"lstrip\":false,"
                    "\"rstrip\":false,\"normalized\":false,\"special\":true}",
                    i ? "," : "", 3 + i, i ? i : 4000, token);
    qk_buf_add_str(&json, "]}");
    check(qk_buf_str(&json), "a", test_share() > 1 ? 150000 : 300000,
          "added_tokens: to find them takes too much work");
    check(qk_buf_str(&json), "ba", 300000 / test_share(), "");
    qk_buf_clear(&json);
    qk_buf_add_str(&json,
                   "{" BPE ",\"added_tokens\":[{\"id\":2,\"content\":\" \",\"single_word\":false,"
                   "\"lstrip\":true,\"rstrip\":true,\"normalized\":false,\"special\":true}]}");
    check(qk_buf_str(&json), " ", 1000000 / test_share(),
          "added_tokens: to find them takes too much work");
    check(qk_buf_str(&json), " ", 10000, "");
    qk_buf_free(&json);
    free(token);
}

/* One word of BPE, however long, is n log n; what is refused is so on every machine. */
static void test_long_words(void)
{
    check("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"aaaa\":2},"
          "\"merges\":[\"a a\",\"aa aa\"]}}",
          "a", (10 << 20) / test_share(), "");
}

/* Keys that were chosen to meet in one place of a table. */
static void test_crowded_tables(void)
{
    enum { TOKENS = 7000, MASK = 16383, NARROW = 512 };
    qk_buf json = {0};
    qk_buf_add_str(&json, "{\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (int i = 0, found = 0; found < TOKENS; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "%d", i);
        if ((qk_hash_bytes(name, (size_t)n) >> 32 & MASK) >= NARROW) continue;
        qk_buf_addf(&json, "%s\"%s\":%d", found ? "," : "", name, found);
        found++;
    }
    qk_buf_add_str(&json, "},\"merges\":[]}}");
    qk_tokenizer *tok;
    CHECK(qk_write_file(file, json.data, json.size, &test_error) == QK_OK);
    CHECK(qk_tokenizer_load(&tok, temp, &test_error) != QK_OK);
    CHECK_MSG(strstr(test_error.message, "model.vocab: its entries were chosen such"), "%s",
              test_error.message);
    qk_buf_free(&json);

    qk_merge *merges = qk_alloc(TOKENS, sizeof *merges);
    size_t found = 0;
    for (int32_t left = 0; found < TOKENS; left++)
        for (int32_t right = 0; right < 1000 && found < TOKENS; right++)
            if (qk_merge_home(qk_merge_pair(left, right), MASK + 1) < NARROW) {
                merges[found] = (qk_merge){qk_merge_pair(left, right), (uint32_t)found, 0};
                found++;
            }
    qk_bpe bpe = {0};
    CHECK(!qk_bpe_set_merges(&bpe, merges, TOKENS));
    CHECK(qk_bpe_set_merges(&bpe, merges, TOKENS / 2)); /* the table is smaller, the search short */
    qk_bpe_free(&bpe);
    free(merges);
}

/* A signal that has come before is seen within the first 65,536 steps: in every part. Last test of
 * all, because signals are never forgotten. */
static void test_signals(void)
{
    static const char *const files[] = {
        "{" BPE "}",
        "{" BPE ",\"pre_tokenizer\":" SPLIT("(?:a?){20}a{20}b|a") "}",
        "{" BPE ",\"normalizer\":" REPLACE("Regex\":\"(?:a+)+b\"", "") "}",
        "{" BPE ",\"normalizer\":{\"type\":\"Lowercase\"}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"a\",-5]]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a\"]}}"};
    enum { N = 1 << 20 };
    char *text = qk_alloc(N, 1);
    memset(text, 'a', N);
    qk_interrupt_install();
    CHECK(raise(SIGTERM) == 0 && qk_interrupted());
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        qk_tokens tokens = {0};
        qk_error err = {0};
        qk_tokenizer *tok = load(files[i]);
        CHECK(tok && qk_tokenizer_encode(tok, text, N, 0, &tokens, &err) == QK_ERR_RESUME);
        CHECK_MSG(strstr(err.message, "stopped by signal"), "%s", err.message);
        CHECK_MSG(tokens.count <= QK_WORK_CHUNK, "%zu: %zu tokens", i, tokens.count);
        qk_tokens_free(&tokens);
        qk_tokenizer_free(tok);
    }
    free(text);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    QK_ASSERT(mkdtemp(temp));
    snprintf(file, sizeof file, "%s/tokenizer.json", temp);
    RUN(test_regexes);
    RUN(test_growth);
    RUN(test_unigram);
    RUN(test_added_tokens);
    RUN(test_long_words);
    RUN(test_crowded_tables);
    RUN(test_signals);
    unlink(file);
    rmdir(temp);
    return test_summary("tokenizer work");
}
