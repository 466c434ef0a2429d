/* The cache of tokenizer tables: the same tables come back, and nothing that is damaged, foreign or
 * half-written is ever believed. */
#include "tests/test.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/tokenizer/cache_file.h"
#include "engine/tokenizer/internal.h"

static char temp[64], *folder;

static void make_bpe(qk_bpe *bpe, int32_t bad_joined)
{
    static const char *const tokens[] = {"a", "b", "ab", "\xE2\x96\x81", "x\xE2\x96\x81", "<0x41>"};
    *bpe = (qk_bpe){.unk = -1};
    for (int32_t i = 0; i < 6; i++) /* there is no id 3 */
        qk_vocab_add(&bpe->vocab, tokens[i], strlen(tokens[i]), i < 3 ? i : i + 1);
    qk_bpe_add_merge(bpe, 0, 1, 2, 0);
    qk_bpe_add_merge(bpe, 1, 4, 5, 1);
    qk_bpe_finish(bpe);
    if (bad_joined) qk_bpe_add_merge(bpe, 1, 1, bad_joined, 2);
}

static qk_table_cache_place place_at(uint8_t key)
{
    qk_table_cache_place place = {.folder = qk_strdup(folder), .key = {key}};
    place.path = qk_path_join(folder, "tables");
    return place;
}

static bool same_bpe(const qk_bpe *a, const qk_bpe *b)
{
    const qk_vocab *v = &a->vocab, *w = &b->vocab;
    return v->count == w->count && v->size == w->size && v->slot_count == w->slot_count &&
           v->bytes.size == w->bytes.size && !memcmp(v->bytes.data, w->bytes.data, v->bytes.size) &&
           !memcmp(v->offsets, w->offsets, v->size * sizeof *v->offsets) &&
           !memcmp(v->lengths, w->lengths, v->size * sizeof *v->lengths) &&
           !memcmp(v->slots, w->slots, v->slot_count * sizeof *v->slots) &&
           a->merge_count == b->merge_count && a->merge_slots == b->merge_slots &&
           !memcmp(a->merges, b->merges, a->merge_slots * sizeof *a->merges) &&
           !memcmp(a->merging, b->merging, v->size) && !memcmp(a->glued, b->glued, 256);
}

/* Reads the file: 0 when it is not believed, 1 when it holds these tables and this text, else 2. */
static int read_back(const qk_table_cache_place *place, const qk_bpe *want, const char *want_text)
{
    qk_bpe bpe = {.unk = 7};
    qk_map map = {0};
    const char *text;
    size_t size;
    if (!qk_table_cache_read(place, &bpe, &map, &text, &size))
        return bpe.unk == 7 && !bpe.merges && !map.data ? 0 : 2;
    bool same = same_bpe(&bpe, want) && size == strlen(want_text) && !memcmp(text, want_text, size);
    qk_table_cache_release(&bpe, &map);
    qk_bpe_free(&bpe);
    return same ? 1 : 2;
}

static void put(const char *path, const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n);
    if (f) fclose(f);
}

static void test_damage(void)
{
    qk_bpe bpe;
    qk_buf file;
    qk_table_cache_place place = place_at(1), other = place_at(2);
    make_bpe(&bpe, 0);
    CHECK_INT(read_back(&place, &bpe, "{}"), 0);
    qk_table_cache_write(&place, &bpe, "{}", 2);
    CHECK_INT(read_back(&place, &bpe, "{}"), 1);
    CHECK_INT(read_back(&other, &bpe, "{}"), 0);
    CHECK(qk_read_file(&file, place.path, 1 << 20, &test_error) == QK_OK);
    int believed = 0;
    for (size_t i = 0; i < file.size; i++) { /* every byte, in two ways */
        for (int way = 0; way < 2; way++) {
            uint8_t before = file.data[i];
            file.data[i] = way ? (uint8_t)~before : before ^ (uint8_t)(1 << i % 8);
            put(place.path, file.data, file.size);
            believed += read_back(&place, &bpe, "{}") != 0;
            file.data[i] = before;
        }
    }
    for (size_t n = 0; n < file.size; n += n < 512 ? 1 : 37) {
        put(place.path, file.data, n);
        believed += read_back(&place, &bpe, "{}") != 0;
    }
    qk_buf_add(&file, file.data, 64);
    put(place.path, file.data, file.size);
    believed += read_back(&place, &bpe, "{}") != 0;
    CHECK_INT(believed, 0);
    qk_table_cache_write(&place, &bpe, "{}", 2);
    CHECK_INT(read_back(&place, &bpe, "{}"), 1); /* replaced */
    unlink(place.path);
    qk_buf_free(&file);
    qk_bpe_free(&bpe);
    qk_table_cache_place_free(&place);
    qk_table_cache_place_free(&other);
}

/* A file whose checksum is right but whose tables point outside themselves. */
static void test_ids_outside(void)
{
    qk_table_cache_place place = place_at(1);
    qk_bpe bpe;
    make_bpe(&bpe, 1000);
    qk_table_cache_write(&place, &bpe, "{}", 2);
    CHECK(test_has_file(place.path));
    CHECK_INT(read_back(&place, &bpe, "{}"), 0);
    qk_bpe_free(&bpe);
    make_bpe(&bpe, 0);
    bpe.vocab.offsets[2] = (uint32_t)bpe.vocab.bytes.size;
    qk_table_cache_write(&place, &bpe, "{}", 2);
    CHECK_INT(read_back(&place, &bpe, "{}"), 0);
    bpe.vocab.offsets[2] = 4;
    bpe.vocab.count = bpe.vocab.slot_count; /* a search in full slots would not end */
    qk_table_cache_write(&place, &bpe, "{}", 2);
    CHECK_INT(read_back(&place, &bpe, "{}"), 0);
    unlink(place.path);
    qk_bpe_free(&bpe);
    qk_table_cache_place_free(&place);
}

static void test_concurrent_writers(void)
{
    enum { WRITERS = 4, TIMES = 60 };
    qk_table_cache_place place = place_at(1);
    qk_bpe bpe;
    make_bpe(&bpe, 0);
    pid_t children[WRITERS];
    for (int c = 0; c < WRITERS; c++) {
        children[c] = fork();
        if (children[c]) continue;
        for (int i = 0; i < TIMES; i++) qk_table_cache_write(&place, &bpe, "{}", 2);
        _exit(0);
    }
    int wrong = 0;
    for (int i = 0; i < 500; i++) wrong += read_back(&place, &bpe, "{}") == 2;
    for (int c = 0; c < WRITERS; c++) waitpid(children[c], NULL, 0);
    CHECK_INT(wrong, 0);
    CHECK_INT(read_back(&place, &bpe, "{}"), 1);
    qk_names names = {0};
    CHECK(qk_list_dir(folder, &names, &test_error) == QK_OK);
    CHECK_INT(names.count, 1); /* no temporary file is left */
    qk_names_free(&names);
    unlink(place.path);
    qk_bpe_free(&bpe);
    qk_table_cache_place_free(&place);
}

/* ---- whole loads ---- */

/* A tokenizer.json that is large enough to be cached: the vocabulary in `head` goes on with padding
 * from id 3. scored: as a Unigram model has it. */
static void write_large(const char *head, bool scored, const char *padding, const char *tail)
{
    qk_buf json = {0};
    qk_buf_add_str(&json, head);
    for (int i = 3; json.size < QK_CACHE_LEAST; i++) {
        if (scored)
            qk_buf_addf(&json, ", [\"%s%d\", -9.5]", padding, i);
        else
            qk_buf_addf(&json, ", \"%s%d\": %d", padding, i, i);
    }
    qk_buf_add_str(&json, tail);
    char *path = qk_path_join(temp, "tokenizer.json");
    put(path, json.data, json.size); /* in place: the same inode */
    free(path);
    qk_buf_free(&json);
}

static void write_tokenizer(const char *padding)
{
    write_large("{\"added_tokens\": [], \"model\": {\"type\": \"BPE\", \"merges\": [\"a b\"], "
                "\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2",
                false, padding, "}, \"unk_token\": \"a\"}}");
}

static void check_load(const char *piece, bool cached)
{
    qk_tokenizer *tok;
    qk_tokens tokens = {0};
    qk_error err = {0};
    CHECK_MSG(qk_tokenizer_load(&tok, temp, &err) == QK_OK, "%s", err.message);
    if (!tok) return;
    CHECK_INT(tok->tables.data != NULL, cached);
    CHECK_STR(qk_tokenizer_piece(tok, 3), piece);
    CHECK(qk_tokenizer_encode(tok, "abaz", 4, 0, &tokens, &err) == QK_OK);
    CHECK_INT(tokens.count, 3);
    CHECK(tokens.count == 3 && tokens.ids[0] == 2 && tokens.ids[1] == 0 && tokens.ids[2] == 0);
    qk_tokens_free(&tokens);
    qk_tokenizer_free(tok);
}

/* A file that was just written has no note; one that has rested does, until it changes. */
static void test_loads(void)
{
    write_tokenizer("first");
    check_load("first3", false);
    check_load("first3", true);
    write_tokenizer("other");
    check_load("other3", false);
    check_load("other3", true);
    nanosleep(&(struct timespec){.tv_sec = 3}, NULL);
    check_load("other3", true); /* leaves a note */
    check_load("other3", true);
    qk_names names = {0};
    CHECK(qk_list_dir(folder, &names, &test_error) == QK_OK);
    CHECK_INT(names.count, 3);
    qk_names_free(&names);
    write_tokenizer("third"); /* as long as the last */
    check_load("third3", false);
    check_load("third3", true);
}

static void test_without_a_cache(void)
{
    static const char *const places[] = {"off", "/dev/null/cache", "/proc/none"};
    write_tokenizer("fourth");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        setenv("QKENGINE_CACHE", places[i], 1);
        check_load("fourth3", false);
        check_load("fourth3", false);
    }
    setenv("QKENGINE_CACHE", temp, 1);
}

/* Loads twice; "ab" is token 2 both times. */
static void check_twice(bool cached)
{
    for (int again = 0; again < 2; again++) {
        qk_tokenizer *tok;
        qk_tokens tokens = {0};
        qk_error err = {0};
        CHECK_MSG(qk_tokenizer_load(&tok, temp, &err) == QK_OK, "%s", err.message);
        if (!tok) return;
        CHECK_INT(tok->tables.data != NULL, cached && again);
        CHECK(qk_tokenizer_encode(tok, "ab", 2, 0, &tokens, &err) == QK_OK);
        CHECK(tokens.count == 1 && tokens.ids[0] == 2);
        qk_tokens_free(&tokens);
        qk_tokenizer_free(tok);
    }
}

/* Prefix and suffix lie in the text, what they made of the merges in the tables. */
static void test_affixes(void)
{
    write_large(
        "{\"added_tokens\": [], \"model\": {\"type\": \"BPE\", \"continuing_subword_prefix\": "
        "\"##\", \"end_of_word_suffix\": \"</w>\", \"merges\": [\"a ##b</w>\"], \"vocab\": "
        "{\"a\": 0, \"##b</w>\": 1, \"ab</w>\": 2",
        false, "affix", "}}}");
    check_twice(true);
}

/* Scores have no place in the tables: such a model is never cached. */
static void test_unigram(void)
{
    write_large(
        "{\"added_tokens\": [], \"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": "
        "[[\"?\", 0], [\"a\", -2], [\"ab\", -3]",
        true, "scored", "]}}");
    check_twice(false);
}

static void clear_folder(void)
{
    qk_names names = {0};
    if (qk_list_dir(folder, &names, &test_error) != QK_OK) return;
    for (size_t i = 0; i < names.count; i++) {
        char *path = qk_path_join(folder, names.items[i]);
        unlink(path);
        free(path);
    }
    qk_names_free(&names);
}

int main(void)
{
    snprintf(temp, sizeof temp, "/tmp/qk_table_cache_XXXXXX");
    if (!mkdtemp(temp)) return 1;
    folder = qk_path_join(temp, "tokenizers");
    setenv("QKENGINE_CACHE", temp, 1);
    RUN(test_damage);
    RUN(test_ids_outside);
    RUN(test_concurrent_writers);
    RUN(test_loads);
    RUN(test_affixes);
    RUN(test_unigram);
    RUN(test_without_a_cache);
    clear_folder();
    rmdir(folder);
    char *path = qk_path_join(temp, "tokenizer.json");
    unlink(path);
    free(path);
    rmdir(temp);
    free(folder);
    return test_summary("tokenizer cache");
}
