/* See id_type.h. */
#include "engine/dataset/id_type.h"

#include <stdio.h>
#include <string.h>

/* ---- names ---- */

static const char *unit_name(int unit)
{
    return unit == 0 ? "s" : unit == 3 ? "ms" : unit == 6 ? "us" : "ns";
}

const char *qk_id_type_name(const qk_id_type *t, char out[QK_ID_TYPE_NAME])
{
    const char *unit = unit_name(t->unit);
    size_t n = QK_ID_TYPE_NAME;
    switch (t->kind) {
    case QK_CELL_NULL: snprintf(out, n, "null"); break;
    case QK_CELL_INT: snprintf(out, n, t->is_label ? "class_label" : "int%d", t->bits); break;
    case QK_CELL_UINT: snprintf(out, n, "uint%d", t->bits); break;
    case QK_CELL_BOOL: snprintf(out, n, "bool"); break;
    case QK_CELL_FLOAT: snprintf(out, n, "float%d", t->bits); break;
    case QK_CELL_TEXT:
        snprintf(out, n, t->is_view ? "string_view" : t->is_dictionary ? "dictionary" : "string");
        break;
    case QK_CELL_BYTES:
        snprintf(out, n, t->width ? "fixed_size_binary[%d]" : "binary", t->width);
        break;
    case QK_CELL_DECIMAL:
        snprintf(out, n, "decimal%d(%d, %d)", t->bits, t->precision, t->scale);
        break;
    case QK_CELL_DATE: snprintf(out, n, "date%d", t->bits); break;
    case QK_CELL_TIME: snprintf(out, n, "time%d[%s]", t->unit > 3 ? 64 : 32, unit); break;
    case QK_CELL_STAMP:
        snprintf(out, n, *t->zone ? "timestamp[%s, tz=%s]" : "timestamp[%s]", unit, t->zone);
        break;
    case QK_CELL_DURATION: snprintf(out, n, "duration[%s]", unit); break;
    case QK_CELL_UUID: snprintf(out, n, "uuid"); break;
    }
    return out;
}

/* Decimals, times and the like: what has numbers or a unit in its name. */
static bool parse_with_parts(qk_id_type *t, const char *name)
{
    char unit[4] = "", zone[64] = "", rest;
    int bits = 0, end = 0;
    if (sscanf(name, "decimal%d(%d,%d)%c", &t->bits, &t->precision, &t->scale, &rest) == 3) {
        t->kind = QK_CELL_DECIMAL;
        int max = t->bits == 128 ? 38 : t->bits == 256 ? 76 : 0;
        return t->precision > 0 && t->precision <= max && t->scale >= 0 && t->scale <= max;
    }
    if (sscanf(name, "timestamp[%2[a-z]]%n", unit, &end) == 1 && end && !name[end]) {
        t->kind = QK_CELL_STAMP;
    } else if (sscanf(name, "timestamp[%2[a-z], tz=%63[^]]]%n", unit, zone, &end) == 2 && end &&
               !name[end]) {
        t->kind = QK_CELL_STAMP;
        snprintf(t->zone, sizeof t->zone, "%s", zone);
    } else if (sscanf(name, "duration[%2[a-z]]%n", unit, &end) == 1 && end && !name[end]) {
        t->kind = QK_CELL_DURATION;
    } else if (sscanf(name, "time%d[%2[a-z]]%n", &bits, unit, &end) == 2 && end && !name[end]) {
        t->kind = QK_CELL_TIME;
    } else {
        return false;
    }
    for (t->unit = 0; t->unit <= 9; t->unit += 3)
        if (!strcmp(unit_name(t->unit), unit))
            return t->kind != QK_CELL_TIME || bits == (t->unit > 3 ? 64 : 32);
    return false;
}

bool qk_id_type_parse(qk_id_type *out, const char *name)
{
    static const struct {
        const char *name;
        qk_cell_kind kind;
        int bits;
    } simple[] = {
        {"null", QK_CELL_NULL, 0},         {"bool", QK_CELL_BOOL, 0},
        {"int8", QK_CELL_INT, 8},          {"int16", QK_CELL_INT, 16},
        {"int32", QK_CELL_INT, 32},        {"int64", QK_CELL_INT, 64},
        {"uint8", QK_CELL_UINT, 8},        {"uint16", QK_CELL_UINT, 16},
        {"uint32", QK_CELL_UINT, 32},      {"uint64", QK_CELL_UINT, 64},
        {"float16", QK_CELL_FLOAT, 16},    {"float32", QK_CELL_FLOAT, 32},
        {"float64", QK_CELL_FLOAT, 64},    {"float", QK_CELL_FLOAT, 32},
        {"double", QK_CELL_FLOAT, 64},     {"string", QK_CELL_TEXT, 0},
        {"large_string", QK_CELL_TEXT, 0}, {"string_view", QK_CELL_TEXT, 0},
        {"binary", QK_CELL_BYTES, 0},      {"large_binary", QK_CELL_BYTES, 0},
        {"binary_view", QK_CELL_BYTES, 0}, {"date32", QK_CELL_DATE, 32},
        {"date64", QK_CELL_DATE, 64},
    };
    *out = (qk_id_type){.is_known = true, .is_view = !strcmp(name, "string_view")};
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        if (strcmp(simple[i].name, name) != 0) continue;
        out->kind = simple[i].kind;
        out->bits = simple[i].bits;
        return true;
    }
    return parse_with_parts(out, name);
}

/* ---- zones ---- */

bool qk_id_zone_offset(const char *zone, int *minutes)
{
    static const char *const utc[] = {"UTC", "Etc/UTC", "GMT"};
    *minutes = 0;
    for (size_t i = 0; i < sizeof utc / sizeof *utc; i++)
        if (!strcmp(utc[i], zone)) return true;
    if (strlen(zone) != 6 || (*zone != '+' && *zone != '-') || zone[3] != ':') return false;
    for (int i = 1; i < 6; i++)
        if (i != 3 && (zone[i] < '0' || zone[i] > '9')) return false;
    int hours = (zone[1] - '0') * 10 + zone[2] - '0', rest = (zone[4] - '0') * 10 + zone[5] - '0';
    *minutes = (hours * 60 + rest) * (*zone == '-' ? -1 : 1);
    return hours < 24 && rest < 60;
}

/* Whether the clock of a zone can be computed. */
static bool has_clock(const qk_id_type *stamp)
{
    int minutes;
    return !*stamp->zone || qk_id_zone_offset(stamp->zone, &minutes);
}

/* ---- casts ---- */

/* Neither cast to nor from there: short decimals, UUIDs and bytes of one length are no types of
 * `datasets` (the last from 5.0 on, and a source for bytes and strings before). */
static bool is_apart(const qk_id_type *t)
{
    return t->kind == QK_CELL_UUID || (t->kind == QK_CELL_DECIMAL && t->bits < 128);
}

static bool is_number(const qk_id_type *t)
{
    return t->kind == QK_CELL_INT || t->kind == QK_CELL_UINT || t->kind == QK_CELL_FLOAT;
}

/* A count of days, seconds ... is the integer of its own size. */
static bool is_count(const qk_id_type *t, const qk_id_type *integer)
{
    if (integer->kind != QK_CELL_INT || integer->is_label) return false;
    switch (t->kind) {
    case QK_CELL_DATE: return t->bits == integer->bits;
    case QK_CELL_TIME: return integer->bits == (t->unit > 3 ? 64 : 32);
    case QK_CELL_STAMP:
    case QK_CELL_DURATION: return integer->bits == 64;
    default: return false;
    }
}

/* Floats are left out: Arrow writes them in a way of its own. */
static bool text_takes(const qk_id_type *from)
{
    int minutes;
    if (from->kind != QK_CELL_STAMP || !*from->zone) return from->kind != QK_CELL_FLOAT;
    return !strcmp(from->zone, "UTC") || (qk_id_zone_offset(from->zone, &minutes) && minutes);
}

/* The digits that an integer type may need must all fit. */
static bool decimal_takes(const qk_id_type *to, const qk_id_type *from)
{
    int digits = from->bits == 8 ? 3 : from->bits == 16 ? 5 : from->bits == 32 ? 10 : 19;
    if (from->kind == QK_CELL_DECIMAL) return true;
    if (from->kind == QK_CELL_UINT && from->bits == 64) digits = 20;
    return (from->kind == QK_CELL_INT || from->kind == QK_CELL_UINT) &&
           digits + to->scale <= to->precision;
}

/* Arrow lays out views and dictionaries of strings otherwise, and lacks this one cast. */
static bool lacks_cast(const qk_id_type *to, const qk_id_type *from)
{
    return to->is_view && from->is_dictionary;
}

bool qk_id_type_is(const qk_id_type *to, const qk_id_type *from)
{
    return to->kind == from->kind && to->bits == from->bits && to->precision == from->precision &&
           to->scale == from->scale && to->unit == from->unit && to->width == from->width &&
           to->is_label == from->is_label && !strcmp(to->zone, from->zone) && !lacks_cast(to, from);
}

bool qk_id_type_takes(const qk_id_type *to, const qk_id_type *from)
{
    qk_cell_kind kind = from->kind;
    if (qk_id_type_is(to, from)) return true;
    if (is_apart(to) || is_apart(from) || to->width || lacks_cast(to, from)) return false;
    if (kind == QK_CELL_NULL) return true;
    switch (to->kind) {
    case QK_CELL_INT:
    case QK_CELL_UINT:
        if (to->is_label) return kind == QK_CELL_INT || kind == QK_CELL_UINT;
        return is_number(from) || kind == QK_CELL_BOOL || kind == QK_CELL_TEXT ||
               kind == QK_CELL_DECIMAL || is_count(from, to);
    case QK_CELL_FLOAT:
        if (kind == QK_CELL_BOOL) return to->bits > 16;
        return is_number(from) || (kind == QK_CELL_TEXT && to->bits == 64);
    case QK_CELL_BOOL:
        if (kind == QK_CELL_FLOAT) return from->bits > 16;
        return is_number(from) || kind == QK_CELL_TEXT;
    case QK_CELL_TEXT: return text_takes(from);
    case QK_CELL_BYTES:
        return kind == QK_CELL_BYTES || (kind == QK_CELL_TEXT && !from->is_dictionary);
    case QK_CELL_DECIMAL: return decimal_takes(to, from);
    case QK_CELL_DATE:
        return kind == QK_CELL_DATE || (kind == QK_CELL_STAMP && has_clock(from)) ||
               is_count(to, from);
    case QK_CELL_TIME:
        return kind == QK_CELL_TIME || (kind == QK_CELL_STAMP && has_clock(from)) ||
               is_count(to, from);
    case QK_CELL_STAMP: return kind == QK_CELL_STAMP || kind == QK_CELL_DATE || is_count(to, from);
    case QK_CELL_DURATION: return kind == QK_CELL_DURATION || is_count(to, from);
    default: return false;
    }
}
