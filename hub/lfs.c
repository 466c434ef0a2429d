/* See lfs.h. */
#include "hub/lfs.h"

#include <stdlib.h>
#include <string.h>

static void add_object(qk_json_out *o, const qk_lfs_object *object)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "oid", object->oid);
    qk_json_add_int(o, "size", (int64_t)object->size);
    qk_json_end(o, '}');
}

void qk_lfs_batch_body(qk_buf *out, const qk_lfs_object *objects, size_t n, const char *branch)
{
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "operation", "upload");
    qk_json_begin(&o, "transfers", '[');
    qk_json_add_str(&o, NULL, "basic");
    qk_json_add_str(&o, NULL, "multipart");
    qk_json_end(&o, ']');
    qk_json_begin(&o, "objects", '[');
    for (size_t i = 0; i < n; i++) add_object(&o, &objects[i]);
    qk_json_end(&o, ']');
    qk_json_add_str(&o, "hash_algo", "sha256");
    qk_json_begin(&o, "ref", '{');
    qk_json_add_str(&o, "name", branch);
    qk_json_end(&o, '}');
    qk_json_end(&o, '}');
    *out = o.buf;
}

void qk_lfs_complete_body(qk_buf *out, const char *oid, char *const *etags, size_t n_parts)
{
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "oid", oid);
    qk_json_begin(&o, "parts", '[');
    for (size_t i = 0; i < n_parts; i++) {
        qk_json_begin(&o, NULL, '{');
        qk_json_add_int(&o, "partNumber", (int64_t)i + 1);
        qk_json_add_str(&o, "etag", etags[i]);
        qk_json_end(&o, '}');
    }
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    *out = o.buf;
}

void qk_lfs_verify_body(qk_buf *out, const char *oid, uint64_t size)
{
    qk_json_out o = {.compact = true};
    add_object(&o, &(qk_lfs_object){oid, size});
    *out = o.buf;
}

/* ---- the reply ---- */

static qk_status bad(qk_error *err, const char *what)
{
    return qk_fail(err, QK_ERR_FORMAT, "the server does not speak the Hub's LFS protocol",
                   "LFS batch: %s", what);
}

static const char *text_of(const qk_json *v)
{
    return v && v->type == QK_JSON_T_STRING && v->length && !memchr(v->text, 0, v->length) ? v->text
                                                                                           : NULL;
}

static qk_status read_parts(qk_lfs_action *a, const qk_json *header, uint64_t size, qk_arena *arena,
                            qk_error *err)
{
    /* A whole number, or the text of one. */
    const qk_json *chunk = qk_json_get(header, "chunk_size");
    const char *text = text_of(chunk);
    if (chunk && chunk->is_integer && chunk->integer > 0)
        a->chunk = (uint64_t)chunk->integer;
    else if (text && strspn(text, "0123456789") == chunk->length && chunk->length <= 18)
        a->chunk = strtoull(text, NULL, 10);
    if (!a->chunk) return bad(err, "a chunk_size that is no size");
    uint64_t wanted = size / a->chunk + (size % a->chunk != 0);
    if (!wanted || wanted > QK_LFS_MAX_PARTS) return bad(err, "more parts than can be");
    a->parts = qk_arena_alloc(arena, wanted, sizeof *a->parts);
    a->n_parts = wanted;
    size_t found = 0;
    for (const qk_json *h = header->first; h; h = h->next) {
        size_t digits = strspn(h->key, "0123456789");
        if (!digits || digits > 9 || h->key[digits]) continue;
        unsigned long number = strtoul(h->key, NULL, 10);
        const char *url = text_of(h);
        if (number < 1 || number > wanted || !url || a->parts[number - 1])
            return bad(err, "the parts do not fit the file's size");
        a->parts[number - 1] = url;
        found++;
    }
    return found == wanted ? QK_OK : bad(err, "the parts do not fit the file's size");
}

static qk_status read_action(qk_lfs_action *a, const qk_json *item, uint64_t size, qk_arena *arena,
                             qk_error *err)
{
    const qk_json *error = qk_json_get(item, "error");
    if (error && error->type != QK_JSON_T_NULL) {
        const char *message = text_of(qk_json_get(error, "message"));
        const qk_json *code = qk_json_get(error, "code");
        return qk_fail(err, QK_ERR_DATA, NULL, "the server does not take an object: %s (code %lld)",
                       message ? message : "no reason given",
                       code && code->is_integer ? (long long)code->integer : 0);
    }
    const qk_json *actions = qk_json_get(item, "actions"), *upload = qk_json_get(actions, "upload");
    if (!upload || upload->type == QK_JSON_T_NULL) return QK_OK;
    a->upload = text_of(qk_json_get(upload, "href"));
    if (!a->upload) return bad(err, "an upload without href");
    a->verify = text_of(qk_json_get(qk_json_get(actions, "verify"), "href"));
    const qk_json *header = qk_json_get(upload, "header");
    return qk_json_get(header, "chunk_size") ? read_parts(a, header, size, arena, err) : QK_OK;
}

static const qk_json *item_of(const qk_json *list, const char *oid)
{
    for (const qk_json *i = list->first; i; i = i->next) {
        const char *its = text_of(qk_json_get(i, "oid"));
        if (its && !strcasecmp(its, oid)) return i;
    }
    return NULL;
}

qk_status qk_lfs_batch_parse(qk_lfs_action *actions, const qk_lfs_object *objects, size_t n,
                             const qk_buf *reply, qk_arena *arena, qk_error *err)
{
    const qk_json *root;
    QK_TRY(qk_json_parse(arena, (const char *)reply->data, reply->size,
                         "the reply to the LFS batch", &root, err));
    const char *transfer = text_of(qk_json_get(root, "transfer"));
    if (transfer && strcmp(transfer, "basic") && strcmp(transfer, "multipart"))
        return qk_fail(err, QK_ERR_UNSUPPORTED, "ask the server's owner to allow plain LFS uploads",
                       "LFS batch: the server wants transfer '%.20s'", transfer);
    const qk_json *list = qk_json_get(root, "objects");
    if (!list || list->type != QK_JSON_T_ARRAY) return bad(err, "no objects in the reply");
    for (size_t i = 0; i < n; i++) {
        const qk_json *item = item_of(list, objects[i].oid);
        if (!item) return bad(err, "an object is missing from the reply");
        actions[i] = (qk_lfs_action){0};
        QK_TRY(read_action(&actions[i], item, objects[i].size, arena, err));
    }
    return QK_OK;
}
