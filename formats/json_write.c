/* Writing JSON. See json.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/decimal.h"
#include "engine/base/text.h"
#include "formats/json.h"

static void line_break(qk_json_out *o)
{
    if (o->compact) return;
    qk_buf_add_byte(&o->buf, '\n');
    for (int i = 0; i < o->depth; i++) qk_buf_add_str(&o->buf, "  ");
}

/* One character beyond ASCII: as it is where a terminal only shows it (--json may be read there, and
 * U+009B begins a command), else by its number. A byte that is not UTF-8, as names of files may
 * have, becomes U+FFFD: the text is JSON whatever it quotes. Returns the bytes taken. */
static size_t add_beyond_ascii(qk_buf *buf, const char *text, size_t n)
{
    uint32_t c;
    size_t taken = qk_utf8_decode((const uint8_t *)text, n, &c);
    if (taken && qk_is_shown(c))
        qk_buf_add(buf, text, taken);
    else
        qk_buf_addf(buf, "\\u%04x", taken ? c : 0xFFFD);
    return taken ? taken : 1;
}

void qk_json_quote(qk_buf *buf, const char *text, size_t length)
{
    qk_buf_add_byte(buf, '"');
    for (size_t i = 0; i < length; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == '"' || c == '\\')
            qk_buf_addf(buf, "\\%c", c);
        else if (c == '\n')
            qk_buf_add_str(buf, "\\n");
        else if (c == '\t')
            qk_buf_add_str(buf, "\\t");
        else if (c < 0x20 || c == 0x7F)
            qk_buf_addf(buf, "\\u%04x", c);
        else if (c < 0x80)
            qk_buf_add_byte(buf, c);
        else
            i += add_beyond_ascii(buf, text + i, length - i) - 1;
    }
    qk_buf_add_byte(buf, '"');
}

/* What comes before a value. A key may hold NULs: "\u0000" in a file is one. */
static void item_n(qk_json_out *o, const char *key, size_t length)
{
    if (o->depth) {
        if (o->has_item[o->depth - 1]) qk_buf_add_str(&o->buf, o->compact ? ", " : ",");
        o->has_item[o->depth - 1] = true;
        line_break(o);
    }
    if (!key) return;
    qk_json_quote(&o->buf, key, length);
    qk_buf_add_str(&o->buf, ": ");
}

static void item(qk_json_out *o, const char *key)
{
    item_n(o, key, key ? strlen(key) : 0);
}

static void open_bracket(qk_json_out *o, char bracket)
{
    QK_ASSERT(o->depth < QK_JSON_MAX_DEPTH);
    qk_buf_add_byte(&o->buf, (uint8_t)bracket);
    o->has_item[o->depth++] = false;
}

void qk_json_begin(qk_json_out *o, const char *key, char bracket)
{
    item(o, key);
    open_bracket(o, bracket);
}

void qk_json_end(qk_json_out *o, char bracket)
{
    QK_ASSERT(o->depth > 0);
    bool had_items = o->has_item[--o->depth];
    if (had_items) line_break(o);
    qk_buf_add_byte(&o->buf, (uint8_t)bracket);
}

void qk_json_add_strn(qk_json_out *o, const char *key, const char *text, size_t length)
{
    item(o, key);
    qk_json_quote(&o->buf, text, length);
}

void qk_json_add_str(qk_json_out *o, const char *key, const char *text)
{
    if (text)
        qk_json_add_strn(o, key, text, strlen(text));
    else
        qk_json_add_null(o, key);
}

void qk_json_add_int(qk_json_out *o, const char *key, int64_t value)
{
    item(o, key);
    qk_buf_addf(&o->buf, "%lld", (long long)value);
}

void qk_json_add_num(qk_json_out *o, const char *key, double value)
{
    if (!isfinite(value)) {
        qk_json_add_null(o, key);
        return;
    }
    item(o, key);
    char text[QK_DECIMAL_TEXT];
    qk_buf_add(&o->buf, text, qk_decimal_text(value, text));
}

void qk_json_add_bool(qk_json_out *o, const char *key, bool value)
{
    item(o, key);
    qk_buf_add_str(&o->buf, value ? "true" : "false");
}

void qk_json_add_null(qk_json_out *o, const char *key)
{
    item(o, key);
    qk_buf_add_str(&o->buf, "null");
}

static void tree(qk_json_out *o, const qk_json *v)
{
    bool object = v->type == QK_JSON_T_OBJECT;
    switch (v->type) {
    case QK_JSON_T_NULL: qk_buf_add_str(&o->buf, "null"); return;
    case QK_JSON_T_BOOL: qk_buf_add_str(&o->buf, v->boolean ? "true" : "false"); return;
    case QK_JSON_T_STRING: qk_json_quote(&o->buf, v->text, v->length); return;
    case QK_JSON_T_NUMBER: qk_buf_add(&o->buf, v->text, v->length); return;
    case QK_JSON_T_ARRAY:
    case QK_JSON_T_OBJECT: break;
    }
    open_bracket(o, object ? '{' : '[');
    for (const qk_json *m = v->first; m; m = m->next) {
        item_n(o, m->key, m->key_length);
        tree(o, m);
    }
    qk_json_end(o, object ? '}' : ']');
}

void qk_json_add_tree(qk_json_out *o, const char *key, const qk_json *v)
{
    item(o, key);
    tree(o, v);
}
