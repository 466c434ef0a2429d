/* Values of the configuration: what each type accepts, and what it says otherwise.
 *
 * A value that YAML reads as something else than its writer meant (1e-3 is a text, 010 is eight, a
 * commit of digits a number) is refused with the spelling that works. See config/keys.h. */
#include "engine/config/keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/config/root.h"

const char *qk_config_position(const qk_config_reader *r, const qk_yaml *value)
{
    if (value && value->setting) return value->setting;
    if (!value) return r->path;
    return qk_arena_strf(r->arena, "%s:%d:%d", r->path, value->line, value->column);
}

qk_status qk_config_blame(const qk_yaml *value)
{
    return value && value->setting ? QK_ERR_USAGE : QK_ERR_CONFIG;
}

qk_status qk_config_fail(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *value,
                         const char *hint, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return qk_fail(r->err, qk_config_blame(value), hint, "%s: '%s.%s' %s",
                   qk_config_position(r, value), key->section, key->name, what);
}

const char *qk_config_meaning(const qk_config_reader *r, const qk_config_key *key)
{
    return qk_arena_strf(r->arena, "it is: %s", key->meaning);
}

/* "the text 'all'", "the number 1.5", "a list": for messages. */
static const char *describe(const qk_config_reader *r, const qk_yaml *v)
{
    switch (v->type) {
    case QK_YAML_NULL: return "null";
    case QK_YAML_LIST: return "a list";
    case QK_YAML_MAP: return "a map";
    case QK_YAML_OTHER: return "a value of another kind";
    case QK_YAML_BOOL: return qk_arena_strf(r->arena, "the boolean %.60s", v->text);
    case QK_YAML_INT:
    case QK_YAML_FLOAT: return qk_arena_strf(r->arena, "the number %.60s", v->text);
    case QK_YAML_DATE: return qk_arena_strf(r->arena, "the date %.60s", v->text);
    case QK_YAML_STRING: break;
    }
    return qk_arena_strf(r->arena, "the text '%.60s'", v->text);
}

static qk_status wrong_type(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                            const char *hint)
{
    if (!hint) hint = qk_config_meaning(r, key);
    return qk_config_fail(r, key, v, hint, "must be %s, not %s", key->type->name, describe(r, v));
}

/* ---- texts ---- */

/* How a scalar that YAML reads as something else is written as a text. A shell takes the quotes of
 * a --set away. */
static const char *quotes_hint(const qk_config_reader *r, const qk_config_key *key,
                               const qk_yaml *v)
{
    if (v->type == QK_YAML_NULL || v->type == QK_YAML_LIST || v->type == QK_YAML_MAP) return NULL;
    if (v->length > 200) return "put it in quotes";
    if (!v->setting) return qk_arena_strf(r->arena, "put it in quotes: \"%s\"", v->text);
    return qk_arena_strf(r->arena, "put it in quotes, and those in others: --set '%s.%s=\"%s\"'",
                         key->section, key->name, v->text);
}

static qk_status read_text(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                           void *field)
{
    const char **out = field;
    *out = NULL;
    if (!v) return QK_OK;
    if (v->type != QK_YAML_STRING) return wrong_type(r, key, v, quotes_hint(r, key, v));
    if (memchr(v->text, 0, v->length)) return qk_config_fail(r, key, v, NULL, "holds a NUL");
    if (v->length) *out = v->text;
    return QK_OK;
}

/* A text that cannot be empty. */
static qk_status read_string(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                             void *field)
{
    QK_TRY(read_text(r, key, v, field));
    return *(const char **)field ? QK_OK : qk_config_fail(r, key, v, NULL, "is empty");
}

/* A path. "~" is what a shell makes of it, and no shell sees a configuration or the value of a
 * --set: it would be a folder of that name. */
static qk_status read_path(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                           void *field)
{
    QK_TRY(key->required ? read_string(r, key, v, field) : read_text(r, key, v, field));
    const char *path = *(const char **)field, *home = getenv("HOME");
    if (!path || *path != '~') return QK_OK;
    bool own = home && (!path[1] || path[1] == '/');
    return qk_config_fail(r, key, v,
                          own ? qk_arena_strf(r->arena, "write %s%s", home, path + 1)
                              : "write the whole path",
                          "begins with '~', which only a shell expands");
}

static qk_status read_folder(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                             void *field)
{
    QK_TRY(read_string(r, key, v, field));
    QK_TRY(read_path(r, key, v, field));
    const char *wrong = qk_config_root_problem(*(const char **)field);
    return wrong ? qk_config_fail(r, key, v, "name a folder of its own for the results",
                                  "must not be %s", wrong)
                 : QK_OK;
}

/* ---- numbers ---- */

/* Octal numbers and those in sixties: forms that YAML 1.1 gives a meaning which hardly anyone
 * intends. */
static bool is_octal(const qk_yaml *v)
{
    const char *s = v->text + (*v->text == '-' || *v->text == '+');
    return v->type == QK_YAML_INT && s[0] == '0' && s[1] && s[1] != 'x' && s[1] != 'b';
}

static bool is_in_sixties(const qk_yaml *v)
{
    return strchr(v->text, ':') != NULL;
}

/* Whether the key takes what YAML reads `text` as: no hint offers a spelling that is refused. */
static bool is_taken(const qk_config_key *key, const char *text)
{
    qk_yaml v = {.plain = true, .text = text, .length = strlen(text)};
    if (!qk_yaml_resolve(&v) || is_octal(&v) || is_in_sixties(&v)) return false;
    if (key->type == &qk_config_number)
        return (v.type == QK_YAML_INT || v.type == QK_YAML_FLOAT) && isfinite(v.number) &&
               v.number > 0;
    if (v.type != QK_YAML_INT || key->type == &qk_config_seed) return v.type == QK_YAML_INT;
    bool list = key->type == &qk_config_ints;
    return v.fits && v.integer >= (list ? 0 : key->min) &&
           v.integer <= (list ? INT32_MAX : key->max);
}

/* The text without the '_' between its digits, where it is a number in decimal to Python, which
 * takes 1e3 and 08; else NULL. */
static char *decimal_of(const qk_config_reader *r, const qk_yaml *v)
{
    static const char all[] = "0123456789+-.eE_";
    if (!v->length || v->length > 60 || strspn(v->text, all) != v->length) return NULL;
    char *copy = qk_arena_strndup(r->arena, v->text, v->length), *to = copy, *end;
    for (const char *s = copy; *s; s++)
        if (*s != '_') *to++ = *s;
    *to = 0;
    strtod(copy, &end);
    return *copy && !*end ? copy : NULL;
}

/* For a value that is no number, or no integer where one must be: the spelling that the key takes,
 * or NULL. "1000", 1e3, 1.0e+3 -> 1000; 1e-3 -> 1.0e-3. */
static const char *number_hint(const qk_config_reader *r, const qk_config_key *key,
                               const qk_yaml *v)
{
    bool text = v->type == QK_YAML_STRING;
    if (!text && v->type != QK_YAML_FLOAT) return NULL;
    const char *quotes = text && !v->plain ? " without quotes" : "";
    if (*quotes && v->length <= 200 && is_taken(key, v->text))
        return qk_arena_strf(r->arena, "write %s without quotes", v->text);
    const char *number = decimal_of(r, v);
    if (!number) return NULL;
    double value = strtod(number, NULL);
    if (value == floor(value) && fabs(value) <= 1e15) {
        const char *integer = qk_arena_strf(r->arena, "%.0f", value);
        if (key->type != &qk_config_number && is_taken(key, integer))
            return qk_arena_strf(r->arena, "write %s%s", integer, quotes);
    }
    size_t digits = strcspn(number, "eE");
    const char *exponent = number[digits] ? number + digits + 1 : NULL;
    if (exponent) /* as YAML 1.1 wants it: 1e-3 -> 1.0e-3 */
        number = qk_arena_strf(r->arena, "%.*s%se%s%s", (int)digits, number,
                               memchr(number, '.', digits) ? "" : ".0",
                               *exponent == '-' || *exponent == '+' ? "" : "+", exponent);
    if (!is_taken(key, number)) return NULL;
    return *quotes ? qk_arena_strf(r->arena, "write %s%s", number, quotes)
                   : qk_arena_strf(r->arena, "YAML reads %s as a text; write %s", v->text, number);
}

static qk_status refuse_odd_base(const qk_config_reader *r, const qk_config_key *key,
                                 const qk_yaml *v)
{
    const char *s = v->text + (*v->text == '-' || *v->text == '+');
    const char *value = v->type == QK_YAML_FLOAT ? qk_arena_strf(r->arena, " as %g", v->number)
                        : v->fits ? qk_arena_strf(r->arena, " as %lld", (long long)v->integer)
                                  : "";
    if (is_in_sixties(v))
        return qk_config_fail(r, key, v, "write it in decimal",
                              "is %.60s, which YAML reads in sixties%s", v->text, value);
    if (!is_octal(v)) return QK_OK;
    while ((*s == '0' || *s == '_') && s[1]) s++;
    const char *decimal = qk_arena_strf(r->arena, "%s%s", *v->text == '-' ? "-" : "", s);
    const char *hint = "write it in decimal, without the leading zero";
    if (strlen(decimal) <= 200 && is_taken(key, decimal))
        hint = qk_arena_strf(r->arena, "write %s without the leading zero", decimal);
    return qk_config_fail(r, key, v, hint, "is %.60s, which YAML reads in octal%s", v->text, value);
}

static qk_status read_int(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                          void *field)
{
    int64_t *out = field;
    *out = key->absent;
    if (!v) return QK_OK;
    if (v->type != QK_YAML_INT) return wrong_type(r, key, v, number_hint(r, key, v));
    if (!v->fits || v->integer > key->max)
        return qk_config_fail(r, key, v, NULL, "is out of range: %.40s is not in %lld .. %lld",
                              v->text, (long long)key->min, (long long)key->max);
    QK_TRY(refuse_odd_base(r, key, v));
    if (v->integer < key->min && key->min > 1)
        return qk_config_fail(r, key, v, NULL, "must be %lld or more, not %s", (long long)key->min,
                              v->text);
    if (v->integer < key->min)
        return qk_config_fail(
            r, key, v, NULL,
            key->min > 0 ? "must be positive, not %s" : "must not be negative, but is %s", v->text);
    *out = v->integer;
    return QK_OK;
}

/* An integer of any length, from Python's digits: 1_000, 0x1F, 0b101. */
static qk_status read_seed(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                           void *field)
{
    qk_long_seed *out = field;
    if (v->type != QK_YAML_INT) return wrong_type(r, key, v, number_hint(r, key, v));
    QK_TRY(refuse_odd_base(r, key, v));
    const char *digits = v->text + (*v->text == '-' || *v->text == '+');
    uint32_t base = *digits != '0' ? 10 : digits[1] == 'x' ? 16 : digits[1] == 'b' ? 2 : 10;
    if (base != 10) digits += 2;
    qk_error why = {0};
    if (qk_python_seed_parse(&out->words, digits, base, &why) != QK_OK)
        return qk_config_fail(r, key, v, why.hint, "is out of range: %s", why.message);
    qk_buf decimal = {0};
    bool zero = out->words.count == 1 && !out->words.words[0];
    if (*v->text == '-' && !zero) qk_buf_add_byte(&decimal, '-');
    qk_python_seed_add_decimal(&out->words, &decimal);
    out->decimal = qk_arena_strndup(r->arena, qk_buf_str(&decimal), decimal.size);
    qk_buf_free(&decimal);
    return QK_OK;
}

static qk_status read_number(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                             void *field)
{
    *(double *)field = 0;
    if (!v) return QK_OK;
    bool number = v->type == QK_YAML_INT || v->type == QK_YAML_FLOAT;
    if (!number) return wrong_type(r, key, v, number_hint(r, key, v));
    QK_TRY(refuse_odd_base(r, key, v));
    if (!isfinite(v->number) || !(v->number > 0))
        return wrong_type(r, key, v, "to keep every position, use the sampler type all");
    *(double *)field = v->number;
    return QK_OK;
}

static qk_status read_bool(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                           void *field)
{
    if (v->type != QK_YAML_BOOL) return wrong_type(r, key, v, "write true or false without quotes");
    *(bool *)field = v->boolean;
    return QK_OK;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* What --set brought as "0,1", without the brackets that shells take for themselves, as a list;
 * NULL for anything else, and where other characters than these are in it. */
static const qk_yaml *list_without_brackets(const qk_config_reader *r, const qk_yaml *v,
                                            const char *characters)
{
    qk_yaml *list;
    qk_error ignored;
    if (!v->setting || !v->length || strspn(v->text, characters) != v->length) return NULL;
    const char *text = qk_arena_strf(r->arena, "[%s]", v->text);
    if (qk_yaml_parse(r->arena, text, strlen(text), v->setting, &list, &ignored) != QK_OK)
        return NULL;
    list->setting = v->setting;
    for (qk_yaml *item = list->first; item; item = item->next) item->setting = v->setting;
    return list;
}

/* Numbers from 0, stored ascending and once each. */
static qk_status read_ints(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                           void *field)
{
    qk_int_list *out = field;
    *out = (qk_int_list){0};
    if (!v) return QK_OK;
    const qk_yaml *plain = v->type == QK_YAML_STRING || v->type == QK_YAML_INT
                               ? list_without_brackets(r, v, "0123456789,")
                               : NULL;
    if (plain) v = plain;
    if (v->type != QK_YAML_LIST)
        return wrong_type(r, key, v,
                          v->type == QK_YAML_INT && is_taken(key, v->text)
                              ? qk_arena_strf(r->arena, "write [%s]", v->text)
                              : "write [0, 1, 2]; null stands for all");
    int64_t *items = qk_arena_alloc(r->arena, v->count, sizeof *items);
    size_t n = 0;
    for (const qk_yaml *item = v->first; item; item = item->next) {
        if (item->type != QK_YAML_INT) return wrong_type(r, key, item, number_hint(r, key, item));
        QK_TRY(refuse_odd_base(r, key, item));
        if (!item->fits || item->integer < 0 || item->integer > INT32_MAX)
            return qk_config_fail(r, key, item, "layers and heads are counted from 0",
                                  "holds %.40s, which is no number of a %.*s", item->text,
                                  (int)strlen(key->name) - 1, key->name);
        items[n++] = item->integer;
    }
    if (n) qsort(items, n, sizeof *items, by_value);
    for (size_t i = 0; i < n; i++) {
        if (out->count && items[out->count - 1] == items[i])
            qk_warn("%s: '%s.%s' holds %lld twice", qk_config_position(r, v), key->section,
                    key->name, (long long)items[i]);
        else
            items[out->count++] = items[i];
    }
    if (out->count) out->items = items;
    return QK_OK;
}

/* ---- words ---- */

/* fp8 and fp32: another number after the same letters is another thing, and no slip. */
static bool differs_in_number(const char *word, const char *known)
{
    static const char digits[] = "0123456789";
    size_t at = strcspn(word, digits), n = strspn(word + at, digits);
    return n && at == strcspn(known, digits) && !strncasecmp(word, known, at) &&
           strncmp(word + at, known + at, n) != 0;
}

static qk_status unknown_word(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v)
{
    enum { MAX_WORDS = 16 };
    qk_buf list = {0}, all = {0};
    const char *known[MAX_WORDS + 1] = {NULL}, *nearest = NULL, *hint = NULL;
    for (const qk_config_word *w = key->words; w->word; w++) {
        bool synonym = false;
        for (const qk_config_word *u = key->words; u < w; u++) synonym |= u->value == w->value;
        QK_ASSERT(w - key->words < MAX_WORDS);
        known[w - key->words] = w->word;
        qk_buf_addf(&all, "%s%s", w == key->words ? "known: " : ", ", w->word);
        if (!synonym) qk_buf_addf(&list, "%s%s", w == key->words ? "" : ", ", w->word);
    }
    if (v->type == QK_YAML_STRING) nearest = qk_nearest(v->text, known);
    bool other = nearest && (*v->text != *nearest || differs_in_number(v->text, nearest));
    if (other) /* gpu is not cpu, and fp8 is not fp16 */
        hint = qk_buf_str(&all);
    else if (nearest)
        hint = qk_arena_strf(r->arena, "did you mean '%s'?", nearest);
    qk_status s = qk_config_fail(r, key, v, hint, "must be one of %s, not %s", qk_buf_str(&list),
                                 describe(r, v));
    qk_buf_free(&list);
    qk_buf_free(&all);
    return s;
}

/* The entry of key->words that a value names, in any case of letters. */
static qk_status find_word(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                           int *value)
{
    const qk_config_word *w = key->words;
    if (v->type != QK_YAML_STRING) return unknown_word(r, key, v);
    while (w->word && strcasecmp(w->word, v->text) != 0) w++;
    if (!w->word) return unknown_word(r, key, v);
    *value = w->value;
    return QK_OK;
}

static qk_status read_choice(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                             void *field)
{
    int value = (int)key->absent;
    if (v) QK_TRY(find_word(r, key, v, &value));
    memcpy(field, &value, sizeof value);
    return QK_OK;
}

/* The values of the words together, which are bits. */
static qk_status read_words(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                            void *field)
{
    int all = 0, value;
    if (v && v->type == QK_YAML_STRING) {
        const qk_yaml *list = list_without_brackets(r, v, "abcdefghijklmnopqrstuvwxyz_,");
        if (list) v = list;
    }
    const char *hint = qk_arena_strf(r->arena, "write [%s]", key->words->word);
    if (v && v->type != QK_YAML_LIST) return wrong_type(r, key, v, hint);
    if (v && !v->first) return qk_config_fail(r, key, v, hint, "must not be an empty list");
    for (const qk_yaml *item = v ? v->first : NULL; item; item = item->next) {
        QK_TRY(find_word(r, key, item, &value));
        if ((all & value) == value)
            qk_warn("%s: '%s.%s' holds %.40s twice", qk_config_position(r, v), key->section,
                    key->name, item->text);
        all |= value;
    }
    memcpy(field, &all, sizeof all);
    return QK_OK;
}

/* ---- trees, and what has no effect ---- */

static qk_status read_tree(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                           void *field)
{
    const qk_json **out = field;
    *out = NULL;
    if (!v) return QK_OK;
    if (v->type != QK_YAML_MAP) return wrong_type(r, key, v, NULL);
    return qk_config_to_json(r, key, v, out);
}

static qk_status read_ignored(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                              void *field)
{
    (void)r, (void)key, (void)v, (void)field;
    return QK_OK;
}

static qk_status read_remote_code(const qk_config_reader *r, const qk_config_key *key,
                                  const qk_yaml *v, void *field)
{
    (void)field;
    bool asked = false;
    if (v) QK_TRY(read_bool(r, key, v, &asked));
    if (asked)
        qk_warn("%s: '%s.%s' has no effect: code of a checkpoint is never run",
                qk_config_position(r, v), key->section, key->name);
    return QK_OK;
}

static qk_status read_padding_side(const qk_config_reader *r, const qk_config_key *key,
                                   const qk_yaml *v, void *field)
{
    (void)field;
    if (!v || (v->type == QK_YAML_STRING && !strcmp(v->text, "right"))) return QK_OK;
    return qk_config_fail(r, key, v, "remove the key",
                          "must be right, not %s: padding on the left would move every position",
                          describe(r, v));
}

const qk_config_type qk_config_string = {"a string", read_string};
const qk_config_type qk_config_text = {"a string", read_text};
const qk_config_type qk_config_path = {"a string", read_path};
const qk_config_type qk_config_folder = {"a string", read_folder};
const qk_config_type qk_config_bool = {"true or false", read_bool};
const qk_config_type qk_config_int = {"an integer", read_int};
const qk_config_type qk_config_seed = {"an integer", read_seed};
const qk_config_type qk_config_number = {"a number above 0", read_number};
const qk_config_type qk_config_ints = {"a list of integers", read_ints};
const qk_config_type qk_config_choice = {"a word", read_choice};
const qk_config_type qk_config_words = {"a list of words", read_words};
const qk_config_type qk_config_tree = {"a map", read_tree};
const qk_config_type qk_config_ignored = {"anything", read_ignored};
const qk_config_type qk_config_remote_code = {"true or false", read_remote_code};
const qk_config_type qk_config_padding_side = {"a string", read_padding_side};
