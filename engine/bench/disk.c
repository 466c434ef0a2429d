/* See disk.h. */
#include "engine/bench/disk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

#include "engine/base/log.h"
#include "engine/capture/unit_file.h"
#include "engine/output/layout.h"
#include "engine/output/merge.h"
#include "formats/json.h"

/* The least that a merge looks for in an identity. */
static const char identity_text[] =
    "{\"config\": {\"model\": {\"name\": \"bench\", \"dtype\": \"float32\"}, \"tokenizer\": "
    "{\"max_length\": null}, \"capture\": {\"capture_queries\": true, \"capture_keys\": true, "
    "\"sampler\": {\"type\": \"all\", \"base_rate\": 1.0}, \"min_bucket_size\": 128, "
    "\"max_rows_per_batch\": null, \"capture_pre_rope\": false}}, \"model_files\": [], "
    "\"tokenizer_files\": [], \"heads\": []}";

qk_status qk_bench_disk_open(qk_bench_disk *d, const char *dir, qk_error *err)
{
    d->staging.lock = -1;
    d->folder = qk_strf("%s/qkengine-bench-XXXXXX", dir);
    if (!mkdtemp(d->folder)) {
        qk_status s = qk_fail_create(err, "cannot make", d->folder);
        free(d->folder);
        d->folder = NULL;
        return s;
    }
    d->staging_folder = qk_path_join(d->folder, "staging");
    QK_TRY(qk_identity_parse(&d->identity, identity_text, strlen(identity_text), &d->arena, err));
    return qk_staging_open_alone(&d->staging, d->staging_folder, err);
}

void qk_bench_disk_close(qk_bench_disk *d)
{
    qk_error why;
    if (d->staging_folder) qk_staging_close(&d->staging);
    if (d->folder && qk_remove_tree(d->folder, &why) != QK_OK) qk_warn("%s", why.message);
    free(d->staging_folder);
    free(d->folder);
    qk_arena_free(&d->arena);
    *d = (qk_bench_disk){0};
}

const char *qk_bench_disk_text(qk_bench_disk *d, const char *dir)
{
    enum { TMPFS = 0x01021994 };
    struct statfs of;
    bool memory = statfs(d->folder, &of) == 0 && of.f_type == TMPFS;
    return qk_arena_strf(&d->arena, "%s%s", dir, memory ? " (tmpfs: memory, no disk)" : "");
}

qk_status qk_bench_disk_begin(qk_bench_disk *d, qk_unit_writer **file, int head_dim, int32_t tokens,
                              qk_error *err)
{
    qk_unit_stamp stamp = {0};
    memcpy(stamp.identity, d->identity.fingerprint, sizeof stamp.identity);
    char *path = qk_staging_unit(&d->staging, d->units), *tmp = qk_strf("%s.tmp", path);
    qk_status s = qk_unit_create(file, path, tmp, &stamp, head_dim, err);
    free(path);
    free(tmp);
    if (s != QK_OK) return s;
    const qk_unit_example example = {.index = d->units, .id = d->units, .tokens = tokens};
    qk_unit_add_example(*file, &example);
    return QK_OK;
}

qk_status qk_bench_disk_commit(qk_bench_disk *d, qk_unit_writer *file, double *bytes, qk_error *err)
{
    uint64_t size = 0;
    QK_TRY(qk_unit_commit(file, err));
    char *path = qk_staging_unit(&d->staging, d->units);
    qk_status s = qk_file_size(path, &size, err);
    free(path);
    d->units++;
    *bytes = (double)size;
    return s;
}

/* Of the files of heads below a dataset folder. */
static qk_status add_up(const char *folder, double *bytes, int64_t *files, qk_error *err)
{
    qk_names names;
    QK_TRY(qk_find_data_files(folder, &names, err));
    qk_status s = QK_OK;
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        uint64_t size = 0;
        char *path = qk_strf("%s/%s/data.parquet", folder, names.items[i]);
        s = qk_file_size(path, &size, err);
        free(path);
        *bytes += (double)size;
    }
    *files = (int64_t)names.count;
    qk_names_free(&names);
    return s;
}

qk_status qk_bench_disk_merge(qk_bench_disk *d, const qk_head_plan *heads, const int *window,
                              int head_dim, double *seconds, double *bytes, int64_t *files,
                              qk_error *err)
{
    char *final = qk_path_join(d->folder, "final");
    const qk_output out = {.final = final,
                           .split = "train",
                           .folder = final,
                           .heads = heads,
                           .window = window,
                           .head_dim = head_dim,
                           .unit_examples = 1};
    const qk_merge_job job = {.out = &out,
                              .staging = &d->staging,
                              .work = &d->staging,
                              .id = &d->identity,
                              .units = d->units};
    qk_merge_result merged;
    double began = qk_now();
    qk_status s = qk_merge(&job, &merged, err);
    *seconds = qk_now() - began;
    *bytes = 0;
    if (s == QK_OK) s = add_up(final, bytes, files, err);
    if (s == QK_OK) s = qk_remove_tree(final, err);
    if (s == QK_OK) s = qk_staging_clear(&d->staging, err);
    d->units = 0;
    free(final);
    return s;
}
