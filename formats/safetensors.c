/* One safetensors file: parsing and validation of its header, and writing. See safetensors.h. */
#include "formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "formats/mistaken.h"
#include "formats/safetensors_file.h"

/* The format's own limit on the header. */
enum { MAX_HEADER = 100 * 1000 * 1000 };

static const struct {
    const char *name;
    size_t bits;
} dtypes[] = {
    {"BOOL", 8},        {"U8", 8},      {"I8", 8},      {"F4", 4},      {"F6_E2M3", 6},
    {"F6_E3M2", 6},     {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},    {"F32", 32},    {"F64", 64},    {"I64", 64},
    {"U64", 64},        {"C64", 64},
};

size_t qk_st_dtype_bits(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(dtypes[i].name, name)) return dtypes[i].bits;
    return 0;
}

bool qk_st_float_dtype(const qk_st_tensor *t, qk_dtype *out)
{
    if (!strcmp(t->dtype, "F32")) return *out = QK_F32, true;
    if (!strcmp(t->dtype, "F16")) return *out = QK_F16, true;
    if (!strcmp(t->dtype, "BF16")) return *out = QK_BF16, true;
    return false;
}

bool qk_st_is_quantised(const qk_st_tensor *t)
{
    size_t bits = qk_st_dtype_bits(t->dtype);
    return (bits <= 8 && strcmp(t->dtype, "BOOL") != 0) || !strcmp(t->dtype, "I32") ||
           !strcmp(t->dtype, "U32"); /* several packed into each */
}

const char *qk_st_shape_text(qk_arena *arena, const size_t *shape, int n_dims)
{
    const char *text = "[";
    for (int i = 0; i < n_dims; i++)
        text = qk_arena_strf(arena, "%s%s%zu", text, i ? ", " : "", shape[i]);
    return qk_arena_strf(arena, "%s]", text);
}

/* One tensor while its file is read. */
typedef struct entry {
    qk_st_tensor tensor;
    size_t begin, end;
} entry;

typedef struct header_reader {
    const char *path;
    qk_arena *arena;
    qk_error *err;
    size_t data_size; /* bytes behind the header */
} header_reader;

__attribute__((format(printf, 3, 4))) static qk_status bad(const header_reader *h, const char *name,
                                                           const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char what[256];
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return qk_fail(h->err, QK_ERR_FORMAT, "the file is damaged: download it again",
                   "%s: tensor '%.200s' %s", h->path, name, what);
}

static qk_status read_shape(const header_reader *h, const qk_json *shape, entry *e)
{
    const char *name = e->tensor.name;
    if (!shape) return bad(h, name, "has no shape");
    if (shape->type != QK_JSON_T_ARRAY) return bad(h, name, "has a shape that is not a list");
    if (shape->count > QK_MAX_DIMS) return bad(h, name, "has %zu dimensions", shape->count);
    for (const qk_json *d = shape->first; d; d = d->next) {
        if (d->type != QK_JSON_T_NUMBER || !d->is_integer)
            return bad(h, name, "has dimensions that are not integers in range");
        if (d->integer < 0) return bad(h, name, "has a negative dimension");
        e->tensor.shape[e->tensor.n_dims++] = (size_t)d->integer;
    }
    return QK_OK;
}

static qk_status read_offsets(const header_reader *h, const qk_json *offsets, entry *e)
{
    const char *name = e->tensor.name;
    if (!offsets) return bad(h, name, "has no data_offsets");
    if (offsets->type != QK_JSON_T_ARRAY || offsets->count != 2)
        return bad(h, name, "needs two numbers as data_offsets");
    const qk_json *a = offsets->first, *b = a->next;
    if (a->type != QK_JSON_T_NUMBER || b->type != QK_JSON_T_NUMBER ||
        !strpbrk(a->text, "0123456789") || strpbrk(a->text, ".eE") || strpbrk(b->text, ".eE"))
        return bad(h, name, "has data_offsets that are not integers");
    if (a->number < 0 || b->number < 0) return bad(h, name, "has a negative offset");
    if (!a->is_integer || !b->is_integer || (uint64_t)b->integer > h->data_size ||
        (uint64_t)a->integer > h->data_size)
        return bad(h, name, "ends past the file");
    if (a->integer > b->integer) return bad(h, name, "ends before it begins");
    e->begin = (size_t)a->integer;
    e->end = (size_t)b->integer;
    return QK_OK;
}

static qk_status read_entry(const header_reader *h, const qk_json *v, entry *e)
{
    *e = (entry){.tensor = {.name = v->key, .file = h->path}};
    const char *name = v->key;
    if (v->type != QK_JSON_T_OBJECT) return bad(h, name, "is not an object");
    const qk_json *dtype = qk_json_get(v, "dtype");
    if (!dtype) return bad(h, name, "has no dtype");
    if (dtype->type != QK_JSON_T_STRING) return bad(h, name, "has a dtype that is not a string");
    size_t bits = qk_st_dtype_bits(dtype->text);
    if (!bits)
        return qk_fail(h->err, QK_ERR_UNSUPPORTED,
                       "the file is of a newer kind than this program, or it is damaged",
                       "%s: tensor '%.200s' has the unknown dtype '%.40s'", h->path, name,
                       dtype->text);
    e->tensor.dtype = dtype->text;
    QK_TRY(read_shape(h, qk_json_get(v, "shape"), e));
    QK_TRY(read_offsets(h, qk_json_get(v, "data_offsets"), e));

    size_t bytes = bits;
    for (int i = 0; i < e->tensor.n_dims; i++)
        if (!qk_mul(bytes, e->tensor.shape[i], &bytes))
            return bad(h, name, "has a shape that overflows");
    if (bytes % 8) return bad(h, name, "ends within a byte");
    bytes /= 8;
    if (bytes != e->end - e->begin)
        return bad(h, name, "needs %zu bytes and has %zu", bytes, e->end - e->begin);
    e->tensor.bytes = bytes;
    return QK_OK;
}

static int by_offset(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Tensors must cover the data from end to end. */
static qk_status check_cover(const header_reader *h, entry *entries, size_t n)
{
    if (n) qsort(entries, n, sizeof *entries, by_offset);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (entries[i].begin < at)
            return bad(h, entries[i].tensor.name, "and tensor '%.100s' overlap",
                       entries[i - 1].tensor.name);
        if (entries[i].begin > at)
            return bad(h, entries[i].tensor.name, "has a gap of %zu bytes before it",
                       entries[i].begin - at);
        at = entries[i].end;
    }
    if (at == h->data_size) return QK_OK;
    return qk_fail(h->err, QK_ERR_FORMAT, "the file is damaged: download it again",
                   "%s: %zu bytes at its end belong to no tensor", h->path, h->data_size - at);
}

static qk_status check_metadata(const header_reader *h, const qk_json *m)
{
    if (m->type != QK_JSON_T_OBJECT)
        return qk_fail(h->err, QK_ERR_FORMAT, NULL, "%s: __metadata__ is not an object", h->path);
    for (const qk_json *v = m->first; v; v = v->next)
        if (v->type != QK_JSON_T_STRING)
            return qk_fail(h->err, QK_ERR_FORMAT, NULL, "%s: __metadata__ '%.100s' is not a string",
                           h->path, v->key);
    return QK_OK;
}

static qk_status find_header(const qk_input *in, size_t *length, qk_error *err)
{
    uint8_t head[QK_POINTER_BYTES];
    const char *path = in->path;
    size_t size = (size_t)in->state.size, have = size < sizeof head ? size : sizeof head;
    QK_TRY(qk_input_read(in, 0, head, have, err));
    QK_TRY(qk_refuse_stand_in(head, have, path, err));
    if (size < 8)
        return qk_fail(err, QK_ERR_FORMAT, "download it again", "%s: file of %zu bytes: too short",
                       path, size);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | head[i];
    if (n > size - 8)
        return qk_fail(err, QK_ERR_FORMAT, "the file is cut off or no safetensors file",
                       "%s: the header length (%llu bytes) runs past the file (%zu bytes)", path,
                       (unsigned long long)n, size);
    if (n == 0) return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the header is empty", path);
    if (n > MAX_HEADER)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: a header of %llu bytes is over the limit",
                       path, (unsigned long long)n);
    *length = (size_t)n;
    return QK_OK;
}

static qk_status read_header(header_reader *h, const char *text, size_t length, qk_st_list *out)
{
    const qk_json *root;
    if (qk_json_parse(h->arena, text, length, h->path, &root, h->err) != QK_OK)
        return qk_error_prefix(h->err, "safetensors header");
    if (root->type != QK_JSON_T_OBJECT)
        return qk_fail(h->err, QK_ERR_FORMAT, NULL, "%s: the header is not a JSON object", h->path);
    entry *entries = qk_alloc(root->count, sizeof *entries);
    size_t n = 0;
    qk_status s = QK_OK;
    for (const qk_json *v = root->first; v && s == QK_OK; v = v->next)
        s = strcmp(v->key, "__metadata__") ? read_entry(h, v, &entries[n++]) : check_metadata(h, v);
    if (s == QK_OK) s = check_cover(h, entries, n);
    for (size_t i = 0; i < n && s == QK_OK; i++) {
        entries[i].tensor.offset = 8 + length + entries[i].begin;
        QK_GROW(out->items, out->count, out->capacity);
        out->items[out->count++] = entries[i].tensor;
    }
    free(entries);
    return s;
}

qk_status qk_st_read_file(const qk_input *in, qk_arena *arena, qk_st_list *out, qk_error *err)
{
    size_t length = 0;
    void *text;
    QK_TRY(find_header(in, &length, err));
    QK_TRY(qk_try_alloc(&text, length, 1, "the header of a safetensors file", err));
    header_reader h = {.path = in->path,
                       .arena = arena,
                       .err = err,
                       .data_size = (size_t)in->state.size - 8 - length};
    qk_status s = qk_input_read(in, 8, text, length, err);
    if (s == QK_OK) s = read_header(&h, text, length, out);
    free(text);
    return s;
}
