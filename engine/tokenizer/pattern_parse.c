/* The regex parser. See pattern_parse.h. Escapes and classes are in pattern_class.c. */
#include "engine/tokenizer/pattern_parse.h"

#include <string.h>

#include "engine/tokenizer/pattern_class.h"

enum { MAX_DEPTH = 32 };

bool qk_pattern_add_set(qk_pattern_program *program, qk_charset *set)
{
    int i = 0;
    while (i < program->count && !qk_charset_equal(&program->sets[i], set)) i++;
    if (i == QK_PATTERN_SETS) return false;
    if (i == program->count)
        program->sets[program->count++] = *set;
    else
        qk_charset_free(set);
    *set = (qk_charset){0};
    qk_buf_add_byte(&program->code, (uint8_t)(0x80 + i));
    return true;
}

void qk_pattern_program_free(qk_pattern_program *program)
{
    for (int i = 0; i < program->count; i++) qk_charset_free(&program->sets[i]);
    qk_buf_free(&program->code);
    *program = (qk_pattern_program){0};
}

static bool emit_set(qk_regex_text *t, qk_pattern_program *out, qk_charset *set)
{
    if (qk_pattern_add_set(out, set)) return true;
    qk_charset_free(set);
    return qk_regex_refuse(t, "more than 128 different classes and characters");
}

/* Under (?i:) Oniguruma lets some letter pairs match one ligature (ss: U+00DF, fi: U+FB01). */
static bool is_ligature(uint32_t first, uint32_t second)
{
    static const char *const pairs[] = {"ss", "ff", "fi", "fl", "st"};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if ((first | 32) == (uint32_t)pairs[i][0] && (second | 32) == (uint32_t)pairs[i][1])
            return true;
    return false;
}

/* One literal character, class or escape. *literal is the character, or 0 for a class. */
static bool parse_set(qk_regex_text *t, qk_pattern_program *out, uint32_t *literal)
{
    qk_charset set = {0};
    uint32_t before = *literal;
    *literal = 0;
    bool ok = *t->at == '[' ? qk_regex_class(t, &set) : qk_regex_char(t, &set, literal);
    if (ok && t->caseless) {
        if (before && *literal && is_ligature(before, *literal))
            ok = qk_regex_refuse(t, "letters without case that have a ligature");
        else if (*literal && !qk_charset_fold_case(&set))
            ok = qk_regex_refuse(t, "a character beyond ASCII without case");
    }
    if (ok) return emit_set(t, out, &set);
    qk_charset_free(&set);
    return false;
}

/* Digits of a quantifier; false when there are none or too many. */
static bool parse_count(const char **at, const char *end)
{
    const char *begin = *at;
    while (*at < end && **at >= '0' && **at <= '9') (*at)++;
    return *at > begin && *at - begin <= 4;
}

/* {n} {n,} {,m} {n,m}: copied; *exact tells that it is {n}. */
static bool parse_braces(qk_regex_text *t, qk_buf *code, bool *exact)
{
    const char *begin = t->at++;
    bool low = parse_count(&t->at, t->end);
    bool comma = t->at < t->end && *t->at == ',';
    if (comma) t->at++;
    bool high = comma && parse_count(&t->at, t->end);
    if ((!low && !high) || t->at == t->end || *t->at != '}') {
        t->at = begin;
        return qk_regex_refuse(t, "a '{' that begins no quantifier");
    }
    t->at++;
    qk_buf_add_str(code, low ? "{" : "{0");
    qk_buf_add(code, begin + 1, (size_t)(t->at - begin - 1));
    *exact = !comma;
    return true;
}

/* A quantifier behind the atom that begins at code[atom]. */
static bool parse_quantifier(qk_regex_text *t, qk_buf *code, size_t atom)
{
    if (t->at == t->end || !strchr("*+?{", *t->at)) return true;
    bool braces = *t->at == '{', exact = false;
    if (!braces)
        qk_buf_add_byte(code, (uint8_t)*t->at++);
    else if (!parse_braces(t, code, &exact))
        return false;
    if (t->at < t->end && *t->at == '?') {
        if (exact) return qk_regex_refuse(t, "a '?' behind {n}");
        qk_buf_add_byte(code, (uint8_t)*t->at++);
    } else if (t->at < t->end && *t->at == '+') {
        t->at++;
        if (braces) { /* the group, once or more */
            static const char open[3] = {'(', '?', ':'};
            qk_buf_add(code, open, 3);
            memmove(code->data + atom + 3, code->data + atom, code->size - atom - 3);
            memcpy(code->data + atom, open, 3);
            qk_buf_add_byte(code, ')');
        }
        qk_buf_add_byte(code, '+');
    }
    if (t->at < t->end && strchr("*+?{", *t->at))
        return qk_regex_refuse(t, "a quantifier behind a quantifier");
    return true;
}

static bool parse_alternatives(qk_regex_text *t, qk_pattern_program *out, int depth);

static bool parse_group(qk_regex_text *t, qk_pattern_program *out, int depth)
{
    static const struct {
        const char *open, *code;
        bool caseless;
    } kinds[] = {
        {"(?:", "(?:", false},   {"(?i:", "(?:", true}, {"(?>", "(?>", false},
        {"(?=", "(?=", false},   {"(?!", "(?!", false}, {"(?<=", "(?<=", false},
        {"(?<!", "(?<!", false}, {"(?", NULL, false},   {"(", "(?:", false},
    };
    if (depth >= MAX_DEPTH) return qk_regex_refuse(t, "groups nested too deep");
    size_t k = 0, left = (size_t)(t->end - t->at);
    while (left < strlen(kinds[k].open) || memcmp(t->at, kinds[k].open, strlen(kinds[k].open)) != 0)
        k++;
    if (!kinds[k].code) return qk_regex_refuse(t, "this kind of group");
    t->at += strlen(kinds[k].open);
    qk_buf_add_str(&out->code, kinds[k].code);
    bool outside = t->caseless;
    t->caseless = outside || kinds[k].caseless;
    if (!parse_alternatives(t, out, depth + 1)) return false;
    t->caseless = outside;
    if (t->at == t->end) return qk_regex_refuse(t, "a group without its ')'");
    t->at++;
    qk_buf_add_byte(&out->code, ')');
    return true;
}

/* \A \z $ . and everything that stands for one character. */
static bool parse_atom(qk_regex_text *t, qk_pattern_program *out, uint32_t *literal, int depth)
{
    char c = *t->at, next = t->at + 1 < t->end ? t->at[1] : 0;
    if (c == '(') {
        *literal = 0;
        return parse_group(t, out, depth);
    }
    if (c == '\\' && (next == 'A' || next == 'z')) {
        qk_buf_add(&out->code, t->at, 2);
        t->at += 2;
        *literal = 0;
        return true;
    }
    if (c == '$') {
        t->at++;
        *literal = 0;
        /* '$' holds at the end and before a newline: where no other character follows. */
        qk_charset set = {0};
        qk_charset_add(&set, '\n', '\n');
        qk_charset_negate(&set);
        qk_buf_add_str(&out->code, "(?!");
        if (!emit_set(t, out, &set)) return false;
        qk_buf_add_byte(&out->code, ')');
        return true;
    }
    if (strchr("*+?{", c)) return qk_regex_refuse(t, "a quantifier behind nothing");
    if (c == '^') return qk_regex_refuse(t, "'^'");
    return parse_set(t, out, literal);
}

static bool parse_alternatives(qk_regex_text *t, qk_pattern_program *out, int depth)
{
    uint32_t literal = 0;
    while (t->at < t->end && *t->at != ')') {
        if (*t->at == '|') {
            qk_buf_add_byte(&out->code, (uint8_t)*t->at++);
            literal = 0;
            continue;
        }
        size_t atom = out->code.size;
        if (!parse_atom(t, out, &literal, depth)) return false;
        const char *quantifier = t->at;
        if (!parse_quantifier(t, &out->code, atom)) return false;
        if (t->at != quantifier) literal = 0;
    }
    return true;
}

qk_status qk_pattern_parse(qk_pattern_program *out, const char *regex, size_t length,
                           const char *where, qk_error *err)
{
    *out = (qk_pattern_program){0};
    qk_regex_text t = {.begin = regex,
                       .at = regex,
                       .end = regex + length,
                       .where = where,
                       .err = err,
                       .status = QK_OK};
    if (memchr(regex, 0, length)) {
        qk_regex_refuse(&t, "a NUL character");
        return t.status;
    }
    if (parse_alternatives(&t, out, 0) && t.at < t.end)
        qk_regex_refuse(&t, "a ')' without its '('");
    return t.status;
}
