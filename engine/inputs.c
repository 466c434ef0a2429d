/* See inputs.h. */
#include "engine/inputs.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "formats/json.h"

enum { INDEX_LIMIT = 256 * 1000 * 1000 };

static const char single[] = "model.safetensors", index_name[] = "model.safetensors.index.json";
static const char *const tokenizer_files[] = {"config.json",           "tokenizer.json",
                                              "tokenizer_config.json", "special_tokens_map.json",
                                              "added_tokens.json",     NULL};

/* ---- the files of a model ---- */

/* The shards of an index, each once. */
static qk_status list_shards(qk_names *out, const char *folder, qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *root = NULL;
    char *path = qk_path_join(folder, index_name);
    qk_status s = qk_json_parse_file(&arena, path, INDEX_LIMIT, &root, err);
    const qk_json *map = qk_json_get(root, "weight_map");
    if (s == QK_OK && (!map || map->type != QK_JSON_T_OBJECT))
        s = qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the index has no weight_map", path);
    for (const qk_json *v = s == QK_OK ? map->first : NULL; v; v = v->next) {
        bool known = v->type != QK_JSON_T_STRING;
        for (size_t i = 0; i < out->count && !known; i++) known = !strcmp(out->items[i], v->text);
        if (!known) qk_names_add(out, v->text);
    }
    free(path);
    qk_arena_free(&arena);
    return s;
}

/* transformers prefers the single file when both are there. */
static qk_status fetch_weights(qk_snapshot *s, qk_error *err)
{
    qk_names names = {0};
    qk_status status = QK_OK;
    if (qk_snapshot_has(s, single)) {
        qk_names_add(&names, single);
    } else if (qk_snapshot_has(s, index_name)) {
        static const char *const only_index[] = {index_name, NULL};
        status = qk_snapshot_fetch_present(s, only_index, err);
        if (status == QK_OK) status = list_shards(&names, qk_snapshot_folder(s), err);
    } else {
        status = qk_fail(err, QK_ERR_UNSUPPORTED, "choose a revision that has safetensors",
                         "%s at '%s': no %s and no %s", s->repo.id, s->repo.revision, single,
                         index_name);
    }
    if (status == QK_OK) status = qk_snapshot_fetch(s, &names, err);
    qk_names_free(&names);
    return status;
}

qk_status qk_inputs_fetch_model(qk_snapshot *snapshot, qk_error *err)
{
    QK_TRY(qk_snapshot_fetch_present(snapshot, tokenizer_files, err));
    return fetch_weights(snapshot, err);
}

/* ---- one input ---- */

typedef struct opener {
    const qk_config *config;
    qk_inputs *inputs;
    qk_inputs_use use;
    qk_hub hub;
    bool hub_is_open;
} opener;

static qk_status open_hub(opener *o, qk_error *err)
{
    if (!o->hub_is_open) QK_TRY(qk_hub_open(&o->hub, NULL, err));
    o->hub_is_open = true;
    o->hub.impatient = o->use == QK_INPUTS_LOOK;
    return QK_OK;
}

/* A local folder, or the snapshot of a repository with its config.json, tokenizer and, if wanted,
 * weights. */
static qk_status open_folder(opener *o, const char *key, const char *name, const char *revision,
                             bool weights, char **folder, qk_error *err)
{
    bool local;
    if (qk_has_folder(name, &local, err) != QK_OK) return qk_error_prefix(err, "%s", key);
    if (local) {
        if (revision) qk_warn("%s is a folder here: its revision has no effect", key);
        *folder = qk_strdup(name);
        return QK_OK;
    }
    if (!qk_looks_like_repo(name))
        return qk_fail(err, QK_ERR_NOTFOUND,
                       "give the folder of a model, or owner/name of one on the Hub",
                       "%s: there is no folder '%s'", key, name);
    qk_snapshot s;
    QK_TRY(open_hub(o, err));
    if (qk_snapshot_open(&s, &o->hub, QK_REPO_MODEL, name, revision, err) != QK_OK)
        return qk_error_prefix(err, "%s", key);
    qk_status status = weights ? qk_inputs_fetch_model(&s, err)
                               : qk_snapshot_fetch_present(&s, tokenizer_files, err);
    if (status == QK_OK) *folder = qk_strdup(qk_snapshot_folder(&s));
    qk_snapshot_close(&s);
    return status == QK_OK ? QK_OK : qk_error_prefix(err, "%s", key);
}

static qk_status open_dataset(opener *o, qk_error *err)
{
    const char *path = o->config->dataset.path;
    bool look = o->use == QK_INPUTS_LOOK;
    qk_path_info info;
    if (qk_path_look(path, &info, err) != QK_OK) return qk_error_prefix(err, "dataset.path");
    bool local = info.type == QK_PATH_FOLDER || info.type == QK_PATH_FILE;
    local |= !qk_looks_like_repo(path);
    if (local && o->config->dataset.revision)
        qk_warn("dataset.revision has no effect: dataset.path is no repository of the Hub");
    if (local) return QK_OK; /* an absent file is qk_dataset_open's to report */
    qk_status s = qk_hub_dataset_open(&o->inputs->dataset, o->config, look, err);
    o->inputs->dataset_is_missing = s != QK_OK;
    return look ? QK_OK : s;
}

static qk_status open_all(opener *o, qk_error *err)
{
    const qk_config *c = o->config;
    qk_inputs *in = o->inputs;
    const char *revision = c->model.revision, *tokenizer = c->tokenizer.name;
    QK_TRY(open_folder(o, "model.name", c->model.name, revision, o->use == QK_INPUTS_RUN,
                       &in->model, err));
    if (!tokenizer || !strcmp(tokenizer, c->model.name))
        in->tokenizer = qk_strdup(in->model);
    else
        QK_TRY(open_folder(o, "tokenizer.name", tokenizer, NULL, false, &in->tokenizer, err));
    return open_dataset(o, err);
}

qk_status qk_inputs_open(qk_inputs *inputs, const qk_config *config, qk_inputs_use use,
                         qk_error *err)
{
    *inputs = (qk_inputs){0};
    opener o = {.config = config, .inputs = inputs, .use = use};
    qk_status s = open_all(&o, err);
    if (o.hub_is_open) qk_hub_close(&o.hub);
    if (s != QK_OK) qk_inputs_free(inputs);
    return s;
}

void qk_inputs_free(qk_inputs *inputs)
{
    free(inputs->model);
    free(inputs->tokenizer);
    qk_hub_dataset_close(inputs->dataset);
    *inputs = (qk_inputs){0};
}

const qk_dataset_place *qk_inputs_place(const qk_inputs *inputs)
{
    return inputs->dataset ? qk_hub_dataset_place(inputs->dataset) : NULL;
}

void qk_inputs_stop(const qk_inputs *inputs)
{
    if (inputs->dataset) qk_hub_dataset_stop(inputs->dataset);
}
