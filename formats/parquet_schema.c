/* The schema of a Parquet file: from its nodes to its columns. See parquet_meta.h. */
#include "formats/parquet_meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

enum { MAX_DEPTH = 64, REQUIRED = 0, OPTIONAL = 1, REPEATED = 2, INT96_BYTES = 12 };

static const size_t max_path_bytes = (size_t)64 << 20; /* of all columns together */

/* ---- nodes ---- */

/* union TimeUnit: field 1, 2 or 3 is the empty struct of milli-, micro- or nanoseconds. */
static int read_unit(qk_thrift_in *t)
{
    qk_thrift_field f = {0};
    int digits = 0;
    while (qk_thrift_next(t, &f)) {
        if (f.id >= 1 && f.id <= 3) digits = 3 * f.id;
        qk_thrift_skip(t, &f);
    }
    return digits;
}

static void read_time(qk_thrift_in *t, qk_pq_logical *l)
{
    qk_thrift_field f = {0};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: l->utc = qk_thrift_read_bool(t, &f, "isAdjustedToUTC"); break;
        case 2:
            if (qk_thrift_read_struct(t, &f, "a time unit")) l->unit = read_unit(t);
            break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_decimal(qk_thrift_in *t, qk_pq_logical *l)
{
    qk_thrift_field f = {0};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: l->scale = qk_thrift_read_i32(t, &f, "a decimal's scale"); break;
        case 2: l->precision = qk_thrift_read_i32(t, &f, "a decimal's precision"); break;
        default: qk_thrift_skip(t, &f);
        }
}

static void read_int(qk_thrift_in *t, qk_pq_logical *l)
{
    qk_thrift_field f = {0};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: l->bits = qk_thrift_read_byte(t, &f, "an integer's bitWidth"); break;
        case 2: l->is_signed = qk_thrift_read_bool(t, &f, "an integer's isSigned"); break;
        default: qk_thrift_skip(t, &f);
        }
}

/* union LogicalType. MAP (2) and LIST (3) belong to groups. */
static void read_logical(qk_thrift_in *t, qk_pq_logical *l)
{
    static const qk_pq_meaning kinds[] = {
        [1] = QK_PQ_M_STRING, [4] = QK_PQ_M_ENUM,  [5] = QK_PQ_M_DECIMAL,
        [6] = QK_PQ_M_DATE,   [7] = QK_PQ_M_TIME,  [8] = QK_PQ_M_TIMESTAMP,
        [10] = QK_PQ_M_INT,   [11] = QK_PQ_M_NULL, [12] = QK_PQ_M_JSON,
        [13] = QK_PQ_M_BSON,  [14] = QK_PQ_M_UUID, [15] = QK_PQ_M_FLOAT16};
    qk_thrift_field f = {0};
    *l = (qk_pq_logical){0};
    while (qk_thrift_next(t, &f)) {
        bool known = f.id >= 1 && (size_t)f.id < sizeof kinds / sizeof *kinds;
        if (!qk_thrift_optional(t, &f, QK_THRIFT_T_STRUCT)) continue;
        l->meaning = known ? kinds[f.id] : QK_PQ_M_OTHER;
        if (l->meaning == QK_PQ_M_NONE) l->meaning = QK_PQ_M_OTHER;
        switch (l->meaning) {
        case QK_PQ_M_DECIMAL: read_decimal(t, l); break;
        case QK_PQ_M_TIME:
        case QK_PQ_M_TIMESTAMP: read_time(t, l); break;
        case QK_PQ_M_INT: read_int(t, l); break;
        default: qk_thrift_skip(t, &f);
        }
    }
}

static const char *read_name(qk_thrift_in *t, const qk_thrift_field *f, qk_arena *arena)
{
    size_t n;
    const uint8_t *bytes = qk_thrift_read_binary(t, f, "a column's name", &n);
    if (n && memchr(bytes, 0, n)) qk_thrift_fail(t, "a column name holds a NUL byte");
    return qk_arena_strndup(arena, bytes ? (const char *)bytes : "", n);
}

static void read_optional(qk_thrift_in *t, const qk_thrift_field *f, int32_t *out)
{
    if (qk_thrift_optional(t, f, QK_THRIFT_T_I32))
        *out = qk_thrift_read_i32(t, f, "a node's field");
}

void qk_pq_node_read(qk_thrift_in *t, qk_pq_node *node, qk_arena *arena)
{
    qk_thrift_field f = {0};
    *node = (qk_pq_node){.type = -1, .converted = -1, .repetition = REQUIRED};
    while (qk_thrift_next(t, &f)) switch (f.id) {
        case 1: read_optional(t, &f, &node->type); break;
        case 2: read_optional(t, &f, &node->fixed_length); break;
        case 3: read_optional(t, &f, &node->repetition); break;
        case 4: node->name = read_name(t, &f, arena); break;
        case 5: read_optional(t, &f, &node->children); break;
        case 6: read_optional(t, &f, &node->converted); break;
        case 7: read_optional(t, &f, &node->scale); break;
        case 8: read_optional(t, &f, &node->precision); break;
        case 10:
            if (qk_thrift_optional(t, &f, QK_THRIFT_T_STRUCT)) read_logical(t, &node->logical);
            break;
        default: qk_thrift_skip(t, &f);
        }
    if (!node->name) qk_thrift_fail(t, "a column without a name");
}

/* What the older converted_type means. */
static qk_pq_logical from_converted(const qk_pq_node *node)
{
    int c = node->converted;
    if (c >= 11 && c <= 18)
        return (qk_pq_logical){
            .meaning = QK_PQ_M_INT, .bits = 8 << (c - 11) % 4, .is_signed = c >= 15};
    switch (c) {
    case 0: return (qk_pq_logical){.meaning = QK_PQ_M_STRING};
    case 4: return (qk_pq_logical){.meaning = QK_PQ_M_ENUM};
    case 5:
        return (qk_pq_logical){
            .meaning = QK_PQ_M_DECIMAL, .precision = node->precision, .scale = node->scale};
    case 6: return (qk_pq_logical){.meaning = QK_PQ_M_DATE};
    case 7:
    case 8: return (qk_pq_logical){.meaning = QK_PQ_M_TIME, .unit = c == 7 ? 3 : 6, .utc = true};
    case 9:
    case 10:
        return (qk_pq_logical){.meaning = QK_PQ_M_TIMESTAMP, .unit = c == 9 ? 3 : 6, .utc = true};
    case 19: return (qk_pq_logical){.meaning = QK_PQ_M_JSON};
    case 20: return (qk_pq_logical){.meaning = QK_PQ_M_BSON};
    case 21: return (qk_pq_logical){.meaning = QK_PQ_M_INTERVAL};
    default: return (qk_pq_logical){0};
    }
}

/* ---- leaves ---- */

/* A walk over the tree. */
typedef struct walk {
    qk_pq_file *file;
    const qk_pq_node *nodes;
    size_t n, at;
    size_t top;                  /* the child of the root that is walked */
    const char *path[MAX_DEPTH]; /* names from below the root to here */
    size_t path_bytes;           /* of all leaves so far */
    qk_error *err;
} walk;

typedef struct levels {
    int definition, repetition, list_def;
} levels;

static qk_status schema_fail(walk *w, const char *what, const char *name)
{
    return qk_fail(w->err, QK_ERR_FORMAT, NULL, "%s: schema: %s%s%s%s", w->file->path,
                   name ? "'" : "", name ? name : "", name ? "' " : "", what);
}

static qk_status check_node(walk *w, const qk_pq_node *node)
{
    size_t n = strlen(node->name);
    if (qk_utf8_check((const uint8_t *)node->name, n) != n)
        return schema_fail(w, "a column name is not UTF-8", NULL);
    if (node->children < 0) return schema_fail(w, "has a negative num_children", node->name);
    if (node->repetition < REQUIRED || node->repetition > REPEATED)
        return schema_fail(w, "has an unknown repetition_type", node->name);
    if (node->children || node->type == -1) return QK_OK;
    if (!qk_pq_type_name(node->type)) return schema_fail(w, "has an unknown type", node->name);
    if (node->type == QK_PQ_T_FIXED && node->fixed_length <= 0)
        return schema_fail(w, "needs a type_length above 0", node->name);
    return QK_OK;
}

static qk_status add_leaf(walk *w, const qk_pq_node *node, int depth, levels l)
{
    for (int i = 0; i < depth; i++) w->path_bytes += strlen(w->path[i]) + 1;
    if (w->path_bytes > max_path_bytes)
        return schema_fail(w, "the names of the columns are too long", NULL);
    int fixed = node->type == QK_PQ_T_FIXED   ? node->fixed_length
                : node->type == QK_PQ_T_INT96 ? INT96_BYTES
                                              : 0;
    qk_buf path = {0};
    for (int i = 0; i < depth; i++) qk_buf_addf(&path, "%s%s", i ? "." : "", w->path[i]);
    w->file->leaves[w->file->n_leaves++] = (qk_pq_leaf){
        .path = qk_arena_strndup(&w->file->arena, qk_buf_str(&path), path.size),
        .top = w->path[0],
        .is_top = depth == 1,
        .top_index = w->top,
        .type = (qk_pq_type)node->type,
        .fixed_length = fixed,
        .logical = node->logical.meaning ? node->logical : from_converted(node),
        .max_def = l.definition,
        .max_rep = l.repetition,
        .list_def = l.list_def,
    };
    qk_buf_free(&path);
    return QK_OK;
}

/* Takes the next node and everything below it. A node without a type is a group, which may have no
 * fields: it has no column then. */
static qk_status walk_node(walk *w, int depth, levels l)
{
    if (w->at == w->n) return schema_fail(w, "num_children runs past the end", NULL);
    if (depth == MAX_DEPTH) return schema_fail(w, "is nested too deep", w->nodes[w->at].name);
    const qk_pq_node *node = &w->nodes[w->at++];
    QK_TRY(check_node(w, node));
    w->path[depth] = node->name;
    l.definition += node->repetition != REQUIRED;
    l.repetition += node->repetition == REPEATED;
    if (node->repetition == REPEATED) l.list_def = l.definition;
    if (!node->children && node->type != -1) return add_leaf(w, node, depth + 1, l);
    for (int32_t i = 0; i < node->children; i++) QK_TRY(walk_node(w, depth + 1, l));
    return QK_OK;
}

qk_status qk_pq_schema_leaves(qk_pq_file *f, const qk_pq_node *nodes, size_t n, qk_error *err)
{
    walk w = {.file = f, .nodes = nodes, .n = n, .at = 1, .err = err};
    if (!n) return schema_fail(&w, "it is empty", NULL);
    if (nodes[0].children < 0) return schema_fail(&w, "a negative num_children", NULL);
    f->leaves = qk_arena_alloc(&f->arena, n, sizeof *f->leaves);
    f->n_top = (size_t)nodes[0].children;
    for (; w.top < f->n_top; w.top++) QK_TRY(walk_node(&w, 0, (levels){0}));
    if (w.at != n) return schema_fail(&w, "nodes are left over behind the root's children", NULL);
    return QK_OK;
}

/* ---- for people ---- */

const char *qk_pq_logical_name(const qk_pq_logical *l, char out[40])
{
    static const char *const names[] = {"",        "string", "enum",     "json",      "bson",
                                        "decimal", "date",   "time",     "timestamp", "int",
                                        "float16", "uuid",   "interval", "null",      "other"};
    const char *name = names[l->meaning];
    switch (l->meaning) {
    case QK_PQ_M_DECIMAL: snprintf(out, 40, "decimal(%d, %d)", l->precision, l->scale); break;
    case QK_PQ_M_TIME:
    case QK_PQ_M_TIMESTAMP:
        snprintf(out, 40, "%s[%s%s]", name,
                 l->unit == 3   ? "ms"
                 : l->unit == 6 ? "us"
                 : l->unit == 9 ? "ns"
                                : "?",
                 l->utc ? ", UTC" : "");
        break;
    case QK_PQ_M_INT: snprintf(out, 40, "%sint%d", l->is_signed ? "" : "u", l->bits); break;
    default: snprintf(out, 40, "%s", name);
    }
    return out;
}
