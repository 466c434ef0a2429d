/* See manifest.h. */
#include "engine/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sha256.h"
#include "engine/tokenizer.h"
#include "engine/base/version.h"
#include "formats/safetensors.h"

enum { MANIFEST_LIMIT = 1 << 30 };
#define FORMAT "qkengine manifest 1"

/* [{"name": ..., "sha256": ...}, ...]; names without their folders, which differ by machine. */
static qk_status add_hashes(qk_json_out *o, const char *key, const qk_names *paths, qk_error *err)
{
    char(*hex)[65] = qk_alloc(paths->count, sizeof *hex);
    qk_status s = qk_sha256_files(paths, hex, err);
    if (s == QK_OK) {
        qk_json_begin(o, key, '[');
        for (size_t i = 0; i < paths->count; i++) {
            qk_json_begin(o, NULL, '{');
            qk_json_add_str(o, "name", qk_path_name(paths->items[i]));
            qk_json_add_str(o, "sha256", hex[i]);
            qk_json_end(o, '}');
        }
        qk_json_end(o, ']');
    }
    free(hex);
    return s;
}

/* The same without reading them: {"name", "sha256" or "git_sha1"}, by the listing of the commit. */
static qk_status add_listed(qk_json_out *o, const char *key, const qk_hub_dataset *d,
                            const qk_names *paths, qk_error *err)
{
    qk_json_begin(o, key, '[');
    for (size_t i = 0; i < paths->count; i++) {
        char hex[65];
        const char *digest = qk_hub_dataset_digest(d, paths->items[i]);
        if (!*digest) {
            QK_TRY(qk_sha256_files(&(qk_names){&paths->items[i], 1, 1}, &hex, err));
            digest = hex;
        }
        qk_json_begin(o, NULL, '{');
        qk_json_add_str(o, "name", qk_path_name(paths->items[i]));
        qk_json_add_str(o, strlen(digest) == 64 ? "sha256" : "git_sha1", digest);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
    return QK_OK;
}

static qk_status add_if_there(qk_names *names, const char *folder, const char *name, qk_error *err)
{
    bool there;
    char *path = qk_path_join(folder, name);
    qk_status s = qk_has_file(path, &there, err);
    if (there) qk_names_add(names, path);
    free(path);
    return s;
}

static qk_status add_model_hashes(qk_json_out *o, const qk_plan *plan, qk_error *err)
{
    qk_checkpoint c;
    QK_TRY(qk_checkpoint_open(&c, plan->model_folder, err));
    qk_status s = add_hashes(o, "model_files", &c.files, err);
    qk_checkpoint_close(&c);
    if (s != QK_OK) return s;
    qk_names tokenizer = {0};
    s = add_if_there(&tokenizer, plan->tokenizer_folder, "tokenizer.json", err);
    if (s == QK_OK) s = qk_tokenizer_files(plan->tokenizer_folder, &tokenizer, err);
    if (s == QK_OK && strcmp(plan->tokenizer_folder, plan->model_folder) != 0)
        s = add_if_there(&tokenizer, plan->tokenizer_folder, "config.json", err); /* the class */
    if (s == QK_OK) s = add_hashes(o, "tokenizer_files", &tokenizer, err);
    qk_names_free(&tokenizer);
    return s;
}

static void add_head_list(qk_json_out *o, const char *key, const int32_t *heads, int32_t n)
{
    qk_json_begin(o, key, '[');
    for (int32_t i = 0; i < n; i++) qk_json_add_int(o, NULL, heads[i]);
    qk_json_end(o, ']');
}

static void add_heads(qk_json_out *o, const qk_head_plan *heads)
{
    qk_json_begin(o, "heads", '[');
    for (int32_t i = 0; i < heads->n_layers; i++) {
        const qk_layer_heads *l = &heads->layers[i];
        qk_json_begin(o, NULL, '{');
        qk_json_add_int(o, "layer", l->layer);
        add_head_list(o, "q", l->q, l->n_q);
        add_head_list(o, "k", l->k, l->n_k);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
}

static qk_status write_identity(qk_json_out *o, const qk_plan *plan, const qk_names *dataset_files,
                                qk_error *err)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "engine", "qkengine " QK_VERSION);
    qk_json_begin(o, "config", '{');
    qk_config_write_json(plan->config, o);
    qk_json_end(o, '}');
    qk_json_add_tree(o, "model_config", plan->spec.config);
    QK_TRY(add_model_hashes(o, plan, err));
    const qk_hub_dataset *listed = plan->inputs->dataset;
    QK_TRY(listed ? add_listed(o, "dataset_files", listed, dataset_files, err)
                  : add_hashes(o, "dataset_files", dataset_files, err));
    add_heads(o, &plan->heads);
    qk_json_end(o, '}');
    return QK_OK;
}

qk_status qk_identity_make(qk_identity *id, const qk_plan *plan, const qk_names *dataset_files,
                           qk_arena *arena, qk_error *err)
{
    qk_json_out o = {0};
    qk_status s = write_identity(&o, plan, dataset_files, err);
    const qk_hub_dataset *d = plan->inputs->dataset;
    snprintf(id->dataset_commit, sizeof id->dataset_commit, "%s",
             d ? qk_hub_dataset_commit(d) : "");
    if (s == QK_OK) {
        id->text = qk_arena_strndup(arena, qk_buf_str(&o.buf), o.buf.size);
        uint8_t digest[32];
        qk_sha256(id->text, o.buf.size, digest);
        qk_sha256_hex(digest, id->fingerprint);
        s = qk_json_parse(arena, id->text, o.buf.size, "identity", &id->tree, err);
    }
    qk_buf_free(&o.buf);
    return s;
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

/* ---- reading and writing ---- */

qk_status qk_manifest_read(const char *split_folder, qk_arena *arena, const qk_json **out,
                           qk_error *err)
{
    char *path = qk_path_join(split_folder, "manifest.json");
    qk_status s = qk_json_parse_if_there(arena, path, MANIFEST_LIMIT, out, err);
    if (s == QK_OK && *out && !qk_json_is_string(qk_json_get(*out, "format"), FORMAT))
        s = qk_fail(err, QK_ERR_FORMAT, "choose another output.data_root",
                    "%s: not a manifest of this program's version", path);
    free(path);
    return s;
}

static const qk_json *find_run(const qk_json *manifest, const char *fingerprint)
{
    const qk_json *runs = qk_json_get(manifest, "runs");
    for (const qk_json *r = runs ? runs->first : NULL; r; r = r->next)
        if (qk_json_is_string(qk_json_get(r, "fingerprint"), fingerprint)) return r;
    return NULL;
}

qk_status qk_manifest_is_complete(const qk_json *manifest, const qk_identity *id,
                                  const char *split_folder, bool *complete, qk_error *err)
{
    *complete = find_run(manifest, id->fingerprint) != NULL;
    const qk_json *files = qk_json_get(manifest, "files");
    for (const qk_json *f = files ? files->first : NULL; f && *complete; f = f->next) {
        char *path = qk_strf("%s/%s/data.parquet", split_folder, f->key);
        const qk_json *bytes = qk_json_get(f, "bytes");
        qk_path_info info;
        qk_status s = qk_path_look(path, &info, err);
        free(path);
        QK_TRY(s);
        *complete = info.type == QK_PATH_FILE && bytes && bytes->is_integer &&
                    (uint64_t)bytes->integer == info.size;
    }
    return QK_OK;
}

static void add_this_run(qk_json_out *o, const qk_identity *id, const qk_unit_totals *units,
                         size_t n_units)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "fingerprint", id->fingerprint);
    qk_json_add_tree(o, "identity", id->tree);
    if (*id->dataset_commit) qk_json_add_str(o, "dataset_commit", id->dataset_commit);
    qk_json_begin(o, "units", '[');
    for (size_t i = 0; i < n_units; i++) {
        qk_json_begin(o, NULL, '{');
        qk_json_add_int(o, "examples", units[i].examples);
        qk_json_add_int(o, "tokens", units[i].tokens);
        qk_json_add_int(o, "rows", (int64_t)units[i].rows);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
    qk_json_end(o, '}');
}

/* Everything before "runs". */
static void write_head(qk_json_out *o, int head_dim, const qk_manifest_file *files, size_t n_files,
                       int64_t examples, int64_t tokens)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "format", FORMAT);
    qk_json_add_str(o, "build", qk_build());
    qk_json_add_int(o, "head_dim", head_dim);
    qk_json_add_int(o, "examples", examples);
    qk_json_add_int(o, "tokens", tokens);
    qk_json_begin(o, "files", '{');
    for (size_t i = 0; i < n_files; i++) {
        qk_json_begin(o, files[i].name, '{');
        qk_json_add_int(o, "rows", (int64_t)files[i].rows);
        qk_json_add_int(o, "bytes", (int64_t)files[i].bytes);
        qk_json_end(o, '}');
    }
    qk_json_end(o, '}');
}

void qk_manifest_write(qk_buf *out, const qk_json *old, const qk_identity *id, int head_dim,
                       const qk_manifest_file *files, size_t n_files, int64_t examples,
                       int64_t tokens, const qk_unit_totals *units, size_t n_units)
{
    qk_json_out o = {0};
    write_head(&o, head_dim, files, n_files, examples, tokens);
    qk_json_begin(&o, "runs", '[');
    const qk_json *runs = qk_json_get(old, "runs");
    for (const qk_json *r = runs ? runs->first : NULL; r; r = r->next)
        if (!qk_json_is_string(qk_json_get(r, "fingerprint"), id->fingerprint))
            qk_json_add_tree(&o, NULL, r);
    add_this_run(&o, id, units, n_units);
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    qk_buf_add_byte(&o.buf, '\n');
    *out = o.buf;
}

void qk_manifest_join(qk_buf *out, const qk_json *a, const qk_json *b, int head_dim,
                      const qk_manifest_file *files, size_t n_files, int64_t examples,
                      int64_t tokens)
{
    qk_json_out o = {0};
    write_head(&o, head_dim, files, n_files, examples, tokens);
    qk_json_begin(&o, "runs", '[');
    const qk_json *runs = qk_json_get(a, "runs");
    for (const qk_json *r = runs ? runs->first : NULL; r; r = r->next)
        qk_json_add_tree(&o, NULL, r);
    runs = qk_json_get(b, "runs");
    for (const qk_json *r = runs ? runs->first : NULL; r; r = r->next) {
        const qk_json *print = qk_json_get(r, "fingerprint");
        if (!print || print->type != QK_JSON_T_STRING || !find_run(a, print->text))
            qk_json_add_tree(&o, NULL, r);
    }
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    qk_buf_add_byte(&o.buf, '\n');
    *out = o.buf;
}

bool qk_manifest_covers(const qk_json *whole, const qk_json *part)
{
    const qk_json *runs = qk_json_get(part, "runs");
    for (const qk_json *r = runs ? runs->first : NULL; r; r = r->next) {
        const qk_json *print = qk_json_get(r, "fingerprint");
        if (!print || print->type != QK_JSON_T_STRING || !find_run(whole, print->text))
            return false;
    }
    return true;
}
