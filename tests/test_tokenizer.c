/* Tokenizers against what AutoTokenizer gives: real ones (../shared), tiny ones, captured runs; and
 * files and texts that must be refused. */
#include "tests/test.h"

#include <unistd.h>
#include <zstd.h>

#include "engine/base/file.h"
#include "engine/tokenizer/internal.h"
#include "engine/tokenizer/pretokenize.h"
#include "formats/json.h"

/* ---- files ---- */

/* A whole .zst file, decompressed; false when it cannot be read. */
static bool read_zst(const char *path, qk_buf *out)
{
    qk_buf packed;
    *out = (qk_buf){0};
    if (qk_read_file(&packed, path, SIZE_MAX / 2, &test_error) != QK_OK) return false;
    ZSTD_DStream *z = ZSTD_createDStream();
    ZSTD_inBuffer in = {packed.data, packed.size, 0};
    size_t rc = 1;
    while (in.pos < in.size && !ZSTD_isError(rc)) {
        qk_buf_reserve(out, 1 << 20);
        ZSTD_outBuffer o = {out->data, out->capacity, out->size};
        rc = ZSTD_decompressStream(z, &o, &in);
        out->size = o.pos;
    }
    for (; !ZSTD_isError(rc) && rc;) { /* what the decoder still holds */
        qk_buf_reserve(out, 1 << 20);
        ZSTD_outBuffer o = {out->data, out->capacity, out->size};
        rc = ZSTD_decompressStream(z, &o, &in);
        if (o.pos == out->size) break;
        out->size = o.pos;
    }
    ZSTD_freeDStream(z);
    qk_buf_free(&packed);
    return rc == 0;
}

static char temp[64]; /* a folder */

static void write_temp(const char *name, const void *bytes, size_t n)
{
    char *path = qk_path_join(temp, name);
    CHECK(qk_write_file(path, bytes, n, &test_error) == QK_OK);
    free(path);
}

static void clear_temp(void)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "config.json"};
    for (size_t i = 0; i < 3; i++) {
        char *path = qk_path_join(temp, names[i]);
        unlink(path);
        free(path);
    }
}

/* ---- comparing one line ---- */

typedef struct tally {
    int lines, ids, tokens, plain, cut; /* lines, and lines that are exact in each field */
    int with_cut, with_pieces, pieces;
} tally;

static bool same_ids(const qk_tokens *t, const qk_json *want)
{
    if (!want || t->count != want->count) return false;
    size_t i = 0;
    for (const qk_json *id = want->first; id; id = id->next)
        if (t->ids[i++] != id->integer) return false;
    return true;
}

static bool same_tokens(const qk_tokenizer *tok, const qk_tokens *t, const qk_json *want)
{
    if (!want || t->count != want->count) return false;
    size_t i = 0;
    for (const qk_json *s = want->first; s; s = s->next) {
        const char *piece = qk_tokenizer_piece(tok, t->ids[i++]);
        if (!piece || strcmp(piece, s->text) != 0) return false;
    }
    return true;
}

static void show_difference(const char *what, const qk_json *line, const qk_tokens *t)
{
    const qk_json *name = qk_json_get(line, "name"), *ids = qk_json_get(line, "ids");
    printf("  %s %s:\n    got     ", what, name ? name->text : "");
    for (size_t i = 0; i < t->count && i < 24; i++) printf(" %d", t->ids[i]);
    printf("\n    expected");
    size_t n = 0;
    for (const qk_json *id = ids ? ids->first : NULL; id && n < 24; id = id->next, n++)
        printf(" %d", (int)id->integer);
    printf("\n");
}

/* What the model would see if the text held no added token. */
static bool same_pieces(const qk_tokenizer *tok, const qk_json *text, const qk_json *want)
{
    qk_norm_memory norm = {0};
    qk_pre_memory pre = {0};
    qk_view view = {(const uint8_t *)text->text, text->length, NULL};
    bool same = qk_normalize(tok->normalizer, &norm, &view, &test_error) == QK_OK;
    same = same && qk_pretokenize(tok->pretokenizer, &pre, view, true, &test_error) == QK_OK;
    const qk_json *w = want->first;
    for (size_t i = 0; same && i < pre.pieces.count; i++, w = w->next) {
        qk_piece p = pre.pieces.items[i];
        qk_traced spelled = {0};
        qk_view piece = qk_view_part(pre.view, p.start, p.end);
        if (tok->pretokenizer->byte_level) {
            qk_traced_spell(&spelled, piece);
            piece = qk_traced_view(&spelled);
        }
        same = w && piece.length == w->length && !memcmp(piece.text, w->text, w->length);
        qk_traced_free(&spelled);
        if (!w) break;
    }
    if (w && !w->length && !w->next) w = NULL; /* the library gives one empty piece */
    qk_norm_memory_free(&norm);
    qk_pre_memory_free(&pre);
    return same && !w;
}

static void compare_line(const char *what, const qk_tokenizer *tok, const qk_json *line,
                         qk_tokens *t, tally *sum)
{
    const qk_json *text = qk_json_get(line, "text"), *cut = qk_json_get(line, "ids_max16");
    qk_error err = {0};
    sum->lines++;
    qk_status s = qk_tokenizer_encode(tok, text->text, text->length, 0, t, &err);
    bool ids = s == QK_OK && same_ids(t, qk_json_get(line, "ids")) && !t->truncated;
    if (!ids && sum->lines - sum->ids < 4) {
        if (s != QK_OK) printf("  %s\n", err.message);
        show_difference(what, line, t);
    }
    sum->ids += ids;
    sum->tokens += s == QK_OK && same_tokens(tok, t, qk_json_get(line, "tokens"));
    qk_encode_options plain = {.plain = true, .spans = true};
    s = qk_tokenizer_encode_with(tok, text->text, text->length, plain, t, &err);
    sum->plain += s == QK_OK && same_ids(t, qk_json_get(line, "ids_plain"));
    const qk_json *pieces = qk_json_get(line, "pieces");
    sum->with_pieces += pieces != NULL;
    sum->pieces += pieces && same_pieces(tok, text, pieces);
    if (!cut) return;
    sum->with_cut++;
    s = qk_tokenizer_encode(tok, text->text, text->length, 16, t, &err);
    sum->cut += s == QK_OK && same_ids(t, cut) && t->truncated;
}

static void compare_lines(const char *what, const qk_tokenizer *tok, const uint8_t *data,
                          size_t size, tally *sum)
{
    qk_tokens t = {0};
    const uint8_t *end = data + size;
    while (data < end) {
        const uint8_t *stop = memchr(data, '\n', (size_t)(end - data));
        if (!stop) stop = end;
        qk_arena arena = {0};
        const qk_json *line;
        qk_error err = {0};
        qk_status s =
            qk_json_parse(&arena, (const char *)data, (size_t)(stop - data), what, &line, &err);
        CHECK_MSG(s == QK_OK, "%s", err.message);
        if (s == QK_OK) compare_line(what, tok, line, &t, sum);
        qk_arena_free(&arena);
        data = stop + 1;
    }
    qk_tokens_free(&t);
}

static void check_tally(const char *what, const tally *sum, int lines)
{
    printf("  %s: %d lines: ids %d, tokens %d, ids_plain %d, ids_max16 %d of %d\n", what,
           sum->lines, sum->ids, sum->tokens, sum->plain, sum->cut, sum->with_cut);
    CHECK_MSG(sum->lines == lines && sum->ids == lines && sum->tokens == lines, "%s", what);
    CHECK_MSG(sum->plain == lines, "%s", what);
    CHECK_MSG(sum->cut == sum->with_cut && sum->with_cut > 0, "%s", what);
}

/* ---- the five real tokenizers ---- */

static bool unpack_real(const char *name, const char *model_type)
{
    char relative[128];
    snprintf(relative, sizeof relative, "../tokenizers/%s/tokenizer.json.zst", name);
    char *path = test_golden(relative);
    if (!path) return false;
    qk_buf json;
    bool ok = read_zst(path, &json);
    CHECK(ok);
    write_temp("tokenizer.json", json.data, json.size);
    qk_buf_free(&json);
    strcpy(strrchr(path, '/') + 1, "tokenizer_config.json");
    ok = ok && qk_read_file(&json, path, 1 << 20, &test_error) == QK_OK;
    CHECK(ok);
    write_temp("tokenizer_config.json", json.data, json.size);
    qk_buf_free(&json);
    char config[64];
    write_temp("config.json", config,
               (size_t)snprintf(config, sizeof config, "{\"model_type\": \"%s\"}", model_type));
    free(path);
    return ok;
}

/* The same pipeline with a few hundred tokens, which is here always. */
static void check_small(const char *name)
{
    qk_buf lines = {0};
    qk_tokenizer *tok;
    tally sum = {0};
    char *folder = qk_strf("build/golden/tokenizers/small/%s", name);
    char *path = qk_path_join(folder, "golden.jsonl");
    CHECK(qk_read_file(&lines, path, 1 << 24, &test_error) == QK_OK);
    bool loaded = qk_tokenizer_load(&tok, folder, &test_error) == QK_OK;
    CHECK_MSG(loaded, "%s: %s", name, test_error.message);
    if (loaded) compare_lines(name, tok, lines.data, lines.size, &sum);
    if (loaded) check_tally(folder, &sum, 60);
    qk_tokenizer_free(tok);
    qk_buf_free(&lines);
    free(path);
    free(folder);
}

static void check_real(const char *name, const char *model_type, const char *description)
{
    char relative[128];
    snprintf(relative, sizeof relative, "tokenizers/%s.jsonl.zst", name);
    check_small(name);
    char *path = test_whole_golden(relative);
    if (!path) return;
    CHECK(unpack_real(name, model_type));
    qk_buf lines = {0};
    CHECK(read_zst(path, &lines));
    qk_tokenizer *tok;
    qk_error err = {0};
    tally sum = {0};
    bool loaded = qk_tokenizer_load(&tok, temp, &err) == QK_OK;
    CHECK_MSG(loaded, "%s: %s", name, err.message);
    if (loaded) {
        CHECK_STR(qk_tokenizer_describe(tok), description);
        compare_lines(name, tok, lines.data, lines.size, &sum);
        check_tally(name, &sum, 898);
    }
    qk_tokenizer_free(tok);
    qk_buf_free(&lines);
    clear_temp();
    free(path);
}

static void test_smollm2(void)
{
    check_real("smollm2", "llama", "BPE, 49152 tokens, 48900 merges, 17 added");
}

static void test_llama3_1(void)
{
    check_real("llama3_1", "llama", "BPE, 128000 tokens, 280147 merges, 256 added");
}

static void test_qwen3(void)
{
    check_real("qwen3", "qwen3", "BPE, 151643 tokens, 151387 merges, 26 added");
}

static void test_llama2(void)
{
    check_real("llama2", "mistral", "BPE, 32000 tokens, 58980 merges, 3 added");
}

static void test_gemma3(void)
{
    check_real("gemma3", "gemma3_text", "BPE, 262144 tokens, 514906 merges, 6415 added");
}

/* ---- captured runs ---- */

static void test_capture(void)
{
    qk_buf data;
    CHECK(qk_read_file(&data, "tests/data/tokenizer/capture.jsonl", 1 << 20, &test_error) == QK_OK);
    qk_error err = {0};
    int examples = 0;
    char *at = (char *)data.data, *end = at + data.size, *stop;
    for (; at < end && (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1) {
        qk_arena arena = {0};
        const qk_json *line;
        CHECK(qk_json_parse(&arena, at, (size_t)(stop - at), "capture", &line, &err) == QK_OK);
        const qk_json *text = qk_json_get(line, "text");
        char folder[256];
        snprintf(folder, sizeof folder, "tests/data/capture/%s", qk_json_get(line, "model")->text);
        qk_tokenizer *tok;
        qk_tokens t = {0};
        CHECK_MSG(qk_tokenizer_load(&tok, folder, &err) == QK_OK, "%s", err.message);
        if (!tok) continue;
        CHECK_INT(qk_tokenizer_vocab_size(tok), 512);
        CHECK(qk_tokenizer_encode(tok, text->text, text->length,
                                  qk_json_get(line, "max_length")->integer, &t, &err) == QK_OK);
        CHECK_MSG(same_ids(&t, qk_json_get(line, "ids")), "example %d", examples);
        CHECK_MSG(same_tokens(tok, &t, qk_json_get(line, "tokens")), "example %d", examples);
        examples++;
        qk_tokens_free(&t);
        qk_tokenizer_free(tok);
        qk_arena_free(&arena);
    }
    CHECK_INT(examples, 18);
    qk_buf_free(&data);
}

/* ---- tiny tokenizers, one feature each ---- */

/* true when every line of the case is exact, in every field. */
static bool check_tiny(const char *root, const char *name, int least)
{
    char *folder = qk_path_join(root, name), *path = qk_path_join(folder, "golden.jsonl");
    qk_tokenizer *tok;
    qk_error err = {0};
    qk_buf lines = {0};
    tally sum = {0};
    CHECK_MSG(qk_tokenizer_load(&tok, folder, &err) == QK_OK, "%s: %s", name, err.message);
    CHECK(qk_read_file(&lines, path, 1 << 24, &test_error) == QK_OK);
    if (tok) compare_lines(name, tok, lines.data, lines.size, &sum);
    bool exact = sum.lines >= least && sum.ids == sum.lines && sum.tokens == sum.lines &&
                 sum.plain == sum.lines && sum.cut == sum.with_cut && sum.with_cut > 0 &&
                 sum.pieces == sum.with_pieces && sum.with_pieces == sum.lines;
    CHECK_MSG(exact, "%s: of %d lines: ids %d, tokens %d, ids_plain %d, pieces %d, cut %d of %d",
              name, sum.lines, sum.ids, sum.tokens, sum.plain, sum.pieces, sum.cut, sum.with_cut);
    qk_buf_free(&lines);
    qk_tokenizer_free(tok);
    free(path);
    free(folder);
    return exact;
}

static int check_batch(const char *root, const char *name, int texts);

static void test_tiny(void)
{
    char *whole = test_whole_golden("tokenizers/tiny"), *root = test_golden("tokenizers/tiny");
    if (!root) SKIP("the tiny tokenizers are not here");
    qk_names names = {0};
    CHECK(qk_list_dir(root, &names, &test_error) == QK_OK);
    int exact = 0, batches = 0;
    for (size_t i = 0; i < names.count; i++) {
        exact += check_tiny(root, names.items[i], whole ? 40 : 14);
        batches += check_batch(root, names.items[i], 64);
    }
    printf("  tiny: %zu cases, %d exact, %d with batch calls\n", names.count, exact, batches);
    CHECK_INT(names.count, 77);
    CHECK_INT(exact, 77);
    CHECK_INT(batches, 8);
    qk_names_free(&names);
    free(root);
    free(whole);
}

/* The same from files that are always here. */
static void test_committed(void)
{
    static const struct {
        const char *name;
        int lines;
    } cases[] = {{"bpe_fallback_merges_strings", 27},
                 {"split_o200k", 24},
                 {"unigram_byte_fallback", 24},
                 {"added_token_flags", 44},
                 {"norm_nmt_nfkc_lowercase", 28},
                 {"bpe_end_of_word_suffix", 24},
                 {"punctuation_digits_sequence", 30},
                 {"metaspace_first_split", 24},
                 {"post_roberta", 10},
                 {"class_metaspace_without_config_json", 24}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(check_tiny("tests/data/tokenizer", cases[i].name, cases[i].lines));
    CHECK_INT(check_batch("tests/data/tokenizer", "post_roberta", 64), 1);
}

/* ---- limits ---- */

/* The reference's own call with several limits; what its attention mask hides is padding. */
static bool same_unmasked(const qk_tokens *t, const qk_json *ids, const qk_json *mask)
{
    size_t n = 0;
    for (const qk_json *id = ids->first, *m = mask->first; id; id = id->next, m = m->next)
        if (m->integer && (n >= t->count || t->ids[n++] != id->integer)) return false;
    return n == t->count;
}

static int compare_batches(const qk_tokenizer *tok, const qk_json *batch)
{
    qk_tokens t = {0};
    int texts = 0;
    const qk_json *calls = qk_json_get(batch, "calls"), *list = qk_json_get(batch, "texts");
    for (const qk_json *call = calls->first; call; call = call->next) {
        int64_t limit = qk_json_get(call, "max_length")->integer;
        const qk_json *ids = qk_json_get(call, "input_ids")->first;
        const qk_json *mask = qk_json_get(call, "attention_mask")->first;
        for (const qk_json *text = list->first; text; text = text->next, texts++) {
            CHECK(qk_tokenizer_encode(tok, text->text, text->length, limit, &t, &test_error) ==
                  QK_OK);
            CHECK_MSG(same_unmasked(&t, ids, mask), "limit %d, \"%s\"", (int)limit, text->text);
            ids = ids->next;
            mask = mask->next;
        }
    }
    qk_tokens_free(&t);
    return texts;
}

/* 1 when the case has batch calls. */
static int check_batch(const char *root, const char *name, int texts)
{
    char *folder = qk_path_join(root, name), *path = qk_path_join(folder, "batch.json");
    qk_arena arena = {0};
    const qk_json *batch;
    qk_tokenizer *tok = NULL;
    bool there = test_has_file(path);
    if (there) {
        CHECK(qk_json_parse_file(&arena, path, 1 << 24, &batch, &test_error) == QK_OK);
        CHECK(qk_tokenizer_load(&tok, folder, &test_error) == QK_OK);
        if (tok) CHECK_INT(compare_batches(tok, batch), texts);
    }
    qk_tokenizer_free(tok);
    qk_arena_free(&arena);
    free(path);
    free(folder);
    return there;
}

static void test_limits(void)
{
    static const char *const models[][2] = {{"smollm2", "llama"},
                                            {"qwen3", "qwen3"},
                                            {"llama2", "mistral"},
                                            {"gemma3", "gemma3_text"},
                                            {"llama3_1", "llama"}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char relative[128];
        snprintf(relative, sizeof relative, "tokenizers/%s.batch.json", models[i][0]);
        CHECK(check_batch("build/golden/tokenizers/small", models[i][0], 16));
        char *path = test_whole_golden(relative);
        if (!path) continue;
        CHECK(unpack_real(models[i][0], models[i][1]));
        qk_arena arena = {0};
        const qk_json *batch;
        qk_tokenizer *tok;
        CHECK(qk_json_parse_file(&arena, path, 1 << 24, &batch, &test_error) == QK_OK);
        CHECK(qk_tokenizer_load(&tok, temp, &test_error) == QK_OK);
        if (tok) CHECK(compare_batches(tok, batch) >= 16);
        qk_tokenizer_free(tok);
        qk_arena_free(&arena);
        clear_temp();
        free(path);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(temp, sizeof temp, "/tmp/qk_tokenizer_XXXXXX");
    if (!mkdtemp(temp)) return 1;
    RUN(test_capture);
    RUN(test_committed);
    RUN(test_limits);
    RUN(test_tiny);
    RUN(test_smollm2);
    RUN(test_llama3_1);
    RUN(test_qwen3);
    RUN(test_llama2);
    RUN(test_gemma3);
    rmdir(temp);
    return test_summary("tokenizer");
}
