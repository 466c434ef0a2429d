/* The regex machine: random regexes against PCRE2, and how many steps it takes. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/tokenizer/pattern.h"
#include "tests/test.h"

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % n;
}

/* ---- random regexes in the syntax that both know alike ---- */

static void add_regex(qk_buf *out, int depth, bool fixed);

static void add_atom(qk_buf *out, int depth, bool fixed)
{
    static const char *const atoms[] = {"a", "b", "c", "[ab]", "[^a]", "[b-c]", "\\s", "\\S", " "};
    static const char *const groups[] = {"(?:", "(?:", "(", "(?>", "(?=", "(?!"};
    static const char *const behind[] = {"(?<=", "(?<!"};
    uint32_t kind = depth ? below(8) : 0;
    if (kind < 5) {
        qk_buf_add_str(out, atoms[below(sizeof atoms / sizeof *atoms)]);
        return;
    }
    if (kind == 7 && below(3) == 0) {
        qk_buf_add_str(out, below(2) ? "\\A" : "\\z");
        return;
    }
    bool looks_behind = kind == 7 && below(2);
    qk_buf_add_str(out, looks_behind ? behind[below(2)] : groups[below(fixed ? 4 : 6)]);
    add_regex(out, depth - 1, fixed || looks_behind);
    qk_buf_add_byte(out, ')');
}

static void add_regex(qk_buf *out, int depth, bool fixed)
{
    static const char *const quantifiers[] = {"*",    "+",      "?",     "*?",    "+?",    "??",
                                              "*+",   "++",     "?+",    "{2}",   "{1,3}", "{0,2}",
                                              "{2,}", "{1,2}?", "{0,}?", "{3,4}", "{0}",   "{0,1}"};
    uint32_t ways = fixed ? 1 : 1 + (below(3) == 0) + (below(6) == 0);
    for (uint32_t w = 0; w < ways; w++) {
        if (w) qk_buf_add_byte(out, '|');
        for (uint32_t k = below(8) ? 1 + below(3) : 0; k > 0; k--) {
            add_atom(out, depth, fixed);
            const uint8_t *last = out->data + out->size - 2;
            bool anchor = out->size >= 2 && last[0] == '\\' && (last[1] == 'A' || last[1] == 'z');
            if (!fixed && !anchor && below(2))
                qk_buf_add_str(out, quantifiers[below(sizeof quantifiers / sizeof *quantifiers)]);
        }
    }
}

/* All matches as "start-end " by PCRE2; false when it gives up. */
static bool by_pcre2(pcre2_code *code, pcre2_match_data *data, const char *text, size_t n,
                     qk_buf *out)
{
    size_t last = SIZE_MAX;
    for (size_t from = 0; from <= n;) {
        int rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, 0, data, NULL);
        if (rc == PCRE2_ERROR_NOMATCH) return true;
        if (rc < 0) return false;
        PCRE2_SIZE *o = pcre2_get_ovector_pointer(data);
        if (o[0] == o[1] && o[1] == last) {
            from++;
            continue;
        }
        qk_buf_addf(out, "%zu-%zu ", (size_t)o[0], (size_t)o[1]);
        from = last = o[1];
    }
    return true;
}

static bool by_machine(const qk_pattern *p, qk_match_memory *memory, const char *text, size_t n,
                       qk_buf *out)
{
    qk_matcher m;
    size_t start, end;
    int rc;
    qk_matcher_begin(&m, p, memory, (const uint8_t *)text, n);
    while ((rc = qk_matcher_next(&m, &start, &end)) == 1) qk_buf_addf(out, "%zu-%zu ", start, end);
    return rc == 0;
}

static int compare_regex(const char *regex, qk_match_memory *memory, qk_work *work, int *texts)
{
    int number, wrong = 0;
    PCRE2_SIZE offset;
    qk_pattern *p;
    /* Its optimisations are wrong for some of these regexes. */
    uint32_t plain = PCRE2_NO_AUTO_POSSESS | PCRE2_NO_START_OPTIMIZE;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)regex, strlen(regex), plain, &number, &offset, NULL);
    bool ours = qk_pattern_compile(&p, regex, strlen(regex), "t", &test_error) == QK_OK;
    if (code && ours) {
        pcre2_match_data *data = pcre2_match_data_create(1, NULL);
        for (int round = 0; round < 20 && !wrong; round++) {
            char text[24];
            size_t n = below(sizeof text);
            qk_buf theirs = {0}, own = {0};
            for (size_t i = 0; i < n; i++) text[i] = "aaabbc \n"[below(8)];
            work->left = 1 << 22;
            if (by_pcre2(code, data, text, n, &theirs) && by_machine(p, memory, text, n, &own)) {
                wrong = strcmp(qk_buf_str(&theirs), qk_buf_str(&own)) != 0;
                (*texts)++;
            }
            if (wrong)
                printf("  %s on \"%.*s\": %s, PCRE2: %s\n", regex, (int)n, text, qk_buf_str(&own),
                       qk_buf_str(&theirs));
            qk_buf_free(&theirs);
            qk_buf_free(&own);
        }
        pcre2_match_data_free(data);
    }
    pcre2_code_free(code);
    if (ours) qk_pattern_free(p);
    return wrong;
}

static void test_random_regexes(void)
{
    qk_work work;
    qk_match_memory memory = {.work = &work};
    int wrong = 0, texts = 0;
    for (int i = 0; i < 7000 && wrong < 5; i++) {
        qk_buf regex = {0};
        add_regex(&regex, 4, false);
        wrong += compare_regex(qk_buf_str(&regex), &memory, &work, &texts);
        qk_buf_free(&regex);
    }
    printf("  %d texts\n", texts);
    CHECK(!wrong);
    CHECK(texts > 90000);
    qk_match_memory_free(&memory);
}

/* ---- steps ---- */

/* Steps for all matches, or 0 when the regex needs more than a share (1: all) of what a text has. */
static uint64_t steps_within(int share, const char *regex, const char *text, size_t n)
{
    qk_pattern *p;
    qk_work work;
    qk_match_memory memory = {.work = &work};
    qk_work_begin(&work, n);
    uint64_t all = work.left /= (uint64_t)share;
    CHECK(qk_pattern_compile(&p, regex, strlen(regex), "where", &test_error) == QK_OK);
    qk_matcher m;
    size_t start, end;
    int rc;
    qk_matcher_begin(&m, p, &memory, (const uint8_t *)text, n);
    while ((rc = qk_matcher_next(&m, &start, &end)) == 1) {
    }
    if (rc < 0) {
        qk_error err = {0};
        char name[300];
        CHECK(qk_matcher_fail(&m, &err) == QK_ERR_DATA && err.hint[0]);
        snprintf(name, sizeof name, "where: \"%.200s%s\": this regex needs too much ", regex,
                 strlen(regex) < 200 ? "" : "...");
        CHECK_MSG(!strncmp(err.message, name, strlen(name)), "%s", err.message);
    }
    uint64_t steps = all - work.left + work.open;
    qk_match_memory_free(&memory);
    qk_pattern_free(p);
    return rc < 0 ? 0 : steps;
}

static uint64_t steps_of(const char *regex, const char *text, size_t n)
{
    return steps_within(1, regex, text, n);
}

static char *repeated(const char *unit, size_t n)
{
    char *text = qk_alloc(n + 1, 1);
    for (size_t i = 0, k = strlen(unit); i < n; i++) text[i] = unit[i % k];
    text[n] = 0;
    return text;
}

/* Regexes of real tokenizers take a few steps for a character, of long words and runs, too. */
static void test_real_regexes_are_linear(void)
{
    static const char *const regexes[] = {
        "(?:'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+)",
        "(?:(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)",
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"
        "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "\\s+$|\\d|\\w+|[^\\w\\s]+"};
    static const char *const units[] = {"a",   "A", " ", "\n", "1", "-", "Ab cd, 12's\n",
                                        " \n", "'s"};
    enum { N = 100000 };
    for (size_t r = 0; r < sizeof regexes / sizeof *regexes; r++)
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            char *text = repeated(units[u], N);
            uint64_t few = steps_of(regexes[r], text, N / 10), all = steps_of(regexes[r], text, N);
            CHECK_MSG(all > 0 && all < 40u * N && all < 11 * few, "regex %zu, \"%s\": %llu, %llu",
                      r, units[u], (unsigned long long)few, (unsigned long long)all);
            free(text);
        }
}

/* What would not end is refused, after as many steps as the text has, whatever the machine. */
static void test_hostile_regexes_are_refused(void)
{
    static const char *const regexes[] = {
        "(?:a?){20}a{20}b|a", "(?:a+)+b|a",   "(?:a|aa)+b|a",  "a++b|a",
        "(?=a*+b)a|a",        "(?>a*)b|a",    "(?:a*?){9}b|a", "(?<!b)(?:(?=(?:a*a*)*b)a|a)",
        "(?:a*a*a*a*b)|a",    "(?!(?:a*)*b)a"};
    enum { N = 100000 };
    char *text = repeated("a", N);
    for (size_t r = 0; r < sizeof regexes / sizeof *regexes; r++)
        CHECK_MSG(!steps_within(test_share(), regexes[r], text, N), "%s", regexes[r]);
    CHECK(steps_of("(?:a?){20}a{20}b|a", text, 22) > 0); /* short texts have work to spare */
    free(text);
    /* Too large a regex, and one with too many open choices. */
    qk_pattern *p;
    CHECK(qk_pattern_compile(&p, "(?:(?:(?:ab){99}){99}){99}", 26, "w", &test_error) != QK_OK);
    CHECK_MSG(strstr(test_error.message, "too large"), "%s", test_error.message);
    text = repeated("ab", 10 << 20);
    CHECK(!steps_within(test_share(), "(?:ab|b)*c", text, 10 << 20));
    free(text);
    char *again = qk_alloc(300, 1);
    memset(again, 'a', 299);
    memcpy(again, "(?:a*)*b|", 9);
    again[299] = 0;
    text = repeated("a", 1000);
    CHECK(!steps_of(again, text, 1000)); /* named by its beginning */
    free(text);
    free(again);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_random_regexes);
    RUN(test_real_regexes_are_linear);
    RUN(test_hostile_regexes_are_refused);
    return test_summary("tokenizer regex");
}
