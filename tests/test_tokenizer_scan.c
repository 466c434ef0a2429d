/* The scanners against the same regexes run by the machine, on random texts; and how windows of a
 * long piece meet. */
#include "tests/test.h"

#include "engine/base/text.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/pattern.h"
#include "engine/tokenizer/unicode.h"

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % n;
}

/* ---- scanners ---- */

#define CL100K(digits)                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits                     \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char *const regexes[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    CL100K("{1,3}"), CL100K("")};

/* Characters beside which the regexes decide something. */
static const uint32_t likely[] = {
    ' ',    ' ',    ' ',    '\n',   '\r',   '\t',   '\'',   '\'',   's',     'S',     't',
    'R',    'e',    'v',    'E',    'l',    'L',    'm',    'd',    'x',     '.',     '-',
    '1',    '2',    '3',    0,      0x0B,   0x1C,   0x7F,   0x85,   0xA0,    0xB2,    0xC5,
    0x130,  0x131,  0x17F,  0x301,  0x4E00, 0x660,  0x1680, 0x180E, 0x2003,  0x200B,  0x2028,
    0x212A, 0x2160, 0x3000, 0xFB05, 0xFB06, 0xFEFF, 0xFF11, 0xFFFD, 0x1D7D8, 0x1F600, 0x10FFFF};

static size_t random_text(uint8_t *out, size_t characters)
{
    size_t n = 0;
    uint32_t repeated = ' ';
    for (size_t i = 0; i < characters; i++) {
        uint32_t code = likely[below(sizeof likely / sizeof *likely)];
        if (below(6) == 0) code = below(0x3000);
        if (below(12) == 0) code = below(QK_MAX_CODE_POINT + 1);
        if (code >= 0xD800 && code <= 0xDFFF) code = 'a';
        if (below(4) == 0) code = repeated;
        repeated = code;
        n += qk_utf8_encode(code, out + n);
    }
    return n;
}

/* The place of the first match that differs, or SIZE_MAX. */
static size_t first_difference(const qk_pattern *scanner, const qk_pattern *machine,
                               qk_match_memory *memory, const uint8_t *text, size_t length)
{
    qk_matcher m;
    qk_matcher_begin(&m, machine, memory, text, length);
    size_t start, end, at = 0;
    while (qk_matcher_next(&m, &start, &end) == 1) {
        if (start != at || qk_pattern_scanner(scanner)(text, length, at) != end) return at;
        at = end;
    }
    return at == length ? SIZE_MAX : at;
}

static void compare_scanner(const char *regex)
{
    qk_pattern *scanner, *machine;
    char grouped[512];
    snprintf(grouped, sizeof grouped, "(?:%s)", regex); /* not the text that has a scanner */
    CHECK(qk_pattern_compile(&scanner, regex, strlen(regex), "scan", &test_error) == QK_OK);
    CHECK(qk_pattern_compile(&machine, grouped, strlen(grouped), "scan", &test_error) == QK_OK);
    CHECK(qk_pattern_scanner(scanner) && !qk_pattern_scanner(machine));
    qk_match_memory memory = {0};
    uint8_t text[4 * 64];
    int wrong = 0;
    for (int round = 0; round < 60000 && wrong < 3; round++) {
        size_t length = random_text(text, 1 + below(below(2) ? 64 : 6));
        size_t at = first_difference(scanner, machine, &memory, text, length);
        if (at == SIZE_MAX) continue;
        wrong++;
        printf("  at byte %zu of", at);
        for (size_t i = 0; i < length; i++) printf(" %02x", text[i]);
        printf("\n");
    }
    CHECK_MSG(!wrong, "%s", regex);
    qk_match_memory_free(&memory);
    qk_pattern_free(scanner);
    qk_pattern_free(machine);
}

static void test_scanners_cut_as_the_machine_does(void)
{
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes; i++) compare_scanner(regexes[i]);
}

/* Every code point alone, doubled, and between words. */
static void test_scanners_know_every_character(void)
{
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes; i++) {
        qk_pattern *scanner, *machine;
        char grouped[512];
        snprintf(grouped, sizeof grouped, "(?:%s)", regexes[i]);
        CHECK(qk_pattern_compile(&scanner, regexes[i], strlen(regexes[i]), "scan", &test_error) ==
              QK_OK);
        CHECK(qk_pattern_compile(&machine, grouped, strlen(grouped), "scan", &test_error) == QK_OK);
        qk_match_memory memory = {0};
        uint8_t *text = qk_alloc(0x110000, 16);
        size_t n = 0;
        for (uint32_t c = 0; c <= QK_MAX_CODE_POINT; c++) {
            if (c >= 0xD800 && c <= 0xDFFF) continue;
            n += qk_utf8_encode(c, text + n);
            n += qk_utf8_encode(c, text + n);
            text[n++] = 'a';
            n += qk_utf8_encode(c, text + n);
            text[n++] = ' ';
        }
        CHECK(first_difference(scanner, machine, &memory, text, n) == SIZE_MAX);
        free(text);
        qk_match_memory_free(&memory);
        qk_pattern_free(scanner);
        qk_pattern_free(machine);
    }
}

/* ---- merging ---- */

/* What bpe.h says, word for word: of all neighbours the lowest rank, leftmost first. */
static size_t merge_slowly(const qk_bpe *bpe, int32_t *ids, size_t n)
{
    for (;;) {
        const qk_merge *best = NULL;
        size_t place = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const qk_merge *m = qk_bpe_find_merge(bpe, ids[i], ids[i + 1]);
            if (m && (!best || m->rank < best->rank)) best = m, place = i;
        }
        if (!best) return n;
        ids[place] = best->joined;
        memmove(ids + place + 1, ids + place + 2, (n - place - 2) * sizeof *ids);
        n--;
    }
}

/* Merges of tokens over a, b, c in any order: a merge may come before those that make its parts, as
 * no trainer would write them. */
static void random_bpe(qk_bpe *bpe, uint32_t merges, bool shuffled)
{
    char text[64];
    qk_merge *list = qk_alloc(merges, sizeof *list);
    size_t count = 0;
    *bpe = (qk_bpe){.unk = -1};
    for (int32_t i = 0; i < 3; i++) qk_vocab_add(&bpe->vocab, "abc" + i, 1, i);
    for (uint32_t k = 0; k < merges; k++) {
        uint32_t n = (uint32_t)bpe->vocab.count;
        int32_t left = (int32_t)below(n), right = (int32_t)below(n);
        size_t a, b;
        const char *l = qk_vocab_text(&bpe->vocab, left, &a);
        if (a > 24) continue;
        memcpy(text, l, a);
        const char *r = qk_vocab_text(&bpe->vocab, right, &b);
        if (b > 24) continue;
        memcpy(text + a, r, b);
        int32_t joined = qk_vocab_find(&bpe->vocab, text, a + b);
        if (joined < 0) {
            joined = (int32_t)n;
            qk_vocab_add(&bpe->vocab, text, a + b, joined);
        }
        uint32_t rank = shuffled ? below(1000) * 1000 + k : k;
        list[count++] = (qk_merge){qk_merge_pair(left, right), rank, joined};
    }
    CHECK(qk_bpe_set_merges(bpe, list, count));
    free(list);
    qk_bpe_finish(bpe);
}

static bool merges_alike(const qk_bpe *bpe, qk_bpe_memory *memory, const char *text, size_t n)
{
    int32_t *ids = qk_alloc(n + 1, sizeof *ids);
    for (size_t i = 0; i < n; i++) ids[i] = text[i] - 'a';
    size_t count = merge_slowly(bpe, ids, n);
    qk_bpe_encode(bpe, memory, (const uint8_t *)text, n, false);
    bool same = memory->tokens.count == count;
    for (size_t i = 0; same && i < count; i++) same = memory->tokens.items[i] == ids[i];
    free(ids);
    return same;
}

static void test_long_pieces_merge_as_short_ones(void)
{
    enum { MAX_LENGTH = 6000 };
    char text[MAX_LENGTH];
    qk_bpe_memory memory = {0};
    for (int round = 0; round < 240; round++) {
        qk_bpe bpe;
        random_bpe(&bpe, 2 + below(60), round % 2);
        size_t n = round % 4 < 2 ? 1 + below(120) : 1000 + below(MAX_LENGTH - 1000);
        uint32_t period = 1 + below(40), letters = 1 + below(3);
        for (size_t i = 0; i < n; i++)
            text[i] = i >= period && round % 3 ? text[i - period] : (char)('a' + below(letters));
        CHECK_MSG(merges_alike(&bpe, &memory, text, n), "round %d: %zu characters", round, n);
        qk_bpe_free(&bpe);
    }
    qk_bpe_memory_free(&memory);
}

/* Symbols 1..LETTERS over and over, whose neighbours merge the sooner the further right they stand:
 * the pairs depend on where the last period ends, which a window does not see. */
static void test_windows_that_do_not_meet_grow(void)
{
    enum { LETTERS = 700, N = 5000 };
    qk_bpe bpe = {.unk = -1};
    char name[32];
    for (int32_t i = 0; i <= 2 * LETTERS; i++)
        qk_vocab_add(&bpe.vocab, name, (size_t)snprintf(name, sizeof name, "t%d", i), i);
    qk_merge merges[LETTERS];
    for (int32_t i = 1; i < LETTERS; i++)
        merges[i] = (qk_merge){qk_merge_pair(i, i + 1), (uint32_t)(LETTERS - i), LETTERS + i};
    CHECK(qk_bpe_set_merges(&bpe, merges + 1, LETTERS - 1));
    qk_bpe_finish(&bpe);
    int32_t *ids = qk_alloc(N, sizeof *ids), *whole = qk_alloc(N, sizeof *ids);
    for (int lead = 0; lead < 2; lead++) { /* symbol 0 in front: either parity */
        for (int32_t i = 0; i < N; i++) ids[i] = i < lead ? 0 : (i - lead) % LETTERS + 1;
        memcpy(whole, ids, N * sizeof *ids);
        qk_bpe_memory memory = {.symbols = {ids, N, N}};
        qk_bpe_merge_symbols(&bpe, &memory);
        size_t count = merge_slowly(&bpe, whole, N);
        CHECK_INT(memory.tokens.count, count);
        CHECK(!memcmp(memory.tokens.items, whole, count * sizeof *whole));
        memory.symbols.items = NULL;
        qk_bpe_memory_free(&memory);
    }
    free(ids);
    free(whole);
    qk_bpe_free(&bpe);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_scanners_cut_as_the_machine_does);
    RUN(test_scanners_know_every_character);
    RUN(test_long_pieces_merge_as_short_ones);
    RUN(test_windows_that_do_not_meet_grow);
    return test_summary("tokenizer scan");
}
