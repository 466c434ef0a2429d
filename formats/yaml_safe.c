/* libyaml's events -> a tree, for text that somebody else wrote. See yaml.h and yaml_events.h.
 *
 * An alias is a new node that shares its children with what it stands for, so that nothing grows by
 * aliases; members that a merge key brings in are copies, and these are counted. So is what takes
 * time without a new node: a few lines can ask for the same list, name or key again and again. */
#include <stdlib.h>
#include <string.h>

#include "formats/yaml_events.h"

enum { MAX_DEPTH = 256, MAX_NODES = 1000000, MAX_ANCHORS = 10000 };
/* Bytes of a key that is compared, anchors that an alias passes, and children that are shared, which
 * count as one value. */
enum { KEY_BYTES = 64, PASSED = 16, SHARED = 16 };

#define CORE_TAG "tag:yaml.org,2002:"

/* A list or map that is still open. */
typedef struct level {
    qk_yaml *node;
    bool is_map;
    qk_yaml *key; /* the key that waits for its value, or NULL */
    bool merges;  /* some key is << */
} level;

typedef struct builder {
    qk_arena *arena;
    const char *name;
    qk_error *err;
    level stack[MAX_DEPTH];
    int depth, documents;
    size_t nodes, n_anchors;
    qk_yaml_anchors anchors; /* of nodes that are perhaps still open */
    qk_yaml *root;
} builder;

static qk_status fail_at(const builder *b, int line, int column, const char *what)
{
    return qk_fail(b->err, QK_ERR_CONFIG, NULL, "%s:%d:%d: %s", b->name, line, column, what);
}

static qk_status charge(builder *b, int line, int column, size_t values)
{
    b->nodes += values;
    if (b->nodes <= MAX_NODES) return QK_OK;
    return fail_at(b, line, column, "too many values, counting what merge keys bring in");
}

static qk_status new_node(builder *b, int line, int column, qk_yaml_type type, qk_yaml **out)
{
    QK_TRY(charge(b, line, column, 1));
    *out = qk_arena_alloc(b->arena, 1, sizeof **out);
    **out = (qk_yaml){.type = type, .line = line, .column = column};
    return QK_OK;
}

static qk_status new_node_at(builder *b, const yaml_mark_t *at, qk_yaml_type type, qk_yaml **out)
{
    return new_node(b, (int)at->line + 1, (int)at->column + 1, type, out);
}

/* ---- anchors ---- */

static qk_status bind_anchor(builder *b, const yaml_char_t *name, qk_yaml *node)
{
    if (!name) return QK_OK;
    if (++b->n_anchors > MAX_ANCHORS)
        return fail_at(b, node->line, node->column, "too many anchors");
    qk_yaml_bind(&b->anchors, b->arena, (const char *)name, node);
    return QK_OK;
}

static bool is_open(const builder *b, const qk_yaml *node)
{
    for (int i = 0; i < b->depth; i++)
        if (b->stack[i].node == node) return true;
    return false;
}

/* ---- scalars ---- */

/* The part behind tag:yaml.org,2002: ; "" for a tag of another kind, NULL for none. */
static const char *core_tag(const yaml_char_t *tag)
{
    size_t n = strlen(CORE_TAG);
    if (!tag || !strcmp((const char *)tag, "!")) return NULL;
    return strncmp((const char *)tag, CORE_TAG, n) ? "" : (const char *)tag + n;
}

/* As a tag wants it, quotes or not. */
static void give_tagged_type(qk_yaml *v, const char *tag)
{
    static const struct {
        const char *name;
        qk_yaml_type type;
    } tags[] = {{"int", QK_YAML_INT},
                {"float", QK_YAML_FLOAT},
                {"bool", QK_YAML_BOOL},
                {"timestamp", QK_YAML_DATE}};
    v->plain = true;
    bool fine = qk_yaml_resolve(v), known = false;
    if (!strcmp(tag, "float") && v->type == QK_YAML_INT) v->type = QK_YAML_FLOAT;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        known |= !strcmp(tag, tags[i].name) && v->type == tags[i].type;
    if (!fine || !known) v->type = QK_YAML_OTHER;
    if (!strcmp(tag, "str")) v->type = QK_YAML_STRING;
    if (!strcmp(tag, "null")) v->type = QK_YAML_NULL;
    v->plain = false;
}

static qk_status add_node(builder *b, qk_yaml *node);

static qk_status add_scalar(builder *b, const yaml_event_t *e)
{
    qk_yaml *v;
    QK_TRY(new_node_at(b, &e->start_mark, QK_YAML_STRING, &v));
    v->length = e->data.scalar.length;
    v->text = qk_arena_strndup(b->arena, (const char *)e->data.scalar.value, v->length);
    const char *tag = core_tag(e->data.scalar.tag);
    if (tag) {
        give_tagged_type(v, tag);
    } else {
        v->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !e->data.scalar.tag;
        if (!qk_yaml_resolve(v)) v->type = QK_YAML_OTHER;
    }
    QK_TRY(bind_anchor(b, e->data.scalar.anchor, v));
    return add_node(b, v);
}

/* ---- lists and maps ---- */

static bool is_merge(const qk_yaml *key)
{
    return key->type == QK_YAML_OTHER && key->plain && !strcmp(key->text, "<<");
}

/* Hangs a node, complete or just opened, into the innermost open list or map. */
static qk_status add_node(builder *b, qk_yaml *node)
{
    if (b->depth == 0) {
        b->root = node;
        return QK_OK;
    }
    level *top = &b->stack[b->depth - 1];
    if (top->is_map && !top->key) {
        top->key = node;
        return charge(b, node->line, node->column, node->length / KEY_BYTES);
    }
    if (top->is_map) {
        const qk_yaml *key = top->key;
        node->other_key = key->type != QK_YAML_STRING;
        node->key = node->other_key && !is_merge(key) ? "" : key->text;
        node->key_length = strlen(node->key);
        if (!node->other_key) node->key_length = key->length;
        node->key_line = key->line;
        node->key_column = key->column;
        top->merges |= is_merge(key);
        top->key = NULL;
    }
    qk_yaml_append(top->node, node);
    return QK_OK;
}

static qk_status open_level(builder *b, const yaml_event_t *e, bool is_map)
{
    const char *tag = core_tag(is_map ? e->data.mapping_start.tag : e->data.sequence_start.tag);
    const yaml_char_t *name = is_map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
    qk_yaml_type type = is_map ? QK_YAML_MAP : QK_YAML_LIST;
    if (tag && strcmp(tag, is_map ? "map" : "seq") != 0) type = QK_YAML_OTHER;
    qk_yaml *node;
    QK_TRY(new_node_at(b, &e->start_mark, type, &node));
    if (b->depth == MAX_DEPTH)
        return fail_at(b, node->line, node->column, "lists and maps are nested too deep");
    QK_TRY(bind_anchor(b, name, node));
    QK_TRY(add_node(b, node));
    b->stack[b->depth++] = (level){.node = node, .is_map = is_map};
    return QK_OK;
}

/* Members of a map that is being put together. */
typedef struct members {
    qk_yaml **items;
    size_t count, capacity;
} members;

static void add_member(members *m, qk_yaml *one)
{
    QK_GROW(m->items, m->count, m->capacity);
    m->items[m->count++] = one;
}

static qk_status merge_map(builder *b, members *out, const qk_yaml *map)
{
    QK_TRY(charge(b, map->line, map->column, 1)); /* an empty one, too */
    if (map->type != QK_YAML_MAP) return QK_OK;
    for (const qk_yaml *from = map->first; from; from = from->next) {
        qk_yaml *twin = NULL;
        size_t more = from->key_length / KEY_BYTES + from->count / SHARED;
        QK_TRY(charge(b, from->line, from->column, more));
        QK_TRY(new_node(b, from->line, from->column, from->type, &twin));
        *twin = *from;
        add_member(out, twin);
    }
    return QK_OK;
}

typedef struct keyed {
    const qk_yaml *member;
    size_t index;
} keyed;

static int compare_keys(const qk_yaml *x, const qk_yaml *y)
{
    if (x->key_length != y->key_length) return x->key_length < y->key_length ? -1 : 1;
    return memcmp(x->key, y->key, x->key_length);
}

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    int order = compare_keys(x->member, y->member);
    return order ? order : x->index < y->index ? -1 : 1;
}

static bool is_same(const qk_yaml *x, const qk_yaml *y)
{
    if (x->type != y->type) return false;
    if (x->type == QK_YAML_LIST || x->type == QK_YAML_MAP) return x->first == y->first;
    return x->length == y->length && (!x->length || !memcmp(x->text, y->text, x->length));
}

/* Of equal keys the last one's value stays, where the first one stood; others become NULL. Where
 * `must_agree`, one that has several values has none that can be used. */
static void keep_one_of_each(members *m, bool must_agree)
{
    keyed *order = qk_alloc(m->count + 1, sizeof *order);
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        if (!m->items[i]->other_key) order[n++] = (keyed){m->items[i], i};
    qsort(order, n, sizeof *order, by_key);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && !compare_keys(order[i].member, order[end].member); end++)
            m->items[order[i].index] = m->items[order[end].index];
        bool disagree = false;
        for (size_t k = i; must_agree && k + 1 < end; k++)
            disagree = disagree || !is_same(order[k].member, order[k + 1].member);
        if (disagree) { /* not even false, as an absent value is */
            m->items[order[i].index]->type = QK_YAML_OTHER;
            m->items[order[i].index]->count = 1;
        }
        for (size_t k = i + 1; k < end; k++) m->items[order[k].index] = NULL;
    }
    free(order);
}

/* Of a list of maps the first counts most: it comes last. PyYAML 6.0.4 has them the other way
 * round, so what two of them say differently cannot be used. */
static qk_status merge_value(builder *b, members *out, const qk_yaml *value)
{
    if (value->type != QK_YAML_LIST) return merge_map(b, out, value);
    members maps = {0}, all = {0};
    QK_TRY(charge(b, value->line, value->column, value->count));
    for (qk_yaml *one = value->first; one; one = one->next) add_member(&maps, one);
    qk_status s = QK_OK;
    while (maps.count && s == QK_OK) s = merge_map(b, &all, maps.items[--maps.count]);
    if (s == QK_OK && all.count) keep_one_of_each(&all, true);
    for (size_t i = 0; i < all.count && s == QK_OK; i++)
        if (all.items[i]) add_member(out, all.items[i]);
    free(maps.items);
    free(all.items);
    return s;
}

/* What Python's dict keeps of the members: those of merge keys first. */
static qk_status settle_map(builder *b, const level *top)
{
    qk_yaml *map = top->node;
    if (map->count < 2 && !top->merges) return QK_OK;
    members all = {0};
    qk_status s = QK_OK;
    for (qk_yaml *m = map->first; m && s == QK_OK; m = m->next)
        if (m->other_key && *m->key) s = merge_value(b, &all, m);
    for (qk_yaml *m = map->first; m && s == QK_OK; m = m->next)
        if (!m->other_key || !*m->key) add_member(&all, m);
    if (s == QK_OK && all.count) keep_one_of_each(&all, false);
    map->first = map->last = NULL;
    map->count = 0;
    for (size_t i = 0; i < all.count && s == QK_OK; i++)
        if (all.items[i]) qk_yaml_append(map, all.items[i]);
    free(all.items);
    return s;
}

static qk_status add_alias(builder *b, const yaml_event_t *e)
{
    size_t passed;
    const qk_yaml *found = qk_yaml_bound(&b->anchors, (const char *)e->data.alias.anchor, &passed);
    qk_yaml *node;
    QK_TRY(new_node_at(b, &e->start_mark, QK_YAML_OTHER, &node));
    QK_TRY(charge(b, node->line, node->column, passed / PASSED));
    if (!found) return fail_at(b, node->line, node->column, "this alias has no anchor before it");
    if (!is_open(b, found)) { /* a list that holds itself is no value that is used */
        int line = node->line, column = node->column;
        QK_TRY(charge(b, line, column, found->count / SHARED));
        *node = *found;
        node->line = line, node->column = column;
        node->key = NULL;
        node->key_length = 0;
        node->other_key = false;
    }
    return add_node(b, node);
}

static qk_status add_event(void *context, const yaml_event_t *e)
{
    builder *b = context;
    const level *closed;
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->documents == 1) return QK_OK;
        return fail_at(b, (int)e->start_mark.line + 1, (int)e->start_mark.column + 1,
                       "more than one document");
    case YAML_SCALAR_EVENT: return add_scalar(b, e);
    case YAML_ALIAS_EVENT: return add_alias(b, e);
    case YAML_SEQUENCE_START_EVENT: return open_level(b, e, false);
    case YAML_MAPPING_START_EVENT: return open_level(b, e, true);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        closed = &b->stack[--b->depth];
        return closed->is_map ? settle_map(b, closed) : QK_OK;
    default: return QK_OK;
    }
}

qk_status qk_yaml_parse_safe(qk_arena *arena, const char *text, size_t size, const char *name,
                             qk_yaml **out, qk_error *err)
{
    *out = NULL;
    if (size > QK_YAML_MAX_BYTES)
        return qk_fail(err, QK_ERR_CONFIG, NULL, "%s: %zu bytes of YAML are too many", name, size);
    builder *b = qk_zalloc(1, sizeof *b);
    *b = (builder){.arena = arena, .name = name, .err = err};
    qk_status s = qk_yaml_events(text, size, name, add_event, b, err);
    if (s == QK_OK) *out = b->root;
    free(b);
    return s;
}

bool qk_yaml_is_true(const qk_yaml *value)
{
    if (!value) return false;
    switch (value->type) {
    case QK_YAML_NULL: return false;
    case QK_YAML_BOOL: return value->boolean;
    case QK_YAML_INT: return !value->fits || value->integer != 0;
    case QK_YAML_FLOAT: return value->number != 0;
    case QK_YAML_LIST:
    case QK_YAML_MAP: return value->count != 0;
    default: return value->length != 0 || value->count != 0;
    }
}
