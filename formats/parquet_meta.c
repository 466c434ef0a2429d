/* The footer: schema, row groups, metadata. See parquet_read.h.
 *
 * Numbers in the comments are field ids of parquet.thrift. */
#include <stdlib.h>
#include <string.h>

#include "formats/parquet_read.h"
#include "formats/thrift_read.h"

enum { MOST_LEAVES = 100000, MOST_SCHEMA_DEPTH = 32 };

typedef struct element {
    const char *name;
    int type, length, repetition, children, converted;
    qk_pq_meaning meaning;
    bool is_unsigned;
    const char *other;
} element;

typedef struct footer {
    qk_pq_file *f;
    qk_thrift_in in;
    element *elements;
    size_t n_elements;
    const char *wrong; /* what does not fit, when it is not the thrift itself */
} footer;

static const char *text(footer *r, int type)
{
    size_t n;
    const uint8_t *p = qk_thrift_binary(&r->in, type, &n);
    return qk_arena_strndup(&r->f->arena, (const char *)p, n);
}

/* ---- schema ---- */

/* A union member is a struct; which one is set is what matters, and INTEGER's sign. */
static void read_logical(footer *r, element *e)
{
    static const char *const names[] = {NULL,   "string", "map",       "list",   "enum", "decimal",
                                        "date", "time",   "timestamp", NULL,     "int",  "null",
                                        "json", "bson",   "uuid",      "float16"};
    int last = 0, id, type, inner_last, inner_id, inner_type;
    while (qk_thrift_field(&r->in, &last, &id, &type)) {
        if (!qk_thrift_is_struct(&r->in, type)) return;
        e->meaning = id == 1 ? QK_PQ_M_STRING : id == 10 ? QK_PQ_M_INT : QK_PQ_M_OTHER;
        e->other = id > 0 && id < 16 && names[id] ? names[id] : "unknown";
        inner_last = 0;
        while (qk_thrift_field(&r->in, &inner_last, &inner_id, &inner_type)) {
            if (id == 10 && inner_id == 2)
                e->is_unsigned = !qk_thrift_int(&r->in, inner_type);
            else
                qk_thrift_skip(&r->in, inner_type);
        }
    }
}

static void apply_converted(element *e)
{
    if (e->meaning != QK_PQ_M_NONE || e->converted < 0) return;
    if (e->converted == 0) {
        e->meaning = QK_PQ_M_STRING;
    } else if (e->converted >= 11 && e->converted <= 18) { /* UINT_8 .. UINT_64, INT_8 .. INT_64 */
        e->meaning = QK_PQ_M_INT;
        e->is_unsigned = e->converted <= 14;
    } else if (e->converted > 3) {
        e->meaning = QK_PQ_M_OTHER;
        e->other = "converted";
    }
}

static void read_element(footer *r, element *e)
{
    *e = (element){.name = "", .type = -1, .converted = -1};
    int last = 0, id, type;
    while (qk_thrift_field(&r->in, &last, &id, &type)) {
        switch (id) {
        case 1: e->type = (int)qk_thrift_int(&r->in, type); break;
        case 2: e->length = (int)qk_thrift_int(&r->in, type); break;
        case 3: e->repetition = (int)qk_thrift_int(&r->in, type); break;
        case 4: e->name = text(r, type); break;
        case 5: e->children = (int)qk_thrift_int(&r->in, type); break;
        case 6: e->converted = (int)qk_thrift_int(&r->in, type); break;
        case 10:
            if (qk_thrift_is_struct(&r->in, type)) read_logical(r, e);
            break;
        default: qk_thrift_skip(&r->in, type);
        }
    }
    apply_converted(e);
}

static void read_schema(footer *r, int type)
{
    int item;
    size_t n = qk_thrift_count(&r->in, type, &item);
    r->elements = qk_arena_alloc(&r->f->arena, n, sizeof *r->elements);
    r->n_elements = n;
    for (size_t i = 0; i < n && !r->in.failed; i++)
        if (qk_thrift_is_struct(&r->in, item)) read_element(r, &r->elements[i]);
}

static void add_leaf(footer *r, const element *e, const char *path, const char *top, int def,
                     int rep)
{
    qk_pq_file *f = r->f;
    if (f->n_leaves == MOST_LEAVES || e->type < 0 || e->type > QK_PQ_T_FIXED ||
        (e->type == QK_PQ_T_FIXED && (e->length < 1 || e->length > 1 << 20))) {
        r->wrong = "a column of an unknown type";
        return;
    }
    f->leaves[f->n_leaves++] = (qk_pq_leaf){
        .path = path,
        .top = top,
        .type = (qk_pq_type)e->type,
        .meaning = e->meaning,
        .is_unsigned = e->is_unsigned,
        .other = e->other,
        .max_def = def,
        .max_rep = rep,
        .fixed_length = e->length,
    };
}

/* Children of one group; *at is the next element of the depth-first list. */
static void walk(footer *r, size_t *at, int children, const char *prefix, const char *top, int def,
                 int rep, int depth)
{
    if (depth > MOST_SCHEMA_DEPTH) r->wrong = "a schema nested too deeply";
    for (int i = 0; i < children && !r->wrong; i++) {
        if (*at >= r->n_elements) {
            r->wrong = "a schema that names more children than it has";
            return;
        }
        const element *e = &r->elements[(*at)++];
        if (e->repetition < 0 || e->repetition > 2 || e->children < 0) {
            r->wrong = "a schema element that makes no sense";
            return;
        }
        const char *path =
            *prefix ? qk_arena_strf(&r->f->arena, "%s.%s", prefix, e->name) : e->name;
        int d = def + (e->repetition != 0), p = rep + (e->repetition == 2);
        if (e->children)
            walk(r, at, e->children, path, top ? top : e->name, d, p, depth + 1);
        else
            add_leaf(r, e, path, top ? top : e->name, d, p);
    }
}

static void build_leaves(footer *r)
{
    if (!r->n_elements || r->elements[0].children < 0) {
        r->wrong = "no schema";
        return;
    }
    r->f->leaves = qk_arena_alloc(&r->f->arena, r->n_elements, sizeof *r->f->leaves);
    size_t at = 1;
    walk(r, &at, r->elements[0].children, "", NULL, 0, 0, 0);
    if (!r->wrong && at != r->n_elements) r->wrong = "schema elements that belong to nobody";
}

/* ---- row groups ---- */

static void read_nulls(footer *r, qk_pq_chunk *c)
{
    int last = 0, id, type;
    while (qk_thrift_field(&r->in, &last, &id, &type)) {
        if (id == 3)
            c->nulls = qk_thrift_int(&r->in, type);
        else
            qk_thrift_skip(&r->in, type);
    }
}

static void read_encodings(footer *r, qk_pq_chunk *c, int type)
{
    int item;
    size_t n = qk_thrift_count(&r->in, type, &item);
    for (size_t i = 0; i < n && !r->in.failed; i++) {
        int64_t e = qk_thrift_int(&r->in, item);
        if (e >= 0 && e < 32) c->encodings |= 1u << e;
    }
}

static void read_chunk_metadata(footer *r, qk_pq_chunk *c)
{
    int last = 0, id, type;
    while (qk_thrift_field(&r->in, &last, &id, &type)) {
        switch (id) {
        case 2: read_encodings(r, c, type); break;
        case 4: c->codec = (int)qk_thrift_int(&r->in, type); break;
        case 5: c->values = qk_thrift_int(&r->in, type); break;
        case 6: c->uncompressed = qk_thrift_int(&r->in, type); break;
        case 7: c->compressed = qk_thrift_int(&r->in, type); break;
        case 9: c->data_offset = qk_thrift_int(&r->in, type); break;
        case 11: c->dictionary_offset = qk_thrift_int(&r->in, type); break;
        case 12:
            if (qk_thrift_is_struct(&r->in, type)) read_nulls(r, c);
            break;
        default: qk_thrift_skip(&r->in, type);
        }
    }
}

static void read_chunk(footer *r, qk_pq_chunk *c)
{
    *c = (qk_pq_chunk){.nulls = -1};
    int last = 0, id, type;
    while (qk_thrift_field(&r->in, &last, &id, &type)) {
        if (id == 3 && qk_thrift_is_struct(&r->in, type))
            read_chunk_metadata(r, c);
        else if (id == 1)
            r->wrong = "column data in another file";
        else
            qk_thrift_skip(&r->in, type);
    }
}

static void read_chunks(footer *r, qk_pq_group *g, int type)
{
    int item;
    size_t n = qk_thrift_count(&r->in, type, &item);
    if (n != r->f->n_leaves) {
        r->wrong = "a row group with another number of columns than the schema";
        r->in.failed = true;
        return;
    }
    g->chunks = qk_arena_alloc(&r->f->arena, n, sizeof *g->chunks);
    for (size_t i = 0; i < n && !r->in.failed; i++)
        if (qk_thrift_is_struct(&r->in, item)) read_chunk(r, &g->chunks[i]);
}

static void read_group(footer *r, qk_pq_group *g)
{
    *g = (qk_pq_group){.rows = -1};
    int last = 0, id, type;
    while (qk_thrift_field(&r->in, &last, &id, &type)) {
        if (id == 1)
            read_chunks(r, g, type);
        else if (id == 3)
            g->rows = qk_thrift_int(&r->in, type);
        else
            qk_thrift_skip(&r->in, type);
    }
    if (!r->wrong && (g->rows < 0 || !g->chunks)) r->wrong = "a row group without rows or columns";
}

static void read_groups(footer *r, int type)
{
    int item;
    size_t n = qk_thrift_count(&r->in, type, &item);
    build_leaves(r);
    r->f->groups = qk_arena_alloc(&r->f->arena, n, sizeof *r->f->groups);
    for (size_t i = 0; i < n && !r->in.failed && !r->wrong; i++) {
        if (!qk_thrift_is_struct(&r->in, item)) return;
        read_group(r, &r->f->groups[r->f->n_groups++]);
    }
}

static void read_metadata(footer *r, int type)
{
    int item;
    size_t n = qk_thrift_count(&r->in, type, &item);
    r->f->metadata = qk_arena_alloc(&r->f->arena, n, sizeof *r->f->metadata);
    for (size_t i = 0; i < n && !r->in.failed; i++) {
        if (!qk_thrift_is_struct(&r->in, item)) return;
        struct qk_pq_pair *p = &r->f->metadata[r->f->n_metadata++];
        p->key = p->value = "";
        int last = 0, id, inner;
        while (qk_thrift_field(&r->in, &last, &id, &inner)) {
            if (id == 1)
                p->key = text(r, inner);
            else if (id == 2)
                p->value = text(r, inner);
            else
                qk_thrift_skip(&r->in, inner);
        }
    }
}

static void read_footer(footer *r)
{
    int last = 0, id, type;
    while (!r->wrong && qk_thrift_field(&r->in, &last, &id, &type)) {
        switch (id) {
        case 2: read_schema(r, type); break;
        case 3: r->f->rows = qk_thrift_int(&r->in, type); break;
        case 4: read_groups(r, type); break;
        case 5: read_metadata(r, type); break;
        case 6: r->f->created_by = text(r, type); break;
        default: qk_thrift_skip(&r->in, type);
        }
    }
    int64_t rows = 0;
    for (size_t i = 0; i < r->f->n_groups && !r->wrong; i++)
        if (__builtin_add_overflow(rows, r->f->groups[i].rows, &rows)) r->wrong = "too many rows";
    if (!r->wrong && !r->in.failed && (!r->f->leaves || rows != r->f->rows))
        r->wrong = "row groups that do not add up to the rows of the file";
}

static qk_status parse(qk_pq_file *f, qk_error *err)
{
    const uint8_t *data = f->map.data;
    size_t size = f->map.size;
    if (size < 12 || memcmp(data, "PAR1", 4))
        return qk_fail(err, QK_ERR_FORMAT, "is it a Parquet file?",
                       "%s: %zu bytes that do not begin with PAR1", f->path, size);
    if (memcmp(data + size - 4, "PAR1", 4))
        return qk_fail(err, QK_ERR_FORMAT, "the file is cut off: copy or download it again",
                       "%s: does not end with PAR1", f->path);
    uint32_t length;
    memcpy(&length, data + size - 8, 4);
    if (length > size - 12)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: a footer of %u bytes in a file of %zu",
                       f->path, length, size);
    footer r = {.f = f, .in = {data + size - 8 - length, data + size - 8, 0, false}};
    read_footer(&r);
    if (r.wrong || r.in.failed)
        return qk_fail(err, QK_ERR_FORMAT, "the file is damaged: copy or download it again",
                       "%s: footer: %s (byte %zu)", f->path,
                       r.wrong ? r.wrong : "not what the format says", (size_t)(r.in.at - data));
    return QK_OK;
}

qk_status qk_pq_open(qk_pq_file **out, const char *path, qk_error *err)
{
    *out = NULL;
    qk_pq_file *f = qk_zalloc(1, sizeof *f);
    f->path = qk_arena_strndup(&f->arena, path, strlen(path));
    qk_status s = qk_map_open(&f->map, path, err);
    if (s == QK_OK) s = parse(f, err);
    if (s == QK_OK)
        *out = f;
    else
        qk_pq_close(f);
    return s;
}

void qk_pq_close(qk_pq_file *f)
{
    if (!f) return;
    qk_map_close(&f->map);
    qk_arena_free(&f->arena);
    free(f);
}

int qk_pq_find(const qk_pq_file *f, const char *name)
{
    int top = -1, nested = -1;
    for (size_t i = 0; i < f->n_leaves; i++) {
        const qk_pq_leaf *l = &f->leaves[i];
        if (l->path == l->top && !strcmp(l->top, name))
            top = top == -1 ? (int)i : -2;
        else if (nested < 0 && !strcmp(l->path, name))
            nested = (int)i;
    }
    return top == -1 ? nested : top;
}

const char *qk_pq_metadata(const qk_pq_file *f, const char *key)
{
    for (size_t i = 0; i < f->n_metadata; i++)
        if (!strcmp(f->metadata[i].key, key)) return f->metadata[i].value;
    return NULL;
}

const char *qk_pq_type_name(qk_pq_type type)
{
    static const char *const names[] = {"boolean", "int32",  "int64", "int96",
                                        "float",   "double", "bytes", "fixed bytes"};
    return names[type];
}

const char *qk_pq_codec_name(int codec)
{
    static const char *const names[] = {"none",   "snappy", "gzip", "lzo",
                                        "brotli", "lz4",    "zstd", "lz4_raw"};
    return codec >= 0 && codec < 8 ? names[codec] : "unknown";
}

const char *qk_pq_encoding_name(int encoding)
{
    static const char *const names[] = {"PLAIN",
                                        NULL,
                                        "PLAIN_DICTIONARY",
                                        "RLE",
                                        "BIT_PACKED",
                                        "DELTA_BINARY_PACKED",
                                        "DELTA_LENGTH_BYTE_ARRAY",
                                        "DELTA_BYTE_ARRAY",
                                        "RLE_DICTIONARY",
                                        "BYTE_STREAM_SPLIT"};
    return encoding >= 0 && encoding < 10 ? names[encoding] : NULL;
}
