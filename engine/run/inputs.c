/* See inputs.h. */
#include "engine/run/inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/input.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/config/config.h"
#include "engine/dataset/hub_dataset.h"
#include "engine/families/presets.h"
#include "formats/json.h"
#include "hub/pull.h"

enum { MAX_INDEX = 256 * 1000 * 1000 };

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
    qk_status s = qk_json_parse_file(&arena, path, MAX_INDEX, &root, err);
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

qk_status qk_inputs_explain(const qk_snapshot *s, qk_wanted wanted, qk_error *err)
{
    static const char *const files[] = {[QK_WANT_CONFIG] = "config.json",
                                        [QK_WANT_WEIGHTS] = single,
                                        [QK_WANT_TOKENIZER] = "tokenizer.json"};
    if (s->from_cache && !s->listing_is_kept) { /* then it may be one that the cache lacks */
        *err = s->why;
        return qk_error_prefix(err, "%s at '%s': %s is not in the cache (%s)", s->repo.id,
                               s->repo.revision, files[wanted], s->hub->cache);
    }
    qk_names paths = {0};
    for (size_t i = 0; i < s->listing.count; i++) qk_names_add(&paths, s->listing.files[i].path);
    char *where = qk_strf("%s at '%s'", s->repo.id, s->repo.revision);
    qk_explain_listing(where, &paths, wanted, err);
    qk_names_free(&paths);
    free(where);
    return err->status;
}

qk_status qk_inputs_fetch_model(qk_snapshot *s, qk_error *err)
{
    QK_TRY(qk_snapshot_fetch_present(s, tokenizer_files, err));
    qk_names weights = {0};
    qk_status status = QK_OK;
    if (qk_snapshot_has(s, single)) { /* transformers prefers it when both are there */
        qk_names_add(&weights, single);
    } else if (qk_snapshot_has(s, index_name)) {
        static const char *const only_index[] = {index_name, NULL};
        status = qk_snapshot_fetch_present(s, only_index, err);
        if (status == QK_OK) status = list_shards(&weights, qk_snapshot_folder(s), err);
    } else {
        status = qk_inputs_explain(s, QK_WANT_WEIGHTS, err);
    }
    if (status == QK_OK) status = qk_snapshot_fetch(s, &weights, err);
    qk_names_free(&weights);
    return status;
}

/* ---- one input ---- */

typedef struct opener {
    const qk_config *config;
    qk_inputs *inputs;
    qk_inputs_use use;
    qk_hub hub;
    bool hub_is_open;
} opener;

static bool has_own_tokenizer(const qk_config *c)
{
    return !c->tokenizer.name || !strcmp(c->tokenizer.name, c->model.name);
}

/* Fetches what `wanted` needs; a run does not begin without a tokenizer, a plan may. */
static qk_status fetch_parts(const opener *o, qk_snapshot *s, qk_wanted wanted, qk_error *err)
{
    bool run = o->use == QK_INPUTS_RUN, is_model = wanted == QK_WANT_WEIGHTS;
    if (is_model && !qk_snapshot_has(s, "config.json"))
        return qk_inputs_explain(s, QK_WANT_CONFIG, err);
    bool needs_tokenizer = run && (!is_model || has_own_tokenizer(o->config));
    if (needs_tokenizer && !qk_snapshot_has(s, "tokenizer.json"))
        return qk_inputs_explain(s, QK_WANT_TOKENIZER, err);
    if (is_model && run) return qk_inputs_fetch_model(s, err);
    return qk_snapshot_fetch_present(s, tokenizer_files, err);
}

/* OWNER/NAME that the Hub did not give, where a folder OWNER is here: the name was meant to be a
 * path, so that is said first. */
static void explain_path(const char *name, qk_error *err)
{
    if (qk_interrupted()) return;
    char *folder = qk_strf("%.*s", (int)strcspn(name, "/"), name);
    qk_names there = {0};
    qk_error ignored;
    if (qk_list_dir(folder, &there, &ignored) == QK_OK) {
        QK_GROW(there.items, there.count, there.capacity);
        there.items[there.count] = NULL;
        const char *near = qk_nearest(strchr(name, '/') + 1, (const char *const *)there.items);
        if (near) snprintf(err->hint, sizeof err->hint, "did you mean '%s/%s'?", folder, near);
        qk_error_prefix(err, "there is no '%s' in the folder '%s', and on the Hub",
                        strchr(name, '/') + 1, folder);
    }
    qk_names_free(&there);
    free(folder);
}

/* A local folder, or the snapshot of a repository with its config.json, tokenizer and, of a model
 * that is run, weights. */
static qk_status open_folder(opener *o, const char *key, const char *name, const char *revision,
                             qk_wanted wanted, char **folder, qk_error *err)
{
    qk_path_info there;
    if (qk_path_stat(name, &there, err) != QK_OK) return qk_error_prefix(err, "%s", key);
    if (there.type == QK_PATH_FOLDER) {
        if (revision) qk_warn("%s is a folder here: its revision has no effect", key);
        *folder = qk_strdup(name);
        return QK_OK;
    }
    if (there.type == QK_PATH_FILE) {
        qk_explain_file(name, err);
        return qk_error_prefix(err, "%s", key);
    }
    if (!qk_looks_like_repo(name)) {
        const qk_preset *preset = qk_preset_find(name);
        qk_fail(err, QK_ERR_NOTFOUND, "give the folder of a model, or owner/name of one on the Hub",
                "%s: there is no folder '%s'", key, name);
        if (preset)
            snprintf(err->hint, sizeof err->hint, "did you mean '%s', of the Hub?",
                     preset->repository);
        return err->status;
    }
    qk_snapshot s;
    if (!o->hub_is_open) QK_TRY(qk_hub_open(&o->hub, NULL, err));
    o->hub_is_open = true;
    o->hub.impatient = o->use == QK_INPUTS_INSPECT;
    if (qk_snapshot_open(&s, &o->hub, QK_REPO_MODEL, name, revision, err) != QK_OK) {
        explain_path(name, err);
        return qk_error_prefix(err, "%s", key);
    }
    qk_status status = fetch_parts(o, &s, wanted, err);
    if (status == QK_OK) *folder = qk_strdup(qk_snapshot_folder(&s));
    qk_snapshot_close(&s);
    return status == QK_OK ? QK_OK : qk_error_prefix(err, "%s", key);
}

static qk_status open_dataset(opener *o, qk_error *err)
{
    const char *path = o->config->dataset.path;
    bool look = o->use == QK_INPUTS_INSPECT;
    qk_path_info info;
    if (qk_path_stat(path, &info, err) != QK_OK) return qk_error_prefix(err, "dataset.path");
    bool local = info.type == QK_PATH_FOLDER || info.type == QK_PATH_FILE;
    local |= !qk_looks_like_repo(path);
    if (local && o->config->dataset.revision)
        qk_warn("dataset.revision has no effect: dataset.path is no repository of the Hub");
    if (local) return QK_OK; /* an absent file is qk_dataset_open's to report */
    qk_status s = qk_hub_dataset_open(&o->inputs->dataset, o->config, look, err);
    o->inputs->dataset_is_missing = s != QK_OK;
    if (s != QK_OK) explain_path(path, err);
    return look ? QK_OK : s;
}

static qk_status open_all(opener *o, qk_error *err)
{
    const qk_config *c = o->config;
    qk_inputs *in = o->inputs;
    const char *revision = c->model.revision, *tokenizer = c->tokenizer.name;
    QK_TRY(open_folder(o, "model.name", c->model.name, revision, QK_WANT_WEIGHTS, &in->model, err));
    if (has_own_tokenizer(c))
        in->tokenizer = qk_strdup(in->model);
    else
        QK_TRY(open_folder(o, "tokenizer.name", tokenizer, NULL, QK_WANT_TOKENIZER, &in->tokenizer,
                           err));
    return open_dataset(o, err);
}

static qk_status watch_all(qk_watch *watch, const char *folder, const char *const *names,
                           qk_error *err)
{
    qk_status s = QK_OK;
    for (; *names && s == QK_OK; names++) {
        char *path = qk_path_join(folder, *names);
        s = qk_watch_name(watch, path, err);
        free(path);
    }
    return s;
}

/* What decides a run beside weights and rows, before anything of it is read. What
 * AutoTokenizer reads may also be absent, and must stay so. */
static qk_status watch_files(qk_inputs *in, qk_error *err)
{
    static const char *const model_files[] = {"config.json", single, index_name, NULL};
    in->files = qk_zalloc(1, sizeof *in->files);
    in->rows = qk_zalloc(1, sizeof *in->rows);
    QK_TRY(watch_all(in->files, in->model, model_files, err));
    return watch_all(in->files, in->tokenizer, tokenizer_files, err);
}

qk_status qk_inputs_open(qk_inputs *inputs, const qk_config *config, qk_inputs_use use,
                         qk_error *err)
{
    *inputs = (qk_inputs){0};
    opener o = {.config = config, .inputs = inputs, .use = use};
    qk_status s = open_all(&o, err);
    if (o.hub_is_open) qk_hub_close(&o.hub);
    if (s == QK_OK) s = watch_files(inputs, err);
    if (s != QK_OK) qk_inputs_free(inputs);
    return s;
}

void qk_inputs_free(qk_inputs *inputs)
{
    free(inputs->model);
    free(inputs->tokenizer);
    qk_hub_dataset_close(inputs->dataset);
    if (inputs->files) qk_watch_free(inputs->files);
    if (inputs->rows) qk_watch_free(inputs->rows);
    free(inputs->files);
    free(inputs->rows);
    *inputs = (qk_inputs){0};
}

const qk_dataset_remote *qk_inputs_remote(const qk_inputs *inputs)
{
    return inputs->dataset ? qk_hub_dataset_remote(inputs->dataset) : NULL;
}

void qk_inputs_stop(const qk_inputs *inputs)
{
    if (inputs->dataset) qk_hub_dataset_stop(inputs->dataset);
}
