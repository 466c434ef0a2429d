/* The regex machine: random regexes against PCRE2, and how many steps it takes. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <signal.h>

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
    for (int i = 0; i < 8000 && wrong < 5; i++) {
        qk_buf regex = {0};
        add_regex(&regex, 4, false);
        wrong += compare_regex(qk_buf_str(&regex), &memory, &work, &texts);
        qk_buf_free(&regex);
    }
    printf("  %d texts\n", texts);
    CHECK(!wrong);
    CHECK(texts > 100000);
    qk_match_memory_free(&memory);
}

int main(void)
{
    RUN(test_random_regexes);
    return test_summary("tokenizer regexes");
}
