/* See identify.h. */
#include "engine/run/identify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/sha256.h"
#include "engine/base/version.h"
#include "engine/base/input.h"
#include "engine/config/config.h"
#include "engine/dataset/hub_dataset.h"
#include "engine/dataset/rows_digest.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"
#include "engine/tokenizer/tokenizer.h"
#include "formats/safetensors.h"

/* [{"name": ..., "sha256": ...}, ...]; names without their folders, which differ by machine. */
static qk_status add_hashes(qk_json_out *o, const char *key, const qk_names *paths,
                            const qk_plan *plan, qk_watch *watch, qk_error *err)
{
    char(*hex)[65] = qk_alloc(paths->count, sizeof *hex);
    qk_status s = qk_sha256_files(paths, (int)plan->config->inference.threads, watch, hex, err);
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
static qk_status add_listed(qk_json_out *o, const char *key, const qk_plan *plan,
                            const qk_names *paths, qk_error *err)
{
    const qk_hub_dataset *d = plan->inputs->dataset;
    qk_json_begin(o, key, '[');
    for (size_t i = 0; i < paths->count; i++) {
        char hex[65];
        const char *digest = qk_hub_dataset_digest(d, paths->items[i]);
        if (!*digest) {
            QK_TRY(qk_sha256_files(&(qk_names){&paths->items[i], 1, 1}, 1, plan->inputs->rows, &hex,
                                   err));
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

/* Of a dataset on this disk, by the rows that the run takes. */
static qk_status add_rows(qk_json_out *o, const qk_plan *plan, qk_dataset *dataset, qk_error *err)
{
    const qk_names *paths = qk_dataset_files(dataset);
    qk_rows_digest rows;
    QK_TRY(qk_rows_digest_make(&rows, plan->config, dataset, plan->inputs->rows, err));
    qk_json_begin(o, "dataset_files", '[');
    for (size_t i = 0; i < rows.files; i++) {
        qk_json_begin(o, NULL, '{');
        qk_json_add_str(o, "name", qk_path_name(paths->items[i]));
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
    qk_json_begin(o, "dataset_rows", '{');
    qk_json_add_int(o, "rows", rows.rows);
    qk_json_add_str(o, "sha256", rows.hex);
    qk_json_end(o, '}');
    return QK_OK;
}

static qk_status add_dataset(qk_json_out *o, const qk_plan *plan, qk_dataset *dataset,
                             qk_error *err)
{
    const qk_names *paths = qk_dataset_files(dataset);
    bool limited;
    QK_TRY(qk_rows_are_limited(plan->config, &limited, err));
    if (limited && !plan->inputs->dataset) return add_rows(o, plan, dataset, err);
    QK_TRY(plan->inputs->dataset
               ? add_listed(o, "dataset_files", plan, paths, err)
               : add_hashes(o, "dataset_files", paths, plan, plan->inputs->rows, err));
    /* Files and the card give the ids together. */
    const char *type = qk_dataset_id_type(dataset);
    if (type) qk_json_add_str(o, "dataset_id_type", type);
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
    qk_watch *watch = plan->inputs->files;
    qk_status s = add_hashes(o, "model_files", &c.files, plan, watch, err);
    qk_checkpoint_close(&c);
    if (s != QK_OK) return s;
    qk_names tokenizer = {0};
    s = add_if_there(&tokenizer, plan->tokenizer_folder, "tokenizer.json", err);
    if (s == QK_OK) s = qk_tokenizer_files(plan->tokenizer_folder, &tokenizer, err);
    if (s == QK_OK && strcmp(plan->tokenizer_folder, plan->model_folder) != 0)
        s = add_if_there(&tokenizer, plan->tokenizer_folder, "config.json", err); /* the class */
    if (s == QK_OK) s = add_hashes(o, "tokenizer_files", &tokenizer, plan, watch, err);
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
        if (heads->n_v) add_head_list(o, "v", l->v, l->n_v);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
}

/* What no file has to be read for, in two parts. */
static void add_settings(qk_json_out *o, const qk_plan *plan)
{
    qk_json_begin(o, "config", '{');
    qk_config_write_json(plan->config, o);
    qk_json_end(o, '}');
    qk_json_add_tree(o, "model_config", plan->spec.config);
}

static qk_status write_identity(qk_json_out *o, const qk_plan *plan, qk_dataset *dataset,
                                qk_error *err)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "engine", "qkengine " QK_OUTPUT_VERSION);
    add_settings(o, plan);
    QK_TRY(add_model_hashes(o, plan, err));
    QK_TRY(add_dataset(o, plan, dataset, err));
    add_heads(o, &plan->heads);
    qk_json_end(o, '}');
    return QK_OK;
}

qk_status qk_identity_make(qk_identity *id, const qk_plan *plan, qk_dataset *dataset,
                           qk_arena *arena, qk_error *err)
{
    qk_json_out o = {0};
    qk_status s = write_identity(&o, plan, dataset, err);
    if (s == QK_OK) s = qk_watch_check(plan->inputs->files, err); /* read before they were hashed */
    const qk_hub_dataset *d = plan->inputs->dataset;
    snprintf(id->dataset_commit, sizeof id->dataset_commit, "%s",
             d ? qk_hub_dataset_commit(d) : "");
    if (s == QK_OK) s = qk_identity_parse(id, qk_buf_str(&o.buf), o.buf.size, arena, err);
    qk_buf_free(&o.buf);
    return s;
}

qk_status qk_identity_settings(qk_identity *id, const qk_plan *plan, qk_arena *arena, qk_error *err)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    add_settings(&o, plan);
    add_heads(&o, &plan->heads);
    qk_json_end(&o, '}');
    *id = (qk_identity){0};
    qk_status s = qk_identity_parse(id, qk_buf_str(&o.buf), o.buf.size, arena, err);
    qk_buf_free(&o.buf);
    return s;
}
