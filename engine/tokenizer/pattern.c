/* Patterns: kinds of characters, the program, matching. See pattern.h. */
#include "engine/tokenizer/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/tokenizer/pattern_parse.h"

enum { MAX_REGEX = 1 << 14, MAX_KINDS = 255, MAX_NAME = 200 };

struct qk_pattern {
    qk_scan scan; /* when there is one, the rest is unused */
    char *name;   /* where it stands and how it begins, for messages */
    qk_machine_code code;
    bool single; /* the whole pattern is one character of `members` */
    bool members[256];
    uint8_t *kinds; /* of every code point */
};

/* ---- kinds ---- */

typedef struct signature {
    uint64_t bits[QK_PATTERN_SETS / 64]; /* bit n: member of sets[n] */
} signature;

typedef struct kind_table {
    signature items[MAX_KINDS];
    int count;
} kind_table;

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* false: there are too many. */
static bool assign_kinds(qk_pattern *p, const qk_pattern_program *program, kind_table *table)
{
    /* Every code point at which membership in some set may change, sorted; ends with 0x110000. */
    size_t capacity = 2, count = 0;
    for (int s = 0; s < program->count; s++) capacity += 2 * program->sets[s].count;
    uint32_t *edges = qk_alloc(capacity, sizeof *edges);
    edges[count++] = 0;
    edges[count++] = QK_MAX_CODE_POINT + 1;
    for (int s = 0; s < program->count; s++)
        for (size_t i = 0; i < program->sets[s].count; i++) {
            edges[count++] = program->sets[s].items[i].lo;
            edges[count++] = program->sets[s].items[i].hi + 1;
        }
    qsort(edges, count, sizeof *edges, by_value);
    bool ok = true;
    for (size_t i = 0; ok && i + 1 < count; i++) {
        if (edges[i] == edges[i + 1]) continue;
        signature sig = {0};
        for (int s = 0; s < program->count; s++)
            if (qk_charset_has(&program->sets[s], edges[i]))
                sig.bits[s / 64] |= (uint64_t)1 << s % 64;
        int kind = 0; /* the one with this signature, added when it is new */
        while (kind < table->count && memcmp(&table->items[kind], &sig, sizeof sig) != 0) kind++;
        ok = kind < MAX_KINDS;
        if (ok && kind == table->count) table->items[table->count++] = sig;
        if (ok) memset(p->kinds + edges[i], kind, edges[i + 1] - edges[i]);
    }
    free(edges);
    return ok;
}

/* ---- the program ---- */

static bool in_set(const kind_table *table, int kind, int set)
{
    return table->items[kind].bits[set / 64] >> set % 64 & 1;
}

/* The pattern's own text is `text`, for messages. */
static qk_status compile_program(qk_pattern **out, const qk_pattern_program *program,
                                 const char *text, size_t length, const char *where, qk_error *err)
{
    if (!program->code.size)
        return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: the pattern is empty", where);
    qk_pattern *p = qk_zalloc(1, sizeof *p);
    p->kinds = qk_alloc(QK_MAX_CODE_POINT + 1, 1);
    p->name = qk_strf("%s: \"%.*s%s\"", where, (int)(length < MAX_NAME ? length : MAX_NAME), text,
                      length < MAX_NAME ? "" : "...");
    kind_table table = {0};
    if (!assign_kinds(p, program, &table)) {
        qk_pattern_free(p);
        return qk_fail(err, QK_ERR_UNSUPPORTED, NULL,
                       "%s: regex tells more than %d kinds of characters apart", where, MAX_KINDS);
    }
    qk_kind_set sets[QK_PATTERN_SETS] = {0};
    for (int i = 0; i < program->count; i++)
        for (int k = 0; k < table.count; k++) sets[i].has[k] = in_set(&table, k, i);
    const char *wrong = qk_machine_compile(&p->code, program->code.data, program->code.size, sets,
                                           (size_t)program->count);
    if (wrong) {
        qk_pattern_free(p);
        return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: regex is not supported: %s", where,
                       wrong);
    }
    p->single = program->code.size == 1 && program->code.data[0] >= 0x80;
    for (int k = 0; p->single && k < table.count; k++) p->members[k] = in_set(&table, k, 0);
    *out = p;
    return QK_OK;
}

static qk_status check_length(size_t length, const char *where, qk_error *err)
{
    if (length <= MAX_REGEX) return QK_OK;
    return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: a pattern of %zu bytes; at most %d work",
                   where, length, MAX_REGEX);
}

qk_status qk_pattern_compile(qk_pattern **out, const char *regex, size_t length, const char *where,
                             qk_error *err)
{
    QK_TRY(check_length(length, where, err));
    qk_scan scan = qk_scan_find(regex, length);
    if (scan) {
        *out = qk_zalloc(1, sizeof **out);
        (*out)->scan = scan;
        return QK_OK;
    }
    qk_pattern_program program;
    qk_status s = qk_pattern_parse(&program, regex, length, where, err);
    if (s == QK_OK) s = compile_program(out, &program, regex, length, where, err);
    qk_pattern_program_free(&program);
    return s;
}

qk_status qk_pattern_compile_text(qk_pattern **out, const char *text, size_t length,
                                  const char *where, qk_error *err)
{
    QK_TRY(check_length(length, where, err));
    qk_pattern_program program = {0};
    qk_status s = QK_OK;
    for (size_t i = 0; s == QK_OK && i < length;) {
        uint32_t code;
        i += qk_utf8_decode((const uint8_t *)text + i, length - i, &code);
        qk_charset set = {0};
        qk_charset_add(&set, code, code);
        if (!qk_pattern_add_set(&program, &set)) {
            qk_charset_free(&set);
            s = qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: more than %d different characters",
                        where, QK_PATTERN_SETS);
        }
    }
    if (s == QK_OK) s = compile_program(out, &program, text, length, where, err);
    qk_pattern_program_free(&program);
    return s;
}

void qk_pattern_free(qk_pattern *pattern)
{
    if (!pattern) return;
    qk_machine_free(&pattern->code);
    free(pattern->kinds);
    free(pattern->name);
    free(pattern);
}

qk_scan qk_pattern_scanner(const qk_pattern *pattern)
{
    return pattern->scan;
}

bool qk_pattern_may_be_empty(const qk_pattern *pattern)
{
    return !pattern->scan && pattern->code.first < 0;
}

/* ---- matching ---- */

void qk_match_memory_free(qk_match_memory *memory)
{
    qk_buf_free(&memory->kinds);
    qk_machine_memory_free(&memory->machine);
    *memory = (qk_match_memory){0};
}

void qk_matcher_begin(qk_matcher *m, const qk_pattern *pattern, qk_match_memory *memory,
                      const uint8_t *text, size_t bytes)
{
    *m = (qk_matcher){
        .pattern = pattern, .memory = memory, .text = text, .bytes = bytes, .last_end = SIZE_MAX};
    if (pattern->scan || pattern->single) return;
    qk_work_begin(&memory->own, bytes);
    qk_buf_clear(&memory->kinds);
    qk_buf_reserve(&memory->kinds, bytes + 1);
    uint8_t *out = memory->kinds.data;
    for (size_t i = 0; i < bytes;) {
        uint32_t code;
        i += qk_code_at(text + i, bytes - i, &code);
        *out++ = pattern->kinds[code];
    }
    m->count = (size_t)(out - memory->kinds.data);
}

/* Byte offset of a character at or behind the last one asked for. */
static size_t byte_of(qk_matcher *m, size_t character)
{
    if (m->count == m->bytes) return character;
    size_t i = m->at_byte;
    for (size_t n = character - m->at; n > 0; n--) {
        uint8_t lead = m->text[i];
        i += lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    }
    m->at = character;
    return m->at_byte = i;
}

qk_status qk_matcher_fail(const qk_matcher *m, qk_error *err)
{
    static const char hint[] = "split the text, or use a tokenizer whose regex is simpler";
    QK_TRY(qk_interrupt_check(err));
    if (m->result == QK_MACHINE_MEMORY)
        return qk_fail(err, QK_ERR_DATA, hint, "%s: this regex needs too much memory for this text",
                       m->pattern->name);
    return qk_fail(err, QK_ERR_DATA, hint,
                   "%s: this regex needs too much work for this text: more than %d steps for each "
                   "of its bytes",
                   m->pattern->name, QK_WORK_PER_BYTE);
}

/* The next character that is a match of its own; `from` counts bytes here. */
static int find_single(qk_matcher *m, size_t *start, size_t *end)
{
    const qk_pattern *p = m->pattern;
    for (size_t i = m->from, step; i < m->bytes; i += step) {
        uint32_t code;
        step = qk_code_at(m->text + i, m->bytes - i, &code);
        if (!p->members[p->kinds[code]]) continue;
        *start = i;
        *end = m->from = i + step;
        return 1;
    }
    m->from = m->bytes;
    return 0;
}

int qk_matcher_next(qk_matcher *m, size_t *start, size_t *end)
{
    if (m->pattern->scan) { /* `from` counts bytes here */
        if (m->from >= m->bytes) return 0;
        *start = m->from;
        *end = m->from = m->pattern->scan(m->text, m->bytes, m->from);
        return 1;
    }
    if (m->pattern->single) return find_single(m, start, end);
    qk_match_memory *memory = m->memory;
    while (m->from <= m->count) {
        size_t s, e; /* in characters */
        m->result = qk_machine_find(&m->pattern->code, &memory->machine,
                                    memory->work ? memory->work : &memory->own, memory->kinds.data,
                                    m->count, m->from, &s, &e);
        if (m->result != QK_MACHINE_FOUND) return m->result == QK_MACHINE_NONE ? 0 : -1;
        if (s == e && e == m->last_end) {
            m->from++;
            continue;
        }
        m->from = m->last_end = e;
        *start = byte_of(m, s);
        *end = byte_of(m, e);
        return 1;
    }
    return 0;
}
