/* The tree on top of the reader. See json.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "formats/json.h"
#include "formats/mistaken.h"

/* The first member whose key an earlier one has too, or NULL. */
static const qk_json *repeated_key(const qk_json *object)
{
    if (object->type != QK_JSON_T_OBJECT) return NULL;
    size_t slots = 16;
    while (slots < 2 * object->count) slots *= 2;
    const qk_json **table = qk_zalloc(slots, sizeof *table), *found = NULL;
    for (const qk_json *m = object->first; m && !found; m = m->next) {
        size_t i = qk_hash_bytes(m->key, m->key_length) & (slots - 1);
        while (table[i] && (table[i]->key_length != m->key_length ||
                            memcmp(table[i]->key, m->key, m->key_length) != 0))
            i = (i + 1) & (slots - 1);
        if (table[i]) found = m;
        table[i] = m;
    }
    free(table);
    return found;
}

static void set_scalar(qk_arena *arena, const qk_json_reader *r, qk_json_event event, qk_json *v)
{
    switch (event) {
    case QK_JSON_TRUE:
    case QK_JSON_FALSE:
        v->type = QK_JSON_T_BOOL;
        v->boolean = event == QK_JSON_TRUE;
        return;
    case QK_JSON_STRING:
    case QK_JSON_NUMBER:
        v->type = event == QK_JSON_STRING ? QK_JSON_T_STRING : QK_JSON_T_NUMBER;
        v->text = qk_arena_strndup(arena, r->text, r->length);
        v->length = r->length;
        if (event == QK_JSON_NUMBER)
            v->number = qk_json_number(r->text, r->length, &v->is_integer, &v->integer);
        return;
    default: v->type = QK_JSON_T_NULL;
    }
}

/* An open array or object while the tree is built. */
typedef struct open_node {
    qk_json *node;
    qk_json **tail; /* where the next child goes */
} open_node;

static qk_status build(qk_arena *arena, qk_json_reader *r, const qk_json **out)
{
    open_node stack[QK_JSON_MAX_DEPTH];
    int depth = 0;
    qk_json *root = NULL, *named = NULL;
    for (;;) {
        qk_json_event event = qk_json_next(r);
        if (event == QK_JSON_ERROR) return r->err ? r->err->status : QK_ERR_FORMAT;
        if (event == QK_JSON_DONE) break;
        if (event == QK_JSON_OBJECT_END || event == QK_JSON_ARRAY_END) {
            const qk_json *twice = repeated_key(stack[--depth].node);
            if (!twice) continue;
            r->at = r->begin + twice->offset;
            return qk_json_fail(r, "the key \"%s\" is given twice", twice->key);
        }
        qk_json *v = named ? named : qk_arena_alloc(arena, 1, sizeof *v);
        v->offset = r->offset;
        named = NULL;
        if (event == QK_JSON_KEY) {
            v->key = qk_arena_strndup(arena, r->text, r->length);
            v->key_length = r->length;
            named = v;
            continue;
        }
        if (depth) {
            *stack[depth - 1].tail = v;
            stack[depth - 1].tail = &v->next;
            stack[depth - 1].node->count++;
        } else {
            root = v;
        }
        if (event == QK_JSON_OBJECT || event == QK_JSON_ARRAY) {
            v->type = event == QK_JSON_OBJECT ? QK_JSON_T_OBJECT : QK_JSON_T_ARRAY;
            stack[depth++] = (open_node){v, &v->first};
        } else {
            set_scalar(arena, r, event, v);
        }
    }
    *out = root;
    return QK_OK;
}

qk_status qk_json_parse(qk_arena *arena, const char *text, size_t size, const char *name,
                        const qk_json **out, qk_error *err)
{
    qk_json_reader r;
    qk_json_open(&r, text, size, name, err);
    qk_status s = build(arena, &r, out);
    qk_json_close(&r);
    return s;
}

qk_status qk_json_parse_file(qk_arena *arena, const char *path, size_t limit, const qk_json **out,
                             qk_error *err)
{
    qk_buf text;
    QK_TRY(qk_read_file(&text, path, limit, err));
    qk_status s = qk_refuse_stand_in(text.data, text.size, path, err);
    if (s == QK_OK) s = qk_json_parse(arena, (const char *)text.data, text.size, path, out, err);
    qk_buf_free(&text);
    return s;
}

qk_status qk_json_parse_if_there(qk_arena *arena, const char *path, size_t limit,
                                 const qk_json **out, qk_error *err)
{
    bool there;
    *out = NULL;
    QK_TRY(qk_has_file(path, &there, err));
    return there ? qk_json_parse_file(arena, path, limit, out, err) : QK_OK;
}

const qk_json *qk_json_get(const qk_json *object, const char *key)
{
    if (!object || object->type != QK_JSON_T_OBJECT) return NULL;
    size_t n = strlen(key);
    for (const qk_json *m = object->first; m; m = m->next)
        if (m->key_length == n && !memcmp(m->key, key, n)) return m;
    return NULL;
}

bool qk_json_text_is(const char *text, size_t length, const char *wanted)
{
    return length == strlen(wanted) && !memcmp(text, wanted, length);
}

bool qk_json_is_string(const qk_json *value, const char *text)
{
    return value && value->type == QK_JSON_T_STRING &&
           qk_json_text_is(value->text, value->length, text);
}

const char *qk_json_type_name(const qk_json *value)
{
    static const char *const names[] = {"null",     "a boolean", "a number",
                                        "a string", "an array",  "an object"};
    return value ? names[value->type] : "nothing";
}
