/* A model folder as one set of tensors: a single file, or an index and its shards.
 * See safetensors.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/beneath.h"
#include "formats/json.h"
#include "formats/mistaken.h"
#include "formats/safetensors_file.h"

enum { MAX_INDEX = 256 * 1000 * 1000 };

static int by_name(const void *a, const void *b)
{
    const qk_st_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static qk_status add_file(qk_checkpoint *c, qk_st_list *list, const char *path, qk_error *err)
{
    c->inputs = qk_realloc(c->inputs, c->files.count + 1, sizeof *c->inputs);
    qk_input *in = &c->inputs[c->files.count];
    QK_TRY(qk_input_open(in, path, err));
    qk_names_add(&c->files, path);
    return qk_st_read_file(in, &c->arena, list, err);
}

static qk_status add_shard(qk_checkpoint *c, qk_st_list *list, const char *folder, const char *name,
                           const char *index, qk_error *err)
{
    char *path = qk_path_join(folder, name);
    qk_status s = QK_OK;
    bool known = false, there = true;
    for (size_t i = 0; i < c->files.count; i++) known |= !strcmp(c->files.items[i], path);
    if (!known) s = qk_has_file(path, &there, err);
    if (s == QK_OK && !there)
        s = qk_fail(err, QK_ERR_NOTFOUND, "download the whole model again",
                    "%s: shard '%s' not found in the folder", index, name);
    else if (s == QK_OK && !known)
        s = add_file(c, list, path, err);
    free(path);
    return s;
}

/* Each name of the map must be in the shard that the map says. One that no shard has may belong to
 * a part that nobody needs; who needs it finds it missing. */
static qk_status check_map(qk_checkpoint *c, const qk_json *map, const char *index, qk_error *err)
{
    for (const qk_json *v = map->first; v; v = v->next) {
        const qk_st_tensor *t = qk_checkpoint_find(c, v->key);
        if (!t)
            qk_names_add(&c->absent, v->key);
        else if (strcmp(qk_path_name(t->file), v->text))
            return qk_fail(err, QK_ERR_FORMAT, "download the whole model again",
                           "%s: tensor '%.200s' is missing from its shard '%.200s'", index, v->key,
                           v->text);
    }
    return QK_OK;
}

static qk_status sort_and_check(qk_checkpoint *c, const qk_st_list *list, qk_error *err)
{
    c->tensors = list->items;
    c->count = list->count;
    if (c->count) qsort(c->tensors, c->count, sizeof *c->tensors, by_name);
    for (size_t i = 1; i < c->count; i++)
        if (!strcmp(c->tensors[i - 1].name, c->tensors[i].name))
            return qk_fail(err, QK_ERR_FORMAT, "keep one of the two",
                           "tensor '%.200s' lies in two shards: %s and %s", c->tensors[i].name,
                           c->tensors[i - 1].file, c->tensors[i].file);
    return QK_OK;
}

static qk_status open_index(qk_checkpoint *c, const char *folder, const char *index, qk_error *err)
{
    const qk_json *root;
    QK_TRY(qk_json_parse_file(&c->arena, index, MAX_INDEX, &root, err));
    const qk_json *map = qk_json_get(root, "weight_map");
    if (!map || map->type != QK_JSON_T_OBJECT)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the index has no weight_map", index);
    qk_st_list list = {0};
    qk_status s = QK_OK;
    for (const qk_json *v = map->first; v && s == QK_OK; v = v->next) {
        /* A shard's name is a file name in the same folder, nothing else. */
        bool is_name = v->type == QK_JSON_T_STRING;
        const char *problem = is_name ? qk_path_problem(v->text, v->length) : NULL;
        if (is_name && !problem && strchr(v->text, '/')) problem = "it leads to another folder";
        if (!is_name)
            s = qk_fail(err, QK_ERR_FORMAT, NULL, "%s: weight_map '%.200s' is %s, not a file name",
                        index, v->key, qk_json_type_name(v));
        else if (problem)
            s = qk_fail(err, QK_ERR_FORMAT, NULL, "%s: shard name '%.200s' is not a file here: %s",
                        index, v->text, problem);
        else
            s = add_shard(c, &list, folder, v->text, index, err);
    }
    if (s != QK_OK) {
        free(list.items);
        return s;
    }
    QK_TRY(sort_and_check(c, &list, err));
    return check_map(c, map, index, err);
}

static qk_status open_single(qk_checkpoint *c, const char *path, qk_error *err)
{
    qk_st_list list = {0};
    qk_status s = add_file(c, &list, path, err);
    if (s == QK_OK) return sort_and_check(c, &list, err);
    free(list.items);
    return s;
}

static qk_status open_folder(qk_checkpoint *c, const char *folder, qk_error *err)
{
    char *index = qk_path_join(folder, "model.safetensors.index.json");
    char *single = qk_path_join(folder, "model.safetensors");
    bool has_single, has_index = false;
    qk_status s = qk_has_file(single, &has_single, err);
    if (s == QK_OK) s = qk_has_file(index, &has_index, err);
    /* transformers prefers the single file when both are there. */
    if (s == QK_OK)
        s = has_single  ? open_single(c, single, err)
            : has_index ? open_index(c, folder, index, err)
                        : qk_explain_folder(folder, QK_WANT_WEIGHTS, err);
    free(index);
    free(single);
    return s;
}

qk_status qk_checkpoint_open(qk_checkpoint *c, const char *path, qk_error *err)
{
    *c = (qk_checkpoint){0};
    bool folder;
    qk_status s = qk_has_folder(path, &folder, err);
    if (s == QK_OK) s = folder ? open_folder(c, path, err) : open_single(c, path, err);
    if (s != QK_OK) qk_checkpoint_close(c);
    return s;
}

void qk_checkpoint_close(qk_checkpoint *c)
{
    for (size_t i = 0; i < c->files.count; i++) qk_input_close(&c->inputs[i]);
    free(c->inputs);
    qk_names_free(&c->files);
    qk_names_free(&c->absent);
    free(c->tensors);
    qk_arena_free(&c->arena);
    *c = (qk_checkpoint){0};
}

const qk_st_tensor *qk_checkpoint_find(const qk_checkpoint *c, const char *name)
{
    qk_st_tensor key = {.name = name};
    return c->count ? bsearch(&key, c->tensors, c->count, sizeof *c->tensors, by_name) : NULL;
}

const qk_input *qk_checkpoint_input(const qk_checkpoint *c, const qk_st_tensor *t)
{
    for (size_t i = 0; i < c->files.count; i++)
        if (t->file == c->inputs[i].path) return &c->inputs[i];
    qk_fatal("tensor '%s' is of another checkpoint", t->name);
}

qk_status qk_checkpoint_read(const qk_checkpoint *c, const qk_st_tensor *t, void *out,
                             qk_error *err)
{
    return qk_input_read(qk_checkpoint_input(c, t), t->offset, out, t->bytes, err);
}
