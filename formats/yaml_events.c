/* See yaml_events.h. libyaml's own words are kept where they are clear; four slips that people
 * make all the time (a tab, a missing space behind ':', a crooked indentation, an open bracket) get
 * their own. */
#include "formats/yaml_events.h"

#include <stdbool.h>
#include <string.h>

#include "engine/base/text.h"

static qk_status fail(qk_error *err, const char *name, size_t line, size_t column, const char *hint,
                      const char *what)
{
    return qk_fail(err, QK_ERR_CONFIG, hint, "%s:%zu:%zu: %s", name, line, column, what);
}

/* Refuses what is not UTF-8 and characters that YAML does not allow, naming the line. */
static qk_status check_bytes(const char *text, size_t size, const char *name, qk_error *err)
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
        bool is_printable = c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0x7E) ||
                            c == 0x85 || (c >= 0xA0 && c <= 0xFFFD) || c >= 0x10000;
        if (!is_printable) /* YAML 1.1's word */
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

/* The error that the parser stopped with, as line, column, message and hint. */
static qk_status fail_syntax(const yaml_parser_t *parser, const char *text, size_t size,
                             const char *name, qk_error *err)
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
                    "close it with ] or }; a text with ': ' in it stands in quotes",
                    "the list or map that begins here is not closed");
    return qk_fail(err, QK_ERR_CONFIG, "see https://yaml.org for the syntax",
                   "%s:%zu:%zu: not YAML: %s%s%s", name, line + 1, column + 1, context,
                   *context ? ": " : "", problem);
}

qk_status qk_yaml_events(const char *text, size_t size, const char *name, qk_yaml_add add,
                         void *builder, qk_error *err)
{
    if (size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) text += 3, size -= 3; /* byte order mark */
    QK_TRY(check_bytes(text, size, name, err));
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) qk_no_memory("a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    qk_status s = QK_OK;
    for (bool more = true; more && s == QK_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            s = fail_syntax(&parser, text, size, name, err);
            break;
        }
        more = event.type != YAML_STREAM_END_EVENT;
        s = add(builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return s;
}

/* ---- the tree ---- */

void qk_yaml_append(qk_yaml *parent, qk_yaml *child)
{
    child->next = NULL;
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->count++;
}

static size_t bucket_of(const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash % QK_YAML_BUCKETS;
}

void qk_yaml_bind(qk_yaml_anchors *anchors, qk_arena *arena, const char *name, qk_yaml *node)
{
    qk_yaml_anchor **bucket = &anchors->buckets[bucket_of(name)];
    qk_yaml_anchor *anchor = qk_arena_alloc(arena, 1, sizeof *anchor);
    *anchor = (qk_yaml_anchor){qk_arena_strndup(arena, name, strlen(name)), node, *bucket};
    *bucket = anchor;
}

qk_yaml *qk_yaml_bound(const qk_yaml_anchors *anchors, const char *name, size_t *passed)
{
    const qk_yaml_anchor *a = anchors->buckets[bucket_of(name)];
    for (*passed = 0; a && strcmp(a->name, name) != 0; a = a->next) ++*passed;
    return a ? a->node : NULL;
}
