/* See csv_type.h. */
#include "engine/dataset/csv_type.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "formats/json.h"

static const char *const null_words[] = {
    "",     "#N/A", "#N/A N/A", "#NA",  "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A",  "NA",       "NULL", "NaN",     "None",     "n/a",  "nan",  "null",
};

const char *qk_csv_kind_name(qk_csv_kind kind)
{
    static const char *const names[] = {
        "nulls", "integers", "integers above int64",    "numbers", "booleans",
        "texts", "texts",    "integers beyond 64 bits", "numbers"};
    return names[kind];
}

static bool is_null(const char *text, size_t n)
{
    if (n > 9) return false;
    for (size_t i = 0; i < sizeof null_words / sizeof *null_words; i++)
        if (strlen(null_words[i]) == n && !memcmp(null_words[i], text, n)) return true;
    return false;
}

static bool is_word(const char *text, size_t n, const char *word)
{
    return strlen(word) == n && !strncasecmp(text, word, n);
}

/* Without the blanks around it, which may be around numbers. */
static void trim(const char **text, size_t *n)
{
    while (*n && strchr(" \t\v\f", **text) && **text) ++*text, --*n;
    while (*n && strchr(" \t\v\f", (*text)[*n - 1]) && (*text)[*n - 1]) --*n;
}

static size_t count_digits(const char *p, const char *end)
{
    const char *start = p;
    while (p < end && *p >= '0' && *p <= '9') p++;
    return (size_t)(p - start);
}

typedef enum size_class { NO_INT, IN_INT64, IN_UINT64, BEYOND } size_class;

/* [+-]digits, blanks around. The magnitude in *value when it fits in uint64. */
static size_class read_int(const char *text, size_t n, bool *negative, uint64_t *value)
{
    trim(&text, &n);
    *negative = n && *text == '-';
    if (n && (*text == '-' || *text == '+')) text++, n--;
    if (!n || count_digits(text, text + n) != n) return NO_INT;
    *value = 0;
    for (size_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(text[i] - '0'), value))
            return BEYOND;
    if (*value <= (uint64_t)INT64_MAX + *negative) return IN_INT64;
    return *negative ? BEYOND : IN_UINT64;
}

/* [+-](digits[.digits] | .digits)[e[+-]digits], blanks around; or inf, infinity without. */
static bool read_float(const char *text, size_t n, double *value)
{
    bool sign = n && (*text == '-' || *text == '+');
    if (is_word(text + sign, n - sign, "inf") || is_word(text + sign, n - sign, "infinity")) {
        *value = *text == '-' ? -INFINITY : INFINITY;
        return true;
    }
    trim(&text, &n);
    bool plus = n && *text == '+';
    text += plus, n -= plus;
    const char *p = text, *end = text + n;
    if (!plus && p < end && *p == '-') p++;
    size_t whole = count_digits(p, end), fraction = 0;
    p += whole;
    if (p < end && *p == '.') fraction = count_digits(++p, end), p += fraction;
    if (!whole && !fraction) return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '-' || *p == '+')) p++;
        size_t exponent = count_digits(p, end);
        if (!exponent) return false;
        p += exponent;
    }
    bool ignored;
    int64_t integer;
    if (p != end) return false;
    *value = qk_json_number(text, n, &ignored, &integer);
    return true;
}

static bool read_bool(const char *text, size_t n, bool *value)
{
    *value = is_word(text, n, "true");
    return *value || is_word(text, n, "false");
}

/* ---- the type of a chunk ---- */

static void note_first(int64_t *first, int64_t now)
{
    if (!*first) *first = now;
}

void qk_csv_guess_add(qk_csv_guess *g, const char *text, size_t n)
{
    bool negative, truth;
    uint64_t value;
    double number;
    if (is_null(text, n)) {
        g->null = true;
        return;
    }
    int64_t now = ++g->values;
    size_class size = read_int(text, n, &negative, &value);
    if (size == NO_INT) note_first(&g->no_int, now);
    if (size == IN_UINT64 || size == BEYOND) note_first(&g->over_int64, now);
    if (negative) /* stops nothing: uint64 and a negative one are a conflict of their own */
        g->negative = true;
    else if (size == NO_INT)
        note_first(&g->no_uint, now);
    else if (size == BEYOND)
        note_first(&g->over_uint64, now);
    g->above_int64 |= size == IN_UINT64;
    g->not_float |= size == NO_INT && !g->not_float && !read_float(text, n, &number);
    g->not_bool |= !g->not_bool && !read_bool(text, n, &truth);
}

static bool comes_first(int64_t a, int64_t b)
{
    return a && (!b || a < b);
}

/* The order of events in pandas: int64 up to the first field that is none; a field that overflows
 * it before that starts uint64, with the same two ends; then numbers, truth values, strings. When
 * uint64 fails, not by a field that is no integer, the column is read again as strings, null
 * words too. */
qk_csv_kind qk_csv_guess_kind(const qk_csv_guess *g)
{
    if (!g->values) return QK_CSV_NULL;
    if (!g->no_int && !g->over_int64) return g->null ? QK_CSV_INT_OR_NULL : QK_CSV_INT;
    if (comes_first(g->over_int64, g->no_int)) {
        bool to_the_end = !g->no_uint && !g->over_uint64;
        if (comes_first(g->over_uint64, g->no_uint) ||
            (to_the_end && g->negative && !g->above_int64))
            return g->no_int ? QK_CSV_RAW : QK_CSV_HUGE;
        if (to_the_end)
            return g->above_int64 && (g->null || g->negative) ? QK_CSV_RAW : QK_CSV_UINT;
    }
    return !g->not_float ? QK_CSV_FLOAT : !g->not_bool ? QK_CSV_BOOL : QK_CSV_TEXT;
}

/* ---- one cell ---- */

/* The field as a cell of its chunk's own type. */
static void own_cell(qk_cell *out, const char *text, size_t n, qk_csv_kind chunk)
{
    bool negative = false, truth = false;
    uint64_t value = 0;
    switch (chunk) {
    case QK_CSV_INT:
    case QK_CSV_UINT:
        read_int(text, n, &negative, &value);
        out->integer = negative ? (int64_t)(0 - value) : (int64_t)value;
        out->natural = value;
        out->kind = value > (uint64_t)INT64_MAX && !negative ? QK_CELL_UINT : QK_CELL_INT;
        return;
    case QK_CSV_FLOAT:
        read_float(text, n, &out->number);
        out->kind = QK_CELL_FLOAT;
        return;
    case QK_CSV_BOOL:
        read_bool(text, n, &truth);
        out->integer = truth;
        out->kind = QK_CELL_BOOL;
        return;
    default:
        out->kind = QK_CELL_TEXT;
        out->text = text;
        out->length = n;
    }
}

/* Numbers of a later chunk in a column of numbers; false when the value would change. */
static bool to_number(qk_cell *cell, qk_csv_kind column)
{
    const int64_t exact = (int64_t)1 << 53;
    if (column == QK_CSV_INT) {
        if (cell->kind == QK_CELL_FLOAT) {
            double number = cell->number;
            if (!(number >= -0x1p63 && number < 0x1p63) || number != floor(number)) return false;
            *cell = (qk_cell){.kind = QK_CELL_INT, .integer = (int64_t)number};
        }
        if (cell->kind == QK_CELL_BOOL) cell->kind = QK_CELL_INT;
        return cell->kind == QK_CELL_INT;
    }
    if (column == QK_CSV_UINT)
        return cell->kind == QK_CELL_UINT || (cell->kind == QK_CELL_INT && cell->integer >= 0);
    if (cell->kind == QK_CELL_FLOAT) return true;
    if (cell->kind == QK_CELL_UINT || cell->integer > exact || cell->integer < -exact) return false;
    *cell = (qk_cell){.kind = QK_CELL_FLOAT, .number = (double)cell->integer};
    return true;
}

qk_status qk_csv_cell(qk_cell *out, const char *text, size_t n, qk_csv_kind chunk,
                      qk_csv_kind column, qk_buf *keep, qk_error *err)
{
    *out = (qk_cell){0};
    if (chunk == QK_CSV_HUGE || column == QK_CSV_HUGE)
        return qk_fail(err, QK_ERR_DATA, "put a letter before such ids",
                       "a column of integers, some beyond 64 bits");
    if (chunk != QK_CSV_RAW && is_null(text, n)) return QK_OK;
    if (chunk == QK_CSV_RAW) chunk = QK_CSV_TEXT;
    if (column == QK_CSV_RAW) column = QK_CSV_TEXT;
    bool from_ints = chunk == QK_CSV_INT_OR_NULL; /* -0 was the integer 0 before it was a float */
    if (from_ints) chunk = QK_CSV_FLOAT;
    if (column == QK_CSV_INT_OR_NULL) column = QK_CSV_FLOAT;
    own_cell(out, text, n, chunk);
    if (from_ints && out->number == 0) out->number = 0;
    if (chunk == column) return QK_OK;
    if (column == QK_CSV_TEXT && chunk != QK_CSV_FLOAT) {
        qk_buf_clear(keep);
        if (out->kind == QK_CELL_BOOL)
            qk_buf_add_str(keep, out->integer ? "true" : "false");
        else if (out->kind == QK_CELL_UINT)
            qk_buf_addf(keep, "%llu", (unsigned long long)out->natural);
        else
            qk_buf_addf(keep, "%lld", (long long)out->integer);
        *out = (qk_cell){.kind = QK_CELL_TEXT, .length = keep->size, .text = qk_buf_str(keep)};
        return QK_OK;
    }
    bool castable = column != QK_CSV_TEXT && column != QK_CSV_BOOL && chunk != QK_CSV_TEXT;
    if (castable && to_number(out, column)) return QK_OK;
    return qk_fail(err, QK_ERR_DATA, "give the column one type, or convert the file to Parquet",
                   "these %d rows hold %s, the first ones %s", QK_CSV_CHUNK,
                   qk_csv_kind_name(chunk), qk_csv_kind_name(column));
}
