/* The pull reader. See json.h. */
#include "formats/json.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

void qk_json_open(qk_json_reader *r, const char *text, size_t size, const char *name, qk_error *err)
{
    if (!size) text = ""; /* an empty file is mapped nowhere */
    *r = (qk_json_reader){.begin = text, .at = text, .end = text + size, .name = name, .err = err};
}

void qk_json_close(qk_json_reader *r)
{
    qk_buf_free(&r->scratch);
}

qk_status qk_json_fail(qk_json_reader *r, const char *format, ...)
{
    if (r->failed) return r->err ? r->err->status : QK_ERR_FORMAT;
    r->failed = true;
    unsigned long long offset = r->base_offset + (size_t)(r->at - r->begin);
    unsigned long long line = r->base_line + 1, column = r->base_column + 1;
    for (const char *p = r->begin; p < r->at; p++)
        if (*p == '\n')
            line++, column = 1;
        else
            column++;
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: byte %llu (line %llu, column %llu): %s",
                   r->name, offset, line, column, what);
}

static qk_json_event fail(qk_json_reader *r, const char *what)
{
    qk_json_fail(r, "%s", what);
    return QK_JSON_ERROR;
}

#define EACH_BYTE(c) ((c)*0x0101010101010101u)

static inline uint64_t load_word(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Most white space is indentation, so eight blanks are one step. */
static inline void skip_space(qk_json_reader *r)
{
    const char *p = r->at, *end = r->end;
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
        while (end - p >= 8 && load_word(p) == EACH_BYTE(' ')) p += 8;
    }
    r->at = p;
}

static bool take(qk_json_reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}

/* ---- strings ---- */

static bool hex4(qk_json_reader *r, uint32_t *out)
{
    if (r->end - r->at < 4) return false;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = *r->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return false;
        *out = *out << 4 | (uint32_t)digit;
    }
    return true;
}

/* at points behind "\u"; appends the code point, joining a surrogate pair. */
static bool unicode_escape(qk_json_reader *r)
{
    uint32_t c, low;
    if (!hex4(r, &c)) return fail(r, "\\u needs four hexadecimal digits"), false;
    if (c >= 0xD800 && c <= 0xDFFF) {
        if (c >= 0xDC00 || !take(r, "\\u") || !hex4(r, &low) || low < 0xDC00 || low > 0xDFFF)
            return fail(r, "half of a surrogate pair stands alone"), false;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    uint8_t utf8[4];
    qk_buf_add(&r->scratch, utf8, qk_utf8_encode(c, utf8));
    return true;
}

static bool escape(qk_json_reader *r)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end) return fail(r, "the text ends inside a string"), false;
    char c = *r->at++;
    if (c == 'u') return unicode_escape(r);
    const char *found = c ? strchr(names, c) : NULL;
    if (!found) return r->at--, fail(r, "unknown escape in a string"), false;
    qk_buf_add_byte(&r->scratch, (uint8_t)values[found - names]);
    return true;
}

/* The first of eight bytes that is a quote, a backslash, a control character or beyond ASCII: its
 * bit 7 is set; 0: none is. (A borrow may set bits behind the first one, never before it.) */
static inline uint64_t special_bytes(uint64_t word)
{
    uint64_t quote = word ^ EACH_BYTE('"'), backslash = word ^ EACH_BYTE('\\');
    uint64_t hits = (quote - EACH_BYTE(1)) | (backslash - EACH_BYTE(1)) | (word - EACH_BYTE(0x20));
    return (hits | word) & EACH_BYTE(0x80);
}

/* Behind the plain ASCII from p on. */
static inline const char *skip_plain(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t special = special_bytes(load_word(p));
        if (special) return p + __builtin_ctzll(special) / 8;
    }
    while (p < end && (uint8_t)*p >= 0x20 && (uint8_t)*p < 0x80 && *p != '"' && *p != '\\') p++;
    return p;
}

/* One run of plain bytes: up to a quote, a backslash or something bad. */
static bool plain_run(qk_json_reader *r)
{
    for (;;) {
        r->at = skip_plain(r->at, r->end);
        if (r->at == r->end) return fail(r, "the text ends inside a string"), false;
        uint8_t c = (uint8_t)*r->at;
        if (c == '"' || c == '\\') return true;
        if (c < 0x20) return fail(r, "a control character inside a string"), false;
        while (r->at < r->end && (uint8_t)*r->at >= 0x80) { /* one rarely comes alone */
            uint32_t code;
            size_t n = qk_utf8_decode((const uint8_t *)r->at, (size_t)(r->end - r->at), &code);
            if (!n) return fail(r, "bytes that are not UTF-8"), false;
            r->at += n;
        }
    }
}

/* at points behind the opening quote. A string without escapes is borrowed from the text. */
static bool string(qk_json_reader *r)
{
    const char *start = r->at;
    if (!plain_run(r)) return false;
    if (*r->at == '"') {
        r->text = start;
        r->length = (size_t)(r->at++ - start);
        return true;
    }
    qk_buf_clear(&r->scratch);
    for (;;) {
        qk_buf_add(&r->scratch, start, (size_t)(r->at - start));
        if (*r->at++ == '"') break;
        if (!escape(r)) return false;
        start = r->at;
        if (!plain_run(r)) return false;
    }
    r->text = qk_buf_str(&r->scratch);
    r->length = r->scratch.size;
    return true;
}

/* ---- numbers ---- */

static size_t digits(qk_json_reader *r)
{
    const char *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
    return (size_t)(r->at - start);
}

static qk_json_event number(qk_json_reader *r)
{
    const char *start = r->at;
    if (take(r, "NaN") || take(r, "Infinity") || take(r, "-Infinity")) goto done;
    take(r, "-");
    const char *whole = r->at;
    size_t n = digits(r);
    if (n == 0) return fail(r, "a value is expected here");
    if (n > 1 && *whole == '0') return fail(r, "a number with a leading zero");
    if (take(r, ".") && !digits(r)) return fail(r, "digits are missing behind the point");
    if (take(r, "e") || take(r, "E")) {
        if (!take(r, "+")) take(r, "-");
        if (!digits(r)) return fail(r, "digits are missing in the exponent");
    }
done:
    if (r->at == r->end && r->goes_on) return fail(r, "a number that is cut off");
    r->text = start;
    r->length = (size_t)(r->at - start);
    return QK_JSON_NUMBER;
}

/* Up to 15 digits and nothing else: exact as int64 and as double. */
static bool small_integer(const char *text, size_t length, int64_t *integer)
{
    if (!length || length > 15) return false;
    int64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        value = 10 * value + (text[i] - '0');
    }
    *integer = value;
    return true;
}

double qk_json_number(const char *text, size_t length, bool *is_integer, int64_t *integer)
{
    *is_integer = small_integer(text, length, integer);
    if (*is_integer) return (double)*integer;
    static locale_t c_locale; /* made once; "1.5" must not depend on the user's language */
    if (!c_locale) c_locale = newlocale(LC_ALL_MASK, "C", NULL);
    char local[128], *copy = length < sizeof local ? local : qk_alloc(length + 1, 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    *is_integer = !strpbrk(copy, ".eEIN");
    if (*is_integer) {
        errno = 0;
        *integer = strtoll(copy, NULL, 10);
        *is_integer = errno == 0;
    }
    double value = strtod_l(copy, NULL, c_locale);
    if (copy != local) free(copy);
    return value;
}

/* ---- structure ---- */

static qk_json_event scalar(qk_json_reader *r)
{
    r->after_key = false;
    r->need_comma = true;
    r->done = r->depth == 0;
    switch (*r->at) {
    case '"': r->at++; return string(r) ? QK_JSON_STRING : QK_JSON_ERROR;
    case 't': return take(r, "true") ? QK_JSON_TRUE : fail(r, "a value is expected here");
    case 'f': return take(r, "false") ? QK_JSON_FALSE : fail(r, "a value is expected here");
    case 'n': return take(r, "null") ? QK_JSON_NULL : fail(r, "a value is expected here");
    default: return number(r);
    }
}

static qk_json_event key(qk_json_reader *r)
{
    if (*r->at != '"') return fail(r, "a key in quotes is expected here");
    r->at++;
    if (!string(r)) return QK_JSON_ERROR;
    skip_space(r);
    if (!take(r, ":")) return fail(r, "':' is expected behind a key");
    r->after_key = true;
    return QK_JSON_KEY;
}

qk_json_event qk_json_next(qk_json_reader *r)
{
    if (r->failed) return QK_JSON_ERROR;
    skip_space(r);
    r->offset = (size_t)(r->at - r->begin);
    if (r->done)
        return r->at == r->end ? QK_JSON_DONE : fail(r, "text behind the end of the value");
    if (r->at == r->end) return fail(r, "the text ends too early");

    bool object = r->depth && r->in_object[r->depth - 1];
    if (r->depth && !r->after_key) {
        if (*r->at == (object ? '}' : ']')) {
            r->at++;
            r->need_comma = true;
            r->done = --r->depth == 0;
            return object ? QK_JSON_OBJECT_END : QK_JSON_ARRAY_END;
        }
        if (r->need_comma) {
            if (!take(r, ","))
                return fail(r,
                            object ? "',' or '}' is expected here" : "',' or ']' is expected here");
            skip_space(r);
            r->offset = (size_t)(r->at - r->begin);
            if (r->at == r->end) return fail(r, "the text ends too early");
        }
        if (object) return key(r);
    }
    if (*r->at != '{' && *r->at != '[') return scalar(r);
    if (r->depth == QK_JSON_MAX_DEPTH) return fail(r, "nested too deeply");
    bool opens_object = *r->at++ == '{';
    r->in_object[r->depth++] = opens_object;
    r->need_comma = r->after_key = false;
    return opens_object ? QK_JSON_OBJECT : QK_JSON_ARRAY;
}

qk_json_event qk_json_next_document(qk_json_reader *r)
{
    if (r->failed) return QK_JSON_ERROR;
    QK_ASSERT(r->depth == 0);
    skip_space(r);
    r->done = r->at == r->end;
    r->need_comma = r->after_key = false;
    return qk_json_next(r);
}

bool qk_json_skip(qk_json_reader *r, qk_json_event first)
{
    if (first == QK_JSON_ERROR) return false;
    if (first != QK_JSON_OBJECT && first != QK_JSON_ARRAY) return true;
    for (int target = r->depth - 1; r->depth > target;)
        if (qk_json_next(r) == QK_JSON_ERROR) return false;
    return true;
}
