/* Which bytes of a text each token came from, through every kind of step; and the Unigram model on
 * cases small enough to work out by hand. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/base/file.h"
#include "engine/tokenizer.h"
#include "engine/tokenizer/unigram.h"

static char temp[64];

static qk_tokenizer *load(const char *json)
{
    char *path = qk_path_join(temp, "tokenizer.json");
    qk_tokenizer *tok;
    qk_error err = {0};
    CHECK(qk_write_file(path, json, strlen(json), &test_error) == QK_OK);
    CHECK_MSG(qk_tokenizer_load(&tok, temp, &err) == QK_OK, "%s", err.message);
    unlink(path);
    free(path);
    return tok;
}

/* "id@start:end id@start:end", special tokens included. */
static const char *spans(const char *json, const char *text)
{
    static char out[1024];
    qk_tokenizer *tok = load(json);
    qk_tokens t = {0};
    qk_encode_options options = {.spans = true};
    size_t n = 0;
    out[0] = 0;
    if (tok && qk_tokenizer_encode_with(tok, text, strlen(text), options, &t, &test_error) == QK_OK)
        for (size_t i = 0; i < t.count && n < 900; i++)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%d@%u:%u", i ? " " : "", t.ids[i],
                                  t.spans[i].start, t.spans[i].end);
    qk_tokens_free(&t);
    qk_tokenizer_free(tok);
    return out;
}

#define VOCAB                                                                                      \
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\xC3\xA9\":3,\" \":4,\"?\":5,\"\xE2\x96\x81\":6,"       \
    "\"\xE2\x96\x81"                                                                               \
    "a\":7,\"<0xC3>\":8,\"<0xA8>\":9,\"\xCC\x81\":10,\"e\":11,\"i\":12}"
#define MODEL(more)                                                                                \
    "\"model\":{" VOCAB ",\"merges\":[[\"a\",\"b\"],[\"\xE2\x96\x81\",\"a\"]]" more "}"
#define NORM(step) "\"normalizer\":{\"type\":" step "}"

static void test_bpe_spans(void)
{
    CHECK_STR(spans("{" MODEL("") "}", "ab b"), "2@0:2 4@2:3 1@3:4");
    CHECK_STR(spans("{" MODEL("") "}", "axab"), "0@0:1 2@2:4"); /* x is dropped */
    CHECK_STR(spans("{" MODEL(",\"unk_token\":\"?\",\"fuse_unk\":true") "}", "axyb"),
              "0@0:1 5@1:3 1@3:4");
    CHECK_STR(spans("{" MODEL(",\"byte_fallback\":true") "}", "a\xC3\xA8"), "0@0:1 8@1:3 9@1:3");
    CHECK_STR(spans("{" MODEL(",\"ignore_merges\":true") "}", "ab"), "2@0:2");
    CHECK_STR(
        spans("{\"model\":{\"vocab\":{\"a\":0,\"##b\":1,\"ab\":2,\"##c</w>\":3,\"abc</w>\":4},"
              "\"merges\":[[\"a\",\"##b\"],[\"ab\",\"##c</w>\"]],"
              "\"continuing_subword_prefix\":\"##\",\"end_of_word_suffix\":\"</w>\"},"
              "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}}",
              "abc abbc ac"),
        "4@0:3 2@4:6 1@6:7 3@7:8 0@9:10 3@10:11");
}

static void test_normalized_spans(void)
{
    CHECK_STR(spans("{" MODEL("") "," NORM("\"NFC\"") "}", "ae\xCC\x81"
                                                           "b"),
              "0@0:1 3@1:4 1@4:5");
    CHECK_STR(spans("{" MODEL("") "," NORM("\"NFD\"") "}", "\xC3\xA9"
                                                           "b"),
              "11@0:2 10@0:2 1@2:3");
    CHECK_STR(spans("{" MODEL("") "," NORM("\"Prepend\",\"prepend\":\"\xE2\x96\x81\"") "}", "ab"),
              "6@0:1 2@0:2"); /* "a b" has the lower rank */
    CHECK_STR(spans("{" MODEL("") "," NORM("\"Lowercase\"") "}", "A\xC4\xB0"), "0@0:1 12@1:3");
    CHECK_STR(
        spans("{" MODEL("") "," NORM("\"Strip\",\"strip_left\":true,\"strip_right\":true") "}",
              " \n ab "),
        "2@3:5");
    CHECK_STR(spans("{" MODEL("") "," NORM("\"Replace\",\"pattern\":{\"Regex\":\" +\"},"
                                           "\"content\":\"\xE2\x96\x81\"") "}",
                    "b  ab"),
              "1@0:1 6@2:3 2@3:5");
}

static void test_piece_spans(void)
{
    static const char level[] =
        "{\"model\":{\"vocab\":{\"\xC4\xA0\":0,\"a\":1,\"\xC4\xA0"
        "a\":2,\"\xC3\x83\":3,\"\xC2\xA9\":4},\"merges\":[[\"\xC4\xA0\",\"a\"]]},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true}}";
    CHECK_STR(spans(level, "a a\xC3\xA9"), "2@0:1 2@1:3 3@3:5 4@3:5");
    CHECK_STR(spans("{" MODEL("") ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"
                                  "\"\xE2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":true},"
                                  "\"added_tokens\":[{\"id\":13,\"content\":\"!\",\"lstrip\":true,"
                                  "\"rstrip\":true,\"single_word\":false,\"normalized\":false}]}",
                    "ai a ! a"),
              "7@0:1 12@1:2 7@2:4 13@4:7 0@7:8");
}

#define UNIGRAM(vocab, more)                                                                       \
    "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[" vocab "]" more "}}"

static void test_unigram(void)
{
    /* ab = -3 beats a + b = -3.5; of a + bc and ab + c, both -5, the earlier start: a. */
    CHECK_STR(spans(UNIGRAM("[\"?\",0],[\"a\",-2],[\"b\",-1.5],[\"ab\",-3]", ""), "abb"),
              "3@0:2 2@2:3");
    CHECK_STR(spans(UNIGRAM("[\"?\",0],[\"a\",-2],[\"bc\",-3],[\"ab\",-3],[\"c\",-2]", ""), "abc"),
              "1@0:1 2@1:3");
    /* Unknown characters are joined; then looked up, spelled as bytes, or unknown. */
    CHECK_STR(spans(UNIGRAM("[\"?\",0],[\"a\",-2]", ""), "axya"), "1@0:1 0@1:3 1@3:4");
    CHECK_STR(spans(UNIGRAM("[\"?\",0],[\"a\",-2],[\"xy\",-90]", ""), "axya"), "1@0:1 2@1:3 1@3:4");
    CHECK_STR(spans(UNIGRAM("[\"?\",0],[\"<0xC3>\",0],[\"<0xA9>\",0]", ",\"byte_fallback\":true"),
                    "\xC3\xA9"
                    "\xC3\xA9x"),
              "0@0:5");
    CHECK_STR(spans(UNIGRAM("[\"?\",0],[\"<0xC3>\",0],[\"<0xA9>\",0]", ",\"byte_fallback\":true"),
                    "\xC3\xA9"
                    "\xC3\xA9"),
              "1@0:4 2@0:4 1@0:4 2@0:4");
    qk_tokenizer *tok = load(UNIGRAM("[\"?\",0],[\"a\",-2]", ""));
    if (tok) CHECK_STR(qk_tokenizer_describe(tok), "Unigram, 2 tokens, 0 added");
    qk_tokenizer_free(tok);
}

static bool score_is(const char *text, double value)
{
    return qk_unigram_parse_score(text, strlen(text)) == value;
}

/* The library's way to a double; the last three differ from the nearest one. */
static void test_scores(void)
{
    CHECK(score_is("0", 0) && score_is("-1.5", -1.5) && score_is("25e-1", 2.5));
    CHECK(score_is("1E+3", 1000) && score_is("-12.3456", -12.3456) && score_is("1e-400", 0));
    CHECK(score_is("18446744073709551616", 18446744073709551610.0)); /* digits beyond 64 bits */
    CHECK(!score_is("1e309", 1e308));
    CHECK(score_is("-10.292612652064279", -10.29261265206428));
    CHECK(score_is("-8.1590458474452907", -8.159045847445292));
    CHECK(score_is("-5.38067569193350564", -5.380675691933506));
    CHECK(-10.292612652064279 != -10.29261265206428 && -8.1590458474452907 != -8.159045847445292);
}

int main(void)
{
    snprintf(temp, sizeof temp, "/tmp/qk_spans_XXXXXX");
    if (!mkdtemp(temp)) return 1;
    RUN(test_bpe_spans);
    RUN(test_normalized_spans);
    RUN(test_piece_spans);
    RUN(test_unigram);
    RUN(test_scores);
    rmdir(temp);
    return test_summary("tokenizer spans");
}
