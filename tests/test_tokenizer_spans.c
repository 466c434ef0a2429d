/* Which bytes of a text each token came from, through every kind of step; and the Unigram model on
 * cases small enough to work out by hand. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/base/file.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/tokenizer.h"
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

/* Without spans words come from the cache the second time; the ids must stay. */
static void check_plain(const qk_tokenizer *tok, const char *text, const qk_tokens *want)
{
    qk_tokens t = {0};
    for (int again = 0; again < 2; again++) {
        CHECK(qk_tokenizer_encode(tok, text, strlen(text), 0, &t, &test_error) == QK_OK);
        bool same = t.count == want->count &&
                    (!t.count || !memcmp(t.ids, want->ids, t.count * sizeof *t.ids));
        CHECK_MSG(same, "\"%s\": %zu ids, %zu with spans", text, t.count, want->count);
    }
    qk_tokens_free(&t);
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
    if (tok &&
        qk_tokenizer_encode_with(tok, text, strlen(text), options, &t, &test_error) == QK_OK) {
        for (size_t i = 0; i < t.count && n < 900; i++)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%d@%u:%u", i ? " " : "", t.ids[i],
                                  t.spans[i].start, t.spans[i].end);
        check_plain(tok, text, &t);
    }
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
    /* A regex that has a scanner. */
    CHECK_STR(
        spans("{" MODEL("") "," NORM("\"Replace\",\"pattern\":{\"Regex\":\"'s|'t|'re|'ve|'m|"
                                     "'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|"
                                     "\\\\s+(?!\\\\S)|\\\\s+\"},\"content\":\"b\"") "}",
              "ab a"),
        "1@1:2 1@3:4");
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

/* A vocabulary that holds every byte's character, and "a" as it is spelled inside or at the end. */
static const char *marked_spans(const char *marked, const char *joined, const char *affix)
{
    qk_buf json = {0}, name = {0};
    qk_buf_add_str(&json, "{\"model\":{\"vocab\":{");
    for (int b = 0; b < 256; b++) {
        uint8_t byte = (uint8_t)b;
        qk_buf_clear(&name);
        qk_byte_level_spell(&byte, 1, &name);
        const char *escape = b == '"' || b == '\\' ? "\\" : "";
        qk_buf_addf(&json, "\"%s%s\":%d,", escape, qk_buf_str(&name), b);
    }
    qk_buf_addf(&json,
                "\"%s\":256,\"%s\":257},\"merges\":[[\"b\",\"%s\"]],%s},"
                "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
                marked, joined, marked, affix);
    const char *out = spans(qk_buf_str(&json), "cba");
    qk_buf_free(&json);
    qk_buf_free(&name);
    return out;
}

static void test_marked_bytes(void)
{
    CHECK_STR(marked_spans("a</w>", "ba</w>", "\"end_of_word_suffix\":\"</w>\""), "99@0:1 257@1:3");
    CHECK_STR(marked_spans("##a", "ba", "\"continuing_subword_prefix\":\"##\""), "99@0:1 256@2:3");
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
    /* Not cut before a U+2581, as BPE's pieces are. */
    CHECK_STR(spans(UNIGRAM("[\"?\",0],[\"a\",-2],[\"\xE2\x96\x81\",-2],[\"a\xE2\x96\x81"
                            "a\",-3]",
                            ""),
                    "a\xE2\x96\x81"
                    "a"),
              "3@0:5");
    CHECK_STR(spans("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],"
                    "[\"\xC4\xA0\",-1],[\"a\",-1],[\"\xC4\xA0"
                    "a\",-1.5]]},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                    "\"add_prefix_space\":false}}",
                    "a a"),
              "2@0:1 3@1:3");
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

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(temp, sizeof temp, "/tmp/qk_spans_XXXXXX");
    if (!mkdtemp(temp)) return 1;
    RUN(test_bpe_spans);
    RUN(test_normalized_spans);
    RUN(test_piece_spans);
    RUN(test_marked_bytes);
    RUN(test_unigram);
    RUN(test_scores);
    rmdir(temp);
    return test_summary("tokenizer spans");
}
