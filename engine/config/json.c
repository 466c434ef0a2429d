/* model.config_overrides: YAML -> the JSON tree that config.json is, too. See config/keys.h.
 *
 * Numbers keep their value exactly: an integer its decimal digits, a float its shortest
 * decimal (engine/base/decimal.h), with a point or an exponent so that it stays a float. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/decimal.h"
#include "engine/config/keys.h"

/* The digits of an integer beyond int64: sign, then decimal digits without underscores. */
static const char *long_integer(qk_arena *arena, const qk_yaml *v)
{
    char *text = qk_arena_alloc(arena, v->length + 1, 1), *out = text;
    const char *s = v->text + (*v->text == '+');
    if (*s == '-') *out++ = *s++;
    if (*s == '0') return NULL;
    for (; *s; s++) {
        if (*s == '_') continue;
        if (*s < '0' || *s > '9') return NULL;
        *out++ = *s;
    }
    return text;
}

static qk_status set_number(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                            qk_json *out)
{
    out->type = QK_JSON_T_NUMBER;
    out->number = v->number;
    out->is_integer = v->type == QK_YAML_INT && v->fits;
    if (out->is_integer) {
        out->integer = v->integer;
        out->text = qk_arena_strf(r->arena, "%lld", (long long)v->integer);
    } else if (v->type == QK_YAML_INT) {
        out->text = long_integer(r->arena, v);
        if (!out->text)
            return qk_config_fail(r, key, v, NULL, "holds %.60s, which is out of range", v->text);
        out->number = strtod(out->text, NULL);
    } else if (isfinite(v->number)) {
        char text[QK_DECIMAL_TEXT];
        qk_decimal_text(v->number, text);
        out->text = qk_arena_strf(r->arena, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
    } else {
        out->text = isnan(v->number) ? "NaN" : v->number < 0 ? "-Infinity" : "Infinity";
    }
    out->length = strlen(out->text);
    return QK_OK;
}

static qk_status convert(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *v,
                         qk_json *out)
{
    out->key = v->key;
    out->key_length = v->key_length;
    switch (v->type) {
    case QK_YAML_NULL: out->type = QK_JSON_T_NULL; return QK_OK;
    case QK_YAML_BOOL:
        out->type = QK_JSON_T_BOOL;
        out->boolean = v->boolean;
        return QK_OK;
    case QK_YAML_INT:
    case QK_YAML_FLOAT: return set_number(r, key, v, out);
    case QK_YAML_DATE:
        return qk_config_fail(r, key, v, "put it in quotes", "holds the date %.60s", v->text);
    case QK_YAML_STRING:
        out->type = QK_JSON_T_STRING;
        out->text = v->text;
        out->length = v->length;
        return QK_OK;
    case QK_YAML_OTHER: qk_fatal("a value of qk_yaml_parse_safe in a configuration");
    case QK_YAML_LIST:
    case QK_YAML_MAP: break;
    }
    out->type = v->type == QK_YAML_LIST ? QK_JSON_T_ARRAY : QK_JSON_T_OBJECT;
    out->count = v->count;
    qk_json **tail = &out->first;
    for (const qk_yaml *child = v->first; child; child = child->next) {
        *tail = qk_arena_alloc(r->arena, 1, sizeof **tail);
        QK_TRY(convert(r, key, child, *tail));
        tail = &(*tail)->next;
    }
    return QK_OK;
}

qk_status qk_config_to_json(const qk_config_reader *r, const qk_config_key *key,
                            const qk_yaml *value, const qk_json **out)
{
    qk_json *root = qk_arena_alloc(r->arena, 1, sizeof *root);
    QK_TRY(convert(r, key, value, root));
    root->key = NULL;
    root->key_length = 0;
    *out = root;
    return QK_OK;
}
