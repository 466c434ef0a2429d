/* libyaml's events -> a tree. See yaml.h and yaml_events.h. */
#include <string.h>

#include "formats/yaml_events.h"

/* A list or map that is still open. */
typedef struct level {
    qk_yaml *node;
    qk_yaml *key;       /* of a map: the key that waits for its value, or NULL */
    const char *anchor; /* the name to bind at its end, or NULL */
} level;

typedef struct builder {
    qk_arena *arena;
    const char *name;
    qk_error *err;
    level stack[QK_YAML_MAX_DEPTH];
    int depth;
    size_t nodes;
    int documents;
    qk_yaml_anchors anchors; /* of nodes that are complete */
    qk_yaml *root;
} builder;

static qk_status fail_at(builder *b, const yaml_mark_t *mark, const char *hint, const char *what)
{
    return qk_fail(b->err, QK_ERR_CONFIG, hint, "%s:%zu:%zu: %s", b->name, mark->line + 1,
                   mark->column + 1, what);
}

static qk_status new_node(builder *b, const yaml_mark_t *mark, qk_yaml_type type, qk_yaml **out)
{
    if (++b->nodes > QK_YAML_MAX_NODES)
        return fail_at(b, mark, NULL, "too many values, counting what aliases stand for");
    qk_yaml *node = qk_arena_alloc(b->arena, 1, sizeof *node);
    node->type = type;
    node->line = (int)mark->line + 1;
    node->column = (int)mark->column + 1;
    *out = node;
    return QK_OK;
}

qk_yaml *qk_yaml_get(const qk_yaml *map, const char *key)
{
    if (!map || map->type != QK_YAML_MAP) return NULL;
    size_t length = strlen(key);
    for (qk_yaml *m = map->first; m; m = m->next)
        if (m->key_length == length && !m->other_key && !memcmp(m->key, key, length)) return m;
    return NULL;
}

void qk_yaml_put(qk_yaml *map, const char *key, qk_yaml *value)
{
    value->key = key;
    value->key_length = strlen(key);
    for (qk_yaml **m = &map->first; *m; m = &(*m)->next) {
        if ((*m)->key_length != value->key_length || memcmp((*m)->key, key, value->key_length))
            continue;
        value->next = (*m)->next;
        if (map->last == *m) map->last = value;
        *m = value;
        return;
    }
    qk_yaml_append(map, value);
}

static qk_status take_key(builder *b, level *map, qk_yaml *key, const yaml_mark_t *mark)
{
    if (key->type != QK_YAML_STRING || memchr(key->text, 0, key->length))
        return fail_at(b, mark, "put it in quotes if it is meant to be a text",
                       "keys must be plain strings");
    if (map->node->count == QK_YAML_MAX_KEYS)
        return fail_at(b, mark, NULL, "too many keys in one map");
    if (qk_yaml_get(map->node, key->text)) {
        const char *path = ""; /* "capture.sampler.": the names of the open maps */
        for (int i = 1; i < b->depth; i++)
            if (b->stack[i].node->key)
                path = qk_arena_strf(b->arena, "%s%s.", path, b->stack[i].node->key);
        return qk_fail(b->err, QK_ERR_CONFIG, "keep one of them", "%s:%d:%d: '%s%s' is given twice",
                       b->name, key->line, key->column, path, key->text);
    }
    map->key = key;
    return QK_OK;
}

/* Hangs a complete scalar, or a list or map that just opened, into the innermost open one. */
static qk_status add_node(builder *b, qk_yaml *node, const yaml_mark_t *mark)
{
    if (b->depth == 0) {
        b->root = node;
        return QK_OK;
    }
    level *top = &b->stack[b->depth - 1];
    if (top->node->type == QK_YAML_MAP) {
        if (!top->key) return take_key(b, top, node, mark);
        node->key = top->key->text;
        node->key_length = top->key->length;
        node->key_line = top->key->line;
        node->key_column = top->key->column;
        top->key = NULL;
    }
    qk_yaml_append(top->node, node);
    return QK_OK;
}

static qk_status refuse_tag(builder *b, const yaml_mark_t *mark, const yaml_char_t *tag)
{
    if (!tag) return QK_OK;
    return fail_at(b, mark, "write the value without its tag", "tags (!name) are not supported");
}

static qk_status add_scalar(builder *b, const yaml_event_t *e)
{
    QK_TRY(refuse_tag(b, &e->start_mark, e->data.scalar.tag));
    qk_yaml *node;
    QK_TRY(new_node(b, &e->start_mark, QK_YAML_STRING, &node));
    node->length = e->data.scalar.length;
    node->text = qk_arena_strndup(b->arena, (const char *)e->data.scalar.value, node->length);
    node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!qk_yaml_resolve(node)) {
        bool merge = !strcmp(node->text, "<<");
        return fail_at(
            b, &e->start_mark,
            merge ? "write the keys out" : "put it in quotes if it is meant to be a text",
            merge ? "merge keys (<<) are not supported" : "this is no value in YAML 1.1");
    }
    if (e->data.scalar.anchor)
        qk_yaml_bind(&b->anchors, b->arena, (const char *)e->data.scalar.anchor, node);
    return add_node(b, node, &e->start_mark);
}

static qk_status open_level(builder *b, const yaml_event_t *e, bool map)
{
    const yaml_char_t *tag = map ? e->data.mapping_start.tag : e->data.sequence_start.tag;
    const char *name =
        (const char *)(map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor);
    QK_TRY(refuse_tag(b, &e->start_mark, tag));
    if (b->depth == QK_YAML_MAX_DEPTH)
        return fail_at(b, &e->start_mark, NULL, "lists and maps are nested too deep");
    qk_yaml *node;
    QK_TRY(new_node(b, &e->start_mark, map ? QK_YAML_MAP : QK_YAML_LIST, &node));
    QK_TRY(add_node(b, node, &e->start_mark));
    b->stack[b->depth++] = (level){.node = node};
    if (name) b->stack[b->depth - 1].anchor = qk_arena_strndup(b->arena, name, strlen(name));
    return QK_OK;
}

/* A deep copy, with the alias's position for messages. */
static qk_status copy(builder *b, const yaml_mark_t *mark, const qk_yaml *from, qk_yaml **out)
{
    qk_yaml *node;
    QK_TRY(new_node(b, mark, from->type, &node));
    int line = node->line, column = node->column;
    *node = *from;
    node->line = line, node->column = column;
    node->first = node->last = node->next = NULL;
    node->count = 0;
    for (const qk_yaml *child = from->first; child; child = child->next) {
        qk_yaml *twin;
        QK_TRY(copy(b, mark, child, &twin));
        qk_yaml_append(node, twin);
    }
    *out = node;
    return QK_OK;
}

static size_t height(const qk_yaml *node)
{
    size_t below = 0;
    for (const qk_yaml *child = node->first; child; child = child->next) {
        size_t h = height(child);
        if (h > below) below = h;
    }
    return below + 1;
}

static qk_status add_alias(builder *b, const yaml_event_t *e)
{
    size_t passed;
    const qk_yaml *found = qk_yaml_bound(&b->anchors, (const char *)e->data.alias.anchor, &passed);
    if (!found) return fail_at(b, &e->start_mark, NULL, "this alias has no anchor before it");
    if ((size_t)b->depth + height(found) > QK_YAML_MAX_DEPTH)
        return fail_at(b, &e->start_mark, NULL, "lists and maps are nested too deep");
    qk_yaml *node;
    QK_TRY(copy(b, &e->start_mark, found, &node));
    node->key = NULL;
    node->key_length = 0;
    return add_node(b, node, &e->start_mark);
}

static qk_status add_event(void *context, const yaml_event_t *e)
{
    builder *b = context;
    const level *closed;
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->documents == 1) return QK_OK;
        return fail_at(b, &e->start_mark, "keep one, without the line ---",
                       "more than one document");
    case YAML_SCALAR_EVENT: return add_scalar(b, e);
    case YAML_ALIAS_EVENT: return add_alias(b, e);
    case YAML_SEQUENCE_START_EVENT: return open_level(b, e, false);
    case YAML_MAPPING_START_EVENT: return open_level(b, e, true);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        closed = &b->stack[--b->depth];
        if (closed->anchor) qk_yaml_bind(&b->anchors, b->arena, closed->anchor, closed->node);
        return QK_OK;
    default: return QK_OK;
    }
}

qk_status qk_yaml_parse(qk_arena *arena, const char *text, size_t size, const char *name,
                        qk_yaml **out, qk_error *err)
{
    *out = NULL;
    if (size > QK_YAML_MAX_BYTES)
        return qk_fail(err, QK_ERR_CONFIG, NULL, "%s: %zu bytes are too many for a configuration",
                       name, size);
    builder b = {.arena = arena, .name = name, .err = err};
    QK_TRY(qk_yaml_events(text, size, name, add_event, &b, err));
    *out = b.root;
    return QK_OK;
}
