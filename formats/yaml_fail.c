/* See config/yaml_fail.h. libyaml's own words are kept where they are clear; four slips that people
 * make all the time (a tab, a missing space behind ':', a crooked indentation, an open bracket) get
 * their own. */
#include "formats/yaml_fail.h"

#include <stdbool.h>
#include <string.h>

#include "engine/base/text.h"

static qk_status fail(qk_error *err, const char *name, size_t line, size_t column, const char *hint,
                      const char *what)
{
    return qk_fail(err, QK_ERR_CONFIG, hint, "%s:%zu:%zu: %s", name, line, column, what);
}

/* The characters that YAML 1.1 calls printable. */
static bool is_printable(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0x7E) || c == 0x85 ||
           (c >= 0xA0 && c <= 0xFFFD) || c >= 0x10000;
}

qk_status qk_yaml_check_bytes(const char *text, size_t size, const char *name, qk_error *err)
{
    const uint8_t *s = (const uint8_t *)text;
    if (size >= 2 && ((s[0] == 0xFF && s[1] == 0xFE) || (s[0] == 0xFE && s[1] == 0xFF)))
        return fail(err, name, 1, 1, "save the file as UTF-8", "this is UTF-16, not UTF-8");
    size_t line = 1, column = 1, length;
    for (size_t i = 0; i < size; i += length, column++) {
        uint32_t c;
        length = qk_utf8_decode(s + i, size - i, &c);
        if (!length)
            return fail(err, name, line, column, "save the file as UTF-8", "not valid UTF-8");
        if (!is_printable(c))
            return fail(err, name, line, column, "remove it; in \"quotes\" it can be written \\xNN",
                        "a control character");
        if (c == '\n') line++, column = 0;
    }
    return QK_OK;
}

/* Line number `wanted` (from 0) of the text, without its end. */
static const char *find_line(const char *text, size_t size, size_t wanted, size_t *length)
{
    const char *end = text + size, *s = text;
    for (size_t line = 0; line < wanted && s < end; line++) {
        const char *newline = memchr(s, '\n', (size_t)(end - s));
        s = newline ? newline + 1 : end;
    }
    const char *newline = memchr(s, '\n', (size_t)(end - s));
    *length = (size_t)((newline ? newline : end) - s);
    return s;
}

/* "  path:data": a word, a colon, and no space behind it. */
static bool lacks_space(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] == ' ') i++;
    size_t word = i;
    while (i < n && (s[i] == '_' || (s[i] >= 'a' && s[i] <= 'z'))) i++;
    return i > word && i + 1 < n && s[i] == ':' && s[i + 1] != ' ' && s[i + 1] != '\r';
}

qk_status qk_yaml_fail(const yaml_parser_t *parser, const char *text, size_t size, const char *name,
                       qk_error *err)
{
    const char *problem = parser->problem ? parser->problem : "out of memory";
    size_t line = parser->problem_mark.line, column = parser->problem_mark.column, n;
    const char *here = find_line(text, size, line, &n);
    if (column < n && here[column] == '\t')
        return fail(err, name, line + 1, column + 1, "indent with spaces",
                    "a tab in the indentation");
    if (strstr(problem, "mapping values are not allowed")) {
        const char *before = find_line(text, size, line ? line - 1 : 0, &n);
        if (lacks_space(before, n))
            return fail(err, name, line ? line : 1, 1, "write `key: value`",
                        "a space is missing behind ':'");
        return fail(err, name, line + 1, column + 1,
                    "indent the keys of a section alike; put texts with ': ' in quotes",
                    "bad indentation, or a second ':' in the line");
    }
    const char *context = parser->context ? parser->context : "";
    if (strstr(context, "parsing a flow"))
        return fail(err, name, parser->context_mark.line + 1, parser->context_mark.column + 1,
                    "close it with ] or }", "the list or map that begins here is not closed");
    return qk_fail(err, QK_ERR_CONFIG, "see https://yaml.org for the syntax",
                   "%s:%zu:%zu: not YAML: %s%s%s", name, line + 1, column + 1, context,
                   *context ? ": " : "", problem);
}
