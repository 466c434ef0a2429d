/* Tokenizers: small hand-made ones with exact ids, files and texts that must be refused, hostile
 * input, and the parts on their own (normalisation, regexes). */
#include "tests/test.h"

#include <stdatomic.h>
#include <unistd.h>
#include <zstd.h>

#include "engine/base/file.h"
#include "engine/base/team.h"
#include "engine/base/text.h"
#include "engine/tokenizer/forms.h"
#include "engine/tokenizer/pattern.h"
#include "engine/tokenizer/tokenizer.h"
#include "formats/json.h"

static char temp[64], *temp_file;

static qk_status load_text(qk_tokenizer **tok, const void *json, size_t size, qk_error *err)
{
    FILE *f = fopen(temp_file, "wb");
    CHECK(f && fwrite(json, 1, size, f) == size && fclose(f) == 0);
    return qk_tokenizer_load(tok, temp, err);
}

/* "0 2 2" */
static const char *encode(const qk_tokenizer *tok, const char *text, int64_t limit)
{
    static char out[sizeof((qk_error *)0)->message];
    qk_tokens t = {0};
    qk_error err = {0};
    out[0] = 0;
    if (qk_tokenizer_encode(tok, text, strlen(text), limit, &t, &err) != QK_OK) {
        snprintf(out, sizeof out, "%s", err.message);
    } else {
        size_t n = 0;
        for (size_t i = 0; i < t.count && n < 200; i++)
            n += (size_t)snprintf(out + n, sizeof out - n, i ? " %d" : "%d", t.ids[i]);
        if (t.truncated) snprintf(out + n, sizeof out - n, " cut");
    }
    qk_tokens_free(&t);
    return out;
}

#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"abab\":3,\" \":4,\"?\":5}"
#define MERGES "\"merges\":[\"a b\",\"ab ab\"]"
#define MODEL "\"model\":{\"type\":\"BPE\"," VOCAB "," MERGES "}"
#define FLAGS(n) "\"lstrip\":false,\"rstrip\":false,\"single_word\":false,\"normalized\":" n

#define STRIP(l, r) "\"lstrip\":" l ",\"rstrip\":" r ",\"single_word\":false,\"normalized\":false"

/* ---- exact ids ---- */

static void test_small(void)
{
    static const struct {
        const char *json, *text;
        int limit;
        const char *ids;
    } cases[] = {
        {"{" MODEL "}", "ababab", 0, "3 2"},
        {"{" MODEL "}", "", 0, ""},
        {"{" MODEL "}", "bax ab", 0, "1 0 4 2"},
        {"{" MODEL "}", "bab ab", 2, "1 2 cut"},
        {"{" MODEL "}", "bab", 2, "1 2"},
        {"{\"model\":{" VOCAB "," MERGES ",\"unk_token\":\"?\"}}", "xxabx", 0, "5 5 2 5"},
        {"{\"model\":{" VOCAB "," MERGES ",\"unk_token\":\"?\",\"fuse_unk\":true}}", "xxabx", 0,
         "5 2 5"},
        {"{\"model\":{" VOCAB ",\"merges\":[],\"ignore_merges\":true}}", "ab", 0, "2"},
        {"{\"model\":{" VOCAB ",\"merges\":[[\"a\",\"b\"]]}}", "abab", 0, "2 2"},
        /* In whatever order the members come. */
        {"{\"model\":{" MERGES "," VOCAB ",\"type\":\"BPE\"}}", "bab ab", 2, "1 2 cut"},
        {"{\"model\":{\"type\":\"BPE\",\"continuing_subword_prefix\":null," VOCAB "," MERGES "}}",
         "bab ab", 2, "1 2 cut"},
        {"{\"model\":{\"vocab\":[[\"?\",-9],[\"a\",-1],[\"aa\",-1]],\"unk_id\":0,\"type\":"
         "\"Unigram\"}}",
         "aaa", 0, "1 2"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":6,\"content\":\"<x>\"," FLAGS(
             "false") "},"
                      "{\"id\":7,\"content\":\"<x>a\"," FLAGS("false") "}]}",
         "ab<x>b<x>ab", 0, "2 6 1 7 1"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},"
         "\"content\":\"ab\"},\"added_tokens\":[{\"id\":6,\"content\":\"axb\"," FLAGS("true") "}]}",
         "axbx aabb", 0, "6 2 4 6"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"b\"},\"added_tokens\":"
         "[{\"id\":6,\"content\":\"!\"," FLAGS("false") "}]}",
         "a!!a", 0, "1 0 6 6 1 0"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":6,\"content\":\"!\",\"lstrip\":true,\"rstrip\":true,"
         "\"single_word\":false,\"normalized\":false}]}",
         "a  \n!\xE3\x80\x80 a ! !", 0, "0 6 0 6 6"},
        /* What one token swallowed, another may still be found in; with lstrip only what is left.
         */
        {"{" MODEL ",\"added_tokens\":[{\"id\":6,\"content\":\"<A>\"," STRIP(
             "false", "true") "},"
                              "{\"id\":7,\"content\":\" b\"," STRIP("false", "false") "}]}",
         "a<A>  ba", 0, "0 6 7 0"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":6,\"content\":\"<A>\"," STRIP(
             "false", "true") "},"
                              "{\"id\":4,\"content\":\" \"," STRIP("true", "false") "}]}",
         "a<A>  b a", 0, "0 6 1 4 0"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":4,\"content\":\" \"," STRIP("true", "true") "}]}",
         "a    b", 0, "0 4 1"},
        {"{" MODEL
         ",\"added_tokens\":[{\"id\":6,\"content\":\"ba\",\"lstrip\":false,\"rstrip\":false,"
         "\"single_word\":true,\"normalized\":false}]}",
         "ba aba ba\xCC\x81 ba.", 0, "6 4 2 0 4 1 0 4 6"},
        {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},"
         "\"behavior\":\"Removed\",\"invert\":false}}",
         "abab", 0, "0 0"},
        {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
         "{\"SpecialToken\":{\"id\":\"s\"}},{\"Sequence\":{\"id\":\"A\"}},"
         "{\"SpecialToken\":{\"id\":\"e\"}}],\"special_tokens\":{\"s\":{\"ids\":[5]},"
         "\"e\":{\"ids\":[4,4]}}}}",
         "bab", 4, "5 1 4 4 cut"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_tokenizer *tok;
        qk_error err = {0};
        CHECK_MSG(load_text(&tok, cases[i].json, strlen(cases[i].json), &err) == QK_OK, "%s",
                  err.message);
        if (tok) CHECK_STR(encode(tok, cases[i].text, cases[i].limit), cases[i].ids);
        qk_tokenizer_free(tok);
    }
}

/* A limit below the number of special tokens cuts nothing; at that number it cuts all text. */
static void test_small_limits(void)
{
    qk_tokenizer *tok;
    static const char json[] =
        "{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
        "{\"SpecialToken\":{\"id\":\"s\"}},{\"SpecialToken\":{\"id\":\"s\"}},"
        "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"s\":{\"ids\":[5]}}}}";
    CHECK(load_text(&tok, json, strlen(json), &test_error) == QK_OK);
    CHECK_STR(encode(tok, "bab", 1), "5 5 1 2");
    CHECK_STR(encode(tok, "bab", 2), "5 5 cut");
    CHECK_STR(encode(tok, "", 2), "5 5");
    CHECK_INT(qk_tokenizer_vocab_size(tok), 6);
    CHECK_STR(qk_tokenizer_piece(tok, 3), "abab");
    CHECK(!qk_tokenizer_piece(tok, 6) && !qk_tokenizer_piece(tok, -1));
    CHECK_STR(qk_tokenizer_describe(tok), "BPE, 6 tokens, 2 merges, 0 added");
    qk_tokenizer_free(tok);
}

/* ---- what must be refused ---- */

static void test_refused_files(void)
{
    static const struct {
        const char *json, *say;
    } cases[] = {
        {"", "byte 0 (line 1, column 1): the text ends too early"},
        {"{}", "there is no \"model\""},
        {"{" MODEL "} x", "text behind the end"},
        {"{" MODEL "," MODEL "}", "\"model\" is given twice"},
        {"[" MODEL "]", "expected here"},
        {"{\"model\":3}", "an object is expected here"},
        {"{\"model\":{\"type\":\"WordPiece\"}}", "model.type: \"WordPiece\" is not supported"},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB "}}", "model.merges is missing"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "model.vocab is empty"},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "a token id is expected here"},
        {"{\"model\":{\"vocab\":{\"a\":1.5},\"merges\":[]}}", "a token id is expected here"},
        {"{\"model\":{\"vocab\":{\"a\":\"1\"},\"merges\":[]}}", "a token id is expected here"},
        {"{\"model\":{\"vocab\":{\"a\":4194304},\"merges\":[]}}", "4194304 is beyond 4194303"},
        {"{\"model\":{\"vocab\":{\"a\":1e300},\"merges\":[]}}", "a token id is expected here"},
        {"{\"model\":{\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", "its id 1 is given twice"},
        {"{\"model\":{\"vocab\":{\"a\":1,\"a\":2},\"merges\":[]}}", "token \"a\" or its id 2"},
        {"{\"model\":{\"vocab\":[\"a\"],\"merges\":[]}}", "an object is expected here"},
        {"{\"model\":{" VOCAB ",\"merges\":{}}}", "an array is expected here"},
        {"{\"model\":{" VOCAB ",\"merges\":[\"ab\"]}}", "two tokens with one space"},
        {"{\"model\":{" VOCAB ",\"merges\":[\"a b a\"]}}", "two tokens with one space"},
        {"{\"model\":{" VOCAB ",\"merges\":[\"a z\"]}}",
         "model.merges[0]: its token \"z\" is not in model.vocab"},
        {"{\"model\":{" VOCAB ",\"merges\":[\"a b\",[\"a\",\"b\"]]}}",
         "model.merges[1]: a pair, while those before it are texts"},
        {"{\"model\":{" VOCAB ",\"merges\":[[\"a\",\"b\"],\"a b\"]}}",
         "model.merges[1]: one text, while those before it are pairs"},
        {"{\"model\":{" VOCAB ",\"merges\":[[\"a\"]]}}", "a merge is two tokens"},
        {"{\"model\":{" VOCAB ",\"merges\":[[\"a\",\"b\",\"a\"]]}}", "a merge is two tokens"},
        {"{\"model\":{" VOCAB ",\"merges\":[1]}}", "a merge is expected here"},
        {"{\"model\":{" VOCAB "," MERGES ",\"dropout\":0.1}}", "model.dropout: only null"},
        {"{\"model\":{" VOCAB "," MERGES ",\"unk_token\":\"zz\"}}",
         "model.unk_token: \"zz\" is no token"},
        {"{\"model\":{" VOCAB "," MERGES ",\"fuse_unk\":1}}", "model.fuse_unk: true or false"},
        {"{" MODEL ",\"added_tokens\":{}}", "added_tokens: an array expected"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":9,\"content\":\"<x>\"," FLAGS("false") "}]}",
         "added_tokens[0]: token \"<x>\" has id 9, the library gives it 6"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":1,\"content\":\"a\"," FLAGS("false") "}]}",
         "token \"a\" has id 1, the library gives it 0"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":6,\"content\":\"\"," FLAGS("false") "}]}",
         "a token of 0 bytes"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":6,\"content\":\"x\"}]}",
         "added_tokens[0].single_word: true or false expected, found nothing"},
        {"{" MODEL
         ",\"normalizer\":{\"type\":\"Lowercase\"},\"added_tokens\":[{\"id\":6,\"content\":"
         "\"x\"," FLAGS("true") "},{\"id\":7,\"content\":\"X\"," FLAGS("true") "}]}",
         "token \"X\": another token normalises to the same text"},
        {"{" MODEL ",\"added_tokens\":[{\"id\":0,\"content\":\"a\"," FLAGS(
             "false") "},{\"id\":1,\"content\":\"a\"," FLAGS("false") "}]}",
         "added_tokens[1]: token \"a\" has id 1, the library gives it 0"},
        {"{" MODEL ",\"truncation\":{\"direction\":\"up\"}}", "truncation.direction: \"Left\""},
        {"{" MODEL ",\"normalizer\":{\"type\":\"BertNormalizer\"}}", "type \"BertNormalizer\""},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Sequence\"}}", "normalizer.normalizers: an array"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},"
         "\"content\":\"\"}}",
         "normalizer: regex byte 1"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a*\"},"
         "\"content\":\"\"}}",
         "normalizer: a regex that can match no character"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Strip\",\"strip_left\":true}}",
         "normalizer.strip_right: true or false expected, found nothing"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\"}}", "type \"Precompiled\""},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},"
         "\"content\":\"\"}}",
         "normalizer: an empty pattern"},
        {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},"
         "\"behavior\":\"Isolated\",\"invert\":false}}",
         "pre_tokenizer: regex byte 2: not supported: a group without its ')'"},
        {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},"
         "\"behavior\":\"Isolated\"}}",
         "pre_tokenizer.invert: true or false expected, found nothing"},
        {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},"
         "\"behavior\":\"Cut\",\"invert\":false}}",
         "pre_tokenizer: this \"behavior\""},
        {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
         "{\"type\":\"ByteLevel\",\"add_prefix_space\":false},{\"type\":\"UnicodeScripts\"}]}}",
         "pre_tokenizer.pretokenizers[1]: type \"UnicodeScripts\" is not supported"},
        {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Punctuation\",\"behavior\":1}}",
         "pre_tokenizer: this \"behavior\""},
        {"{" MODEL ",\"post_processor\":{\"type\":\"BertProcessing\"}}",
         "post_processor: \"cls\" is not [\"token\", its id]"},
        {"{" MODEL ",\"post_processor\":{\"type\":\"Custom\"}}", "post_processor: type \"Custom\""},
        {"{\"model\":{" VOCAB "," MERGES ",\"end_of_word_suffix\":1}}",
         "model.end_of_word_suffix: a string of at most 64 bytes expected, found a number"},
        {"{\"model\":{" VOCAB "," MERGES ",\"continuing_subword_prefix\":\"##\"}}",
         "model.merges[0]: its result \"ab\" is not in model.vocab"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]]}}", "model.unk_id: without it"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}}",
         "model.unk_id: 1 is no id of the vocabulary, which has 1 tokens"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":0},\"unk_id\":0}}",
         "model.vocab: an array is expected here"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0],[\"b\"]],\"unk_id\":0}}",
         "model.vocab[1]: a token and its score"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0],[\"a\",1]],\"unk_id\":0}}",
         "model.vocab[1]: token \"a\" is given twice"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]],\"unk_id\":0}}",
         "model.vocab[0]: the score is not finite"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":0}}", "model.vocab is missing"},
        {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}}",
         "the \"single\" template has no Sequence A"},
        {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
         "\"SpecialToken\":{\"id\":\"<s>\"}}],\"special_tokens\":{}}}",
         "post_processor: the template's \"<s>\" is not in special_tokens"},
        {"{" MODEL ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":"
         "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\"}}],"
         "\"special_tokens\":{\"s\":{\"ids\":[77]}}}]}}",
         "post_processor.processors[0]: 77, an id of \"s\", is no token"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_tokenizer *tok = (qk_tokenizer *)1;
        qk_error err = {0};
        qk_status s = load_text(&tok, cases[i].json, strlen(cases[i].json), &err);
        CHECK_MSG(s != QK_OK && !tok, "accepted: %s", cases[i].json);
        CHECK_MSG(strstr(err.message, cases[i].say), "%s is not in: %s", cases[i].say, err.message);
        CHECK_MSG(!strncmp(err.message, temp_file, strlen(temp_file)), "%s", err.message);
    }
}

static void test_refused_folders(void)
{
    qk_tokenizer *tok;
    qk_error err = {0};
    CHECK_INT(qk_tokenizer_load(&tok, "/nonexistent", &err), QK_ERR_NOTFOUND);
    static const char json[] = "{" MODEL "}";
    static const struct {
        const char *name, *text, *say;
    } cases[] = {
        {"tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\"}",
         "/tokenizer_config.json: tokenizer_class: \"BertTokenizer\""},
        {"tokenizer_config.json", "{\"pad_token\": {\"content\": \"<p>\"}}",
         "tokenizer_config.json: pad_token: a string or an AddedToken"},
        {"tokenizer_config.json", "{\"split_special_tokens\": 1}", "split_special_tokens"},
        {"tokenizer_config.json", "{", "tokenizer_config.json: byte 1"},
        {"tokenizer_config.json", "[]", "tokenizer_config.json: an object expected"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"01\": {\"content\": \"x\"}}}",
         "tokenizer_config.json: added_tokens_decoder: \"01\" is no id"},
        {"tokenizer_config.json", "{\"auto_map\": {\"AutoTokenizer\": [\"x.Y\", null]}}",
         "auto_map: code of its own (trust_remote_code) is not supported"},
        {"special_tokens_map.json", "{\"pad_token\": [1]}", "special_tokens_map.json: pad_token: "},
        {"added_tokens.json", "{\"<p>\": 1.5}", "added_tokens.json: <p>: an id expected"},
        {"config.json", "{\"model_type\": \"bert\"}",
         "/config.json: tokenizer_class: \"BertTokenizer\""},
        {"config.json", "{\"model_type\": 1}", "config.json: model_type: a string expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = qk_path_join(temp, cases[i].name);
        CHECK(qk_write_file(path, cases[i].text, strlen(cases[i].text), &test_error) == QK_OK);
        CHECK(load_text(&tok, json, strlen(json), &err) != QK_OK);
        CHECK_MSG(strstr(err.message, cases[i].say), "%s", err.message);
        unlink(path);
        free(path);
    }
}

static void test_refused_text(void)
{
    qk_tokenizer *tok;
    static const char json[] = "{" MODEL "}";
    CHECK(load_text(&tok, json, strlen(json), &test_error) == QK_OK);
    CHECK_STR(encode(tok, "ab\xFF", 0), "the text is not UTF-8 at byte 2 (0xFF)");
    CHECK_STR(encode(tok, "\xED\xA0\x80", 0), "the text is not UTF-8 at byte 0 (0xED)");
    CHECK_STR(encode(tok, "abab\xE2\x96", 0), "the text is not UTF-8 at byte 4 (0xE2)");
    qk_tokenizer_free(tok);
}

/* ---- hostile ---- */

static void test_deep_nesting(void)
{
    char json[4096] = "{" MODEL ",\"normalizer\":";
    size_t n = strlen(json);
    for (int i = 0; i < 20; i++)
        n += (size_t)sprintf(json + n, "{\"type\":\"Sequence\",\"normalizers\":[");
    n += (size_t)sprintf(json + n, "{\"type\":\"NFC\"}");
    for (int i = 0; i < 20; i++) n += (size_t)sprintf(json + n, "]}");
    json[n++] = '}';
    qk_tokenizer *tok;
    qk_error err = {0};
    CHECK_INT(load_text(&tok, json, n, &err), QK_ERR_UNSUPPORTED);
    CHECK_MSG(strstr(err.message, "Sequences nested too deep"), "%s", err.message);
    static char brackets[2000];
    memset(brackets, '[', sizeof brackets);
    CHECK_INT(load_text(&tok, brackets, sizeof brackets, &err), QK_ERR_FORMAT);
    n = (size_t)sprintf(json, "{\"a\":");
    memset(json + n, '[', 1000);
    CHECK_INT(load_text(&tok, json, n + 1000, &err), QK_ERR_FORMAT);
    CHECK_MSG(strstr(err.message, "nest"), "%s", err.message);
}

static const char *const committed[] = {
    "tests/data/tokenizer/bpe_fallback_merges_strings/tokenizer.json",
    "tests/data/tokenizer/split_o200k/tokenizer.json",
    "tests/data/capture/case6_truncation_and_ids/model/tokenizer.json",
    "tests/data/tokenizer/unigram_byte_fallback/tokenizer.json",
    "tests/data/tokenizer/added_token_flags/tokenizer.json",
    "tests/data/tokenizer/punctuation_digits_sequence/tokenizer.json",
};
enum { COMMITTED = sizeof committed / sizeof *committed };

/* Cut at every 37th byte: an error each time, with a place. */
static void test_cut_files(void)
{
    for (size_t k = 0; k < COMMITTED; k++) {
        qk_buf json;
        CHECK(qk_read_file(&json, committed[k], 1 << 20, &test_error) == QK_OK);
        for (size_t n = 0; n + 2 < json.size; n += 37) {
            qk_tokenizer *tok;
            qk_error err = {0};
            CHECK_INT(load_text(&tok, json.data, n, &err), QK_ERR_FORMAT);
            CHECK_MSG(strstr(err.message, "tokenizer.json: byte "), "%s", err.message);
        }
        qk_buf_free(&json);
    }
}

/* Bytes changed at random: an error or a tokenizer that works, never a crash. */
static void test_changed_files(void)
{
    uint64_t random = 1;
    int loaded = 0, refused = 0;
    for (int round = 0; round < 900; round++) {
        qk_buf json;
        CHECK(qk_read_file(&json, committed[round % COMMITTED], 1 << 20, &test_error) == QK_OK);
        for (int i = 0; i < 1 + round % 2; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t span = round % 2 ? 1500 : json.size; /* the flags are at the front */
            json.data[(random >> 33) % span] = " \"0129,:[]{}aeltu\\-."[(random >> 20) % 19];
        }
        qk_tokenizer *tok;
        qk_error err = {0};
        if (load_text(&tok, json.data, json.size, &err) == QK_OK) {
            encode(tok,
                   "The 3 quick\xE3\x80\x80"
                   "foxes' \xF0\x9F\xA6\x8A e\xCC\x81\n\n",
                   7);
            loaded++;
        } else {
            CHECK(err.message[0] != 0);
            refused++;
        }
        qk_tokenizer_free(tok);
        qk_buf_free(&json);
    }
    CHECK_MSG(loaded > 50 && refused > 50, "%d loaded, %d refused", loaded, refused);
}

/* Long words: merging is n log n, so this takes well under a second. */
static void test_long_words(void)
{
    qk_tokenizer *tok;
    static const char json[] = "{" MODEL ",\"normalizer\":{\"type\":\"NFC\"}}";
    CHECK(load_text(&tok, json, strlen(json), &test_error) == QK_OK);
    size_t n = 1 << 20;
    char *text = malloc(n);
    qk_tokens t = {0};
    for (size_t i = 0; i < n; i++) text[i] = i % 2 ? 'b' : 'a';
    CHECK(qk_tokenizer_encode(tok, text, n, 0, &t, &test_error) == QK_OK);
    CHECK_INT(t.count, n / 4);
    CHECK_INT(t.ids[n / 4 - 1], 3);
    for (size_t i = 0; i + 3 < n; i += 4)
        memcpy(text + i, i % 8 ? "\xCC\x81\xCC\xA3" : "\xCC\xA3\xCC\x81", 4);
    CHECK(qk_tokenizer_encode(tok, text, n, 0, &t, &test_error) == QK_OK); /* marks to be sorted */
    CHECK_INT(t.count, 0);
    qk_tokens_free(&t);
    free(text);
    qk_tokenizer_free(tok);
}

/* ---- sharing ---- */

/* One scratch for two tokenizers: cached words of one must not reach the other. */
static void test_scratch_is_shared(void)
{
    qk_tokenizer *one, *two;
    static const char a[] = "{" MODEL "}", b[] = "{\"model\":{" VOCAB ",\"merges\":[]}}";
    CHECK(load_text(&one, a, strlen(a), &test_error) == QK_OK);
    CHECK(load_text(&two, b, strlen(b), &test_error) == QK_OK);
    qk_tokens t = {0};
    for (int i = 0; i < 4; i++) {
        CHECK(qk_tokenizer_encode(i % 2 ? two : one, "abab", 4, 0, &t, &test_error) == QK_OK);
        CHECK_INT(t.count, i % 2 ? 4 : 1);
    }
    qk_tokens_free(&t);
    qk_tokenizer_free(one);
    qk_tokenizer_free(two);
}

enum { PREFIXES = 40 };
static const char prefixed[] = "The lighthouse keeper counted 17 ships; e\xCC\x81t\xC3\xA9";
static qk_tokens alone[PREFIXES];
static atomic_int wrong;

static void encode_prefixes(void *tok, size_t begin, size_t end, int member)
{
    qk_error err;
    (void)member;
    for (size_t i = begin; i < end; i++) {
        qk_tokens t = {0};
        for (size_t n = PREFIXES; n-- > 0;) {
            wrong += qk_tokenizer_encode(tok, prefixed, n, 0, &t, &err) != QK_OK;
            wrong += t.count != alone[n].count ||
                     (n && memcmp(t.ids, alone[n].ids, t.count * sizeof *t.ids) != 0);
        }
        qk_tokens_free(&t);
    }
}

/* Four threads and one tokenizer give what one thread gives, prefix by prefix. */
static void test_threads(void)
{
    qk_tokenizer *tok;
    CHECK(qk_tokenizer_load(&tok, "tests/data/capture/case6_truncation_and_ids/model",
                            &test_error) == QK_OK);
    for (size_t n = 0; n < PREFIXES; n++)
        CHECK(qk_tokenizer_encode(tok, prefixed, n, 0, &alone[n], &test_error) == QK_OK);
    CHECK(alone[PREFIXES - 1].count > 10);
    qk_loop_each(4, 16, encode_prefixes, tok);
    CHECK_INT(wrong, 0);
    for (size_t n = 0; n < PREFIXES; n++) qk_tokens_free(&alone[n]);
    qk_tokenizer_free(tok);
}

/* ---- parts ---- */

static const char *normal_form(qk_form form, const char *text)
{
    static qk_traced out;
    uint8_t *table = qk_form_make_table(form);
    qk_form_memory m = {0};
    qk_view view = {(const uint8_t *)text, strlen(text), NULL};
    qk_traced_begin(&out, view);
    qk_form_apply(form, table, &m, view, &out);
    qk_form_memory_free(&m);
    free(table);
    return qk_buf_str(&out.text);
}

static const char *nfc(const char *text)
{
    return normal_form(QK_NFC, text);
}

static void test_nfc(void)
{
    CHECK_STR(nfc(""), "");
    CHECK_STR(nfc("plain"), "plain");
    CHECK_STR(nfc("e\xCC\x81"), "\xC3\xA9");
    CHECK_STR(nfc("xe\xCC\x81y"), "x\xC3\xA9y");
    CHECK_STR(nfc("\xCC\x81"
                  "e"),
              "\xCC\x81"
              "e");
    CHECK_STR(nfc("s\xCC\x87\xCC\xA3"), "\xE1\xB9\xA9");            /* marks in the other order */
    CHECK_STR(nfc("\xE1\xB8\x8B\xCC\xA3"), "\xE1\xB8\x8D\xCC\x87"); /* UAX 15, figure 5 */
    CHECK_STR(nfc("\xE2\x84\xAB"), "\xC3\x85");                     /* the Angstrom sign */
    CHECK_STR(nfc("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8"), "\xEA\xB0\x81"); /* Hangul */
    CHECK_STR(nfc("\xEA\xB0\x80\xE1\x86\xA8"), "\xEA\xB0\x81");
    CHECK_STR(nfc("\xE0\xA5\x98"), "\xE0\xA4\x95\xE0\xA4\xBC"); /* excluded from composition */
}

static uint32_t parse_code(const char **at)
{
    char *end;
    uint32_t code = (uint32_t)strtoul(*at, &end, 16);
    *at = end;
    return code;
}

/* "41 300" as UTF-8. */
static void put_codes(const char *at, char *out)
{
    while (*at) out += qk_utf8_encode(parse_code(&at), (uint8_t *)out);
    *out = 0;
}

static bool form_gives(qk_form form, const uint8_t *table, const char *from, const char *to)
{
    static qk_form_memory m;
    static qk_traced out;
    qk_view view = {(const uint8_t *)from, strlen(from), NULL};
    qk_traced_begin(&out, view);
    qk_form_apply(form, table, &m, view, &out);
    return !strcmp(qk_buf_str(&out.text), to);
}

/* Every character that a form of the library changes, and no other but Hangul syllables. */
static void check_form(qk_form form, const qk_json *changes, size_t count)
{
    uint8_t *table = qk_form_make_table(form);
    bool *changed = calloc(0x110000, sizeof *changed);
    size_t right = 0, kept = 0;
    for (const qk_json *v = changes->first; v; v = v->next) {
        char from[64], to[128];
        put_codes(v->key, from);
        put_codes(v->text, to);
        changed[strtoul(v->key, NULL, 16)] = true;
        right += form_gives(form, table, from, to);
    }
    for (uint32_t c = 1; c < 0x110000; c++) {
        char text[8];
        if (changed[c] || (c >= 0xD800 && c < 0xE000) || (c >= 0xAC00 && c < 0xD7A4)) continue;
        text[qk_utf8_encode(c, (uint8_t *)text)] = 0;
        kept += form_gives(form, table, text, text);
    }
    CHECK_INT(right, count);
    CHECK_INT(kept, 0x110000 - 1 - 2048 - 11172 - count);
    free(changed);
    free(table);
}

static void test_form_tables(void)
{
    char *path = test_golden("tokenizers/unicode.json.zst");
    bool is_packed = path != NULL;
    if (!path) path = test_golden("tokenizers/unicode.json");
    if (!path) SKIP("unicode.json is not here");
    qk_buf file;
    CHECK(qk_read_file(&file, path, 1 << 24, &test_error) == QK_OK);
    size_t capacity = 1 << 23, size = file.size;
    char *text = malloc(capacity);
    if (is_packed)
        size = ZSTD_decompress(text, capacity, file.data, file.size);
    else
        memcpy(text, file.data, size);
    CHECK(!ZSTD_isError(size));
    qk_arena arena = {0};
    const qk_json *all;
    CHECK(qk_json_parse(&arena, text, size, path, &all, &test_error) == QK_OK);
    const qk_json *forms = qk_json_get(all, "normalization");
    check_form(QK_NFC, qk_json_get(forms, "NFC"), 1120);
    check_form(QK_NFD, qk_json_get(forms, "NFD"), 2060);
    check_form(QK_NFKC, qk_json_get(forms, "NFKC"), 4794);
    check_form(QK_NFKD, qk_json_get(forms, "NFKD"), 5722);
    uint8_t *table = qk_form_make_table(QK_NFC);
    int right = 0;
    for (const qk_json *v = qk_json_get(all, "nfc_compose_pairs")->first; v; v = v->next) {
        char from[64], to[64];
        put_codes(v->key, from);
        put_codes(v->text, to);
        right += form_gives(QK_NFC, table, from, to);
    }
    CHECK_INT(right, 940);
    qk_buf_free(&file);
    qk_arena_free(&arena);
    free(table);
    free(text);
    free(path);
}

/* All matches with '|' between them, or the error. */
static const char *matches(const char *regex, const char *text)
{
    static char out[sizeof((qk_error *)0)->message];
    qk_pattern *p;
    qk_error err = {0};
    if (qk_pattern_compile(&p, regex, strlen(regex), "t", &err) != QK_OK) {
        snprintf(out, sizeof out, "%s", err.message);
        return out;
    }
    qk_match_memory memory = {0};
    qk_matcher m;
    qk_matcher_begin(&m, p, &memory, (const uint8_t *)text, strlen(text));
    size_t start, end, n = 0;
    while (qk_matcher_next(&m, &start, &end) == 1)
        n += (size_t)snprintf(out + n, sizeof out - n, "%.*s|", (int)(end - start), text + start);
    out[n] = 0;
    qk_match_memory_free(&memory);
    qk_pattern_free(p);
    return out;
}

static void test_patterns(void)
{
    CHECK_STR(matches("\\p{L}+", "ab \xC3\xA9\xE4\xB8\xAD"
                                 "1"),
              "ab|\xC3\xA9\xE4\xB8\xAD|");
    CHECK_STR(matches("\\s", "a\xC2\x85"
                             "b\x1C"
                             "c"),
              "\xC2\x85|"); /* U+0085, not U+001C */
    CHECK_STR(matches("(?i:'s)", "'s'S'\xC5\xBF"), "'s|'S|'\xC5\xBF|");
    CHECK_STR(matches("(?i:[sk])", "S\xE2\x84\xAA"
                                   "x"),
              "S|\xE2\x84\xAA|");
    CHECK_STR(matches("x{1,2}+", "xxxxx"), "xxxxx|"); /* the group again, not possessive */
    CHECK_STR(matches("x++x", "xxx"), "");
    CHECK_STR(matches("[a-z&&[^aeiou]]+", "bcade"), "bc|d|");
    CHECK_STR(matches("[^[a-c]x]+", "abyxz"), "y|z|");
    CHECK_STR(matches("a*", "baab"), "|aa||"); /* none right behind "aa" */
    CHECK_STR(matches("\\s+(?!\\S)|\\s+", "a   b "), "  | | |");
    CHECK_STR(matches("\\s+$", "a \nb "), " | |");
    CHECK_STR(matches("[^\\x00-\\x{10FFFF}]", "a"),
              "t: regex byte 6: not supported: a NUL character");
    CHECK_STR(matches("[a-c&&x]", "acx"), "");
    CHECK_STR(matches("", "a"), "t: the pattern is empty");
    CHECK_STR(matches("a)", "a"), "t: regex byte 1: not supported: a ')' without its '('");
    CHECK_STR(matches("\\p{Greek}", "a"), "t: regex byte 2: not supported: this \\p{name}");
    CHECK_STR(matches("a**", "a"),
              "t: regex byte 2: not supported: a quantifier behind a quantifier");
    CHECK_STR(matches("(?i:ss)", "a"),
              "t: regex byte 6: not supported: letters without case that have a ligature");
    static const char empty_counted[] =
        "t: regex is not supported: {} behind a group that may match nothing";
    CHECK_STR(matches("(?:(?:b\\w|(?<!b)\\A){2})*", "bba"), empty_counted);
    CHECK_STR(matches("(?:a||b){2,}", "a"), empty_counted);
    CHECK_STR(matches("(?:a*|b){0,2}", "a"), empty_counted);
    CHECK_STR(matches("(?:a?){3}b", "aabaaaab"), "aab|aaab|");
    CHECK_STR(matches("(?:a*|b){0,1}c", "bcaac"), "bc|aac|");
    CHECK_STR(matches("(?<=(?:(?:(?:(?:(?:a{9999}){9999}){9999}){9999}){9999}))b", "ab"),
              "t: regex is not supported: what is asserted to stand before has no fixed length");
    CHECK_STR(matches("(?<=(?:a{8192}){8192})b", "ab"), "");
    CHECK_STR(matches("(?<=(?:(?:a{8192}){8192}){64})b", "ab"),
              "t: regex is not supported: what is asserted to stand before has no fixed length");
    char deep[200];
    memset(deep, '(', 100);
    deep[100] = 0;
    CHECK_STR(matches(deep, ""), "t: regex byte 32: not supported: groups nested too deep");
    memset(deep, '[', 100);
    CHECK_STR(matches(deep, ""), "t: regex byte 17: not supported: classes nested too deep");
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(temp, sizeof temp, "/tmp/qk_tokenizer_XXXXXX");
    if (!mkdtemp(temp)) return 1;
    temp_file = qk_path_join(temp, "tokenizer.json");
    RUN(test_small);
    RUN(test_small_limits);
    RUN(test_refused_files);
    RUN(test_refused_folders);
    RUN(test_refused_text);
    RUN(test_deep_nesting);
    RUN(test_cut_files);
    RUN(test_changed_files);
    RUN(test_long_words);
    RUN(test_scratch_is_shared);
    RUN(test_threads);
    RUN(test_nfc);
    RUN(test_form_tables);
    RUN(test_patterns);
    unlink(temp_file);
    rmdir(temp);
    free(temp_file);
    return test_summary("tokenizer bad");
}
