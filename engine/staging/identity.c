/* See identity.h. */
#include "engine/staging/identity.h"

#include <string.h>

#include "engine/base/sha256.h"

qk_status qk_identity_parse(qk_identity *id, const char *text, size_t size, qk_arena *arena,
                            qk_error *err)
{
    uint8_t digest[32];
    id->text = qk_arena_strndup(arena, text, size);
    qk_sha256(id->text, size, digest);
    qk_sha256_hex(digest, id->fingerprint);
    return qk_json_parse(arena, id->text, size, "identity", &id->tree, err);
}

/* ---- differences ---- */

static const char *short_text(const qk_json *v, qk_arena *arena)
{
    if (!v) return "nothing";
    qk_json_out o = {.compact = true};
    qk_json_add_tree(&o, NULL, v);
    bool cut = o.buf.size > 60;
    const char *text = qk_arena_strf(arena, "%.60s%s", qk_buf_str(&o.buf), cut ? "..." : "");
    qk_buf_free(&o.buf);
    return text;
}

static bool same_scalar(const qk_json *a, const qk_json *b)
{
    if (a->type != b->type) return false;
    if (a->type == QK_JSON_T_BOOL) return a->boolean == b->boolean;
    if (a->type == QK_JSON_T_NULL) return true;
    return a->length == b->length && !memcmp(a->text, b->text, a->length);
}

static const char *difference(const qk_json *a, const qk_json *b, const char *path, qk_arena *arena)
{
    bool both = a && b, nested = both && a->type == b->type && a->type >= QK_JSON_T_ARRAY;
    if (!nested) {
        if (both && same_scalar(a, b)) return NULL;
        return qk_arena_strf(arena, "%s: %s then, %s now", path, short_text(a, arena),
                             short_text(b, arena));
    }
    bool object = a->type == QK_JSON_T_OBJECT;
    const qk_json *x = a->first, *y = b->first;
    for (size_t i = 0; object ? x != NULL : x || y; i++) {
        const char *name = object ? x->key : qk_arena_strf(arena, "%zu", i);
        const qk_json *other = object ? qk_json_get(b, x->key) : y;
        const char *inner = qk_arena_strf(arena, "%s%s%s", path, *path ? "." : "", name);
        const char *found = difference(x, other, inner, arena);
        if (found) return found;
        x = x ? x->next : NULL;
        y = y ? y->next : NULL;
    }
    for (y = object ? b->first : NULL; y; y = y->next)
        if (!qk_json_get(a, y->key))
            return difference(
                NULL, y, qk_arena_strf(arena, "%s%s%s", path, *path ? "." : "", y->key), arena);
    return NULL;
}

const char *qk_identity_difference(const qk_json *then, const qk_json *now, qk_arena *arena)
{
    return difference(then, now, "", arena);
}

const char *qk_identity_difference_at(const qk_json *then, const qk_json *now, const char *path,
                                      qk_arena *arena)
{
    return difference(then, now, path, arena);
}
