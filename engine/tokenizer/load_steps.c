/* The steps of a text: "normalizer" and "pre_tokenizer". See load.h. */
#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/tokenizer/load.h"
#include "engine/tokenizer/load_steps.h"
#include "engine/tokenizer/unicode.h"

enum { MAX_NESTING = 8, WHERE = 256 };

static const char *type_of(const qk_json *node)
{
    const qk_json *type = qk_json_get(node, "type");
    return type && type->type == QK_JSON_T_STRING ? type->text : "";
}

static qk_status too_many(qk_loader *l, const char *where)
{
    return qk_loader_refuse(l, where, "more than %d steps", QK_MAX_STEPS);
}

/* Calls `load` for each member of the list called key. */
static qk_status load_list(qk_loader *l, const qk_json *node, const char *where, const char *key,
                           int depth,
                           qk_status (*load)(qk_loader *, const qk_json *, const char *, int))
{
    const qk_json *list = qk_json_get(node, key);
    if (!list || list->type != QK_JSON_T_ARRAY)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: %s.%s: an array expected, found %s",
                       l->path, where, key, qk_json_type_name(list));
    if (depth >= MAX_NESTING) return qk_loader_refuse(l, where, "Sequences nested too deep");
    size_t i = 0;
    for (const qk_json *item = list->first; item; item = item->next, i++) {
        char name[WHERE];
        snprintf(name, sizeof name, "%.200s.%s[%zu]", where, key, i);
        QK_TRY(load(l, item, name, depth + 1));
    }
    return QK_OK;
}

/* ---- normalizer ---- */

static qk_status compile(qk_loader *l, const char *where, const qk_json *text, bool is_regex,
                         qk_pattern **out)
{
    char name[WHERE + 512];
    snprintf(name, sizeof name, "%.500s: %.250s", l->path, where);
    if (is_regex) return qk_pattern_compile(out, text->text, text->length, name, l->err);
    return qk_pattern_compile_text(out, text->text, text->length, name, l->err);
}

/* {"Regex": ..} or {"String": ..}; *regex says which. */
static qk_status read_pattern(qk_loader *l, const qk_json *node, const char *where,
                              const qk_json **out, bool *regex)
{
    const qk_json *pattern = qk_json_get(node, "pattern");
    *out = qk_json_get(pattern, "Regex");
    *regex = *out != NULL;
    if (!*out) *out = qk_json_get(pattern, "String");
    if (*out && (*out)->type == QK_JSON_T_STRING) return QK_OK;
    return qk_loader_refuse(l, where, "\"pattern\" is neither a Regex nor a String");
}

static qk_status load_replace(qk_loader *l, const qk_json *node, const char *where,
                              qk_norm_step *step)
{
    const qk_json *pattern;
    bool regex;
    step->kind = QK_NORM_REPLACE;
    QK_TRY(read_pattern(l, node, where, &pattern, &regex));
    QK_TRY(qk_loader_string(l, node, where, "content", &step->to, &step->to_length));
    if (!step->to) return qk_loader_refuse(l, where, "there is no \"content\"");
    if (!pattern->length) return qk_loader_refuse(l, where, "an empty pattern is not supported");
    if (regex) {
        QK_TRY(compile(l, where, pattern, true, &step->pattern));
        if (!qk_pattern_may_be_empty(step->pattern)) return QK_OK;
        qk_pattern_free(step->pattern); /* the library loses track of what it puts at the start */
        return qk_loader_refuse(l, where, "a regex that can match no character is not supported");
    }
    step->from = qk_arena_strndup(&l->tok->arena, pattern->text, pattern->length);
    step->from_length = pattern->length;
    return QK_OK;
}

static qk_status load_prepend(qk_loader *l, const qk_json *node, const char *where,
                              qk_norm_step *step)
{
    step->kind = QK_NORM_PREPEND;
    QK_TRY(qk_loader_string(l, node, where, "prepend", &step->to, &step->to_length));
    return step->to ? QK_OK : qk_loader_refuse(l, where, "there is no \"prepend\"");
}

static qk_status load_strip(qk_loader *l, const qk_json *node, const char *where,
                            qk_norm_step *step)
{
    step->kind = QK_NORM_STRIP;
    QK_TRY(qk_loader_bool(l, node, where, "strip_left", true, &step->left));
    return qk_loader_bool(l, node, where, "strip_right", true, &step->right);
}

static qk_status load_normalizer(qk_loader *l, const qk_json *node, const char *where, int depth)
{
    static const struct {
        const char *type;
        qk_norm_step step;
        qk_status (*load)(qk_loader *, const qk_json *, const char *, qk_norm_step *);
    } kinds[] = {
        {"NFC", {.kind = QK_NORM_FORM, .form = QK_NFC}, NULL},
        {"NFD", {.kind = QK_NORM_FORM, .form = QK_NFD}, NULL},
        {"NFKC", {.kind = QK_NORM_FORM, .form = QK_NFKC}, NULL},
        {"NFKD", {.kind = QK_NORM_FORM, .form = QK_NFKD}, NULL},
        {"Lowercase", {.kind = QK_NORM_LOWERCASE}, NULL},
        {"StripAccents", {.kind = QK_NORM_STRIP_ACCENTS}, NULL},
        {"Nmt", {.kind = QK_NORM_NMT}, NULL},
        {"Replace", {0}, load_replace},
        {"Prepend", {0}, load_prepend},
        {"Strip", {0}, load_strip},
    };
    const char *type = type_of(node);
    if (!strcmp(type, "Sequence"))
        return load_list(l, node, where, "normalizers", depth, load_normalizer);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type, kinds[i].type) != 0) continue;
        qk_norm_step step = kinds[i].step;
        if (kinds[i].load) QK_TRY(kinds[i].load(l, node, where, &step));
        return qk_normalizer_add(l->tok->normalizer, step) ? QK_OK : too_many(l, where);
    }
    return qk_loader_refuse(l, where, "type \"%.40s\" is not supported", type);
}

qk_status qk_load_normalizer(qk_loader *l, const qk_json *node)
{
    if (!node || node->type == QK_JSON_T_NULL) return QK_OK;
    return load_normalizer(l, node, "normalizer", 0);
}

/* ---- pre-tokenizer ---- */

static qk_status add_split(qk_loader *l, const char *where, qk_pre_step step)
{
    return qk_pretokenizer_add(l->tok->pretokenizer, step) ? QK_OK : too_many(l, where);
}

static qk_status read_behavior(qk_loader *l, const qk_json *node, const char *where,
                               qk_split_behavior *out)
{
    static const char *const names[] = {[QK_SPLIT_ISOLATED] = "Isolated",
                                        [QK_SPLIT_REMOVED] = "Removed",
                                        [QK_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [QK_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
                                        [QK_SPLIT_CONTIGUOUS] = "Contiguous"};
    const qk_json *behavior = qk_json_get(node, "behavior");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (qk_json_is_string(behavior, names[i])) {
            *out = (qk_split_behavior)i;
            return QK_OK;
        }
    return qk_loader_refuse(l, where, "this \"behavior\" is not supported");
}

static qk_status load_split(qk_loader *l, const qk_json *node, const char *where)
{
    qk_pre_step step = {.kind = QK_PRE_SPLIT};
    QK_TRY(read_behavior(l, node, where, &step.behavior));
    QK_TRY(qk_loader_bool(l, node, where, "invert", true, &step.invert));
    const qk_json *pattern;
    bool regex;
    QK_TRY(read_pattern(l, node, where, &pattern, &regex));
    QK_TRY(compile(l, where, pattern, regex, &step.pattern));
    return add_split(l, where, step);
}

/* A Split on a regex of our own. */
static qk_status add_own_split(qk_loader *l, const char *where, const char *regex,
                               qk_split_behavior behavior, bool invert)
{
    qk_json text = {.type = QK_JSON_T_STRING, .text = regex, .length = strlen(regex)};
    qk_pre_step step = {.kind = QK_PRE_SPLIT, .behavior = behavior, .invert = invert};
    QK_TRY(compile(l, where, &text, true, &step.pattern));
    return add_split(l, where, step);
}

qk_status qk_add_regex_split(qk_loader *l, const char *where, const char *regex)
{
    return add_own_split(l, where, regex, QK_SPLIT_ISOLATED, false);
}

qk_status qk_add_prefix_space(qk_loader *l, const char *where)
{
    return add_split(l, where, (qk_pre_step){.kind = QK_PRE_PREFIX});
}

static qk_status load_digits(qk_loader *l, const qk_json *node, const char *where)
{
    bool individual = false;
    QK_TRY(qk_loader_bool(l, node, where, "individual_digits", true, &individual));
    return add_own_split(l, where, "\\p{N}", individual ? QK_SPLIT_ISOLATED : QK_SPLIT_CONTIGUOUS,
                         false);
}

static qk_status load_punctuation(qk_loader *l, const qk_json *node, const char *where)
{
    qk_split_behavior behavior = QK_SPLIT_ISOLATED;
    if (qk_json_get(node, "behavior")) QK_TRY(read_behavior(l, node, where, &behavior));
    qk_buf regex = {0};
    qk_buf_add_byte(&regex, '[');
    for (size_t i = 0; i < qk_punctuation_count; i++)
        qk_buf_addf(&regex, "\\x{%X}-\\x{%X}", qk_punctuations[i].lo, qk_punctuations[i].hi);
    qk_buf_add_byte(&regex, ']');
    qk_status s = add_own_split(l, where, qk_buf_str(&regex), behavior, false);
    qk_buf_free(&regex);
    return s;
}

static qk_status load_byte_level(qk_loader *l, const qk_json *node, const char *where)
{
    bool prefix = true, use_regex = true;
    QK_TRY(qk_loader_bool(l, node, where, "add_prefix_space", true, &prefix));
    QK_TRY(qk_loader_bool(l, node, where, "use_regex", false, &use_regex));
    if (prefix) QK_TRY(qk_add_prefix_space(l, where));
    if (use_regex) QK_TRY(qk_add_regex_split(l, where, QK_GPT2_REGEX));
    l->tok->pretokenizer->byte_level = true;
    return QK_OK;
}

qk_status qk_add_metaspace(qk_loader *l, const char *where, const qk_json *replacement,
                           qk_prepend prepend, bool split)
{
    qk_pre_step step = {.kind = QK_PRE_METASPACE, .prepend = prepend};
    qk_pre_step cut = {.kind = QK_PRE_SPLIT, .behavior = QK_SPLIT_MERGED_WITH_NEXT};
    const qk_json *text = replacement;
    uint32_t code;
    if (!text || text->type != QK_JSON_T_STRING || !text->length || text->length > 4 ||
        qk_utf8_decode((const uint8_t *)text->text, text->length, &code) != text->length || !code)
        return qk_loader_refuse(l, where, "\"replacement\" is not one character");
    memcpy(step.replacement, text->text, text->length);
    /* Steps in front may move what stands first. */
    if (prepend == QK_PREPEND_FIRST && (l->tok->normalizer->count || l->tok->pretokenizer->count))
        l->tok->pretokenizer->needs_raw_spans = true;
    QK_TRY(add_split(l, where, step));
    if (!split) return QK_OK;
    QK_TRY(compile(l, where, text, false, &cut.pattern));
    return add_split(l, where, cut);
}

static qk_status load_metaspace(qk_loader *l, const qk_json *node, const char *where)
{
    static const char *const schemes[] = {
        [QK_PREPEND_NEVER] = "never", [QK_PREPEND_FIRST] = "first", [QK_PREPEND_ALWAYS] = "always"};
    const qk_json *scheme = qk_json_get(node, "prepend_scheme");
    bool add = true, cut = true;
    QK_TRY(qk_loader_bool(l, node, where, "add_prefix_space", false, &add));
    int prepend = scheme ? QK_PREPEND_ALWAYS + 1 : QK_PREPEND_ALWAYS;
    for (int i = 0; i <= QK_PREPEND_ALWAYS; i++)
        if (qk_json_is_string(scheme, schemes[i])) prepend = i;
    if (prepend > QK_PREPEND_ALWAYS || (!add && prepend != QK_PREPEND_NEVER))
        return qk_loader_refuse(l, where, "this \"prepend_scheme\" is not supported");
    QK_TRY(qk_loader_bool(l, node, where, "split", false, &cut));
    return qk_add_metaspace(l, where, qk_json_get(node, "replacement"), (qk_prepend)prepend, cut);
}

/* Whitespace is "\w+|[^\w\s]+", but the library runs it on Rust's regex crate, whose \w is another
 * one (see space.c). */
#define WORD "[\\w\\x{200C}\\x{200D}&&[^\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}]]"
#define WHITESPACE WORD "+|[^\\s" WORD "]+"

static qk_status load_pretokenizer(qk_loader *l, const qk_json *node, const char *where, int depth)
{
    static const struct {
        const char *type;
        qk_status (*load)(qk_loader *, const qk_json *, const char *);
    } kinds[] = {{"Split", load_split},
                 {"Digits", load_digits},
                 {"Punctuation", load_punctuation},
                 {"ByteLevel", load_byte_level},
                 {"Metaspace", load_metaspace}};
    const char *type = type_of(node);
    if (!strcmp(type, "Sequence"))
        return load_list(l, node, where, "pretokenizers", depth, load_pretokenizer);
    if (l->tok->pretokenizer->byte_level) { /* this step sees the spelled bytes */
        QK_TRY(add_split(l, where, (qk_pre_step){.kind = QK_PRE_SPELL}));
        l->tok->pretokenizer->byte_level = false;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(type, kinds[i].type)) return kinds[i].load(l, node, where);
    if (!strcmp(type, "WhitespaceSplit"))
        return add_own_split(l, where, "\\s", QK_SPLIT_REMOVED, false);
    if (!strcmp(type, "Whitespace"))
        return add_own_split(l, where, WHITESPACE, QK_SPLIT_REMOVED, true);
    return qk_loader_refuse(l, where, "type \"%.40s\" is not supported", type);
}

qk_status qk_load_pretokenizer(qk_loader *l, const qk_json *node)
{
    if (!node || node->type == QK_JSON_T_NULL) return QK_OK;
    return load_pretokenizer(l, node, "pre_tokenizer", 0);
}
